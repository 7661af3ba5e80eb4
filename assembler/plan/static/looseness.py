"""What a path stands for → what its source says of its options, for a review.

Out: of each option its default, whether it holds a secret, whether the order of its values counts,
and which way it loosens: the `looser` that its `Field` carries as `json_schema_extra`. Follows
aliases, `Annotated`, containers, and the fields of models and typed dictionaries.
What the source does not tell has no facts.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from assembler.plan.allow_list import ImportFault
from assembler.plan.static.hints import Hints
from assembler.plan.static.names import Found, Names, arguments, callee, kind, shown
from assembler.plan.static.vocabulary import Known

UNTOLD: Any = object()  # no default, or one that only a running process knows
_DEEPEST = 12  # levels of annotations and nested models that are followed
_EACH = "*"  # stands for any key of a mapping
_TEXTS = frozenset(
    {"builtins.str", "builtins.int", "builtins.float", "builtins.bool", "datetime.timedelta"}
    | {"pydantic.SecretStr"}
)
_UNORDERED = frozenset(f"{name}.{kind}" for name, kind in (
    ("builtins", "set"), ("builtins", "frozenset"), ("typing", "Set"), ("collections.abc", "Set")
))  # fmt: skip


@dataclass(frozen=True, slots=True)
class OptionFacts:
    """What the source says of one option; `fields` are those of what is nested in it."""

    looser: str | None = None
    default: Any = UNTOLD
    is_secret: bool = False
    is_unordered: bool = False
    is_plain: bool = False  # text, a number, a choice: nothing that could be code
    fields: Mapping[str, OptionFacts] = field(default_factory=dict)
    # For people; they judge nothing.
    description: str | None = field(default=None, compare=False)
    written: str | None = field(default=None, compare=False)  # the default's expression
    is_needed: bool = field(default=False, compare=False)  # of what is nested
    hint: Any = field(default=Any, compare=False)  # of what is nested; a signature has the others
    objects: tuple[str, ...] = field(default=(), compare=False)  # classes, as `module:line Name`

    def of(self, key: str) -> OptionFacts | None:
        """Return the facts of a key below this option."""
        return self.fields.get(key, self.fields.get(_EACH))


class Looseness:
    """Reads facts of options from sources."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._hints = Hints(names)

    def options(self, value: Found | None) -> Mapping[str, OptionFacts] | None:
        """Return the facts of each option of a callable; None where its source tells none."""
        item = shown(value)
        if item is None:
            return None
        if item.is_class:
            return dict(self._of_class(item, 0))
        if item.is_function:
            return dict(self._of_function(item, 0))
        inner = self._names.wrapped(item)
        return None if inner is None else self.options(inner)

    def _of_class(self, cls: Any, depth: int) -> Iterator[tuple[str, OptionFacts]]:
        init = self._init(cls)
        return self._of_data(cls, depth) if init is None else self._of_function(init, depth)

    def _init(self, cls: Any) -> Any:
        for base in filter(shown, self._names.mro(cls)):
            for name in ("__init__", "__new__"):
                init = self._names.lookup(base, name)
                if getattr(init, "is_function", False):
                    return init
        return None

    def _of_data(self, cls: Any, depth: int) -> Iterator[tuple[str, OptionFacts]]:
        """Yield the fields of a dataclass, model or typed dictionary."""
        if self._init(cls) is not None:
            return
        for base in reversed([base for base in self._names.mro(cls) if shown(base)]):
            for item in self._names.fields(base):
                if item.annotation:
                    fact = self._declared(item, base, depth)
                    hint = self._hints.of(item.annotation, base)
                    yield item.name, replace(fact, hint=hint, is_needed=_is_needed(item, base))

    def _of_function(self, function: Any, depth: int) -> Iterator[tuple[str, OptionFacts]]:
        for item in function.parameters:
            fact = self._fact(item.annotation, item.default, function.parent, depth)
            if "variadic" not in item.kind.value:
                yield item.name, fact
            elif item.kind.value == "variadic keyword":
                yield from fact.fields.items()

    def _declared(self, item: Any, cls: Any, depth: int) -> OptionFacts:
        """Read a field, whose `= Field(…)` says of it what one in the annotation does."""
        fact = self._fact(item.annotation, item.value, cls, depth)
        if kind(item.value) == "ExprCall" and self._field(item.value, cls) is not None:
            fact = replace(fact, **dict(self._said([item.value], cls)))
        return fact

    def _fact(self, annotation: Any, default: Any, scope: Any, depth: int) -> OptionFacts:
        fact = self._read(annotation, scope, depth)
        if default is None:
            return fact
        return replace(fact, default=literal(default), written=self._written(default, scope))

    def _written(self, default: Any, scope: Any) -> str:
        """Return the expression of a default, or that of the constant which it names."""
        try:
            named = shown(self._names.resolve(default, scope))
        except ImportFault:
            named = None
        value = named.value if named is not None and named.is_attribute else None
        return str(default if value is None else value)

    def _read(self, expression: Any, scope: Any, depth: int) -> OptionFacts:
        """Read one annotation, or a part of one."""
        if expression is None or depth > _DEEPEST:
            return OptionFacts()
        if isinstance(expression, str):
            return self._quoted(expression, scope, depth)
        if kind(expression) == "ExprBinOp":
            sides = (expression.left, expression.right)
            return _joined([self._read(side, scope, depth + 1) for side in sides])
        if kind(expression) == "ExprSubscript":
            return self._subscript(expression, scope, depth)
        try:
            found = self._names.resolve(expression, scope)
        except ImportFault:
            return OptionFacts()
        return self._named(found, depth)

    def _quoted(self, text: str, scope: Any, depth: int) -> OptionFacts:
        import griffe  # noqa: PLC0415  # here it was read already

        try:
            value = ast.literal_eval(text)
            tree = ast.parse(value, mode="eval").body if isinstance(value, str) else None
        except (ValueError, SyntaxError):
            return OptionFacts()
        if tree is None:
            return OptionFacts(is_plain=value is None)
        return self._read(griffe.get_expression(tree, parent=scope), scope, depth + 1)

    def _named(self, found: Found | None, depth: int) -> OptionFacts:
        if isinstance(found, Known):
            return OptionFacts(
                is_secret=found == "pydantic.SecretStr",
                is_unordered=found in _UNORDERED,
                is_plain=found in _TEXTS,
            )
        item = shown(found)
        if item is None or item.is_function:
            return OptionFacts()
        if item.is_class:
            none: dict[str, OptionFacts] = {}
            inner = self._names.once(id(item), lambda: dict(self._of_data(item, depth + 1)), none)
            name = f"{item.module.path}:{item.lineno} {item.name}"
            return OptionFacts(fields=inner, objects=() if self._is_data(item) else (name,))
        value = getattr(item, "value", None)
        return self._names.once(
            (id(item), "facts"), lambda: self._read(value, item.parent, depth + 1), OptionFacts()
        )

    def _is_data(self, cls: Any) -> bool:
        """Tell whether a mapping may stand for it: a model, a dataclass, a typed dictionary."""
        for base in self._names.mro(cls):
            if base == "pydantic.BaseModel":
                return True
            made = shown(base).decorators if shown(base) else []
            if any(
                self._names.resolve(callee(each.value), base.parent) == "dataclasses.dataclass"
                for each in made
            ):
                return True
        return any(str(base).rpartition(".")[2] == "TypedDict" for base in cls.bases)

    def _subscript(self, expression: Any, scope: Any, depth: int) -> OptionFacts:
        try:
            path = self._names.resolve(expression.left, scope)
        except ImportFault:
            return OptionFacts()
        inner = expression.slice
        items = list(inner.elements) if kind(inner) == "ExprTuple" else [inner]
        if path == "typing.Literal":
            return OptionFacts(is_plain=True)
        if path == "typing.Annotated":
            fact = self._read(items[0], scope, depth + 1)
            for name, said in self._said(items[1:], scope):
                fact = replace(fact, **{name: said})
            return fact
        if path == "collections.abc.Callable":
            return OptionFacts()
        parts = [self._read(item, scope, depth + 1) for item in items]
        if path in _MAPPINGS:
            return OptionFacts(fields={_EACH: parts[-1]})
        joined = _joined(parts)
        if path in _TRANSPARENT or getattr(path, "name", None) in _MARKS:
            return joined
        return replace(joined, looser=None, description=None, is_unordered=path in _UNORDERED)

    def _said(self, items: list[Any], scope: Any) -> Iterator[tuple[str, Any]]:
        """Yield the facts that `Field`s say of an option; of several the first holds."""
        fields = [named for item in items if (named := self._field(item, scope)) is not None]
        for named in reversed(fields):
            text = literal(named.get("description"))
            if isinstance(text, str):
                yield "description", text
            looser = _looser(named.get("json_schema_extra"))
            if looser:
                yield "looser", looser

    def _field(self, item: Any, scope: Any) -> dict[str, Any] | None:
        """Return the arguments of a call of `Field`, also through a name; None for all else."""
        try:
            found = shown(self._names.resolve(item, scope))
            call = found.value if found is not None and found.is_attribute else item
            if self._names.resolve(callee(call), scope if call is item else found.parent) != (
                "pydantic.Field"
            ):
                return None
        except ImportFault:
            return None
        return arguments(call)[1]


def _looser(extra: Any) -> str | None:
    if kind(extra) != "ExprDict":
        return None
    said = {_bare(key): _bare(value) for key, value in zip(extra.keys, extra.values, strict=True)}
    return said.get("looser")


_MAPPINGS = frozenset(
    {"builtins.dict", "collections.abc.Mapping", "collections.abc.MutableMapping"}
    | {"typing.Dict", "typing.Mapping", "typing.MutableMapping"}
)
_MARKS = frozenset({"NotRequired", "Required", "ReadOnly", "Unpack"})  # of typed dictionaries
_TRANSPARENT = frozenset(
    {"typing.Optional", "typing.Union", "typing.Final", "typing.ClassVar"}
    | {"typing.NotRequired", "typing.Required"}
)


def _is_needed(item: Any, cls: Any) -> bool:
    """Tell whether a model, dataclass or typed dictionary must have a field."""
    mark = str(getattr(item.annotation, "left", "")).rpartition(".")[2]
    is_total = str(cls.keywords.get("total", True)) == "True"
    return item.value is None and (is_total or mark == "Required") and mark != "NotRequired"


def _joined(parts: list[OptionFacts]) -> OptionFacts:
    """Return what holds where any of several types may stand."""
    fields: dict[str, OptionFacts] = {}
    for part in parts:
        fields |= part.fields
    return OptionFacts(
        looser=next((part.looser for part in parts if part.looser), None),
        is_secret=any(part.is_secret for part in parts),
        is_unordered=any(part.is_unordered for part in parts),
        is_plain=all(part.is_plain for part in parts),
        fields=fields,
        description=next((part.description for part in parts if part.description), None),
        objects=tuple(dict.fromkeys(each for part in parts for each in part.objects)),
    )


def _bare(expression: Any) -> str:
    return str(expression).strip("'\"")


def literal(expression: Any) -> Any:
    """Return the value of a literal, tuples as lists; `UNTOLD` for all else."""
    if expression is None:
        return UNTOLD
    try:
        value = ast.literal_eval(str(expression))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return UNTOLD
    return list(value) if isinstance(value, tuple | set | frozenset) else value
