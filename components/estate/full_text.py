"""The words of listings, as the database itself indexes them.

In: a connection, or a session and what was typed. Out: an index over title, description, locality and
city (SQLite: FTS5, kept by triggers; PostgreSQL: a generated `tsvector`), and the ids of what has
any of the words, best first. Words are taken by their English stems. Of a text without words nothing
is found.
"""

import re
from typing import Any

from sqlalchemy import BigInteger, Connection, Float, Select, column, select, table, text
from sqlalchemy.ext.asyncio import AsyncSession

_WORD = re.compile(r"[^\W_]+")
_MOST_WORDS = 32
# what PostgreSQL's English leaves out as well, as far as it is typed in a search
_STOP_WORDS = frozenset(
    [
        "a",
        "about",
        "above",
        "all",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "before",
        "below",
        "between",
        "by",
        "can",
        "for",
        "from",
        "has",
        "have",
        "i",
        "in",
        "into",
        "is",
        "it",
        "its",
        "me",
        "my",
        "of",
        "off",
        "on",
        "or",
        "our",
        "out",
        "over",
        "some",
        "than",
        "that",
        "the",
        "their",
        "there",
        "this",
        "to",
        "under",
        "very",
        "was",
        "we",
        "what",
        "where",
        "which",
        "who",
        "will",
        "with",
        "you",
        "your",
    ]
)
_LISTINGS = table("listings", column("id", BigInteger))
_COLUMNS = ("title", "description", "locality", "city")
_NEW = ", ".join(f"new.{name}" for name in _COLUMNS)
_OLD = ", ".join(f"old.{name}" for name in _COLUMNS)
_NAMES = ", ".join(_COLUMNS)
_ADD = f"INSERT INTO listing_words (rowid, {_NAMES}) VALUES (new.id, {_NEW});"  # noqa: S608  # constants
_REMOVE = (
    f"INSERT INTO listing_words (listing_words, rowid, {_NAMES}) "  # noqa: S608  # constants
    f"VALUES ('delete', old.id, {_OLD});"
)
_SQLITE = (
    (
        f"CREATE VIRTUAL TABLE listing_words USING fts5({_NAMES}, content='listings', "
        "content_rowid='id', tokenize='porter unicode61 remove_diacritics 2')"
    ),
    f"CREATE TRIGGER listing_words_add AFTER INSERT ON listings BEGIN {_ADD} END",
    f"CREATE TRIGGER listing_words_remove AFTER DELETE ON listings BEGIN {_REMOVE} END",
    (
        f"CREATE TRIGGER listing_words_change AFTER UPDATE OF {_NAMES} ON listings "
        f"BEGIN {_REMOVE} {_ADD} END"
    ),
    "INSERT INTO listing_words (listing_words) VALUES ('rebuild')",
)
_JOINED = " || ' ' || ".join(_COLUMNS)
_POSTGRESQL = (
    (
        "ALTER TABLE listings ADD COLUMN IF NOT EXISTS words tsvector "
        f"GENERATED ALWAYS AS (to_tsvector('english', {_JOINED})) STORED"
    ),
    "CREATE INDEX IF NOT EXISTS listings_by_words ON listings USING gin (words)",
)


def prepare(connection: Connection) -> None:
    """Make the index where it is absent, of the listings that are there."""
    if connection.dialect.name == "postgresql":
        statements: tuple[str, ...] = _POSTGRESQL
    else:
        is_there = connection.exec_driver_sql(
            "SELECT 1 FROM sqlite_master WHERE name = 'listing_words'"
        ).first()
        statements = () if is_there else _SQLITE
    for statement in statements:
        connection.exec_driver_sql(statement)


async def ranked(
    session: AsyncSession, typed: str, eligible: Select[Any], *, limit: int
) -> list[int]:
    """The ids, among those that `eligible` selects, of listings with any of the words; best first."""
    words = [word for word in _WORD.findall(typed.casefold()) if word not in _STOP_WORDS]
    words = words[:_MOST_WORDS]
    if not words:
        return []
    if session.get_bind().dialect.name == "postgresql":
        query = " | ".join(f"'{word}'" for word in words)
        asked = select(_LISTINGS.c.id).where(
            text("listings.words @@ to_tsquery('english', :query)"), _LISTINGS.c.id.in_(eligible)
        )
        order = text("ts_rank(listings.words, to_tsquery('english', :query)) DESC, listings.id")
        found = await session.scalars(asked.order_by(order).limit(limit), {"query": query})
        return [*found]
    query = " OR ".join(f'"{word}"' for word in words)
    # `+` keeps SQLite from asking the index once for each listing that passes the filters
    matching = text(
        "SELECT +rowid AS id, rank AS distance FROM listing_words WHERE listing_words MATCH :query"
    ).columns(id=BigInteger, distance=Float)
    hits = matching.subquery("hits")
    found = await session.scalars(
        select(hits.c.id)
        .where(hits.c.id.in_(eligible))
        .order_by(hits.c.distance, hits.c.id)
        .limit(limit),
        {"query": query},
    )
    return [*found]
