"""Marks that leaves of plain data carry where they came from elsewhere.

`Text` comes from the environment, `Held` from settings, `ResourceRef` stands for an object that
will exist later, `Unknown` for what only a running process knows. Refuses nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
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
    reveal = getattr(value, "get_secret_value", None)
    return str(reveal()) if callable(reveal) else value


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
