"""A middleware of the application's own: how long an answer took, as a response header."""

from time import perf_counter
from typing import Annotated

from pydantic import Field
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class TimingMiddleware:
    """Adds `Server-Timing` to every HTTP response.

    The parameters after `app` are the options that a manifest may give, with their types.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        digits: Annotated[int, Field(ge=0, le=6, description="decimals of a millisecond")] = 1,
    ) -> None:
        self.app = app
        self.digits = digits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the header when the answer starts."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = perf_counter()

        async def send_timed(message: Message) -> None:
            if message["type"] == "http.response.start":
                milliseconds = (perf_counter() - start) * 1000
                value = f"app;dur={milliseconds:.{self.digits}f}"
                MutableHeaders(scope=message).append("Server-Timing", value)
            await send(message)

        await self.app(scope, receive, send_timed)
