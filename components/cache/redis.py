"""Cache entries in Redis, and in this process's memory while Redis is away.

In: keys and encoded values. Out: what any process wrote, while Redis answers within its deadline.
The first call that fails opens a circuit breaker: from then on memory serves, bounded, and no call
waits, until the background probe has written to Redis. Nothing stale returns: what was written or
deleted meanwhile is deleted in Redis first, then the memory is emptied.

Redis 5 or later, or what speaks as it does; Sentinel and Cluster too (see `redis_address`).
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Literal

from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from components.cache.memory import MemoryEntries
from components.rate_limit.redis import RedisStore
from components.redis.address import address_of
from components.redis.circuit_breaker import Breaker

_MOST_UNSURE = 10_000  # keys remembered of an outage; with more, all keys are deleted after it
_SWEEP_SECONDS = 60.0
_BATCH = 1000
# an entry always has a time to live, so only a new one is without
_ADD = """local total = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return total"""


class RedisEntries:
    """Serves one event loop at a time; in another one it begins anew."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        timeout_seconds: float,
        probe_seconds: float,
        max_connections: int,
        memory: MemoryEntries,
        store: Callable[[], RedisStore],
    ) -> None:
        self._address = address_of(url)
        self._prefix = f"{prefix}cache:"
        self._timeout_seconds = timeout_seconds
        # the bound of the URL holds as well as our own
        self._max_connections = min(
            max_connections, self._address.max_connections or max_connections
        )
        self._memory = memory
        self._make_store = store
        self._store: RedisStore | None = None
        self._breaker = Breaker(
            self._probe,
            probe_seconds,
            name="the cache's Redis",
            meanwhile="this process's memory serves",
            logger=logging.getLogger("components.cache"),
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Any = None  # redis-py's types do not tell its async calls
        self._sentinel: Sentinel | None = None
        self._lent: tuple[Any, Sentinel | None] | None = None
        self._room = asyncio.Semaphore(self._max_connections)
        self._unsure: set[str] = set()
        self._unsure_of_all = False

    @property
    def state(self) -> Literal["ok", "degraded"]:
        return "degraded" if self._breaker.is_open else "ok"

    @property
    def store(self) -> RedisStore:
        """Where limiters count: the same Redis, over a connection of its own."""
        if self._store is None:
            self._store = self._make_store()
        return self._store

    @property
    def redis(self) -> Any:
        """A client for others, which do not wait for room among the cache's own calls."""
        if self._lent is None:
            address = self._address
            self._lent = (address.cluster(), None) if address.is_cluster else address.server()
        return self._lent[0]

    async def read(self, key: str) -> bytes | None:
        found: bytes | None = await self._ask(
            lambda: self._client.get(self._prefix + key), lambda: self._memory.read(key)
        )
        return found

    async def write(self, key: str, value: bytes, ttl_seconds: float) -> None:
        await self._ask(
            lambda: self._client.set(self._prefix + key, value, px=_milliseconds(ttl_seconds)),
            lambda: self._memory.write(key, value, ttl_seconds),
            [key],
        )

    async def remove(self, keys: Sequence[str]) -> None:
        await self._ask(
            lambda: self._client.unlink(*[self._prefix + key for key in keys]),
            lambda: self._memory.remove(keys),
            keys,
        )

    async def add(self, key: str, amount: int, ttl_seconds: float) -> int:
        total: int = await self._ask(
            lambda: self._client.eval(
                _ADD, 1, self._prefix + key, amount, _milliseconds(ttl_seconds)
            ),
            lambda: self._memory.add(key, amount, ttl_seconds),
            [key],
        )
        return total

    async def ping(self) -> None:
        """Raise ConnectionError while Redis is known to be away, else what a probe raises."""
        if self._breaker.is_open:
            raise ConnectionError("Redis is away; this process's memory serves")
        await self._probe()

    async def aclose(self) -> None:
        """Disconnect; a later call connects again."""
        await self._breaker.close()
        if self._store is not None:
            await self._store.aclose()
        if self._client is not None:
            await self._client.aclose()
        if self._sentinel is not None:
            await self._sentinel.aclose()
        for lent in self._lent or ():
            if lent is not None:
                await lent.aclose()
        self._loop = self._client = self._sentinel = self._lent = None
        self._memory.clear()

    async def _ask(
        self,
        command: Callable[[], Awaitable[Any]],
        instead: Callable[[], Any],
        changed: Sequence[str] = (),
    ) -> Any:
        self._attach()
        if not self._breaker.is_open:
            try:
                async with asyncio.timeout(self._timeout_seconds), self._room:
                    return await command()
            except (RedisError, OSError) as error:
                if isinstance(error, ResponseError) and _is_of_the_value(error):
                    raise ValueError("the entry is not what this call is for") from None
                self._breaker.failed(error, refused=True)
        self._unsure.update(changed)
        if len(self._unsure) > _MOST_UNSURE:
            self._unsure.clear()
            self._unsure_of_all = True
        return instead()

    def _attach(self) -> None:
        """Belong to this loop; what another one left behind, such as a test's, is forgotten."""
        loop = asyncio.get_running_loop()
        if loop is self._loop:
            return
        self._breaker.forget()
        options: dict[str, Any] = {
            "retry": Retry(NoBackoff(), 0),
            # the deadline is enough
            "socket_timeout": None,
            "socket_connect_timeout": None,
            # those who wait do so for room here, as a pool fails; a probe waits for none
            "max_connections": self._max_connections + 1,
        }
        if self._address.is_cluster:
            self._client = self._address.cluster(**options)
        else:
            self._client, self._sentinel = self._address.server(**options)
        self._room = asyncio.Semaphore(self._max_connections)
        self._loop = loop

    async def _probe(self) -> None:
        """Write, since a server that is full or a replica answers a PING; and clean up."""
        self._attach()
        async with asyncio.timeout(self._timeout_seconds):
            await self._client.set(f"{self._prefix}:probe", b"1", px=1000)
        if not self._breaker.is_open:
            return
        while self._unsure or self._unsure_of_all:
            await self._forget_what_changed()
        self._memory.clear()

    async def _forget_what_changed(self) -> None:
        keys, all_keys = self._unsure, self._unsure_of_all
        self._unsure, self._unsure_of_all = set(), False
        try:
            async with asyncio.timeout(_SWEEP_SECONDS):
                names = self._all_names() if all_keys else _each(self._prefix + key for key in keys)
                async for batch in _batches(names):
                    await self._client.unlink(*batch)
        except BaseException:
            self._unsure |= keys
            self._unsure_of_all |= all_keys
            raise

    def _all_names(self) -> AsyncIterator[Any]:
        pattern = "".join(f"\\{c}" if c in "*?[]\\" else c for c in self._prefix) + "*"
        names: AsyncIterator[Any] = self._client.scan_iter(match=pattern, count=_BATCH)
        return names


async def _each(names: Iterable[str]) -> AsyncIterator[str]:
    for name in names:
        yield name


async def _batches(names: AsyncIterator[Any]) -> AsyncIterator[list[Any]]:
    batch: list[Any] = []
    async for name in names:
        batch.append(name)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _is_of_the_value(error: ResponseError) -> bool:
    return any(words in str(error) for words in ("WRONGTYPE", "not an integer", "overflow"))


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
