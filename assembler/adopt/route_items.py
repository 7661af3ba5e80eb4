"""The routes of an application, in order → items: routers, endpoints, mounts, hosts, frontends.

In: the routes as they stand in the end, and the calls that added them. Out: an item for each call, with
its entry, with the line of code that says more than an entry can, or with where the route stands on the
application as it was.
"""

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from assembler.adopt import expressions
from assembler.adopt.items import ItemReader, first_reason, options_of, short_name, why_unsaid
from assembler.adopt.lifting import UnliftedError
from assembler.adopt.naming import Value, described, is_said, listed, literal, mapping
from assembler.adopt.recording import NOWHERE, Call, UserPlace

_OF_ENDPOINT = {"path", "endpoint", "methods", "name", "response_class", "include_in_schema"} | {
    *("tags", "dependencies", "responses", "deprecated"),
}
_OF_ROUTER = {"router", "prefix", "tags", "dependencies", "responses", "deprecated"} | {
    *("include_in_schema", "default_response_class"),
}


class RouteReader(ItemReader):
    """Reads the routes of one application."""

    def take_routes(self) -> None:
        added: dict[int, Call] = {}
        for each in self.calls(
            *("router", "endpoint", "websocket", "route", "websocket route", "mount", "host")
        ):
            added |= {id(route): each for route in each.added}
        known: set[int] = set()
        routes = self.app.router.routes
        pages = [index for index, route in enumerate(routes) if is_page(route)]
        for index, route in enumerate(routes):
            if index in pages:
                continue
            call = added.get(id(route))
            if call is None:
                self.take_loose(route, index, is_first=bool(pages) and index < pages[0])
                continue
            if id(call) in known:
                continue
            known.add(id(call))
            item = self.take_route(call)
            self.of_calls[id(call)] = item
            item["bridge"] = {"is": "routes", "first": index, "count": len(call.added)}
        for each in self.calls("frontend"):
            self.of_calls[id(each)] = self.take_frontend(each)

    def take_loose(self, route: Any, index: int, *, is_first: bool) -> None:
        """Take a route that no call has added; one of the constructor's stands before the pages."""
        constructed = next(self.calls("app"), None)
        place = constructed.place if constructed else NOWHERE
        section = "configure" if is_first else "routes"
        item = self.item("route", place, _path_of(route), section)
        item["note"] = "it was put among the routes by hand"
        item["bridge"] = {"is": "routes", "first": index, "count": 1}
        if is_first:
            item["bridge"] = {"is": "first", "first": index, "last": index + 1}

    def take_route(self, call: Call) -> dict[str, Any]:
        taking: dict[str, Callable[[Call], dict[str, Any]]] = {
            "router": self.take_router,
            "endpoint": self.take_endpoint,
            "websocket": self.take_websocket,
            "mount": self.take_mount,
            "host": self.take_host,
        }
        return taking.get(call.kind, self.take_other)(call)

    def take_other(self, call: Call) -> dict[str, Any]:
        path = call.arguments.get("path") or call.arguments.get("host")
        item = self.item(call.kind, call.place, f"{path}", "routes")
        item["note"] = "a manifest has no entry of that kind"
        names = {"route": "add_route", "websocket route": "add_websocket_route"}
        if call.kind in names:
            item["code"] = expressions.call_text(self.names, names[call.kind], call.arguments)
        return item

    def take_router(self, call: Call) -> dict[str, Any]:
        given = expressions.without_defaults("include_router", call.arguments)
        router = given["router"]
        code = self.names.code(router)
        what = f"{code.get('path', described(router))} {given.get('prefix', '')}".rstrip()
        item = self.item("router", call.place, what, "routes")
        entry = {"use": code, **self.said_of_routes(given, call.place)}
        if code["is"] != "path":
            entry |= self.made_by_a_call(call, "router", 0) or self.lifted_router(call, item)
            path = entry["use"].get("path")
            item["what"] = f"{path} {given.get('prefix', '')}".rstrip() if path else item["what"]
        others = sorted(given.keys() - _OF_ROUTER)
        if others:
            item["note"] = f"a manifest has no {', '.join(f'`{name}`' for name in others)} there"
        elif all(is_said(each) for each in entry.values()):
            item["entry"] = entry
        else:
            item["note"] = first_reason(entry)
        item["code"] = expressions.call_text(self.names, "include_router", given)
        return item

    def take_endpoint(self, call: Call) -> dict[str, Any]:
        given = expressions.without_defaults("add_api_route", call.arguments)
        endpoint = given["endpoint"]
        methods = [str(each) for each in given.get("methods") or ["GET"]]
        what = f"{','.join(methods)} {given['path']}"
        item = self.item("endpoint", call.place, what, "routes")
        code = self.names.code(endpoint)
        if code["is"] != "path":
            code = self.lifted(endpoint, call.place, item) or code
        entry = {"path": literal(given["path"]), "use": code, **options_of(code)}
        if methods != ["GET"]:
            entry["methods"] = listed(map(literal, methods))
        if given.get("name") not in {None, getattr(endpoint, "__name__", None)}:
            entry["name"] = literal(given["name"])
        entry |= self.said_of_routes(given, call.place)
        others = given.keys() - _OF_ENDPOINT
        item["code"] = expressions.call_text(self.names, "add_api_route", given)
        if not others and all(is_said(each) for each in entry.values()) and _has_words(methods):
            item["entry"] = entry
            return item
        names = ", ".join(f"`{name}`" for name in sorted(others))
        why = f"a manifest has no {names} there" if others else first_reason(entry)
        item["note"] = item["note"] or why
        if item["code"] is None and code["is"] == "made":
            self.lift_route(call, item)
        return item

    def lift_route(self, call: Call, item: dict[str, Any]) -> None:
        """Write one route with a local function as a router of its own."""
        name = f"{short_name(call.arguments['endpoint'])}_routes"
        try:
            code = self.lifter.routes(call, {}, [call], call.place, name)
        except UnliftedError as error:
            item["note"] = f"it stays where it is: {error}"
            return
        item["note"] = ""
        item["entry"] = {"use": code, **options_of(code)}

    def take_websocket(self, call: Call) -> dict[str, Any]:
        given = expressions.without_defaults("add_api_websocket_route", call.arguments)
        item = self.item("websocket", call.place, f"WEBSOCKET {given['path']}", "routes")
        endpoint = given["endpoint"]
        code = self.names.code(endpoint)
        if code["is"] != "path":
            code = self.lifted(endpoint, call.place, item) or code
        entry = {
            "path": literal(given["path"]),
            "use": code,
            **options_of(code),
            "methods": listed([literal("WEBSOCKET")]),
            **self.said_of_routes(given, call.place),
        }
        if given.get("name") not in {None, getattr(endpoint, "__name__", None)}:
            entry["name"] = literal(given["name"])
        item["code"] = expressions.call_text(self.names, "add_api_websocket_route", given)
        if all(is_said(each) for each in entry.values()):
            item["entry"] = entry
        else:
            item["note"] = first_reason(entry)
        return item

    def made_by_a_call(self, call: Call, name: str, position: int) -> dict[str, Value] | None:
        """Write an argument that the line itself makes, by what it calls and with what."""
        made = expressions.made_here(self.names, call.place, name, position)
        said = None if made is None else self.with_of(made.target, (), made.kwargs, leading=0)
        if made is None or not isinstance(said, dict):
            return None
        use = self.names.code(made.target)
        return {"use": use, "with": mapping(said)} if said else {"use": use}

    def lifted_router(self, call: Call, item: dict[str, Any]) -> dict[str, Value]:
        """Write a router of a function's own as one of the module beside the manifest."""
        router = call.arguments["router"]
        names = [name for name, value in call.place.locals.items() if value is router]
        try:
            code = self.lifter.router(router, call.place, names[0] if names else "router")
        except UnliftedError as error:
            item["note"] = f"it stays where it is: {error}"
            return {}
        if names:
            item["what"] = f"{names[0]} {call.arguments.get('prefix', '')}".rstrip()
        return {"use": code, **options_of(code)}

    def said_of_routes(self, given: Mapping[str, Any], place: UserPlace) -> dict[str, Value]:
        """Write what routers and endpoints have in common."""
        entry: dict[str, Value] = {}
        for key in ("prefix", "tags", "deprecated", "include_in_schema"):
            if given.get(key) not in (None, "", []):
                entry[key] = self.names.value(given[key])
        if given.get("dependencies"):
            entry["dependencies"] = self.dependencies(given["dependencies"], place)
        if given.get("responses"):
            entry["responses"] = self.responses(given["responses"])
        for key in ("default_response_class", "response_class"):
            if given.get(key) is not None:
                entry["default_response_class"] = self.names.code(given[key])
        return entry

    def take_mount(self, call: Call) -> dict[str, Any]:
        path, app = call.arguments["path"], call.arguments["app"]
        item = self.item("mount", call.place, path or "/", "routes")
        entry: dict[str, Value] = {"mount": literal(path.rstrip("/") or "/")}
        code = self.names.code(app)
        entry["use"] = code
        if code["is"] != "path":
            made = self.made_by_a_call(call, "app", 1)
            if made is None:
                item["note"] = f"it is {why_unsaid(code)}"
                made = {"use": self.mounted(call, app)}
            entry |= made
        if call.arguments.get("name"):
            entry["name"] = literal(call.arguments["name"])
        if self.is_opened_elsewhere(app):
            entry["owned"] = literal(False)
            item["note"] = "its lifespan is run by that of the application, and not once more"
        if all(is_said(each) for each in entry.values()):
            item["entry"] = entry
        return item

    def take_host(self, call: Call) -> dict[str, Any]:
        """Write what answers for one host alone."""
        host, app = call.arguments["host"], call.arguments["app"]
        item = self.item("host", call.place, str(host), "routes")
        code = self.names.code(app)
        if code["is"] != "path":
            item["note"] = f"it is {why_unsaid(code)}"
            code = self.mounted(call, app)
        item["entry"] = {"mount": literal("/"), "host": literal(host), "use": code}
        if call.arguments.get("name"):
            item["entry"]["name"] = literal(call.arguments["name"])
        return item

    def mounted(self, call: Call, app: Any) -> Value:
        """Take a mounted application from the route that has it."""
        index = next(n for n, route in enumerate(self.app.router.routes) if route is call.added[0])
        where = str(call.arguments.get("path") or call.arguments.get("host"))
        name = call.arguments.get("name") or where.strip("/") or "mounted"
        return self.part(app, name, f"old.router.routes[{index}].app")

    def is_opened_elsewhere(self, app: Any) -> bool:
        """Tell whether the application's own lifespan runs that of a mounted application."""
        call = next(self.calls("app"), None)
        given = call.arguments.get("lifespan") if call else None
        if given is None or not hasattr(app, "router"):
            return False
        owner = getattr(given, "__self__", None)
        if owner is not None and owner in (app, app.router):
            return True
        if given is app.router.lifespan_context or given is getattr(app, "lifespan", None):
            return True
        code = getattr(inspect.unwrap(given), "__code__", None)
        if code is None or not {"lifespan_context", "lifespan"} & set(code.co_names):
            return False
        held = inspect.getclosurevars(inspect.unwrap(given))
        named = (*held.globals.values(), *held.nonlocals.values())
        return any(
            value is app or app in vars(value).values()
            for value in named
            if value is app or inspect.ismodule(value)
        )

    def take_frontend(self, call: Call) -> dict[str, Any]:
        given = expressions.without_defaults("frontend", call.arguments)
        folder = os.fspath(given["directory"])
        item = self.item("frontend", call.place, str(given["path"]), "routes")
        if given.keys() - {"path", "directory"}:
            item["section"] = "finish"
            item["code"] = expressions.call_text(self.names, "frontend", given)
            item["refused"] = item["code"] is None
            item["note"] = "an option of it stands in code alone"
            return item
        prefix = str(given["path"]).rstrip("/")
        item["entry"] = {"frontend": {"is": "folder", "path": str(Path(folder).resolve())}}
        if prefix:
            item["entry"]["prefix"] = literal(prefix)
        return item


def _path_of(route: Any) -> str:
    return str(getattr(route, "path", "") or type(route).__name__)


def is_page(route: Any) -> bool:
    """Tell whether a route is one of the pages that FastAPI adds by itself."""
    name = getattr(getattr(route, "endpoint", None), "__qualname__", "")
    return name.startswith("FastAPI.setup.")


def is_page_call(call: Call) -> bool:
    """Tell whether a call has added nothing but such pages."""
    return all(map(is_page, call.added))


def _has_words(methods: Iterable[str]) -> bool:
    return set(methods) <= {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}
