"""The index where FastAPI keeps included routers as objects, as it does from 0.137 on.

In: an app's router. Out: an index that leads through included routers to their single routes, and
lets FastAPI's own dispatch, which `narrowed` has, run over those that may match.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

from fastapi.routing import (
    APIRoute,
    APIRouter,
    _EffectiveRouteContext,
    _IncludedRouter,
)
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from assembler.application.route_index.index import RouteIndex, Table, template_of
from assembler.application.route_index.narrowed import (
    Branch,
    IncludedMark,
    NarrowedIncluded,
    SureBranch,
)
from assembler.application.route_index.segments import ANYWHERE, Template

Dispatched = Callable[[Sequence[BaseRoute], Scope, Receive, Send], Awaitable[bool]]


class IncludedRouteIndex(RouteIndex):
    """An index that enters included routers; FastAPI builds their routes late."""

    def __init__(self, router: APIRouter, *, in_one_step: bool) -> None:
        super().__init__(router)
        self._dispatched: Dispatched | None = None
        self._branch: type[SureBranch] = SureBranch
        if in_one_step:
            from assembler.application.route_index.leaves import LeafBranch, dispatched  # noqa: PLC0415 - newer FastAPI's

            self._dispatched, self._branch = dispatched, LeafBranch

    async def _dispatch(
        self, routes: Sequence[BaseRoute], table: Any, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if (
            self._dispatched is not None
            and not self._router.form_limits
            and await self._dispatched(routes, scope, receive, send)
        ):
            return
        narrowed: Any = NarrowedIncluded(self._router, routes, table.low_priority_included)
        await APIRouter.app(narrowed, scope, receive, send)

    def _made_table(self) -> "_IncludedTable":
        return _IncludedTable(self._router, self._branch)

    def _is_reentered(self, scope: Scope) -> bool:
        """Whether an endpoint passed its scope on to the app: its route now matches as included."""
        context = scope.get("fastapi", {}).get("effective_route_context")
        return context is not None and isinstance(context.original_route, APIRoute)


class _IncludedTable(Table):
    """The routes at one time, with those of included routers."""

    def __init__(self, router: APIRouter, branch: type[SureBranch]) -> None:
        self._branch = branch
        self._routers = tuple({id(each): each for each in _included_routers(router)}.values())
        self._version = self._version_now()
        self.low_priority_included: list[_EffectiveRouteContext] = []
        super().__init__(router)

    def _fill(self) -> None:
        mark: list[tuple[Template, BaseRoute]] = [(ANYWHERE, IncludedMark())]
        for position, route in enumerate(self._routes):
            if not isinstance(route, _IncludedRouter):
                self._enter(position, template_of(route, route), route)
                continue
            self.low_priority_included += route.effective_low_priority_routes()
            for template, candidate in chain(mark, _branches(route, self._branch)):
                self._enter(position, template, candidate)
            mark = []

    def find(self, router: APIRouter, path: str) -> list[BaseRoute] | None:
        """The routes that may match `path`, in order; None if the table is out of date."""
        return super().find(router, path) if self._version_now() == self._version else None

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
        template = template_of(matched, candidate if isinstance(matched, APIRoute) else matched)
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
