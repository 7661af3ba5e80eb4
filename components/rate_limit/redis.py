"""The store that several processes share, in Redis.

In: hits. Out: decisions that hold over all processes, while Redis answers within its deadline.
A refused client is remembered here until its time has come, and costs Redis nothing.

When a call passes the deadline, the answer is `on_store_error`'s: `local` counts in this process,
at its share of the limit; `allow` and `deny` do as they say. A refused connection, or three
failures in a row, open a circuit breaker: then no request waits at all, and one background probe
looks for the recovery. Nothing is retried, so nothing is counted twice.

Redis 5 or later, or what speaks as it does. Sentinel and Cluster: see `redis_link`.
"""

import asyncio
import time
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field

from components.rate_limit.memory import MemoryCounter, MemoryStore
from components.rate_limit.rates import Rate
from components.rate_limit.redis_link import link_to
from components.rate_limit.redis_queue import Hit, Queue
from components.rate_limit.redis_script import plan_text
from components.rate_limit.store import Counter, Decision, Limit, OnStoreError, process_share
from components.redis.address import address_of

_new = tuple.__new__


def _readable(url: str) -> str:
    address_of(url)
    return url


class RedisStore:
    """Made without I/O; connects at `start`, or at the first hit; `aclose` disconnects."""

    def __init__(
        self,
        *,
        url: Annotated[
            str,
            AfterValidator(_readable),
            Field(
                description="`redis://host:6379/0`; rediss://, unix://, redis+sentinel://, redis+cluster:// too"
            ),
        ],
        store_timeout: Annotated[
            timedelta,
            Field(gt=timedelta(0), description="the longest that a request waits for Redis"),
        ] = timedelta(milliseconds=100),
        probe_interval: Annotated[
            timedelta,
            Field(gt=timedelta(0), description="how often to look for a Redis that is away"),
        ] = timedelta(milliseconds=500),
        prefix: Annotated[str, Field(description="what the keys in Redis begin with")] = "rate:",
        share: Annotated[
            int | None,
            Field(
                ge=1,
                description="processes that share a limit, for `local`; WEB_CONCURRENCY, or 1",
                json_schema_extra={"looser": "lower"},
            ),
        ] = None,
        max_refused: Annotated[
            int, Field(ge=0, description="refused clients remembered for each set of limits")
        ] = 10_000,
    ) -> None:
        for name, span in (("store_timeout", store_timeout), ("probe_interval", probe_interval)):
            if span < timedelta(milliseconds=1):
                raise ValueError(f"`{name}` must be at least 1 ms")
        if max_refused < 0:
            raise ValueError("`max_refused` must be at least 0")
        self.prefix = prefix
        self.share = process_share(share)
        self.max_refused = max_refused
        self.queue = Queue(
            lambda: link_to(url), store_timeout.total_seconds(), probe_interval.total_seconds()
        )
        self._memory = MemoryStore()
        self._shares: dict[Limit, Limit] = {}

    def counter(self, limits: tuple[Limit, ...], *, on_error: OnStoreError = "local") -> Counter:
        """Make a counter; limits with the same name and rate share their counts in Redis."""
        return RedisCounter(self, limits, on_error)

    def local_counter(self, limits: tuple[Limit, ...]) -> tuple[MemoryCounter, dict[Limit, Limit]]:
        """Count in memory at this process's share, never less than 1; and whose share is whose."""
        for limit in limits:
            if limit not in self._shares:
                quota = max(1, limit.rate.quota // self.share)
                self._shares[limit] = Limit(limit.name, Rate(quota, limit.rate.period_seconds))
        shares = {self._shares[limit]: limit for limit in limits}
        return self._memory.counter(tuple(shares)), shares

    async def start(self) -> None:
        """Connect; raises when Redis does not answer within the deadline."""
        self.queue.attach(asyncio.get_running_loop())
        await self.queue.probe()

    async def aclose(self) -> None:
        """Disconnect; hits that wait fall back."""
        await self.queue.close()


class RedisCounter:
    """Counts under one set of limits."""

    def __init__(
        self, store: RedisStore, limits: tuple[Limit, ...], on_error: OnStoreError
    ) -> None:
        self._queue = store.queue
        self._prefix = store.prefix
        self.limits = limits
        self.plan = plan_text(limits)
        self._on_error = on_error
        self._local, self._shares = store.local_counter(limits)
        self._most = min(limit.rate.quota for limit in self._shares)
        self._max_refused = store.max_refused
        self._refused: dict[tuple[str, int], tuple[int, Limit, int]] = {}

    def hit(self, subject: str, cost: int = 1, /) -> "Decision | asyncio.Future[Decision]":
        """Decide at once what is known here; else ask Redis."""
        who = (subject, cost)
        refused = self._refused.get(who)
        if refused is not None:
            until_ns, limit, remaining = refused
            wait_ns = until_ns - time.monotonic_ns()
            if wait_ns > 0:
                return _new(Decision, (False, limit, remaining, wait_ns))
            del self._refused[who]
        loop, queue = asyncio.get_running_loop(), self._queue
        queue.attach(loop)
        if queue.breaker.is_open:
            return self.fall_back(subject, cost)
        future: asyncio.Future[Decision] = loop.create_future()
        key = f"{self._prefix}{subject}".encode("utf-8", "surrogatepass")
        queue.submit(Hit(future, key, subject, cost, self))
        return future

    def heard(self, subject: str, cost: int, decision: Decision) -> None:
        """Remember a refusal that Redis sent."""
        if decision.admitted or decision.limit is None or not self._max_refused:
            return
        if len(self._refused) >= self._max_refused:
            self._refused.clear()
        until_ns = time.monotonic_ns() + decision.wait_ns
        self._refused[subject, cost] = (until_ns, decision.limit, decision.remaining)

    def fall_back(self, subject: str, cost: int) -> Decision:
        """Decide without Redis."""
        if self._on_error != "local":
            return Decision(self._on_error == "allow", None, 0, 0)
        # a cost over this process's share could otherwise never pass
        decision = self._local.hit(subject, min(cost, self._most))
        limit = decision.limit
        return decision if limit is None else decision._replace(limit=self._shares[limit])
