"""A store that may be away, or behind → answers within a bound, or why there are none.

In: the scheduler's store, or None. Out: a `StoreLink`, through which operations ask. One that was away
just now is not asked again for two seconds, so that a page waits once at most. It also knows how far
the tables are, and brings them up. Refuses nothing: what a store says is passed on, without secrets.
"""

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from assembler.diagnostics.exceptions import failure_of
from assembler.diagnostics.span import printable
from assembler.runtime.operations.tables import TablesState, look_at_tables, upgrade
from assembler.runtime.report import log
from assembler.runtime.task import within

T = TypeVar("T")

ANSWER_SECONDS = 2.0
_AWAY_SECONDS = 2.0  # for which it is not asked again
_UPGRADE_PAUSE_SECONDS = 60.0


class OperationsAwayError(Exception):
    """The store did not answer."""


class StoreLink:
    """Asks the store of one process; `away` says why it did not answer last, None where it did."""

    def __init__(self, store: Any, scrub: Callable[[str], str]) -> None:
        self.store = store
        self.away: str | None = None
        self.tables: TablesState | None = None
        self._scrub = scrub
        self._engine = getattr(store, "engine", None)
        self._ask_again = 0.0
        self._upgrade_again = 0.0
        self._is_prepared = False

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """Return the answer, once the first tables are there. Raises `OperationsAwayError`."""

        async def prepared() -> T:
            if not self._is_prepared:
                if self.store is not None:
                    await self.store.prepare()
                self._is_prepared = True
            return await question()

        return await self._bounded(prepared)

    @property
    def is_behind(self) -> bool:
        """Whether the tables are known to be of an earlier version."""
        return self.tables is not None and not self.tables.is_current

    @property
    def _is_current(self) -> bool:
        return self.tables is not None and self.tables.is_current

    async def look(self) -> None:
        """Know how far the tables are; those behind are looked at again, as others bring them up too.

        Raises `OperationsAwayError`.
        """
        if self._engine is None or self._is_current:
            return
        state = await self._bounded(lambda: look_at_tables(self.store))
        if self.tables is None or (state is not None and state.is_current):
            self.tables = state  # else what kept this process from bringing them up is still told

    async def bring_up(self) -> None:
        """Bring the tables to this version, once a minute at most; what keeps them is told once.

        Raises `OperationsAwayError`.
        """
        await self.look()  # one that is away is not waited for
        if self._engine is None or self._is_current or time.monotonic() < self._upgrade_again:
            return
        self._upgrade_again = time.monotonic() + _UPGRADE_PAUSE_SECONDS
        before, self.tables = self.tables, await upgrade(self.store, self._engine)
        with contextlib.suppress(OperationsAwayError):
            await self.look()  # what failed here may have been done by another process
        told = None if before is None else before.error
        if self.tables is not None and self.tables.error not in {None, told}:
            self._tell(self.tables)

    def state(self) -> dict[str, Any] | None:
        """Return how far the tables are, as JSON has it; None where there are none."""
        if self.tables is None:
            return None
        told = self.tables.as_dict()
        return {
            **told,
            "error": told["error"] and self._scrub(told["error"]),
            "sql": self.tables.sql,
        }

    async def _bounded(self, question: Callable[[], Awaitable[T]]) -> T:
        if time.monotonic() < self._ask_again:
            raise OperationsAwayError(self.away or "the store is away")
        try:
            answer = await within(ANSWER_SECONDS, question)
        except Exception as error:
            late = f"no answer within {ANSWER_SECONDS:g} s"
            reason = late if isinstance(error, TimeoutError) else failure_of(error)
            self.away = self._scrub(printable(reason))
            self._ask_again = time.monotonic() + _AWAY_SECONDS
            raise OperationsAwayError(self.away) from error
        self.away = None
        return answer

    def _tell(self, state: TablesState) -> None:
        log(
            logging.WARNING,
            f"the tables of the scheduler's store are of version {state.version}, not "
            f"{state.wanted}, and stay so: {self._scrub(str(state.error))}; jobs run by the older "
            "ones; run `assembler sql FILE --apply` as a role that may make tables, or:\n"
            f"{state.sql}",
        )
