"""The address of a server → sockets that are bound before the start, and listen after it.

In: uvicorn's configuration. Out: bound sockets, so that a port which is in use is known before
anything is opened and before SQL is run; a `ListeningServer`, which listens on them once the start
is done, as a client that is let in before would wait for it. Refuses, as `UsageError`, an address
that cannot be bound.
"""

import errno
import logging
import os
import socket
import stat
import sys
from contextlib import ExitStack, suppress
from typing import Any

from uvicorn import Config, Server
from uvicorn.config import STARTUP_FAILURE

from assembler.diagnostics.errors import UsageError

logger = logging.getLogger("uvicorn.error")


def configured(options: dict[str, Any], max_header_bytes: int | None) -> Config:
    """Return uvicorn's configuration of `assembler:app` by the options of a plan's server."""
    if max_header_bytes is None:
        return Config("assembler:app", **options)
    from assembler.runtime.header_limit import limited  # noqa: PLC0415  # only where it is asked for

    return limited(max_header_bytes, options)


def bind_any(config: Config) -> list[socket.socket]:
    """Bind every address of the host, or what is given instead of one. Raises `UsageError`.

    uvicorn takes any descriptor for a Unix socket, and then sets no TCP_NODELAY.
    """
    if config.fd is not None:
        try:
            return [socket.socket(fileno=os.dup(config.fd))]
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(f"cannot listen on descriptor {config.fd}: {reason}") from None
    if config.uds is not None:
        try:
            return [_bind_path(config.uds)]
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(f"cannot listen on `{config.uds}`: {reason}") from None
    return bind(config) or []


def bind(config: Config) -> list[socket.socket] | None:
    """Bind every address of the host; None where a Unix socket or a descriptor is given instead.

    Raises `UsageError`.
    """
    if config.uds is not None or config.fd is not None:
        return None
    port = config.port
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        try:
            for family, kind, protocol, _, address in _addresses(config):
                try:
                    bound = stack.enter_context(socket.socket(family, kind, protocol))
                    _prepare(bound)
                    bound.bind((address[0], port, *address[2:]))
                except OSError as error:
                    if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT} and sockets:
                        continue  # a host of two families, of which the machine has one
                    raise
                sockets.append(bound)
                port = bound.getsockname()[1]  # where any port will do, the same for all
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UsageError(f"cannot listen on {place(config.host, port)}: {reason}") from None
        stack.pop_all()
    return sockets


def place(host: str, port: int) -> str:
    """Return an address as URLs have it."""
    return f"[{host}]:{port}" if ":" in host else f"{host or '0.0.0.0'}:{port}"  # noqa: S104  # told, not bound


def tell(config: Config, sockets: list[socket.socket]) -> None:
    """Log where it runs, in uvicorn's words."""
    if sockets[0].family == getattr(socket, "AF_UNIX", None):
        where = sockets[0].getsockname()
        logger.info("Uvicorn running on unix socket %s (Press CTRL+C to quit)", where)
        return
    scheme = "https" if config.is_ssl else "http"
    where = place(config.host, sockets[0].getsockname()[1])
    logger.info("Uvicorn running on %s://%s (Press CTRL+C to quit)", scheme, where)


class ListeningServer(Server):
    """uvicorn's server on sockets that were bound for it before its start."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then listen; ends with status 3 where neither works."""
        try:
            await super().startup(sockets=sockets)
        except OSError as error:  # another process has begun to listen there meanwhile
            logger.error(error)  # noqa: TRY400  # as uvicorn tells it
            await self.lifespan.shutdown()
            sys.exit(STARTUP_FAILURE)


def _bind_path(path: str) -> socket.socket:
    """Bind a Unix socket, over one that somebody has left; it keeps the permissions of that one."""
    permissions = 0o666  # as uvicorn's
    with suppress(FileNotFoundError):
        found = os.stat(path).st_mode  # noqa: PTH116  # of the text that `bind` takes
        if stat.S_ISSOCK(found):
            permissions = stat.S_IMODE(found)
            os.unlink(path)  # noqa: PTH108  # as above
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(path)
        os.chmod(path, permissions)  # noqa: PTH101  # as above
    except OSError:
        bound.close()
        raise
    return bound


def _addresses(
    config: Config,
) -> "list[tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[str | int, ...]]]":
    found = socket.getaddrinfo(
        config.host or None, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return list(dict.fromkeys(found))  # type: ignore[arg-type]  # of addresses that hold text


def _prepare(unbound: socket.socket) -> None:
    if os.name == "posix" and sys.platform != "cygwin":  # elsewhere it means something else
        unbound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if unbound.family == socket.AF_INET6 and hasattr(socket, "IPPROTO_IPV6"):
        unbound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    unbound.set_inheritable(True)
