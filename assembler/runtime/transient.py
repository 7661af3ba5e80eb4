"""An exception at the opening of a resource → whether it may pass by itself.

In: what a driver raised, whatever the driver: it is judged by SQLSTATE, by the operating system's
errors, by names, and by an attribute `transient` where the exception has one. Out: True for a
server that is starting, restarting, full or slow; False for a wrong password, a database or a host
that does not exist, and for all that is unknown. Imports no driver, and refuses nothing.
"""

import errno
import socket
from collections.abc import Iterator

_PERMANENT_STATES = ("28", "3D")  # authorization; no such database
# connection and pooler, resources, shut down or starting, serialization, locks
_TRANSIENT_STATES = ("08", "53", "57P01", "57P02", "57P03", "57P05", "40001", "40P01", "55P03")
_PERMANENT_NAMES = frozenset(
    {"AuthenticationError", "AuthorizationError", "NoPermissionError", "InvalidPasswordError"}
)
_TRANSIENT_NAMES = frozenset(
    {
        "TimeoutError",  # of Python, SQLAlchemy, redis
        *("ConnectTimeout", "ConnectError", "ReadTimeout", "PoolTimeout"),  # httpx
        *("BusyLoadingError", "ClusterDownError", "MasterDownError", "TryAgainError"),  # redis
        *("CannotConnectNowError", "TooManyConnectionsError"),  # asyncpg
    }
)
_TRANSIENT_ERRNOS = frozenset(
    {errno.ECONNREFUSED, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT}
    | {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EAGAIN}
)
# psycopg gives no SQLSTATE while it connects
_TRANSIENT_WORDS = (
    *("connection refused", "connection reset", "no such file", "closed the connection"),
    *("timeout expired", "query_wait_timeout", "the database system is", "too many clients"),
    *("too many connections", "no more connections", "connection slots"),
)
_POOLER = "08P01"  # PgBouncer's one SQLSTATE, whatever it refuses
_POOLER_REFUSES = ("authentication failed", "does not exist", "no such user", "no such database")
_TRANSIENT_LOOKUPS = frozenset({socket.EAI_AGAIN})
_DEEPEST = 10  # exceptions in one chain that are looked at


def is_transient(error: BaseException) -> bool:
    """Tell whether trying again may help; one permanent cause in the chain decides."""
    found = [verdict for each in _chain(error) if (verdict := _verdict(each)) is not None]
    return bool(found) and all(found)


def is_refused_by_pooler(state: str, error: BaseException) -> bool:
    """Tell a wrong password and an unknown user or database from a pooler that has no room."""
    return state == _POOLER and any(words in str(error) for words in _POOLER_REFUSES)


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
        if state.startswith(_PERMANENT_STATES) or is_refused_by_pooler(state, error):
            return False
        return state.startswith(_TRANSIENT_STATES)
    if hasattr(error, "pgconn"):
        return any(words in str(error).lower() for words in _TRANSIENT_WORDS)
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & _PERMANENT_NAMES:
        return False
    if names & _TRANSIENT_NAMES:
        return True
    if isinstance(error, socket.gaierror):
        return error.errno in _TRANSIENT_LOOKUPS
    if isinstance(error, OSError):
        return _os_verdict(error)
    return None


def _os_verdict(error: OSError) -> bool | None:
    if error.errno is None:
        # asyncio joins the failures of several addresses of one host into one text
        return True if str(error).startswith("Multiple exceptions: ") else None
    if error.errno == errno.ENOENT and error.filename is None:
        return True  # a socket, which a server on this machine makes when it starts
    return True if error.errno in _TRANSIENT_ERRNOS else None
