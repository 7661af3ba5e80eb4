"""A request -> its answer, or 504 when that does not begin in time.

In: HTTP requests. Out: the application's answer; when it has not begun within `timeout`, the
application is cancelled (in its own task, so that its contextvars and cancel scopes stay whole) and
504 is the answer. What has begun is never cut off, so streams may last. Left alone: `exempt` paths,
websockets. A function that runs in a thread cannot be cancelled: it runs on, unheard.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated

from pydantic import Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.http.error_response import BodyOption, ErrorResponse, Fault, valid_shape
from components.http.paths import any_path_test, app_path


class RequestTimeoutMiddleware:
    """Answers 504 when the application does not begin to answer within `timeout`.

    The time that a client takes to send its body counts too.

    Raises:
        TypeError, ValueError: an option is not what it should be.
    """

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
            Sequence[str],
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
        self._exempt = any_path_test("exempt", exempt)
        self._body = valid_shape(body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._exempt(app_path(scope)):
            await self.app(scope, receive, send)
            return
        deadline = asyncio.timeout(self._seconds)
        started = False

        async def send_in_time(message: Message) -> None:
            nonlocal started
            if not started:
                if deadline.expired():
                    # The cancellation may be on its way still: it must not cut a begun answer off.
                    await asyncio.sleep(0)
                else:
                    deadline.reschedule(None)
                started = True
            await send(message)

        try:
            async with deadline:
                await self.app(scope, receive, send_in_time)
        except TimeoutError:
            if started or not deadline.expired():
                raise  # it is the application's own
        if deadline.expired() and not started:
            fault = Fault(504, "timeout", f"there was no answer within {self._seconds:g} s")
            await ErrorResponse(fault, scope, body=self._body)(scope, receive, send)
