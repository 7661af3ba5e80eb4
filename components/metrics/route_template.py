"""A request that was answered -> the template of its route, such as `/users/{id}`.

In: the scope as the routers left it, and the root path that it came with. Out: one of a bounded number
of texts: a template, with what mounts put in front of it; `/static/*` for what a mounted application
did with the rest; `(unmatched)` where no route matched, and `(unrouted)` where a layer answered before
any router was asked, as a rate limit does.

A path itself never becomes a text here: anyone may ask for any number of them.
"""

from typing import Any

from starlette.routing import Mount
from starlette.types import Scope

UNMATCHED = "(unmatched)"
UNROUTED = "(unrouted)"
_NOTHING: dict[str, Any] = {}


def routed(scope: Scope) -> Any:
    """What matched: a route, or FastAPI's view of it as it was included; None if nothing did."""
    route = scope.get("route")
    context = scope.get("fastapi", _NOTHING).get("effective_route_context")
    # one that is left over from outside a mounted application is about another route
    return context if context is not None and context.original_route is route else route


def template(scope: Scope, matched: Any, mounted_at: str) -> str:
    """The text for a request.

    Args:
        scope: as it is at the end.
        matched: what `routed` says.
        mounted_at: what mounts have added to the root path.
    """
    if "router" not in scope:
        return UNROUTED
    front = _literal(scope, mounted_at) if mounted_at else ""
    if matched is None or isinstance(matched, Mount):
        return f"{front}/*" if front else UNMATCHED
    path = getattr(matched, "path_format", "") or getattr(matched, "path", "")
    if front and path == "/":
        return front  # the root of a mount, with or without the slash
    return front + path if path else UNMATCHED


def _literal(scope: Scope, mounted_at: str) -> str:
    """The path of a mount with its parameters' names in place of their values."""
    routes = getattr(scope["router"], "routes", ())
    if any(isinstance(route, Mount) and route.path == mounted_at for route in routes):
        return mounted_at
    names = {str(value): f"{{{name}}}" for name, value in scope.get("path_params", {}).items()}
    return "/".join(names.get(segment, segment) for segment in mounted_at.split("/"))
