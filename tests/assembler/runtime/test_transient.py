"""Which failures of an opening may pass by themselves."""

import errno
import socket

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest
import redis.exceptions
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from assembler.runtime.transient import is_transient


class Stated(Exception):
    def __init__(self, state: str, text: str = "") -> None:
        super().__init__(text or state)
        self.sqlstate = state


class Saying(Exception):
    def __init__(self, transient: bool) -> None:
        super().__init__()
        self.transient = transient


class OfPsycopg(Exception):
    pgconn = None
    sqlstate = None


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def wrapped(state: str) -> Exception:
    return OperationalError("SELECT 1", None, Stated(state))


TRANSIENT = [
    *map(Stated, ("57P03", "57P01", "53300", "53200", "08006", "08P01", "40001", "40P01", "55P03")),
    Stated("08P01", "query_wait_timeout"),
    Stated("08P01", "no more connections allowed (max_client_conn)"),
    wrapped("53300"),
    asyncpg.CannotConnectNowError("starting up"),
    asyncpg.TooManyConnectionsError("too many"),
    ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
    ConnectionResetError(errno.ECONNRESET, "reset"),
    OSError(errno.EHOSTUNREACH, "no route"),
    FileNotFoundError(errno.ENOENT, "no socket"),
    OSError(
        "Multiple exceptions: [Errno 111] Connect call failed, [Errno 111] Connect call failed"
    ),
    TimeoutError(),
    socket.gaierror(socket.EAI_AGAIN, "try again"),
    caused(redis.exceptions.ConnectionError("Error 111"), ConnectionRefusedError(111, "refused")),
    redis.exceptions.BusyLoadingError("loading"),
    OfPsycopg('connection to server at "127.0.0.1" failed: Connection refused'),
    OfPsycopg("FATAL: the database system is starting up"),
    OfPsycopg("connection timeout expired"),
    OfPsycopg("FATAL: no more connections allowed (max_client_conn)"),
    Saying(transient=True),
    ExceptionGroup("all", [ConnectionRefusedError(errno.ECONNREFUSED, "refused")]),
]
PERMANENT = [
    *map(Stated, ("28P01", "28000", "3D000", "42501", "57014", "57P04")),
    Stated("08P01", "SASL authentication failed"),
    Stated("08P01", 'database "nosuch" does not exist'),
    wrapped("28P01"),
    asyncpg.InvalidPasswordError("wrong"),
    asyncpg.InvalidCatalogNameError("no database"),
    socket.gaierror(socket.EAI_NONAME, "no such host"),
    caused(redis.exceptions.ConnectionError("-2"), socket.gaierror(socket.EAI_NONAME, "no host")),
    redis.exceptions.AuthenticationError("wrong"),
    FileNotFoundError(errno.ENOENT, "no file", "a.pem"),
    PermissionError(errno.EACCES, "not allowed"),
    ConnectionError("of a program's own"),
    ValueError("a bug"),
    OfPsycopg("password authentication failed"),
    caused(Saying(transient=False), TimeoutError()),
]


@pytest.mark.parametrize("error", TRANSIENT, ids=repr)
def test_what_may_pass(error: Exception) -> None:
    assert is_transient(error)
    assert is_transient(caused(RuntimeError("a driver's own"), error))


@pytest.mark.parametrize("error", PERMANENT, ids=repr)
def test_what_stays(error: Exception) -> None:
    assert not is_transient(error)


def test_one_permanent_cause_decides() -> None:
    assert not is_transient(caused(TimeoutError(), Stated("28P01")))


def test_a_pool_that_is_full_may_have_room_later() -> None:
    assert is_transient(PoolTimeoutError("QueuePool limit of size 5 overflow 10 reached"))


def test_exceptions_that_cause_each_other_are_looked_at_once() -> None:
    first, second = ValueError(), TimeoutError()
    first.__cause__, second.__cause__ = second, first
    assert is_transient(first)
