"""Which exceptions of a request tell of a database that is away, and which are somebody else's."""

import asyncio
import errno
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from components.database import Database, engine, transaction
from components.errors.transient import transient_reason
from tests.servers import free_port
from tests.transient_errors import CANCELLED, MAY_PASS, STAYS, caused, raised_in

DRIVERS = ("asyncpg.connect_utils", "sqlalchemy.pool.base", "psycopg.connection_async", "aiosqlite")


@pytest.mark.parametrize("name", MAY_PASS)
def test_what_may_pass(name: str) -> None:
    error = raised_in("asyncpg.connect_utils", MAY_PASS[name])
    assert transient_reason(error)
    assert transient_reason(caused(RuntimeError("a service's own"), error))


@pytest.mark.parametrize("name", STAYS)
def test_what_stays(name: str) -> None:
    assert transient_reason(raised_in("asyncpg.connect_utils", STAYS[name])) is None


def test_a_statement_that_its_time_limit_cancelled_would_be_cancelled_again() -> None:
    assert transient_reason(CANCELLED) is None


NETWORK = [
    TimeoutError(),
    ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
    ConnectionResetError(errno.ECONNRESET, "reset"),
    FileNotFoundError(errno.ENOENT, "no socket"),
    OSError(errno.EHOSTUNREACH, "no route"),
]


@pytest.mark.parametrize("module", DRIVERS)
@pytest.mark.parametrize("error", NETWORK, ids=repr)
def test_what_a_driver_raised_is_the_databases(module: str, error: Exception) -> None:
    assert transient_reason(raised_in(module, error.with_traceback(None)))


@pytest.mark.parametrize("module", ["shop.payments", "httpx2._client", "redis.asyncio", "anyio"])
@pytest.mark.parametrize("error", NETWORK, ids=repr)
def test_what_others_raised_is_not(module: str, error: Exception) -> None:
    assert transient_reason(raised_in(module, error.with_traceback(None))) is None
    assert transient_reason(caused(RuntimeError(), error)) is None


def test_an_exception_that_nobody_raised_is_not_the_databases() -> None:
    assert transient_reason(TimeoutError()) is None


Work = Callable[[Database], Awaitable[None]]


async def error_of(url: str, work: Work) -> Exception:
    db = engine(url=url)
    try:
        await work(db)
    except Exception as error:
        return error
    finally:
        await db.dispose()
    raise AssertionError


async def connecting(db: Database) -> None:
    async with db.connect():
        pass


async def late() -> None:
    async with asyncio.timeout(0):
        await asyncio.sleep(5)


def fail(_anything: object) -> None:
    raise ConnectionRefusedError(errno.ECONNREFUSED, "of a payment service")


async def in_a_transaction(db: Database) -> None:
    async with transaction(db, write=False):
        await late()


async def in_a_connection(db: Database) -> None:
    async with db.begin() as connection:
        await connection.execute(text("SELECT 1"))
        fail(connection)


async def called_by_the_session(db: Database) -> None:
    async with AsyncSession(db) as session:
        await session.run_sync(fail)


async def around_a_statement(db: Database) -> None:
    async with db.connect() as connection, asyncio.timeout(0):
        await connection.execute(text("SELECT 1"))


@pytest.mark.parametrize(
    "work", [in_a_transaction, in_a_connection, called_by_the_session, around_a_statement]
)
def test_what_a_service_raised_while_it_used_the_database_is_its_own(
    work: Work,
) -> None:
    error = asyncio.run(error_of("sqlite://", work))
    assert isinstance(error, TimeoutError | ConnectionRefusedError)
    assert transient_reason(error) is None


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_a_server_that_does_not_listen_is_away(driver: str) -> None:
    url = f"postgresql+{driver}://u:p@127.0.0.1:{free_port()}/x"
    assert transient_reason(asyncio.run(error_of(url, connecting)))


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_a_host_that_does_not_exist_stays(driver: str) -> None:
    url = f"postgresql+{driver}://u:p@no-such-host.invalid/x"
    error = asyncio.run(error_of(url, connecting))
    if "emporary failure" in str(error):
        pytest.skip("this machine asks a name server that does not answer")
    assert transient_reason(error) is None


def test_a_cycle_of_causes_ends() -> None:
    one, other = RuntimeError(), RuntimeError()
    one.__cause__, other.__cause__ = other, one
    assert transient_reason(one) is None
