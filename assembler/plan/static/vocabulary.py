"""The module and name of something well known → a `Known`, or None.

What a hint may name stands here with its type: a list of types that are safe to name. All other
names only tell what a base, a decorator or a mark on a field means.
"""

import datetime as dt
import decimal
import os
import pathlib
import re
import uuid
from collections import abc
from dataclasses import dataclass
from typing import Any

from pydantic import SecretStr

MADE = "is made at run time"
TWICE = "is bound under a condition, and elsewhere to something else"

TYPES: dict[str, Any] = {
    **{
        f"builtins.{kind.__name__}": kind
        for kind in (int, float, str, bool, bytes, list, dict, tuple, set, frozenset, type)
    },
    **{f"typing.{kind.__name__.title()}": kind for kind in (list, dict, tuple, set, type)},
    **{
        f"{module}.{name}": getattr(abc, name)
        for module in ("collections.abc", "typing")
        for name in (
            *("Callable", "Collection", "Iterable", "Mapping", "MutableMapping"),
            *("MutableSequence", "Sequence", "Set"),
        )
    },
    **{f"datetime.{kind.__name__}": kind for kind in (dt.timedelta, dt.datetime, dt.date, dt.time)},
    "decimal.Decimal": decimal.Decimal,
    "os.PathLike": os.PathLike,
    "pathlib.Path": pathlib.Path,
    "pydantic.SecretStr": SecretStr,
    "re.Pattern": re.Pattern,
    "uuid.UUID": uuid.UUID,
}
ENUMS = frozenset({"enum.Enum", "enum.StrEnum", "enum.IntEnum"})
NO_INIT = frozenset({"builtins.object", "abc.ABC", "typing.Generic"})
PLAIN = frozenset({"builtins.staticmethod", "builtins.classmethod", "abc.abstractmethod"})
# Decorators that leave the parameters as they are.
NEUTRAL = PLAIN | {
    *("functools.cache", "functools.lru_cache", "typing.final", "typing.override"),
    *("contextlib.contextmanager", "contextlib.asynccontextmanager"),
}
WRAPPERS = frozenset(
    {
        "typing.Final",
        "typing.ClassVar",
        "dataclasses.InitVar",
        "typing.NotRequired",
        "typing.Required",
    }
)
_OTHERS = frozenset(
    {"typing.Any", "typing.Literal", "typing.Annotated", "typing.Optional", "typing.Union"}
    | {
        "typing.Protocol",
        "abc.ABCMeta",
        "functools.partial",
        "pydantic.AfterValidator",
        "pydantic.Field",
        "pydantic.BaseModel",
    }
    | {"assembler.Resource", "fastapi.Depends"}
    | {"dataclasses.dataclass", "dataclasses.field", "dataclasses.KW_ONLY"}
)
_KNOWN = _OTHERS.union(TYPES, ENUMS, NO_INIT, NEUTRAL, WRAPPERS)
# Of a hint, these say nothing of what a manifest may write: their modules, large ones, are not read.
UNTELLING = frozenset(
    {
        *("typing.IO", "typing.NamedTuple", "typing.TypedDict", "typing_extensions.TypedDict"),
        *("configparser.RawConfigParser", "httpx.AsyncClient", "httpx2.AsyncClient"),
        *(
            f"fastapi.{mark}"
            for mark in ("Body", "Cookie", "File", "Form", "Header", "Path", "Query")
        ),
        *(f"fastapi.{name}" for name in ("APIRouter", "FastAPI", "Request", "Response")),
        *("starlette.applications.Starlette", "starlette.requests.Request"),
        *(
            f"{package}.responses.{kind}Response"
            for package in ("fastapi", "starlette")
            for kind in ("", "File", "HTML", "JSON", "PlainText", "Redirect", "Streaming")
        ),
        *("sqlalchemy.ext.asyncio.AsyncEngine", "sqlalchemy.ext.asyncio.AsyncSession"),
    }
)
_SAME_MODULE = {
    "typing_extensions": "typing",
    "pydantic.fields": "pydantic",
    "pydantic.functional_validators": "pydantic",
    "pydantic.main": "pydantic",
    "pydantic.types": "pydantic",
}


class Known(str):
    """The path of something well known; equal to that text."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Opaque:
    """Something that exists, of which the source tells no more."""

    why: str
    module: str | None = None


class Unreadable(Exception):  # noqa: N818  # it never leaves this package
    """What the source does not tell; the text says why."""


def known(module: str, name: str) -> Known | None:
    """Look up what `module` calls `name`."""
    path = f"{_SAME_MODULE.get(module, module)}.{name}"
    return Known(path) if path in _KNOWN else None
