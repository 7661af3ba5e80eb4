"""Checks by name → the reasons of those that fail.

In: async functions, each of which raises, or returns a text, where what it asks is away. Out: name
→ reason, as of at most `cache` ago. All are asked at once and each is bounded; however many
requests wait, one round runs, and a check that hangs is not asked again before it has ended.
Refuses times that are not positive. Of an exception only the type is told: its text may hold a
secret; a check that can tell more without one returns it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any


class Pings:
    """Rounds of asking, for one application."""

    def __init__(
        self,
        *,
        timeout: timedelta,
        cache: timedelta,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if timeout <= timedelta(0):
            raise ValueError("`timeout` must be positive")
        if cache < timedelta(0):
            raise ValueError("`cache` must not be negative")
        self._timeout_seconds = timeout.total_seconds()
        self._cache_seconds = cache.total_seconds()
        self._clock = clock
        self._loop: asyncio.AbstractEventLoop | None = None
        self._round: asyncio.Task[dict[str, str]] | None = None
        self._pending: dict[str, asyncio.Task[str | None]] = {}
        self._asked: set[str] = set()
        self._reasons: dict[str, str] = {}
        self._fresh_until = 0.0

    async def reasons(self, checks: Mapping[str, Callable[[], Awaitable[Any]]]) -> dict[str, str]:
        """Return the reasons of those of `checks` that fail."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # an application may be started again, in another loop
            self._loop, self._round, self._pending, self._asked = loop, None, {}, set()
        if self._round is None:
            if self._asked == checks.keys() and self._clock() < self._fresh_until:
                return self._reasons
            self._round = loop.create_task(self._ask(dict(checks)))
            self._round.add_done_callback(self._end)
        return await asyncio.shield(self._round)  # who goes away does not end it for the others

    def _end(self, _: "asyncio.Task[dict[str, str]]") -> None:
        self._round = None

    async def _ask(self, checks: dict[str, Callable[[], Awaitable[Any]]]) -> dict[str, str]:
        for name, check in checks.items():
            if name not in self._pending or self._pending[name].done():
                self._pending[name] = asyncio.create_task(_reason(check))
        asked = {self._pending[name] for name in checks}
        if asked:
            await asyncio.wait(asked, timeout=self._timeout_seconds)
        reasons = {}
        for name in checks:
            task = self._pending[name]
            if not task.done():
                task.cancel()
                reasons[name] = f"no answer within {self._timeout_seconds:g} s"
            elif (reason := _result(task)) is not None:
                reasons[name] = reason
        self._asked = set(checks)
        self._reasons = reasons
        self._fresh_until = self._clock() + self._cache_seconds
        return reasons


async def _reason(check: Callable[[], Awaitable[Any]]) -> str | None:
    try:
        answer = await check()
    except Exception as error:  # noqa: BLE001  # a driver may raise anything
        return type(error).__name__
    return answer if isinstance(answer, str) else None


def _result(task: "asyncio.Task[str | None]") -> str | None:
    return "no answer" if task.cancelled() else task.result()
