"""An ASGI application under a path, which answers with and without the final slash.

Starlette's `Mount` does not match its bare path, so `/mcp` is answered with 307 to `/mcp/`; MCP
hosts drop the Authorization header when they follow it. In: a path, an application. Out: a route
that matches both alike, and gives the application what its own lifespan put into the state.
"""

from typing import Any

from starlette._utils import get_route_path
from starlette.datastructures import URL
from starlette.responses import RedirectResponse
from starlette.routing import Match, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

_REDIRECTED = "assembler.redirected"


class SlashMount(Mount):
    """A `Mount` whose bare path is the root of the mounted application.

    Static files that have an index are redirected there: the links of a page would lead elsewhere.

    `state` is what requests find on their state in the mounted application alone.
    """

    def __init__(self, path: str, app: ASGIApp, *, name: str | None = None) -> None:
        super().__init__(path, app, name=name)
        self.state: dict[str, Any] = {}
        # Links of an index are relative to the folder, whose path ends in a slash.
        self._is_folder = isinstance(app, StaticFiles) and app.html

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match what a mount matches, and the bare path, as if it ended in a slash."""
        if scope["type"] not in ("http", "websocket"):
            return Match.NONE, {}
        match, child = super().matches(scope)
        slash = ""
        if match is Match.NONE and not scope["path"].endswith("/"):
            slash = "/"
            match, child = super().matches({**scope, "path": scope["path"] + slash})
        if slash and self._is_folder and match is not Match.NONE:
            child[_REDIRECTED] = True
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
        if scope.pop(_REDIRECTED, False):
            await RedirectResponse(URL(scope=scope))(scope, receive, send)
            return
        if self.state:
            scope["state"] = {**scope.get("state", {}), **self.state}
        await self.app(scope, receive, send)
