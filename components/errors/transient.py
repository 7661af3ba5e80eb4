"""An exception -> whether the database was only away or busy for a moment.

In: any exception; SQLAlchemy's wrapped ones are looked into. Out: a short reason for logs, without
SQL, parameters or addresses, or None. No driver is imported: exceptions are known by their SQLSTATE
(https://www.postgresql.org/docs/current/errcodes-appendix.html), by their classes and by the module
that raised them.

A driver raises a plain TimeoutError or ConnectionRefusedError where it cannot connect, and so does
the call of a payment service: only what a driver or SQLAlchemy raised is the database's.
"""

import errno
import socket
import sys
from collections.abc import Iterator

# Connections, resources, shut down or starting, serialization failures, deadlocks and locks.
_STATES = ("08", "53", "57P01", "57P02", "57P03", "57P05", "40001", "40P01", "55P03")
_POOLER = "08P01"  # PgBouncer's one SQLSTATE, whatever it refuses
_POOLER_REFUSES = ("authentication failed", "does not exist", "no such user", "no such database")
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
# psycopg gives no SQLSTATE while it connects
_PSYCOPG_AWAY = (
    *("connection refused", "connection reset", "no such file", "closed the connection"),
    *("timeout expired", "query_wait_timeout", "the database system is", "too many clients"),
    *("too many connections", "no more connections", "connection slots"),
    *("no route to host", "network is unreachable", "temporary failure in name resolution"),
)
_PSYCOPG_REFUSES = ("authentication failed", "does not exist", "name or service not known")
_CLASSES = frozenset(
    {
        *("TimeoutError", "DisconnectionError"),  # the first one of Python and of SQLAlchemy's pool
        *("ConnectionRefusedError", "ConnectionResetError", "ConnectionAbortedError"),
        "BrokenPipeError",
    }
)
_ERRNOS = frozenset(
    {errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT}
    | {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EAGAIN}
)
_DRIVERS = frozenset(
    {
        *("sqlalchemy", "asyncpg", "psycopg", "psycopg_pool", "psycopg2", "pg8000"),
        *("sqlite3", "aiosqlite", "aiomysql", "asyncmy", "pymysql", "MySQLdb", "mysql"),
        *("mariadb", "oracledb", "pyodbc", "aioodbc", "pymssql"),
    }
)
_CARRIERS = frozenset({"greenlet", "uvloop", "winloop"})  # called by drivers, and by others
_LONGEST_CHAIN = 8
_STAYS = ""


def transient_reason(error: BaseException) -> str | None:
    """Why trying again may help: a SQLSTATE or the name of a class; a permanent cause decides."""
    reason = None
    is_of_database = False
    for part in _chain(error):
        found = _judged(part)
        if found == _STAYS:
            return None
        if found is not None:
            reason = reason or found
            is_of_database = is_of_database or _is_of_database(part)
    return reason if is_of_database else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, the driver's that it wraps, and what that was raised from."""
    part: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if part is None:
            return
        yield part
        wrapped = getattr(part, "orig", None)
        part = wrapped if isinstance(wrapped, BaseException) else part.__cause__


def _judged(error: BaseException) -> str | None:
    """A reason, `_STAYS` for what stays as it is, None where this exception does not tell."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(state, str):
        is_refused = state == _POOLER and any(words in str(error) for words in _POOLER_REFUSES)
        return state if state.startswith(_STATES) and not is_refused else _STAYS
    if isinstance(name := getattr(error, "sqlite_errorname", None), str):
        return name if name.startswith(_BUSY) else _STAYS
    if hasattr(error, "pgconn"):
        text = str(error).lower()
        if any(words in text for words in _PSYCOPG_REFUSES):
            return _STAYS
        return "no connection" if any(words in text for words in _PSYCOPG_AWAY) else None
    if getattr(error, "connection_invalidated", False) is True:
        return "connection lost"
    for kind in type(error).__mro__:
        if kind.__name__ in _CLASSES:
            return kind.__name__
    if isinstance(error, socket.gaierror):
        return "name resolution" if error.errno == socket.EAI_AGAIN else _STAYS
    return _of_the_system(error) if isinstance(error, OSError) else None


def _of_the_system(error: OSError) -> str | None:
    if error.errno is None:
        # asyncio joins the failures of several addresses of one host into one text
        return "no connection" if str(error).startswith("Multiple exceptions: ") else None
    if error.errno == errno.ENOENT and error.filename is None:
        return "no socket"  # of a server on this machine, which makes it when it starts
    return errno.errorcode[error.errno] if error.errno in _ERRNOS else None


def _is_of_database(error: BaseException) -> bool:
    """Tell a database's own exception, and one of Python's that a driver or SQLAlchemy raised."""
    if any(hasattr(error, name) for name in ("sqlstate", "pgcode", "sqlite_errorname")):
        return True
    if any(_package(kind.__module__) in _DRIVERS for kind in type(error).__mro__):
        return True
    return _raised_in(error) in _DRIVERS


def _raised_in(error: BaseException) -> str | None:
    """The package whose code raised it, itself or by what it called of Python's own library."""
    package = None
    trace = error.__traceback__
    while trace is not None:
        found = _package(trace.tb_frame.f_globals.get("__name__", ""))
        if found in _DRIVERS or not (found in sys.stdlib_module_names or found in _CARRIERS):
            package = found
        trace = trace.tb_next
    return package


def _package(module: str) -> str:
    return module.partition(".")[0]
