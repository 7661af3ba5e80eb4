"""`assembler:app` under each kind of server, told to end by signals.

In: the text of a manifest with places for `port`, `workers` and `server`. Out: the running process,
its log and its address; it is gone when the block ends.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.assembler.sample_app.world import write
from tests.servers import free_port, wait_for_port

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 60
UVICORN = ("-m", "uvicorn", "assembler:app", "--no-access-log", "--port", "PORT")
COMMANDS = {
    "uvicorn": UVICORN,
    "uvicorn of two": (*UVICORN, "--workers", "2"),
    "serve": ("-m", "assembler", "serve", "MANIFEST"),
    "serve of two": ("-m", "assembler", "serve", "MANIFEST"),
    "gunicorn": (
        *("-m", "gunicorn", "assembler:app", "-b", "127.0.0.1:PORT", "--workers", "2"),
        *("-k", "uvicorn_worker.UvicornWorker", "--no-control-socket"),
    ),
}


@dataclass(slots=True)
class Running:
    process: "subprocess.Popen[bytes]"
    url: str
    log: Path
    workers: int

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8")

    def tell(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal; return when."""
        self.process.send_signal(number)
        return time.monotonic()

    def wait_for_text(self, text: str, times: int = 1) -> None:
        until(lambda: self.output.count(text) >= times, f"{text!r} in the log")

    def status(self, path: str) -> int:
        try:
            # to load certificates would take longer than all the rest
            return httpx2.get(self.url + path, timeout=20, verify=False).status_code
        except httpx2.TransportError:
            return 0

    def json(self, path: str) -> Any:
        return httpx2.get(self.url + path, timeout=20, verify=False).json()

    def seconds_to_end(self, since: float) -> float:
        self.process.wait(PATIENCE_SECONDS)
        return time.monotonic() - since


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"still waiting for {what}"
        time.sleep(0.02)


@contextmanager
def running(name: str, folder: Path, server: str, text: str, *more: str) -> Iterator[Running]:
    port = free_port()
    workers = 2 if "two" in name or name == "gunicorn" else 1
    manifest = write(folder, text.format(port=port, workers=workers, server=server))
    words = [sys.executable, *COMMANDS[name], *more]
    words = [word.replace("PORT", str(port)).replace("MANIFEST", str(manifest)) for word in words]
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            cwd=ROOT,
            env={**os.environ, "ASSEMBLY": str(manifest)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        found = Running(process, f"http://127.0.0.1:{port}", log, workers)
        try:
            yield found
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(PATIENCE_SECONDS)
            process.kill()
            process.wait(20)


@contextmanager
def serving(name: str, folder: Path, server: str, text: str, *more: str) -> Iterator[Running]:
    """The same, once it serves."""
    with running(name, folder, server, text, *more) as found:
        found.wait_for_text("started ", found.workers)
        wait_for_port(int(found.url.rpartition(":")[2]), found.process)
        yield found
