"""`assembler:app` under real servers: it answers, it ends, and it says why it cannot start."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from tests.assembler.sample_app.world import write
from tests.servers import free_port, wait_for_port

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 90
GOOD = """
    resources: {db: {use: $parts.slow_end.Printed}}
    routes: [{use: $parts.api.router}]
    shutdown: [{use: $parts.slow_end.hook}]
"""
UVICORN = ("-m", "uvicorn", "assembler:app", "--no-access-log")
COMMANDS = {
    "uvicorn": (*UVICORN, "--port", "PORT"),
    "uvicorn --workers 4": (*UVICORN, "--workers", "4", "--port", "PORT"),
    "uvicorn --reload": (*UVICORN, "--reload", "--reload-dir", "FOLDER", "--port", "PORT"),
    "gunicorn": (
        *("-m", "gunicorn", "assembler:app", "-b", "127.0.0.1:PORT"),
        *("-k", "uvicorn_worker.UvicornWorker", "--no-control-socket"),
    ),
    "granian": ("-m", "granian", "--interface", "asgi", "assembler:app", "--port", "PORT"),
}


@dataclass(frozen=True)
class Ended:
    status: int
    output: str


def command(name: str, port: int, folder: Path) -> list[str]:
    words = [sys.executable, *COMMANDS[name]]
    return [word.replace("PORT", str(port)).replace("FOLDER", str(folder)) for word in words]


def environment(manifest: Path | None) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key != "ASSEMBLY"}
    return kept | ({} if manifest is None else {"ASSEMBLY": str(manifest)})


@contextmanager
def serving(name: str, folder: Path, manifest: Path) -> Iterator[tuple[str, list[Ended]]]:
    """A server that writes to `log`, and is sent SIGTERM when the block ends; the list has its end."""
    port = free_port()
    ended: list[Ended] = []
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command(name, port, folder),
            cwd=ROOT,
            env=environment(manifest),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for_port(port, process)
            yield f"http://127.0.0.1:{port}", ended
            process.send_signal(signal.SIGTERM)
            status = process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
            process.wait(20)
    ended.append(Ended(status, log.read_text("utf-8")))


def failing(name: str, folder: Path, manifest: Path | None) -> Ended:
    """Run a server that cannot start, to its end."""
    done = subprocess.run(
        command(name, free_port(), folder),
        cwd=ROOT,
        env=environment(manifest),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode())


def wait_for_text(log: Path, text: str, times: int) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while log.read_text("utf-8").count(text) < times:
        assert time.monotonic() < end, f"{text!r} does not appear {times} times"
        time.sleep(0.02)


def answer(url: str) -> httpx2.Response:
    """Ask, until the workers behind the port are there."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return httpx2.get(f"{url}/hello", timeout=PATIENCE_SECONDS)
        except httpx2.TransportError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@pytest.mark.parametrize("name", COMMANDS)
def test_servers_answer_and_end_with_their_hooks(name: str, tmp_path: Path) -> None:
    manifest = write(tmp_path, GOOD)
    processes = 4 if "workers" in name else 1
    with serving(name, tmp_path, manifest) as (url, ended):
        wait_for_text(tmp_path / "log", f"started {manifest}", processes)
        assert answer(url).json()["path"] == "/hello"
    [end] = ended
    words = [line for line in end.output.splitlines() if line.startswith(("resource ", "hook"))]
    whole = ["resource opened", "hook ran", "resource closed"]
    assert words == whole if processes == 1 else sorted(words) == sorted(whole * processes)
    assert end.output.count(f"stopped {manifest}") == processes
    assert "Traceback" not in end.output


INVALID = {
    "an unknown key": ("middlewares: []", "error[unknown-key]: the manifest has no key"),
    "an unset variable": (
        "resources: {db: {use: $parts.steps.Entered, with: {name: '${NOT_SET_AT_ALL}'}}}",
        "error[missing-variable]: environment variable `NOT_SET_AT_ALL` is not set",
    ),
    "a constructor": (
        "middleware: [{use: $parts.layers.Refusing, with: {even: 3}}]",
        "error[build-failed]: `Refusing` could not be made: ValueError: even is 3, which is odd",
    ),
}


@pytest.mark.parametrize("fault", INVALID)
def test_an_invalid_manifest_ends_the_process_with_its_diagnostics(
    fault: str, tmp_path: Path
) -> None:
    text, message = INVALID[fault]
    manifest = write(tmp_path, text)
    end = failing("uvicorn", tmp_path, manifest)
    assert end.status == 3
    assert message in end.output
    assert f"{manifest}:2:" in end.output
    assert end.output.endswith("1 error\n")
    assert "Traceback" not in end.output


def test_without_a_manifest_the_process_ends_and_says_how_to_name_one(tmp_path: Path) -> None:
    end = failing("uvicorn", tmp_path, None)
    assert end.status == 3
    assert end.output == (
        "error: the variable ASSEMBLY names no manifest\n"
        "  = help: ASSEMBLY=manifests/dev.yaml uvicorn assembler:app\n"
    )


def test_a_manifest_that_does_not_exist_ends_the_process(tmp_path: Path) -> None:
    end = failing("uvicorn", tmp_path, tmp_path / "no-such.yaml")
    assert end.status == 3
    assert end.output.startswith("error: cannot read `")
    assert "Traceback" not in end.output


BROKEN = """
    resources: {db: {use: $parts.slow_end.Printed}}
    startup: [{id: broken-step, use: $parts.steps.boom}]
    shutdown: [{use: $parts.slow_end.hook}]
"""


# The parents of granian's and of uvicorn's workers end with statuses of their own: 1 and 0.
@pytest.mark.parametrize(
    ("name", "status"),
    [("uvicorn", 3), ("gunicorn", 3), ("granian", None), ("uvicorn --workers 4", None)],
)
def test_a_failing_startup_step_ends_the_server_and_is_named_with_its_line(
    name: str, status: int | None, tmp_path: Path
) -> None:
    manifest = write(tmp_path, BROKEN)
    end = failing(name, tmp_path, manifest)
    assert status in {None, end.status}
    assert "error[startup-failed]: startup `broken-step` failed: ValueError: boom" in end.output
    assert f"{manifest}:3:" in end.output
    assert "resource closed" in end.output
    assert "hook ran" not in end.output
    assert "Traceback" not in end.output


@pytest.mark.parametrize(("name", "status"), [("gunicorn", 3), ("uvicorn --workers 4", None)])
def test_the_parents_of_workers_end_where_the_manifest_is_invalid(
    name: str, status: int | None, tmp_path: Path
) -> None:
    end = failing(name, tmp_path, write(tmp_path, "middlewares: []"))
    assert status in {None, end.status}
    assert "error[unknown-key]" in end.output
    assert "Traceback" not in end.output


def test_steps_that_never_end_do_not_keep_the_process(tmp_path: Path) -> None:
    manifest = write(
        tmp_path,
        """
        resources: {db: {use: $parts.slow_end.Printed}}
        routes: [{use: $parts.api.router}]
        startup:
          - {id: thread, use: $parts.slow_end.block_for_ever, timeout: 50ms, on_error: warn}
        shutdown:
          - {id: hook-thread, use: $parts.slow_end.block_for_ever, timeout: 50ms}
          - {id: stubborn, use: $parts.slow_end.ignore_cancellation, timeout: 50ms}
          - {use: $parts.slow_end.hook}
        """,
    )
    with serving("uvicorn", tmp_path, manifest) as (url, ended):
        assert answer(url).status_code == 200
    [end] = ended
    assert "hook ran\nresource closed\n" in end.output
    assert "took longer than its timeout of 50ms, and ignored its cancellation" in end.output
    assert "Finished server process" in end.output
