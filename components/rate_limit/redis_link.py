"""The way to Redis: one server, the master that Sentinel names, or a cluster.

In: a URL, as `redis_address` reads it; then batches of keys. Out: the script's reply.

A link has a connection of its own and tries once; the deadline is its caller's.
"""

import asyncio
from typing import Any, Protocol

from redis.asyncio import Redis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from components.rate_limit.redis_script import LUA, SHA, command
from components.redis.address import Address, address_of


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
    """Make a link, without I/O; raises ValueError for what is no Redis URL."""
    options: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        # the queue's deadline is enough, and each timeout of redis-py costs every call
        "socket_timeout": None,
        "socket_connect_timeout": None,
    }
    address = address_of(url)
    if address.is_cluster:
        return ClusterLink(address, options)
    return ConnectionLink(*address.server(**options))


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

    def __init__(self, address: Address, options: dict[str, Any]) -> None:
        self._address = address
        self._options = options
        self._cluster: RedisCluster | None = None

    async def evaluate(self, keys: list[bytes], plans: str, hits: list[str]) -> bytes:
        if self._cluster is None:
            self._cluster = self._address.cluster(**self._options)
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
