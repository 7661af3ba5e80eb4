"""The words of listings, as the database itself indexes them.

In: a connection, or a session and what was typed. Out: an index over title, description, locality and
city (SQLite: FTS5, kept by triggers; PostgreSQL: a generated `tsvector`), and the ids of what has
any of the words, best first. What a word is, and whether two are the same, the database says of the
text and of the listings alike: words are taken by their English stems, in any case. Of a text without
words nothing is found.
"""

from collections.abc import Sequence
from typing import Any, Literal
from unicodedata import category, normalize

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Float,
    Select,
    column,
    func,
    or_,
    select,
    table,
    text,
)
from sqlalchemy.ext.asyncio import AsyncSession

_MOST_WORDS = 64
_FORMS: tuple[Literal["NFC"], Literal["NFD"]] = ("NFC", "NFD")
# on SQLite; what PostgreSQL's English leaves out as well, as far as it is typed in a search
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


# the words as the parser of the listings' own takes them, any of which will do
_ANY_WORD = "CAST(replace(CAST(plainto_tsquery('english', :query) AS text), '&', '|') AS tsquery)"


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
    if session.get_bind().dialect.name == "postgresql":
        words = _words(typed, forms=_FORMS)  # an accent may be a character of its own there
        if not words:
            return []
        asked = select(_LISTINGS.c.id).where(
            text(f"listings.words @@ {_ANY_WORD}"), _LISTINGS.c.id.in_(eligible)
        )
        order = text(f"ts_rank(listings.words, {_ANY_WORD}) DESC, listings.id")
        # as it is typed too: an address, or a number with its comma, is one word of a listing
        query = " ".join([typed, *words])
        found = await session.scalars(asked.order_by(order).limit(limit), {"query": query})
        return [*found]
    words = [word for word in _words(typed, forms=("NFC",)) if word.lower() not in _STOP_WORDS]
    if not words:
        return []
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


def in_any_case(column: Any, wanted: str) -> ColumnElement[bool]:
    """Whether a column holds a text, in any case.

    SQLite, and PostgreSQL in the locale C, fold no letters but ASCII's: of others the ways in which a
    name is usually written are looked for.
    """
    same = func.lower(column) == func.lower(wanted)
    if wanted.isascii():
        return same
    cases = (wanted, wanted.lower(), wanted.upper(), wanted.title(), wanted.capitalize())
    forms = {normalize(form, case) for case in cases for form in _FORMS}
    return or_(same, column.in_(sorted(forms)))


def _words(typed: str, *, forms: Sequence[Literal["NFC", "NFD"]]) -> list[str]:
    """Runs of letters, their marks, and digits, as they are typed in these forms, and folded.

    In Devanagari a vowel is a mark; of ß and İ a database keeps what folding changes.
    """
    found: dict[str, str] = {}
    for told in (*(normalize(form, typed) for form in forms), normalize("NFC", typed.casefold())):
        kept = (one if category(one)[0] in "LMN" else " " for one in told)
        for word in "".join(kept).split():
            found.setdefault(word.lower(), word)
    return [*found.values()][:_MOST_WORDS]
