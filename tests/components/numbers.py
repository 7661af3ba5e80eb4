"""Servers with several workers, and the numbers that they tell from outside."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from tests.servers import wait_for_port

ROOT = Path(__file__).parent.parent.parent


@contextlib.contextmanager
def started(
    command: Sequence[str],
    port: int,
    temporary: Path,
    *,
    folder: Path = ROOT,
    variables: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """A server on `port`, with its own folder for temporary files; gives its URL."""
    process = subprocess.Popen(
        [sys.executable, *(part.replace("PORT", str(port)) for part in command)],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT), **(variables or {})},
    )
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def ask(url: str, times: int = 1) -> None:
    """Ask, each time by a connection of its own, so that it may reach any worker."""
    with _client() as client:
        for _ in range(times):
            client.get(url).raise_for_status()


def workers(url: str, count: int) -> set[int]:
    """The process numbers of `count` workers that answer."""
    found: set[int] = set()
    with _client() as client:

        def enough() -> bool:
            found.add(int(client.get(f"{url}/pid").text))
            return len(found) >= count

        until(enough)
    return found


def read(url: str) -> dict[str, float]:
    """The samples without labels by their name, those of `/count` and `/hold` by name and route."""
    with _client() as client:
        text = client.get(f"{url}/metrics").raise_for_status().text
    return {
        sample.name + sample.labels.get("route", ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def read_until(url: str, name: str, value: float) -> None:
    """Wait for a sample to be told: a worker counts a request after its answer, others ask meanwhile."""
    until(lambda: read(url).get(name) == value)


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that a server does in its own time."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def _client() -> httpx2.Client:
    """A client without certificates, which take long to load, and without connections that stay."""
    return httpx2.Client(timeout=20, verify=False, headers={"connection": "close"})
