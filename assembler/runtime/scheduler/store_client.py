"""A store that may be away → one that answers within a bound, or says that it does not.

In: a `Store`. Out: a `StoreClient`, through which everything is asked. The store's tables are made
before the first question, which may take longer. An outage is told once, and its end once. Refuses
to wait longer than its limit: a server that is frozen accepts connections and never answers.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from assembler.diagnostics.exceptions import failure_of
from assembler.runtime.scheduler.claims import Store

logger = logging.getLogger("assembler.job")

T = TypeVar("T")
_PREPARE_SECONDS = 10.0


class StoreAwayError(Exception):
    """The store of claims did not answer."""


@dataclass(slots=True)
class StoreClient:
    """Asks a store, for at most `limit_seconds` at a time, once its tables are there."""

    store: Store
    limit_seconds: float
    scrub: Callable[[str], str] = str
    away: str | None = None  # why, while it is
    _is_prepared: bool = False
    _preparing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Return the answer. Raises `StoreAwayError` where none came, for whatever reason."""
        limit = self.limit_seconds
        if not self._is_prepared:
            limit = max(limit, _PREPARE_SECONDS)
        try:
            async with asyncio.timeout(limit):
                await self._prepare()
                answer = await question()
        except Exception as error:
            self._note(error, limit)
            raise StoreAwayError(self.away) from error
        if self.away is not None:
            self.away = None
            logger.warning("the store of claims is back")
        return answer

    async def _prepare(self) -> None:
        if self._is_prepared:
            return
        async with self._preparing:
            if not self._is_prepared:
                await self.store.prepare()
                self._is_prepared = True

    def _note(self, error: Exception, limit: float) -> None:
        is_new = self.away is None
        late = f"no answer within {limit:g} s"
        self.away = late if isinstance(error, TimeoutError) else self.scrub(failure_of(error))
        if is_new:
            logger.error("the store of claims is away, so no job runs: %s", self.away)
