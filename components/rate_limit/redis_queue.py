"""Hits on their way to Redis.

In: hits, one by one. Out: a future for each, resolved within the deadline.
While one batch is under way the hits that come gather into the next; when none is, a batch leaves
with all hits of the same event-loop tick. So under load many hits share one call, and a single
one waits for nothing.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import NamedTuple, Protocol

from components.rate_limit.redis_link import Link, RefusedError
from components.rate_limit.redis_script import decisions
from components.rate_limit.store import Decision, Limit
from components.redis.circuit_breaker import Breaker

MOST_HITS = 256  # of one call: Redis serves nobody else while the script runs
_GRACE_SECONDS = 0.005


class Asker(Protocol):
    """The counter that a hit comes from."""

    plan: str
    limits: tuple[Limit, ...]

    def heard(self, subject: str, cost: int, decision: Decision, /) -> None: ...

    def fall_back(self, subject: str, cost: int, /) -> Decision: ...


class Hit(NamedTuple):
    future: asyncio.Future[Decision]
    key: bytes
    subject: str
    cost: int
    asker: Asker


class Queue:
    """Serves one event loop at a time; in another one it begins anew."""

    def __init__(
        self, make_link: Callable[[], Link], timeout_seconds: float, probe_seconds: float
    ) -> None:
        self.breaker = Breaker(
            self.probe,
            probe_seconds,
            name="rate limit store",
            meanwhile="`on_store_error` decides",
            logger=logging.getLogger("components.rate_limit"),
        )
        self._make_link = make_link
        self._link = make_link()
        self._timeout_seconds = timeout_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[Hit] = []
        self._deadline = 0.0
        self._worker: asyncio.Task[None] | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to this loop; what another one left behind, such as a test's, is forgotten."""
        if loop is not self._loop:
            if self._loop is not None:
                self.breaker.forget()
                self._worker, self._waiting, self._link = None, [], self._make_link()
            self._loop = loop

    def submit(self, hit: Hit) -> None:
        """Send a hit; its future is resolved with a decision, never with an exception."""
        loop = hit.future.get_loop()
        if not self._waiting:
            self._deadline = loop.time() + self._timeout_seconds
        self._waiting.append(hit)
        if self._worker is None:
            self._worker = loop.create_task(self._work())

    async def probe(self) -> None:
        """Ask for nothing: raises unless the store would answer."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._link.evaluate([], "[]", [])
        except BaseException:
            await self._link.close()
            raise

    async def close(self) -> None:
        """Let what is waiting fall back, and disconnect."""
        await self.breaker.close()
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        await self._link.close()

    async def _work(self) -> None:
        batch: list[Hit] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST_HITS], self._waiting[MOST_HITS:]
                if not self.breaker.is_open:
                    await self._send(batch, self._deadline)
                _fall_back(batch)
        finally:
            # nobody waits for ever, even when this task is cancelled
            _fall_back([*batch, *self._waiting])
            self._worker, self._waiting = None, []

    async def _send(self, batch: list[Hit], deadline: float) -> None:
        plans = list(dict.fromkeys([hit.asker.plan for hit in batch]))
        number = {plan: index for index, plan in enumerate(plans, 1)}
        hits = [f"{number[hit.asker.plan]} {hit.cost}" for hit in batch]
        keys = [hit.key for hit in batch]
        try:
            async with asyncio.timeout(None) as bound:
                timer = asyncio.get_running_loop().call_at(deadline, _expire, bound)
                try:
                    reply = await self._link.evaluate(keys, f"[{','.join(plans)}]", hits)
                finally:
                    timer.cancel()
            found = decisions(reply, [hit.asker.limits for hit in batch])
        except Exception as error:  # noqa: BLE001  # whatever it is, requests get their answers
            await self._link.close()
            self.breaker.failed(error, refused=isinstance(error, RefusedError))
            return
        self.breaker.succeeded()
        for hit, decision in zip(batch, found, strict=True):
            hit.asker.heard(hit.subject, hit.cost, decision)
            if not hit.future.done():
                hit.future.set_result(decision)


def _expire(bound: asyncio.Timeout) -> None:
    """End the wait a moment later: if the loop itself was late, the answer may lie there unread."""
    bound.reschedule(asyncio.get_running_loop().time() + _GRACE_SECONDS)


def _fall_back(batch: list[Hit]) -> None:
    for hit in batch:
        if not hit.future.done():
            hit.future.set_result(hit.asker.fall_back(hit.subject, hit.cost))
