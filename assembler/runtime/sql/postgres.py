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
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from assembler.manifest.duration import duration_text
from assembler.plan.sql.kinds import built_index, is_concurrent, reindexed
from assembler.runtime.sql import ledger
from assembler.runtime.sql.ledger import Applied
from assembler.runtime.sql.work import End, Session, SqlError, Work, close, milliseconds

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

LOCK_KEY = 4_716_238_115_093_702_531  # of all startup SQL in one database
_POLL_SECONDS = (0.01, 0.25)
_BUILD_POLL_SECONDS = 0.2
_SECOND_SECONDS = 5.0  # for the second connection
_INVALID = """
SELECT i.indexrelid::regclass::text,
       EXISTS (SELECT FROM pg_stat_progress_create_index p
               WHERE p.index_relid = i.indexrelid OR (p.relid = i.indrelid AND {is_again}))
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
WHERE NOT i.indisvalid AND t.relkind <> 't' AND {which}
"""
_OF_A_BUILD = "i.indrelid = to_regclass(:table) AND c.relname = :name"
_OF_A_REINDEX = {
    "INDEX": "i.indrelid = (SELECT indrelid FROM pg_index WHERE indexrelid = to_regclass(:name))",
    "TABLE": "i.indrelid = to_regclass(:name)",
    "SCHEMA": "t.relnamespace = to_regnamespace(:name)",
}


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
        if work.is_alone:
            detail = await self._run_alone(connection, work)
        else:
            await _set(
                connection,
                lock_timeout=f"{milliseconds(work.lock_timeout)}ms",
                statement_timeout=f"{milliseconds(work.statement_timeout)}ms",
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
        while await self._lock(connection, work):
            built = [name for name, is_built in await _invalid(connection, work) if is_built]
            if not built:
                return True
            await connection.rollback()
            if self.clock() >= work.until:
                raise SqlError(f"another connection still builds `{built[0]}`")
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
        async with _looking(connection) if work.is_alone else contextlib.nullcontext():
            return bool(await self._rows(connection, [work.statement.hash]))

    async def _rows(self, connection: "AsyncConnection", hashes: Sequence[str]) -> list[Any]:
        return await _all(connection, ledger.select(self._table, hashes))

    async def _record(self, connection: "AsyncConnection", work: Work, took: int) -> None:
        from sqlalchemy import text  # noqa: PLC0415  # only where a manifest has SQL

        await _run(connection, ledger.forget(self._table, work.statement.hash))
        marks = (":hash", ":step", ":label", ":milliseconds")
        await connection.execute(
            text(ledger.insert(self._table, marks=marks)),
            {
                "hash": work.statement.hash,
                "step": work.step,
                "label": work.statement.label,
                "milliseconds": took,
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
            detail = await _drop_invalid(holder, second, work)
            if self._is_direct:
                # Concurrent builds wait for old transactions and keep nobody waiting.
                lock = 0 if is_concurrent(work.tokens) else milliseconds(work.lock_timeout)
                await _simple(second, f"SET lock_timeout = '{lock}ms'")
                limit = milliseconds(work.statement_timeout)
                await _simple(second, f"SET statement_timeout = '{limit}ms'")
            await _release_snapshot(holder)
            try:
                async with asyncio.timeout(work.statement_timeout.total_seconds()):
                    await _simple(second, work.statement.text)
            except TimeoutError:
                told = duration_text(work.statement_timeout)
                raise SqlError(f"ran longer than its `statement_timeout` of {told}") from None
        finally:
            with contextlib.suppress(Exception):  # it is not used again, whatever its state
                await asyncio.shield(close(second, is_tainted=True))
        for name, _ in await _invalid(holder, work):
            raise SqlError(f"index `{name}` was built, and is not valid")
        return detail


async def _drop_invalid(holder: "AsyncConnection", second: "AsyncConnection", work: Work) -> str:
    """Drop what a failed build left: `IF NOT EXISTS` would take it for the index, REINDEX add to it."""
    names = [name for name, _ in await _invalid(holder, work)]
    if not names:
        return ""
    await _release_snapshot(holder)
    for name in names:
        await _simple(second, f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    told = ", ".join(f"`{name}`" for name in names)
    return f"an invalid {told} was dropped and built again"


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


@contextlib.asynccontextmanager
async def _looking(connection: "AsyncConnection") -> AsyncIterator[None]:
    """Read tables, and give their locks back, while the lock of the transaction is kept.

    Else VACUUM FULL and REINDEX DATABASE would wait for the very transaction that waits for them.
    """
    await _run(connection, "SAVEPOINT looking")
    yield
    await _run(connection, "ROLLBACK TO SAVEPOINT looking")
    await _run(connection, "RELEASE SAVEPOINT looking")


async def _invalid(connection: "AsyncConnection", work: Work) -> list[Any]:
    """Return the indexes that a build like that of `work` left, each with whether one is going on.

    REINDEX CONCURRENTLY leaves them as `…_ccnew` and `…_ccold`, with a number where there are more.
    """
    from sqlalchemy import text  # noqa: PLC0415  # only where a manifest has SQL

    index, again = built_index(work.tokens), reindexed(work.tokens)
    if index is not None:
        where, values = _OF_A_BUILD, {"table": index.table, "name": _relname(index.name)}
    elif again is not None:
        where = f"c.relname ~ '_cc(new|old)[0-9]*$' AND {_OF_A_REINDEX.get(again.kind, 'true')}"
        values = {"name": again.name} if again.kind in _OF_A_REINDEX else {}
    else:
        return []
    query = text(_INVALID.format(is_again=index is None, which=where))
    async with _looking(connection):
        found = await connection.execute(query, values)
        return list(found.all())


def _relname(written: str) -> str:
    is_quoted = written.startswith('"')
    return written[1:-1].replace('""', '"') if is_quoted else written.lower()
