"""An annotation in a scope → a type; whatever is not surely understood is `Any`.

So this room never makes an option be refused which the running callable would take.
"""

from __future__ import annotations

import ast
import datetime as dt
from collections import abc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Union

from pydantic import Field

from assembler.plan.static.names import Found, Names, arguments, callee, kind, shown
from assembler.plan.static.vocabulary import ENUMS, TYPES, UNTELLING, WRAPPERS, Known, Unreadable

_FACTS = {"ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern"}
_AFTER = "pydantic.AfterValidator"  # it sees what the type let pass
_RESOURCE = "assembler.Resource"
_MARKS = {_RESOURCE, "fastapi.Depends"}
_DESCRIBING = {"annotated_doc", "annotated_types", "typing_extensions"}


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """What a `Field` was made of, as metadata beside it: pydantic does not give that back."""

    given: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """What is given to a parameter: the resource of that id, or what a dependency returns.

    `inner` has the types of the dependency's own parameters, as far as its source tells.
    """

    resource_id: str | None
    inner: Mapping[str, Any] = field(default_factory=dict)


def limited(hint: Any, given: Mapping[str, Any]) -> Any:
    """Return a type with the limits of a `Field`."""
    return Annotated[hint, Field(**given), Limits(given)]


class Hints:
    """Reads annotations as types."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def of(self, expression: Any, scope: Any) -> Any:
        """Return the type that an expression of `scope` stands for."""
        try:
            if isinstance(expression, str):
                return self._text(expression, scope)
            if kind(expression) == "ExprBinOp" and expression.operator == "|":
                return self._union((expression.left, expression.right), scope)
            if kind(expression) == "ExprSubscript":
                return self._subscript(expression, scope)
            return self._named(self._resolved(expression, scope))
        except (Unreadable, TypeError, ValueError, SyntaxError, RecursionError):
            return Any

    def _resolved(self, expression: Any, scope: Any) -> Found | None:
        path = self._names.imported(expression, scope)
        return Known(path) if path in UNTELLING else self._names.resolve(expression, scope)

    def _text(self, text: str, scope: Any) -> Any:
        import griffe  # noqa: PLC0415  # here it was read already

        value = ast.literal_eval(text)
        if not isinstance(value, str):
            return Any if value is not None else None
        tree = ast.parse(value.strip(), mode="eval").body
        return self.of(griffe.get_expression(tree, parent=scope), scope)

    def _named(self, found: Any) -> Any:
        value = shown(found)
        if value is None:
            return TYPES.get(found, Any)
        if value.is_class:
            return self._enum(value)
        inner = getattr(value, "value", None)
        return self._names.once(
            (id(value), "hint"), lambda: self.of(inner, value.parent) if inner else Any, Any
        )

    def _enum(self, cls: Any) -> Any:
        """Give the values of an enum, which are what JSON and YAML write for its members."""
        bases = {self._resolved(base, cls.parent) for base in cls.bases}
        if not bases & ENUMS or self._names.lookup(cls, "_missing_"):
            return Any
        values = tuple(self._literal(item.value, cls) for item in self._names.fields(cls))
        return Literal[values] if values else Any

    def _union(self, expressions: Iterable[Any], scope: Any) -> Any:
        arms = [self.of(item, scope) for item in expressions]
        return Any if Any in arms else Union[tuple(arms)]  # noqa: UP007  # built from a tuple

    def _subscript(self, expression: Any, scope: Any) -> Any:
        path: Any = self._resolved(expression.left, scope)
        inner = expression.slice
        items = inner.elements if kind(inner) == "ExprTuple" else [inner]
        if path == "typing.Literal":
            return Literal[tuple(self._literal(item, scope) for item in items)]
        if path == "typing.Annotated":
            return self._annotated(items, scope)
        if path == "typing.Union":
            return self._union(items, scope)
        if path == "typing.Optional":
            return self._union([*items, "None"], scope)
        if path in WRAPPERS:
            return self.of(items[0], scope)
        origin = TYPES.get(path)
        if origin in (None, type, abc.Callable):  # of the last two, pydantic looks at no argument
            return origin or Any
        return origin[tuple(... if item == "..." else self.of(item, scope) for item in items)]

    def _annotated(self, items: list[Any], scope: Any) -> Any:
        hint = self.of(items[0], scope)
        facts: dict[str, Any] = {}
        marks: list[Mark] = []
        for item in items[1:]:
            call, place = self._call(item, scope)
            found: Any = self._resolved(callee(call), place)
            given, named = arguments(call)
            if found == "pydantic.Field":
                facts |= {key: self._literal(named[key], place) for key in _FACTS & named.keys()}
                facts |= self._advised(named.get("json_schema_extra"), place)
            elif found in _MARKS:
                marks.append(self._mark(call, found, items[0], place if given else scope))
            elif not (isinstance(item, str) or found == _AFTER or _describes(found)):
                return Any  # a validator may take other values than the type does
        if marks:
            return Annotated[hint, marks[-1]]
        return limited(hint, facts) if facts and hint is not Any else hint

    def of_parameter(self, parameter: Any, scope: Any) -> Any:
        """Return the type of a parameter, with what its default marks it with."""
        hint = self.of(parameter.annotation, scope)
        if kind(parameter.default) != "ExprCall":
            return hint
        try:
            found = self._resolved(callee(parameter.default), scope)
            if found not in _MARKS:
                return hint
            return Annotated[hint, self._mark(parameter.default, found, None, scope)]
        except (Unreadable, TypeError, ValueError, SyntaxError, RecursionError):
            return hint

    def _mark(self, call: Any, found: Any, declared: Any, scope: Any) -> Mark:
        """Read `Resource("id")`, or `Depends(function)` with what that function needs itself."""
        given = arguments(call)[0]
        if found == _RESOURCE:
            return Mark(str(self._literal(given[0], scope)))
        function = shown(self._names.resolve(given[0] if given else declared, scope))
        if function is None or not function.is_function:
            return Mark(None)
        inner: dict[str, Any] = self._names.once(
            (id(function), "needs"),
            lambda: {
                item.name: self.of_parameter(item, function.parent) for item in function.parameters
            },
            {},
        )
        return Mark(None, inner)

    def _advised(self, extra: Any, scope: Any) -> dict[str, Any]:
        """Return what `Parameter.advised_length` reads of a `Field`."""
        pairs = zip(extra.keys, extra.values, strict=True) if kind(extra) == "ExprDict" else ()
        for key, value in pairs:
            if str(key).strip("\"'") == "advised_min_length":
                return {"json_schema_extra": {"advised_min_length": self._literal(value, scope)}}
        return {}

    def _call(self, item: Any, scope: Any) -> tuple[Any, Any]:
        """Follow a name to the call that made it, such as `_Port = Field(ge=1)`, and its scope."""
        found = shown(self._names.resolve(item, scope))
        return (found.value, found.parent) if found and found.is_attribute else (item, scope)

    def _literal(self, expression: Any, scope: Any) -> Any:
        """Return the value of a literal, of a name for one, or of a `timedelta` of literals."""
        if isinstance(expression, str):
            return ast.literal_eval(expression)
        if kind(expression) == "ExprUnaryOp" and expression.operator == "-":
            return -self._literal(expression.value, scope)
        found = self._names.resolve(callee(expression), scope)
        if found == "datetime.timedelta":
            given, named = arguments(expression)
            return dt.timedelta(
                *(self._literal(item, scope) for item in given),
                **{name: self._literal(item, scope) for name, item in named.items()},
            )
        value = shown(found)
        if value is None or not value.is_attribute or kind(expression) == "ExprCall":
            raise Unreadable("is no literal")
        return self._literal(value.value, value.parent)


def _describes(found: Any) -> bool:
    """Tell whether metadata is documentation, or a limit of `annotated_types`."""
    value = shown(found)
    return value is not None and value.module.path.partition(".")[0] in _DESCRIBING
