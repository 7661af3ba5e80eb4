"""What databases and caches raise, and whether it may pass by itself: one table for all who judge.

The start (`assembler.runtime.transient`), startup SQL (`assembler.runtime.sql.faults`) and requests
(`components.errors.transient`) are held to it. Each error stands for one that a driver has raised.
"""

import errno
import socket
import sqlite3
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no types
import psycopg
from sqlalchemy.exc import DBAPIError, DisconnectionError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError


class Stated(Exception):
    """What a driver raises that gives a SQLSTATE."""

    def __init__(self, state: str, text: str = "") -> None:
        super().__init__(text or state)
        self.sqlstate = state


def wrapped(error: Exception, *, is_lost: bool = False) -> Exception:
    return DBAPIError("SELECT 1", None, error, connection_invalidated=is_lost)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def of_sqlite(name: str) -> Exception:
    error = sqlite3.OperationalError("of SQLite")
    error.sqlite_errorname = name
    return error


def raised_in(module: str, error: Exception) -> Exception:
    """Return the error as if code of `module` had raised it."""
    code = compile("def fail(error):\n    raise error\n", f"<{module}>", "exec")
    names: dict[str, Any] = {"__name__": module}
    exec(code, names)
    try:
        names["fail"](error)
    except Exception as found:
        return found
    raise AssertionError


MAY_PASS: dict[str, Exception] = {
    "starting up": Stated("57P03"),
    "shut down by an administrator": Stated("57P01"),
    "crashed": Stated("57P02"),
    "idle for too long": Stated("57P05"),
    "too many connections": Stated("53300"),
    "out of memory": Stated("53200"),
    "connection failure": Stated("08006"),
    "a pooler": Stated("08P01"),
    "a pooler that lets wait for too long": Stated("08P01", "query_wait_timeout"),
    "a pooler that is full": Stated("08P01", "no more connections allowed (max_client_conn)"),
    "serialization failure": Stated("40001"),
    "deadlock": Stated("40P01"),
    "lock not available": Stated("55P03"),
    "wrapped by SQLAlchemy": wrapped(Stated("53300")),
    "a lost connection that SQLAlchemy knew": wrapped(Exception("closed"), is_lost=True),
    "asyncpg, starting up": asyncpg.CannotConnectNowError("starting up"),
    "asyncpg, full": asyncpg.TooManyConnectionsError("too many"),
    "asyncpg, lost amid a query": asyncpg.ConnectionDoesNotExistError("closed in the middle"),
    "psycopg, refused": psycopg.OperationalError(
        'server at "127.0.0.1" failed: Connection refused'
    ),
    "psycopg, starting up": psycopg.OperationalError("FATAL: the database system is starting up"),
    "psycopg, late": psycopg.errors.ConnectionTimeout("connection timeout expired"),
    "psycopg, a full pooler": psycopg.OperationalError("FATAL: no more connections allowed"),
    "psycopg, no route": psycopg.OperationalError("connection failed: No route to host"),
    "psycopg, names are away": psycopg.OperationalError(
        "[Errno -3] Temporary failure in name resolution"
    ),
    "psycopg, wrapped": OperationalError(
        "", None, psycopg.OperationalError("server closed the connection unexpectedly")
    ),
    "SQLite, busy": of_sqlite("SQLITE_BUSY"),
    "SQLite, busy by a snapshot": of_sqlite("SQLITE_BUSY_SNAPSHOT"),
    "SQLite, locked": wrapped(of_sqlite("SQLITE_LOCKED_SHAREDCACHE")),
    "refused": ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
    "refused, and no number": ConnectionRefusedError("refused"),
    "reset": ConnectionResetError(errno.ECONNRESET, "reset"),
    "aborted": ConnectionAbortedError(),
    "a pipe that broke": BrokenPipeError(errno.EPIPE, "broken"),
    "no route to the host": OSError(errno.EHOSTUNREACH, "no route"),
    "no route to the network": OSError(errno.ENETUNREACH, "no route"),
    "the host is down": OSError(errno.EHOSTDOWN, "down"),
    "the system's own time is over": OSError(errno.ETIMEDOUT, "timed out"),
    "no socket yet": FileNotFoundError(errno.ENOENT, "no socket"),
    "all addresses of a host": OSError("Multiple exceptions: [Errno 111] Connect call failed"),
    "too late": TimeoutError(),
    "names are away": socket.gaierror(socket.EAI_AGAIN, "try again"),
    "a pool that is full": PoolTimeoutError("QueuePool limit of size 5 overflow 10 reached"),
    "a connection that the pool gives up": DisconnectionError("gone"),
}
STAYS: dict[str, Exception] = {
    "a wrong password": Stated("28P01"),
    "no such role": Stated("28000"),
    "no such database": Stated("3D000"),
    "a dropped database": Stated("57P04"),
    "not allowed": Stated("42501"),
    "no such table": Stated("42P01"),
    "a duplicate": Stated("23505"),
    "a division by zero": wrapped(Stated("22012")),
    "a pooler and a wrong password": Stated("08P01", "SASL authentication failed"),
    "a pooler and no such database": Stated("08P01", 'database "nosuch" does not exist'),
    "wrapped by SQLAlchemy": wrapped(Stated("28P01")),
    "asyncpg, a wrong password": asyncpg.InvalidPasswordError("wrong"),
    "asyncpg, no such database": asyncpg.InvalidCatalogNameError("no database"),
    "psycopg, a wrong password": psycopg.OperationalError("password authentication failed"),
    "psycopg, no such host": psycopg.OperationalError("[Errno -2] Name or service not known"),
    "psycopg, no such database": psycopg.OperationalError('database "nosuch" does not exist'),
    "psycopg, anything else": psycopg.OperationalError("what is this"),
    "SQLite, no such table": of_sqlite("SQLITE_ERROR"),
    "SQLite, a full disk": of_sqlite("SQLITE_FULL"),
    "no such host": socket.gaierror(socket.EAI_NONAME, "no such host"),
    "a failure over no such host": caused(
        ConnectionRefusedError(), socket.gaierror(socket.EAI_NONAME, "no such host")
    ),
    "no file": FileNotFoundError(errno.ENOENT, "no file", "a.pem"),
    "a file that may not be read": PermissionError(errno.EACCES, "not allowed"),
    "a full disk": OSError(errno.ENOSPC, "no space"),
    "a connection error of nobody knows what": ConnectionError("of a program's own"),
    "a bug": ValueError("a bug"),
    "a late one over a wrong password": caused(TimeoutError(), Stated("28P01")),
}
# A statement that its time limit cancels: startup SQL set the limit itself, and tries again.
CANCELLED = Stated("57014")
