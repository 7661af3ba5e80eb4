"""Layers of the service."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class VersionHeaderMiddleware:
    """Says in each answer which version gave it."""

    def __init__(self, app: ASGIApp, version: str, header: str = "X-Version") -> None:
        self.app = app
        self.version = version
        self.header = header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and edit the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[self.header] = self.version
            await send(message)

        await self.app(scope, receive, with_version)
