"""Plain data → values of declared types, strictly where a person wrote them.

In: data as the text has it (strings, numbers, lists, mappings), in which leaves carry a mark where
they came from elsewhere: `Text` from the environment, `Held` from settings, `ResourceRef` for an
object that will exist later, `Unknown` for what only a running process knows. Out: what pydantic
makes of it under its strict JSON rules (`"5"` is no int, `"a"` is an enum's member, a list is a
tuple), with marked text converted to the type that is wanted. Refuses by a list of `Fault`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, NamedTuple, Self

from pydantic import BeforeValidator, TypeAdapter, ValidationError, WithJsonSchema

from assembler.redaction import redact

_DURATION = re.compile(r"([0-9]{1,12})(ms|s|m|h)\Z")
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours"}
_LONGEST = timedelta(days=366)
_ROUNDS = 4  # a list from the environment, its items, and what they hold
_SHOWN = 60


class Text(str):
    """A string that came from the environment or from settings; `shown` is its reference."""

    __slots__ = ("shown",)
    shown: str

    def __new__(cls, value: str, shown: str) -> Self:
        text = super().__new__(cls, value)
        text.shown = shown
        return text


class Unknown(str):
    """A string with references that were not resolved: it fits everywhere."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Held:
    """An object that a settings field holds."""

    value: Any
    shown: str


@dataclass(frozen=True, slots=True)
class ResourceRef:
    """The resource that will have been made when the value is used."""

    id: str

    @property
    def shown(self) -> str:
        return f"${{resources.{self.id}}}"


class Fault(NamedTuple):
    """What is wrong at `path` of the data; `kind` is `bad`, `missing` or `unknown`."""

    path: tuple[str | int, ...]
    kind: str
    reason: str


def parse_duration(value: Any) -> timedelta:
    """Read `250ms`, `10s`, `5m` or `1h`; 1 ms to 366 days. Raises `ValueError` otherwise."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a duration such as `250ms`, `10s`, `5m` or `1h`")
    try:
        duration = timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError:
        duration = timedelta.max
    if not timedelta(milliseconds=1) <= duration <= _LONGEST:
        raise ValueError("must be a duration from `1ms` to `8784h`")
    return duration


DURATION_SCHEMA = {"type": "string", "pattern": r"^[0-9]+(ms|s|m|h)$", "examples": ["10s", "5m"]}
Duration = Annotated[timedelta, BeforeValidator(parse_duration), WithJsonSchema(DURATION_SCHEMA)]


def convert(
    adapter: TypeAdapter[Any], data: Any, *, stand: Callable[[ResourceRef], Any] | None = None
) -> tuple[Any, list[Fault]]:
    """Validate `data` and return the value, or None with every fault.

    `stand` gives the object for a `ResourceRef`. Data that holds objects is validated as Python
    values, all else as JSON, which is the strict mode that knows enums, dates and dataclasses.
    """
    original = data
    for _ in range(_ROUNDS):
        try:
            if _has_objects(data):
                return adapter.validate_python(_unwrapped(data, stand)), []
            return adapter.validate_json(json.dumps(data), strict=True), []
        except ValidationError as error:
            errors = error.errors(include_url=False)
        repaired = data
        for item in errors:
            path = _path_in(data, item["loc"])
            leaf = _at(repaired, path)
            is_unknown = isinstance(_at(original, _path_in(original, path)), Unknown)
            better = _sample(item) if is_unknown else _repair(leaf, item["type"])
            if better is not leaf:
                repaired = _replaced(repaired, path, better)
        if repaired is data:
            break
        data = repaired
    return None, list(_faults(original, data, errors))


def shown(value: Any) -> str:
    """Return a value as a message may show it: a reference for what must not be seen."""
    if isinstance(value, Text | Held | ResourceRef):
        return f"`{value.shown}`"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = redact(json.dumps(value, ensure_ascii=False))
    return f"`{text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}`"


def _has_objects(data: Any) -> bool:
    if isinstance(data, dict):
        return any(_has_objects(value) for value in data.values())
    if isinstance(data, list):
        return any(_has_objects(value) for value in data)
    return isinstance(data, Held | ResourceRef)


def _unwrapped(data: Any, stand: Callable[[ResourceRef], Any] | None) -> Any:
    if isinstance(data, dict):
        return {key: _unwrapped(value, stand) for key, value in data.items()}
    if isinstance(data, list):
        return [_unwrapped(value, stand) for value in data]
    if isinstance(data, ResourceRef):
        return stand(data) if stand else data
    return data.value if isinstance(data, Held) else data


def _path_in(data: Any, loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Keep the segments of pydantic's `loc` that exist in the data: it adds tags and arms."""
    path: list[str | int] = []
    for segment in loc:
        is_key = isinstance(data, dict) and segment in data
        is_index = isinstance(data, list) and isinstance(segment, int) and segment < len(data)
        if is_key or is_index:
            path.append(segment)
            data = data[segment]
    return tuple(path)


def _at(data: Any, path: tuple[str | int, ...]) -> Any:
    for segment in path:
        data = data[segment]
    return data


def _replaced(data: Any, path: tuple[str | int, ...], value: Any) -> Any:
    if not path:
        return value
    copy: Any = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = _replaced(copy[path[0]], path[1:], value)
    return copy


def _repair(leaf: Any, wanted: str) -> Any:
    """Return what `leaf` is in the type that pydantic asked for, or `leaf` itself."""
    if isinstance(leaf, Held):
        return _repair_held(leaf, wanted)
    if wanted.startswith("time_delta") and isinstance(leaf, str) and _DURATION.match(leaf):
        return f"PT{parse_duration(leaf).total_seconds()}S"
    if not isinstance(leaf, Text):
        return leaf
    if wanted in {"list_type", "tuple_type", "set_type", "frozen_set_type", "sequence_str"}:
        return _collection(leaf)
    if wanted in {
        "dict_type",
        "model_type",
        "dataclass_type",
        "model_attributes_type",
        "mapping_type",
    }:
        return _json(leaf, "{") or leaf
    if wanted in {"int_type", "int_parsing", "literal_error", "enum"} and re.fullmatch(
        r"[-+]?[0-9]{1,300}", leaf.strip()
    ):
        return int(leaf)
    if wanted in {"float_type", "float_parsing"} and re.fullmatch(
        r"[-+]?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?", leaf.strip()
    ):
        return float(leaf)
    if wanted in {"bool_type", "bool_parsing"}:
        return _BOOLEANS.get(leaf.strip().lower(), leaf)
    return leaf


_BOOLEANS = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


def _repair_held(leaf: Held, wanted: str) -> Any:
    """A SecretStr or URL of the settings is text to a parameter that wants text."""
    if wanted not in {"string_type", "string_sub_type"}:
        return leaf
    reveal = getattr(leaf.value, "get_secret_value", None)
    value = reveal() if callable(reveal) else leaf.value
    return Text(str(value), leaf.shown)


def _sample(error: Any) -> Any:
    """Return a value that pydantic would take where it refused one that nobody knows yet."""
    context, wanted = error.get("ctx", {}), error["type"]
    for limit in ("ge", "le", "multiple_of"):
        if limit in context:
            return context[limit]
    if wanted in {"literal_error", "enum"}:
        first: str = str(context["expected"]).partition(" or ")[0].partition(", ")[0]
        return first[1:-1] if first.startswith("'") else json.loads(first)
    if wanted in {"value_error", "assertion_error"}:
        reason = str(context.get("error", ""))
        return next((value for word, value in _WORDED_SAMPLES.items() if word in reason), "x")
    return next((value for word, value in _SAMPLES.items() if wanted.startswith(word)), "x")


_SAMPLES: dict[str, Any] = {
    "int": 1,
    "float": 1.0,
    "bool": False,
    "none": None,
    "list": [],
    "tuple": [],
    "set": [],
    "frozen_set": [],
    "sequence": [],
    "dict": {},
    "mapping": {},
    "model": {},
    "dataclass": {},
    "date_": "2000-01-01",
    "time_delta": "PT1S",
    "string_pattern": "GET /",
}
_WORDED_SAMPLES = {"duration": "1s", "start with `/`": "/x", "cron": "* * * * *"}


def _collection(leaf: Text) -> Any:
    parsed = _json(leaf, "[")
    if parsed is not None:
        return parsed
    return [Text(part.strip(), leaf.shown) for part in leaf.split(",") if part.strip()]


def _json(leaf: Text, first: str) -> Any:
    """Read JSON text from the environment, marking its strings as the environment's."""
    if not leaf.lstrip().startswith(first):
        return None
    try:
        parsed = json.loads(leaf)
    except ValueError:
        return None
    return _marked(parsed, leaf.shown)


def _marked(value: Any, reference: str) -> Any:
    if isinstance(value, str):
        return Text(value, reference)
    if isinstance(value, list):
        return [_marked(item, reference) for item in value]
    if isinstance(value, dict):
        return {key: _marked(item, reference) for key, item in value.items()}
    return value


def _faults(original: Any, data: Any, errors: list[Any]) -> Iterator[Fault]:
    """Join the errors of one place, which are the arms of a union, to one fault."""
    told: list[tuple[str | int, ...]] = []
    expected: dict[tuple[str | int, ...], list[str]] = {}
    for item in errors:
        path = _path_in(data, item["loc"])
        kind = item["type"]
        if isinstance(_at(original, _path_in(original, path)), Unknown):
            continue  # a sample stands there, which may lack what the value will have
        if kind in {"missing", "missing_argument"}:
            told.append(path)
            yield Fault(path, "missing", str(item["loc"][-1]))
        elif kind in {"extra_forbidden", "unexpected_keyword_argument"}:
            told.append(path[:-1])
            yield Fault(path[:-1], "unknown", str(item["loc"][-1]))
        else:
            reasons = expected.setdefault(path, [])
            reason = _reason(item)
            if reason not in reasons:
                reasons.append(reason)
    inside = {path[:length] for path in told for length in range(len(path) + 1)}
    inside |= {path[:length] for path in expected for length in range(len(path))}
    for path, found in expected.items():
        if path in inside and all(reason.startswith("must be ") for reason in found):
            continue  # one arm of a union took the value, and has said what is wrong inside it
        # Where other types would do, an object is the one that a text cannot give.
        reasons = [reason for reason in found if reason != _NEEDS_OBJECT] or found
        said = [reason for reason in reasons if not reason.startswith("must be ")]
        if said:
            yield Fault(path, "bad", said[0])
            continue
        wanted = " or ".join(reason.removeprefix("must be ") for reason in reasons)
        leaf = _at(original, _path_in(original, path))
        is_length = isinstance(leaf, list) and "a list of" in wanted
        given = f"a list of {len(leaf)}" if is_length else shown(leaf)
        yield Fault(path, "bad", f"must be {wanted}, not {given}")


_PLAIN = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "`true` or `false`",
    "bool_parsing": "`true` or `false`",
    "string_type": "a string",
    "none_required": "null",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "sequence_str": "a list",
    "dict_type": "a mapping",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dataclass_type": "a mapping",
    "time_delta_type": "a duration such as `10s` or `5m`",
    "time_delta_parsing": "a duration such as `10s` or `5m`",
    "callable_type": "a callable object",
    "needs_python_object": "a reference to an object, such as `${resources.name}`",
}
_LIMITS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "text that matches `{pattern}`",
    "too_short": "a list of at least {min_length} items",
    "too_long": "a list of at most {max_length} items",
    "is_instance_of": "an object of type `{class}`",
}


_ONE = re.compile(r"\b1 (character|item)s\b")
_NEEDS_OBJECT = f"must be {_PLAIN['needs_python_object']}"


def _reason(item: Any) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind in _PLAIN:
        return f"must be {_PLAIN[kind]}"
    if kind.startswith("date_"):
        return "must be a date such as `2027-01-31`"
    if kind in _LIMITS:
        limits = {name: _limit(value) for name, value in context.items()}
        wanted = _LIMITS[kind].format_map({**limits, "expected": _expected(context)})
        return "must be " + _ONE.sub(r"1 \1", wanted)
    if kind in {"value_error", "assertion_error"}:
        return str(context.get("error", item["msg"]))
    message: str = item["msg"]
    return message.replace("Input should be", "must be", 1).replace("Value error, ", "", 1)


def _limit(value: Any) -> Any:
    """Write a `timedelta`, which pydantic gives as its repr, as the duration of a manifest."""
    if not str(value).startswith("datetime.timedelta"):
        return value
    parts = {name: int(number) for name, number in re.findall(r"(\w+)=(-?[0-9]+)", str(value))}
    milliseconds = timedelta(**parts) // timedelta(milliseconds=1)
    sizes = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
    unit = next(unit for unit, size in sizes.items() if milliseconds % size == 0)
    return f"`{milliseconds // sizes[unit]}{unit}`"


def _expected(context: dict[str, Any]) -> str:
    return re.sub(r"'([^']*)'", r"`\1`", str(context.get("expected", "")))
