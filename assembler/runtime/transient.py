"""An exception of a server that is asked → whether it may pass by itself.

In: what a driver raised, whatever the driver: it is judged by SQLSTATE, by the operating system's
errors, by names, and by an attribute `transient` where the exception has one. Out: True for a
server that is starting, restarting, full or slow; False for a wrong password, a database or a host
that does not exist, and for all that is unknown. Imports no driver.

`components/errors` answers the same question for requests by code of its own:
`tests/transient_errors.py` holds both, and startup SQL, to one table.
"""

import errno
import socket
from collections.abc import Iterator

# connection and pooler, resources, shut down or starting, serialization, locks
# (https://www.postgresql.org/docs/current/errcodes-appendix.html)
_TRANSIENT_STATES = ("08", "53", "57P01", "57P02", "57P03", "57P05", "40001", "40P01", "55P03")
_TRANSIENT_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED")
_PERMANENT_NAMES = frozenset(
    {"AuthenticationError", "AuthorizationError", "NoPermissionError", "InvalidPasswordError"}
)
_TRANSIENT_NAMES = frozenset(
    {
        "TimeoutError",  # of Python, SQLAlchemy, redis
        *("ConnectTimeout", "ConnectError", "ReadTimeout", "PoolTimeout"),  # httpx
        *("BusyLoadingError", "ClusterDownError", "MasterDownError", "TryAgainError"),  # redis
        *("ConnectionRefusedError", "ConnectionResetError", "ConnectionAbortedError"),
        *("BrokenPipeError", "DisconnectionError"),  # the last one is SQLAlchemy's
    }
)
_TRANSIENT_ERRNOS = frozenset(
    {errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT}
    | {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EAGAIN}
)
# psycopg gives no SQLSTATE while it connects
_PSYCOPG_TRANSIENT = (
    *("connection refused", "connection reset", "no such file", "closed the connection"),
    *("timeout expired", "query_wait_timeout", "the database system is", "too many clients"),
    *("too many connections", "no more connections", "connection slots"),
    *("no route to host", "network is unreachable", "temporary failure in name resolution"),
)
_PSYCOPG_PERMANENT = ("authentication failed", "does not exist", "name or service not known")
_POOLER = "08P01"  # PgBouncer's one SQLSTATE, whatever it refuses
_POOLER_REFUSES = ("authentication failed", "does not exist", "no such user", "no such database")
_DEEPEST = 10  # exceptions in one chain that are looked at


def is_transient(error: BaseException) -> bool:
    """Tell whether trying again may help; one permanent cause in the chain decides."""
    found = [verdict for each in _chain(error) if (verdict := _verdict(each)) is not None]
    return bool(found) and all(found)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, what it wraps (SQLAlchemy's `orig`), and its causes."""
    waiting: list[BaseException | None] = [error]
    seen: list[BaseException] = []
    while waiting and len(seen) < _DEEPEST:
        each = waiting.pop()
        if not isinstance(each, BaseException) or any(each is other for other in seen):
            continue
        seen.append(each)
        yield each
        hidden = None if each.__suppress_context__ else each.__context__
        waiting += [getattr(each, "orig", None), each.__cause__, hidden]
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions


def _verdict(error: BaseException) -> bool | None:
    """Judge one exception; None where it says nothing."""
    said = getattr(error, "transient", None)
    if isinstance(said, bool):
        return said
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(state, str):
        is_refused = state == _POOLER and any(words in str(error) for words in _POOLER_REFUSES)
        return state.startswith(_TRANSIENT_STATES) and not is_refused
    if isinstance(name := getattr(error, "sqlite_errorname", None), str):
        return name.startswith(_TRANSIENT_SQLITE)
    if hasattr(error, "pgconn"):
        return _psycopg_verdict(str(error).lower())
    if getattr(error, "connection_invalidated", False) is True:
        return True  # SQLAlchemy knows the words of each driver for a connection that is lost
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _PERMANENT_NAMES:
        return False
    if names & _TRANSIENT_NAMES:
        return True
    if isinstance(error, socket.gaierror):
        return error.errno == socket.EAI_AGAIN
    return _os_verdict(error) if isinstance(error, OSError) else None


def _psycopg_verdict(text: str) -> bool | None:
    if any(words in text for words in _PSYCOPG_PERMANENT):
        return False
    return True if any(words in text for words in _PSYCOPG_TRANSIENT) else None


def _os_verdict(error: OSError) -> bool | None:
    if error.errno is None:
        # asyncio joins the failures of several addresses of one host into one text
        return True if str(error).startswith("Multiple exceptions: ") else None
    if error.errno == errno.ENOENT and error.filename is None:
        return True  # a socket, which a server on this machine makes when it starts
    return True if error.errno in _TRANSIENT_ERRNOS else None
