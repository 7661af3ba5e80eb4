"""A finished application → what it is made of, as data that two processes can compare.

In: an ASGI application, and the name by which its parts are found again. Out: `inspect_application`
gives an `InspectedApp`: its routes in the order in which they are tried, with the applications mounted
among them, its layers from outside in, handlers, attributes, `app.state`, and the OpenAPI document;
besides what a request to each route may say. Sends nothing and starts nothing.

Both applications are read by the same eyes: what the assembler puts between the parts (a scope around
routes, its own mount) is looked through. Internals of FastAPI are read by name, and are told as unknown
where a version lacks them.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from fastapi import FastAPI, routing
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Host, Mount, Router, WebSocketRoute

from assembler.adopt.equality.values import describe, path_of
from assembler.diagnostics.exceptions import failure_of, is_users

OWN_STATE = "assembly"
"""What the assembler itself puts on `app.state`."""

_INNER = ("app", "_app", "application", "asgi_app", "other_asgi_app", "inner")
_ATTRIBUTES = (
    *("title", "summary", "description", "version", "terms_of_service", "contact", "license_info"),
    *("openapi_url", "docs_url", "redoc_url", "swagger_ui_oauth2_redirect_url", "openapi_tags"),
    *("openapi_version", "servers", "root_path", "root_path_in_servers", "debug", "extra"),
    *("swagger_ui_init_oauth", "swagger_ui_parameters", "separate_input_output_schemas"),
    "dependency_overrides",
)
_PAGES = {
    "docs_url": ("openapi_url",),
    "redoc_url": ("openapi_url",),
    "swagger_ui_oauth2_redirect_url": ("openapi_url", "docs_url"),
}
_ROUTER_ATTRIBUTES = (
    *("redirect_slashes", "default_response_class", "dependencies", "generate_unique_id_function"),
    *("strict_content_type", "max_body_size", "tags", "responses", "deprecated", "prefix"),
)
_ROUTE_ATTRIBUTES = (
    *("include_in_schema", "status_code", "response_class", "response_model", "tags"),
    *("deprecated", "operation_id", "unique_id", "strict_content_type", "max_body_size"),
    *("response_model_include", "response_model_exclude", "response_model_by_alias"),
    *("response_model_exclude_unset", "response_model_exclude_defaults"),
    "response_model_exclude_none",
)


@dataclass(slots=True)
class InspectedApp:
    """One application, and the objects that its parts are, for who forces an exception into them."""

    facts: dict[str, Any]
    apps: dict[str, Any] = field(default_factory=dict)
    """The application itself under ``""``, those mounted in it by the paths that lead there."""


def inspect_application(app: Any) -> InspectedApp:
    """Return all that is seen of `app`; raises `TypeError` where no application is inside it."""
    found = InspectedApp({})
    outer, inner = unwrapped(app)
    whole = _whole(inner)
    if whole is not None:
        more, inner = unwrapped(whole)
        outer += more
    facts = _application(inner, "", found)
    facts["layers"] = [*({"layer": path_of(type(each))} for each in outer), *facts["layers"]]
    found.facts = facts
    return found


def unwrapped(app: Any) -> tuple[list[Any], Starlette]:
    """Return the objects that stand around an application, outermost first, and the application.

    Raises TypeError where there is none.
    """
    outer: list[Any] = []
    while not isinstance(app, Starlette):
        inner = inner_of(app)
        if inner is None or len(outer) > 100:
            kind = path_of(type(outer[0] if outer else app))
            raise TypeError(f"a `{kind}` holds no FastAPI or Starlette application")
        outer.append(app)
        app = inner
    return outer, app


def _whole(app: Starlette) -> Any:
    """Return what a manifest has mounted as a whole, where its application has nothing else."""
    routes = app.router.routes
    is_bare = hasattr(app.state, OWN_STATE) and not app.user_middleware and len(routes) == 1
    mount = routes[0] if is_bare else None
    if not isinstance(mount, Mount) or mount.path:
        return None
    return getattr(mount, "_base_app", None) or mount.app


def composing(facts: Mapping[str, Any]) -> set[str]:
    """Return the functions that put an application together: their calls are no effect of a start.

    The lifespan of an application is one, unless one that is mounted has it as well.
    """
    inner = {name for app in inner_applications(facts) for name in app["lifespan"]}
    names = {*facts["lifespan"]} - inner
    for app in (facts, *inner_applications(facts)):
        for layer in app["layers"]:
            names |= {f"{layer['layer']}.{name}" for name in ("__init__", "__call__")}
    return names


def inner_applications(facts: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the facts of the applications that are mounted in one, at any depth."""
    for route in facts["routes"]:
        if "application" in route:
            yield route["application"]
            yield from inner_applications(route["application"])


def inner_of(layer: Any) -> Any:
    """Return the application that a layer passes requests to, as far as its attributes tell."""
    name = inner_name(layer)
    return None if name is None else getattr(layer, name)


def inner_name(layer: Any) -> str | None:
    """Return the attribute in which a layer has the application inside it."""
    for name in _INNER:
        with suppress(Exception):  # an object may raise whatever it is asked
            if callable(getattr(layer, name, None)):
                return name
    return None


def _application(app: Starlette, place: str, found: InspectedApp) -> dict[str, Any]:
    found.apps[place] = app
    facts: dict[str, Any] = {
        "place": place,
        "kind": path_of(FastAPI if isinstance(app, FastAPI) else type(app)),
        "layers": [_layer(each) for each in app.user_middleware],
        "handlers": {_catch(key): describe(each) for key, each in app.exception_handlers.items()},
        "attributes": dict(_attributes(app)),
        "state": state_of(app),
        "lifespan": _lifespans(app),
        "routes": list(_routes(app.router.routes, place, found)),
        "frontends": [
            {"path": each.path, "app": describe(getattr(each, "app", None))}
            for each in getattr(getattr(app.router, "_frontend_routes", None), "routes", ())
        ],
    }
    if isinstance(app, FastAPI):
        facts |= _openapi(app)
    return facts


def state_of(app: Starlette) -> dict[str, Any]:
    """Return what stands on `app.state`, without what the assembler puts there."""
    state: dict[str, Any] = vars(app.state).get("_state", {})
    return {name: describe(state[name], name) for name in sorted(state) if name != OWN_STATE}


def _lifespans(app: Starlette) -> list[str]:
    """Return the names of the user's functions of which FastAPI has made the lifespan of `app`."""
    found: dict[str, None] = {}
    seen: set[int] = set()
    waiting: list[Any] = [getattr(app.router, "lifespan_context", None)]
    while waiting:
        value = waiting.pop()
        unpacked = inspect.unwrap(value) if callable(value) else None
        if id(value) in seen or not isinstance(unpacked, FunctionType):
            continue
        seen.add(id(value))
        if is_users(unpacked.__code__.co_filename):
            found[path_of(unpacked)] = None
            continue
        for holder in (value, unpacked):
            for cell in getattr(holder, "__closure__", None) or ():
                with suppress(ValueError):  # not set yet
                    waiting.append(cell.cell_contents)
    return list(found)


def maker_of(layer: Any) -> tuple[Any, dict[str, Any]]:
    """Return what makes a layer, and its options by keyword, those of a `functools.partial` included."""
    maker, options = layer.cls, dict(layer.kwargs)
    while isinstance(maker, functools.partial) and not maker.args:
        options = {**maker.keywords, **options}
        maker = maker.func
    return maker, options


def _layer(layer: Any) -> dict[str, Any]:
    maker, options = maker_of(layer)
    return {"layer": describe(maker), "options": _options(maker, layer.args, options)}


def _options(maker: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return the options of a layer by name, defaults among them; as given where they do not fit."""
    try:
        signature = inspect.signature(maker)
        bound = signature.bind(None, *args, **kwargs)
    except (TypeError, ValueError):
        return {"args": describe(args), "kwargs": describe(kwargs)}
    bound.apply_defaults()
    pairs = list(bound.arguments.items())[1:]  # the first is the application inside
    options: dict[str, Any] = {}
    for name, value in pairs:
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            options.update(describe(value))
        elif kind is not inspect.Parameter.VAR_POSITIONAL or value:
            options[name] = describe(value, name)
    return options


def _catch(key: Any) -> str:
    return str(key) if isinstance(key, int) else path_of(key)


def _attributes(app: Starlette) -> Iterator[tuple[str, Any]]:
    for name in _ATTRIBUTES:
        if hasattr(app, name):
            if not all(getattr(app, each, None) for each in _PAGES.get(name, ())):
                continue  # without the pages that it belongs to nothing reads it
            yield name, describe(getattr(app, name), name)
    for name in _ROUTER_ATTRIBUTES:
        if hasattr(app.router, name):
            yield f"router.{name}", describe(getattr(app.router, name), name)


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Return FastAPI's document, and whether that which is served has more in it."""
    served = _document(app.openapi)
    own: Any = app
    plain = getattr(vars(app).get("openapi"), "plain", None)  # of an application that is mounted
    if plain is not None:
        document = _document(plain)
    elif getattr(app, "extends_openapi", False):
        own.extends_openapi = False  # what the parts of the stack add is the assembler's
        document = _document(app.openapi)
        own.extends_openapi = True
    else:
        document = served
    return {"openapi": document, "openapi_extended": document != served}


def _document(make: Callable[[], Any]) -> Any:
    try:
        document = make()
    except Exception as error:  # noqa: BLE001  # models of anybody, told as what it gives
        return {"raises": failure_of(error)}
    return _operations(_json(document))


def _operations(document: Any) -> Any:
    """Name operations as `_any_method` does."""
    for item in document.get("paths", {}).values():
        for operation in item.values():
            if isinstance(operation, dict) and "operationId" in operation:
                operation["operationId"] = _any_method(operation["operationId"], item)
    return document


def _any_method(name: Any, methods: Iterable[str]) -> Any:
    """Name an operation without its method where there are several.

    FastAPI takes the first one of a set, which is another one in every process.
    """
    named = [each.lower() for each in methods]
    last = str(name).rpartition("_")[2]
    return str(name).removesuffix(last) + "*" if last in named and len(named) > 1 else name


def _json(value: Any) -> Any:
    """Return data as JSON has it; what is none of it is described."""
    if isinstance(value, Mapping):
        return {str(key): _json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float) else describe(value)


# --- routes


def _routes(
    routes: Iterable[BaseRoute], place: str, found: InspectedApp, host: str = ""
) -> Iterator[dict[str, Any]]:
    for route in routes:
        entries = getattr(route, "entries", None)
        if isinstance(entries, tuple):  # a scope of the assembler's, or what is left of one
            name = getattr(route, "host", None)
            inner = f"{place}//{name}" if name else place
            yield from _routes(entries, inner, found, name or host)
        elif isinstance(route, Host):
            yield from _hosted(route, place, found)
        else:
            for context in _contexts(route):
                facts = _route(context, place, found)
                yield facts | ({"host": host} if host else {})


def _contexts(route: BaseRoute) -> Iterable[Any]:
    """Return the routes that one stands for: a newer FastAPI keeps included routers as one."""
    contexts = getattr(routing, "iter_route_contexts", None)  # not there before FastAPI 0.140
    return [route] if contexts is None else contexts([route])


def _hosted(route: Host, place: str, found: InspectedApp) -> Iterator[dict[str, Any]]:
    """Yield what a host has: the routes of a plain router, or an application as if it were mounted."""
    inner: Any = getattr(route, "app", None)
    place = f"{place}//{route.host}"
    if type(inner) is Router:
        yield from _routes(inner.routes, place, found, route.host)
        return
    facts: dict[str, Any] = {"kind": "mount", "path": "", "name": route.name or "", "methods": []}
    yield {**facts, "host": route.host, **_mounted(inner, place, found)}


def _route(context: Any, place: str, found: InspectedApp) -> dict[str, Any]:
    original = getattr(context, "original_route", context)
    path = getattr(context, "path", None) or ""
    facts: dict[str, Any] = {"path": path, "name": getattr(context, "name", None), "methods": []}
    if isinstance(original, Mount):
        inner = getattr(original, "_base_app", None) or original.app
        return {**facts, "kind": "mount", "name": facts["name"] or ""} | _mounted(
            inner, place + path, found
        )
    endpoint = getattr(context, "endpoint", None)
    if endpoint is None:
        return facts | {"kind": path_of(type(original)), "details": describe(original)}
    is_socket = isinstance(original, WebSocketRoute)
    methods = sorted(getattr(context, "methods", None) or ())
    facts |= {"kind": "websocket" if is_socket else "route", "methods": methods}
    facts["endpoint"] = describe(endpoint)
    facts["details"] = {
        name: describe(value, name)
        for name in _ROUTE_ATTRIBUTES
        if (value := _asked(context, name)) is not _ABSENT
    }
    if "unique_id" in facts["details"]:
        facts["details"]["unique_id"] = _any_method(facts["details"]["unique_id"], methods)
    dependant = _asked(context, "dependant")
    if dependant is not _ABSENT and dependant is not None:
        facts["details"]["dependencies"] = list(_dependencies(dependant))
        facts["inputs"] = inputs_of(context, dependant)
    return facts


_ABSENT: Any = object()
_SCOPES = ("own_oauth_scopes", "oauth_scopes", "security_scopes")  # by the version of FastAPI


def _asked(context: Any, name: str) -> Any:
    try:
        return getattr(context, name)
    except AttributeError:
        return _ABSENT


def _dependencies(dependant: Any, ran: set[Any] | None = None) -> Iterator[Any]:
    """Yield what is called for a route; what a request has already is not called again."""
    ran = set() if ran is None else ran
    for item in dependant.dependencies:
        yield from _dependencies(item, ran)
        scopes = next((found for each in _SCOPES if (found := getattr(item, each, None))), ())
        key = id(item.call), tuple(scopes)
        if not (item.use_cache and key in ran):
            ran.add(key)
            yield describe(item.call)


def _mounted(inner: Any, place: str, found: InspectedApp) -> dict[str, Any]:
    """Describe what is mounted: an application in full, anything else by its attributes."""
    try:
        outer, app = unwrapped(inner)
    except TypeError:
        if isinstance(inner, Router):
            return {"router": list(_routes(inner.routes, place, found))}
        return {"app": describe(inner)}
    if place in found.apps:  # mounted twice under one path, or in itself
        return {"app": path_of(type(app))}
    facts = _application(app, place, found)
    facts["layers"] = [*({"layer": path_of(type(each))} for each in outer), *facts["layers"]]
    return {"application": facts}


# --- what a request may say


def inputs_of(context: Any, dependant: Any) -> dict[str, Any]:
    """Return the JSON schemas of the parameters and the body of a route, by where they stand."""
    inputs: dict[str, Any] = {}
    for place in ("path", "query", "header", "cookie"):
        fields = {each.alias: each for each in _parameters(dependant, f"{place}_params")}
        inputs[place] = [_input(each) for each in fields.values()]
    body = _asked(context, "body_field")
    if body is not _ABSENT and body is not None:
        media = getattr(body.field_info, "media_type", "application/json")
        inputs["body"] = {**_input(body), "media": media}
    return inputs


def _parameters(dependant: Any, name: str) -> Iterator[Any]:
    for item in dependant.dependencies:
        yield from _parameters(item, name)
    yield from getattr(dependant, name)


def _input(field: Any) -> dict[str, Any]:
    return {
        "name": field.alias,
        "required": bool(field.field_info.is_required()),
        "schema": _schema(field),
    }


def _schema(field: Any) -> dict[str, Any]:
    adapter: Any = getattr(field, "_type_adapter", None)
    make: Callable[..., dict[str, Any]] | None = getattr(adapter, "json_schema", None)
    if make is None:
        return {}
    try:
        return make()
    except Exception:  # noqa: BLE001  # a type that has no schema; any value will do
        return {}
