"""A built application → the whole trip of a request, as plain data.

In: a plan, its application, a method and a path. Out: what stands between the socket and the
answer: the server, the middleware from outside in with their options, the route that wins and
those it shadows, the handlers that would catch what is raised. Options stand as they are written,
so no secret can appear. Sends no request: the routes are asked whether they match, as the application
would ask them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import unquote

import fastapi.routing
from fastapi import FastAPI
from starlette._utils import get_route_path
from starlette.routing import BaseRoute, Match, Mount, WebSocketRoute
from starlette.types import Scope

from assembler.diagnostics.secrets import redact
from assembler.document.nodes import MappingNode, Node, as_written
from assembler.plan.closing_layers import class_closes_send
from assembler.plan.component import Component
from assembler.plan.load import Plan


@dataclass(frozen=True, slots=True)
class ListedRoute:
    """One route of the application: the entry it came from, its path and what answers there.

    `within` are the mounts of manifests around it, the outermost first, each with its application.
    """

    id: str
    path: str
    methods: tuple[str, ...]
    endpoint: str
    dependencies: tuple[str, ...]
    matches: Any
    scope: Component | None = None  # the entry whose own layers, handlers or host it has
    within: "tuple[MountedApp, ...]" = ()
    mounted: "MountedApp | None" = None  # what it is the mount of

    @property
    def layers(self) -> list[str]:
        """The ids of the layers that a request passes to it inside those of the application."""
        around = self.within if self.mounted is None else (*self.within, self.mounted)
        own = _scope_of(self.scope)["middleware"] if self.scope is not None else []
        inside = [layer for one in around for layer in one.as_dict()["middleware"]]
        return [layer["id"] for layer in (*inside, *own)]

    def as_dict(self) -> dict[str, Any]:
        """Return the keys that programs read."""
        return {
            "id": self.id,
            "path": self.path,
            "methods": list(self.methods),
            "endpoint": self.endpoint,
            "dependencies": list(self.dependencies),
            **(_scope_of(self.scope) if self.scope is not None else {}),
            **({"inner": self.mounted.as_dict()} if self.mounted is not None else {}),
            **({"within": [one.as_dict() for one in self.within]} if self.within else {}),
        }


@dataclass(frozen=True, slots=True, eq=False)
class MountedApp:
    """A manifest that is mounted: its mount, and the application that it makes."""

    component: Component
    app: FastAPI

    def as_dict(self) -> dict[str, Any]:
        """Return the keys that programs read: what it has of its own, and what its mount has."""
        plan: Plan = self.component.inner
        around = _scope_of(self.component)
        return {
            "mount": self.component.entry.mount,
            "manifest": self.component.target.path,
            **around,
            "middleware": [*around["middleware"], *list(_layers(plan, self.app))[::-1]],
            "handlers": [*_handlers(plan, self.app), *around["handlers"]],
        }


def routes_of(plan: Plan, app: FastAPI) -> list[ListedRoute]:
    """List the routes in the order in which they are tried.

    Those of a manifest that is mounted come after their mount, which matches what none of them does.
    """
    owners = app.state.assembly.owners
    mounts = {part.id: part.target.path for part in plan.routes if part.role == "mount"}
    inner = {part.id: part for part in plan.routes if part.inner is not None}
    scopes = {part.id: part for part in plan.routes if part.scoped or part.entry.host}
    found = []
    for holder in app.router.routes:
        for owner in getattr(holder, ENTRIES, (holder,)):
            for context in _contexts(owner):
                entry = owners.get(id(owner))
                if entry in inner and isinstance(owner, Mount):
                    found += _mounted(inner[entry], holder, owner)
                    continue
                answering = context.endpoint or getattr(context.route, "app", context.route)
                methods = tuple(sorted(context.methods or ()))
                route = ListedRoute(
                    id=entry or context.name or "",
                    path=plan.secrets.scrub(context.path or "/"),
                    methods=methods or (_kind(context.original_route),),
                    endpoint=mounts.get(entry) or _name_of(answering),
                    dependencies=tuple(dict.fromkeys(_dependencies(context))),
                    matches=partial(_within, holder, context.matches),
                    scope=scopes.get(entry),
                )
                found.append(route)
    return found


def _mounted(component: Component, holder: Any, mount: Mount) -> list[ListedRoute]:
    """List a mount of a manifest, then the routes in it, each with its whole path."""
    own = MountedApp(component, mount.app)  # type: ignore[arg-type]  # a FastAPI: we have made it
    around = partial(_within, holder, mount.matches)
    front = component.entry.mount.rstrip("/")
    inside = [
        replace(
            route,
            path=f"{front}{route.path}",
            matches=partial(_inside, around, route.matches),
            within=(own, *route.within),
        )
        for route in routes_of(component.inner, own.app)
    ]
    whole = ListedRoute(
        id=component.id,
        path=component.entry.mount,
        methods=("MOUNT",),
        endpoint=component.target.path,
        dependencies=(),
        matches=partial(_left_over, around, inside),
        mounted=own,
    )
    return [whole, *inside]


def _inside(around: Any, matches: Any, scope: Scope) -> Any:
    """Ask a route of a mounted application, where the mount around it is the one for a request."""
    match, child = around(scope)
    return matches({**scope, **child}) if match is Match.FULL else (Match.NONE, {})


def _left_over(around: Any, inside: list[ListedRoute], scope: Scope) -> Any:
    """Ask a mount, which refuses what no route in it answers: a part of it is none of them."""
    match, child = around(scope)
    if match is not Match.FULL or any(_asked(route, scope)[0] is Match.FULL for route in inside):
        return Match.NONE, {}
    return match, child


def explanation(
    plan: Plan, app: FastAPI, method: str | None = None, path: str | None = None
) -> dict[str, Any]:
    """Return what `explain --format json` prints; without a path, for the application as a whole."""
    routes = routes_of(plan, app)
    facts: dict[str, Any] = {
        "format": 1,
        "manifest": plan.name,
        "server": {name: plan.server[name] for name in _SERVER}
        | _written(plan.document.root.get("server")),
        "dispatch": app.state.assembly.dispatch,
        "resources": [_entry(component) for component in plan.resources],
        "middleware": list(_layers(plan, app))[::-1],
    }
    if method is None or path is None:
        sections = {
            "lifespan": plan.lifespan,
            "startup": plan.startup,
            "jobs": plan.jobs,
            "background": plan.background,
        }
        for name, components in [*sections.items(), ("shutdown", plan.shutdown)]:
            facts[name] = [_entry(component) for component in components]
        facts["switched_off"] = [
            {"id": part.entry.id, "use": part.entry.use or "SQL"} for part in plan.switched_off
        ]
        facts |= {"route": None, "shadowed": [], "routes": [route.as_dict() for route in routes]}
    else:
        asked = plan.secrets.scrub(f"{method.upper()} {path}")
        facts |= {"request": asked} | _outcome(app, routes, method.upper(), path)
        facts["answer"] = facts["answer"] and plan.secrets.scrub(facts["answer"])
    facts["handlers"] = list(_handlers(plan, app))
    return facts


def answering(routes: list[ListedRoute], scope: Scope) -> ListedRoute | None:
    """Return the route that takes a request in full, as the application asks them, in order."""
    matching = (route for route in routes if _asked(route, scope)[0] is Match.FULL)
    return next(matching, None)


class _Flat:
    """A route that stands for itself, as FastAPI before 0.137 has none else."""

    def __init__(self, route: BaseRoute) -> None:
        self.route = self.original_route = route
        for name in ("path", "name", "methods", "endpoint"):
            setattr(self, name, getattr(route, name, None))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.route, name)


def _contexts(owner: BaseRoute) -> Iterable[Any]:
    """Return the routes that stand in one route of the application."""
    every = getattr(fastapi.routing, "iter_route_contexts", None)
    return (_Flat(owner),) if every is None else every([owner])


_SERVER = ("host", "port", "workers")
ENTRIES = "entries"  # of a route that holds those of an entry (`assembler.application.route_scope`)


def _within(holder: Any, matches: Any, scope: Scope) -> Any:
    """Ask a route, where the host is the one of its entry."""
    hosted = getattr(holder, "hosted", None)
    child = {} if hosted is None else hosted(scope)
    return (Match.NONE, {}) if child is None else matches({**scope, **child})


def _scope_of(component: Component) -> dict[str, Any]:
    """Return what an entry has of its own."""
    facts: dict[str, Any] = {}
    if component.entry.host is not None:
        facts["host"] = component.entry.host
    layers = [_entry(item) for item in component.scoped if item.role == "middleware"]
    handlers = [_scoped_handler(item) for item in component.scoped if item.role == "handler"]
    return {**facts, "middleware": layers, "handlers": handlers}


def _scoped_handler(item: Component) -> dict[str, Any]:
    return {"id": item.id, "catch": item.entry.catch, "use": item.target.path}


def _kind(route: Any) -> str:
    return "WEBSOCKET" if isinstance(route, WebSocketRoute) else "MOUNT"


def _name_of(value: Any) -> str:
    """Return the import path of a function or class, or of an object's class."""
    while isinstance(value, partial):
        value = value.func
    if not hasattr(value, "__qualname__"):
        value = type(value)
    name = f"{value.__module__}.{value.__qualname__}"
    return name.replace(".<locals>", "").removeprefix("builtins.")


def _dependencies(context: Any) -> Iterator[str]:
    """Yield what FastAPI calls before the endpoint, in the order in which it does."""
    for item in getattr(getattr(context, "dependant", context), "dependencies", ()):
        yield from _dependencies(item)
        if getattr(item, "call", None) is not None:
            yield _name_of(item.call)


def _written(node: Node | None) -> dict[str, Any]:
    return _covered(as_written(node)) if isinstance(node, MappingNode) else {}


def _covered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _covered(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_covered(item) for item in value]
    return redact(value) if isinstance(value, str) else value


def _entry(component: Component) -> dict[str, Any]:
    node = component.node.get("with") if isinstance(component.node, MappingNode) else None
    return {"id": component.id, "use": component.target.path, "options": _written(node)}


def _layers(plan: Plan, app: FastAPI) -> Iterator[dict[str, Any]]:
    """Yield the layers from inside out: code of `configure` may have put more around them."""
    own = list(plan.middleware)
    for layer in reversed(app.user_middleware):
        if own and layer.cls is own[-1].target.value:
            entry = _entry(own.pop())
        else:  # its options are values, which may be secrets
            name = _name_of(layer.cls)
            entry = {"id": name, "use": name, "options": {}, "added_by": "code"}
        if class_closes_send(layer.cls):
            entry["passed_by"] = True
        yield entry


def _handlers(plan: Plan, app: FastAPI) -> Iterator[dict[str, Any]]:
    """Yield the handlers of the manifest, then those that FastAPI and other code have added."""
    for component in plan.handlers:
        yield {"id": component.id, "catch": component.entry.catch, "use": component.target.path}
    own = {component.caught for component in plan.handlers}
    for key, handler in app.exception_handlers.items():
        if key not in own:
            catch = key if isinstance(key, int) else _name_of(key)
            name = _name_of(handler)
            by = "fastapi" if name.startswith("fastapi.") else "code"
            yield {"id": str(catch), "catch": catch, "use": name, "added_by": by}


def _outcome(app: FastAPI, routes: list[ListedRoute], method: str, path: str) -> dict[str, Any]:
    """Ask the routes in order, as the application does."""
    scope = _scope(app, method, path)
    matches = [(route, *_asked(route, scope)) for route in routes]
    full = [(route, child) for route, match, child in matches if match is Match.FULL]
    if not full:
        partial = [route for route, match, _ in matches if match is Match.PARTIAL]
        answer = _refusal(app, routes, scope, partial) + _refused_within(app, scope)
        return {"route": None, "shadowed": [], "answer": answer}
    (route, child), *others = full
    if route.mounted is not None:
        around = (*route.within, route.mounted)
        inside = [one for one in routes if one.within[: len(around)] == around]
        partial = [one for one in inside if _asked(one, scope)[0] is Match.PARTIAL]
        answer = _refusal(route.mounted.app, inside, scope, partial, {**scope, **child})
        answer += f", through the layers of `{route.endpoint}`"
        shadowed = [other.as_dict() for other, _ in others]
        within = [one.as_dict() for one in around]
        return {"route": None, "shadowed": shadowed, "answer": answer, "within": within}
    won = route.as_dict()
    won["parameters"] = {name: str(value) for name, value in child.get("path_params", {}).items()}
    if route.methods == ("MOUNT",):
        won["inside"] = get_route_path({**scope, **child})
    return {"route": won, "shadowed": [other.as_dict() for other, _ in others], "answer": None}


def _refused_within(app: FastAPI, scope: Scope) -> str:
    """Say whose own layers a refusal passes: those of the entry whose prefix the path lies below."""
    for holder in app.router.routes:
        remainder = getattr(holder, "scope", None)
        if remainder is not None and holder.matches(dict(scope))[0] is not Match.NONE:
            owner = app.state.assembly.owners.get(id(remainder))
            return f", through the layers of `{owner}`"
    return ""


def _refusal(
    app: FastAPI,
    routes: list[ListedRoute],
    scope: Scope,
    partial: list[ListedRoute],
    inside: Scope | None = None,
) -> str:
    """Say how an application refuses a request; `inside` is what it is asked, where it is mounted."""
    if scope["type"] == "websocket":
        return "403: no websocket has this path"
    if partial:
        allowed = sorted({name for route in partial for name in route.methods})
        return f"405: this path takes {', '.join(allowed)}"
    path = scope["path"]
    other = path.rstrip("/") if path.endswith("/") else path + "/"
    redirected = {**scope, "path": other}
    if (
        app.router.redirect_slashes
        and get_route_path(scope) != "/"
        and any(_asked(route, redirected)[0] is not Match.NONE for route in routes)
    ):
        # A layer may rewrite the path before any route sees it.
        unless = ", unless a middleware rewrites the path" if app.user_middleware else ""
        return f"307: redirects to {other}{unless}"
    # FastAPI has no public way to ask for what it tries last.
    last = getattr(app.router, "_match_low_priority", None)
    if last is not None and last(dict(inside or scope))[0] is Match.FULL:
        return "no route has this path: the files of a frontend may"
    return "404: no route has this path"


def _asked(route: ListedRoute, scope: Scope) -> tuple[Match, Scope]:
    match, child = route.matches(dict(scope))
    return Match(match), child


def _scope(app: FastAPI, method: str, path: str) -> Scope:
    """Return what a server would; a path may be a whole URL, whose host counts then."""
    host = ""
    if path.startswith(("http://", "https://")):
        host, _, path = path.partition("://")[2].partition("/")
        path = f"/{path}"
    path, _, query = path.partition("?")
    return {
        "type": "websocket" if method == "WEBSOCKET" else "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "root_path": app.root_path,
        "query_string": query.encode("utf-8", "surrogateescape"),
        "headers": [(b"host", host.encode("latin-1", "replace"))] if host else [],
        "app": app,
        "router": app.router,
    }
