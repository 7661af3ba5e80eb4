"""Options of FastAPI that stand in `app` or at a route → keyword arguments of FastAPI's own.

In: a part of the manifest and its tree, a resolver, something that finds what import paths name. Out:
arguments for FastAPI's constructor or `include_router`, or every fault. Refuses code that is not of
the kind that FastAPI takes there, and keys of `app` that neither the format nor FastAPI has.
"""

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.suggest import did_you_mean
from assembler.document.interpolation import Resolver
from assembler.document.nodes import MappingNode, Node, NodePath, locate
from assembler.document.provenance import Text, Unknown
from assembler.manifest import Manifest
from assembler.manifest.app import OTHER_WORDS, App, other_word
from assembler.manifest.section import Responses, Section
from assembler.plan.allow_list import ImportFault
from assembler.plan.component import Component
from assembler.plan.options import Options, OptionsChecker
from assembler.plan.signature import Signature, Target, signature_of
from assembler.plan.targets import Targets

_STATUS = re.compile(r"[1-5](\d\d|[Xx]{2})\Z|default\Z")
_PLAIN = (
    "debug",
    "redirect_slashes",
    "separate_input_output_schemas",
    "swagger_ui_parameters",
    "swagger_ui_init_oauth",
    "swagger_ui_oauth2_redirect_url",
    "openapi_external_docs",
    "include_in_schema",
    "deprecated",
    "root_path_in_servers",
)
"""Keys of `App` that FastAPI takes by the same name, as they are."""

_STATE_OWN = "assembly"  # the attribute of `app.state` that is the assembler's


@dataclass(frozen=True, slots=True)
class AppOptions:
    """What the section `app` gives: FastAPI's arguments beside the facts that `App` has itself.

    `state` is what `app.state` gets, `dependencies` what runs before every route of the app.
    """

    arguments: dict[str, Any] = field(repr=False)
    state: Options
    dependencies: tuple[Component, ...]


def check_app(
    manifest: Manifest, root: MappingNode, resolver: Resolver, targets: Targets
) -> tuple[dict[str, Any], Options, list[Diagnostic]]:
    """Check the section; return the arguments of the constructor, and the state."""
    facts = manifest.app
    arguments = {name: getattr(facts, name) for name in _PLAIN if name in facts.model_fields_set}
    node = root.get("app")
    if not isinstance(node, MappingNode):
        return arguments, _NO_STATE, []
    found, faults = code_options("app", facts, node, ("app",), resolver, targets)
    arguments |= found
    if set(node.members) - _known_keys():
        more, refused = _others(node, resolver, targets)
        arguments |= more
        faults += refused
    state, refused = _state(node, resolver)
    return arguments, state, [*faults, *refused]


def code_options(
    owner: str,
    facts: Section,
    node: Node,
    path: NodePath,
    resolver: Resolver,
    targets: Targets,
) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Find what the options of FastAPI name that stand at `node`; those not given are left out.

    `owner` is what messages call the mapping, `path` is where it stands in the document.
    """
    found: dict[str, Any] = {}
    faults: list[Diagnostic] = []
    for key in ("default_response_class", "generate_unique_id_function", "webhooks"):
        named = getattr(facts, key, None)
        if named is not None:
            place, _ = locate(node, (key,))
            found[key], refused = _code(owner, key, named, place, targets)
            faults += refused
    callbacks: list[Any] = []
    for index, named in enumerate(getattr(facts, "callbacks", None) or ()):
        place, _ = locate(node, ("callbacks", index))
        routes, refused = _code(owner, "callbacks", named, place, targets)
        callbacks += routes or []
        faults += refused
    if callbacks:
        found["callbacks"] = callbacks
    responses = node.get("responses") if isinstance(node, MappingNode) else None
    if isinstance(responses, MappingNode):
        data, given = (
            resolver.data(responses, (*path, "responses")),
            getattr(facts, "responses", {}),
        )
        found["responses"], refused = _responses(owner, responses, given or {}, data, targets)
        faults += refused
    return {key: value for key, value in found.items() if value is not None}, faults


def unknown_app_keys(root: MappingNode) -> Iterator[Diagnostic]:
    """Find the keys of `app` that neither the format nor FastAPI's constructor has."""
    node = root.get("app")
    members = node.members if isinstance(node, MappingNode) else {}
    others = members.keys() - _known_keys()
    if not others:
        return
    known = dict.fromkeys([*_known_keys(), *constructor_options().parameters])
    for told, (name, member) in enumerate(members.items()):
        if name in others and name not in known:
            message = f"`app` has no key `{name}`"
            remedy = other_word(name, in_app=True) or did_you_mean(name, known, told=told)
            yield Diagnostic("unknown-key", message, member.key, "unknown key", help=remedy)


@cache
def _known_keys() -> frozenset[str]:
    return frozenset(App.model_fields)


@cache
def constructor_options() -> Signature:
    """What the constructor of the FastAPI that is installed takes, and the format does not have."""
    from fastapi import FastAPI  # noqa: PLC0415  # only an `app` with such a key needs it

    whole = signature_of(FastAPI, "app")
    taken = _known_keys() | OTHER_WORDS.keys()
    rest = {name: item for name, item in whole.parameters.items() if name not in taken}
    return Signature("app", rest, open=False)


def _others(
    node: MappingNode, resolver: Resolver, targets: Targets
) -> tuple[dict[str, Any], list[Diagnostic]]:
    data = resolver.data(node, ("app",))
    given = {name: value for name, value in data.items() if name not in _known_keys()}
    target = Target("app", None, "class", True, False, constructor_options())
    checker = OptionsChecker({}, targets.target)
    options, faults = checker.check(target, node, given, node.span, frozenset())
    return options.arguments({})[0], faults


_OPEN = Target("app.state", None, "class", True, False, Signature("state", {}, open=True))
_NO_STATE = Options(None, {}, frozenset(), {})


def _state(node: MappingNode, resolver: Resolver) -> tuple[Options, list[Diagnostic]]:
    state = node.get("state")
    if not isinstance(state, MappingNode):
        return _NO_STATE, []
    faults = []
    if _STATE_OWN in state.members:
        message = f"`{_STATE_OWN}` of `app.state` is the assembler's own"
        remedy = "give it another name"
        faults.append(Diagnostic("bad-value", message, state.members[_STATE_OWN].key, help=remedy))
    data = resolver.data(state, ("app", "state"))
    options, found = OptionsChecker({}).check(_OPEN, state, data, state.span, frozenset())
    return options, [*faults, *found]


def _code(
    owner: str, key: str, named: str, place: Node, targets: Targets
) -> tuple[Any, list[Diagnostic]]:
    """Return what a path names where FastAPI takes code, or None with the reason."""
    try:
        target = targets.target(named)
    except ImportFault as fault:
        return None, [fault.at(place.span)]
    value = target.value
    if value is None:  # known by its source alone
        return None, []
    wanted, fitting = _fitting(key, value)
    if fitting is not None:
        return fitting, []
    kind = (
        f"the class `{value.__name__}`"
        if inspect.isclass(value)
        else f"of type `{type(value).__name__}`"
    )
    message = f"`{key}` of `{owner}` must be {wanted}, and `{named}` is {kind}"
    return None, [Diagnostic("bad-value", message, place.span)]


def _fitting(key: str, value: Any) -> tuple[str, Any]:
    """Return the words for what FastAPI takes under a key, and the value where it is that."""
    from fastapi import APIRouter  # noqa: PLC0415  # only a manifest with such a key needs it
    from starlette.responses import Response  # noqa: PLC0415  # as above
    from starlette.routing import BaseRoute  # noqa: PLC0415  # as above

    if key == "default_response_class":
        is_right = inspect.isclass(value) and issubclass(value, Response)
        return "a class of responses", value if is_right else None
    if key == "generate_unique_id_function":
        return "a function of a route", value if callable(value) else None
    if key == "model":
        return "a type that pydantic knows", value if _is_model(value) else None
    if key == "webhooks":
        return "a FastAPI router", value if isinstance(value, APIRouter) else None
    routes = value.routes if isinstance(value, APIRouter) else value
    is_list = isinstance(routes, list) and all(isinstance(item, BaseRoute) for item in routes)
    return "a router, or a list of routes", routes if is_list else None


def _is_model(value: Any) -> bool:
    try:
        TypeAdapter(value)
    except Exception:  # noqa: BLE001  # whatever a foreign type's schema hook raises
        return False
    return True


def _responses(
    owner: str, node: MappingNode, given: Responses, data: dict[str, Any], targets: Targets
) -> tuple[dict[int | str, Any], list[Diagnostic]]:
    """Return responses as FastAPI takes them: statuses are numbers, a `model` is a class.

    `given` is what the section says, `data` where it came from too.
    """
    found: dict[int | str, Any] = {}
    faults: list[Diagnostic] = []
    for status, member in node.members.items():
        if not _STATUS.match(status):
            message = f"`{status}` is no status: write one such as `404`, `4XX` or `default`"
            faults.append(Diagnostic("bad-value", message, member.key))
            continue
        if isinstance(data[status], Unknown):
            continue
        # A whole one of the environment is JSON, as the shape of the section has read it.
        said = dict(given[status] if isinstance(data[status], Text) else data[status])
        model = said.get("model")
        place, key = locate(member.value, ("model",))
        if isinstance(model, Text) or (isinstance(model, str) and key is None):
            message, remedy = "`model` takes no reference", "write the value out"
            faults.append(Diagnostic("misplaced-reference", message, place.span, help=remedy))
        elif isinstance(model, str) and not isinstance(model, Unknown):
            said["model"], refused = _code(f"{owner}.responses", "model", model, place, targets)
            faults += refused
        found[int(status) if status.isdigit() else status] = said
    return found, faults
