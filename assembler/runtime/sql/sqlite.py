"""One statement, once over all processes, on SQLite.

In: an async engine of aiosqlite. Out: the statement and its row of the ledger in one transaction
that begins with the write lock (`BEGIN IMMEDIATE`), which is all that processes of one file need.
The driver's connection is used as it is: how its engine begins transactions does not matter then.
VACUUM and PRAGMA run outside a transaction, so two processes may both run them.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from assembler.manifest.duration import duration_text
from assembler.runtime.sql import ledger
from assembler.runtime.sql.ledger import Applied
from assembler.runtime.sql.work import End, Session, SqlError, Work, milliseconds

_MARKS = ("?", "?", "?", "?")


class SqliteSession(Session):
    """Applies statements to SQLite."""

    async def applied(self, hashes: Sequence[str]) -> dict[str, Applied]:
        """Read what the ledger has of `hashes`."""
        driver = await self._driver()
        known = await driver.execute_fetchall(
            "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (ledger.NAME,)
        )
        query = ledger.select(ledger.NAME, hashes)
        rows = await driver.execute_fetchall(query) if known else []
        return {row[0]: Applied(row[1].strip(), row[2]) for row in rows}

    async def apply(self, work: Work) -> End:
        """Apply one statement under the write lock, unless the ledger has it."""
        driver = await self._driver()
        ((before,),) = await driver.execute_fetchall("PRAGMA busy_timeout")
        await _wait_for_locks(driver, work.lock_timeout)
        try:
            return await self._apply(driver, work)
        finally:
            await driver.rollback()  # nothing where it was committed
            await driver.execute(f"PRAGMA busy_timeout = {before}")

    async def _apply(self, driver: Any, work: Work) -> End:
        await driver.execute("BEGIN IMMEDIATE")
        await driver.execute(ledger.create(ledger.NAME, moment="TIMESTAMP"))
        query = ledger.select(ledger.NAME, [work.statement.hash])
        if not work.always and await driver.execute_fetchall(query):
            return End("skipped", "applied before")
        if work.is_alone:
            await driver.commit()
        began = time.perf_counter()
        await _run(driver, work)
        if work.is_alone:
            await driver.execute("BEGIN IMMEDIATE")
        took = round((time.perf_counter() - began) * 1000)
        await driver.execute(ledger.forget(ledger.NAME, work.statement.hash))
        row = (work.statement.hash, work.step, work.statement.label, took)
        await driver.execute(ledger.insert(ledger.NAME, marks=_MARKS), row)
        await driver.commit()
        return End("applied")

    async def _driver(self) -> Any:
        connection = await self.connection()
        return (await connection.get_raw_connection()).driver_connection


async def _run(driver: Any, work: Work) -> None:
    """Run the statement; a thread cannot be cancelled, so it is SQLite that is interrupted."""
    try:
        async with asyncio.timeout(work.statement_timeout.total_seconds()):
            await driver.execute(work.statement.text)
    except TimeoutError:
        await driver.interrupt()
        limit = duration_text(work.statement_timeout)
        raise SqlError(f"ran longer than its `statement_timeout` of {limit}") from None
    except asyncio.CancelledError:
        await driver.interrupt()
        raise


async def _wait_for_locks(driver: Any, limit: timedelta) -> None:
    await driver.execute(f"PRAGMA busy_timeout = {milliseconds(limit)}")
