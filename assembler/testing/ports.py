"""Ports of this machine for servers that tests start.

In: a process. Out: a free port, or the moment at which something listens. Refuses, as
RuntimeError, a process that ends before, and one that takes too long.
"""

import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

_PATIENCE_SECONDS = 20.0


def free_port() -> int:
    """A port that nobody listens on now; low enough for a Redis cluster's bus at port + 10000."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port <= 55_535:
            return port


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when a connection is accepted; raise when the process ends or time is up."""

    def is_open() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    wait_until(is_open, process, f"nothing listens on port {port}")


def wait_until(
    is_ready: Callable[[], bool], process: subprocess.Popen[bytes], otherwise: str
) -> None:
    """Return when it is ready; raise when the process ends, or `otherwise` when time is up."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with status {process.returncode}")
        if is_ready():
            return
        time.sleep(0.02)
    raise RuntimeError(otherwise)
