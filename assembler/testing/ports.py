"""Ports of this machine for servers that tests start.

In: a process. Out: a free port, or the moment at which something listens. Refuses, as
RuntimeError, a process that ends before, and one that takes too long.
"""

import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

_PATIENCE_SECONDS = 60.0  # an application that starts in two takes thirty where much else runs
_BUS = 10_000


def free_port(*, with_bus: bool = False) -> int:
    """A port of 127.0.0.1 that nobody listens on, and that the system gives nobody else for a minute.

    A connection that was closed just now keeps it from being anybody's port of its own choice, and
    keeps no server from it that binds with SO_REUSEADDR, as servers do. `with_bus` is for a node of
    a Redis cluster, which listens at the port + 10000 too.
    """
    while True:
        port = _reserved(0)
        if not with_bus or _is_reserved_too(port + _BUS):
            return port


def _is_reserved_too(port: int) -> bool:
    try:
        with socket.socket() as probe:  # without SO_REUSEADDR: what others have reserved is refused
            probe.bind(("127.0.0.1", port))
        _reserved(port)
    except (OSError, OverflowError):
        return False
    return True


def _reserved(port: int) -> int:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(1)
        address: tuple[str, int] = listener.getsockname()
        with socket.create_connection(address) as client:
            listener.accept()[0].close()  # it closes first, so that TIME_WAIT is on this side
            client.recv(1)
        return address[1]


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
