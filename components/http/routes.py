"""A scope as the routers left it -> the route that they took.

FastAPI leaves a route of an included router as it was declared, without the prefixes; what its
inclusion made of it, prefixes and all, is in FastAPI's own context of the request. Everybody who
names a route reads both here.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from starlette._utils import get_route_path
from starlette.types import Scope

_NOTHING: dict[str, Any] = {}


def allowed_methods(scope: Scope) -> list[str]:
    """The methods of all routes that have the request's path, sorted (RFC 9110, 10.2.1).

    Starlette tells those of the first one alone, where each method has a route of its own.
    """
    path = get_route_path(scope)
    found: set[str] = set()
    # As FastAPI included them; an application that has no FastAPI does not get it here.
    contexts: Any = getattr(sys.modules.get("fastapi.routing"), "iter_route_contexts", list)
    for each in contexts(list(_flat(getattr(scope.get("app"), "routes", ())))):
        pattern = getattr(each, "path_regex", None)
        if pattern is not None and pattern.match(path):
            found.update(getattr(each, "methods", None) or ())
    return sorted(found)


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    for route in routes:
        # A route may hold others, as one of the assembler's with layers of its own does.
        yield from getattr(route, "entries", (route,))


def matched_route(scope: Scope) -> Any:
    """The route, or FastAPI's view of it as it was included; None where nothing has matched."""
    route = scope.get("route")
    context = scope.get("fastapi", _NOTHING).get("effective_route_context")
    # one that is left over from outside a mounted application is about another route
    if context is not None and getattr(context, "original_route", None) is route:
        return context
    return route
