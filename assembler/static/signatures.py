"""What a path stands for → a `Target` without its object, and why its source tells too little.

Reads functions, classes with an `__init__` or `__new__`, dataclasses and pydantic's models. What
another decorator, metaclass or base may change takes any option. Refuses nothing.
"""

import inspect
from collections.abc import Iterator, Set
from inspect import Parameter
from typing import Any

from assembler.signature import Form, Signature, Target, signature_of
from assembler.static import vocabulary as words
from assembler.static.hints import Hints
from assembler.static.module import Source
from assembler.static.names import Found, Names, arguments, callee, kind, shown, subscripted
from assembler.static.vocabulary import MADE, Known, Unknown, Unreadable

_DATA = {"ExprDict", "ExprList", "ExprTuple", "ExprSet", "ExprJoinedStr"}


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
        is_callable, is_async = True, False
        item = shown(value)
        try:
            if isinstance(value, Source):
                is_callable = False
            elif item is None:
                why = value.why if isinstance(value, Unknown) else MADE
            elif item.is_class or item.is_function:
                form = "class" if item.is_class else "function"
                is_async = item.is_function and self._is_async(item)
                signature = signature_of(self._stand_in(item), name, leading=leading)
                why = "takes `**kwargs`" if signature.open else None
            else:
                form, is_callable, is_async, why = self._instance(item)
        except Unreadable as error:
            why = str(error)
        return Target(path, None, form, is_callable, is_async, signature), why

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
        found = {self._resolved(item.value, function.parent) for item in function.decorators}
        return {"async", "generator"} & function.labels == {"async"} and found <= words.PLAIN

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
        self._check_decorators(function, words.NEUTRAL)
        return [
            _parameter(
                item.name,
                getattr(Parameter, item.kind.name.upper()),
                self._hints.of(item.annotation, function.parent),
                is_required=item.default is None,
            )
            for item in function.parameters
        ]

    def _of_class(self, cls: Any) -> list[Parameter]:
        mro = self._names.mro(cls)
        for base in filter(shown, mro):
            self._check_decorators(base, words.NEUTRAL | words.DATACLASSES)
            metaclass = base.keywords.get("metaclass")
            if metaclass and self._resolved(metaclass, base.parent) != "abc.ABCMeta":
                raise Unreadable(f"has the metaclass `{metaclass}`")
        is_model = words.MODEL in mro
        for index, base in enumerate(mro):
            if isinstance(base, Unknown):
                raise Unreadable(base.why)
            if is_model and base == words.MODEL:
                return self._of_model(mro[:index])
            if isinstance(base, Known):
                if base not in words.NO_INIT:
                    raise Unreadable(f"inherits from `{base}`")
                continue
            init = self._names.lookup(base, "__new__") or self._names.lookup(base, "__init__")
            if init is not None:
                if is_model or not (shown(init) and shown(init).is_function):
                    raise Unreadable("has an `__init__` of its own")
                return self._of_function(init)[1:]
            if self._dataclass(base).get("init", "False") != "False":
                return self._of_dataclass(mro[index:])
        return []

    def _of_dataclass(self, mro: list[Any]) -> list[Parameter]:
        fields: dict[str, Parameter] = {}
        for base in reversed(mro):
            options = self._dataclass(base)
            for attribute, said in self._fields(base) if options else ():
                if said.get("init") == "False":
                    fields.pop(attribute.name, None)
                    continue
                by_name = "True" in (options.get("kw_only"), said.get("kw_only"))
                fields[attribute.name] = self._field(attribute, base, said, by_name=by_name)
        return sorted(fields.values(), key=lambda field: field.kind)

    def _of_model(self, classes: list[Any]) -> list[Parameter]:
        fields: dict[str, Parameter] = {}
        is_open = False
        for cls in reversed(classes):
            config = [str(item) for pair in cls.keywords.items() for item in pair]
            config += [str(at.value) for at in self._names.fields(cls) if at.name == "model_config"]
            said = " ".join(config)
            ...
        return [*fields.values()]

    def _dataclass(self, cls: Any) -> dict[str, Any]:
        """Return the options of the decorator that makes `cls` a dataclass; empty without one."""
        for decorator in cls.decorators if shown(cls) else ():
            if self._resolved(decorator.value, cls.parent) in words.DATACLASSES:
                return {"init": "True", **arguments(decorator.value)[1]}
        return {}
