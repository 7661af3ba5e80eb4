"""A built FastAPI app → the same app, finding its routes by path instead of one by one.

FastAPI tries its routes in order, so a request costs as much as there are routes before its
own. The index keeps the order and the meaning and only leaves out the routes whose literal
segments already say no: `segments` finds the routes that may match a path, and `index` puts that in
front of the app's router. From 0.137 on FastAPI keeps included routers as objects: `included` leads
through them, and `narrowed` lets FastAPI's own dispatch run over what it finds.

Everything that decides or answers stays FastAPI's: the `matches` of each route, 405, redirects,
frontends, dependencies, the scope. `app.routes`, `url_path_for` and the OpenAPI schema are not
touched, and routes may be added or taken out at any time. One thing is refused: to notice that a
route which is already there was given another path in place.

The index leans on internals of FastAPI and Starlette, so it is on only under the minor versions for
which its equivalence suite has run (`.ci/route_index` runs it for each), with functions that nobody
has replaced, and an app's router that is FastAPI's own. Elsewhere it steps aside: the app stays as
it was, and the report says why, as does a line of the start's log.
"""

import pkgutil
import re
import sys
from collections.abc import Sequence
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
    reason = unsupported() or _own_dispatch(app.router)
    if reason is not None:
        return IndexReport(active=False, reason=reason)
    from assembler.application.route_index.index import RouteIndex  # noqa: PLC0415 - needs the internals that were just checked

    # A router with a body limit wraps its dispatch: the index belongs inside the wrappers.
    holder: Any = app.router
    attribute = "middleware_stack"
    while (inner := getattr(holder, attribute, None)) != app.router.app:
        if isinstance(inner, RouteIndex):
            return IndexReport(active=True)
        if inner is None:
            return IndexReport(active=False, reason="the router's `middleware_stack` was replaced")
        holder, attribute = inner, "app"
    setattr(holder, attribute, _made(app.router))
    return IndexReport(active=True)


@dataclass(frozen=True, slots=True)
class Era:
    """The first and the last minor version of each under which `tests/…/route_index` has passed."""

    fastapi: tuple[tuple[int, int], tuple[int, int]]
    starlette: tuple[tuple[int, int], tuple[int, int]]


FLAT = Era(((0, 115), (0, 136)), ((0, 40), (1, 10)))
INCLUDED = Era(((0, 140), (0, 165)), ((1, 0), (1, 10)))
"""FastAPI that copies the routes of an included router, and that which keeps the router."""

_ONE_STEP = ((0, 165), (0, 165))  # the walk that `leaves` repeats; older ones are driven

# What the index replaces, drives or draws conclusions from must be what FastAPI and Starlette define.
_RELIED_UPON = (
    "starlette._utils:get_route_path",
    "starlette.routing:Route.matches",
    "starlette.routing:WebSocketRoute.matches",
    "starlette.routing:Mount.matches",
    "fastapi.routing:APIRoute.matches",
    "fastapi.routing:APIWebSocketRoute.matches",
)
_OF_FLAT = ("starlette.routing:Router.app",)
_OF_INCLUDED = (
    "fastapi.routing:APIRouter.matches",
    "fastapi.routing:APIRouter.handle",
    "fastapi.routing:APIRouter.app",
    "fastapi.routing:APIRouter._get_routes_version",
    "fastapi.routing:APIRouter._match_low_priority",
    "fastapi.routing:APIRouter._iter_low_priority_routes",
    "fastapi.routing:_EffectiveRouteContext.matches",
    "fastapi.routing:_IncludedRouter._match",
    "fastapi.routing:_IncludedRouter.matches",
    "fastapi.routing:_IncludedRouter.handle",
    "fastapi.routing:_IncludedRouter._handle_selected",
    "fastapi.routing:_IncludedRouter.effective_candidates",
    "fastapi.routing:_IncludedRouter.effective_low_priority_routes",
    "fastapi.routing:_get_fastapi_scope",
    "fastapi.routing:_get_scope_included_router",
)


def unsupported() -> str | None:
    """Say why the installed versions have no index, None where they have one."""
    era = _era()
    if era is None:
        tested = " and ".join(_spelled(each.fastapi) for each in (FLAT, INCLUDED))
        return f"the index is tested with FastAPI {tested}, not with {fastapi.__version__}"
    if not _is_within(starlette.__version__, era.starlette):
        tested = _spelled(era.starlette)
        return f"the index is tested with Starlette {tested}, not with {starlette.__version__}"
    for path in (*_RELIED_UPON, *(_OF_FLAT if era is FLAT else _OF_INCLUDED)):
        module, _, name = path.partition(":")
        try:
            function = pkgutil.resolve_name(path)
            is_own = function.__code__.co_filename == sys.modules[module].__file__
        except (ImportError, AttributeError):
            return f"FastAPI {fastapi.__version__} has no function `{name}`"
        if not is_own:
            return f"`{name}` of FastAPI {fastapi.__version__} was replaced"
    return None


def _era() -> Era | None:
    eras = (FLAT, INCLUDED)
    return next((each for each in eras if _is_within(fastapi.__version__, each.fastapi)), None)


def _is_within(version: str, bounds: Sequence[tuple[int, int]]) -> bool:
    return bounds[0] <= _minor(version) <= bounds[-1]


def _spelled(bounds: Sequence[tuple[int, int]]) -> str:
    return " to ".join(".".join(map(str, each)) for each in bounds)


def _made(router: APIRouter) -> Any:
    if _era() is FLAT:
        from assembler.application.route_index.index import RouteIndex  # noqa: PLC0415 - as above

        return RouteIndex(router)
    from assembler.application.route_index.included import IncludedRouteIndex  # noqa: PLC0415 - as above

    return IncludedRouteIndex(router, in_one_step=_repeats_exactly())


def _repeats_exactly() -> bool:
    return _is_within(fastapi.__version__, _ONE_STEP)


def _minor(version: str) -> tuple[int, ...]:
    """The first two numbers; none where there are no two."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()


def _own_dispatch(router: APIRouter) -> str | None:
    for name in ("app", "_match_low_priority", "_iter_low_priority_routes"):
        own = getattr(type(router), name, None)
        if own is not getattr(APIRouter, name, None) or name in vars(router):
            return f"the app's router has its own `{name}`"
    return None
