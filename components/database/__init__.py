"""The database of a service: an engine made from a URL, and one transaction on it.

In: a SQLAlchemy URL and the limits of its pool. Out: an `AsyncEngine` that has done no I/O yet. Its
`open` makes the first connection, so that a wrong password shows at the start; `ping` asks whether
the database answers; `dispose` closes it. Refused: what is no URL, and a pool without a bound.

A URL without a driver takes the async one: `postgres://` and `postgresql://` are asyncpg,
`sqlite://` is aiosqlite. SQLite gets foreign keys, a write-ahead log and a wait for locks.
What PostgreSQL's drivers raise keeps its SQLSTATE, at `error.orig.sqlstate`; only psycopg does not
tell it while connecting.
"""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, QueuePool

from components.database.url import Pooler, readable, target_of

_SQLITE_LOCK_WAIT = timedelta(seconds=10)


class Database(AsyncEngine):
    """An engine that can be opened and asked how it is.

    While all of its `most` connections are in use, `spare` asks, which has no pool.
    """

    __slots__ = ("_most", "_spare")

    def __init__(
        self, made: Engine, *, most: int | None = None, spare: AsyncEngine | None = None
    ) -> None:
        super().__init__(made)
        self._most = most
        self._spare = spare

    async def open(self) -> None:
        """Connect; raises what the driver raises, where the database cannot be used."""
        await self.ping()

    async def ping(self) -> None:
        """Ask over a connection; raises unless the database answers. The caller bounds it.

        A pool that is all in use says nothing of the database, and must not make the load balancer
        send its requests to the others: then the connection is one beside the pool, and a database
        in memory, which has no other, is there.
        """
        asked: AsyncEngine = self
        pool = self.sync_engine.pool
        if isinstance(pool, QueuePool) and pool.checkedout() == self._most:
            if self._spare is None:
                return
            asked = self._spare
        async with asked.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")


def engine(
    *,
    url: Annotated[
        str | SecretStr,
        AfterValidator(readable),
        Field(
            description="SQLAlchemy URL: `sqlite+aiosqlite:///data.db`, `postgresql://host/name`"
        ),
    ],
    pool_size: Annotated[
        int,
        Field(
            ge=1,
            description="connections that are kept open",
            json_schema_extra={"looser": "neither"},
        ),
    ] = 5,
    max_overflow: Annotated[
        int,
        Field(
            ge=0,
            description="connections beyond `pool_size` while many are in use",
            json_schema_extra={"looser": "neither"},
        ),
    ] = 10,
    pool_timeout: Annotated[
        timedelta, Field(gt=timedelta(0), description="longest wait for a free connection")
    ] = timedelta(seconds=10),
    pool_recycle: Annotated[
        timedelta, Field(gt=timedelta(0), description="age at which a connection is replaced")
    ] = timedelta(minutes=30),
    pre_ping: Annotated[
        bool, Field(description="test a connection before use, and replace a dead one")
    ] = True,
    pool: Annotated[
        Literal["queue", "none"],
        Field(
            description="`none` connects for each transaction anew, as serverless and a pooler "
            "beside the application want it; the options of the pool then say nothing"
        ),
    ] = "queue",
    pooler: Annotated[
        Pooler,
        Field(
            description="what stands before PostgreSQL: `transaction` for PgBouncer and the like "
            "in that mode, which prepared statements must not outlive"
        ),
    ] = "none",
    connect_timeout: Annotated[
        timedelta, Field(gt=timedelta(0), description="longest wait for a PostgreSQL connection")
    ] = timedelta(seconds=10),
    application_name: Annotated[
        str | None,
        Field(max_length=63, description="what PostgreSQL shows in `pg_stat_activity`"),
    ] = None,
    echo: Annotated[
        bool,
        Field(
            description="log every statement, with its parameters",
            json_schema_extra={"looser": "true"},
        ),
    ] = False,
) -> Database:
    """Make an async SQLAlchemy engine, which connects at the start: PostgreSQL, SQLite, serverless.

    No I/O happens here. A SQLite database in memory lives in one connection, which is never
    replaced: transactions take it in turns. Without `echo`, statement parameters stay out of logs
    and errors.

    Raises ValueError where `url` cannot be read (the text is not repeated: it holds a password),
    `pool_size` is below 1 or `max_overflow` below 0, which SQLAlchemy would take for no limit, and
    for a database in memory without a pool, which would be a new one at each transaction.
    """
    if pool_size < 1:
        raise ValueError("`pool_size` must be at least 1")
    if max_overflow < 0:
        raise ValueError("`max_overflow` must not be negative")
    target = target_of(
        url.get_secret_value() if isinstance(url, SecretStr) else url,
        pooler=pooler,
        connect_timeout=connect_timeout,
        application_name=application_name,
    )
    if target.most is not None:  # the URL bounds connections: both hold
        pool_size = min(pool_size, target.most)
        max_overflow = min(max_overflow, target.most - pool_size)
    in_memory = _is_sqlite(target.url) and target.url.database in {None, "", ":memory:"}
    if in_memory and pool == "none":
        raise ValueError("a database in memory needs `pool: queue`: its connection is all it has")
    limits: dict[str, Any] = {
        "poolclass": AsyncAdaptedQueuePool,
        "pool_size": 1 if in_memory else pool_size,
        "max_overflow": 0 if in_memory else max_overflow,
        "pool_timeout": pool_timeout.total_seconds(),
        "pool_recycle": -1 if in_memory else pool_recycle.total_seconds(),
        "pool_pre_ping": pre_ping,
    }

    def make(**limits: Any) -> AsyncEngine:
        return create_async_engine(
            target.url,
            connect_args=target.connect_args,
            echo=echo,
            hide_parameters=not echo,
            **limits,
        )

    without_pool = {"poolclass": NullPool}
    made = make(**(limits if pool == "queue" else without_pool)).sync_engine
    if _is_sqlite(target.url):
        event.listen(made, "connect", _prepare_sqlite)
        event.listen(made, "begin", _begin_sqlite)
    if in_memory:
        return Database(made, most=1)
    return Database(made, most=pool_size + max_overflow, spare=make(**without_pool))


@asynccontextmanager
async def transaction(db: AsyncEngine, *, write: bool) -> AsyncIterator[AsyncSession]:
    """One session in one transaction: committed at the end, rolled back when the body raises.

    `write` takes SQLite's write lock at once. A transaction that reads first and asks for the
    lock later fails, without any wait, where another one wrote in between.
    """
    bind = for_writing(db) if write else db
    async with AsyncSession(bind, expire_on_commit=False) as session, session.begin():
        yield session


def for_writing(db: AsyncEngine) -> AsyncEngine:
    """The same engine and pool; its SQLite transactions begin with the write lock."""
    return db.execution_options(sqlite_begin="IMMEDIATE")


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _prepare_sqlite(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_SQLITE_LOCK_WAIT // timedelta(milliseconds=1)}")
    cursor.execute("PRAGMA foreign_keys = ON")
    # the log is a property of the file and may be switched on by another process at this very
    # moment, for which SQLite does not wait; a read-only file keeps what it has
    with contextlib.suppress(sqlite3.OperationalError):
        cursor.execute("PRAGMA journal_mode = WAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # by itself the driver begins at the first INSERT only: not for SELECT, nor for DDL
    options = connection.get_execution_options()
    if options.get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql(f"BEGIN {options.get('sqlite_begin', 'DEFERRED')}")
