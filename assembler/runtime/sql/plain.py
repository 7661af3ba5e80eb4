"""One statement on a database that this package has no recipe for.

In: an async engine of any dialect. Out: the statement in a transaction that looks into the ledger
first and writes to it last. There is no lock that all databases have, and some commit at each DDL
statement: where processes start at the same moment, two may run a statement, so write it
repeatable (`IF NOT EXISTS`). `lock_timeout` is the server's; `statement_timeout` is the client's.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from assembler.manifest.duration import duration_text
from assembler.runtime.sql import ledger
from assembler.runtime.sql.ledger import Applied
from assembler.runtime.sql.work import End, Session, SqlError, Work


class PlainSession(Session):
    """Applies statements by what SQLAlchemy gives for every dialect."""

    async def applied(self, hashes: Sequence[str]) -> dict[str, Applied]:
        """Read what the ledger has of `hashes`."""
        connection = await self.connection()
        try:
            if not await connection.run_sync(_has_ledger):
                return {}
            found = await connection.exec_driver_sql(ledger.select(ledger.NAME, hashes))
            rows: list[Any] = list(found.all())
        finally:
            await connection.rollback()
        return {row[0]: Applied(row[1].strip(), row[2]) for row in rows}

    async def apply(self, work: Work) -> End:
        """Apply one statement, unless the ledger has it; raises `SqlError` where its time is over."""
        from sqlalchemy import text  # noqa: PLC0415  # only where a manifest has SQL

        connection = await self.connection()
        await connection.exec_driver_sql(ledger.create(ledger.NAME, moment="TIMESTAMP"))
        query = ledger.select(ledger.NAME, [work.statement.hash])
        if not work.always and (await connection.exec_driver_sql(query)).all():
            await connection.rollback()
            return End("skipped", "applied before")
        began = time.perf_counter()
        try:
            async with asyncio.timeout(work.statement_timeout.total_seconds()):
                await self._run(work)
        except TimeoutError:
            limit = duration_text(work.statement_timeout)
            raise SqlError(f"ran longer than its `statement_timeout` of {limit}") from None
        await connection.exec_driver_sql(ledger.forget(ledger.NAME, work.statement.hash))
        row = {
            "hash": work.statement.hash,
            "step": work.step,
            "label": work.statement.label,
            "milliseconds": round((time.perf_counter() - began) * 1000),
        }
        marks = (":hash", ":step", ":label", ":milliseconds")
        await connection.execute(text(ledger.insert(ledger.NAME, marks=marks)), row)
        await connection.commit()
        return End("applied")

    async def _run(self, work: Work) -> None:
        """Run the statement; what must have no transaction, on a connection of its own."""
        options = {"no_parameters": True}
        if not work.is_alone:
            connection = await self.connection()
            await connection.exec_driver_sql(work.statement.text, execution_options=options)
            return
        async with self.engine.connect() as second:
            await second.execution_options(isolation_level="AUTOCOMMIT")
            await second.exec_driver_sql(work.statement.text, execution_options=options)


def _has_ledger(connection: object) -> bool:
    from sqlalchemy import inspect  # noqa: PLC0415  # only where a manifest has SQL

    return bool(inspect(connection).has_table(ledger.NAME))
