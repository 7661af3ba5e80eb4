"""An object of one process → what it is, in words that mean the same in another process.

In: any object, and the name that it goes by. Out: data that JSON can write. Two objects of one
description do the same, as far as one can see from outside: functions and classes are told by where
they are defined and what they hold, values by themselves, other objects by their class and their
attributes. Secrets are told by a hash, so that they can be compared and are never shown. Runs none of
the code of what it describes, `__repr__` included.
"""

import enum
import functools
import hashlib
import inspect
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import SecretBytes, SecretStr
from starlette.applications import Starlette

from assembler.adopt.lifting import origin_of
from assembler.diagnostics.exceptions import is_users
from assembler.diagnostics.secrets import is_secret, url_secrets

_DEPTH = 5
_MOST, _MOST_INSIDE = 500, 50  # items of one collection, and of one inside another
_WRITTEN = (Decimal, UUID, PurePath, date, time, timedelta, ZoneInfo)
_SECRETS = (SecretStr, SecretBytes)
_SIMPLE = (bool, int, float, str, bytes, type, FunctionType, enum.Enum, *_SECRETS, *_WRITTEN)
_MISSING: Any = object()


def describe(value: Any, name: str = "", depth: int = _DEPTH) -> Any:
    """Return what `value` is; what lies deeper than `depth` is told by its kind alone."""
    if isinstance(value, SecretStr | SecretBytes):
        return _hashed(value.get_secret_value())
    if isinstance(value, enum.Enum):
        return f"{path_of(type(value))}.{value.name}"
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str):
        is_hidden = (value and name and is_secret(name, "option")) or any(url_secrets(value))
        return _hashed(value) if is_hidden else str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, re.Pattern):
        return {"pattern": str(value.pattern), "flags": value.flags}
    if isinstance(value, _WRITTEN):
        return str(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _collection(value, name, depth)
    return _object(value, depth)


def written(value: Any) -> str:
    """Return a description as canonical JSON."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def shown(value: Any) -> str:
    """Return a description as people read it, in one line."""
    if isinstance(value, Mapping):
        if value.keys() == {"secret"}:
            return "a secret"
        if "object" in value:
            return f"a `{value['object']}`"
        if "function" in value:
            return f"`{value['function']}` of its own"
        return written({key: _readable(item) for key, item in value.items()})
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    return f"`{value}`" if isinstance(value, str) else written(value)


def _readable(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {"secret"}:
            return "(a secret)"
        return {key: _readable(item) for key, item in value.items()}
    return [_readable(item) for item in value] if isinstance(value, list) else value


def path_of(kind: Any) -> str:
    """Return the import path of a class or function, a `<locals>` in it included."""
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def _hashed(value: str | bytes) -> Any:
    data = value if isinstance(value, bytes) else value.encode("utf-8", "backslashreplace")
    return {"secret": hashlib.blake2b(data, digest_size=12).hexdigest()}


def _collection(value: Any, name: str, depth: int) -> Any:
    if not depth:
        return f"{len(value)} items"
    most = _MOST if depth >= _DEPTH - 1 else _MOST_INSIDE
    if isinstance(value, Mapping):
        pairs = list(value.items())[:most]
        names = [key if isinstance(key, str) else written(describe(key)) for key, _ in pairs]
        return {
            key: describe(item, key, depth - 1) for key, (_, item) in zip(names, pairs, strict=True)
        }
    items = [describe(item, name, depth - 1) for item in list(value)[:most]]
    is_ordered = isinstance(value, list | tuple)
    return items if is_ordered else {"set": sorted(items, key=written)}


def _object(value: Any, depth: int) -> Any:
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, functools.partial):
        given = [describe(item, "", depth - 1) for item in value.args] if depth else []
        return {
            "function": _name(describe(value.func)),
            "given": [given, _collection(value.keywords, "", depth)],
        }
    if isinstance(value, MethodType):
        bound = value.__self__
        name = f"{path_of(type(bound))}.{value.__func__.__name__}"
        if isinstance(bound, type):
            return f"{path_of(bound)}.{value.__func__.__name__}"
        return {"function": name, "of": describe(bound, "", depth - 1)} if depth else name
    if isinstance(value, FunctionType):
        return _function(value, depth)
    if isinstance(value, type | BuiltinFunctionType):
        return path_of(value)
    if hasattr(type(value), "__origin__") or type(value).__module__ in {"typing", "types"}:
        return _hint(value)
    return _instance(value, depth)


def _name(described: Any) -> str:
    return str(described.get("function", described)) if isinstance(described, dict) else described


def _function(value: FunctionType, depth: int) -> Any:
    """Tell a function by its place, and one that was made by another function by what it holds."""
    wrapped = inspect.unwrap(value)
    inner = wrapped if isinstance(wrapped, FunctionType) else value
    lifted = origin_of(inner)
    name = path_of(inner) if lifted is None else lifted[0]
    if "<lambda>" in name:
        name += f":{value.__code__.co_firstlineno}"
    cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
    kept = {} if lifted is None or not depth else lifted[1]
    held = {free: describe(content, free, depth - 1) for free, content in kept.items()}
    for free, cell in cells if depth else ():
        try:
            content = cell.cell_contents
        except ValueError:  # not set yet
            continue
        if content is not value and content is not wrapped:
            held[free] = describe(content, free, depth - 1)
    return {"function": name, "holds": held} if held else name


def _hint(value: Any) -> str:
    """Write a type hint; `repr` of `typing` is Python's own code."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _instance(value: Any, depth: int) -> Any:
    kind = type(value)
    if isinstance(value, Starlette):  # compared part by part, by who asks
        return "the application"
    if kind.__name__ == "DefaultPlaceholder":  # FastAPI's, for what nobody has said
        return describe(value.value, "", depth)
    facts: dict[str, Any] = {"object": path_of(kind)}
    if not depth:
        return facts
    is_own = is_users(getattr(inspect.getmodule(kind), "__file__", None) or "<none>")
    found = {}
    for name, item in _attributes(value).items():
        # What a library keeps for itself may change from one run to the next.
        if is_own or (not name.startswith("_") and _is_simple(item)):
            found[name] = describe(item, name, depth - 1)
    return facts | ({"holds": found} if found else {})


def _attributes(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in type(value).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            mangled = f"_{kind.__name__}{name}" if name.startswith("__") else name
            item = inspect.getattr_static(value, mangled, _MISSING)
            if inspect.ismemberdescriptor(item):
                try:
                    item = item.__get__(value)
                except AttributeError:
                    continue
                found[name] = item
    with suppress(AttributeError):  # it has slots alone
        found.update(object.__getattribute__(value, "__dict__"))
    return dict(sorted((str(name), item) for name, item in found.items()))


def _is_simple(value: Any) -> bool:
    if isinstance(value, list | tuple | set | frozenset):
        return all(_is_simple(item) for item in list(value)[:_MOST])
    return value is None or isinstance(value, _SIMPLE)
