"""The engine before a real PostgreSQL, and before PgBouncer."""

import asyncio
import contextlib
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.pool import NullPool

from components.database import Database, engine, transaction
from components.errors.transient import transient_reason
from tests.servers import PostgresServer, free_port, start_pgbouncer, start_postgres
from tests.waiting import until

DRIVERS = ["asyncpg", "psycopg"]


@pytest.fixture(scope="session")
def pgbouncer(postgres_server: PostgresServer) -> Iterator[str]:
    if shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        if os.environ.get("CI") == "true":
            raise RuntimeError("PgBouncer must be installed where CI=true")
        pytest.skip("PgBouncer is not installed")
    with start_pgbouncer(postgres_server.url) as url:
        yield url


def with_driver(url: str, driver: str) -> str:
    return url.replace("postgresql:", f"postgresql+{driver}:")


async def value(db: Database, statement: str) -> Any:
    async with transaction(db, write=False) as session:
        return await session.scalar(text(statement))


async def opening(db: Database) -> Exception:
    try:
        await db.open()
    except Exception as error:
        return error
    finally:
        await db.dispose()
        # aiosqlite's thread of a connection that failed still speaks to this loop
        await until(lambda: not any("_connection_worker" in t.name for t in threading.enumerate()))
    raise AssertionError


def prepend(line: str, path: str) -> None:
    file = Path(path)
    file.write_text(line + file.read_text())


def sqlstate(error: Exception) -> object:
    return getattr(getattr(error, "orig", error), "sqlstate", None)


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_opened_engine_is_connected_and_answers(postgres: str, driver: str) -> None:
    async def story() -> None:
        db = engine(url=with_driver(postgres, driver), application_name="shop")
        await db.open()
        assert db.pool.checkedin() == 1  # type: ignore[attr-defined]  # a queue pool's
        await db.ping()
        assert await value(db, "SELECT current_setting('application_name')") == "shop"
        await db.dispose()
        assert db.pool.checkedin() == 0  # type: ignore[attr-defined]  # a queue pool's

    asyncio.run(story())


@pytest.mark.parametrize(
    ("change", "state"),
    [(("postgres@", "absent@"), "28000"), (("@/test_", "@/absent_"), "3D000")],
)
def test_what_cannot_be_used_shows_when_it_is_opened(
    postgres: str, change: tuple[str, str], state: str
) -> None:
    url = postgres.replace(*change)
    assert url != postgres
    error = asyncio.run(opening(engine(url=url)))
    assert sqlstate(error) == state
    assert transient_reason(error) is None


def test_a_wrong_password_shows_when_it_is_opened_and_is_not_repeated(postgres: str) -> None:
    async def story() -> Exception:
        db = engine(url=postgres)
        async with transaction(db, write=True) as session:
            await session.execute(text("CREATE ROLE guarded LOGIN PASSWORD 'rightword'"))
        prepend("local all guarded scram-sha-256\n", await value(db, "SHOW hba_file"))
        await value(db, "SELECT pg_reload_conf()")
        await db.dispose()
        async with asyncio.timeout(60):
            while True:  # until the server has read its file again
                with contextlib.suppress(AssertionError):
                    return await opening(engine(url=wrong))

    wrong = postgres.replace("postgres@", "guarded:wrongword@")
    error = asyncio.run(story())
    assert sqlstate(error) == "28P01"
    assert transient_reason(error) is None
    assert "wrongword" not in str(error)


def test_a_refused_connection_is_transient() -> None:
    url = f"postgresql://u:p@127.0.0.1:{free_port()}/name"
    assert transient_reason(asyncio.run(opening(engine(url=url)))) is not None


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_server_that_accepts_and_says_nothing_is_waited_for_as_long_as_told(driver: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u:p@127.0.0.1:{silent.getsockname()[1]}/name?connect_timeout=60"
        db = engine(url=with_driver(url, driver), connect_timeout=timedelta(seconds=1))
        error = asyncio.run(opening(db))
    assert isinstance(error, (TimeoutError, OperationalError))


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_error_of_a_statement_keeps_its_sqlstate(postgres: str, driver: str) -> None:
    async def story() -> None:
        db = engine(url=with_driver(postgres, driver))
        with pytest.raises(ProgrammingError) as caught:
            await value(db, "SELECT * FROM absent")
        assert sqlstate(caught.value) == "42P01"
        await db.dispose()

    asyncio.run(story())


def test_parameters_of_libpq_in_the_url_reach_the_server(postgres: str) -> None:
    async def story() -> None:
        db = engine(url=f"{postgres}&options=-c%20statement_timeout%3D4321&sslmode=prefer")
        assert await value(db, "SHOW statement_timeout") == "4321ms"
        await db.dispose()

    asyncio.run(story())


@pytest.mark.parametrize("driver", DRIVERS)
def test_urls_of_psql_and_of_other_libraries_connect(postgres: str, driver: str) -> None:
    psql = (
        "sslsni=1&gssencmode=disable&keepalives=1&keepalives_idle=30&keepalives_interval=10"
        "&keepalives_count=3&tcp_user_timeout=1000&client_encoding=utf8&sslmode=prefer"
        "&target_session_attrs=read-write&channel_binding=prefer&application_name=a%20shop"
    )
    prisma = "pgbouncer=true&connection_limit=1&pool_timeout=0&schema=public&connect_timeout=5"

    async def story(more: str) -> None:
        db = engine(url=with_driver(f"{postgres}&{more}", driver))
        for _ in range(2):
            assert await value(db, "SELECT 1") == 1
        if more is psql:
            assert await value(db, "SHOW application_name") == "a shop"
        await db.dispose()

    for more in (psql, prisma, "statement_cache_size=0", "ssl=false"):
        asyncio.run(story(more))


@pytest.mark.parametrize("driver", DRIVERS)
def test_the_host_that_answers_of_several_is_used(driver: str) -> None:
    async def story(url: str) -> int:
        db = engine(url=url)
        found: int = await value(db, "SELECT 1")
        await db.dispose()
        return found

    with start_postgres(port=True) as server:
        port = server.port
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{port}"
        assert asyncio.run(story(f"postgresql+{driver}://postgres@{hosts}/postgres")) == 1


def test_without_a_pool_no_connection_outlives_its_use(postgres: str) -> None:
    async def story() -> None:
        db = engine(url=postgres, pool="none")
        assert isinstance(db.pool, NullPool)
        await db.open()
        first = await value(db, "SELECT pg_backend_pid()")
        assert await value(db, "SELECT pg_backend_pid()") != first
        await db.dispose()

    asyncio.run(story())


def test_a_database_in_memory_must_have_a_pool() -> None:
    with pytest.raises(ValueError, match="needs `pool: queue`"):
        engine(url="sqlite://", pool="none")


@pytest.mark.parametrize("driver", DRIVERS)
def test_behind_a_transaction_pooler_statements_never_meet(pgbouncer: str, driver: str) -> None:
    """Twelve connections of the client share two of the server, and change between transactions."""

    async def story() -> set[int]:
        db = engine(
            url=with_driver(pgbouncer, driver), pooler="transaction", pool_size=12, max_overflow=0
        )
        await db.open()
        servers: set[int] = set()

        async def work(number: int) -> None:
            for turn in range(15):
                async with transaction(db, write=True) as session:
                    statement = text("SELECT pg_backend_pid(), CAST(:a AS int) + CAST(:b AS int)")
                    row = (await session.execute(statement, {"a": number, "b": turn})).one()
                    assert row[1] == number + turn
                    servers.add(row[0])

        await asyncio.gather(*(work(number) for number in range(12)))
        await db.dispose()
        return servers

    assert 1 <= len(asyncio.run(story())) <= 2


def test_a_sqlite_file_that_cannot_be_made_shows_when_it_is_opened(tmp_path: Path) -> None:
    error = asyncio.run(opening(engine(url=f"sqlite:///{tmp_path}/absent/file.db")))
    assert isinstance(error, OperationalError)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("change", [("word@", "wr0ng@"), ("/postgres", "/nowhere")])
def test_what_a_pooler_refuses_for_good_is_not_transient(
    pgbouncer: str, driver: str, change: tuple[str, str]
) -> None:
    # each a name of its own: PgBouncer lets the second one who asks for it wait
    changed = change[1].replace("nowhere", f"nowhere_{driver}")
    url = with_driver(changed.join(pgbouncer.rsplit(change[0], 1)), driver)
    error = asyncio.run(opening(engine(url=url, pooler="transaction")))
    assert transient_reason(error) is None
    assert "wr0ng" not in str(error)


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_pool_that_is_all_in_use_does_not_make_the_database_seem_away(
    postgres: str, driver: str
) -> None:
    async def main() -> None:
        waits = timedelta(minutes=5)
        db = engine(
            url=with_driver(postgres, driver), pool_size=1, max_overflow=1, pool_timeout=waits
        )
        async with db.connect(), db.connect():
            async with asyncio.timeout(30):  # of the minutes that it would wait for the pool
                await db.ping()
        await db.ping()
        await db.dispose()

    asyncio.run(main())


def test_a_database_that_died_is_away_while_its_pool_is_all_in_use() -> None:
    async def main(server: PostgresServer) -> None:
        db = engine(url=server.url, pool_size=1, max_overflow=0)
        async with db.connect():
            server.kill()
            with pytest.raises(OSError, match="No such file"):
                await db.ping()
        await db.dispose()

    with start_postgres() as server:
        asyncio.run(main(server))


def test_a_database_in_memory_that_is_in_use_is_there() -> None:
    async def main() -> None:
        db = engine(url="sqlite://", pool_timeout=timedelta(minutes=5))
        async with db.connect():
            await asyncio.wait_for(db.ping(), 30)
        await db.dispose()

    asyncio.run(main())
