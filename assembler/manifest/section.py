"""What every part of the format shares: its base, and the types of its texts.

In: plain data. Out: the same text, of a type whose name says what it is, with the pattern that the
JSON Schema shows. Refuses texts that are no import path, URL path or reference.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?\Z")
_BUILT_IN = re.compile(r"[^\W\d]\w*\Z")
_DIALECTS = {
    **dict.fromkeys(("postgres", "postgre", "pg", "psql", "asyncpg", "psycopg"), "postgresql"),
    **dict.fromkeys(("sqlite3", "aiosqlite"), "sqlite"),
}
_RESOURCE = re.compile(r"\$\{resources\.(\w+)\}\Z")


class Section(BaseModel):
    """Base of every part of the format: nothing unknown, nothing changed after it was read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, defer_build=True, validate_by_name=True, validate_by_alias=True
    )


def resource_id(text: object) -> str | None:
    """Return the id in a text that is a reference to a resource; None for all else."""
    found = _RESOURCE.match(text) if isinstance(text, str) else None
    return None if found is None else found[1]


def _resource(value: Any) -> Any:
    if isinstance(value, str) and resource_id(value) is None:
        raise ValueError("must be a reference such as `${resources.db}`")
    return value


def _import_path(value: Any) -> Any:
    if not isinstance(value, str) or "${" in value:  # the stage of references refuses these
        return value
    if not (_PATH.match(value) and ("." in value or ":" in value)):
        raise ValueError(
            f"`{value}` is no import path: write `package.module.Name` or `package.module:Name`"
        )
    return value


def _timezone(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    from assembler.manifest.schedule import read_zone  # noqa: PLC0415  # only a manifest with jobs needs it

    return read_zone(value).key


def _cron(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if "${" in value:
        raise ValueError("takes a crontab line")
    from assembler.manifest.schedule import parse  # noqa: PLC0415  # as above

    parse(value)
    return value


def _catch(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("takes an HTTP status or the path of an exception class")  # noqa: TRY004  # pydantic wants it
    if isinstance(value, int) and not 400 <= value <= 599:
        raise ValueError(f"{value} is no status of an error: use 400 to 599")
    if not isinstance(value, str) or "${" in value:
        return value
    if not (_PATH.match(value) or _BUILT_IN.match(value)):
        raise ValueError(f"`{value}` is neither an HTTP status nor the path of an exception class")
    return value


def _dialect(value: Any) -> Any:
    if isinstance(value, str):
        dialect, driver, _ = value.partition("+")
        meant = _DIALECTS.get(dialect, dialect if driver else "")
        if meant:  # no engine has that name, so the step would be skipped for ever
            raise ValueError(f"`{value}` is no dialect: write `{meant}`")
    return value


def _url_path(value: Any) -> Any:
    if isinstance(value, str) and (not value.startswith("/") or value.endswith("/")):
        raise ValueError(f"`{value}` must start with `/` and not end with it")
    return value


def _mount_path(value: Any) -> Any:
    is_refused_later = isinstance(value, str) and "${" in value  # by the stage of references
    return value if value == "/" or is_refused_later else _url_path(value)


def _endpoint_path(value: Any) -> Any:
    if isinstance(value, str) and not value.startswith("/") and "${" not in value:
        raise ValueError(f"`{value}` must start with `/`")
    return value


Catch = Annotated[int | str, BeforeValidator(_catch)]
Dialect = Annotated[str, BeforeValidator(_dialect)]
ImportPath = Annotated[
    str,
    BeforeValidator(_import_path),
    Field(
        description="A dotted import path: `package.module.Name` or `package.module:Name`.",
        json_schema_extra={"pattern": r"^[^\W\d]\w*([.:][^\W\d]\w*)+$"},
    ),
]
Cron = Annotated[str, BeforeValidator(_cron)]
Timezone = Annotated[str, BeforeValidator(_timezone)]
UrlPath = Annotated[
    str,
    BeforeValidator(_url_path),
    Field(json_schema_extra={"pattern": "^/.*[^/]$"}, examples=["/api"]),
]
MountPath = Annotated[
    str, BeforeValidator(_mount_path), Field(json_schema_extra={"pattern": "^/(.*[^/])?$"})
]
EndpointPath = Annotated[
    str, BeforeValidator(_endpoint_path), Field(json_schema_extra={"pattern": "^/"})
]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "WEBSOCKET"]
ResourceText = Annotated[
    str,
    BeforeValidator(_resource),
    Field(json_schema_extra={"pattern": r"^\$\{resources\.\w+\}$"}),
]
Responses = dict[str, dict[str, Any]]
"""Responses of OpenAPI by status, as FastAPI takes them; a `model` is the path of a class."""

OnError = Literal["fail", "degrade", "warn"]
