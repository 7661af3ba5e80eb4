"""An app's router → an ASGI app that dispatches its requests over the routes that may match.

This is the index of flat routes, as every FastAPI before 0.137 has them, over which Starlette's own
dispatch runs; `included` builds on it for routers that are kept as they were included.
Requests about which the index cannot be sure go the plain way, through all routes.
"""

import copy
from collections.abc import Sequence
from typing import Any

from fastapi.routing import APIRoute, APIRouter, APIWebSocketRoute
from starlette._utils import get_route_path
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assembler.application.route_index.segments import (
    ANYWHERE,
    SegmentTree,
    Template,
    read_template,
)


class RouteIndex:
    """Stands in for `router.app`.

    Its table is made once the app has started, for integrations rely on routes being built no
    earlier, or on the first request; and again when the routes have changed.
    """

    def __init__(self, router: APIRouter) -> None:
        self._router = router
        self._plain: ASGIApp = router.app
        self._table: Table | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._plain(scope, receive, self._indexing(send))
            return
        found = self._find(scope) if scope["type"] in {"http", "websocket"} else None
        if found is None:
            await self._plain(scope, receive, send)
            return
        scope.setdefault("router", self._router)
        await self._dispatch(*found, scope, receive, send)

    async def _dispatch(
        self, routes: Sequence[BaseRoute], table: Any, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Run the router's own dispatch over `routes`, which `table` has found."""
        narrowed: Any = NarrowedRouter(self._router, routes)
        await APIRouter.app(narrowed, scope, receive, send)

    def _indexing(self, send: Send) -> Send:
        async def send_when_indexed(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._table = self._made_table()
            await send(message)

        return send_when_indexed

    def _made_table(self) -> "Table":
        return Table(self._router)

    def _find(self, scope: Scope) -> "tuple[list[BaseRoute], Table] | None":
        """The routes that may match, and the table that has them; None where that is not sure."""
        # Under a root path that ends in a slash a redirect may change more than the last slash.
        if scope.get("root_path", "").endswith("/") or self._is_reentered(scope):
            return None
        path = get_route_path(scope)
        if self._table is None:
            self._table = self._made_table()
        table = self._table
        routes = table.find(self._router, path)
        if routes is None:
            table = self._table = self._made_table()
            routes = table.find(self._router, path)
        # None again: they change faster than one can look.
        return None if routes is None else (routes, table)

    def _is_reentered(self, scope: Scope) -> bool:
        """Whether what was left in the scope by a route makes others match another way."""
        return False


class NarrowedRouter:
    """`router` with other routes; what is not said here is the router's own."""

    __slots__ = ("_router", "routes")

    def __init__(self, router: APIRouter, routes: Sequence[BaseRoute]) -> None:
        self._router = router
        self.routes = routes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._router, name)


class Table:
    """The routes as they were at one time. Never changed, so that threads may share it."""

    def __init__(self, router: APIRouter) -> None:
        # Noted first: a change while the table is made shows on the next request.
        self._routes: Sequence[BaseRoute] = copy.copy(router.routes)
        self._entries: list[tuple[int, BaseRoute, BaseRoute]] = []
        self._tree = SegmentTree()
        self._fill()

    def _fill(self) -> None:
        for position, route in enumerate(self._routes):
            self._enter(position, template_of(route, route), route)

    def _enter(self, position: int, template: Template, candidate: BaseRoute) -> None:
        self._tree.add(len(self._entries), template)
        self._entries.append((position, self._routes[position], candidate))

    def find(self, router: APIRouter, path: str) -> list[BaseRoute] | None:
        """The routes that may match `path`, in order; None if the table is out of date."""
        routes = router.routes
        # Compared by identity first, and in C: a thousand routes take less than a microsecond.
        if routes != self._routes:
            return None
        found = []
        for number in self._tree.find(path):
            position, route, candidate = self._entries[number]
            # Equal is not the same (another route may have the same path and endpoint), and another
            # thread may be taking routes out.
            if position >= len(routes) or routes[position] is not route:
                return None
            found.append(candidate)
        return found


_MATCH_BY_PATH = frozenset(
    each.matches for each in (Route, WebSocketRoute, Mount, APIRoute, APIWebSocketRoute)
)


def template_of(route: BaseRoute, spelled: Any) -> Template:
    """What `route` may match if it goes by `spelled`: itself, or what its inclusion made of it."""
    if type(route).matches not in _MATCH_BY_PATH or "matches" in vars(route):
        return ANYWHERE
    path = getattr(spelled, "path", "")
    if isinstance(route, Mount):
        path += "/{path:path}"
    return read_template(path, spelled.path_regex, spelled.param_convertors)
