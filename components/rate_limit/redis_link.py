"""The way to Redis: one server, the master that Sentinel names, or a cluster.

In: a URL; then batches of keys. Out: the script's reply.
Schemes: `redis`, `rediss`, `unix`; `redis+sentinel://user:password@host:port,host:port/service/db`;
`redis+cluster://host:port,host:port`; the last two with `rediss` as well.
Refuses: anything else, without repeating it, as it may hold a password.

A link has a connection of its own and tries once; the deadline is its caller's.
"""

import asyncio
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from components.rate_limit.redis_script import LUA, SHA, command


class RefusedError(Exception):
    """No connection could be made."""


class Link(Protocol):
    async def evaluate(self, keys: list[bytes], plans: str, hits: list[str]) -> bytes:
        """Run the script over a batch; raises RefusedError, RedisError or OSError."""
        ...

    async def close(self) -> None:
        """Drop the connection; the next call makes a new one."""
        ...


def link_to(url: str) -> Link:
    """Make a link, without I/O."""
    try:
        return _link(url)
    except (ValueError, TypeError, RedisError):
        schemes = "redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
        raise ValueError(f"`url` is no Redis URL: write {schemes}") from None


def _link(url: str) -> Link:
    scheme, plus, kind = url.partition("://")[0].partition("+")
    options: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        # the queue's deadline is enough, and each timeout of redis-py costs every call
        "socket_timeout": None,
        "socket_connect_timeout": None,
    }
    if not plus:
        return ConnectionLink(Redis.from_url(url, **options))
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
    options |= {k: v for k, v in known.items() if k not in {"host", "port", "connection_class"}}
    if scheme == "rediss":
        options["ssl"] = True
    if kind == "cluster":
        return ClusterLink([ClusterNode(host, port) for host, port in nodes], options)
    if not service:
        raise ValueError(kind)
    typed: Any = Sentinel  # redis-py does not type it
    asking = {name: options[name] for name in ("retry", "protocol")}
    sentinel = typed(nodes, sentinel_kwargs=asking)
    return ConnectionLink(sentinel.master_for(service, **options), sentinel)


def _host(text: str, port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(text)
    return parts.hostname, parts.port or port


class ConnectionLink:
    """One connection, which the client's pool makes as the URL says, and does not keep."""

    def __init__(self, client: Redis, sentinel: Sentinel | None = None) -> None:
        pool: Any = client.connection_pool  # redis-py types neither it nor its connections
        self._connection: Any = pool.make_connection()
        self._client = client  # what a Sentinel's connection asks for its address
        self._sentinel = sentinel

    async def evaluate(self, keys: list[bytes], plans: str, hits: list[str]) -> bytes:
        connection, text = self._connection, " ".join(hits)
        if not connection.is_connected:
            try:
                await connection.connect()
            except (RedisError, OSError) as error:
                raise RefusedError(str(error)) from error
        try:
            return await _ask(connection, command("EVALSHA", SHA, keys, plans, text))
        except NoScriptError:  # nothing was counted
            return await _ask(connection, command("EVAL", LUA, keys, plans, text))

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)
        if self._sentinel is not None:
            await self._sentinel.aclose()


async def _ask(connection: Any, packed: bytes) -> bytes:
    await connection.send_packed_command([packed], check_health=False)
    reply: bytes = await connection.read_response(disable_decoding=True)
    return reply


class ClusterLink:
    """One call for each client: its key decides which server counts it."""

    def __init__(self, nodes: list[ClusterNode], options: dict[str, Any]) -> None:
        self._nodes = nodes
        self._options = options
        self._cluster: RedisCluster | None = None

    async def evaluate(self, keys: list[bytes], plans: str, hits: list[str]) -> bytes:
        if self._cluster is None:
            self._cluster = RedisCluster(startup_nodes=self._nodes, **self._options)
        try:
            await self._cluster.initialize()
        except (RedisError, OSError) as error:
            raise RefusedError(str(error)) from error
        calls = [self._one(key, plans, hit) for key, hit in zip(keys, hits, strict=True)]
        return b" ".join(await asyncio.gather(*calls))

    async def _one(self, key: bytes, plans: str, hit: str) -> bytes:
        cluster: Any = self._cluster
        try:
            reply: bytes = await cluster.evalsha(SHA, 1, key, plans, hit)
        except NoScriptError:
            reply = await cluster.eval(LUA, 1, key, plans, hit)
        return reply

    async def close(self) -> None:
        if self._cluster is not None:
            cluster, self._cluster = self._cluster, None
            await cluster.aclose()
