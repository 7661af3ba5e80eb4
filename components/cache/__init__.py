"""One small cache, in this process's memory or in Redis.

In: text keys, and values that are JSON or bytes (never pickled: what Redis holds must not be able to
run code). Out: equal values, each reader's own copy, until their time to live is over.

    price = await cache.namespace("prices").get_or_set("oslo", fetch, ttl=timedelta(minutes=1))

Both kinds are resources and stores of a rate limit, so one may stand in for the other.
"""

import json
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal, Protocol, TypeVar

from pydantic import AfterValidator, Field, SecretStr

from components.cache.memory import LocalEntries, MemoryEntries
from components.cache.single_flight import Flights
from components.rate_limit.store import Counter, Limit, OnStoreError, Store

V = TypeVar("V")

_BYTES = b"\x00"  # what JSON never begins with


class Entries(Protocol):
    """Where encoded entries are kept."""

    @property
    def state(self) -> Literal["ok", "degraded"]: ...
    @property
    def store(self) -> Store: ...
    @property
    def redis(self) -> Any: ...
    async def read(self, key: str) -> bytes | None: ...
    async def write(self, key: str, value: bytes, ttl_seconds: float) -> None: ...
    async def remove(self, keys: Sequence[str]) -> None: ...
    async def add(self, key: str, amount: int, ttl_seconds: float) -> int: ...
    async def ping(self) -> None: ...
    async def aclose(self) -> None: ...


class Namespace:
    """A part of a cache whose keys meet no others."""

    def __init__(
        self, entries: Entries, flights: Flights[bytes], name: str, default_ttl: timedelta
    ) -> None:
        self._entries = entries
        self._flights = flights
        self._name = name
        self._default_ttl = default_ttl

    def namespace(self, name: str, *, default_ttl: timedelta | None = None) -> "Namespace":
        """A part of this part; `name` has no colon and no dot. Raises ValueError."""
        if not name or set(name) & set(":."):
            raise ValueError(
                f"`{name}` is no name of a namespace: it has a colon, a dot or nothing"
            )
        full = f"{self._name}.{name}" if self._name else name
        return Namespace(self._entries, self._flights, full, default_ttl or self._default_ttl)

    async def get(self, key: str, default: Any = None) -> Any:
        """What was set, or `default`; a None that was set is None."""
        found = await self._entries.read(self._key(key))
        return default if found is None else _decoded(found)

    async def set(self, key: str, value: Any, *, ttl: timedelta | None = None) -> None:
        """Keep a value; raises TypeError or ValueError where it is neither JSON nor bytes."""
        full, encoded = self._key(key), _encoded(value)
        self._flights.forget(full)
        await self._entries.write(full, encoded, self._seconds(ttl))

    async def delete(self, *keys: str) -> None:
        """Forget entries; what is just being computed for them is not kept either."""
        full = [self._key(key) for key in keys]
        for key in full:
            self._flights.forget(key)
        if full:
            await self._entries.remove(full)

    async def increment(self, key: str, by: int = 1, *, ttl: timedelta | None = None) -> int:
        """Add to a whole number, which begins at 0 and then lives for `ttl`, not longer.

        Raises ValueError where the entry is something else. While Redis is away each process
        counts alone, and what it counted is lost.
        """
        full = self._key(key)
        self._flights.forget(full)
        return await self._entries.add(full, by, self._seconds(ttl))

    async def get_or_set(
        self, key: str, make: Callable[[], Awaitable[V]], *, ttl: timedelta | None = None
    ) -> V:
        """Get what is there; else what `make` returns, which is then kept.

        All tasks of this process that ask at once share one call. What it raises is raised in all
        of them and not kept. Cancelling one of them cancels neither the call nor the others.
        """
        full, seconds = self._key(key), self._seconds(ttl)

        async def fill() -> bytes:
            found = await self._entries.read(full)  # another may have filled it since
            if found is not None:
                return found
            made = _encoded(await make())
            if self._flights.is_current(full):
                await self._entries.write(full, made, seconds)
                if not self._flights.is_current(full):  # deleted or set in this very moment
                    await self._entries.remove([full])
            return made

        found = None if full in self._flights else await self._entries.read(full)
        value: V = _decoded(found or await self._flights.run(full, fill))
        return value

    def _key(self, key: str) -> str:
        if not key:
            raise ValueError("a key must not be empty")
        return f"{self._name}:{key}"

    def _seconds(self, ttl: timedelta | None) -> float:
        seconds = (self._default_ttl if ttl is None else ttl).total_seconds()
        if seconds <= 0:
            raise ValueError("`ttl` must be more than 0")
        return seconds


class Cache(Namespace):
    """The whole of a cache, as a resource."""

    def __init__(self, entries: Entries, *, default_ttl: timedelta) -> None:
        super().__init__(entries, Flights(), "", default_ttl)
        self._seconds(default_ttl)

    @property
    def state(self) -> Literal["ok", "degraded"]:
        """`degraded` while memory stands in for a Redis that is away."""
        return self._entries.state

    @property
    def redis(self) -> Any:
        """A client of the same Redis, closed with the cache, such as a scheduler keeps claims by.

        It knows nothing of the cache's prefix, and no memory stands in for it; None for a cache
        in memory.
        """
        return self._entries.redis

    def counter(self, limits: tuple[Limit, ...], *, on_error: OnStoreError = "local") -> Counter:
        """Count for a rate limit, where the entries are."""
        return self._entries.store.counter(limits, on_error=on_error)

    async def open(self) -> None:
        """Connect; raises where Redis does not answer within the deadline."""
        await self.ping()

    async def ping(self) -> None:
        """Raise unless the cache works as it should: while it is degraded, too."""
        await self._entries.ping()

    async def aclose(self) -> None:
        """Cancel what is being computed, and disconnect."""
        await self._flights.close()
        await self._entries.aclose()


def memory_cache(
    *,
    max_entries: Annotated[int, Field(ge=1, description="entries kept at most")] = 10_000,
    max_bytes: Annotated[int, Field(ge=1, description="bytes of keys and values kept at most")] = 64
    * 1024
    * 1024,
    default_ttl: Annotated[
        timedelta,
        Field(gt=timedelta(0), description="how long an entry lives that was set without a `ttl`"),
    ] = timedelta(minutes=5),
    clock: Annotated[
        Callable[[], float], Field(description="gives seconds, for tests")
    ] = time.monotonic,
) -> Cache:
    """Make a cache in this process's memory; what was used longest ago makes room."""
    entries = MemoryEntries(max_entries=max_entries, max_bytes=max_bytes, clock=clock)
    return Cache(LocalEntries(entries), default_ttl=default_ttl)


def _readable(url: str | SecretStr) -> str | SecretStr:
    from components.redis.address import address_of  # noqa: PLC0415  # only a cache in Redis needs it

    address_of(url.get_secret_value() if isinstance(url, SecretStr) else url)
    return url


def redis_cache(
    *,
    url: Annotated[
        str | SecretStr,
        AfterValidator(_readable),
        Field(
            description="`redis://host:6379/0`; rediss://, unix://, redis+sentinel://, redis+cluster:// too"
        ),
    ],
    prefix: Annotated[str, Field(description="what all keys in Redis begin with")] = "",
    default_ttl: Annotated[
        timedelta,
        Field(gt=timedelta(0), description="how long an entry lives that was set without a `ttl`"),
    ] = timedelta(minutes=5),
    timeout: Annotated[
        timedelta, Field(gt=timedelta(0), description="the longest that a call waits for Redis")
    ] = timedelta(milliseconds=250),
    probe_interval: Annotated[
        timedelta, Field(gt=timedelta(0), description="how often to look for a Redis that is away")
    ] = timedelta(milliseconds=500),
    max_connections: Annotated[
        int, Field(ge=1, description="connections at most; more calls wait for a free one")
    ] = 20,
    memory_entries: Annotated[
        int, Field(ge=1, description="entries kept in memory while Redis is away")
    ] = 10_000,
    memory_bytes: Annotated[
        int, Field(ge=1, description="bytes kept in memory while Redis is away")
    ] = 16 * 1024 * 1024,
) -> Cache:
    """Make a cache in Redis, without I/O; while Redis is away this process's memory serves.

    Raises ValueError for a bound of connections below 1, and times below 1 ms.
    """
    from components.cache.redis import RedisEntries  # noqa: PLC0415  # who asks for Redis pays for it
    from components.rate_limit.redis import RedisStore  # noqa: PLC0415  # as above

    if max_connections < 1:
        raise ValueError("`max_connections` must be at least 1")
    for name, span in (("timeout", timeout), ("probe_interval", probe_interval)):
        if span < timedelta(milliseconds=1):
            raise ValueError(f"`{name}` must be at least 1 ms")
    address = url.get_secret_value() if isinstance(url, SecretStr) else url
    entries = RedisEntries(
        address,
        prefix=prefix,
        timeout_seconds=timeout.total_seconds(),
        probe_seconds=probe_interval.total_seconds(),
        max_connections=max_connections,
        memory=MemoryEntries(max_entries=memory_entries, max_bytes=memory_bytes),
        store=lambda: RedisStore(
            url=address,
            store_timeout=timeout,
            probe_interval=probe_interval,
            prefix=f"{prefix}rate:",
        ),
    )
    return Cache(entries, default_ttl=default_ttl)


def _encoded(value: Any) -> bytes:
    if isinstance(value, bytes):
        return _BYTES + value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _decoded(text: bytes) -> Any:
    return text[1:] if text.startswith(_BYTES) else json.loads(text)
