"""What pydantic refused → faults in the words of the format.

In: the data, and pydantic's errors about it. Out: `Fault`s, those of one place joined to one, each
with a path that the data has.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, NamedTuple

from assembler.document.nodes import NodePath
from assembler.document.provenance import Unknown, shown
from assembler.manifest.duration import duration_text

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
    "callable_type": "the import path of a callable",
    "is_type": "the import path of a class",
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
    "is_subclass_of": "the import path of `{class}` or a class below it",
    "is_instance_of": "an object of type `{class}`",
}
_LENGTHS = {
    "too_short": "must have at least {min_length} characters",
    "too_long": "must have at most {max_length} characters",
}
_ONE = re.compile(r"\b1 (character|item)s\b")
_NEEDS_OBJECT = f"must be {_PLAIN['needs_python_object']}"


_MISSING = {"missing", "missing_argument"}
_SURPLUS = {"extra_forbidden", "unexpected_keyword_argument"}
OF_KEYS = _MISSING | _SURPLUS  # errors about the key, not about the value


class Fault(NamedTuple):
    """What is wrong at `path` of the data; `kind` is `bad`, `missing`, `unknown`, `import` or `raised`."""

    path: NodePath
    kind: str
    reason: str
    cause: BaseException | None = None  # of an `import`, or what a validator `raised`


def faults_of(
    original: Any, data: Any, errors: list[Any], *, excuses: bool = True
) -> Iterator[Fault]:
    """Join the errors of one place, which are the arms of a union, to one fault.

    With `excuses`, values that nobody knows yet have none, nor has what holds one and is refused
    as a whole.
    """
    told: list[NodePath] = []
    expected: dict[NodePath, list[str]] = {}
    for item in errors:
        path = path_in(data, item["loc"])
        kind = item["type"]
        leaves = leaf_at(original, path_in(original, path)), leaf_at(data, path)
        if excuses and kind not in OF_KEYS and any(_is_unknown(leaf, kind) for leaf in leaves):
            continue
        if kind in _MISSING:
            told.append(path)
            yield Fault(path, "missing", str(item["loc"][-1]))
        elif kind in _SURPLUS:
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
        yield Fault(path, "bad", _joined(found, leaf_at(original, path_in(original, path))))


def _joined(found: list[str], leaf: Any) -> str:
    """Join the reasons of the arms of a union to one sentence about the value as it is written."""
    # Where other types would do, an object is the one that a text cannot give.
    reasons = [reason for reason in found if reason != _NEEDS_OBJECT] or found
    said = [reason for reason in reasons if not reason.startswith("must be ")]
    if said:
        return said[0]
    wanted = " or ".join(reason.removeprefix("must be ") for reason in reasons)
    given = shown(leaf)
    if isinstance(leaf, list | dict) and f"{given} of" in wanted:
        given = f"{given} of {len(leaf)}"
    return f"must be {wanted}, not {given}"


def _is_unknown(value: Any, kind: str) -> bool:
    """Tell whether the value that was refused is not known, or not known in full."""
    if isinstance(value, Unknown):
        return True
    if kind not in {"value_error", "assertion_error"}:
        return False
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_is_unknown(item, kind) for item in inside)


def path_in(data: Any, loc: NodePath) -> NodePath:
    """Keep the segments of pydantic's `loc` that exist in the data: it adds tags and arms."""
    path: list[str | int] = []
    for segment in loc:
        is_key = isinstance(data, dict) and segment in data
        is_index = isinstance(data, list) and isinstance(segment, int) and segment < len(data)
        if is_key or is_index:
            path.append(segment)
            data = data[segment]
    return tuple(path)


def leaf_at(data: Any, path: NodePath) -> Any:
    for segment in path:
        data = data[segment]
    return data


def _reason(item: Any) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if context.get("method_name") == "issubclass":
        return f"must be {_PLAIN['is_type']}"
    if kind in _PLAIN:
        return f"must be {_PLAIN[kind]}"
    if kind.startswith("date_"):
        return "must be a date such as `2027-01-31`"
    if kind in _LENGTHS and isinstance(item.get("input"), str):
        # A secret, which is not shown; of other texts pydantic has a word of its own.
        return _ONE.sub(r"1 \1", _LENGTHS[kind].format_map(context))
    if kind in _LIMITS:
        limits = {name: _limit(value) for name, value in context.items()}
        wanted = _LIMITS[kind].format_map({**limits, "expected": _expected(context)})
        if context.get("field_type") == "Dictionary":
            wanted = wanted.replace("a list of", "a mapping of")
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
    return f"`{duration_text(timedelta(**parts))}`"


def _expected(context: dict[str, Any]) -> str:
    return re.sub(r"'([^']*)'", r"`\1`", str(context.get("expected", "")))
