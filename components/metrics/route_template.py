"""A request that was answered -> the template of its route, such as `/users/{id}`.

In: the scope as the routers left it, and the root path that it came with. Out: one of a bounded number
of texts: a template, with those of the mounts that led to it in front; `/static/*` for what a mounted
application did with the rest; `(unmatched)` where no route matched, and `(unrouted)` where a layer
answered before any router was asked, as a rate limit does.

A path itself, or a part of one, never becomes a text here: anyone may ask for any number of them. Of
the mounts a scope keeps the path that they took alone, so the routers' mounts are asked for it again;
what something else put into the root path is `/*`.
"""

from collections.abc import Iterable
from typing import Any

from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import Host, Match, Mount, Route, WebSocketRoute
from starlette.types import Scope

UNMATCHED = "(unmatched)"
UNROUTED = "(unrouted)"
_REST = "/*"
_LEAVES = frozenset({Route, WebSocketRoute, APIRoute, APIWebSocketRoute})
_DEEPEST = 20  # mounts and layers inside each other; an application may be mounted in itself


def template(scope: Scope, matched: Any, mounted_at: str) -> str:
    """The text for a request.

    Args:
        scope: as it is at the end.
        matched: what `matched_route` says.
        mounted_at: what mounts have added to the root path.
    """
    if "router" not in scope:
        return UNROUTED
    front = _front(scope, _routes_of(scope["router"]), mounted_at)
    if front is None:
        front = _REST
    if matched is None or isinstance(matched, Mount):
        return front.removesuffix(_REST) + _REST if front else UNMATCHED
    path = getattr(matched, "path_format", "") or getattr(matched, "path", "")
    if front and path == "/":
        return front  # the root of a mount, with or without the slash
    return front + path if path else UNMATCHED


def _front(scope: Scope, routes: Iterable[Any], mounted_at: str, depth: int = 0) -> str | None:
    """The templates of the mounts that lead to `mounted_at`, found as the routers found them.

    None where they cannot: something that is no router of Starlette's set the root path.
    """
    if not mounted_at:
        return ""
    for route in routes if depth < _DEEPEST else ():
        if type(route) in _LEAVES:  # of a thousand routes a few are mounts
            continue
        found = None
        if (included := getattr(route, "effective_route_contexts", None)) is not None:
            # FastAPI's router inside a router: its own routes have the prefix
            inner = [
                each.starlette_route or each.original_route
                for each in included()
                if type(each.original_route) not in _LEAVES
            ]
            found = _front(scope, inner, mounted_at, depth + 1)
        elif isinstance(route, Host) and route.matches(scope)[0] is Match.FULL:
            found = _front(scope, _routes_of(route.app), mounted_at, depth + 1)
        elif isinstance(route, Mount) and (match := route.path_regex.match(mounted_at + "/")):
            rest = mounted_at[len(mounted_at) - len(match["path"]) :]
            deeper = _front(scope, _routes_of(route.app), rest, depth + 1)
            found = route.path_format.removesuffix("/{path}") + (
                _REST if deeper is None else deeper
            )
        if found is not None:
            return found
    return None


def _routes_of(app: Any) -> Iterable[Any]:
    """The routes of an application, through the layers that are wrapped around it."""
    for _ in range(_DEEPEST):
        if app is None or hasattr(app, "routes"):
            break
        app = getattr(app, "app", None)
    return getattr(app, "routes", ())
