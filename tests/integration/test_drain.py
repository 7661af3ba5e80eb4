"""SIGTERM and SIGINT under real servers: drained, bounded, and every hook run."""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx2
import pytest
from websockets.sync.client import connect

from tests.integration.serving import (
    COMMANDS,
    PATIENCE_SECONDS,
    Running,
    running,
    serving,
    until,
)

MANIFEST = """
    resources: {{db: {{use: $parts.slow_end.Printed}}}}
    routes:
      - {{use: components.health.router, prefix: /health}}
      - {{use: tests.integration.streaming.router}}
    shutdown:
      - {{use: $parts.slow_end.ignore_cancellation, timeout: 50ms}}
      - {{use: $parts.steps.boom}}
      - {{use: $parts.slow_end.hook}}
    server: {{port: {port}, workers: {workers}, {server}}}
"""


SOON = 25  # seconds for what takes two, where much else runs; without a bound it takes minutes


@contextmanager
def streams(server: Running) -> Iterator[None]:
    """An open stream of events and an open websocket, both at work."""
    with ExitStack() as stack:
        client = stack.enter_context(httpx2.Client(timeout=30))
        answer = stack.enter_context(client.stream("GET", f"{server.url}/events"))
        assert next(answer.iter_text()) == "data: on\n\n"
        socket = stack.enter_context(connect(server.url.replace("http", "ws") + "/echo"))
        socket.send("word")
        assert socket.recv(timeout=30) == "word"
        yield


def ended_well(server: Running) -> None:
    """Every worker ran all its hooks and closed its resource, once."""
    assert server.output.count("hook ran") == server.workers
    assert server.output.count("resource closed") == server.workers
    assert server.output.count("ValueError: boom") == server.workers
    assert server.output.count("ignored its cancellation") == server.workers


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
@pytest.mark.parametrize("name", ["uvicorn", "serve of two", "gunicorn"])
def test_sigterm_under_load_fails_no_request_in_the_drain_and_ends_in_the_budget(
    name: str, tmp_path: Path
) -> None:
    with serving(name, tmp_path, "drain: 7s, timeout_graceful_shutdown: 1", MANIFEST) as server:
        with streams(server):
            load = subprocess.Popen(
                ["wrk", "-t1", "-c8", "-d2", "--latency", f"{server.url}/quick"],
                stdout=subprocess.PIPE,
                text=True,
            )
            told = server.tell()
            until(lambda: server.status("/health/ready") == 503, "readiness to say no")
            assert server.status("/quick") == 200
            report, _ = load.communicate(timeout=PATIENCE_SECONDS)
            assert time.monotonic() - told < 7, "the machine is too slow for this test"
            assert "Non-2xx" not in report
            assert "Socket errors" not in report
            served = re.search(r"(\d+) requests in", report)
            assert served is not None
            assert int(served[1]) > 10
            seconds = server.seconds_to_end(told)
        assert 7 <= seconds < 7 + SOON
        ended_well(server)


@pytest.mark.parametrize("name", ["uvicorn", "uvicorn of two", "gunicorn"])
def test_an_open_stream_keeps_no_server_beyond_the_bound(name: str, tmp_path: Path) -> None:
    with serving(name, tmp_path, "timeout_graceful_shutdown: 1", MANIFEST) as server:
        with streams(server):
            told = server.tell()
            assert server.seconds_to_end(told) < SOON
        ended_well(server)


def test_the_bound_of_the_command_line_stays(tmp_path: Path) -> None:
    more = ("--timeout-graceful-shutdown", "1")
    with serving("uvicorn", tmp_path, "timeout_graceful_shutdown: 600", MANIFEST, *more) as server:
        with streams(server):
            assert server.seconds_to_end(server.tell()) < SOON
        ended_well(server)


def test_sigint_does_not_wait_for_a_drain(tmp_path: Path) -> None:
    with serving("uvicorn", tmp_path, "drain: 10m", MANIFEST) as server:
        assert server.seconds_to_end(server.tell(signal.SIGINT)) < SOON
        ended_well(server)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_drain(number: signal.Signals, tmp_path: Path) -> None:
    with serving("uvicorn", tmp_path, "drain: 10m", MANIFEST) as server:
        server.tell()
        server.wait_for_text("draining for 10m")
        heard = server.tell()  # the same order by another way: of a parent, and of systemd
        until(lambda: server.status("/health/ready") == 503, "readiness to say no")
        until(lambda: time.monotonic() > heard + 2.1, "the order to be another one")
        assert server.status("/quick") == 200
        assert server.seconds_to_end(server.tell(number)) < SOON
        assert server.process.returncode == -signal.SIGTERM
        ended_well(server)


HANGING = """
    resources: {{db: {{use: $parts.slow_end.Printed}}}}
    startup: [{{id: stuck, use: $parts.slow_end.hang_aloud, timeout: 10m}}]
    shutdown: [{{use: $parts.slow_end.hook}}]
    server: {{port: {port}, workers: {workers}, {server}}}
"""


# gunicorn turns SIGINT into a SIGQUIT that its workers take by their loop: it kills them in the end.
@pytest.mark.parametrize(
    ("name", "number"),
    [(name, signal.SIGTERM) for name in COMMANDS]
    + [(name, signal.SIGINT) for name in COMMANDS if name != "gunicorn"],
)
def test_a_signal_ends_a_start_that_hangs_and_unwinds_it(
    name: str, number: signal.Signals, tmp_path: Path
) -> None:
    with running(name, tmp_path, "drain: 10m", HANGING) as server:
        server.wait_for_text("hangs aloud", server.workers)
        assert server.seconds_to_end(server.tell(number)) < SOON
        assert server.output.count("resource closed") == server.workers
        assert "hook ran" not in server.output
        assert "was told to end while it started" in server.output
        assert "Traceback" not in server.output
        assert server.process.returncode != 3


IMPORTING = """
    resources: {{db: {{use: $parts.slow_end.Printed}}}}
    startup: [{{use: $parts.slow_end.hook}}]
    configure: [{{use: $parts.slow_import.configure}}]
    server: {{port: {port}, workers: {workers}, {server}}}
"""


@pytest.mark.parametrize("name", ["uvicorn of two", "serve of two", "gunicorn"])
def test_a_signal_during_the_import_is_no_start(name: str, tmp_path: Path) -> None:
    with running(name, tmp_path, "drain: 10m", IMPORTING) as server:
        # under `serve` the first one tells how many there are to be
        server.wait_for_text("imports aloud", 1 if name == "serve of two" else server.workers)
        assert server.seconds_to_end(server.tell()) < SOON
        assert "hook ran" not in server.output
        assert "error" not in server.output
        assert "Traceback" not in server.output
