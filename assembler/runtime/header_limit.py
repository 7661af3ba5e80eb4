"""uvicorn's HTTP protocols → the same, which refuse a request line and headers beyond a bound.

In: how many bytes they may have together. Out: `limited`, a configuration of uvicorn whose protocol
answers 431 (RFC 6585, section 5) and closes. httptools by itself has no bound: it joins the parts
of one endless header again and again, and a worker that reads 100 MB of it answers nobody else for
seconds. h11 bounds what is incomplete, but takes longer headers that arrive at once.
"""

from importlib.util import find_spec
from typing import Any

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

_ANSWER = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)
_PROTOCOLS = {
    "auto": "LimitedHttpToolsProtocol" if find_spec("httptools") else "LimitedH11Protocol",
    "httptools": "LimitedHttpToolsProtocol",
    "h11": "LimitedH11Protocol",
}


class LimitedConfig(Config):
    """A configuration whose protocols know the bound, in each process that it is sent to."""

    max_header_bytes: int = 0


def limited(max_header_bytes: int, options: dict[str, Any]) -> Config:
    """Return the configuration of `assembler:app`; `http` of it is `auto`, `httptools` or `h11`."""
    path = f"{__name__}:{_PROTOCOLS[options.get('http', 'auto')]}"
    config = LimitedConfig("assembler:app", **{**options, "http": path})
    config.max_header_bytes = max_header_bytes
    return config


class _Connection(h11.Connection):
    """Holds complete headers to the bound as well as incomplete ones."""

    def __init__(self, limit: int) -> None:
        super().__init__(h11.SERVER, limit)
        self._limit = limit
        self.is_refused = False

    def next_event(self) -> Any:
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.is_refused = error.error_status_hint == 431
            raise
        if isinstance(event, h11.Request) and _size(event) > self._limit:
            self.is_refused = True
            raise h11.RemoteProtocolError("the headers are too long", error_status_hint=431)
        return event


class LimitedH11Protocol(H11Protocol):
    """uvicorn's protocol on h11, with a bound on headers."""

    def __init__(self, config: Any, *arguments: Any, **options: Any) -> None:
        super().__init__(config, *arguments, **options)
        self.conn: _Connection = _Connection(config.max_header_bytes)

    def send_400_response(self, msg: str) -> None:
        """Answer what could not be read: 431 where it is too long."""
        if self.conn.is_refused:
            _refuse(self)
        else:
            super().send_400_response(msg)


if find_spec("httptools"):
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class LimitedHttpToolsProtocol(HttpToolsProtocol):
        """uvicorn's protocol on httptools, with a bound on headers.

        Each complete field is counted, and so are bytes that have come to nothing yet: those of a
        field that does not end, of a trailer, of the extension of a chunk.
        """

        def __init__(self, config: Any, *arguments: Any, **options: Any) -> None:
            super().__init__(config, *arguments, **options)
            self._limit: int = config.max_header_bytes
            self._size = 0  # of the request line and the complete fields
            self._pending = 0  # bytes since something was complete
            self._is_refused = False

        def data_received(self, data: bytes) -> None:
            """Read no more at a time than the bound leaves room for."""
            while data and not self._is_refused:
                piece = data[: self._limit - self._pending]
                data = data[len(piece) :]
                self._pending += len(piece)
                super().data_received(piece)
                if self.transport.is_closing():
                    return
                protocol: Any = self.transport.get_protocol()
                if protocol is not self:  # a websocket takes over
                    if data:
                        protocol.data_received(data)
                    return
                if self._pending >= self._limit:
                    self._is_refused = True
                    self.send_400_response("")

        def send_400_response(self, msg: str) -> None:
            """Answer what could not be read: 431 where it is too long."""
            if self._is_refused:
                _refuse(self)
            else:
                super().send_400_response(msg)

        def on_message_begin(self) -> None:
            """Count anew."""
            self._size = len(" ") * 2 + len("HTTP/1.1\r\n")
            self._pending = 0
            super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            """Take a part of the target."""
            self._add(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            """Take a field, or one of the trailer."""
            self._add(len(name) + len(value) + len(": \r\n"))
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            """Begin to answer."""
            self._add(len(self.parser.get_method()))
            self._pending = 0
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            """Take a part of the body."""
            self._pending = 0
            super().on_body(body)

        def on_message_complete(self) -> None:
            """End the request."""
            self._pending = 0
            super().on_message_complete()

        def _add(self, size: int) -> None:
            self._size += size
            if self._size > self._limit:
                self._is_refused = True
                raise ValueError("the headers are too long")  # httptools ends the reading by it


def _refuse(protocol: Any) -> None:
    """Answer, unless that would fall into the answer to an earlier request; close."""
    cycle = protocol.cycle
    if cycle is None or cycle.response_complete:
        protocol.transport.write(_ANSWER)
    protocol.transport.close()


def _size(event: h11.Request) -> int:
    """Return the bytes of a request line and its headers, with colon, space and line ends."""
    line = len(event.method) + len(event.target) + len(" ") * 2 + len("HTTP/1.1\r\n")
    fields = event.headers.raw_items()
    return line + sum(len(name) + len(value) + len(": \r\n") for name, value in fields)
