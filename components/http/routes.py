"""A scope as the routers left it -> the route that they took.

FastAPI leaves a route of an included router as it was declared, without the prefixes; what its
inclusion made of it, prefixes and all, is in FastAPI's own context of the request. Everybody who
names a route reads both here.
"""

from typing import Any

from starlette.types import Scope

_NOTHING: dict[str, Any] = {}


def matched_route(scope: Scope) -> Any:
    """The route, or FastAPI's view of it as it was included; None where nothing has matched."""
    route = scope.get("route")
    context = scope.get("fastapi", _NOTHING).get("effective_route_context")
    # one that is left over from outside a mounted application is about another route
    if context is not None and getattr(context, "original_route", None) is route:
        return context
    return route
