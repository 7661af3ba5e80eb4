"""The table of the database that says which statements were applied: its words.

In: the qualified name of the table. Out: statements of SQL that PostgreSQL and SQLite both take; a
hash in them is hexadecimal, so it can stand in the text.
"""

from collections.abc import Iterable
from dataclasses import dataclass

NAME = "assembler_applied"


@dataclass(frozen=True, slots=True)
class Applied:
    """One row: when a statement was last applied (the database's clock), and how long that took."""

    applied_at: str
    milliseconds: int


def create(table: str, *, moment: str) -> str:
    """Create the ledger; `moment` is the type of a point in time."""
    return (
        f"CREATE TABLE IF NOT EXISTS {table} (hash CHAR(64) PRIMARY KEY, step TEXT NOT NULL, "
        f"label TEXT NOT NULL, applied_at {moment} NOT NULL DEFAULT CURRENT_TIMESTAMP, "
        "milliseconds BIGINT NOT NULL)"
    )


def select(table: str, hashes: Iterable[str]) -> str:
    """Read the rows of `hashes`."""
    # PostgreSQL takes no empty list
    listed = ", ".join(f"'{hash_}'" for hash_ in dict.fromkeys(hashes)) or "NULL"
    return (
        "SELECT hash, CAST(applied_at AS CHAR(40)), milliseconds "  # noqa: S608  # hexadecimal
        f"FROM {table} WHERE hash IN ({listed})"
    )


def forget(table: str, hash_: str) -> str:
    """Take out the row of a statement that is applied again."""
    return f"DELETE FROM {table} WHERE hash = '{hash_}'"  # noqa: S608  # hexadecimal


def insert(table: str, *, marks: tuple[str, str, str, str]) -> str:
    """Record a statement; `marks` stand for hash, step, label and milliseconds."""
    return f"INSERT INTO {table} (hash, step, label, milliseconds) VALUES ({', '.join(marks)})"  # noqa: S608  # marks
