import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from components.database import engine, transaction


def _file(tmp_path: Path, **options: Any) -> AsyncEngine:
    return engine(url=f"sqlite+aiosqlite:///{tmp_path}/test.db", **options)


async def _run(db: AsyncEngine, *statements: str) -> Any:
    """The first value of the last statement, each in a transaction of its own."""
    value = None
    for statement in statements:
        async with transaction(db, write=True) as session:
            result: Any = await session.execute(text(statement))
            value = result.scalar() if result.returns_rows else None
    return value


async def _interrupted(db: AsyncEngine) -> None:
    async with transaction(db, write=True) as session:
        await session.execute(text("CREATE TABLE half (id INTEGER)"))
        raise LookupError


def test_making_an_engine_touches_nothing(tmp_path: Path) -> None:
    _file(tmp_path)
    engine(url="postgresql://user:password@unreachable.invalid/name")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgres://u:p@h/name", "postgresql+asyncpg"),
        ("postgresql://u:p@h/name", "postgresql+asyncpg"),
        ("postgresql+asyncpg://u:p@h/name", "postgresql+asyncpg"),
        ("sqlite:///file.db", "sqlite+aiosqlite"),
    ],
)
def test_a_url_without_a_driver_takes_the_async_one(url: str, driver: str) -> None:
    assert engine(url=url).url.drivername == driver


def test_the_url_may_be_a_secret() -> None:
    db = engine(url=SecretStr("postgresql://u:hidden@h/name"))
    assert db.url.password == "hidden"
    assert "hidden" not in repr(db)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "postgresql://u:pass@word:secret/name", "postgresql://u:p@h:secret/x"]
)
def test_a_url_that_cannot_be_read_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="`url` is no database URL") as caught:
        engine(url=url)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_pool_without_a_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="`pool_size` must be at least 1"):
        engine(url="sqlite://", pool_size=0)
    with pytest.raises(ValueError, match="`max_overflow` must not be negative"):
        engine(url="sqlite://", max_overflow=-1)


def test_the_pool_has_the_limits_it_was_given(tmp_path: Path) -> None:
    pool = _file(
        tmp_path,
        pool_size=3,
        max_overflow=4,
        pool_timeout=timedelta(milliseconds=250),
        pool_recycle=timedelta(minutes=2),
    ).pool
    assert isinstance(pool, QueuePool)
    assert (pool.size(), pool._max_overflow, pool._timeout, pool._recycle) == (3, 4, 0.25, 120)


def test_sqlite_has_foreign_keys_a_write_ahead_log_and_waits_for_locks(tmp_path: Path) -> None:
    async def settings() -> list[Any]:
        db = _file(tmp_path)
        names = ("foreign_keys", "journal_mode", "busy_timeout")
        values = [await _run(db, f"PRAGMA {name}") for name in names]
        await db.dispose()
        return values

    assert asyncio.run(settings()) == [1, "wal", 10_000]


def test_sqlite_refuses_a_row_without_its_parent(tmp_path: Path) -> None:
    async def orphan() -> None:
        db = _file(tmp_path)
        try:
            await _run(
                db,
                "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
                "CREATE TABLE child (parent_id INTEGER REFERENCES parent)",
                "INSERT INTO child VALUES (1)",
            )
        finally:
            await db.dispose()

    with pytest.raises(IntegrityError):
        asyncio.run(orphan())


def test_a_read_only_sqlite_file_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "test.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
    connection.close()

    async def read() -> Any:
        db = engine(url=f"sqlite:///file:{path}?mode=ro&uri=true")
        async with transaction(db, write=False) as session:
            value = await session.scalar(text("SELECT value FROM kept"))
        await db.dispose()
        return value

    assert asyncio.run(read()) == 42


def test_a_transaction_is_rolled_back_when_its_body_raises_and_ddl_with_it(tmp_path: Path) -> None:
    async def story() -> Any:
        db = _file(tmp_path)
        with pytest.raises(LookupError):
            await _interrupted(db)
        tables = await _run(db, "SELECT count(*) FROM sqlite_master")
        await db.dispose()
        return tables

    assert asyncio.run(story()) == 0


def test_transactions_that_read_before_they_write_lose_nothing(tmp_path: Path) -> None:
    async def count() -> Any:
        db = _file(tmp_path, pool_size=8)
        await _run(db, "CREATE TABLE counter AS SELECT 0 AS value")

        async def increment() -> None:
            async with transaction(db, write=True) as session:
                value = await session.scalar(text("SELECT value FROM counter"))
                await asyncio.sleep(0)
                await session.execute(text("UPDATE counter SET value = :v"), {"v": value + 1})

        await asyncio.gather(*(increment() for _ in range(40)))
        total = await _run(db, "SELECT value FROM counter")
        await db.dispose()
        return total

    assert asyncio.run(count()) == 40


def test_a_database_in_memory_keeps_transactions_apart() -> None:
    async def count() -> Any:
        db = engine(url="sqlite://")
        await _run(db, "CREATE TABLE seen (id INTEGER)")

        async def insert(number: int) -> None:
            async with transaction(db, write=True) as session:
                await session.execute(text("INSERT INTO seen VALUES (:id)"), {"id": number})
                await asyncio.sleep(0)
                if number % 2:
                    raise LookupError

        await asyncio.gather(*(insert(n) for n in range(20)), return_exceptions=True)
        kept = await _run(db, "SELECT count(*) FROM seen WHERE id % 2 = 0")
        total = await _run(db, "SELECT count(*) FROM seen")
        await db.dispose()
        return kept, total

    assert asyncio.run(count()) == (10, 10)


def test_autocommit_begins_no_transaction(tmp_path: Path) -> None:
    async def vacuum() -> None:
        db = _file(tmp_path)
        alone = db.execution_options(isolation_level="AUTOCOMMIT")
        async with alone.connect() as connection:
            await connection.execute(text("VACUUM"))
        # the same connection, back from the pool, is transactional again
        with pytest.raises(LookupError):
            await _interrupted(db)
        assert await _run(db, "SELECT count(*) FROM sqlite_master") == 0
        await db.dispose()

    asyncio.run(vacuum())


def test_parameters_stay_out_of_errors_unless_echoed(tmp_path: Path) -> None:
    async def message(*, echo: bool) -> str:
        db = _file(tmp_path, echo=echo)
        try:
            async with transaction(db, write=True) as session:
                await session.execute(text("INSERT INTO absent VALUES (:v)"), {"v": "private"})
        except Exception as error:
            return str(error)
        finally:
            await db.dispose()
        raise AssertionError

    assert "private" not in asyncio.run(message(echo=False))
    assert "private" in asyncio.run(message(echo=True))
