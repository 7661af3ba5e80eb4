"""Marks that leaves of plain data carry where they came from elsewhere.

`Text` comes from the environment, `Held` from settings, `ResourceRef` stands for an object that
will exist later, `Unknown` for what only a running process knows. What settings hold becomes plain
data and text here, without the `repr` of anything.
"""

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any, Self

from assembler.diagnostics.secrets import redact

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


def revealed(value: Any) -> Any:
    """Return the text of a pydantic secret, and any other value as it is."""
    if not is_secret(value):
        return value
    try:
        return text_of(value)
    except TypeError:
        return value


def is_secret(value: Any) -> bool:
    """Tell whether `value` is one of pydantic's secrets."""
    return not isinstance(value, type) and callable(getattr(value, "get_secret_value", None))


def text_of(value: Any) -> str:
    """Return what `value` says as a text; raises `TypeError` where it is no text."""
    plain = plain_of(value)
    if isinstance(plain, bool):
        return "true" if plain else "false"
    if plain is None or isinstance(plain, list | dict):
        kind = "null" if plain is None else f"of type `{type(value).__name__}`"
        raise TypeError(f"is {kind}, which is no text")
    return str(plain)


def plain_of(value: Any) -> Any:
    """Return a value of settings as text, number, boolean, null, or lists and mappings of these.

    An enum's member is its value, a secret what it hides, bytes are UTF-8, a `timedelta` is a
    duration of the format; paths, URLs, dates and the like are their text. Raises `TypeError` for
    all else: what an object means is not what `repr` writes.
    """
    if value is None or type(value) in {str, int, float, bool}:
        return value
    if is_secret(value):
        return plain_of(value.get_secret_value())
    if isinstance(value, Enum):
        return plain_of(value.value)
    if isinstance(value, str):  # a class of its own, whose `str()` may say anything
        return str.__str__(value)
    if isinstance(value, timedelta):
        if value % timedelta(milliseconds=1):
            raise TypeError("is no whole number of milliseconds")
        return f"{value // timedelta(milliseconds=1)}ms"
    if isinstance(value, Mapping):
        return {text_of(key): plain_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple | deque):
        return [plain_of(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(map(plain_of, value), key=str)
    return _written(value)


def _written(value: Any) -> str | int | float:
    """Write one of the types that pydantic knows a text or number for."""
    from pydantic_core import PydanticSerializationError, to_jsonable_python  # noqa: PLC0415  # only settings of such types need it

    message = f"is of type `{type(value).__name__}`, which is no text"
    if isinstance(value, Iterator):  # it would be used up
        raise TypeError(message)
    try:
        written = to_jsonable_python(value)
    except (PydanticSerializationError, ValueError):
        if isinstance(value, bytes | bytearray):
            message = "holds bytes that are not UTF-8"
        raise TypeError(message) from None
    if isinstance(written, str | int | float):
        return written
    raise TypeError(message)


def marked(value: Any, reference: str) -> Any:
    """Mark every text of plain data as what `reference` brought."""
    if isinstance(value, str):
        return Text(value, reference)
    if isinstance(value, list):
        return [marked(item, reference) for item in value]
    if isinstance(value, dict):
        return {key: marked(item, reference) for key, item in value.items()}
    return value


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
