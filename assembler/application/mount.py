"""An ASGI application under a path, which answers with and without the final slash.

Starlette's `Mount` does not match its bare path, so `/mcp` is answered with 307 to `/mcp/`; MCP
hosts drop the Authorization header when they follow it. In: a path, an application. Out: a route
that matches both alike, and gives the application what its own lifespan put into the state.
"""

from typing import Any

from starlette._utils import get_route_path
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Receive, Scope, Send


class SlashMount(Mount):
    """A `Mount` whose bare path is the root of the mounted application.

    `state` is what requests find on their state in the mounted application alone.
    """

    def __init__(self, path: str, app: ASGIApp, *, name: str | None = None) -> None:
        super().__init__(path, app, name=name)
        self.state: dict[str, Any] = {}

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match what a mount matches, and the bare path, as if it ended in a slash."""
        if scope["type"] not in ("http", "websocket"):
            return Match.NONE, {}
        match, child = super().matches(scope)
        slash = ""
        if match is Match.NONE and not scope["path"].endswith("/"):
            slash = "/"
            match, child = super().matches({**scope, "path": scope["path"] + slash})
        # Where a proxy has stripped the root path, the mounted application needs it back, or it
        # would not find its own path in what follows (ASGI: `path` includes `root_path`).
        path = scope.get("root_path", "") + get_route_path(scope) + slash
        if match is not Match.NONE and path != scope["path"]:
            child["path"] = path
            raw_path = scope.get("raw_path")
            if raw_path is not None:
                child["raw_path"] = raw_path + slash.encode()
        return match, child

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, with the state of the mounted application's own lifespan."""
        if self.state:
            scope["state"] = {**scope.get("state", {}), **self.state}
        await self.app(scope, receive, send)
