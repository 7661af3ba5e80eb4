"""A callable → the options it takes, with their types.

In: the object that `use` names, and how many arguments the assembler passes by position. Out: a
`Signature`, whose `adapter` checks and converts options. Type hints are read where they can be: a
hint that cannot be evaluated, or that pydantic cannot check, lets every value pass. A
callable that does not tell its signature takes any option.
"""

import functools
import inspect
import sys
from collections import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import UnionType
from typing import Annotated, Any, Literal, NotRequired, Union, cast, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter
from pydantic_core import PydanticCustomError, SchemaValidator
from typing_extensions import TypedDict, get_type_hints, is_protocol, is_typeddict

from assembler.manifest.duration import Duration

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
# What a YAML list may be given to; pydantic checks few of these, and an `Iterable` only when read.
_LISTS = (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable, abc.Container)
_DEEPER = {"sqlalchemy": ("sqlalchemy.ext.asyncio",)}  # modules of a package that have its classes
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class Parameter:
    """One option: its name, its type (Any where nothing is known), whether it must be given."""

    name: str
    annotation: Any
    required: bool

    @functools.cached_property
    def facts(self) -> Mapping[str, Any]:
        """What each `Field(json_schema_extra={…})` within the type says; the outermost counts."""
        return _facts(self.annotation)

    @property
    def advised_length(self) -> int:
        """The characters below which a text may be guessed, 0 where its `Field` says none.

        A component says it by `json_schema_extra={"advised_min_length": 16}`: the value is taken,
        and `check` warns.
        """
        found = self.facts.get("advised_min_length")
        return found if isinstance(found, int) else 0


@dataclass(frozen=True, slots=True)
class Signature:
    """What a callable takes by name; `open` where it takes any name, `None` where nothing is known."""

    name: str
    parameters: Mapping[str, Parameter]
    open: bool
    returns: Any = None
    unnamed: str | None = None  # a required parameter that no option can give
    lacks_place: bool = False  # it takes fewer arguments by position than it is given

    def adapter(self, names: abc.Collection[str] | None = None) -> TypeAdapter[Any]:
        """Return what validates a mapping of options; parameters it cannot check take anything.

        With `names` it knows only those: uvicorn's Config has fifty parameters, a manifest gives
        four of them, and each costs some tenths of a millisecond.
        """
        annotations = {
            name: fitted(item.annotation)
            for name, item in self.parameters.items()
            if names is None or name in names
        }
        try:
            return _adapter(annotations)
        except Exception:  # noqa: BLE001  # whatever a foreign type's schema hook raises
            return _adapter({name: _checkable(hint) for name, hint in annotations.items()})


Form = Literal["class", "function", "instance"]


@dataclass(frozen=True, slots=True)
class Target:
    """What `use` names: the object (None where only its source was read) and how it is called."""

    path: str
    value: Any
    form: Form
    is_callable: bool
    is_async: bool
    signature: Signature
    is_generator: bool = False  # calling it gives a generator, and runs nothing of it

    @property
    def name(self) -> str:
        """The last part of the path, as messages call it."""
        return self.path.replace(":", ".").rpartition(".")[2]


def target_of(path: str, value: Any, *, leading: int = 0) -> Target:
    """Describe `value`; `leading` is how many arguments the assembler passes by position."""
    form: Form = "class" if inspect.isclass(value) else "instance"
    if inspect.isroutine(value) or isinstance(value, functools.partial):
        form = "function"
    inner = value
    while isinstance(inner, functools.partial):
        inner = inner.func
    is_async = inspect.iscoroutinefunction(inner) or (
        form == "instance" and inspect.iscoroutinefunction(getattr(inner, "__call__", None))  # noqa: B004  # asks whether that method is async
    )
    name = path.replace(":", ".").rpartition(".")[2]
    signature = signature_of(value, name, leading=leading)
    is_generator = inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner)
    return Target(path, value, form, callable(value), is_async, signature, is_generator)


def signature_of(value: Any, name: str, *, leading: int = 0) -> Signature:
    """Read the parameters of `value` that an option can give, skipping `leading` positional ones."""
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except Exception:  # noqa: BLE001  # an extension's own signature may be no Python at all
        return Signature(name, {}, open=True)
    hints = hints_of(value)
    skipped = [item.name for item in parameters if item.kind in _POSITIONAL][:leading]
    takes_any = any(item.kind is inspect.Parameter.VAR_POSITIONAL for item in parameters)
    lacks_place = len(skipped) < leading and not takes_any
    rest = [item for item in parameters if item.name not in skipped]
    named = {
        item.name: Parameter(
            item.name,
            _hint(hints, item),
            item.default is inspect.Parameter.empty,
        )
        for item in rest
        if item.kind in _BY_NAME
    }
    unnamed = [
        item.name
        for item in rest
        if item.kind is inspect.Parameter.POSITIONAL_ONLY
        and item.default is inspect.Parameter.empty
    ]
    is_open = any(item.kind is inspect.Parameter.VAR_KEYWORD for item in rest)
    called = value
    while isinstance(called, functools.partial):
        called = called.func
    returns = called if inspect.isclass(called) else hints.get("return")
    needed = unnamed[0] if unnamed else None
    return Signature(name, named, is_open, returns, needed, lacks_place)


def job_parameters(signature: Signature) -> frozenset[str]:
    """Return the parameters that receive a job's context: `job`, and any typed `JobContext`."""
    return frozenset(
        name
        for name, item in signature.parameters.items()
        if name == "job" or _is_job_context(item.annotation)
    )


def class_of(annotation: Any) -> type | None:
    """Return the class that an annotation stands for, or None where it tells too little."""
    while get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    origin = get_origin(annotation) or annotation
    if not inspect.isclass(origin) or origin in (Any, object, Union, UnionType):
        return None  # `Any` is a class from Python 3.11 on
    return cast("type", origin)


def _facts(annotation: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for item in reversed(get_args(annotation)):
        extra = getattr(item, "json_schema_extra", None)
        facts |= extra if isinstance(extra, dict) else _facts(item)
    return facts


def may_be(kind: type, package: str, name: str) -> bool:
    """Tell whether an object declared as `kind` may be one of the class `name` of `package`.

    By names, since nothing is imported for it; and by what is imported, whether `kind` is wider.
    """
    if any(
        each.__name__ == name and each.__module__.partition(".")[0] == package
        for each in kind.__mro__
    ):
        return True
    homes = (sys.modules.get(place) for place in (package, *_DEEPER.get(package, ())))
    wanted = next((found for home in homes if (found := getattr(home, name, None))), None)
    try:
        return wanted is not None and issubclass(wanted, kind)
    except TypeError:  # a protocol with attributes
        return True


def fitted(annotation: Any) -> Any:
    """Put the format's own types into an annotation: a `timedelta` is a duration such as `10s`.

    A protocol that cannot be checked at run time, and a generator's or callback's inner types, take
    anything.
    """
    if annotation is inspect.Parameter.empty:
        return Any
    if annotation is timedelta:
        return Duration
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return Annotated[(fitted(arguments[0]), *arguments[1:])]
    if origin in (Union, UnionType):
        return Union[tuple(fitted(item) for item in arguments)]  # noqa: UP007  # built from a tuple
    if origin in _LISTS:
        return list[fitted(arguments[0])]  # type: ignore[misc]  # made at run time
    if origin in (set, frozenset, tuple, dict, abc.Mapping):
        return origin[tuple(item if item is ... else fitted(item) for item in arguments)]
    if is_typeddict(annotation):
        return _closed(annotation)
    if inspect.isclass(annotation) and is_protocol(annotation):
        return annotation if getattr(annotation, "_is_runtime_protocol", False) else Any
    return annotation


def _is_job_context(annotation: Any) -> bool:
    # By its name: a component that runs without the assembler declares a protocol of its own.
    if get_origin(annotation) in (Union, UnionType):
        return any(map(_is_job_context, get_args(annotation)))
    declared = class_of(annotation)
    return declared is not None and declared.__name__ == "JobContext"


def _closed(annotation: Any) -> Any:
    """Return a `TypedDict` that refuses unknown keys; pydantic takes `typing`'s only from 3.12 on."""
    fields = {
        name: NotRequired[fitted(hint)] if name in annotation.__optional_keys__ else fitted(hint)
        for name, hint in get_type_hints(annotation, include_extras=True).items()
    }
    make: Any = TypedDict  # a checker wants a literal; these names are known at run time
    shape = make(annotation.__name__, fields)
    shape.__pydantic_config__ = ConfigDict(arbitrary_types_allowed=True, extra="forbid")
    return shape


def _adapter(annotations: Mapping[str, Any]) -> TypeAdapter[Any]:
    fields = {name: NotRequired[hint] for name, hint in annotations.items()}
    make: Any = TypedDict  # a checker wants a literal; these names are known at run time
    shape = make("Options", fields)
    shape.__pydantic_config__ = ConfigDict(arbitrary_types_allowed=True, extra="allow")
    adapter: TypeAdapter[Any] = TypeAdapter(shape)
    # pydantic before 2.10 raises by itself where a hint inside is not defined.
    if not getattr(adapter, "pydantic_complete", True):
        raise TypeError("a hint inside names what is not defined")
    if not _refuses_json():
        adapter.validator = SchemaValidator(_refusing(adapter.core_schema))
    return adapter


@functools.cache
def _refuses_json() -> bool:
    """Tell whether pydantic has a fault for JSON in place of an object, as it has from 2.10 on."""
    try:
        config = ConfigDict(arbitrary_types_allowed=True)
        TypeAdapter(inspect.Signature, config=config).validate_json("0")
    except NotImplementedError:
        return False
    except ValueError:
        pass
    return True


def _refusing(schema: Any) -> Any:
    """Return a schema of pydantic's core in which JSON in place of an object is a fault."""
    if isinstance(schema, list | tuple):
        return type(schema)(map(_refusing, schema))
    if not isinstance(schema, dict) or schema.get("type") == "json-or-python":
        return schema
    asked = _ASKED.get(schema.get("type", ""))
    if asked is None:
        return {key: _refusing(value) for key, value in schema.items()}

    def refuse(_: Any) -> Any:
        raise PydanticCustomError(
            "needs_python_object", "JSON has no objects", {"method_name": asked}
        )

    function = {"type": "function-plain", "function": {"type": "no-info", "function": refuse}}
    return {"type": "json-or-python", "json_schema": function, "python_schema": schema}


_ASKED: Mapping[Any, str] = {"is-instance": "isinstance", "is-subclass": "issubclass"}


class _PythonPatterns:
    """Metadata of a hint whose patterns pydantic's own engine does not know: `\\Z`, `(?!…)`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        return _with_python_patterns(handler(source))


def _with_python_patterns(schema: Any) -> Any:
    if isinstance(schema, list | tuple):
        return type(schema)(map(_with_python_patterns, schema))
    if not isinstance(schema, dict):
        return schema
    inside = {key: _with_python_patterns(value) for key, value in schema.items()}
    is_pattern = schema.get("type") == "str" and "pattern" in schema
    return {**inside, "regex_engine": "python-re"} if is_pattern else inside


def _checkable(annotation: Any) -> Any:
    for hint in (annotation, Annotated[annotation, _PythonPatterns()]):
        try:
            _adapter({"value": hint})
        except Exception:  # noqa: BLE001, S112  # whatever a foreign type's schema hook raises
            continue
        return hint
    return Any


def _hint(hints: Mapping[str, Any], item: inspect.Parameter) -> Any:
    hint = hints.get(item.name, item.annotation)
    return Any if hint is inspect.Parameter.empty or isinstance(hint, str) else hint


def hints_of(value: Any) -> dict[str, Any]:
    """Evaluate the hints of a callable, those that can be; classes by the method that takes options."""
    function = _function_of(value)
    try:
        return get_type_hints(function, include_extras=True)
    except Exception:  # noqa: BLE001  # names under TYPE_CHECKING, and anything else a hint may do
        return _hints_one_by_one(function)


def _hints_one_by_one(function: Callable[..., Any]) -> dict[str, Any]:
    hints = {}
    scope = getattr(function, "__globals__", {})
    for name, hint in getattr(function, "__annotations__", {}).items():
        try:
            hints[name] = eval(hint, scope) if isinstance(hint, str) else hint  # noqa: S307  # what get_type_hints does
        except Exception:  # noqa: BLE001  # a hint that cannot be read lets every value pass
            hints[name] = Any
    return hints


def _function_of(value: Any) -> Any:
    while isinstance(value, functools.partial):
        value = value.func
    if inspect.isclass(value):
        if hasattr(value, "__pydantic_fields__") or hasattr(value, "__dataclass_fields__"):
            return value
        init = value.__init__
        return init if init is not object.__init__ else value.__new__
    if inspect.isroutine(value):
        return inspect.unwrap(value)
    return getattr(type(value), "__call__", value)  # noqa: B004  # the method's hints are wanted
