"""What a path stands for → a `Target` without its object, and why its source tells too little.

Reads functions, classes with an `__init__` or `__new__`, dataclasses and pydantic's models. What
another decorator, metaclass or base may change takes any option.
"""

import inspect
from collections.abc import Iterator
from inspect import Parameter
from typing import Any

from assembler.plan.signature import Form, Signature, Target, signature_of
from assembler.plan.static.hints import Hints
from assembler.plan.static.module import Source
from assembler.plan.static.names import Found, Names, arguments, callee, kind, shown, subscripted
from assembler.plan.static.vocabulary import (
    MADE,
    NEUTRAL,
    NO_INIT,
    PLAIN,
    Known,
    Opaque,
    Unreadable,
)

_DATA = {"ExprDict", "ExprList", "ExprTuple", "ExprSet", "ExprJoinedStr"}
_NO_FIELDS = {"typing.ClassVar", "dataclasses.KW_ONLY"}


class Signatures:
    """Describes classes, functions and the rest as callables."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._hints = Hints(names)

    def target(self, path: str, value: Found, leading: int) -> tuple[Target, str | None]:
        """Describe `value`; `leading` is how many arguments the assembler passes by position."""
        form: Form = "instance"
        name = path.replace(":", ".").rpartition(".")[2]
        signature, why = Signature(name, {}, open=True), None
        is_callable, is_async, is_generator = True, False, False
        item = shown(value)
        try:
            if isinstance(value, Source):
                is_callable = False
            elif item is None:
                why = value.why if isinstance(value, Opaque) else MADE
            elif item.is_class or item.is_function:
                form = "class" if item.is_class else "function"
                is_async = item.is_function and self._is_async(item)
                is_generator = item.is_function and self._is_generator(item)
                signature = signature_of(self._stand_in(item), name, leading=leading)
                why = "takes `**kwargs`" if signature.open else None
            else:
                form, is_callable, is_async, why = self._instance(item)
        except (Unreadable, ValueError) as error:
            why = str(error)
        return Target(path, None, form, is_callable, is_async, signature, is_generator), why

    def routed(self, name: str, function: Any) -> Target:
        """Describe a function that a router's decorator gives back as it is."""
        parameters = self._parameters(function)

        def stand_in() -> None: ...

        stand_in.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # as below
        stand_in.__annotations__ = {}
        signature = signature_of(stand_in, name)
        return Target(name, None, "function", True, False, signature)

    def _stand_in(self, item: Any) -> Any:
        """Return a function that shows the same parameters."""

        def stand_in() -> None: ...

        parameters = self._of_class(item) if item.is_class else self._of_function(item)
        if item.is_function and "classmethod" in item.labels:
            parameters = parameters[1:]
        stand_in.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what inspect looks for
        returns = self._hints.of(item.returns, item.parent) if item.is_function else Any
        stand_in.__annotations__ = {} if returns is Any else {"return": returns}
        return stand_in

    def _is_async(self, function: Any) -> bool:
        """Tell whether calling it gives a coroutine: no decorator, not even `cache`, shows that."""
        is_coroutine = "async" in function.labels and not self._yields(function)
        return is_coroutine and self._is_plain(function)

    def _is_generator(self, function: Any) -> bool:
        """Tell whether calling it gives a generator: `contextmanager` makes it something else."""
        return self._yields(function) and self._is_plain(function)

    def _yields(self, function: Any) -> bool:
        source = self._names.load(function.module.path)
        return source is not None and source.has_yield(function)

    def _is_plain(self, function: Any) -> bool:
        found = {self._resolved(item.value, function.parent) for item in function.decorators}
        return found <= PLAIN

    def _instance(self, value: Any) -> tuple[Form, bool, bool, str | None]:
        inner = self._names.wrapped(value)
        if inner is not None:
            function = shown(inner)
            is_async = function and function.is_function and self._is_async(function)
            return "function", True, bool(is_async), MADE
        if "property" in value.labels or isinstance(value.value, str) or kind(value.value) in _DATA:
            return "instance", False, False, None
        return "function" if kind(value.value) == "ExprLambda" else "instance", True, False, MADE

    def _of_function(self, function: Any) -> list[Parameter]:
        self._check_decorators(function, NEUTRAL)
        return self._parameters(function)

    def _parameters(self, function: Any) -> list[Parameter]:
        return [
            _parameter(
                item.name,
                getattr(Parameter, item.kind.name.upper()),
                self._hints.of_parameter(item, function.parent),
                is_required=item.default is None or "variadic" in item.kind,
            )
            for item in function.parameters
        ]

    def _check_decorators(self, value: Any, allowed: frozenset[str]) -> None:
        for decorator in value.decorators:
            if self._resolved(decorator.value, value.parent) not in allowed:
                raise Unreadable(f"is decorated with `{callee(decorator.value)}`")

    def _resolved(self, expression: Any, scope: Any) -> Any:
        return self._names.resolve(callee(expression), scope)

    def _of_class(self, cls: Any) -> list[Parameter]:
        mro = self._names.mro(cls)
        for base in filter(shown, mro):
            self._check_decorators(base, NEUTRAL | {"dataclasses.dataclass"})
            metaclass = base.keywords.get("metaclass")
            if metaclass and self._resolved(metaclass, base.parent) != "abc.ABCMeta":
                raise Unreadable(f"has the metaclass `{metaclass}`")
        for index, base in enumerate(mro):
            if isinstance(base, Opaque):
                raise Unreadable(base.why)
            if isinstance(base, Known) and base not in NO_INIT:
                raise Unreadable(f"inherits from `{base}`")
            init = self._own(base, "__new__") or self._own(base, "__init__")
            if init is not None:
                return self._of_function(init)[1:]
            if self._dataclass(base).get("init", "False") != "False":
                return self._of_dataclass(mro[index:])
        return []

    def _own(self, cls: Any, name: str) -> Any:
        found = self._names.lookup(cls, name) if shown(cls) else None
        if found is not None and not getattr(found, "is_function", False):
            raise Unreadable(f"has an `{name}` that {MADE}")
        return found

    def _dataclass(self, cls: Any) -> dict[str, Any]:
        """Return the options of the decorator that makes `cls` a dataclass; empty without one."""
        for decorator in cls.decorators if shown(cls) else ():
            if self._resolved(decorator.value, cls.parent) == "dataclasses.dataclass":
                return {"init": "True", **arguments(decorator.value)[1]}
        return {}

    def _of_dataclass(self, mro: list[Any]) -> list[Parameter]:
        fields: dict[str, Parameter | None] = {}
        for base in reversed(mro):
            if isinstance(base, Opaque):
                raise Unreadable(base.why)
            options = self._dataclass(base)
            if options:
                fields |= self._fields(base, by_name=options.get("kw_only") == "True")
        return sorted(filter(None, fields.values()), key=lambda field: field.kind)

    def _fields(self, cls: Any, *, by_name: bool) -> Iterator[tuple[str, Parameter | None]]:
        """Yield what a class declares as fields; None stands for one that is no parameter."""
        for item in self._names.fields(cls):
            mark = self._names.resolve(subscripted(item.annotation), cls)
            by_name = by_name or mark == "dataclasses.KW_ONLY"
            if mark in _NO_FIELDS or not item.annotation or "instance-attribute" not in item.labels:
                continue
            is_call = self._resolved(item.value, cls) == "dataclasses.field"
            said = arguments(item.value)[1] if is_call else {}
            has_default = item.value is not None
            if is_call:
                has_default = not said.keys().isdisjoint({"default", "default_factory"})
            is_alone = by_name or said.get("kw_only") == "True"
            place = Parameter.KEYWORD_ONLY if is_alone else Parameter.POSITIONAL_OR_KEYWORD
            hint = self._hints.of(item.annotation, cls)
            parameter = _parameter(item.name, place, hint, is_required=not has_default)
            yield item.name, None if said.get("init") == "False" else parameter


def _parameter(name: str, place: Any, hint: Any, *, is_required: bool) -> Parameter:
    default = Parameter.empty if is_required else None
    return Parameter(name, place, default=default, annotation=hint)
