"""FastAPI's document, and what the parts of the stack say that they add to it → the whole document.

In: the document that FastAPI makes of the routes, those routes, and for each the stacks around it.
Out: the same document, edited in place: its operations have the answers, headers, parameters and
security that layers, handlers and dependencies offer by a method `openapi_operation(method, path)`
(what an offer may say is told in `assembler.runtime.contracts`). Refuses, as `TypeError`, an offer
that says anything else.

An operation is read from the inside out, as its answers travel: what the route declares; what its
dependencies offer; the handlers of exceptions; then each layer, the innermost first, puts its
headers on all answers so far and adds those that it gives itself. What a route declares stays as it
is, piece by piece: a layer gives it a header or a body only where the route names none.
"""

import copy
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import getattr_static
from types import MethodType
from typing import Any

from fastapi import FastAPI, exception_handlers, routing
from fastapi.exceptions import (
    HTTPException,
    RequestValidationError,
    ValidationException,
    WebSocketRequestValidationError,
)
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.exceptions import WebSocketException
from starlette.routing import BaseRoute

ATTRIBUTE = "openapi_operation"
"""The method by which a layer, a handler or a dependency tells what it adds."""

_REFERENCE = re.compile(r'"\$ref": "#/components/(\w+)/([^"/]+)"')
_OFFERS = frozenset({"responses", "headers", "bodies", "parameters", "security", "components"})
_FASTAPI_422 = "#/components/schemas/HTTPValidationError"
_FASTAPI_SCHEMAS = ("HTTPValidationError", "ValidationError")
_UNREADABLE = {"description": "The body cannot be read"}
_NO_PATH = {"description": "The path has a control character"}
_INVALID = (RequestValidationError, ValidationException)
_OF_WEBSOCKETS = (WebSocketException, WebSocketRequestValidationError)
_DETAIL: Mapping[str, Any] = {
    "bodies": {
        "default": {"application/json": {"schema": {"$ref": "#/components/schemas/HTTPException"}}}
    },
    "components": {
        "schemas": {
            "HTTPException": {
                "title": "HTTPException",
                "type": "object",
                "properties": {"detail": {"title": "Detail"}},
                "required": ["detail"],
            }
        }
    },
}
"""What FastAPI's own handler of `HTTPException` makes of it."""

Offer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stack:
    """The layers around a route, the innermost first, and the handlers inside of them.

    `prefix` stands before the path where the route is that of a mounted application, as the
    layers see it.
    """

    layers: Sequence[Any]
    handlers: Mapping[Any, Any]
    prefix: str = ""


def extended(
    document: dict[str, Any], routes: Iterable[tuple[BaseRoute, Sequence[Stack]]]
) -> dict[str, Any]:
    """Add to the operations of `document` what the stacks around them offer; return it.

    Args:
        document: FastAPI's own of these routes, which is edited.
        routes: each with the stacks around it, the innermost first.

    Raises:
        TypeError: an offer is not as the contract says.
    """
    named = document.setdefault("components", {})
    parts = _Components(named)
    shown: dict[tuple[str, str], tuple[Any, Sequence[Stack]]] = {}
    for route, stacks in routes:
        for each in _operations([route]):
            for method in sorted(each.methods or ()):  # a set: names are given in one order
                shown[each.path_format, method] = (each, stacks)  # the last one, as FastAPI does
    for (path, method), (route, stacks) in shown.items():
        operation = document.get("paths", {}).get(path, {}).get(method.lower())
        if operation is not None:
            _Operation(operation, route, method, parts).extend(stacks)
    parts.drop_what_nobody_names(document)
    return document


def _operations(routes: Sequence[BaseRoute]) -> Iterator[Any]:
    """The routes that FastAPI shows; those of included routers as they were included."""
    contexts = getattr(routing, "iter_route_contexts", None)  # not there before FastAPI 0.140
    for each in routes if contexts is None else contexts(routes):
        original = getattr(each, "original_route", each)
        shown: Any = each
        if isinstance(original, routing.APIRoute) and shown.include_in_schema:
            yield shown


class MountedDocument:
    """The method `openapi` of a FastAPI application that is mounted in another one.

    Its document is its own, with what stands around the mount; it is made once, as FastAPI's is,
    and anew for another stack.
    """

    def __init__(self, app: FastAPI, outside: Callable[[], Sequence[Stack]]) -> None:
        known = vars(app).get("openapi")
        if isinstance(known, MountedDocument):  # of another build, in which it is mounted too
            self.plain: Callable[[], dict[str, Any]] = known.plain
            known.forget()
        else:
            self.plain = app.openapi
        self.app = app
        self.outside = outside
        self.made: dict[str, Any] | None = None
        self.made_for: Sequence[Stack] = ()

    def __call__(self) -> dict[str, Any]:
        """Return the document."""
        outside = self.outside()
        if not same_layers(outside, self.made_for):
            self.forget()
        document = self.plain()
        if outside and document is not self.made:
            self.made, self.made_for = document, outside
            stacks = [Stack((), self.app.exception_handlers), *outside]
            extended(document, ((route, stacks) for route in self.app.routes))
        return document

    def forget(self) -> None:
        """Have it made anew."""
        if self.made is not None and self.app.openapi_schema is self.made:
            self.app.openapi_schema = None


def tell_mounted(app: FastAPI, outside: Callable[[], Sequence[Stack]]) -> None:
    """Have the document of a mounted application show what stands around its mount.

    Where somebody has given it another `openapi`, that stays.
    """
    if isinstance(vars(app).get("openapi", app.openapi), MethodType | MountedDocument):
        app.openapi = MountedDocument(app, outside)  # type: ignore[method-assign]  # as FastAPI is extended


def same_layers(first: Sequence[Stack], second: Sequence[Stack]) -> bool:
    """Whether both are stacks of the same layers, as they were made."""
    return len(first) == len(second) and all(
        one.layers is other.layers for one, other in zip(first, second, strict=True)
    )


class _Operation:
    """One operation as far as it has come."""

    def __init__(
        self, operation: dict[str, Any], route: Any, method: str, parts: "_Components"
    ) -> None:
        self.operation = operation
        self.responses: dict[str, Any] = operation.setdefault("responses", {})
        self.route = route
        self.method = method
        self.parts = parts
        self.is_validated = _is_fastapi_s(self.responses.get("422"))
        self.declared = self.responses.keys() - ({"422"} if self.is_validated else set())

    def extend(self, stacks: Sequence[Stack]) -> None:
        """Add what is offered, from the inside out."""
        path = self.route.path
        inner = stacks[0]
        for call in _calls(self.route.dependant):
            self.add(self.offer(call, path), inner, path)
        self.add_handlers(inner, path)
        for stack in stacks:
            outer_path = stack.prefix + path
            if stack is stacks[-1] and "{" in path and _tells(stacks):
                self.add({"responses": {"400": _NO_PATH}}, stack, path)  # before the router
            for layer in stack.layers:
                self.add(self.offer(layer, outer_path), stack, outer_path)
        responses = sorted(self.responses.items(), key=lambda item: _rank(item[0]))
        self.operation["responses"] = dict(responses)

    def offer(self, part: Any, path: str) -> Offer:
        """What `part` offers, with its components in the document; nothing where it is silent."""
        # As it stands: what hands on every attribute of another object offers nothing itself.
        if getattr_static(part, ATTRIBUTE, None) is None:
            return {}
        try:
            offered = getattr(part, ATTRIBUTE)(self.method, path)
        except Exception as error:
            error.add_note(f"`{name_of(part)}` was asked what it adds to {self.method} {path}")
            raise
        if offered is None:
            return {}
        _check(offered, part)
        return self.parts.adopted(offered)

    def add_handlers(self, stack: Stack, path: str) -> None:
        """Add the answers that handlers make of exceptions, of invalid requests first."""
        handlers = sorted(stack.handlers.items(), key=lambda item: item[0] not in _INVALID)
        for caught, handler in handlers:
            offer = self.offer(handler, path)
            responses = offer.get("responses", {})
            if isinstance(caught, int):
                # A status says which answers it makes, not that there are any; 500 is the last resort.
                responses = {
                    key: responses[key] for key in responses if str(key) == "500" == str(caught)
                }
            elif issubclass(caught, _OF_WEBSOCKETS):
                continue
            elif caught in _INVALID:
                responses = self.of_invalid_requests(responses)
            self.add({**offer, "responses": responses}, stack, path)
        handler = _answering("400", stack.handlers)
        if "requestBody" in self.operation and self.offer(handler, path).get("bodies"):
            self.add({"responses": {"400": _UNREADABLE}}, stack, path)  # by FastAPI
        self.fill(stack, path)

    def of_invalid_requests(self, responses: Mapping[Any, Any]) -> Mapping[Any, Any]:
        """What a handler of invalid requests answers, in place of FastAPI's 422; nothing where
        there is nothing to be invalid."""
        is_bare = "422" in self.declared and "content" not in self.responses["422"]
        if not self.is_validated and not is_bare:
            return {}
        if self.is_validated and responses:
            self.responses.pop("422", None)
        return responses

    def add(self, offer: Offer, stack: Stack, path: str) -> None:
        """Put an offer on what there is so far."""
        for status, headers in offer.get("headers", {}).items():
            self.put_headers(_status(status), headers)
        for status, response in offer.get("responses", {}).items():
            self.put_response(_status(status), response)
        if offer.get("responses"):
            self.fill(stack, path)
        for parameter in offer.get("parameters", ()):
            self.put_parameter(parameter)
        if offer.get("security"):
            present = self.operation.get("security") or [{}]
            wanted = [{**one, **other} for one in present for other in offer["security"]]
            self.operation["security"] = wanted
        for key, value in offer.items():
            if key.startswith("x-"):
                _merge_extension(self.operation, key, value)

    def put_headers(self, status: str, headers: Mapping[str, Any]) -> None:
        """Put headers on the answers of a status, a range or all, where they have none of the name."""
        if not headers:
            return
        for key, response in self.responses.items():
            if "$ref" not in response and _covers(status, key):
                _put_headers(response, headers)

    def put_response(self, status: str, offered: Mapping[str, Any]) -> None:
        """Put an answer beside the others, or what it has beside what the same one has."""
        while "$ref" in offered:
            offered = self.parts.named["responses"][offered["$ref"].rpartition("/")[2]]
        response = self.responses.get(status)
        if response is None:
            self.responses[status] = {"description": "", **offered}
            return
        if "$ref" in response:
            return
        is_declared = status in self.declared
        text = offered.get("description", "")
        if not is_declared and text.lower() not in response["description"].lower():
            response["description"] += f"; {text[:1].lower()}{text[1:]}"
        _put_headers(response, offered.get("headers", {}))
        if "content" in offered and "content" not in response:
            response["content"] = offered["content"]
        elif "content" in offered and not is_declared:
            response["content"] = _either(response["content"], offered["content"])
        for key, value in offered.items():
            if key.startswith("x-"):
                _merge_extension(response, key, value)

    def put_parameter(self, parameter: Mapping[str, Any]) -> None:
        """Put a parameter beside the others, unless one of its name and place is there."""
        present = self.operation.setdefault("parameters", [])
        if _identity(parameter) not in map(_identity, present):
            present.append(dict(parameter))

    def fill(self, stack: Stack, path: str) -> None:
        """Give errors without a body the one that the handler of `HTTPException` makes."""
        for status, response in self.responses.items():
            if "content" in response or "$ref" in response or status[0] not in "45":
                continue
            handler = _answering(status, stack.handlers)
            is_fastapi_s = handler is exception_handlers.http_exception_handler
            if is_fastapi_s and status in self.declared:
                continue  # FastAPI shows it so
            offer = _DETAIL if is_fastapi_s else self.offer(handler, path)
            content = _best(offer.get("bodies", {}), status)
            if content is not None:
                self.parts.adopted(offer)
                response["content"] = content


class _Components:
    """The named parts of the document, and those of offers that have joined them."""

    def __init__(self, named: dict[str, dict[str, Any]]) -> None:
        self.named = named
        # By identity, as most offers bring the same object each time; it is kept, or another
        # one would get its number.
        self.known: dict[int, tuple[Any, dict[str, str]]] = {}
        self.joined: set[tuple[str, str]] = set()  # sections and names

    def adopted(self, offer: Offer) -> Offer:
        """The offer, with its components in the document: under other names where those are taken."""
        offered = offer.get("components")
        if not offered:
            return offer
        known = self.known.get(id(offered))
        if known is None:
            known = self.known[id(offered)] = (offered, self._joined(offered))
        renamed = known[1]
        return _renamed(offer, renamed) if renamed else offer

    def drop_what_nobody_names(self, document: dict[str, Any]) -> None:
        """Leave out what no operation refers to: of the offers, and FastAPI's own form of a 422."""
        candidates = {("schemas", name) for name in _FASTAPI_SCHEMAS} | self.joined
        found = {
            pair: self.named[pair[0]].pop(pair[1])
            for pair in candidates
            if pair[1] in self.named.get(pair[0], ())
        }
        waiting = _REFERENCE.findall(json.dumps(document))
        while waiting:
            section, name = waiting.pop()
            if (section, name) in found:
                definition = self.named[section][name] = found.pop((section, name))
                waiting += _REFERENCE.findall(json.dumps(definition))
        for section, definitions in list(self.named.items()):
            self.named[section] = dict(sorted(definitions.items()))
            if not definitions:
                del self.named[section]
        if not self.named:
            del document["components"]

    def _joined(self, offered: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        renamed: dict[str, str] = {}
        for section, definitions in offered.items():
            present = self.named.setdefault(section, {})
            for name, definition in definitions.items():
                if present.get(name, definition) != definition:
                    renamed[f"#/components/{section}/{name}"] = _free(name, definition, present)
        for section, definitions in offered.items():
            for name, definition in definitions.items():
                free = renamed.get(f"#/components/{section}/{name}", name)
                if free not in self.named[section]:
                    if section != "securitySchemes":  # which have no references
                        self.joined.add((section, free))
                    self.named[section][free] = copy.deepcopy(_renamed(definition, renamed))
        return renamed


def _tells(stacks: Sequence[Stack]) -> bool:
    """Whether some part of the stacks offers anything: else the document stays FastAPI's."""
    parts = (part for each in stacks for part in (*each.layers, *each.handlers.values()))
    return any(getattr_static(part, ATTRIBUTE, None) is not None for part in parts)


def _calls(dependant: Any) -> Iterator[Any]:
    """The endpoint, and the dependencies that FastAPI runs for it, each once."""
    waiting, seen = [dependant], set()
    while waiting:
        each = waiting.pop()
        if each.call is not None and id(each.call) not in seen:
            seen.add(id(each.call))
            yield each.call
        waiting += reversed(each.dependencies)


def _check(offer: Any, part: Any) -> None:
    if not isinstance(offer, Mapping):
        kind = type(offer).__name__
        raise TypeError(f"`{ATTRIBUTE}` of `{name_of(part)}` gives a {kind}, not a mapping")
    unknown = [key for key in offer if key not in _OFFERS and not str(key).startswith("x-")]
    if unknown:
        known = ", ".join(sorted(_OFFERS))
        message = (
            f"`{ATTRIBUTE}` of `{name_of(part)}` gives `{unknown[0]}`, which is none of {known}"
        )
        raise TypeError(message)


def name_of(part: Any) -> str:
    """The import path of a function or class, or of an object's class."""
    named = part if hasattr(part, "__qualname__") else type(part)
    return f"{named.__module__}.{named.__qualname__}"


def _status(key: Any) -> str:
    """A status, a range such as `4XX`, or `default`, as the document writes it."""
    text = str(key).upper()
    return "default" if text == "DEFAULT" else text


def _covers(key: str, status: str) -> bool:
    return key in ("default", status) or (key[1:] == "XX" and key[0] == status[0])


def _best(bodies: Mapping[Any, Any], status: str) -> Any:
    """The body of a status: its own, that of its range, or that of all."""
    found = {_status(key): body for key, body in bodies.items()}
    return next((found[key] for key in (status, f"{status[0]}XX", "default") if key in found), None)


def _rank(status: str) -> tuple[int, str]:
    return 2 if status == "default" else 1 if status.endswith("XX") else 0, status


def _answering(status: str, handlers: Mapping[Any, Any]) -> Any:
    """The handler of an `HTTPException` of that status."""
    keys: list[Any] = [int(status)] if status.isdigit() else []
    keys += [HTTPException, StarletteHTTPException]
    return next((handlers[key] for key in keys if key in handlers), None)


def _is_fastapi_s(response: Mapping[str, Any] | None) -> bool:
    """Whether it is the answer 422 that FastAPI shows of its own accord."""
    media = ((response or {}).get("content") or {}).get("application/json") or {}
    return (media.get("schema") or {}).get("$ref") == _FASTAPI_422


def _either(present: Mapping[str, Any], offered: Mapping[str, Any]) -> dict[str, Any]:
    """The content of an answer that is one or the other."""
    content = dict(present)
    for media, wanted in offered.items():
        had = content.get(media)
        if had is None:
            content[media] = wanted
            continue
        merged = {**had}
        schemas = [each for each in (had.get("schema"), wanted.get("schema")) if each is not None]
        if len(schemas) > 1 and schemas[0] != schemas[1]:
            first = schemas[0]["anyOf"] if schemas[0].keys() == {"anyOf"} else schemas[:1]
            more = [each for each in schemas[1:] if each not in first]
            merged["schema"] = {"anyOf": [*first, *more]}
        examples = {**_examples(had), **_examples(wanted)}
        if examples:
            merged.pop("example", None)
            merged["examples"] = examples
        content[media] = merged
    return content


def _examples(media: Mapping[str, Any]) -> dict[str, Any]:
    single = {"example": {"value": media["example"]}} if "example" in media else {}
    return {**single, **media.get("examples", {})}


def _put_headers(response: dict[str, Any], headers: Mapping[str, Any]) -> None:
    present: Mapping[str, Any] = response.get("headers", {})
    names = {name.lower() for name in present}
    more = {name: each for name, each in headers.items() if name.lower() not in names}
    if more:
        response["headers"] = {**present, **more}  # a new one: the other may be of many answers


def _identity(parameter: Mapping[str, Any]) -> tuple[Any, ...]:
    where, name = parameter.get("in"), str(parameter.get("name"))
    return parameter.get("$ref"), where, name.lower() if where == "header" else name


def _merge_extension(target: dict[str, Any], key: str, value: Any) -> None:
    """Add what a key of one's own says: the items of lists together, else the first one holds."""
    present = target.get(key)
    if isinstance(present, list) and isinstance(value, list):
        target[key] = [*present, *(each for each in value if each not in present)]
    else:
        target.setdefault(key, value)


def _free(name: str, definition: Any, present: Mapping[str, Any]) -> str:
    """The name, with the first number under which nothing else stands."""
    number = 2
    while present.get(f"{name}_{number}", definition) != definition:
        number += 1
    return f"{name}_{number}"


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """`value` with its references to renamed parts, security schemes too."""
    if not names:
        return value
    if isinstance(value, Mapping):
        found = {}
        for key, each in value.items():
            if key == "$ref" and each in names:
                found[key] = each.rpartition("/")[0] + f"/{names[each]}"
            elif key == "security":
                schemes = "#/components/securitySchemes/"
                found[key] = [
                    {names.get(schemes + name, name): scopes for name, scopes in one.items()}
                    for one in each
                ]
            else:
                found[key] = _renamed(each, names)
        return found
    if isinstance(value, list | tuple):
        return [_renamed(each, names) for each in value]
    return value
