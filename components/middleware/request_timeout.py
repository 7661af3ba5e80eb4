"""A request -> its answer, or 504 when that does not begin in time.

In: HTTP requests. Out: the application's answer; when it has not begun within `timeout`, the
application is cancelled (in its own task, so that its contextvars and cancel scopes stay whole) and
504 is the answer. What has begun is never cut off, so streams may last. Left alone: `exempt` paths,
websockets.

A function that runs in a thread cannot be cancelled. Where it runs in AnyIO's threads (endpoints and
dependencies without `async`, `run_in_threadpool`) the client gets its 504 at once, and the request
goes on unheard until the function returns: it keeps its place among the 40 threads, so that they
stay 40, and what its dependencies opened stays open for it. A thread of `asyncio.to_thread`, of an
executor or of a limiter of one's own is not known here: there the request ends while the thread works
on, and only that executor bounds how many.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Annotated

import anyio
import anyio.to_thread
from pydantic import Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.http.error_response import BodyOption, ErrorResponse, Fault, valid_shape
from components.http.openapi import Offer, refusals
from components.http.paths import PathPattern, app_path, exempts_path, means_route

_GRACE_SECONDS = 0.1  # that a cancelled application has to answer by itself


class RequestTimeoutMiddleware:
    """Answers 504 when the application does not begin to answer within `timeout`.

    The time that a client takes to send its body counts too.

    Raises:
        TypeError, ValueError: an option is not what it should be.
    """

    layer_role = "timeout"
    send_outlives_call = True

    def __init__(
        self,
        app: ASGIApp,
        *,
        timeout: Annotated[
            timedelta,
            Field(
                gt=timedelta(0),
                description="from the request to the start of its answer",
                json_schema_extra={"looser": "higher"},
            ),
        ],
        exempt: Annotated[
            Sequence[PathPattern],
            Field(
                description="paths without this limit, such as `/reports/*`",
                json_schema_extra={"looser": "longer"},
            ),
        ] = (),
        body: BodyOption = "accept",
    ) -> None:
        if timeout <= timedelta(0):
            raise ValueError("`timeout` must be more than nothing")
        self.app = app
        self._seconds = timeout.total_seconds()
        self._fault = Fault(504, "timeout", f"there was no answer within {self._seconds:g} s")
        self._exempt = exempts_path("exempt", exempt)
        self._body = valid_shape(body)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._limiter: anyio.CapacityLimiter

    def openapi_operation(self, method: str, path: str) -> Offer | None:
        """The answer to a request of a route that takes too long."""
        if means_route(self._exempt, path):
            return None
        return refusals(self._body, self._fault, limits={504: [{"seconds": self._seconds}]})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._exempt(app_path(scope)):
            await self.app(scope, receive, send)
            return
        late = partial(ErrorResponse(self._fault, scope, body=self._body), scope, receive)
        call = _TimedCall(send, late, self._threads())
        await call.run(self.app, scope, receive, self._seconds)

    def _threads(self) -> anyio.CapacityLimiter:
        """AnyIO's, of the running loop."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._limiter = loop, anyio.to_thread.current_default_thread_limiter()
        return self._limiter


class _TimedCall:
    """One request under its limit.

    Args:
        send: where messages go on.
        late: sends the 504 through what it is given.
        threads: whoever is in a thread of AnyIO has borrowed from it.
    """

    __slots__ = (
        "_deadline",
        "_is_app_s",
        "_late",
        "_send",
        "_task",
        "_telling",
        "_threads",
        "_timer",
    )

    def __init__(
        self, send: Send, late: Callable[[Send], Awaitable[None]], threads: anyio.CapacityLimiter
    ) -> None:
        self._send = send
        self._late = late
        self._threads = threads
        self._task = asyncio.current_task()
        self._deadline = asyncio.timeout(None)
        self._timer: asyncio.TimerHandle | None = None
        self._is_app_s = False  # the answer is the application's own
        self._telling: asyncio.Task[None] | None = None

    async def run(self, app: ASGIApp, scope: Scope, receive: Receive, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)
        try:
            async with self._deadline:
                await app(scope, receive, self.send)
        except TimeoutError:
            if self._is_app_s or not self._deadline.expired():
                raise  # it is the application's own
        finally:
            self._stop_timer()
        if self._telling is not None:
            await self._telling
        elif self._deadline.expired() and not self._is_app_s:
            await self._late(self._send)

    async def send(self, message: Message) -> None:
        """Pass on what comes in time; what comes after the 504 is unheard, and ends the application."""
        if self._telling is not None:
            if not self._deadline.expired():
                self._deadline.reschedule(asyncio.get_running_loop().time())
            await asyncio.sleep(0)
            return
        if not self._is_app_s:
            self._is_app_s = True
            self._stop_timer()
            if self._deadline.expired():
                # The cancellation may be on its way still: it must not cut a begun answer off.
                await asyncio.sleep(0)
        await self._send(message)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        if self._task in self._threads.statistics().borrowers:
            self._tell()
        else:
            self._deadline.reschedule(loop.time())
            # A task that this one waits for may be in a thread.
            self._timer = loop.call_later(_GRACE_SECONDS, self._tell)

    def _tell(self) -> None:
        self._telling = asyncio.get_running_loop().create_task(self._tell_late())

    async def _tell_late(self) -> None:
        await self._late(self._send)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
