"""An app's router → an ASGI app that dispatches its requests over the routes that may match.

Requests about which the index cannot be sure go the plain way, through all routes.
"""

import copy
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

from fastapi.routing import (
    APIRoute,
    APIRouter,
    APIWebSocketRoute,
    _EffectiveRouteContext,
    _IncludedRouter,
)
from starlette._utils import get_route_path
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assembler.application.route_index.narrowed import (
    Branch,
    IncludedMark,
    NarrowedRouter,
    SureBranch,
)
from assembler.application.route_index.segments import (
    ANYWHERE,
    SegmentTree,
    Template,
    read_template,
)

Dispatched = Callable[[Sequence[BaseRoute], Scope, Receive, Send], Awaitable[bool]]


class RouteIndex:
    """Stands in for `router.app`.

    Its table is made once the app has started, for FastAPI builds included routes no earlier and
    integrations rely on that, or on the first request; and again when the routes have changed.
    """

    def __init__(self, router: APIRouter, *, in_one_step: bool) -> None:
        self._router = router
        self._plain: ASGIApp = router.app
        self._table: _Table | None = None
        self._dispatched: Dispatched | None = None
        self._branch: type[SureBranch] = SureBranch
        if in_one_step:
            from assembler.application.route_index.leaves import LeafBranch, dispatched  # noqa: PLC0415 - newer FastAPI's

            self._dispatched, self._branch = dispatched, LeafBranch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._plain(scope, receive, self._indexing(send))
            return
        found = self._find(scope) if scope["type"] in {"http", "websocket"} else None
        if found is None:
            await self._plain(scope, receive, send)
            return
        scope.setdefault("router", self._router)
        routes, included = found
        if (
            self._dispatched is not None
            and not self._router.form_limits
            and await self._dispatched(routes, scope, receive, send)
        ):
            return
        narrowed: Any = NarrowedRouter(self._router, routes, included)
        await APIRouter.app(narrowed, scope, receive, send)

    def _indexing(self, send: Send) -> Send:
        async def send_when_indexed(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self._table = self._made_table()
            await send(message)

        return send_when_indexed

    def _made_table(self) -> "_Table":
        return _Table(self._router, self._branch)

    def _find(self, scope: Scope) -> tuple[list[BaseRoute], list[_EffectiveRouteContext]] | None:
        """The routes that may match, and the low-priority ones; None where that is not sure."""
        # Under a root path that ends in a slash a redirect may change more than the last slash.
        if scope.get("root_path", "").endswith("/") or _is_reentered(scope):
            return None
        path = get_route_path(scope)
        if self._table is None:
            self._table = self._made_table()
        table = self._table
        routes = table.find(self._router, path)
        if routes is None:
            table = self._table = self._made_table()
            routes = table.find(self._router, path)
        if routes is None:  # they change faster than one can look
            return None
        return routes, table.low_priority_included


def _is_reentered(scope: Scope) -> bool:
    """Whether an endpoint passed its scope on to the app: its route now matches as included."""
    context = scope.get("fastapi", {}).get("effective_route_context")
    return context is not None and isinstance(context.original_route, APIRoute)


class _Table:
    """The routes as they were at one time. Never changed, so that threads may share it."""

    def __init__(self, router: APIRouter, branch: type[SureBranch]) -> None:
        # Noted first: a change while the table is made shows on the next request.
        self._routes: Sequence[BaseRoute] = copy.copy(router.routes)
        self._routers = tuple({id(each): each for each in _included_routers(router)}.values())
        self._version = self._version_now()
        self._entries: list[tuple[int, BaseRoute, BaseRoute]] = []
        self._tree = SegmentTree()
        self.low_priority_included: list[_EffectiveRouteContext] = []
        mark: list[tuple[Template, BaseRoute]] = [(ANYWHERE, IncludedMark())]
        for position, route in enumerate(self._routes):
            if not isinstance(route, _IncludedRouter):
                self._enter(position, _template(route, route), route)
                continue
            self.low_priority_included += route.effective_low_priority_routes()
            for template, candidate in chain(mark, _branches(route, branch)):
                self._enter(position, template, candidate)
            mark = []

    def _enter(self, position: int, template: Template, candidate: BaseRoute) -> None:
        self._tree.add(len(self._entries), template)
        self._entries.append((position, self._routes[position], candidate))

    def find(self, router: APIRouter, path: str) -> list[BaseRoute] | None:
        """The routes that may match `path`, in order; None if the table is out of date."""
        routes = router.routes
        # Compared by identity first, and in C: a thousand routes take less than a microsecond.
        if routes != self._routes or self._version_now() != self._version:
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

    def _version_now(self) -> int:
        return sum(map(_version_of, self._routers))


_version_of = attrgetter("_routes_version")


def _included_routers(router: APIRouter) -> Iterator[APIRouter]:
    for route in router.routes:
        if isinstance(route, _IncludedRouter):
            yield route.original_router
            yield from _included_routers(route.original_router)


def _branches(
    route: _IncludedRouter, branch: type[SureBranch]
) -> Iterator[tuple[Template, _IncludedRouter]]:
    """Each single route of an included router, with the paths that it may match."""
    candidates = _candidates(route)
    if candidates is None:
        yield ANYWHERE, route
        return
    for candidate in candidates:
        if isinstance(candidate, _IncludedRouter):
            for template, inner in _branches(candidate, branch):
                if isinstance(inner, SureBranch):
                    yield template, branch(route, inner)
                else:
                    yield template, Branch(route, inner)
            continue
        matched = candidate.starlette_route or candidate.original_route
        template = _template(matched, candidate if isinstance(matched, APIRoute) else matched)
        if template is ANYWHERE:
            yield template, Branch(route, candidate)
        else:
            yield template, branch(route, candidate)


def _candidates(
    route: _IncludedRouter,
) -> Sequence[_EffectiveRouteContext | _IncludedRouter] | None:
    """What FastAPI tries in an included router; None if the router has a say in it."""
    router = route.original_router
    is_known = type(route) is _IncludedRouter and all(
        getattr(type(router), name) is getattr(APIRouter, name) and name not in vars(router)
        for name in ("matches", "handle")
    )
    try:
        return route.effective_candidates() if is_known else None
    except Exception:  # noqa: BLE001 - FastAPI raises it again for each request that comes here
        return None


_MATCH_BY_PATH = frozenset(
    each.matches for each in (Route, WebSocketRoute, Mount, APIRoute, APIWebSocketRoute)
)


def _template(route: BaseRoute, spelled: Any) -> Template:
    """What `route` may match if it goes by `spelled`: itself, or what its inclusion made of it."""
    if type(route).matches not in _MATCH_BY_PATH or "matches" in vars(route):
        return ANYWHERE
    path = getattr(spelled, "path", "")
    if isinstance(route, Mount):
        path += "/{path:path}"
    return read_template(path, spelled.path_regex, spelled.param_convertors)
