"""The text of a database URL -> SQLAlchemy's URL and the arguments that its driver connects with.

In: a URL as hosts hand it out, and how to connect. Out: the URL with an async driver, and
`connect_args` in that driver's own words. Refused: what is no URL (the text is not repeated, as it
holds a password), a parameter that nobody knows, and by its name one whose promise the driver cannot
keep, such as `channel_binding=require` for asyncpg.

The parameters are those of libpq (https://www.postgresql.org/docs/18/libpq-connect.html), of Prisma,
of JDBC and of the drivers. psycopg hands libpq's on; asyncpg reads some from a DSN, so they move
there. What only tunes libpq's own socket (`keepalives…`) is left out for asyncpg, which leaves that to
the machine. `connect_timeout` is left out: the option of the engine holds.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import unquote, urlencode
from uuid import uuid4

from pydantic import SecretStr
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

Pooler = Literal["none", "transaction"]

_ASYNC_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
}
_PORT = 5432
# asyncpg reads these from a DSN, and takes none of them as an argument
_DSN = frozenset(
    {
        *("application_name", "options", "passfile", "service", "krbsrvname", "gsslib"),
        *("sslmode", "sslcert", "sslkey", "sslpassword", "sslrootcert", "sslcrl"),
        *("sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version"),
        "target_session_attrs",
    }
)
_ANY = None
# What asyncpg does anyway, by the values that say so (in lower case); it cannot do the others.
_ASYNCPG_LEAVES_OUT: Mapping[str, frozenset[str] | None] = {
    "channel_binding": frozenset({"disable", "prefer"}),
    "client_encoding": frozenset({"utf8", "utf-8", "unicode", "auto"}),
    "gssdelegation": frozenset({"0"}),
    "gssencmode": frozenset({"disable", "prefer"}),
    "load_balance_hosts": frozenset({"disable"}),
    "min_protocol_version": frozenset({"3.0"}),
    "replication": frozenset({"false", "off", "no", "0"}),
    "require_auth": frozenset({""}),
    "sslcertmode": frozenset({"allow", "disable"}),
    "sslsni": frozenset({"1"}),
    **dict.fromkeys(
        (
            *("connect_timeout", "keepalives", "keepalives_idle", "keepalives_interval"),
            *("keepalives_count", "max_protocol_version", "sslcompression", "tcp_user_timeout"),
        ),
        _ANY,
    ),
    **dict.fromkeys(
        (
            *("hostaddr", "oauth_client_id", "oauth_client_secret", "oauth_issuer", "oauth_scope"),
            *("requirepeer", "scram_client_key", "scram_server_key", "servicefile", "sslcrldir"),
            "sslkeylogfile",
        ),
        frozenset(),
    ),
}
_LIBPQ = _DSN | _ASYNCPG_LEAVES_OUT.keys() | {"fallback_application_name"}
# of other libraries, about what is an option of the engine here, or nothing at all
_LEFT_OUT: Mapping[str, frozenset[str] | None] = {
    **dict.fromkeys(("pool_timeout", "socket_timeout", "async_fallback"), _ANY),
    "schema": frozenset({"public"}),
    "sslaccept": frozenset({"accept_invalid_certs"}),
}
_REMEDIES = {
    "schema": "write `options=-csearch_path%3D…`",
    "sslaccept": "write `sslmode=verify-full`",
    "sslidentity": "write `sslcert` and `sslkey`",
    "command_timeout": "write `options=-cstatement_timeout%3D…`",
}
_CACHES = frozenset({"statement_cache_size", "prepared_statement_cache_size"})
_OF_ASYNCPG = frozenset(
    {"max_cached_statement_lifetime", "max_cacheable_statement_size", "command_timeout"}
)
_SSL_WORDS = {"true": "require", "1": "require", "false": "disable", "0": "disable"}
_NAME = re.compile(r"[A-Za-z][A-Za-z_]{0,39}")


@dataclass(frozen=True, slots=True)
class Target:
    """Where an engine connects, and with what; `most` connections where the URL bounds them."""

    url: URL
    connect_args: dict[str, Any]
    most: int | None = None


def readable(url: str | SecretStr) -> str | SecretStr:
    """Give a URL back that `target_of` can read; raises ValueError."""
    found = target_of(url.get_secret_value() if isinstance(url, SecretStr) else url).url
    try:
        found.get_dialect()
    except NoSuchModuleError:
        raise ValueError(f"`url` names no database here: `{found.drivername}`") from None
    return url


def target_of(
    text: str,
    *,
    pooler: Pooler = "none",
    connect_timeout: timedelta = timedelta(seconds=10),
    application_name: str | None = None,
) -> Target:
    """Read the URL; an option holds before a parameter of the URL that says the same.

    Raises ValueError where it cannot be read, or its driver cannot keep it.
    """
    url = _parse(text)
    if url.get_backend_name() != "postgresql":
        return Target(url, {})
    driver = url.get_driver_name()
    if driver not in {"asyncpg", "psycopg", "psycopg_async"}:
        return Target(url, {})
    url, given = _parts(url)
    behind_pooler = pooler == "transaction" or given.pop("pgbouncer", "").lower() in {"true", "1"}
    most = _number("connection_limit", given.pop("connection_limit", None), least=1)
    behind_pooler |= _number("prepareThreshold", given.pop("prepareThreshold", None)) == 0
    _say_ssl_as_libpq(given)
    if application_name is not None:
        given["application_name"] = application_name
    make = _asyncpg if driver == "asyncpg" else _psycopg
    found, arguments = make(given, connect_timeout.total_seconds(), behind_pooler=behind_pooler)
    return Target(url.update_query_dict(found), arguments, most)


def _parse(text: str) -> URL:
    try:
        head, hosts, tail = _split(text)
        several = "," in hosts and head.startswith("postgres")
        url = make_url(f"{head}{tail}" if several else text)
        if several:
            names, ports = zip(*map(_host, hosts.split(",")), strict=True)
            url = url.update_query_dict({"host": ",".join(names), "port": ",".join(ports)})
    except (ArgumentError, ValueError):
        # SQLAlchemy quotes what it could not read, which may be part of an unescaped password
        raise ValueError("`url` is no database URL like `postgresql://host:5432/name`") from None
    return url.set(drivername=_ASYNC_DRIVERS.get(url.drivername, url.drivername))


def _split(text: str) -> tuple[str, str, str]:
    """Return what stands before the hosts, the hosts, and what stands after."""
    scheme, separator, rest = text.partition("://")
    end = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
    login, at, hosts = rest[:end].rpartition("@")
    return f"{scheme}{separator}{login}{at}", hosts, rest[end:]


def _host(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::(\d+))?", text)
    if match is None:
        raise ValueError(text)
    return unquote(match[1] or match[2]), match[3] or str(_PORT)


def _parts(url: URL) -> tuple[URL, dict[str, str]]:
    """Return the URL with the parts that may stand in its query, and the other parameters."""
    given = {
        name: value if isinstance(value, str) else value[-1] for name, value in url.query.items()
    }
    hosts, ports = url.query.get("host"), given.pop("port", None)
    place: dict[str, Any] = {}
    if given.pop("host", None) and hosts:
        place["host"] = hosts
        port = str(url.port or _PORT)  # of several hosts, asyncpg wants each one's
        if ports is None and isinstance(hosts, tuple):
            place["host"] = tuple(each if ":" in each else f"{each}:{port}" for each in hosts)
        elif ports is None and isinstance(hosts, str) and "," in hosts:
            ports = ",".join([port] * len(hosts.split(",")))
    if ports is not None and ports.isdecimal():
        url = url.set(port=int(ports))
    elif ports is not None:
        place["port"] = ports
    url = url.set(
        query=place,
        username=given.pop("user", url.username),
        password=given.pop("password", url.password),
        database=given.pop("dbname", given.pop("database", url.database)),
    )
    return url, given


def _say_ssl_as_libpq(given: dict[str, str]) -> None:
    """Say `ssl` (asyncpg, JDBC) and `requiressl` (older libpq) by `sslmode`."""
    ssl, required = given.pop("ssl", None), given.pop("requiressl", None)
    if required == "1":
        given.setdefault("sslmode", "require")
    if ssl is not None:
        given.setdefault("sslmode", _SSL_WORDS.get(ssl.lower(), ssl))


def _asyncpg(
    given: dict[str, str], seconds: float, *, behind_pooler: bool
) -> tuple[dict[str, str], dict[str, Any]]:
    arguments: dict[str, Any] = {"timeout": seconds}
    if "fallback_application_name" in given:
        given.setdefault("application_name", given.pop("fallback_application_name"))
    for name in ("fallback_application_name", "prepare_threshold"):  # it prepares for its cache
        given.pop(name, "")
    for name in _CACHES | _OF_ASYNCPG:
        if (number := _number(name, given.pop(name, None))) is not None:
            arguments[name] = number
    if behind_pooler:
        # the next transaction may be another server's, which has not seen what was prepared;
        # and two clients' numbered names would meet on one server
        arguments |= dict.fromkeys(_CACHES, 0)
        arguments["prepared_statement_name_func"] = _unique_name
    if given.get("sslrootcert") == "system":
        _trust_the_system(given)
        arguments["ssl"] = True  # the authorities of the machine, and the name of the host
    for name in sorted(given.keys() - _DSN):
        _leave_out(name, given.pop(name), _ASYNCPG_LEAVES_OUT, "asyncpg")
    if name := given.pop("application_name", ""):
        arguments["server_settings"] = {"application_name": name}
    if given:
        arguments["dsn"] = f"postgresql://?{urlencode(sorted(given.items()))}"
    return {}, arguments


def _trust_the_system(given: dict[str, str]) -> None:
    """Take out what says so. Raises ValueError where that is not all, as libpq does."""
    del given["sslrootcert"]
    if given.pop("sslmode", "verify-full") != "verify-full":
        raise ValueError("`sslrootcert=system` of `url` needs `sslmode=verify-full`")
    if more := sorted(name for name in given if name.startswith("ssl") and name in _DSN):
        raise ValueError(
            f"asyncpg takes no `{more[0]}` beside `sslrootcert=system`: name a file of "
            "authorities, or write `postgresql+psycopg://`"
        )


def _psycopg(
    given: dict[str, str], seconds: float, *, behind_pooler: bool
) -> tuple[dict[str, str], dict[str, Any]]:
    # libpq counts in whole seconds, and takes 0 for no limit
    arguments: dict[str, Any] = {"connect_timeout": max(1, round(seconds))}
    given.pop("connect_timeout", "")
    sizes = [_number(name, given.pop(name, None)) for name in sorted(_CACHES)]
    threshold = _number("prepare_threshold", given.pop("prepare_threshold", None))
    for name in _OF_ASYNCPG - {"command_timeout"}:
        given.pop(name, "")
    if name := given.pop("application_name", ""):
        arguments["application_name"] = name
    if behind_pooler or 0 in sizes:
        arguments["prepare_threshold"] = None
    elif threshold is not None:
        arguments["prepare_threshold"] = threshold
    for name in sorted(given.keys() - _LIBPQ):
        _leave_out(name, given.pop(name), {}, "psycopg")
    return given, arguments


def _leave_out(
    name: str, value: str, known: Mapping[str, frozenset[str] | None], driver: str
) -> None:
    """Leave out a parameter that says nothing here; raises ValueError for any other."""
    table = known if name in known else _LEFT_OUT
    values = table.get(name, frozenset())
    if values is _ANY or value.lower() in values:
        return
    if name in _REMEDIES:
        raise ValueError(f"`{name}` of `url` is not what {driver} takes: {_REMEDIES[name]}")
    if name in known:
        raise ValueError(
            f"asyncpg cannot keep what `{name}` of `url` demands: take it out, or write "
            "`postgresql+psycopg://`"
        )
    what = f": `{name}`" if _NAME.fullmatch(name) else ""
    raise ValueError(
        f"`url` has a parameter that {driver} does not take{what}; settings of the server are "
        "written as `options=-cNAME%3DVALUE`"
    )


def _number(name: str, value: str | None, least: int = 0) -> int | None:
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) >= least):
        raise ValueError(f"`{name}` of `url` must be a number of {least} or more")
    return int(value)


def _unique_name() -> str:
    return f"__asyncpg_{uuid4()}__"
