"""A request -> the same request, unless its body is longer than allowed.

In: HTTP requests. Out: 413 for a Content-Length over the limit, before anything is read, and for a body
that turns out to be longer while the application reads it; nothing is buffered. Not limited: `exempt`
paths, bodies that the application does not read, and websocket messages, which the server limits.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.http.error_response import BodyOption, ErrorResponse, Fault, valid_shape
from components.http.openapi import Offer, refusals
from components.http.paths import PathPattern, app_path, exempts_path, means_route

_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # by custom
_MOST_DIGITS = 18  # an exabyte is over any limit, however many more follow


class BodyLimitMiddleware:
    """Answers 413 where a body is longer than `max_bytes`, as it travels (compressed or not).

    Raises:
        TypeError, ValueError: an option is not what it should be.
    """

    layer_role = "body-limit"

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: Annotated[
            int,
            Field(ge=0, description="the longest body", json_schema_extra={"looser": "higher"}),
        ],
        exempt: Annotated[
            Sequence[PathPattern],
            Field(
                description="paths without this limit, such as `/uploads/*`",
                json_schema_extra={"looser": "longer"},
            ),
        ] = (),
        body: BodyOption = "accept",
    ) -> None:
        if max_bytes < 0:
            raise ValueError(f"`max_bytes` must not be negative: {max_bytes}")
        self.app = app
        self._max_bytes = max_bytes
        message = f"the body is longer than {max_bytes} bytes"
        self._fault = Fault(413, "body_too_large", message, {"max_bytes": max_bytes})
        self._exempt = exempts_path("exempt", exempt)
        self._body = valid_shape(body)

    def openapi_operation(self, method: str, path: str) -> Offer | None:
        """The refusal of a body that is too long, where there is one to send."""
        if method in _WITHOUT_BODY or means_route(self._exempt, path):
            return None
        return refusals(self._body, self._fault, limits={413: [{"bytes": self._max_bytes}]})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._exempt(app_path(scope)):
            await self.app(scope, receive, send)
            return
        if declared_bytes(scope) > self._max_bytes:
            await self._refuse(scope, receive, send)
            return
        await self._count(scope, receive, send)

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        left = self._max_bytes
        started = False

        async def receive_counted() -> Message:
            nonlocal left
            message = await receive()
            if message["type"] == "http.request":
                left -= len(message.get("body", b""))
                if left < 0:
                    raise HTTPException(413)
            return message

        async def send_unless_refused(message: Message) -> None:
            nonlocal started
            # Whatever the application made of that exception, FastAPI a 400: the answer is 413.
            if started or left >= 0:
                started = True
                await send(message)

        try:
            await self.app(scope, receive_counted, send_unless_refused)
        except Exception:
            if started or left >= 0:
                raise
        if left < 0 and not started:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await ErrorResponse(self._fault, scope, body=self._body)(scope, receive, send)


def declared_bytes(scope: Scope) -> int:
    """The request's Content-Length; 0 without one, or where it is no number."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            # Python refuses to convert thousands of digits, which a client may send.
            return int(value[:_MOST_DIGITS])
    return 0
