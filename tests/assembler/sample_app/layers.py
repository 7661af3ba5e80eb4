"""Middleware of the sample application."""

import contextvars
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.assembler.sample_app.journal import note

CURRENT: contextvars.ContextVar[str] = contextvars.ContextVar("current", default="none")


class Label:
    """Adds its name to the header `x-labels` of each response, and notes each request."""

    def __init__(self, app: ASGIApp, *, name: str) -> None:
        self.app = app
        self.name = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def labelled(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("x-labels", self.name)
            await send(message)

        note(f"{self.name} in")
        await self.app(scope, receive, labelled)
        note(f"{self.name} out")


class Faulty:
    """Raises at the given moment, of requests whose path ends in `/faulty`."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        moment: Literal["before", "at_start", "after"],
        error: Callable[[], Exception] = lambda: RuntimeError("a faulty layer"),
    ) -> None:
        self.app = app
        self.moment = moment
        self.error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith("/faulty"):
            await self.app(scope, receive, send)
            return
        if self.moment == "before":
            raise self.error()

        async def faulty(message: Message) -> None:
            if self.moment == "at_start" and message["type"] == "http.response.start":
                raise self.error()
            await send(message)

        await self.app(scope, receive, faulty)
        if self.moment == "after":
            raise self.error()


class Refusing:
    """A constructor that takes what its hints allow, and refuses an odd number."""

    def __init__(self, app: ASGIApp, *, even: int = 0) -> None:
        if even % 2:
            raise ValueError(f"even is {even}, which is odd")
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class SetsContext:
    """Sets a context variable that the endpoint and the handlers read."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        token = CURRENT.set("from the layer")
        try:
            await self.app(scope, receive, send)
        finally:
            CURRENT.reset(token)


class Buffering:
    """Holds the start back until the body comes, and sends nothing without one."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held: list[Message] = []

        async def hold(message: Message) -> None:
            held.append(message)
            if message["type"] != "http.response.start":
                while held:
                    await send(held.pop(0))

        await self.app(scope, receive, hold)


class Twice:
    """Asks the application twice, and answers with its second response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def drop(message: Message) -> None:
            note(f"dropped {message['type']}")

        if scope["type"] == "http":
            await self.app(dict(scope), receive, drop)
        await self.app(scope, receive, send)


class WithApp:
    """Its parameter `app` is the application inside it, whatever else has that name."""

    def __init__(self, app: ASGIApp, limit: Any = None) -> None:
        self.app = app
        note(f"made around {type(app).__name__}, limit {limit!r}")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def forgetful(app: ASGIApp) -> Any:
    """A factory of a layer, without its `return`."""


async def add_label(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    """For `@app.middleware("http")` of old code."""
    response = await call_next(request)
    response.headers["x-labels"] = "legacy"
    return response
