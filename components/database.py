"""The database of a service: an engine made from a URL, and one transaction on it.

In: a SQLAlchemy URL and the limits of its pool. Out: an `AsyncEngine` that has done no I/O yet,
connects at its first statement and is closed by its `dispose`. Refused: what is no URL, and a
pool without a bound.

A URL without a driver takes the async one: `postgres://` and `postgresql://` are asyncpg,
`sqlite://` is aiosqlite. SQLite gets foreign keys, a write-ahead log and a wait for locks.
"""

import contextlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, SecretStr
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

_ASYNC_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "sqlite": "sqlite+aiosqlite",
}
_SQLITE_LOCK_WAIT = timedelta(seconds=10)


def engine(
    *,
    url: Annotated[str | SecretStr, Field(description="SQLAlchemy URL of the database")],
    pool_size: Annotated[int, Field(ge=1, description="connections that are kept open")] = 5,
    max_overflow: Annotated[
        int, Field(ge=0, description="connections beyond `pool_size` while many are in use")
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
    echo: Annotated[
        bool,
        Field(
            description="log every statement, with its parameters",
            json_schema_extra={"looser": "true"},
        ),
    ] = False,
) -> AsyncEngine:
    """Make an engine, without I/O.

    A SQLite database in memory lives in one connection, which is never replaced: transactions
    take it in turns. Without `echo`, statement parameters stay out of logs and errors.

    Raises ValueError where `url` cannot be read (the text is not repeated: it holds a password),
    `pool_size` is below 1 or `max_overflow` below 0, which SQLAlchemy would take for no limit.
    """
    if pool_size < 1:
        raise ValueError("`pool_size` must be at least 1")
    if max_overflow < 0:
        raise ValueError("`max_overflow` must not be negative")
    target = _parse(url.get_secret_value() if isinstance(url, SecretStr) else url)
    in_memory = _is_sqlite(target) and target.database in {None, "", ":memory:"}
    made = create_async_engine(
        target,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1 if in_memory else pool_size,
        max_overflow=0 if in_memory else max_overflow,
        pool_timeout=pool_timeout.total_seconds(),
        pool_recycle=-1 if in_memory else pool_recycle.total_seconds(),
        pool_pre_ping=pre_ping,
        echo=echo,
        hide_parameters=not echo,
    )
    if _is_sqlite(target):
        event.listen(made.sync_engine, "connect", _prepare_sqlite)
        event.listen(made.sync_engine, "begin", _begin_sqlite)
    return made


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


def _parse(text: str) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # SQLAlchemy quotes what it could not read, which may be part of an unescaped password
        raise ValueError("`url` is no database URL like `postgresql://host:5432/name`") from None
    return url.set(drivername=_ASYNC_DRIVERS.get(url.drivername, url.drivername))


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
