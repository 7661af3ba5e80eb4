"""Options that are structures → the keys in them that nobody takes.

In: a type hint, and the data for it. Out: a `Fault` for each key of a dataclass, model or typed
dictionary that has no such field. Refuses nothing itself.
"""

import contextlib
import inspect
from collections.abc import Iterator
from dataclasses import fields as fields_of
from dataclasses import is_dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from typing_extensions import get_type_hints

from assembler.manifest.pydantic_errors import Fault

_UNIONS = (Union, UnionType)


def dropped(hint: Any, data: Any, path: tuple[str | int, ...]) -> Iterator[Fault]:
    """Find the keys under an option that no field takes: pydantic drops them, and a typo with them.

    A model that says what `extra` does is left to say it, and so is a choice of several types.
    """
    hint = _bare(hint)
    fields = _fields(hint) if isinstance(data, dict) else None
    if fields is not None:
        yield from (Fault(path, "unknown", key) for key in data if key not in fields)
    for step, inner, item in _parts(hint, fields, data):
        yield from dropped(inner, item, (*path, step))


def _bare(hint: Any) -> Any:
    """Take `Annotated` and `| None` off a hint."""
    arms = [item for item in get_args(hint) if item is not type(None)]
    is_single = get_origin(hint) in _UNIONS and len(arms) == 1
    return _bare(arms[0]) if is_single or get_origin(hint) is Annotated else hint


def _parts(hint: Any, fields: dict[str, Any] | None, data: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield the steps into `data`, each with its hint and its value."""
    inner = [item for item in get_args(hint) if item is not ...]
    if isinstance(data, list) and len(inner) == 1:
        yield from ((index, inner[0], item) for index, item in enumerate(data))
    elif isinstance(data, dict) and fields is not None:
        yield from ((key, fields[key], item) for key, item in data.items() if key in fields)
    elif isinstance(data, dict) and len(inner) == 2 and get_origin(hint) not in _UNIONS:
        yield from ((key, inner[1], item) for key, item in data.items())


def _fields(hint: Any) -> dict[str, Any] | None:
    """Return the keys that a dataclass or model takes, where it drops all others in silence."""
    if inspect.isclass(hint) and issubclass(hint, BaseModel) and "extra" not in hint.model_config:
        fields = hint.model_fields.items()
        aliases = [field.validation_alias for _, field in fields]
        if all(isinstance(alias, str | None) for alias in aliases):
            named = {name: field.annotation for name, field in fields}
            return named | {field.alias: field.annotation for _, field in fields if field.alias}
    elif inspect.isclass(hint) and is_dataclass(hint) and not hasattr(hint, "__pydantic_config__"):
        types: dict[str, Any] = {}
        with contextlib.suppress(Exception):  # a hint may name what only a type checker imports
            types = get_type_hints(hint, include_extras=True)
        return {field.name: types.get(field.name) for field in fields_of(hint) if field.init}
    return None
