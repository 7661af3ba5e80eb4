"""A request -> one line of JSON about it, when it is over.

In: the messages that pass by, untouched. Out: lines for `log_sink`: INFO, and WARNING for what was
slow, failed or ended with 5xx (not ERROR: the exception itself is logged by its handler, and Sentry
would count it twice). An exception is raised on; its line waits until its answer is known, and has
that one's status. A client that went away before its answer was complete is marked `disconnected`,
with status 499 in place of an error where it was gone before the start.
Milliseconds run until the last byte was handed on; the line follows after background tasks.
"""

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from logging import INFO, WARNING
from typing import Annotated

from pydantic import Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.access_log.line import LogLine, who
from components.access_log.sink import LogSink, SinkKind
from components.access_log.websocket import WebSocketLog
from components.http.outcome import CLIENT_LEFT, at_end
from components.http.paths import PathPattern, app_path, exempts_path


class RequestLoggingMiddleware:
    """Logs each HTTP request, and each websocket when it opens and when it closes.

    By default lines wait a moment and go through the logging tree together, which costs half as much;
    a WARNING is written at once, with all before it. The records carry the ID and the trace of their
    request either way. Handlers that look at the running request instead (OpenTelemetry's current
    span, Sentry's breadcrumbs) want `flush_interval: null`.

    Raises:
        ValueError: an option is not what it should be.
    """

    layer_role = "logging"
    send_outlives_call = True

    def __init__(
        self,
        app: ASGIApp,
        *,
        sink: Annotated[
            SinkKind,
            Field(
                description="`logging` for the standard logging tree; `stdout`, `stderr` or the path "
                "of a file (with a slash) for batches of lines past it"
            ),
        ] = "logging",
        logger: Annotated[
            str, Field(description="the logger's name, for the sink `logging`")
        ] = "components.access",
        flush_interval: Annotated[
            timedelta | None, Field(description="how long lines wait at most; null: not at all")
        ] = timedelta(milliseconds=250),
        slow: Annotated[
            timedelta | None, Field(description="requests that take this long are WARNING")
        ] = timedelta(seconds=1),
        sample: Annotated[
            float,
            Field(
                ge=0,
                le=1,
                description="the share of requests that is written; slow ones, 5xx and exceptions "
                "always are",
            ),
        ] = 1.0,
        exclude: Annotated[
            Sequence[PathPattern],
            Field(description="paths that are not logged, such as `/health/*`"),
        ] = (),
        max_length: Annotated[
            int, Field(ge=16, le=4096, description="the longest text of a field, in characters")
        ] = 256,
    ) -> None:
        if not 0 <= sample <= 1:
            raise ValueError(f"`sample` must be from 0 to 1, not {sample}")
        if not 16 <= max_length <= 4096:
            raise ValueError(f"`max_length` must be from 16 to 4096, not {max_length}")
        self.app = app
        self._sink = LogSink(sink, logger=logger, flush_interval=flush_interval)
        self._takes, self._put = self._sink.takes, self._sink.put
        self._line = LogLine(max_length=max_length)
        self._write = self._line.of_request
        self._slow_seconds = slow.total_seconds() if slow is not None else float("inf")
        self._sample = sample
        self._is_excluded = exempts_path("exclude", exclude) if exclude else None
        # Tests set these.
        self._clock: Callable[[], float] = time.perf_counter
        self._now: Callable[[], float] = time.time
        self._random: Callable[[], float] = random.random

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (
            self._is_excluded is not None and self._is_excluded(app_path(scope))
        ):
            await self._other(scope, receive, send)
            return
        watch = _Watch(send, receive, self._clock)
        try:
            await self.app(scope, watch.receive, watch.send)
        except BaseException as error:
            name = type(error).__name__
            at_end(scope, error, lambda status: self._log(scope, watch, name, status))
            raise
        self._log(scope, watch, None, 500)

    def _log(self, scope: Scope, watch: "_Watch", error: str | None, outside: int) -> None:
        """Write the line; `outside` is the status where no start has passed here."""
        status, ended, marks = watch.status or outside, watch.ended, ""
        if not ended:
            ended = self._clock()
            # An answer without an end is one that nobody listened to any more.
            watch.gone = watch.gone or outside == CLIENT_LEFT or (not error and watch.status > 0)
        if watch.gone:
            marks = ',"disconnected":true'
            if watch.left_early and status >= 400:
                status = CLIENT_LEFT  # FastAPI answers 400 to a body whose sender has left
        seconds = ended - watch.started
        if seconds >= self._slow_seconds:
            marks = ',"slow":true' + marks
            level = WARNING
        else:
            level = WARNING if error or status >= 500 else INFO
        if level == INFO and self._sample < 1 and self._random() >= self._sample:
            return
        if self._takes(level):
            size = 0 if scope["method"] == "HEAD" else watch.size
            facts = (level, self._write, self._now(), status, size, seconds, marks, error)
            self._put(facts + who(scope))
            if level > INFO:
                self._sink.flush()

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and not (
            self._is_excluded is not None and self._is_excluded(app_path(scope))
        ):
            log = WebSocketLog(scope, self._sink, self._line, clock=self._clock, now=self._now)
            await log.run(self.app, receive, send)
        elif scope["type"] == "lifespan":

            async def send_flushed(message: Message) -> None:
                if message["type"].startswith("lifespan.shutdown."):
                    self._sink.flush()
                await send(message)

            await self.app(scope, receive, send_flushed)
        else:
            await self.app(scope, receive, send)


class _Watch:
    """What passes by of one request."""

    __slots__ = (
        "_clock",
        "_receive",
        "_send",
        "ended",
        "gone",
        "left_early",
        "size",
        "started",
        "status",
    )

    def __init__(self, send: Send, receive: Receive, clock: Callable[[], float]) -> None:
        self._send = send
        self._receive = receive
        self._clock = clock
        self.status = self.size = 0
        self.ended = 0.0
        self.gone = self.left_early = False
        self.started = clock()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self.ended:
            self.gone = True
            self.left_early = not self.status
        return message

    def send(self, message: Message) -> Awaitable[None]:
        kind = message["type"]
        if kind == "http.response.body":
            self.size += len(message.get("body", b""))
            if not message.get("more_body"):
                self.ended = self._clock()
        elif kind == "http.response.start":
            self.status = message["status"]
        elif kind == "http.response.pathsend":
            self.ended = self._clock()
        return self._send(message)
