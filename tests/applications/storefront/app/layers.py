"""Layers that more than one of the applications has."""

import logging

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("app.layers")


class HeaderMiddleware:
    """Adds one header to each answer."""

    def __init__(self, app: ASGIApp, name: str, value: str) -> None:
        self.app = app
        self.name = name
        self.value = value

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and edit the answer."""

        async def edited(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append(self.name, self.value)
            await send(message)

        await self.app(scope, receive, edited if scope["type"] == "http" else send)


class KeyMiddleware:
    """Lets in who has one of the keys."""

    def __init__(self, app: ASGIApp, keys: list[str], exempt: tuple[str, ...] = ()) -> None:
        self.app = app
        self.keys = frozenset(keys)
        self.exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse with 401, or pass on."""
        is_open = scope["type"] != "http" or scope["path"].endswith(self.exempt or ("\0",))
        if is_open or Headers(scope=scope).get("X-Key") in self.keys:
            await self.app(scope, receive, send)
            return
        logger.info("no key for %s", scope["path"])
        await JSONResponse({"detail": "a key is needed"}, 401)(scope, receive, send)
