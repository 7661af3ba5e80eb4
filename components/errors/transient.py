"""An exception -> whether the database was only away or busy for a moment.

In: any exception; SQLAlchemy's wrapped ones are looked into. Out: a short reason for logs, without
SQL, parameters or addresses, or None. No driver is imported: exceptions are known by their SQLSTATE
(https://www.postgresql.org/docs/current/errcodes-appendix.html) and by the paths of their classes.
"""

from collections.abc import Iterator

# Connections, operator intervention, resources; serialization failures and deadlocks.
_STATES = ("08", "57P0", "53", "40001", "40P01")

_CLASSES = {
    "builtins.ConnectionError",
    "builtins.TimeoutError",
    "socket.gaierror",
    "sqlalchemy.exc.TimeoutError",  # no connection of the pool became free
    "sqlalchemy.exc.DisconnectionError",
}
_POOLER = "08P01"  # PgBouncer's one SQLSTATE, whatever it refuses
_POOLER_REFUSES = ("authentication failed", "does not exist", "no such user", "no such database")
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")
_LONGEST_CHAIN = 8


def transient_reason(error: BaseException) -> str | None:
    """Why trying again may help: a SQLSTATE or the name of a class."""
    for part in _chain(error):
        state = getattr(part, "sqlstate", None) or getattr(part, "pgcode", None)
        if isinstance(state, str):
            is_refused = state == _POOLER and any(words in str(part) for words in _POOLER_REFUSES)
            return state if state.startswith(_STATES) and not is_refused else None
        if getattr(part, "connection_invalidated", False) is True:
            return "connection lost"
        name = getattr(part, "sqlite_errorname", None)
        if isinstance(name, str):
            return name if name.startswith(_BUSY) else None
        if isinstance(part, FileNotFoundError) and part.errno and part.filename is None:
            return "no socket"  # of a server on this machine, which makes it when it starts
        for kind in type(part).__mro__:
            if f"{kind.__module__}.{kind.__qualname__}" in _CLASSES:
                return kind.__qualname__
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, the driver's that it wraps, and what that was raised from."""
    part: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if part is None:
            return
        yield part
        wrapped = getattr(part, "orig", None)
        part = wrapped if isinstance(wrapped, BaseException) else part.__cause__
