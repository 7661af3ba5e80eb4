"""FastAPI's walk from an app's router to a route of an included router, in one step.

Level by level FastAPI asks again which router was included and which route was selected, which
takes longer than to find the route. Where the route is known, only what the walk leaves in the scope
is left to be done: 7 of 46 µs for two levels (the row `in one step` of `tests.benchmarks.dispatch`).

This repeats what some functions of FastAPI 0.165 do, so it is used under that version alone;
elsewhere FastAPI's own are driven by `narrowed`.
"""

from collections.abc import Sequence
from typing import Any

from fastapi.routing import (
    APIRoute,
    _apply_router_form_limits,
    _get_fastapi_scope,
    _update_scope,
)
from fastapi.telemetry._api import _route_selected
from starlette.routing import BaseRoute, Match, Mount
from starlette.types import Receive, Scope, Send

from assembler.application.route_index.narrowed import SureBranch


class LeafBranch(SureBranch):
    """A branch that ends in a route; handling it goes to the route at once."""

    def __init__(self, origin: Any, candidate: Any) -> None:
        super().__init__(origin, candidate)
        inner = candidate if isinstance(candidate, LeafBranch) else None
        limits = origin.include_context.form_limits
        self._form_limits: tuple[Any, ...] = (limits,) if limits else ()
        self._form_limits += inner._form_limits if inner else ()  # noqa: SLF001 - of its own class
        self._innermost: Any = inner._innermost if inner else origin  # noqa: SLF001 - the same

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        leaf = self._leaf
        route = leaf.original_route
        if not isinstance(route, APIRoute):
            await super().handle(scope, receive, send)
            return
        for limits in self._form_limits:
            _apply_router_form_limits(scope, limits)
        fastapi_scope = _get_fastapi_scope(scope)
        fastapi_scope["included_router"] = self._innermost
        _route_selected(scope=scope, path=leaf.path_format)
        fastapi_scope["effective_route_context"] = leaf
        scope["route"] = route
        await route.handle(scope, receive, send)


async def dispatched(
    routes: Sequence[BaseRoute], scope: Scope, receive: Receive, send: Send
) -> bool:
    """Give the request to the first route that matches it in full; tell whether there was one."""
    for route in routes:
        match, child_scope = route.matches(scope)
        if match == Match.FULL:
            _update_scope(scope, child_scope)
            path = getattr(route, "path_format", None)
            _route_selected(scope=scope, path=path, mount=isinstance(route, Mount))
            await route.handle(scope, receive, send)
            return True
    return False
