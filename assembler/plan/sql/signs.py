"""The words of a statement → the place of what a rule is about.

In: `Facts` of one statement. Out: from each function the index of the token that breaks its rule,
or None. They see words, no meaning: where words leave it open they err on the side of telling.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from assembler.plan.sql.kinds import is_concurrent
from assembler.plan.sql.scanner import Token

_STEADY = frozenset(
    {"NOW", "TRANSACTION_TIMESTAMP", "STATEMENT_TIMESTAMP", "TO_DATE", "TO_TIMESTAMP", "NUMERIC"}
    | {"VARCHAR", "CHAR", "DECIMAL", "TIMESTAMP", "TIMESTAMPTZ", "TIME", "BIT", "VARBIT", "CAST"}
    | {"ARRAY", "JSONB_BUILD_OBJECT", "JSONB_BUILD_ARRAY", "INTERVAL"}
)
_WITH_IF = frozenset(
    {"TABLE", "INDEX", "SCHEMA", "SEQUENCE", "EXTENSION", "VIEW", "TRIGGER", "STATISTICS"}
)
_WITH_OR_REPLACE = frozenset({"FUNCTION", "PROCEDURE", "VIEW", "TRIGGER", "RULE", "AGGREGATE"})
_WITHOUT_BOTH = frozenset({"TYPE", "DOMAIN", "POLICY", "ROLE", "USER", "CAST", "PUBLICATION"})


@dataclass(frozen=True, slots=True)
class Facts:
    """One statement: its tokens, its words in capitals (nothing for others), and its table."""

    tokens: Sequence[Token]
    words: Sequence[str]
    dialect: str
    is_new_table: bool  # a statement before it creates the table, so nothing waits for it

    def at(self, *phrase: str, start: int = 0) -> int | None:
        """Find words that follow one another."""
        size = len(phrase)
        places = range(start, len(self.words) - size + 1)
        return next((i for i in places if tuple(self.words[i : i + size]) == phrase), None)

    def has(self, *phrase: str, start: int = 0) -> bool:
        """Tell whether words follow one another."""
        return self.at(*phrase, start=start) is not None

    @property
    def created(self) -> tuple[str, int]:
        """What a CREATE creates, and where that word stands."""
        if self.words[:1] != ["CREATE"]:
            return "", 0
        kinds = _WITH_IF | _WITH_OR_REPLACE | _WITHOUT_BOTH
        return next(((word, i) for i, word in enumerate(self.words[:5]) if word in kinds), ("", 0))


def create(facts: Facts) -> int | None:
    """Find a CREATE that fails where the thing is there."""
    kind, at = facts.created
    is_replaceable = kind in _WITH_OR_REPLACE and (facts.dialect != "sqlite")
    if kind not in _WITH_IF or (is_replaceable and not facts.has("MATERIALIZED")):
        return None
    return None if facts.has("IF", "NOT", "EXISTS") else at


def create_or_replace(facts: Facts) -> int | None:
    """Find a CREATE that could be CREATE OR REPLACE."""
    kind, at = facts.created
    if kind not in _WITH_OR_REPLACE or facts.has("MATERIALIZED") or facts.dialect == "sqlite":
        return None
    return None if facts.words[1:3] == ["OR", "REPLACE"] else at


def create_other(facts: Facts) -> int | None:
    """Find a CREATE that has no form for what is there."""
    kind, at = facts.created
    return at if kind in _WITHOUT_BOTH else None


def add_column(facts: Facts) -> int | None:
    """Find a new column that may be there."""
    at = _added(facts)
    return at if at is not None and not facts.has("IF", "NOT", "EXISTS", start=at) else None


def add_value(facts: Facts) -> int | None:
    """Find a new value of an enum that may be there."""
    at = facts.at("ADD", "VALUE") if facts.words[:2] == ["ALTER", "TYPE"] else None
    return at if at is not None and not facts.has("IF", "NOT", "EXISTS") else None


def add_constraint(facts: Facts) -> int | None:
    """Find a new constraint."""
    return facts.at("ADD", "CONSTRAINT") if facts.words[:1] == ["ALTER"] else None


def drop_missing(facts: Facts) -> int | None:
    """Find a DROP of what may be gone."""
    if facts.words[:1] == ["DROP"]:
        return None if facts.has("IF", "EXISTS") else 0
    at = facts.at("DROP", "COLUMN")
    return at if at is not None and not facts.has("IF", "EXISTS", start=at) else None


def plain_insert(facts: Facts) -> int | None:
    """Find rows that would come twice."""
    is_insert = facts.words[:1] == ["INSERT"] and facts.words[1:2] != ["OR"]
    return 0 if is_insert and not facts.has("ON", "CONFLICT") else None


def plain_index(facts: Facts) -> int | None:
    """Find an index that is built while writers wait."""
    kind, at = facts.created
    if kind != "INDEX" or is_concurrent(facts.tokens) or facts.is_new_table:
        return None
    return at


def drop_index(facts: Facts) -> int | None:
    """Find an index that is dropped while all wait."""
    is_plain = facts.words[:2] == ["DROP", "INDEX"] and not is_concurrent(facts.tokens)
    return 1 if is_plain else None


def locking(facts: Facts) -> int | None:
    """Find a command that locks a whole table while it works."""
    words = facts.words
    if words[:1] in (["REINDEX"], ["REFRESH"]) and "CONCURRENTLY" not in words:
        return 0
    is_full = words[:1] == ["VACUUM"] and "FULL" in words[:4]
    return 0 if is_full or words[:1] in (["LOCK"], ["CLUSTER"]) else None


def volatile(facts: Facts) -> int | None:
    """Find a default for which each row is written anew."""
    start = _added(facts)
    if start is None or facts.is_new_table:
        return None
    serial = [i for i, word in enumerate(facts.words) if i > start and word.endswith("SERIAL")]
    stored = facts.at("GENERATED", start=start)
    at = facts.at("DEFAULT", start=start)
    calls = range(at + 1, len(facts.tokens) - 1) if at is not None else ()
    called = [
        i
        for i in calls
        if facts.words[i] and facts.tokens[i + 1].text == "(" and facts.words[i] not in _STEADY
    ]
    return next(iter([*serial[:1], *([stored] if stored is not None else []), *called]), None)


def not_null(facts: Facts) -> int | None:
    """Find a check of every row under a lock."""
    return None if facts.is_new_table else facts.at("SET", "NOT", "NULL")


def filled(facts: Facts) -> int | None:
    """Find a new column that no row can have."""
    start = _added(facts)
    if start is None or facts.is_new_table:
        return None
    has_value = facts.has("DEFAULT", start=start) or facts.has("GENERATED", start=start)
    start += 4 if facts.has("IF", "NOT", "EXISTS", start=start) else 0
    return None if has_value else facts.at("NOT", "NULL", start=start)


def changed_type(facts: Facts) -> int | None:
    """Find a column whose type changes."""
    if facts.words[:2] != ["ALTER", "TABLE"] or facts.is_new_table:
        return None
    at = facts.at("ALTER")
    after = facts.at("TYPE", start=(at or 0) + 2)
    return after if after is not None and facts.has("ALTER", start=2) else None


def validated(facts: Facts) -> int | None:
    """Find a constraint that is checked under a lock."""
    at = add_constraint(facts)
    if at is None or facts.is_new_table:
        return None
    words = {word for word in facts.words[at:] if word}
    if words & {"UNIQUE", "PRIMARY"}:
        return None if facts.has("USING", "INDEX") else at
    is_checked = bool(words & {"CHECK", "FOREIGN", "REFERENCES"})
    return at if is_checked and not facts.has("NOT", "VALID") else None


def destroys(facts: Facts) -> int | None:
    """Find what takes data away."""
    words = facts.words
    if words[:1] == ["TRUNCATE"]:
        return 0
    lost = ("TABLE", "SCHEMA", "DATABASE", "EXTENSION", "TYPE", "SEQUENCE")
    if words[:1] == ["DROP"] and len(words) > 1 and words[1] in lost:
        return 1
    return facts.at("DROP", "COLUMN") if words[:2] == ["ALTER", "TABLE"] else None


def unbounded(facts: Facts) -> int | None:
    """Find a change of every row."""
    is_change = facts.words[:1] in (["UPDATE"], ["DELETE"])
    return 0 if is_change and "WHERE" not in facts.words else None


def rename(facts: Facts) -> int | None:
    """Find a name that what still runs needs."""
    return facts.at("RENAME") if facts.words[:1] == ["ALTER"] else None


def session_setting(facts: Facts) -> int | None:
    """Find a setting that outlives the statement."""
    is_setting = facts.words[:1] == ["SET"] and facts.words[1:2] != ["LOCAL"]
    return 0 if is_setting else None


def _added(facts: Facts) -> int | None:
    """Find the ADD of a new column."""
    if facts.words[:2] != ["ALTER", "TABLE"]:
        return None
    at = facts.at("ADD")
    other = {"CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "EXCLUDE"}
    return at if at is not None and not other & set(facts.words[at + 1 : at + 2]) else None
