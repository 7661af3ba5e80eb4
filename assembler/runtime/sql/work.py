"""What the recipes of all dialects share: the work, how it ends, and the connection.

In: an engine. Out: a `Session` with one connection, opened when it is needed and closed at the end;
its dialect's recipe says how one statement is applied once.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from assembler.plan.sql.scanner import Token
from assembler.plan.sql.statement import SqlStatement
from assembler.runtime.sql.ledger import Applied

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

Ending = Literal["applied", "skipped"]


@dataclass(frozen=True, slots=True)
class Work:
    """One statement to apply; `until` is when waiting for other processes ends (monotonic)."""

    statement: SqlStatement
    tokens: Sequence[Token]
    step: str
    lock_timeout: timedelta
    statement_timeout: timedelta
    always: bool
    is_alone: bool  # it has to run outside a transaction
    until: float


@dataclass(frozen=True, slots=True)
class End:
    """How the work ended, and what more there is to tell."""

    ending: Ending
    detail: str = ""


class SqlError(Exception):
    """A statement was not applied, and the text says why."""


class Session:
    """One connection of an engine, and what is known of the ledger behind it."""

    def __init__(self, engine: "AsyncEngine", clock: Callable[[], float] = time.monotonic) -> None:
        self.engine = engine
        self.clock = clock
        self.is_tainted = False  # a statement may have left settings on the connection
        self._connection: AsyncConnection | None = None

    async def applied(self, hashes: Sequence[str]) -> dict[str, Applied]:
        """Read what the ledger has of `hashes`; takes no lock that anything waits for."""
        raise NotImplementedError

    async def apply(self, work: Work) -> End:
        """Apply one statement, unless the ledger has it; raises what the database says."""
        raise NotImplementedError

    async def connection(self) -> "AsyncConnection":
        """Return the session's connection, opened if need be."""
        if self._connection is None:
            self._connection = await self.engine.connect()
        return self._connection

    async def release(self) -> None:
        """End what a statement left, after it failed or was cancelled; keep nothing of it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.suppress(Exception):  # it may be broken: that is why it is given up
            await asyncio.shield(close(connection, is_tainted=self.is_tainted))


def milliseconds(limit: timedelta) -> int:
    """Return a limit as every server takes it: `1m` is no unit of theirs, and 32 bits are all."""
    return min(limit // timedelta(milliseconds=1), 2**31 - 1)


async def close(connection: "AsyncConnection", *, is_tainted: bool) -> None:
    """Close a connection, or give it back to the pool where no statement ran on it."""
    if is_tainted:
        await connection.invalidate()  # closed, so that the pool does not give it to others
    await connection.close()
