"""FastAPI's routers, narrowed: FastAPI's own code, run over fewer routes.

A `NarrowedIncluded` is a router whose dispatch sees only some of its routes. A `Branch` is an
included router in which FastAPI sees one route. A `SureBranch` says so only once: FastAPI matches
an included route again at each level on the way to it, which can be left out where the match
depends on nothing but the request.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi.routing import (
    APIRoute,
    APIRouter,
    _EffectiveRouteContext,
    _get_fastapi_scope,
    _get_scope_included_router,
    _IncludedRouter,
)
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from assembler.application.route_index.index import NarrowedRouter


class NarrowedIncluded(NarrowedRouter):
    """The same, with what FastAPI tries last."""

    __slots__ = ("_low_priority_included",)

    def __init__(
        self,
        router: APIRouter,
        routes: Sequence[BaseRoute],
        low_priority_included: Sequence[_EffectiveRouteContext],
    ) -> None:
        super().__init__(router, routes)
        self._low_priority_included = low_priority_included

    def _match_low_priority(self, scope: Scope) -> Any:
        match = APIRouter._match_low_priority  # noqa: SLF001 - FastAPI's code, over these routes
        return match(self, scope)  # type: ignore[arg-type]  # stands in

    def _iter_low_priority_routes(self) -> Iterator[BaseRoute | _EffectiveRouteContext]:
        yield from self._router._low_priority_routes  # noqa: SLF001 - as FastAPI does
        yield from self._low_priority_included


class Branch(_IncludedRouter):
    """`origin` with a single route, which may again be in a branch."""

    def __init__(
        self, origin: _IncludedRouter, candidate: _EffectiveRouteContext | _IncludedRouter
    ) -> None:
        super().__init__(origin.original_router, origin.include_context)
        self._origin = origin
        self._candidate = candidate

    def effective_candidates(self) -> list[_EffectiveRouteContext | _IncludedRouter]:
        return [self._candidate]

    def _match(self, scope: Scope) -> Any:
        asked = _get_scope_included_router(scope)
        if asked is self or asked is self._origin:
            return self._match_one(scope)
        # Neither matching nor handling: telemetry asks where a redirect would lead.
        return self._origin._match(scope)  # noqa: SLF001 - of its base class

    def _match_one(self, scope: Scope) -> Any:
        return super()._match(scope)

    async def _handle_selected(self, scope: Scope, receive: Receive, send: Send) -> None:
        # What follows sees the router that FastAPI would have put there.
        _get_fastapi_scope(scope)["included_router"] = self._origin
        await super()._handle_selected(scope, receive, send)


class SureBranch(Branch):
    """A branch that ends in a leaf, matched once, when the app's router asks."""

    def __init__(
        self, origin: _IncludedRouter, candidate: "_EffectiveRouteContext | SureBranch"
    ) -> None:
        super().__init__(origin, candidate)
        self._selected: tuple[BaseRoute, _EffectiveRouteContext | None]
        if isinstance(candidate, SureBranch):
            self._leaf: _EffectiveRouteContext = candidate._leaf  # noqa: SLF001 - of its own class
            self._selected = candidate, None
        else:
            self._leaf = candidate
            self._selected = candidate.starlette_route or candidate.original_route, candidate

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = self._leaf.matches(scope)
        if match is not Match.NONE and isinstance(self._leaf.original_route, APIRoute):
            child_scope["route"] = self._leaf.original_route
        return match, child_scope

    def _match_one(self, scope: Scope) -> Any:
        # Asked only after `matches` said yes and its scope was taken over.
        return Match.FULL, {}, *self._selected


class IncludedMark(BaseRoute):
    """Where the first included router stands: trying one leaves a mark in the scope."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        _get_fastapi_scope(scope)
        return Match.NONE, {}
