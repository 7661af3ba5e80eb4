"""The router of an existing application → what of it is included in this one.

In: any router. Out: the parts to include, in order. A router that nobody's application has is one part,
as it is. `app.router` loses the pages on which that application describes itself: the manifest says
where those of the whole are. Its `on_event` handlers run once, and not where it has a lifespan, as they
do under a server; FastAPI runs those of an included router twice, since it takes them and their default
lifespan. Its mounts and hosts stay, which FastAPI before 0.140 leaves out.
"""

import copy
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from itertools import groupby

import fastapi.routing
from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute, Host, Mount, Router, compile_path

from assembler.plan.sections.routes import application_of

INCLUDES_MOUNTS = hasattr(fastapi.routing, "iter_route_contexts")
"""Whether this FastAPI includes a router as it is, with all that stands in it."""

_DOCUMENTS = f"{FastAPI.__module__}.{FastAPI.setup.__qualname__}."


def parts(router: APIRouter, prefix: str) -> Iterator[APIRouter | BaseRoute]:
    """Yield the routers to include below `prefix`, and the routes to append as they are."""
    if application_of(router) is None:
        yield _without_documents(router)
        return
    whole = _without_documents(router)
    whole.on_startup, whole.on_shutdown = [], []  # run by the lifespan, which knows the original
    if INCLUDES_MOUNTS:
        yield whole
        return
    yield _with(whole, [])  # the lifespan
    for is_apart, routes in groupby(whole.routes, lambda route: isinstance(route, Mount | Host)):
        if is_apart:
            yield from (_below(prefix, route) for route in routes)
        else:
            part = _with(whole, list(routes))
            part.lifespan_context = _no_lifespan
            yield part


def _without_documents(router: APIRouter) -> APIRouter:
    kept = [route for route in router.routes if not _is_document(route)]
    is_whole = len(kept) == len(router.routes) and application_of(router) is None
    return router if is_whole else _with(router, kept)


def _with(router: APIRouter, routes: list[BaseRoute]) -> APIRouter:
    router = copy.copy(router)
    router.routes = routes
    return router


def _is_document(route: BaseRoute) -> bool:
    endpoint = getattr(route, "endpoint", None)
    name = f"{getattr(endpoint, '__module__', '')}.{getattr(endpoint, '__qualname__', '')}"
    return name.startswith(_DOCUMENTS)


def _below(prefix: str, route: BaseRoute) -> BaseRoute:
    moved = copy.copy(route)
    if prefix and isinstance(moved, Host):
        moved.app = Router([Mount(prefix, app=moved.app)])
    elif prefix and isinstance(moved, Mount):
        moved.path = prefix + moved.path
        compiled = compile_path(f"{moved.path}/{{path:path}}")
        moved.path_regex, moved.path_format, moved.param_convertors = compiled
    return moved


def _no_lifespan(app: object) -> AbstractAsyncContextManager[None]:
    return nullcontext()
