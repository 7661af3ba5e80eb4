"""A step of SQL and its engine → each statement applied once, or the reason why not.

In: a `SqlStep`, an async engine. Out: an `Applier`, which applies one statement after the other on
one connection, within the time limit of the step. What is busy (a lock, a deadlock, a timeout) is
tried again with growing pauses, in which readers pass, for a fair share of the time that is left;
a database that is away, for half of it, and then the rest of the statements is not tried. Refuses,
as `SqlError`, what the database refuses; the text has no data of its rows.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from assembler.manifest.duration import duration_text
from assembler.plan.sql.scanner import Token, Unclosed, scan
from assembler.plan.sql.statement import SqlStatement, SqlStep
from assembler.runtime.sql.faults import Said, said
from assembler.runtime.sql.ledger import Applied
from assembler.runtime.sql.work import End, Session, SqlError, Work

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_RESERVE = 0.05  # of the time limit, to say why the waiting ended


async def look(
    engine: "AsyncEngine",
    hashes: Sequence[str],
    limit: timedelta,
    *,
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> dict[str, Applied]:
    """Read what is applied, waiting up to `limit` for a database that is away; changes nothing.

    Raises `SqlError`.
    """
    if is_no_file(engine):
        return {}
    end = time.monotonic() + limit.total_seconds()
    while True:
        session = session_for(engine)
        try:
            async with asyncio.timeout(max(end - time.monotonic(), _FIRST_PAUSE_SECONDS)):
                return await session.applied(hashes)
        except Exception as error:
            told = said(error)
            if not told.is_away or time.monotonic() + _FIRST_PAUSE_SECONDS >= end:
                raise SqlError(told.text) from error
        finally:
            await session.release()
        await wait(_FIRST_PAUSE_SECONDS)


def session_for(engine: "AsyncEngine", clock: Callable[[], float] = time.monotonic) -> Session:
    """Return a session with the recipe of the engine's dialect."""
    dialect = engine.dialect.name
    if dialect == "postgresql":
        from assembler.runtime.sql.postgres import PostgresSession  # noqa: PLC0415  # one of them is needed

        return PostgresSession(engine, clock)
    if dialect == "sqlite" and engine.dialect.driver == "aiosqlite":
        from assembler.runtime.sql.sqlite import SqliteSession  # noqa: PLC0415  # as above

        return SqliteSession(engine, clock)
    from assembler.runtime.sql.plain import PlainSession  # noqa: PLC0415  # as above

    return PlainSession(engine, clock)


class Applier:
    """One run of a step: its connection, its deadline, and what the ledger had at its start."""

    def __init__(
        self,
        step: SqlStep,
        engine: "AsyncEngine",
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.step = step
        self.engine = engine
        self.clock = clock
        self.wait = wait
        self.session = session_for(engine, clock)
        self.deadline = clock() + step.entry.timeout.total_seconds()
        self.left = len(step.statements)
        self._known: frozenset[str] | None = None
        self._away: str | None = None

    @property
    def remaining_seconds(self) -> float:
        """How much of the step's time limit is left."""
        return self.deadline - self.clock()

    async def apply(self, statement: SqlStatement) -> End:
        """Apply one statement, unless it was; raises `SqlError`."""
        dialect = self.step.entry.dialect
        own = self.engine.dialect.name
        if dialect is not None and dialect != own:
            return End("skipped", f"for {dialect}, not {own}")
        if self._away is not None:
            raise SqlError(f"was not tried: {self._away}")
        if self.remaining_seconds <= 0:
            limit = duration_text(self.step.entry.timeout)
            raise SqlError(f"was not tried: the step's timeout of {limit} was used up before")
        try:
            return await self._apply(statement)
        except BaseException:
            await self.session.release()
            raise
        finally:
            self.left -= 1

    async def close(self) -> None:
        """Give the connection back."""
        await self.session.release()

    async def _apply(self, statement: SqlStatement) -> End:
        fair = self.clock() + self.remaining_seconds / max(self.left, 1)
        half = self.clock() + self.remaining_seconds / 2
        tries, pause = 0, _FIRST_PAUSE_SECONDS
        while True:
            tries += 1
            began = self.clock()
            try:
                return await self._try(statement, tries)
            except SqlError:
                raise
            except Exception as error:
                await self.session.release()
                told = said(error)
                end = half if told.is_away else fair
                next_end = 2 * self.clock() - began + pause  # if it takes as long as this one
                if not (told.is_away or told.is_busy) or next_end >= end:
                    raise self._failure(statement, told, tries) from error
            await self.wait(pause * random.uniform(0.5, 1))  # noqa: S311  # spreads the replicas
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _try(self, statement: SqlStatement, tries: int) -> End:
        entry = self.step.entry
        if self._known is None:
            hashes = [item.hash for item in self.step.statements]
            self._known = frozenset(await self.session.applied(hashes))
        if statement.hash in self._known and not entry.always:
            return End("skipped", "applied before")
        dialect = self.engine.dialect.name
        tokens = _tokens(statement.text, dialect)
        reserve = entry.timeout.total_seconds() * _RESERVE
        end = await self.session.apply(
            Work(
                statement=statement,
                tokens=tokens,
                step=entry.id,
                lock_timeout=entry.lock_timeout,
                statement_timeout=entry.statement_timeout,
                always=entry.always,
                is_alone=statement.runs_alone(tokens, dialect),
                until=self.deadline - reserve,
            )
        )
        if tries > 1 and end.ending == "applied":
            more = f"after {tries} tries"
            return End("applied", f"{end.detail}, {more}" if end.detail else more)
        return end

    def _failure(self, statement: SqlStatement, told: Said, tries: int) -> SqlError:
        more = f", tried {tries} times" if tries > 1 else ""
        if told.is_away:
            self._away = told.text
            return SqlError(f"the database is away: {told.text}{more}")
        if told.is_busy:
            return SqlError(f"is pending: {told.text}{more}")
        place = ""
        if told.position is not None and told.position <= len(statement.text):
            place = f" at {statement.source.place(told.position - 1).place}"
        return SqlError(f"{told.text}{place}{more}")


def is_no_file(engine: "AsyncEngine") -> bool:
    """Tell an SQLite database that is not there: to look at it would make it."""
    name = engine.url.database
    return engine.dialect.name == "sqlite" and (
        name in {None, "", ":memory:"} or (not name.startswith("file:") and not Path(name).exists())
    )


def _tokens(text: str, dialect: str) -> list[Token]:
    try:
        return list(scan(text, dialect))
    except Unclosed:  # by another dialect's rules than the plan read it by: the server will tell
        return []
