"""A Redis URL -> one server, the master that Sentinel names, or a cluster.

In: a URL and options of redis-py. Out: a client that has done no I/O yet.
Schemes: `redis`, `rediss`, `unix`; `redis+sentinel://user:password@host:port,host:port/service/db`;
`redis+cluster://host:port,host:port`; the last two with `rediss` as well.
Refuses: anything else, without repeating it, as it may hold a password; an option that redis-py does
not have, by its name.

Hosts and other libraries write options into URLs that would break what is built on a client, such as
`decode_responses`: those are left out. `max_connections` is a bound for the user of the client, since
a pool of redis-py that has reached its own fails, as if Redis were away.
"""

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError

_SCHEMES = "redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
_KEPT = frozenset(
    {
        *("db", "username", "password", "client_name", "lib_name", "lib_version"),
        *("socket_timeout", "socket_connect_timeout", "socket_keepalive", "socket_read_size"),
        *("health_check_interval", "retry_on_timeout"),
    }
)
# What answers look like, and how a pool waits, is for the code that asks.
_LEFT_OUT = frozenset(
    {
        *("decode_responses", "encoding", "encoding_errors", "protocol", "legacy_responses"),
        *("timeout", "retry_on_error", "skip_full_coverage_check"),
    }
)
_OF_TLS = frozenset(
    {
        *("ssl_cert_reqs", "ssl_certfile", "ssl_keyfile", "ssl_password", "ssl_ca_certs"),
        *("ssl_ca_path", "ssl_ca_data", "ssl_check_hostname", "ssl_min_version", "ssl_ciphers"),
    }
)
_NOT_OF_CLUSTERS = frozenset({"ssl_ca_path", "ssl_password"})
_NAME = re.compile(r"[A-Za-z][A-Za-z_]{0,39}")


class _OptionError(ValueError):
    """An option of the URL cannot be; the text names it, and holds no value."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where Redis is: of one server the URL, else nodes with the options that the URL holds."""

    url: str
    nodes: tuple[tuple[str, int], ...]
    service: str
    options: dict[str, Any]
    max_connections: int | None = None  # as the URL says

    @property
    def is_cluster(self) -> bool:
        return bool(self.nodes) and not self.service

    def server(self, **options: Any) -> tuple[Redis, Sentinel | None]:
        """Make a client of the server or of Sentinel's master, and give that Sentinel to close."""
        if not self.nodes:
            return Redis.from_url(self.url, **options), None
        asking = {name: options[name] for name in ("retry", "protocol") if name in options}
        typed: Any = Sentinel  # redis-py does not type it
        sentinel = typed(self.nodes, sentinel_kwargs=asking)
        return sentinel.master_for(self.service, **{**options, **self.options}), sentinel

    def cluster(self, **options: Any) -> RedisCluster:
        """Make a client of the cluster; in the running event loop."""
        nodes = [ClusterNode(host, port) for host, port in self.nodes]
        return RedisCluster(startup_nodes=nodes, **{**options, **self.options})


def address_of(url: str) -> Address:
    """Read a URL; raises ValueError."""
    try:
        address = _read(url)
        if not address.is_cluster:
            pool: Any = address.server()[0].connection_pool
            pool.make_connection()  # what judges the options of a URL
    except _OptionError:
        raise
    except (ValueError, TypeError, RedisError) as error:
        if bad := re.match(r"Invalid value for '(\w+)' in connection URL", str(error)):
            raise ValueError(f"`{bad[1]}` of `url` has a value that it cannot have") from None
        raise ValueError(f"`url` is no Redis URL: write {_SCHEMES}") from None
    return address


def _read(url: str) -> Address:
    scheme, plus, kind = url.partition("://")[0].partition("+")
    parts = urlsplit(url)
    query, most = _query(parts.query, has_tls=scheme == "rediss", is_cluster=kind == "cluster")
    if not plus:
        return Address(urlunsplit(parts._replace(query=query)), (), "", {}, most)
    if scheme not in {"redis", "rediss"} or kind not in {"sentinel", "cluster"}:
        raise ValueError(scheme)
    login, _, hosts = parts.netloc.rpartition("@")
    nodes = [_host(host, 26379 if kind == "sentinel" else 6379) for host in hosts.split(",")]
    # redis-py reads user, password, database and the query from a plain URL
    service, _, database = parts.path.strip("/").partition("/")
    if kind == "cluster":
        service, database = "", service
    plain = f"{login}@{nodes[0][0]}" if login else nodes[0][0]
    known = dict(parse_url(urlunsplit((scheme, plain, f"/{database}", query, ""))))
    options = {k: v for k, v in known.items() if k not in {"host", "port", "connection_class"}}
    if scheme == "rediss":
        options["ssl"] = True
    if kind == "sentinel" and not service:
        raise ValueError(kind)
    if kind == "cluster" and options.pop("db", 0):
        raise _OptionError("a Redis cluster has no databases: take the number out of `url`")
    return Address(url, tuple(nodes), service, options, most)


def _query(text: str, *, has_tls: bool, is_cluster: bool) -> tuple[str, int | None]:
    """Return the options that clients take, and the bound of connections; raises ValueError."""
    if "@" in text:  # of a password that nobody has quoted
        raise ValueError(text)
    given = dict(parse_qsl(text, keep_blank_values=True))
    most = given.pop("max_connections", None)
    if most is not None and not re.fullmatch(r"0*[1-9][0-9]{0,5}", most, re.ASCII):
        raise _OptionError("`max_connections` of `url` must be a number of 1 or more")
    kept = {}
    for name, value in given.items():
        found = _of_tls(name, value, has_tls=has_tls) if name in _OF_TLS else _plain(name, value)
        if found is not None:
            kept[name] = found
    if is_cluster:
        kept.pop("retry_on_timeout", None)
        if of_servers := next((name for name in kept if name in _NOT_OF_CLUSTERS), None):
            raise _OptionError(f"`url` has an option that a cluster does not take: `{of_servers}`")
    return urlencode(kept), None if most is None else int(most)


def _plain(name: str, value: str) -> str | None:
    """Return an option as it is; None for one that says nothing of the server."""
    if name in {"ssl", "tls"}:
        if value.lower() not in {"false", "0", "no"}:
            raise _OptionError(f"`{name}` of `url` is told by its scheme: write rediss://")
        return None
    if name not in _KEPT | _LEFT_OUT:
        what = f"`{name}`" if _NAME.fullmatch(name) else "that"
        raise _OptionError(f"`url` has an option that a client of Redis does not take: {what}")
    return value if name in _KEPT else None


def _of_tls(name: str, value: str, *, has_tls: bool) -> str | None:
    """Return an option of TLS as redis-py has it; None for what says nothing without TLS."""
    if name == "ssl_cert_reqs":
        value = value.lower().removeprefix("ssl.").removeprefix("cert_")
        if value not in {"none", "optional", "required"}:
            raise _OptionError("`ssl_cert_reqs` of `url` must be none, optional or required")
        if value == "none" and not has_tls:
            return None
    if not has_tls:
        raise _OptionError(f"`{name}` of `url` needs TLS: write rediss://")
    return value


def _host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(text)
    return parts.hostname, parts.port or port
