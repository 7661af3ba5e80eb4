"""Clients that keep their connections, and count what goes wrong on them.

In: a port, a path. Out: how many answers came, how many requests were repeated as RFC 9112, section
9.3.1, allows it (the connection was closed before any byte of an answer), and each failure.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class Traffic:
    """`connections` clients, each of which sends one request after the other."""

    port: int
    path: str = "/quick"
    connections: int = 8
    answers: int = 0
    repeats: int = 0
    closes: int = 0  # answers that said `Connection: close`
    longest_seconds: float = 0.0
    failures: list[str] = field(default_factory=list)
    bodies: dict[bytes, int] = field(default_factory=dict)
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    _ends: bool = False

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._client()) for _ in range(self.connections)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ends = True
        await asyncio.wait_for(asyncio.gather(*self._tasks), 30)

    async def _client(self) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        loop = asyncio.get_running_loop()
        while not self._ends:
            is_kept = streams is not None
            began = loop.time()
            try:
                if streams is None:
                    streams = await asyncio.open_connection("127.0.0.1", self.port)
                is_closed = await self._exchange(*streams)
            except _ClosedBeforeAnswerError:
                if is_kept:
                    self.repeats += 1
                else:
                    self.failures.append("a new connection was closed before any answer")
                is_closed = True
            except (OSError, EOFError, ValueError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
                is_closed = True
                await asyncio.sleep(0.01)
            self.longest_seconds = max(self.longest_seconds, loop.time() - began)
            if is_closed and streams is not None:
                streams[1].close()
                streams = None
        if streams is not None:
            streams[1].close()
            with suppress(OSError):
                await streams[1].wait_closed()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        request = f"GET {self.path} HTTP/1.1\r\nhost: here\r\n\r\n".encode()
        try:
            writer.write(request)
            async with asyncio.timeout(20):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            if error.partial:
                raise
            raise _ClosedBeforeAnswerError from None
        except ConnectionError:
            raise _ClosedBeforeAnswerError from None
        lines = head.lower().split(b"\r\n")
        if b" 200 " not in lines[0] + b" ":
            raise ValueError(lines[0].decode())
        length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
        body = await reader.readexactly(length)
        self.bodies[body] = self.bodies.get(body, 0) + 1
        self.answers += 1
        is_closed = b"connection: close" in lines
        self.closes += is_closed
        return is_closed


class _ClosedBeforeAnswerError(Exception):
    """The connection ended before the first byte of an answer."""
