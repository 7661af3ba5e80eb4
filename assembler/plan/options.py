"""The mapping under `with` → the keyword arguments of one call.

In: a `Target`, the node under `with`, its data with marks. Out: `Options`, checked and converted;
those that name a resource are checked against the declared type of its factory now, and converted
with the object itself when there is one. Refuses unknown and missing options and values of the
wrong type, each at its place, with the names that the callable takes.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from dataclasses import fields as dataclass_fields
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from typing_extensions import get_type_hints

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.exceptions import frame_of
from assembler.diagnostics.span import Note, Span
from assembler.diagnostics.suggest import did_you_mean, suggestion
from assembler.document.nodes import MappingNode, Node, NodePath, locate
from assembler.document.parser import plain_value
from assembler.document.provenance import Held, ResourceRef, Text, Unknown, revealed
from assembler.manifest.coerce import convert
from assembler.manifest.pydantic_errors import Fault
from assembler.manifest.validate import arms, quoting_help
from assembler.plan.allow_list import ImportFault
from assembler.plan.extras import remedy_for
from assembler.plan.signature import Target

_NAMES_SHOWN = 12
_UNIONS = (Union, UnionType)
_BOOLEANS = {"true", "false"}  # of the environment, in whatever letters


@dataclass(frozen=True, slots=True)
class Options:
    """Arguments of one call; `names` are the resources they hold."""

    adapter: TypeAdapter[Any] | None  # None where there is nothing to convert
    data: dict[str, Any] = field(repr=False)
    names: frozenset[str]
    value: dict[str, Any] | None = field(repr=False)
    load: Callable[[str], Any] | None = field(default=None, repr=False)

    def arguments(self, resources: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
        """Return the arguments with the objects of `resources` in them, or what does not fit."""
        if self.value is not None or self.adapter is None:
            return dict(self.value or {}), []
        value, faults = convert(
            self.adapter, self.data, stand=lambda ref: resources[ref.id], load=self.load
        )
        return value or {}, faults


@dataclass(slots=True)
class OptionsChecker:
    """Checks options, with one adapter per callable; `types` tells a resource's declared class.

    `find` imports what stands where a parameter takes a callable; without it, no text is imported.
    """

    types: Mapping[str, type | None]
    find: Callable[[str], Target] | None = None
    _adapters: dict[tuple[int, frozenset[str]], TypeAdapter[Any]] = field(default_factory=dict)

    def check(
        self,
        target: Target,
        node: Node | None,
        data: dict[str, Any],
        use: Span,
        given: frozenset[str],
    ) -> tuple[Options, list[Diagnostic]]:
        """Check `data`, which stands at `node`, for a call of `target` named at `use`.

        `given` are the parameters that the assembler fills in where `data` does not.
        """
        parameters = target.signature.parameters
        hints = {name: parameter.annotation for name, parameter in parameters.items()}
        data = {name: _as_written(hints.get(name), value) for name, value in data.items()}
        known = data
        if not target.signature.open:
            known = {name: value for name, value in data.items() if name in parameters}
        unknown = data.keys() - known.keys() if isinstance(node, MappingNode) else set()
        faults = [_unknown(target, node, name, use) for name in data if name in unknown]
        faults += _missing(target, data, given, unknown, use)
        if not known:
            return Options(None, data, frozenset(), {}), faults
        key = (id(target), frozenset(known))  # a target is kept, and is one callable called one way
        adapter = self._adapters.get(key)
        if adapter is None:
            adapter = self._adapters[key] = target.signature.adapter(known)
        refs = frozenset(_refs(data))
        load = self._load if self.find else None
        value, found = convert(adapter, known, stand=self._stand_in, load=load)
        found = [fault for fault in found if not self._is_open(known, fault)]
        for name in parameters.keys() & known.keys():
            found += _dropped(parameters[name].annotation, known[name], (name,))
            read = known if value is None or not isinstance(known[name], Text) else value
            faults += _short(target, node, use, name, read[name])
        faults += [_bad(target, node, use, fault, self._type_note(known, fault)) for fault in found]
        return Options(adapter, data, refs, None if refs else value, load), faults

    def _load(self, path: str) -> Any:
        assert self.find is not None  # noqa: S101  # it is only passed on where there is one
        target = self.find(path)
        if target.value is None and target.is_callable:  # its source was read, and no more
            return Unknown(path) if target.form == "class" else _StandIn(object)
        return target.value

    def _stand_in(self, reference: ResourceRef) -> Any:
        declared = self.types.get(reference.id)
        return _StandIn(declared) if declared else reference

    def _is_open(self, data: Any, fault: Fault) -> bool:
        """Tell whether the fault is about a resource whose type nobody declared, or of no value yet."""
        leaf = _leaf(data, fault.path)
        if fault.kind == "raised" and _is_to_come(leaf):
            return True
        return isinstance(leaf, ResourceRef) and self.types.get(leaf.id) is None

    def _type_note(self, data: Any, fault: Fault) -> str:
        leaf = _leaf(data, fault.path)
        declared = self.types.get(leaf.id) if isinstance(leaf, ResourceRef) else None
        return f" of type `{declared.__name__}`" if declared else ""


class _StandIn:
    """Passes `isinstance` for a class whose object does not exist yet."""

    def __init__(self, declared: type) -> None:
        object.__setattr__(self, "declared", declared)

    @property  # type: ignore[misc]  # what isinstance asks is meant to be another class
    def __class__(self) -> type:
        return self.__dict__["declared"]  # type: ignore[no-any-return]  # set in __init__

    def __call__(self) -> None:
        """Be callable, for a parameter that takes a callable."""


def _unknown(target: Target, node: Node | None, name: str, use: Span) -> Diagnostic:
    names = list(target.signature.parameters)
    member = node.members.get(name) if isinstance(node, MappingNode) else None
    return Diagnostic(
        "unknown-option",
        f"`{target.name}` has no option `{name}`",
        member.key if member else node.span if node else use,
        "unknown option",
        notes=(Note(use, _takes(names)),),
        help=did_you_mean(name, names),
    )


def _missing(
    target: Target, data: dict[str, Any], given: frozenset[str], unknown: set[str], use: Span
) -> list[Diagnostic]:
    """Find what must be given and is not; one that is only misspelt is told at its misspelling."""
    signature = target.signature
    faults = []
    if signature.unnamed is not None:
        message = f"`{target.name}` takes `{signature.unnamed}` by position only, so no option can give it"
        faults.append(Diagnostic("missing-option", message, use))
    meant = {suggestion(name, signature.parameters) for name in unknown}
    lacking = [
        name
        for name, parameter in signature.parameters.items()
        if parameter.required and name not in {*data, *given, *meant}
    ]
    if lacking:
        names = ", ".join(f"`{name}`" for name in lacking)
        plural = "s" if len(lacking) > 1 else ""
        message = f"`{target.name}` needs the option{plural} {names}"
        written = ", ".join(f"{name}: …" for name in lacking)
        remedy = f"add `{written}` to its `with`" if data else f"add `with: {{{written}}}`"
        faults.append(Diagnostic("missing-option", message, use, help=remedy))
    return faults


def _place(node: Node | None, path: NodePath, use: Span) -> tuple[Node | None, Span]:
    """Return the node at a path, and the span that a caret shows: its line, or its key's."""
    place, key = locate(node, path) if node is not None else (None, None)
    span = place.span if place is not None else use
    if place is not None and span.end_line != span.line:
        span = key or span._replace(
            end_line=span.line, end_column=len(span.file.lines[span.line - 1]) + 1
        )
    return place, span


def _bad(target: Target, node: Node | None, use: Span, fault: Fault, note: str) -> Diagnostic:
    place, span = _place(node, fault.path, use)
    if isinstance(fault.cause, ImportFault):
        return fault.cause.at(span)
    path = ".".join(str(segment) for segment in fault.path)
    if fault.kind == "raised" and fault.cause is not None:
        called = f"`{path}` of `{target.name}`" if path else f"`with` of `{target.name}`"
        message = f"{called} {fault.reason}"
        remedy = remedy_for(fault.cause, getattr(target.value, "__module__", None) or "")
        trace = frame_of(fault.cause)
        return Diagnostic("bad-value", message, span, trace=trace, help=remedy)
    if fault.kind == "missing":
        where = f"`{path}`" if path else f"`{target.name}`"
        return Diagnostic("missing-option", f"{where} lacks `{fault.reason}`", span)
    if fault.kind == "unknown":
        member = place.members[fault.reason].key if isinstance(place, MappingNode) else span
        return Diagnostic(
            "unknown-option", f"`{path}` has no `{fault.reason}`", member, "unknown option"
        )
    says = (
        fault.reason
        if fault.reason.startswith(("must ", "takes "))
        else f"is refused: {fault.reason}"
    )
    remedy = quoting_help(place, fault.reason) if place is not None else None
    return Diagnostic("bad-value", f"`{path}` of `{target.name}` {says}{note}", span, help=remedy)


def _short(
    target: Target, node: Node | None, use: Span, name: str, value: Any
) -> Iterator[Diagnostic]:
    """Warn of texts that are shorter than their component advises; what they are, is not told."""
    least = target.signature.parameters[name].advised_length
    if not least:
        return
    texts: list[tuple[NodePath, Any]] = [((name,), value)]
    if isinstance(value, list):
        texts = [((name, index), item) for index, item in enumerate(value)]
    for path, item in texts:
        text = revealed(item.value if isinstance(item, Held) else item)
        if isinstance(text, str) and not isinstance(text, Unknown) and 0 < len(text) < least:
            message = (
                f"`{name}` of `{target.name}` has under {least} characters, and may be guessed"
            )
            _, span = _place(node, path, use)
            yield Diagnostic("short-secret", message, span, severity="warning")


def _takes(names: list[str]) -> str:
    if not names:
        return "takes no options"
    shown = ", ".join(f"`{name}`" for name in names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"takes {shown}" + (f" and {more} more" if more > 0 else "")


def _refs(data: Any) -> list[str]:
    if isinstance(data, dict):
        return [name for value in data.values() for name in _refs(value)]
    if isinstance(data, list):
        return [name for value in data for name in _refs(value)]
    return [data.id] if isinstance(data, ResourceRef) else []


def _is_to_come(data: Any) -> bool:
    """Tell whether a value has something in it that is known at the start alone."""
    if isinstance(data, dict | list):
        return any(map(_is_to_come, data.values() if isinstance(data, dict) else data))
    return isinstance(data, ResourceRef | Unknown)


def _leaf(data: Any, path: tuple[str | int, ...]) -> Any:
    for segment in path:
        if isinstance(data, dict | list):
            data = data[segment]  # type: ignore[index]  # `convert` gives paths of this very data
    return data


def _dropped(hint: Any, data: Any, path: tuple[str | int, ...]) -> Iterator[Fault]:
    """Find the keys under an option that no field takes: pydantic drops them, and a typo with them.

    A model that says what `extra` does is left to say it, and so is a choice of several types.
    """
    if not isinstance(data, dict | list):
        return
    hint = _bare(hint)
    fields = _fields_of(hint) if isinstance(data, dict) else None
    if fields is not None:
        yield from (Fault(path, "unknown", key) for key in data if key not in fields)
    for step, inner, item in _parts(hint, fields, data):
        yield from _dropped(inner, item, (*path, step))


def _as_written(hint: Any, data: Any) -> Any:
    """Read text of the environment as the manifest reads it, where a choice of types takes both.

    To `bool | str` a variable `true` is what `true` is in the manifest, and `007` is a text.
    """
    if isinstance(data, Text):
        kinds = {get_origin(arm) or arm for arm in arms(hint)}
        if len(kinds) == 1 or data.shown.startswith("${settings."):
            return data
        try:
            value = plain_value(data.lower() if data.lower() in _BOOLEANS else data)
        except OverflowError:
            return data
        return value if type(value) in kinds & {bool, int, float} else data
    if not isinstance(data, dict | list):
        return data
    hint = _bare(hint)
    fields = _fields_of(hint) if isinstance(data, dict) else None
    read = {step: _as_written(inner, item) for step, inner, item in _parts(hint, fields, data)}
    if isinstance(data, list):
        return [read.get(index, item) for index, item in enumerate(data)]
    return {**data, **read}


def _bare(hint: Any) -> Any:
    """Take `Annotated` and `| None` off a hint."""
    arms = [item for item in get_args(hint) if item is not type(None)]
    is_single = get_origin(hint) in _UNIONS and len(arms) == 1
    return _bare(arms[0]) if is_single or get_origin(hint) is Annotated else hint


def _parts(hint: Any, fields: dict[str, Any] | None, data: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield the steps into `data`, each with its hint and its value."""
    inner = [item for item in get_args(hint) if item is not ...]
    if isinstance(data, list) and len(inner) == 1:
        yield from ((index, inner[0], item) for index, item in enumerate(data))
    elif isinstance(data, dict) and fields is not None:
        yield from ((key, fields[key], item) for key, item in data.items() if key in fields)
    elif isinstance(data, dict) and len(inner) == 2 and get_origin(hint) not in _UNIONS:
        yield from ((key, inner[1], item) for key, item in data.items())


def _fields_of(hint: Any) -> dict[str, Any] | None:
    """Return the keys that a dataclass or model takes, where it drops all others in silence."""
    if inspect.isclass(hint) and issubclass(hint, BaseModel) and "extra" not in hint.model_config:
        fields = hint.model_fields.items()
        aliases = [field.validation_alias for _, field in fields]
        if all(isinstance(alias, str | None) for alias in aliases):
            named = {name: field.annotation for name, field in fields}
            return named | {field.alias: field.annotation for _, field in fields if field.alias}
    elif inspect.isclass(hint) and is_dataclass(hint) and not hasattr(hint, "__pydantic_config__"):
        types: dict[str, Any] = {}
        with contextlib.suppress(Exception):  # a hint may name what only a type checker imports
            types = get_type_hints(hint, include_extras=True)
        return {field.name: types.get(field.name) for field in dataclass_fields(hint) if field.init}
    return None
