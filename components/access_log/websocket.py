"""The messages of one websocket -> a line when it opens, and one when it closes.

In: the messages that pass by, untouched. Out: `websocket.open`; `websocket.close` with the close code
and the numbers of messages; `websocket.refused` for a handshake that was not accepted. An exception
is written as code 1011, what servers then send, and raised on.
"""

from collections.abc import Awaitable, Callable
from logging import INFO, WARNING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.access_log.line import LogLine, who
from components.access_log.sink import LogSink


class WebSocketLog:
    """Watches one connection.

    Args:
        scope: the connection's.
        sink: where the lines go.
        line: writes them.
        clock: seconds, monotonic.
        now: seconds since 1970.
    """

    __slots__ = (
        "_clock",
        "_code",
        "_line",
        "_now",
        "_opened",
        "_received",
        "_scope",
        "_sent",
        "_sink",
    )

    def __init__(
        self,
        scope: Scope,
        sink: LogSink,
        line: LogLine,
        *,
        clock: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._scope = scope
        self._sink = sink
        self._line = line
        self._clock = clock
        self._now = now
        self._opened: float | None = None
        self._code: int | None = None
        self._sent = self._received = 0

    async def run(self, app: ASGIApp, receive: Receive, send: Send) -> None:
        """Runs the application, and writes the lines."""

        async def receive_counted() -> Message:
            message = await receive()
            if message["type"] == "websocket.receive":
                self._received += 1
            elif message["type"] == "websocket.disconnect" and self._code is None:
                self._code = message.get("code", 1005)
            return message

        def send_counted(message: Message) -> Awaitable[None]:
            kind = message["type"]
            if kind == "websocket.send":
                self._sent += 1
            elif kind == "websocket.accept":
                self._opened = self._clock()
                self._put("websocket.open", None, None)
            elif kind == "websocket.close" and self._code is None:
                self._code = message.get("code", 1000)
            return send(message)

        error = None
        try:
            await app(self._scope, receive_counted, send_counted)
        except BaseException as caught:
            error = type(caught).__name__
            raise
        finally:
            self._end(error)

    def _end(self, error: str | None) -> None:
        if self._opened is None:
            self._put("websocket.failed" if error else "websocket.refused", None, error)
            return
        code = self._code if self._code is not None else (1011 if error else 1000)
        milliseconds = round((self._clock() - self._opened) * 1000, 3)
        numbers = {"code": code, "sent": self._sent, "received": self._received, "ms": milliseconds}
        self._put("websocket.close", numbers, error)

    def _put(self, event: str, numbers: dict[str, float] | None, error: str | None) -> None:
        level = WARNING if error else INFO
        if self._sink.takes(level):
            facts = (level, self._line.of_websocket, self._now(), event, numbers, error)
            self._sink.put(facts + who(self._scope))
            if level > INFO:
                self._sink.flush()
