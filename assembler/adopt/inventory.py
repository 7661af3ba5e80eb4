"""`module:app` → all that the application is made of, each part with the place that it comes from.

In: a target, in a guarded process. Out: plain data: one item for each composing call, with what a
manifest says of it, or why a manifest cannot; the settings and the variables that were read. What the
application is in the end tells; a call that it does not show any more is an item all the same, so that
nothing is dropped in silence.
"""

import ast
import builtins
import functools
import importlib
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from assembler.adopt import environment, expressions, lifespans, triggers
from assembler.adopt.claims import claims
from assembler.adopt.comparisons import Comparisons
from assembler.adopt.guarded_process import Guard
from assembler.adopt.items import options_of, short_name, why_unsaid
from assembler.adopt.lifting import UnliftedError, is_local, uses_of
from assembler.adopt.naming import (
    NAME,
    Value,
    described,
    is_exact,
    is_own,
    is_said,
    literal,
    mapping,
    parts,
    unnamed,
)
from assembler.adopt.recording import NOWHERE, Call, UserPlace, recorded
from assembler.adopt.route_items import RouteReader, is_page_call
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
_BRIDGED_FACTS = {
    **{key: attribute for attribute, (key, _) in _FACTS.items()},
    **{name: f"router.{name}" for name in _ROUTER_FACTS},
}
"""Keys of `app` → what has them, for those that code may set once the application is made."""

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
COMPOSING = (
    *("layer", "handler", "event", "router", "endpoint", "websocket", "mount", "host"),
    *("route", "websocket route", "frontend"),
)
REPLACEMENTS = "replacements"
"""The module of a package of components that tells what of it does the same as a layer of others."""


def take(argument: Mapping[str, Any], guard: Guard) -> dict[str, Any]:
    """Record the application that `argument` names, and return its inventory."""
    with recorded() as recording:
        app, root = compose(argument["target"], is_factory=argument["factory"])
        return _Inventory(argument, app, root, recording).taken()


class _Inventory(RouteReader):
    """One application, taken apart."""

    def taken(self) -> dict[str, Any]:
        """Return all items, and what the application reads."""
        from fastapi import FastAPI  # noqa: PLC0415  # the process alone needs it

        comparisons = Comparisons()
        found = environment.read_settings(self.recording, self.names, comparisons)
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
            "compared": {
                name: comparisons.of_variable(name) for name in self.recording.environment
            },
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
        self.take_unseen()
        self.take_attributes()
        self.items += triggers.jobs(self.recording, self.names)
        self.take_rest()

    def take_facts(self) -> None:
        call = next(self.calls("app"), Call("app", self.app, {}, NOWHERE))
        item = self.item("app", call.place, type(self.app).__name__, "app")
        self.of_calls[id(call)] = item
        entry: dict[str, Value] = {}
        for attribute, (key, default) in _FACTS.items():
            value = getattr(self.app, attribute, default)
            is_told = bool(value) or isinstance(value, bool)
            entry[key] = self.fact(value if is_told else default, default)
        for attribute, default in _ROUTER_FACTS.items():
            entry[attribute] = self.fact(getattr(self.app.router, attribute, default), default)
        entry |= self.pages()
        entry |= self.code_facts()
        for name, found in call.arguments.items():
            if name not in _HANDLED and found is not None:
                entry[name] = self.names.value(found)
        item["entry"] = {key: each for key, each in entry.items() if is_said(each)}
        item["facts"] = _BRIDGED_FACTS
        lost = [key for key, each in entry.items() if not is_said(each)]
        if lost:
            item["note"] = "no manifest can say " + ", ".join(
                f"`{key}` ({why_unsaid(entry[key])})" for key in lost
            )
        bridged = [_BRIDGED_FACTS[key] for key in lost if key in _BRIDGED_FACTS]
        item["bridge"] = {"is": "facts", "names": bridged}
        item["bridged"] = bool(lost)
        item["refused"] = len(bridged) < len(lost)
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

    def take_dependencies(self, place: UserPlace) -> None:
        found = self.dependencies(self.app.router.dependencies, place)
        if not self.app.router.dependencies:
            return
        item = self.item("dependencies", place, "dependencies of every route", "app")
        if is_said(found):
            item["entry"] = {"dependencies": found}
        else:
            item["bridge"] = {"is": "dependencies"}
            item["note"] = why_unsaid(found)

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
            elif not is_exact(value):
                item["bridge"] = {"is": "state", "name": name}
                item["note"] = f"it holds what a manifest has no word for: {described(value)}"
            elif is_said(said) and not any(
                each["is"] == "path" and each["form"] != "object" for each in parts(said)
            ):
                item["entry"] = {name: said}
            else:
                why = "a function or class" if is_function else why_unsaid(said)
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
            if self.is_of_unseen(place):
                continue
            item = self.item("attribute", place, f"app.{name}", "configure")
            item["bridge"] = {"is": "attribute", "name": name}
            item["note"] = described(value)
        for key in self.app.dependency_overrides:
            place = self.recording.state.get((id(self.app), f"override {id(key)}"), NOWHERE)
            what = f"dependency_overrides[{short_name(key)}]"
            self.item("override", place, what, "configure")["bridge"] = {"is": "overrides"}
        self.take_uses()

    def take_unseen(self) -> None:
        """Take functions that were given the application, and of whose doings no call tells."""
        for place, node in self.statements():
            if not _is_given(node, self.app, place) or self.is_seen(place.path, node):
                continue
            try:
                function = expressions.evaluated(node.func, place)
                options = {
                    str(each.arg): expressions.evaluated(each.value, place)
                    for each in node.keywords
                }
            except expressions.UnwrittenError:
                continue
            if isinstance(function, type) or getattr(function, "__module__", "") == "builtins":
                continue
            where = replace(place, line=node.lineno)
            item = self.item("function", where, short_name(function), "finish")
            code = self.names.code(function)
            said = self.with_of(function, (), options, leading=1)
            if code["is"] == "path" and isinstance(said, dict):
                item["entry"] = {"use": code} | ({"with": mapping(said)} if said else {})
                item["note"] = "no call tells what it does: it is called once all else stands"
                self.unseen.append((place.path, node.lineno, node.end_lineno or node.lineno))
            else:
                item["refused"] = True
                item["note"] = f"no call tells what it does, and it is {why_unsaid(code)}"

    def statements(self) -> Iterator[tuple[UserPlace, ast.Call]]:
        """Yield the calls that are statements, in the code that composed the application."""
        places = {(call.place.path, call.place.function): call.place for call in self.calls("app")}
        for (path, function), place in places.items():
            tree = expressions.parsed(path)
            body: list[ast.stmt] = [] if tree is None else tree.body
            for name in function.split(".<locals>.") if function else ():
                inner = (n for n in body if isinstance(n, ast.FunctionDef) and n.name == name)
                body = next((n.body for n in inner), [])
            inside = (c.place for c in self.calls(*COMPOSING) if c.place.function == function)
            last = max(inside, key=lambda each: each.line, default=place)
            scope = replace(place, locals=last.locals)
            for node in body:
                if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
                    yield scope, node.value

    def is_seen(self, path: str, node: ast.Call) -> bool:
        """Tell whether a call that was recorded was made by a statement."""
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        return any(
            file == path and line in lines
            for call in self.calls(*COMPOSING)
            for file, line in call.place.through
        )

    def is_of_unseen(self, place: UserPlace) -> bool:
        """Tell whether a line is one of a function that the manifest calls again."""
        return any(
            file == path and first <= line <= last
            for file, line in place.through
            for path, first, last in self.unseen
        )

    def take_uses(self) -> None:
        """Find functions that name the application: they see the one that there was."""
        for file, line, function in uses_of(self.app, self.names):
            item = self.item("share", UserPlace(file, line), function, "configure")
            item["bridge"] = {"is": "share"}
            item["note"] = "it names the application, and has its state from now on"

    def take_layers(self) -> None:
        calls = list(self.calls("layer"))
        made = {id(each): call for call in calls for each in call.added}
        constructed = next(self.calls("app"), None)
        count = len(self.app.user_middleware)
        for index, layer in enumerate(self.app.user_middleware):
            call = made.get(id(layer)) or constructed
            place = call.place if call else NOWHERE
            item = self.item("layer", place, short_name(layer.cls), "middleware")
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
            positional = expressions.by_name(layer.cls, tuple(layer.args), {}, leading=1)
            names = None if positional is None else list(positional)
            item["bridge"] = {"is": "layer", "index": index - count, "positional": names}
            item["runs_own_code"] = is_own(inspect.getmodule(layer.cls))
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
            item["bridge"] = {"is": "handler", "catch": caught, "name": short_name(handler)}
            if not is_said(caught):
                item["note"] = f"it catches {why_unsaid(caught)}"
                continue
            if code["is"] != "path" or code["form"] == "class":
                item["note"] = f"it is {why_unsaid(code)}"
                text = expressions.plain_text(self.names, key)
                part = self.part(
                    handler, f"handle_{_caught(key)}", f"old.exception_handlers[{text}]"
                )
                code = self.lifted(handler, place, item) or part
                item["note"] = "" if code is not part else item["note"]
            item["entry"] = {"catch": caught, "use": code, **options_of(code)}

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
        known: set[int] = set()
        for kind in ("startup", "shutdown"):
            handlers = (call.arguments.get(f"on_{kind}") if call else None) or ()
            known |= {id(handler) for handler in handlers}
            for handler in handlers:
                item = self.take_event(kind, handler, place, is_dead=given is not None)
        for event in self.calls("event"):
            kind, handler = event.arguments["event_type"], event.arguments["func"]
            item = self.take_event(kind, handler, event.place, is_dead=given is not None)
            self.of_calls[id(event)] = item
            known.add(id(handler))
        for kind in ("startup", "shutdown"):
            for handler in getattr(self.app.router, f"on_{kind}", ()):
                if id(handler) not in known:  # put there by hand
                    known.add(id(handler))
                    self.take_event(kind, handler, place, is_dead=given is not None)

    def take_one_lifespan(self, given: Any, place: UserPlace) -> None:
        item = self.item("lifespan", place, short_name(given), "lifespan")
        code = self.names.code(given)
        is_generator = inspect.isasyncgenfunction(given) or inspect.isgeneratorfunction(given)
        if code["is"] != "path" or is_generator:
            why = "a generator, and no context manager" if is_generator else why_unsaid(code)
            item["note"] = f"it is {why}"
            code = self.part(given, "lifespan", "old.router.lifespan_context")
            if is_local(given) and not is_generator:
                lifted = self.lifted_lifespan(given, place, item)
                item["note"] = "" if lifted is not None else item["note"]
                code = lifted or code
        item["entry"] = {"use": code, **options_of(code)}
        item["pieces"] = lifespans.pieces(given, self.names)

    def lifted_lifespan(self, given: Any, place: UserPlace, item: dict[str, Any]) -> Value | None:
        try:
            return self.lifter.function(given, place, takes="app")
        except UnliftedError as error:
            item["note"] = f"`{short_name(given)}` stays where it is: {error}"
            return None

    def take_event(
        self, kind: str, handler: Any, place: UserPlace, *, is_dead: bool
    ) -> dict[str, Any]:
        repeated = triggers.repetition(handler, self.names)
        item = self.item("event", place, short_name(handler), kind)
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
            item["note"] = f"it is {why_unsaid(code)}"
            if index is None:
                return item
            where = f"old.router.on_{kind}[{index}]"
            part = self.part(handler, short_name(handler), where)
            part["code"] = _called(handler, where) or part["code"]
            lifted = self.lifted(handler, place, item)
            code = part if lifted is None or lifted["with"] else lifted
        item["entry"] = {"use": code}
        return item

    def take_rest(self) -> None:
        """Tell of calls whose effect a later one has undone."""
        for call in self.calls(*COMPOSING):
            if id(call) in self.of_calls or (is_page_call(call) and call.place is NOWHERE):
                continue
            what = _caught(self.key(call)) if call.kind == "handler" else call.kind
            if call.kind == "route" and is_page_call(call):
                continue
            item = self.item(call.kind, call.place, what, "")
            item["entry"] = {}
            item["note"] = "it has no effect: a later call takes its place"


def _called(handler: Any, where: str) -> str:
    """Write a lambda that calls a partial, where a manifest may not name what that belongs to."""
    inner = handler
    while isinstance(inner, functools.partial):
        inner = inner.func
    is_plain = inner is handler or inspect.iscoroutinefunction(inner)
    if is_plain or is_own(inspect.getmodule(inner)):
        return ""
    return f"{NAME} = lambda: {where}()  # noqa: E731"


def _is_given(node: ast.Call, app: Any, place: UserPlace) -> bool:
    """Tell whether a call has the application, and nothing else, by position."""
    if len(node.args) != 1 or any(each.arg is None for each in node.keywords):
        return False
    first = node.args[0]
    named = {**place.globals, **place.locals}
    return isinstance(first, ast.Name) and named.get(first.id) is app


def _is_of_every_class(name: str) -> bool:
    return name in {"__module__", "__qualname__", "__doc__", "__annotations__", "__init__"} or (
        name.startswith("__") and name.endswith("__") and name != "__call__"
    )


def _caught(key: Any) -> str:
    return str(int(key)) if isinstance(key, int) else short_name(key)
