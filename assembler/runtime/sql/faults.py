"""An exception of a database → what it says, and whether to try again.

In: any exception; SQLAlchemy's wrapped ones are looked into. Out: a line without the statement and
its data, the place that the server complains of, and whether another try may end well. No driver is
imported: SQLSTATEs and the names of SQLite's errors tell (PostgreSQL 18, appendix A).
"""

from dataclasses import dataclass

from assembler.diagnostics.exceptions import failure_of
from assembler.runtime.transient import is_transient

# lock not available, deadlock, canceled by a timeout, serialization
_BUSY = frozenset({"55P03", "40P01", "57014", "40001"})
# what somebody else, who knows nothing of our lock, makes or changes at the same moment: `IF NOT
# EXISTS` and `OR REPLACE` look first, and fail then by an index of the catalogue or by a row of it
_UNIQUE, _INTERNAL = "23505", "XX000"
_CHANGED_MEANWHILE = ("tuple concurrently updated", "tuple concurrently deleted")


@dataclass(frozen=True, slots=True)
class Said:
    """What a database said: `position` counts the characters of the statement from 1."""

    text: str
    is_busy: bool
    is_away: bool
    position: int | None = None


def said(error: BaseException) -> Said:
    """Read an exception of a driver, or of SQLAlchemy around one."""
    original = getattr(error, "orig", None)
    found = original if isinstance(original, BaseException) else error
    found = found.__cause__ if _is_adapter(found) and found.__cause__ is not None else found
    state = getattr(found, "sqlstate", None)
    if isinstance(state, str):
        message, position = _facts(found)
        is_busy = state in _BUSY or _is_race(found, state, message)
        is_away = not is_busy and is_transient(error)
        return Said(f"{message} ({state})", is_busy, is_away, position)
    name = getattr(found, "sqlite_errorname", None)
    if isinstance(name, str):  # it is a file: what may pass is a lock
        return Said(str(found), is_transient(found), is_away=False)
    return Said(failure_of(found), is_busy=False, is_away=is_transient(error))


def _is_adapter(error: BaseException) -> bool:
    """Tell SQLAlchemy's own exceptions around asyncpg's."""
    return type(error).__module__.startswith("sqlalchemy.")


def _is_race(error: BaseException, state: str, message: str) -> bool:
    if state == _UNIQUE:
        source = getattr(error, "diag", error)  # psycopg, asyncpg
        return getattr(source, "schema_name", None) == "pg_catalog"
    return state == _INTERNAL and message.startswith(_CHANGED_MEANWHILE)


def _facts(error: BaseException) -> tuple[str, int | None]:
    details = getattr(error, "diag", None)  # psycopg
    position = getattr(details, "statement_position", None) or getattr(error, "position", None)
    message = getattr(details, "message_primary", None) or getattr(error, "message", None)
    first_line = str(message or error).partition("\n")[0]  # the rest may quote data
    place = str(position)
    return first_line, int(place) if place.isdecimal() else None
