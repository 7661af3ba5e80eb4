"""One statement, once over all replicas, on PostgreSQL: directly or through a pooler.

In: an async engine of asyncpg or psycopg. Out: the statement and its row of the ledger in one
transaction, under a lock of that transaction: `pg_try_advisory_xact_lock` is polled, since whoever
waits for a lock inside a statement holds a snapshot, for which concurrent index builds wait.
`lock_timeout` and `statement_timeout` are set for the transaction alone. So nothing outlives it on
a connection, and PgBouncer may pool transactions.

What cannot run in a transaction (CREATE INDEX CONCURRENTLY, VACUUM, …) runs in autocommit on a
second connection, while the first holds the lock in a transaction that is idle and has no snapshot
(READ COMMITTED). A session lock would do on a direct connection, and be lost or left behind on one
through PgBouncer in transaction mode; this way does on both, and the end of the process frees it.
There the limits are the client's: behind a pooler they could not be set for one statement only.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from assembler.manifest.duration import duration_text
from assembler.plan.sql.kinds import BuiltIndex, built_index, is_concurrent, runs_alone
from assembler.runtime.sql import ledger
from assembler.runtime.sql.ledger import Applied
from assembler.runtime.sql.work import End, Session, SqlError, Work, close

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

LOCK_KEY = 4_716_238_115_093_702_531  # of all startup SQL in one database
_POLL_SECONDS = (0.01, 0.25)
_BUILD_POLL_SECONDS = 0.2
_SECOND_SECONDS = 5.0  # for the second connection
_INVALID = """
SELECT i.indexrelid::regclass::text,
       EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid)
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass(:table) AND c.relname = :name AND NOT i.indisvalid
"""


class PostgresSession(Session):
    """Applies statements to PostgreSQL."""

    _table = ""
    _has_ledger = False
    _is_direct = False

    async def applied(self, hashes: Sequence[str]) -> dict[str, Applied]:
        """Read what the ledger has of `hashes`, in one SELECT."""
        connection = await self._ready()
        try:
            rows = await self._rows(connection, hashes) if self._has_ledger else []
        finally:
            await connection.rollback()
        return {row[0]: Applied(row[1].strip(), row[2]) for row in rows}

    async def apply(self, work: Work) -> End:
        """Apply one statement under the lock, unless the ledger has it."""
        connection = await self._ready()
        if not await self._lock_unbuilt(connection, work):
            return End("skipped", "applied before")
        self.is_tainted = True
        began = time.perf_counter()
        detail = ""
        if runs_alone(work.tokens, "postgresql"):
            detail = await self._run_alone(connection, work)
        else:
            await _set(
                connection,
                lock_timeout=duration_text(work.lock_timeout),
                statement_timeout=duration_text(work.statement_timeout),
            )
            await _run(connection, work.statement.text)
        await self._record(connection, work, round((time.perf_counter() - began) * 1000))
        await connection.commit()
        return End("applied", detail)

    async def _ready(self) -> "AsyncConnection":
        """Open the connection, and find the ledger."""
        if self._connection is None:
            self._connection = await self.engine.connect()
            # With a snapshot of its own the idle transaction would keep index builds waiting.
            await self._connection.execution_options(isolation_level="READ COMMITTED")
            schema, has_ledger, pid = await _row(
                self._connection,
                "SELECT quote_ident(current_schema()), "
                f"to_regclass(quote_ident(current_schema()) || '.{ledger.NAME}') IS NOT NULL, "
                "pg_backend_pid()",
            )
            self._is_direct = await _is_direct(self._connection, pid)
            await self._connection.rollback()
            if schema is None:
                raise SqlError("the search path names no schema where the ledger could be kept")
            self._table, self._has_ledger = f"{schema}.{ledger.NAME}", has_ledger
        return self._connection

    async def _lock_unbuilt(self, connection: "AsyncConnection", work: Work) -> bool:
        """As `_lock`, once no connection whose client died still builds the index of `work`.

        A build waits for the end of every transaction that it saw with a snapshot, such as one
        that looks at it: so none stays open meanwhile.
        """
        index = built_index(work.tokens)
        while await self._lock(connection, work):
            found = await _invalid(connection, index) if index else None
            if not (found and found[1]):
                return True
            await connection.rollback()
            if self.clock() >= work.until:
                raise SqlError(f"another connection still builds `{found[0]}`")
            await asyncio.sleep(_BUILD_POLL_SECONDS)
        return False

    async def _lock(self, connection: "AsyncConnection", work: Work) -> bool:
        """Begin the transaction of `work` under the lock; return False where it was applied."""
        low, high = _POLL_SECONDS
        while True:
            (is_locked,) = await _row(connection, f"SELECT pg_try_advisory_xact_lock({LOCK_KEY})")
            if is_locked and not self._has_ledger:
                await _run(connection, ledger.create(self._table, moment="TIMESTAMPTZ"))
                await connection.commit()
                self._has_ledger = True
                continue
            if self._has_ledger and not work.always and await self._is_applied(connection, work):
                await connection.rollback()
                return False
            if is_locked:
                return True
            await connection.rollback()
            if self.clock() >= work.until:
                raise SqlError("another process applies startup SQL, and did not end in time")
            await asyncio.sleep(random.uniform(low / 2, low))  # noqa: S311  # spreads the replicas
            low = min(low * 1.5, high)

    async def _is_applied(self, connection: "AsyncConnection", work: Work) -> bool:
        return bool(await self._rows(connection, [work.statement.hash]))

    async def _rows(self, connection: "AsyncConnection", hashes: Sequence[str]) -> list[Any]:
        return await _all(connection, ledger.select(self._table, hashes))

    async def _record(self, connection: "AsyncConnection", work: Work, milliseconds: int) -> None:
        from sqlalchemy import text  # noqa: PLC0415  # only where a manifest has SQL

        await _run(connection, ledger.forget(self._table, work.statement.hash))
        marks = (":hash", ":step", ":label", ":milliseconds")
        await connection.execute(
            text(ledger.insert(self._table, marks=marks)),
            {
                "hash": work.statement.hash,
                "step": work.step,
                "label": work.statement.label,
                "milliseconds": milliseconds,
            },
        )

    async def _run_alone(self, holder: "AsyncConnection", work: Work) -> str:
        """Run what takes no transaction, on a connection of its own that nobody gets after it."""
        try:
            async with asyncio.timeout(_SECOND_SECONDS):
                second = await self.engine.connect()
        except TimeoutError:
            raise SqlError("takes a second connection, and the engine's pool gave none") from None
        try:
            await second.execution_options(isolation_level="AUTOCOMMIT")
            index = built_index(work.tokens)
            detail = await _drop_invalid(holder, second, index) if index else ""
            if self._is_direct:
                # Concurrent builds wait for old transactions and keep nobody waiting.
                lock = "0" if is_concurrent(work.tokens) else duration_text(work.lock_timeout)
                await _simple(second, f"SET lock_timeout = '{lock}'")
                limit = duration_text(work.statement_timeout)
                await _simple(second, f"SET statement_timeout = '{limit}'")
            await _release_snapshot(holder)
            try:
                async with asyncio.timeout(work.statement_timeout.total_seconds()):
                    await _simple(second, work.statement.text)
            except TimeoutError:
                limit = duration_text(work.statement_timeout)
                raise SqlError(f"ran longer than its `statement_timeout` of {limit}") from None
        finally:
            with contextlib.suppress(Exception):  # it is not used again, whatever its state
                await asyncio.shield(close(second, is_tainted=True))
        if index and await _invalid(holder, index):
            raise SqlError(f"index `{index.name}` was built, and is not valid")
        return detail


async def _drop_invalid(
    holder: "AsyncConnection", second: "AsyncConnection", index: BuiltIndex
) -> str:
    """Drop what a failed build left, which `IF NOT EXISTS` would take for the index."""
    if not (found := await _invalid(holder, index)):
        return ""
    await _release_snapshot(holder)
    await _simple(second, f"DROP INDEX CONCURRENTLY IF EXISTS {found[0]}")
    return f"an invalid `{index.name}` was dropped and built again"


async def _run(connection: "AsyncConnection", text: str) -> Any:
    """Run a text as it is: no parameters, so that no `%` or `:` means anything."""
    return await connection.exec_driver_sql(text, execution_options={"no_parameters": True})


async def _row(connection: "AsyncConnection", text: str) -> Any:
    return (await _run(connection, text)).one()


async def _all(connection: "AsyncConnection", text: str) -> list[Any]:
    return list((await _run(connection, text)).all())


async def _set(connection: "AsyncConnection", **settings: str) -> None:
    calls = [f"set_config('{name}', '{value}', true)" for name, value in settings.items()]
    await _run(connection, f"SELECT {', '.join(calls)}")


async def _release_snapshot(connection: "AsyncConnection") -> None:
    """Let the open transaction keep the lock, and nothing that a concurrent build waits for.

    asyncpg leaves the portal of its last query open, with a snapshot; SET takes the place of that
    portal and needs none.
    """
    await _run(connection, "SET LOCAL idle_in_transaction_session_timeout = 0")


async def _simple(connection: "AsyncConnection", text: str) -> None:
    """Run a text in one message: a pooler may send each of asyncpg's usual two elsewhere."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None  # noqa: S101  # the connection is open
    await driver.execute(text)


async def _is_direct(connection: "AsyncConnection", server_pid: int) -> bool:
    """Tell whether no pooler is between: one makes up the number that it gives to clients."""
    driver = (await connection.get_raw_connection()).driver_connection
    asked = getattr(driver, "get_server_pid", None)
    own = asked() if asked else getattr(getattr(driver, "info", None), "backend_pid", None)
    return bool(own == server_pid)


async def _invalid(connection: "AsyncConnection", index: BuiltIndex) -> Any:
    from sqlalchemy import text  # noqa: PLC0415  # only where a manifest has SQL

    is_quoted = index.name.startswith('"')
    name = index.name[1:-1].replace('""', '"') if is_quoted else index.name.lower()
    found = await connection.execute(text(_INVALID), {"table": index.table, "name": name})
    return found.one_or_none()
