"""A built FastAPI app → the same app, finding its routes by path instead of one by one.

FastAPI tries its routes in order, so a request costs as much as there are routes before its
own. The index keeps the order and the meaning and only leaves out the routes whose literal
segments already say no: `segments` finds the routes that may match a path, `standins` lets
FastAPI's own dispatch run over them, `index` puts both in front of the app's router.

Everything that decides or answers stays FastAPI's: the `matches` of each route, 405, redirects,
frontends, dependencies, the scope. `app.routes`, `url_path_for` and the OpenAPI schema are not
touched, and routes may be added or taken out at any time. One thing is refused: to notice that a
route which is already there was given another path in place.

The index leans on internals of FastAPI and Starlette. Where they are not the ones it was written
for, or the app's router is not FastAPI's own, it steps aside: the report says why, and the app
stays as it was.
"""

import pkgutil
import zlib
from dataclasses import dataclass
from typing import Any

import fastapi
import starlette
from fastapi.routing import APIRouter


@dataclass(frozen=True, slots=True)
class IndexReport:
    """Whether requests are dispatched by the index, and if not, why not."""

    active: bool
    reason: str | None = None


def index_routes(app: fastapi.FastAPI) -> IndexReport:
    """Dispatch the requests of `app` by an index of its routes, where that is safe."""
    reason = _changed_internals() or _own_dispatch(app.router)
    if reason is not None:
        return IndexReport(active=False, reason=reason)
    # Needs the internals that have just been checked.
    from assembler.application.route_index.index import RouteIndex  # noqa: PLC0415 - see above

    # A router with a body limit wraps its dispatch: the index belongs inside the wrappers.
    holder: Any = app.router
    attribute = "middleware_stack"
    while (inner := getattr(holder, attribute, None)) != app.router.app:
        if isinstance(inner, RouteIndex):
            return IndexReport(active=True)
        if inner is None:
            return IndexReport(active=False, reason="the router's `middleware_stack` was replaced")
        holder, attribute = inner, "app"
    setattr(holder, attribute, RouteIndex(app.router, in_one_step=_repeats_exactly()))
    return IndexReport(active=True)


# What the index replaces or draws conclusions from must be exactly what it was written for. The
# names that a function reads tell one logic from another, are the same under every Python, and do
# not change with a comment. These hold for FastAPI 0.140 to 0.165 and Starlette 1.0 to 1.10.
_REPLACED = {
    "starlette._utils:get_route_path": "d7be15cc",
    "starlette.routing:Route.matches": "960bedb6",
    "starlette.routing:WebSocketRoute.matches": "91e4d17c",
    "starlette.routing:Mount.matches": "49b343c7",
    "fastapi.routing:APIRoute.matches": "7b543a61",
    "fastapi.routing:APIWebSocketRoute.matches": "21783819",
    "fastapi.routing:APIRouter.matches": "0de39a55",
    "fastapi.routing:APIRouter.handle": "e5f786f2",
    "fastapi.routing:APIRouter._get_routes_version": "ce1fdf24",
    "fastapi.routing:APIRouter._iter_low_priority_routes": "a65740e7",
    "fastapi.routing:_EffectiveRouteContext.matches": "c2430352",
    "fastapi.routing:_IncludedRouter._match": "3ec2df1d",
    "fastapi.routing:_IncludedRouter.matches": "03f4f133",
    "fastapi.routing:_IncludedRouter.effective_candidates": "11b7248e",
}

# What FastAPI runs over the stand-ins may change, as long as it still asks them.
_DRIVEN = {
    "fastapi.routing:APIRouter.app": {"routes", "matches", "_match_low_priority"},
    "fastapi.routing:APIRouter._match_low_priority": {"_iter_low_priority_routes"},
    "fastapi.routing:_IncludedRouter.handle": {"original_router", "handle"},
    "fastapi.routing:_IncludedRouter._handle_selected": {"_match"},
    "fastapi.routing:_IncludedRouter.effective_low_priority_routes": {"_low_priority_routes"},
    "fastapi.routing:_get_fastapi_scope": {"setdefault"},
    "fastapi.routing:_get_scope_included_router": {"get"},
}

# What `leaves` repeats in one step must be known whole: of FastAPI 0.165. Older ones are driven.
_REPEATED = {
    "fastapi.routing:APIRouter.app": "c56e25fb",
    "fastapi.routing:_IncludedRouter.handle": "380cc50a",
    "fastapi.routing:_IncludedRouter._handle_selected": "56a48055",
    "fastapi.routing:_apply_router_form_limits": "08d27518",
    "fastapi.telemetry._api:_route_selected": "f637e097",
    "fastapi.routing:_update_scope": "80aee4f9",
}


def _changed_internals() -> str | None:
    versions = f"FastAPI {fastapi.__version__} with Starlette {starlette.__version__}"
    for path in (*_REPLACED, *_DRIVEN):
        function = path.partition(":")[2]
        names = _names(path)
        if names is None:
            return f"{versions} has no function `{function}`"
        digest = _digest(names)
        if digest != _REPLACED.get(path, digest) or not _DRIVEN.get(path, set()).issubset(names):
            return f"`{function}` of {versions} is not one that the index knows"
    return None


def _repeats_exactly() -> bool:
    known = [(_names(path), digest) for path, digest in _REPEATED.items()]
    return all(names is not None and _digest(names) == digest for names, digest in known)


def _names(path: str) -> tuple[str, ...] | None:
    try:
        names: tuple[str, ...] = pkgutil.resolve_name(path).__code__.co_names
    except (ImportError, AttributeError):
        return None
    return names


def _digest(names: tuple[str, ...]) -> str:
    return f"{zlib.crc32(' '.join(sorted(names)).encode()):08x}"


def _own_dispatch(router: APIRouter) -> str | None:
    for name in ("app", "_match_low_priority", "_iter_low_priority_routes"):
        if getattr(type(router), name) is not getattr(APIRouter, name) or name in vars(router):
            return f"the app's router has its own `{name}`"
    return None
