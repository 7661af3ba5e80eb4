"""The text of a database URL -> SQLAlchemy's URL and the arguments that its driver connects with.

In: a URL as hosts hand it out, and how to connect. Out: the URL with an async driver, and
`connect_args` in that driver's own words. Refused: what is no URL (the text is not repeated, as it
holds a password), and `channel_binding=require` for asyncpg, which cannot keep the promise.

asyncpg does not know libpq's parameters as arguments, but reads them from a DSN: so they move there.
`pgbouncer=true`, which hosts write for Prisma, says the same as `pooler: transaction`.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlencode
from uuid import uuid4

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

Pooler = Literal["none", "transaction"]

_ASYNC_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
}
_LIBPQ = {
    "application_name",
    "gsslib",
    "krbsrvname",
    "options",
    "passfile",
    "service",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "target_session_attrs",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where an engine connects, and with what."""

    url: URL
    connect_args: dict[str, Any]


def target_of(
    text: str,
    *,
    pooler: Pooler = "none",
    connect_timeout: timedelta = timedelta(seconds=10),
    application_name: str | None = None,
) -> Target:
    """Read the URL; an option holds before a parameter of the URL that says the same.

    Raises ValueError where it cannot be read.
    """
    url = _parse(text)
    if url.get_backend_name() != "postgresql":
        return Target(url, {})
    behind_pooler = pooler == "transaction" or url.query.get("pgbouncer") == "true"
    url = url.difference_update_query(["pgbouncer"])
    seconds = connect_timeout.total_seconds()
    if url.get_driver_name() == "asyncpg":
        return _asyncpg(url, seconds, application_name, behind_pooler=behind_pooler)
    if url.get_driver_name() == "psycopg":
        # libpq counts in whole seconds, and takes 0 for no limit
        arguments: dict[str, Any] = {"connect_timeout": max(1, round(seconds))}
        if application_name is not None:
            arguments["application_name"] = application_name
        if behind_pooler:
            arguments["prepare_threshold"] = None
        return Target(url, arguments)
    return Target(url, {})


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # SQLAlchemy quotes what it could not read, which may be part of an unescaped password
        raise ValueError("`url` is no database URL like `postgresql://host:5432/name`") from None
    return url.set(drivername=_ASYNC_DRIVERS.get(url.drivername, url.drivername))


def _asyncpg(
    url: URL, seconds: float, application_name: str | None, *, behind_pooler: bool
) -> Target:
    if url.query.get("channel_binding") == "require":
        raise ValueError(
            "asyncpg has no channel binding, which the `channel_binding=require` of `url` demands: "
            "take it out, or write `postgresql+psycopg://`"
        )
    arguments: dict[str, Any] = {"timeout": seconds}
    moved = {name: url.query[name] for name in sorted(_LIBPQ & url.query.keys())}
    if moved:
        arguments["dsn"] = f"postgresql://?{urlencode(moved, doseq=True)}"
    if application_name is not None:
        arguments["server_settings"] = {"application_name": application_name}
    dropped = {*moved, "channel_binding", "connect_timeout"}
    if behind_pooler:
        # the next transaction may be another server's, which has not seen what was prepared;
        # and two clients' numbered names would meet on one server
        arguments["statement_cache_size"] = 0
        arguments["prepared_statement_cache_size"] = 0
        arguments["prepared_statement_name_func"] = _unique_name
        dropped |= {"statement_cache_size", "prepared_statement_cache_size"}
    return Target(url.difference_update_query(dropped), arguments)


def _unique_name() -> str:
    return f"__asyncpg_{uuid4()}__"
