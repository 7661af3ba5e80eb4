"""`module:app` → all that the application is made of, each part with the place that it comes from.

In: a target, in a guarded process. Out: plain data: one item for each composing call, with what a
manifest says of it, or why a manifest cannot; the settings and the variables that were read. What the
application is in the end tells; a call that it does not show any more is an item all the same, so that
nothing is dropped in silence.
"""

import builtins
import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from assembler.adopt import environment, expressions, lifespans, triggers
from assembler.adopt.claims import claims
from assembler.adopt.guarded_process import Guard
from assembler.adopt.lifting import Lifter, UnliftedError, is_local, uses_of
from assembler.adopt.naming import (
    NAME,
    ImportPaths,
    Value,
    described,
    is_said,
    listed,
    literal,
    made,
    mapping,
    parts,
    unnamed,
)
from assembler.adopt.recording import NOWHERE, Call, Composition, UserPlace, recorded
from assembler.adopt.target import compose
from assembler.manifest.app import OTHER_WORDS
from assembler.plan.allow_list import ImportList
from assembler.plan.importer import import_object

_FACTS = {
    "title": ("title", "FastAPI"),
    "version": ("version", "0.1.0"),
    "summary": ("summary", None),
    "description": ("description", ""),
    "terms_of_service": ("terms_of_service", None),
    "contact": ("contact", None),
    "license_info": ("license", None),
    "servers": ("servers", None),
    "root_path": ("root_path", ""),
    "openapi_tags": ("tags", None),
    "debug": ("debug", False),
    "separate_input_output_schemas": ("separate_input_output_schemas", True),
    "swagger_ui_parameters": ("swagger_ui_parameters", None),
    "swagger_ui_init_oauth": ("swagger_ui_init_oauth", None),
    "openapi_external_docs": ("openapi_external_docs", None),
    "root_path_in_servers": ("root_path_in_servers", True),
}
"""Attributes of an application → the key of `app` that says it, and the value that needs no saying."""

_ROUTER_FACTS = {"redirect_slashes": True, "include_in_schema": True, "deprecated": None}
_PAGES = {
    "openapi_url": ("path", "/openapi.json"),
    "docs_url": ("docs", "/docs"),
    "redoc_url": ("redoc", "/redoc"),
}
_HANDLED = frozenset(
    {
        *(*_FACTS, *_ROUTER_FACTS, *_PAGES, *OTHER_WORDS, "swagger_ui_oauth2_redirect_url"),
        *("default_response_class", "generate_unique_id_function", "responses", "callbacks"),
        *("webhooks", "dependencies"),
    }
)
_OF_ENDPOINT = {"path", "endpoint", "methods", "name", "response_class", "include_in_schema"} | {
    *("tags", "dependencies", "responses", "deprecated"),
}
_OF_ROUTER = {"router", "prefix", "tags", "dependencies", "responses", "deprecated"} | {
    *("include_in_schema", "default_response_class"),
}
REPLACEMENTS = "replacements"
"""The module of a package of components that tells what of it does the same as a layer of others."""


def take(argument: Mapping[str, Any], guard: Guard) -> dict[str, Any]:
    """Record the application that `argument` names, and return its inventory."""
    with recorded() as recording:
        app, root = compose(argument["target"], is_factory=argument["factory"])
        return _Inventory(argument, app, root, recording).taken()


class _Inventory:
    """One application, taken apart."""

    def __init__(
        self, argument: Mapping[str, Any], app: Any, root: str, recording: Composition
    ) -> None:
        self.argument = argument
        self.app = app
        self.recording = recording
        self.names = ImportPaths(root)
        self.names.app = app
        self.lifter = Lifter(self.names, recording)
        self.items: list[dict[str, Any]] = []
        self.of_calls: dict[int, dict[str, Any]] = {}  # the item of each call

    def taken(self) -> dict[str, Any]:
        """Return all items, and what the application reads."""
        from fastapi import FastAPI  # noqa: PLC0415  # the process alone needs it

        found = environment.read_settings(self.recording, self.names)
        kind = "fastapi" if isinstance(self.app, FastAPI) else "asgi"
        if kind == "fastapi":
            self.take_app()
        else:
            self.take_whole()
        app_path = self.names.path(self.app)
        return {
            "kind": kind,
            "path": app_path,
            "root": self.names.root,
            "file": str(getattr(sys.modules[self.names.root], "__file__", "")),
            "items": self.items,
            "settings": found,
            "claims": [claim.text() for claim in claims(self.layer_places())],
            "environment": {name: place.text for name, place in self.recording.environment.items()},
            "values": {name: os.environ.get(name) for name in self.recording.environment},
        }

    def layer_places(self) -> list[tuple[str, str]]:
        """Return the layers as they run, each with its place."""
        return [(item["what"], item["place"]) for item in self.items if item["kind"] == "layer"]

    def take_whole(self) -> None:
        """Take an application of another make as it is, under `/`."""
        path = self.names.path(self.app)
        what = described(self.app)
        place = next((call.place for call in self.recording.of(self.app)), NOWHERE)
        item = self.item("app", place, what, "routes")
        item["note"] = f"{what} is no FastAPI application: it is mounted as a whole"
        item["bridge"] = {"is": "whole"}
        item["entry"] = None
        if path is not None:
            item["entry"] = {"mount": literal("/"), "use": self.names.code(self.app)}
            item["bridge"] = None
        item["bridged"] = True
        pages = self.item("app", place, "the pages of FastAPI, which it does not have", "app")
        pages["entry"] = {"openapi": mapping({"path": literal(None)})}

    def take_app(self) -> None:
        """Take a FastAPI application apart, section by section."""
        self.take_facts()
        self.take_state()
        self.take_layers()
        self.take_handlers()
        self.take_lifespan()
        self.take_routes()
        self.take_attributes()
        self.items += triggers.jobs(self.recording, self.names)
        self.take_rest()

    def item(self, kind: str, place: UserPlace, what: str, section: str) -> dict[str, Any]:
        """Begin an item."""
        item: dict[str, Any] = {
            "kind": kind,
            "place": place.text,
            "what": what,
            "section": section,
            "entry": None,
            "bridge": None,
            "note": "",
            "bridged": False,
        }
        self.items.append(item)
        return item

    def calls(self, *kinds: str) -> Iterator[Call]:
        """Yield the calls on the application and its router, of these kinds."""
        found = self.recording.of(self.app, self.app.router)
        return (call for call in found if call.kind in kinds)

    # --- the section `app`

    def take_facts(self) -> None:
        call = next(self.calls("app"), Call("app", self.app, {}, NOWHERE))
        item = self.item("app", call.place, type(self.app).__name__, "app")
        self.of_calls[id(call)] = item
        entry: dict[str, Value] = {}
        for attribute, (key, default) in _FACTS.items():
            entry[key] = self.fact(getattr(self.app, attribute, default) or default, default)
        for attribute, default in _ROUTER_FACTS.items():
            entry[attribute] = self.fact(getattr(self.app.router, attribute, default), default)
        entry |= self.pages()
        entry |= self.code_facts()
        for name, found in call.arguments.items():
            if name not in _HANDLED and found is not None:
                entry[name] = self.names.value(found)
        item["entry"] = {key: each for key, each in entry.items() if is_said(each)}
        lost = [key for key, each in entry.items() if not is_said(each)]
        if lost:
            item["note"] = "no manifest can say " + ", ".join(
                f"`{key}` ({_why(entry[key])})" for key in lost
            )
            item["refused"] = True
        self.refuse_subclass(item)
        self.take_dependencies(call.place)

    def fact(self, value: Any, default: Any) -> Value:
        """Write a fact; one that FastAPI has by itself needs no saying where it is always the same."""
        said = self.names.value(value)
        return {**said, "default": True} if value == default else said

    def refuse_subclass(self, item: dict[str, Any]) -> None:
        from fastapi import FastAPI  # noqa: PLC0415  # the process alone needs it

        kinds = type(self.app).__mro__
        own = kinds[: kinds.index(FastAPI)]
        names = [name for kind in own for name in vars(kind) if not _is_of_every_class(name)]
        if names:
            item["refused"] = True
            told = ", ".join(f"`{name}`" for name in dict.fromkeys(names))
            item["note"] = f"`{type(self.app).__name__}` is a class of its own, with {told}"

    def pages(self) -> dict[str, Value]:
        pages = {
            key: self.fact(getattr(self.app, attribute), default)
            for attribute, (key, default) in _PAGES.items()
        }
        found: dict[str, Value] = {"openapi": mapping(pages)}
        docs = self.app.docs_url
        redirect = self.app.swagger_ui_oauth2_redirect_url
        if docs and self.app.openapi_url and redirect != f"{docs}/oauth2-redirect":
            found["swagger_ui_oauth2_redirect_url"] = self.names.value(redirect)
        return found

    def code_facts(self) -> dict[str, Value]:
        """Return what the application has of code: classes, functions, responses."""
        from fastapi.datastructures import DefaultPlaceholder  # noqa: PLC0415  # as above

        router, found = self.app.router, {}
        for name in ("default_response_class", "generate_unique_id_function"):
            given = getattr(router, name)
            if not isinstance(given, DefaultPlaceholder):
                code = self.names.code(given)
                found[name] = (
                    code if is_said(code) else self.part(given, name, f"old.router.{name}")
                )
        if router.responses:
            found["responses"] = self.responses(router.responses)
        if router.callbacks:
            found["callbacks"] = unnamed("a list of routes")
        if self.app.webhooks.routes:
            found["webhooks"] = self.names.code(self.app.webhooks)
            if not is_said(found["webhooks"]) and self.names.path(self.app) is not None:
                module, _, name = (self.names.path(self.app) or "").rpartition(".")
                path = f"{module}:{name}.webhooks"
                found["webhooks"] = {"is": "path", "path": path, "form": "object"}
        return found

    def responses(self, given: Mapping[Any, Any]) -> Value:
        """Write responses; a model is the path of a class."""
        return mapping(
            {
                str(status): mapping(
                    {
                        key: self.names.code(each) if key == "model" else self.names.value(each)
                        for key, each in said.items()
                    }
                )
                for status, said in given.items()
            }
        )

    def take_dependencies(self, place: UserPlace) -> None:
        found = self.dependencies(self.app.router.dependencies, place)
        if not self.app.router.dependencies:
            return
        item = self.item("dependencies", place, "dependencies of every route", "app")
        if is_said(found):
            item["entry"] = {"dependencies": found}
        else:
            item["bridge"] = {"is": "dependencies"}
            item["note"] = _why(found)

    def dependencies(self, given: Iterable[Any], place: UserPlace | None = None) -> Value:
        """Write dependencies as a manifest does: the path of what `Depends` has."""
        from fastapi import params  # noqa: PLC0415  # the process alone needs it

        found = []
        for each in given or ():
            is_plain = type(each) is params.Depends and each.use_cache
            is_plain = is_plain and getattr(each, "scope", None) is None
            code = self.names.code(each.dependency)
            if is_plain and code["is"] == "path":
                found.append({**code, "form": "function"})
            elif is_plain and is_local(each.dependency) and place is not None:
                found.append(self.lifted_dependency(each.dependency, place))
            else:
                found.append(unnamed(described(each.dependency) if is_plain else "a `Security`"))
        return listed(found)

    def lifted_dependency(self, dependency: Any, place: UserPlace) -> Value:
        try:
            code = self.lifter.function(dependency, place)
        except UnliftedError as error:
            return unnamed(f"`{_short(dependency)}`, which stays where it is: {error}")
        options = _options_of(code)
        return mapping({"use": code, **options}) if options else code

    # --- state and attributes

    def take_state(self) -> None:
        state = self.app.state
        for name, value in vars(state).get("_state", {}).items():
            place = self.recording.state.get((id(state), name), NOWHERE)
            item = self.item("state", place, f"app.state.{name}", "state")
            said = self.names.value(value)
            is_function = said["is"] == "path" and said["form"] != "object"
            if isinstance(value, list | dict | set) and self.names.places_of(value):
                item["bridge"] = {"is": "state", "name": name}
                item["note"] = "a module has it as well, and sees what becomes of it"
            elif is_said(said) and not any(
                each["is"] == "path" and each["form"] != "object" for each in parts(said)
            ):
                item["entry"] = {name: said}
            else:
                why = "a function or class" if is_function else _why(said)
                item["bridge"] = {"is": "state", "name": name}
                item["note"] = f"it is {why}"

    def take_attributes(self) -> None:
        """Take what was set on the application itself, such as an `openapi` of its own."""
        from fastapi import FastAPI  # noqa: PLC0415  # the process alone needs it

        known = set(vars(FastAPI()))
        for name, value in vars(self.app).items():
            if name in known or name.startswith("__") or name == "_assembly":
                continue
            place = self.recording.state.get((id(self.app), name), NOWHERE)
            item = self.item("attribute", place, f"app.{name}", "configure")
            item["bridge"] = {"is": "attribute", "name": name}
            item["note"] = described(value)
        for key in self.app.dependency_overrides:
            place = self.recording.state.get((id(self.app), f"override {id(key)}"), NOWHERE)
            what = f"dependency_overrides[{_short(key)}]"
            self.item("override", place, what, "configure")["bridge"] = {"is": "overrides"}
        self.take_uses()

    def take_uses(self) -> None:
        """Find functions that name the application: they see the one that there was."""
        for file, line, function in uses_of(self.app, self.names):
            item = self.item("share", UserPlace(file, line), function, "configure")
            item["bridge"] = {"is": "share"}
            item["note"] = "it names the application, and has its state from now on"

    # --- layers and handlers

    def take_layers(self) -> None:
        calls = list(self.calls("layer"))
        made = {id(each): call for call in calls for each in call.added}
        constructed = next(self.calls("app"), None)
        count = len(self.app.user_middleware)
        for index, layer in enumerate(self.app.user_middleware):
            call = made.get(id(layer)) or constructed
            place = call.place if call else NOWHERE
            item = self.item("layer", place, _short(layer.cls), "middleware")
            if call is not None and call.kind == "layer":
                self.of_calls[id(call)] = item
            said = self.with_of(
                layer.cls,
                layer.args,
                layer.kwargs,
                leading=1,
                of=(f"old.user_middleware[{index - count}]", place, item),
            )
            code = self.names.code(layer.cls)
            # Counted from the innermost: a switch adds layers outside.
            item["bridge"] = {"is": "layer", "index": index - count}
            if code["is"] == "path" and isinstance(said, dict):
                item["entry"] = {"use": code} | ({"with": mapping(said)} if said else {})
                self.prefer(item, str(code["path"]), layer.kwargs, said)
            else:
                item["note"] = said if isinstance(said, str) else f"it is {code.get('what')}"

    def prefer(
        self,
        item: dict[str, Any],
        path: str,
        options: Mapping[str, Any],
        said: Mapping[str, Value],
    ) -> None:
        """Note what of another package does the same as a layer, where one is preferred."""
        package = self.argument.get("prefer")
        if not package:
            return
        table = importlib.import_module(f"{package}.{REPLACEMENTS}")
        found = table.replacement(path, options, vars(self.app.state).get("_state", {}))
        if found is None:
            return
        target = import_object(found.use, ImportList(None, None))
        given = {name: options[name] for name in found.kept} | dict(found.options)
        written = {
            name: said[name] if name in found.kept else self.names.value(value)
            for name, value in given.items()
        }
        if all(
            expressions.is_read_back(target, name, given[name], each, leading=1)
            for name, each in written.items()
        ):
            code = {"is": "path", "path": found.use, "form": "class", "definer": None}
            item["preferred"] = {"use": code, **({"with": mapping(written)} if written else {})}
            item["differs"] = f"in place of `{path}`: {'; '.join(found.differs)}"

    def with_of(
        self,
        target: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        leading: int,
        of: tuple[str, UserPlace, dict[str, Any]] | None = None,
    ) -> dict[str, Value] | str:
        """Write arguments under `with`, or say why that cannot be; `of` says who has them."""
        given = expressions.by_name(target, tuple(args), kwargs, leading=leading)
        if given is None:
            return "its arguments have no names"
        of = of if not args else None
        said = {}
        for name, value in given.items():
            written = self.names.value(value)
            if written["is"] == "app":
                return f"`{name}` is the application"
            if written["is"] == "unnamed" and of is not None:
                written = self.named_part(value, name, of, f"kwargs[{name!r}]".replace("'", '"'))
            if not is_said(written):
                return f"`{name}` is {_why(written)}"
            if not expressions.is_read_back(target, name, value, written, leading=leading):
                return f"`{name}` takes no import path"
            said[name] = written
        return said

    def named_part(
        self, value: Any, name: str, of: tuple[str, UserPlace, dict[str, Any]], where: str
    ) -> Value:
        """Lift a local function that is an argument, or take it from who has it."""
        code, place, item = of
        lifted = self.lifted(value, place, item)
        if lifted is not None and not lifted["with"]:
            return lifted
        return self.part(value, name, f"{code}.{where}")

    def lifted(self, value: Any, place: UserPlace, item: dict[str, Any]) -> Value | None:
        """Lift a local function, or say in the item why that cannot be."""
        if not is_local(value):
            return None
        try:
            return self.lifter.function(value, place)
        except UnliftedError as error:
            item["note"] = f"`{_short(value)}` stays where it is: {error}"
            return None

    def part(self, value: Any, name: str, code: str) -> Value:
        """Write what the application as it was has, by the code that takes it from there."""
        own = getattr(value, "__name__", name)
        called = name if "<" in own else own
        line = f"{NAME} = {code}"
        return made(str(id(value)), called, line, value, uses_old=True)

    def take_handlers(self) -> None:
        from fastapi import FastAPI  # noqa: PLC0415  # the process alone needs it

        calls = {self.key(call): call for call in self.calls("handler")}
        constructed = next(self.calls("app"), None)
        defaults = FastAPI().exception_handlers
        for key, handler in self.app.exception_handlers.items():
            if defaults.get(key) is handler:
                continue
            call = calls.get(key)
            place = call.place if call else constructed.place if constructed else NOWHERE
            item = self.item("handler", place, _caught(key), "exception_handlers")
            if call is not None:
                self.of_calls[id(call)] = item
            caught, code = self.caught(key), self.names.code(handler)
            item["bridge"] = {"is": "handler", "catch": caught, "name": _short(handler)}
            if not is_said(caught):
                item["note"] = f"it catches {_why(caught)}"
                continue
            if code["is"] != "path" or code["form"] == "class":
                item["note"] = f"it is {_why(code)}"
                text = expressions.plain_text(self.names, key)
                part = self.part(
                    handler, f"handle_{_caught(key)}", f"old.exception_handlers[{text}]"
                )
                code = self.lifted(handler, place, item) or part
                item["note"] = "" if code is not part else item["note"]
            item["entry"] = {"catch": caught, "use": code, **_options_of(code)}

    def key(self, call: Call) -> Any:
        """Return what a handler was registered for."""
        return call.arguments.get("exc_class_or_status_code")

    def caught(self, key: Any) -> Value:
        """Write what a handler catches."""
        if isinstance(key, int):
            return literal(int(key))
        name = getattr(key, "__name__", "")
        if getattr(builtins, name, None) is key:
            return literal(name)
        return self.names.code(key)

    # --- lifespans and events

    def take_lifespan(self) -> None:
        call = next(self.calls("app"), None)
        given = call.arguments.get("lifespan") if call else None
        place = call.place if call else NOWHERE
        current = self.app.router.lifespan_context
        owner = getattr(current, "__module__", "") or ""
        if given is None and not owner.startswith(("fastapi", "starlette")):
            given, place = current, NOWHERE  # set on the router afterwards
        if given is not None:
            self.take_one_lifespan(given, place)
        for kind in ("startup", "shutdown"):
            handlers = (call.arguments.get(f"on_{kind}") if call else None) or ()
            for handler in handlers:
                item = self.take_event(kind, handler, place, is_dead=given is not None)
        for event in self.calls("event"):
            kind, handler = event.arguments["event_type"], event.arguments["func"]
            item = self.take_event(kind, handler, event.place, is_dead=given is not None)
            self.of_calls[id(event)] = item

    def take_one_lifespan(self, given: Any, place: UserPlace) -> None:
        item = self.item("lifespan", place, _short(given), "lifespan")
        code = self.names.code(given)
        is_generator = inspect.isasyncgenfunction(given) or inspect.isgeneratorfunction(given)
        if code["is"] != "path" or is_generator:
            why = "a generator, and no context manager" if is_generator else _why(code)
            item["note"] = f"it is {why}"
            code = self.part(given, "lifespan", "old.router.lifespan_context")
            if is_local(given) and not is_generator:
                lifted = self.lifted_lifespan(given, place, item)
                item["note"] = "" if lifted is not None else item["note"]
                code = lifted or code
        item["entry"] = {"use": code, **_options_of(code)}
        item["pieces"] = lifespans.pieces(given, self.names)

    def lifted_lifespan(self, given: Any, place: UserPlace, item: dict[str, Any]) -> Value | None:
        try:
            return self.lifter.function(given, place, takes="app")
        except UnliftedError as error:
            item["note"] = f"`{_short(given)}` stays where it is: {error}"
            return None

    def take_event(
        self, kind: str, handler: Any, place: UserPlace, *, is_dead: bool
    ) -> dict[str, Any]:
        repeated = triggers.repetition(handler, self.names)
        item = self.item("event", place, _short(handler), kind)
        if is_dead:
            item["note"] = "it never runs: the application has a lifespan, which takes its place"
            item["entry"] = {}
            return item
        if repeated is not None:
            item |= repeated
            return item
        code = self.names.code(handler)
        handlers = getattr(self.app.router, f"on_{kind}", [])
        index = next((n for n, each in enumerate(handlers) if each is handler), None)
        if code["is"] != "path" or code["form"] == "class":
            item["note"] = f"it is {_why(code)}"
            if index is None:
                return item
            part = self.part(handler, _short(handler), f"old.router.on_{kind}[{index}]")
            lifted = self.lifted(handler, place, item)
            code = part if lifted is None or lifted["with"] else lifted
        item["entry"] = {"use": code}
        return item

    # --- routes

    def take_routes(self) -> None:
        added: dict[int, Call] = {}
        for each in self.calls(
            *("router", "endpoint", "websocket", "route", "websocket route", "mount", "host")
        ):
            added |= {id(route): each for route in each.added}
        known: set[int] = set()
        routes = self.app.router.routes
        pages = [index for index, route in enumerate(routes) if _is_page(route)]
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
            item["note"] = _first_reason(entry)
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
        entry = {"path": literal(given["path"]), "use": code, **_options_of(code)}
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
        why = f"a manifest has no {names} there" if others else _first_reason(entry)
        item["note"] = item["note"] or why
        if item["code"] is None and code["is"] == "made":
            self.lift_route(call, item)
        return item

    def lift_route(self, call: Call, item: dict[str, Any]) -> None:
        """Write one route with a local function as a router of its own."""
        name = f"{_short(call.arguments['endpoint'])}_routes"
        try:
            code = self.lifter.routes(call, {}, [call], call.place, name)
        except UnliftedError as error:
            item["note"] = f"it stays where it is: {error}"
            return
        item["note"] = ""
        item["entry"] = {"use": code, **_options_of(code)}

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
            **_options_of(code),
            "methods": listed([literal("WEBSOCKET")]),
            **self.said_of_routes(given, call.place),
        }
        if given.get("name") not in {None, getattr(endpoint, "__name__", None)}:
            entry["name"] = literal(given["name"])
        item["code"] = expressions.call_text(self.names, "add_api_websocket_route", given)
        if all(is_said(each) for each in entry.values()):
            item["entry"] = entry
        else:
            item["note"] = _first_reason(entry)
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
        return {"use": code, **_options_of(code)}

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
                item["note"] = f"it is {_why(code)}"
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
            item["note"] = f"it is {_why(code)}"
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

    # --- what no part shows

    def take_rest(self) -> None:
        """Tell of calls whose effect a later one has undone."""
        kinds = ("layer", "handler", "event", "router", "endpoint", "websocket", "mount", "host")
        for call in self.calls(*kinds, "route", "websocket route", "frontend"):
            if id(call) in self.of_calls or (_is_page_call(call) and call.place is NOWHERE):
                continue
            what = _caught(self.key(call)) if call.kind == "handler" else call.kind
            if call.kind == "route" and all(map(_is_page, call.added)):
                continue
            item = self.item(call.kind, call.place, what, "")
            item["entry"] = {}
            item["note"] = "it has no effect: a later call takes its place"


def _is_of_every_class(name: str) -> bool:
    return name in {"__module__", "__qualname__", "__doc__", "__annotations__", "__init__"} or (
        name.startswith("__") and name.endswith("__") and name != "__call__"
    )


def _options_of(code: Value) -> dict[str, Value]:
    """Return the key `with` for what is made with options."""
    options = code.get("with")
    return {"with": mapping(options)} if options else {}


def _why(value: Value) -> str:
    """Return what keeps a value from being said."""
    for each in parts(value):
        if each["is"] == "unnamed":
            return str(each["what"])
        if each["is"] == "app":
            return "the application itself"
    return "nothing that a manifest can say"


def _first_reason(entry: Mapping[str, Value]) -> str:
    for key, each in entry.items():
        if not is_said(each):
            return f"`{key}` is {_why(each)}"
    return ""


def _short(value: Any) -> str:
    while isinstance(value, functools.partial):
        value = value.func
    return str(getattr(value, "__qualname__", None) or type(value).__name__).rpartition(
        "<locals>."
    )[2]


def _caught(key: Any) -> str:
    return str(int(key)) if isinstance(key, int) else _short(key)


def _path_of(route: Any) -> str:
    return str(getattr(route, "path", "") or type(route).__name__)


def _is_page(route: Any) -> bool:
    """Tell whether a route is one of the pages that FastAPI adds by itself."""
    name = getattr(getattr(route, "endpoint", None), "__qualname__", "")
    return name.startswith("FastAPI.setup.")


def _is_page_call(call: Call) -> bool:
    return all(map(_is_page, call.added))


def _has_words(methods: Iterable[str]) -> bool:
    return set(methods) <= {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}
