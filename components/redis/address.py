"""A Redis URL -> one server, the master that Sentinel names, or a cluster.

In: a URL and options of redis-py. Out: a client that has done no I/O yet.
Schemes: `redis`, `rediss`, `unix`; `redis+sentinel://user:password@host:port,host:port/service/db`;
`redis+cluster://host:port,host:port`; the last two with `rediss` as well.
Refuses: anything else, without repeating it, as it may hold a password.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import RedisError


@dataclass(frozen=True, slots=True)
class Address:
    """Where Redis is: of one server the URL, else nodes with the options that the URL holds."""

    url: str
    nodes: tuple[tuple[str, int], ...]
    service: str
    options: dict[str, Any]

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
        return sentinel.master_for(self.service, **options, **self.options), sentinel

    def cluster(self, **options: Any) -> RedisCluster:
        """Make a client of the cluster; in the running event loop."""
        nodes = [ClusterNode(host, port) for host, port in self.nodes]
        return RedisCluster(startup_nodes=nodes, **options, **self.options)


def address_of(url: str) -> Address:
    """Read a URL; raises ValueError."""
    try:
        address = _read(url)
        if not address.is_cluster:
            pool: Any = address.server()[0].connection_pool
            pool.make_connection()  # what judges the options of a URL
    except (ValueError, TypeError, RedisError):
        schemes = "redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
        raise ValueError(f"`url` is no Redis URL: write {schemes}") from None
    return address


def _read(url: str) -> Address:
    scheme, plus, kind = url.partition("://")[0].partition("+")
    if not plus:
        return Address(url, (), "", {})
    if scheme not in {"redis", "rediss"} or kind not in {"sentinel", "cluster"}:
        raise ValueError(scheme)
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    nodes = [_host(host, 26379 if kind == "sentinel" else 6379) for host in hosts.split(",")]
    # redis-py reads user, password, database and the query from a plain URL
    service, _, database = parts.path.strip("/").partition("/")
    plain = f"{login}@{nodes[0][0]}" if login else nodes[0][0]
    path = f"/{database}" if kind == "sentinel" else ""
    known = dict(parse_url(urlunsplit((scheme, plain, path, parts.query, ""))))
    options = {k: v for k, v in known.items() if k not in {"host", "port", "connection_class"}}
    if scheme == "rediss":
        options["ssl"] = True
    if kind == "sentinel" and not service:
        raise ValueError(kind)
    return Address(url, tuple(nodes), service if kind == "sentinel" else "", options)


def _host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(text)
    return parts.hostname, parts.port or port
