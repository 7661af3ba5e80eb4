"""The first look-up of a host's addresses, before a request has to wait for it.

In: a URL, and a client whose pool is to have a connection. Out: the addresses, in the log too.
Refused: a URL without a host, without repeating it, as it may hold a password.

The system's resolver cannot be cancelled: where it hangs, a daemon thread is left to it.
"""

import asyncio
import contextlib
import logging
import socket
import threading
from datetime import timedelta
from typing import Annotated, Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

logger = logging.getLogger("components.dns")


@runtime_checkable
class Opener(Protocol):
    """What opens a connection: an `httpx2.AsyncClient`, for one."""

    async def head(self, url: Any, /) -> Any: ...


async def prewarm(
    *,
    url: Annotated[str | SecretStr, Field(description="whose host is looked up")],
    timeout: Annotated[  # noqa: ASYNC109  # a bound of the look-up alone, with a message of its own
        timedelta, Field(gt=timedelta(0), description="longest wait for the addresses")
    ] = timedelta(seconds=5),
    client: Annotated[
        Opener | None,
        Field(description="asks for the URL's head, so that its pool has a connection"),
    ] = None,
) -> list[str]:
    """Look up the addresses of the URL's host, and return them.

    Any answer to the client will do, as it is the connection that counts.

    Raises socket.gaierror where the host has no address, TimeoutError, what the client raises, and ValueError
    where the URL has no host.
    """
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    host, port = _host_and_port(text)
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            addresses = await _addresses(host, port)
    except TimeoutError:
        seconds = timeout.total_seconds()
        raise TimeoutError(f"the addresses of `{host}` did not come within {seconds:g} s") from None
    except OSError as error:
        reason = f"`{host}` has no address: {error.strerror}"
        raise socket.gaierror(error.errno, reason) from error
    logger.info("`%s` has the addresses %s", host, ", ".join(addresses))
    if client is not None:
        await client.head(text)
    return addresses


def _host_and_port(text: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ValueError("`url` has no host: write it like `https://host/path`")
    return host, port


async def _addresses(host: str, port: int | None) -> list[str]:
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str], error: Exception | None) -> None:
        if found.done():
            return
        if error is None:
            found.set_result(addresses)
        else:
            found.set_exception(error)

    def look_up() -> None:
        addresses: list[str] = []
        fault: Exception | None = None
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            addresses = list(dict.fromkeys(str(row[4][0]) for row in rows))
        except (OSError, UnicodeError) as error:
            # a label over 63 characters is a UnicodeError
            fault = error if isinstance(error, OSError) else OSError(0, str(error))
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, addresses, fault)

    threading.Thread(target=look_up, daemon=True, name="dns-prewarm").start()
    return await found
