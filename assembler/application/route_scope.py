"""Routes with a host, layers or handlers of their own → routes of the application around them.

In: the routes that FastAPI made of one entry, a pattern of hosts, a prefix. Out: a `RouteScope` that
stands in their place: it matches what they match, for its host alone, and passes the request to
`stack`, which has the entry's own layers around them. A `ScopeRemainder` stands behind all routes: what
no route answers below the prefix passes the layers of the scope, and is a 404 or 405 there.
"""

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette._utils import get_route_path
from starlette.datastructures import URLPath
from starlette.routing import BaseRoute, Match, NoMatchFound, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send


class RouteScope(BaseRoute):
    """The routes of one entry; `entries` are they, `stack` is what a request passes to them."""

    def __init__(
        self, entries: Sequence[BaseRoute], *, host: str | None, redirect_slashes: bool
    ) -> None:
        self.entries = tuple(entries)
        self.host = host
        self._pattern = self._convertors = None
        if host is not None:
            self._pattern, _, self._convertors = compile_path(host)
        self.router = APIRouter(redirect_slashes=redirect_slashes)
        self.router.routes.extend(entries)
        self.stack: ASGIApp = self.router

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match what one of the entries matches, where the host is the one that is wanted."""
        if scope["type"] not in ("http", "websocket"):
            return Match.NONE, {}
        child = self.hosted(scope)
        if child is None:
            return Match.NONE, {}
        best, asked = Match.NONE, {**scope, **child}
        for route in self.entries:
            match, _ = route.matches(asked)
            if match is Match.FULL:
                return match, child
            best = match if best is Match.NONE else best
        return best, child

    def hosted(self, scope: Scope) -> Scope | None:
        """Return the parameters of the host as a part of the scope, None for another host."""
        if self._pattern is None or self._convertors is None:
            return {}
        fields = dict(scope["headers"])
        host = fields.get(b"host", b"").decode("latin-1").rpartition("]")
        name = (host[0] + host[1] + host[2].partition(":")[0]).lower()
        found = self._pattern.match(name)
        if found is None:
            return None
        read = {key: self._convertors[key].convert(text) for key, text in found.groupdict().items()}
        return {"path_params": {**scope.get("path_params", {}), **read}}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request through the entry's own layers."""
        await self.stack(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Return the path of a route inside; raises `NoMatchFound`."""
        for route in self.entries:
            try:
                return route.url_path_for(name, **path_params)
            except NoMatchFound:
                continue
        raise NoMatchFound(name, path_params)


class ScopeRemainder(BaseRoute):
    """What is left below the prefix of a scope when no route answers: asked last, and in part."""

    entries: tuple[BaseRoute, ...] = ()

    def __init__(self, scope: RouteScope, prefix: str) -> None:
        self.scope = scope
        self.prefix = prefix

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match in part what lies below the prefix: any route that matches in full comes first."""
        if scope["type"] != "http":
            return Match.NONE, {}
        path = get_route_path(scope)
        if path != self.prefix and not path.startswith(f"{self.prefix}/"):
            return Match.NONE, {}
        child = self.scope.hosted(scope)
        return (Match.NONE, {}) if child is None else (Match.PARTIAL, child)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the routes of the scope refuse it, inside its layers."""
        await self.scope.stack(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: Any) -> URLPath:
        """Raise `NoMatchFound`: it has no routes."""
        raise NoMatchFound(name, path_params)
