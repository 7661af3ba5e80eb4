"""A built application → the whole trip of a request.

In: a plan, its application, a method and a path. Out: what stands between the socket and the
answer: the server, the middleware from outside in with their options, the route that wins and
those it shadows, the handlers that would catch what it raises. Refuses nothing; sends no request:
the routes are asked whether they match, as the application would ask them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Match, WebSocketRoute

from assembler.component import Component
from assembler.errors import printable
from assembler.plan import Plan, as_written
from assembler.redaction import redact
from assembler.source import Mapping


@dataclass(frozen=True, slots=True)
class Route:
    """One route of the application: the entry it came from, its path and what answers there."""

    id: str
    path: str
    methods: tuple[str, ...]
    endpoint: str
    match: Any

    def as_dict(self) -> dict[str, Any]:
        """Return the keys of `explain --format json`."""
        return {
            "id": self.id,
            "path": self.path,
            "methods": list(self.methods),
            "endpoint": self.endpoint,
        }


def routes_of(app: FastAPI) -> list[Route]:
    """List the routes in the order in which they are tried."""
    owners = app.state.assembly.owners
    return [
        Route(
            id=owners.get(id(route)) or context.name or "",
            path=context.path or "/",
            methods=tuple(sorted(context.methods or ())) or (_kind(context.original_route),),
            endpoint=_name_of(context.endpoint or getattr(context.route, "app", context.route)),
            match=context.matches,
        )
        for route in app.router.routes
        for context in iter_route_contexts([route])
    ]


def explanation(
    plan: Plan, app: FastAPI, method: str | None = None, path: str | None = None
) -> dict[str, Any]:
    """Return what `explain --format json` prints; without a path, for the application as a whole."""
    routes = routes_of(app)
    result: dict[str, Any] = {
        "format": 1,
        "manifest": plan.name,
        "server": {key: value for key, value in plan.server.items() if key in _SERVER},
        "dispatch": app.state.assembly.dispatch,
        "middleware": [_layer(component) for component in plan.middleware],
    }
    if method is None or path is None:
        result |= {"route": None, "shadowed": [], "routes": [item.as_dict() for item in routes]}
    else:
        result |= _outcome(app, routes, method.upper(), path)
    result["handlers"] = [_handler(component) for component in plan.handlers]
    return result


_SERVER = ("host", "port", "workers")


def as_json(facts: dict[str, Any]) -> str:
    """Write an explanation as JSON."""
    return json.dumps(facts, indent=2, ensure_ascii=False)


def as_text(facts: dict[str, Any]) -> str:
    """Draw an explanation for a terminal."""
    return printable("\n".join(_drawn(facts)))


def as_mermaid(facts: dict[str, Any]) -> str:
    """Draw an explanation as a Mermaid flowchart, for documents."""
    server = facts["server"]
    lines = ["flowchart TD", f"  client([{_label(facts.get('request') or 'request')}])"]
    address = f"uvicorn {server['host']}:{server['port']}"
    lines.append(f"  server[{_label(address)}]")
    lines.append("  client --> server")
    last = "server"
    for index, layer in enumerate(facts["middleware"]):
        lines.append(f"  m{index}[{_label(layer['id'])}]")
        lines.append(f"  {last} --> m{index}")
        last = f"m{index}"
    found = facts.get("routes") or ([facts["route"]] if facts["route"] else [])
    for index, route in enumerate(found):
        lines.append(f"  r{index}[{_label(_title(route))}]")
        lines.append(f"  {last} --> r{index}")
    if not found:
        lines.append(f"  none[{_label(facts['answer'])}]")
        lines.append(f"  {last} --> none")
    for index, handler in enumerate(facts["handlers"]):
        lines.append(f"  h{index}{{{{{_label('catch ' + str(handler['catch']))}}}}}")
        lines.append(f"  h{index} -.-> {last}")
    return "\n".join(lines)


def _outcome(app: FastAPI, routes: list[Route], method: str, path: str) -> dict[str, Any]:
    """Ask the routes in order, as the application does."""
    matches = [(route, _match(app, route, method, path)) for route in routes]
    full = [route for route, match in matches if match is Match.FULL]
    partial = [route for route, match in matches if match is Match.PARTIAL]
    other = path.rstrip("/") if path.endswith("/") and path != "/" else path + "/"
    answer = None
    if not full and partial:
        allowed = ", ".join(sorted({name for route in partial for name in route.methods}))
        answer = f"405: this path takes {allowed}"
    elif not full and any(_match(app, route, method, other) is not Match.NONE for route in routes):
        answer = f"307: redirects to {other}"
    elif not full:
        answer = "404: no route has this path"
    return {
        "request": f"{method} {path}",
        "route": full[0].as_dict() if full else None,
        "shadowed": [route.as_dict() for route in full[1:]],
        "answer": answer,
    }


def _match(app: FastAPI, route: Route, method: str, path: str) -> Match:
    kind = "websocket" if method == "WEBSOCKET" else "http"
    scope = {
        "type": kind,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": app.root_path,
        "query_string": b"",
        "headers": [],
        "app": app,
        "router": app.router,
    }
    match, _ = route.match(scope)
    return Match(match)


def _kind(route: Any) -> str:
    return "WEBSOCKET" if isinstance(route, WebSocketRoute) else "MOUNT"


def _name_of(value: Any) -> str:
    name = getattr(value, "__qualname__", None)
    kind = type(value)
    if name is None:
        return f"{kind.__module__}.{kind.__qualname__}"
    return f"{value.__module__}.{name}"


def _layer(component: Component) -> dict[str, Any]:
    node = component.node.get("with") if isinstance(component.node, Mapping) else None
    options = _covered(as_written(node)) if isinstance(node, Mapping) else {}
    return {"id": component.id, "use": component.target.path, "options": options}


def _covered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _covered(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_covered(item) for item in value]
    return redact(value) if isinstance(value, str) else value


def _handler(component: Component) -> dict[str, Any]:
    return {"id": component.id, "catch": component.entry.catch, "use": component.target.path}


def _drawn(facts: dict[str, Any]) -> Iterator[str]:
    server = facts["server"]
    workers = f", {server['workers']} workers" if server["workers"] > 1 else ""
    yield f"{facts['manifest']}  {facts.get('request', '')}".rstrip()
    yield ""
    yield f"  uvicorn {server['host']}:{server['port']}{workers}"
    for layer in facts["middleware"]:
        yield "  │"
        named = "" if layer["id"] == layer["use"] else f"{layer['id']}: "
        yield f"  ├─ {named}{layer['use']}"
        for name, value in layer["options"].items():
            yield f"  │    {name}: {json.dumps(value, ensure_ascii=False)}"
    yield "  │"
    yield from _drawn_routes(facts)
    yield ""
    yield "  what is raised on the way is answered by"
    for handler in facts["handlers"]:
        yield f"    {handler['catch']!s:<12} {handler['use']}"
    if not any(handler["catch"] in ("Exception", 500) for handler in facts["handlers"]):
        yield f"    {'Exception':<12} a plain 500, logged"


def _drawn_routes(facts: dict[str, Any]) -> Iterator[str]:
    if "routes" in facts:
        found = facts["routes"]
        width = max((len(_title(route)) for route in found), default=0)
        for index, route in enumerate(found):
            corner = "╰" if index == len(found) - 1 else "├"
            yield f"  {corner}─ {_title(route):<{width}}  {route['endpoint']}"
        if not found:
            yield "  ╰─ no routes"
    elif facts["route"]:
        yield f"  ╰─ {_title(facts['route'])}  {facts['route']['endpoint']}"
        for route in facts["shadowed"]:
            yield f"       shadows {_title(route)}  {route['endpoint']}"
    else:
        yield f"  ╰─ {facts['answer']}"


def _title(route: dict[str, Any]) -> str:
    return f"{','.join(route['methods'])} {route['path']}"


def _label(text: str) -> str:
    """Quote a Mermaid label; only entities keep quotes and brackets inert."""
    escaped = "".join(
        char if char.isalnum() or char in " ./:_-,{}" else f"#{ord(char)};" for char in text
    )
    return f'"{escaped}"'
