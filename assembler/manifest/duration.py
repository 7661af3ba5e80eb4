"""`10s` → `timedelta`, and back.

In: the text of a duration. Out: the `timedelta`, and `Duration`, the type of an option that takes
one. Refuses bare numbers, other units, nothing at all, and more than 366 days.
"""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_TEXT = re.compile(r"([0-9]{1,12})(ms|s|m|h)\Z")
_SIZES = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}  # in milliseconds
_LONGEST = timedelta(days=366)


def is_duration(text: str) -> bool:
    """Tell whether `text` has the form of a duration, whatever its length."""
    return _TEXT.match(text) is not None


def parse_duration(value: Any) -> timedelta:
    """Read `250ms`, `10s`, `5m` or `1h`; 1 ms to 366 days. Raises `ValueError` otherwise."""
    if isinstance(value, timedelta):
        return value
    match = _TEXT.match(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("must be a duration such as `250ms`, `10s`, `5m` or `1h`")
    try:
        duration = timedelta(milliseconds=int(match[1]) * _SIZES[match[2]])
    except OverflowError:
        duration = timedelta.max
    if not timedelta(milliseconds=1) <= duration <= _LONGEST:
        raise ValueError("must be a duration from `1ms` to `8784h`")
    return duration


def duration_text(duration: timedelta) -> str:
    """Write whole milliseconds in the largest unit that takes them."""
    milliseconds = duration // timedelta(milliseconds=1)
    unit, size = next((unit, size) for unit, size in _SIZES.items() if milliseconds % size == 0)
    return f"{milliseconds // size}{unit}"


DURATION_SCHEMA = {"type": "string", "pattern": r"^[0-9]+(ms|s|m|h)$", "examples": ["10s", "5m"]}


class _DurationSchema(WithJsonSchema):
    """A new one each time: pydantic before 2.9 writes what is said of a field into what it gets."""

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        return dict(DURATION_SCHEMA)


Duration = Annotated[timedelta, BeforeValidator(parse_duration), _DurationSchema(DURATION_SCHEMA)]
