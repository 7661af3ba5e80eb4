"""What to think twice about in a statement: one table.

In: `StatementFacts`, the words of one statement. Out: `RULES`, each with an id, a severity, a sentence
and what to write instead; `find` gives the index of the token that breaks it, or None. They see words,
no meaning: where words leave it open they err on the side of telling.

Sources: the locks that PostgreSQL 18 documents for each command, "ALTER TABLE, Notes", "CREATE INDEX,
Building Indexes Concurrently".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from assembler.plan.sql.kinds import is_concurrent
from assembler.plan.sql.scanner import Token

Severity = Literal["high", "medium", "low"]
AGAIN, DANGER = "sql-not-repeatable", "sql-dangerous"
_ALL = frozenset({"postgresql", "sqlite"})
_POSTGRES = frozenset({"postgresql"})
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
class StatementFacts:
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


@dataclass(frozen=True, slots=True)
class SqlRule:
    """One thing to think twice about; `code` is that of its diagnostic."""

    id: str
    code: str
    severity: Severity
    sentence: str
    fix: str
    find: Callable[[StatementFacts], int | None]
    dialects: frozenset[str] = _POSTGRES


def _create(facts: StatementFacts) -> int | None:
    """Find a CREATE that fails where the thing is there."""
    kind, at = facts.created
    is_replaceable = kind in _WITH_OR_REPLACE and (facts.dialect != "sqlite")
    if kind not in _WITH_IF or (is_replaceable and not facts.has("MATERIALIZED")):
        return None
    return None if facts.has("IF", "NOT", "EXISTS") else at


def _create_or_replace(facts: StatementFacts) -> int | None:
    """Find a CREATE that could be CREATE OR REPLACE."""
    kind, at = facts.created
    if kind not in _WITH_OR_REPLACE or facts.has("MATERIALIZED") or facts.dialect == "sqlite":
        return None
    return None if facts.words[1:3] == ["OR", "REPLACE"] else at


def _create_other(facts: StatementFacts) -> int | None:
    """Find a CREATE that has no form for what is there."""
    kind, at = facts.created
    return at if kind in _WITHOUT_BOTH else None


def _add_column(facts: StatementFacts) -> int | None:
    """Find a new column that may be there."""
    at = _added(facts)
    return at if at is not None and not facts.has("IF", "NOT", "EXISTS", start=at) else None


def _add_value(facts: StatementFacts) -> int | None:
    """Find a new value of an enum that may be there."""
    at = facts.at("ADD", "VALUE") if facts.words[:2] == ["ALTER", "TYPE"] else None
    return at if at is not None and not facts.has("IF", "NOT", "EXISTS") else None


def _add_constraint(facts: StatementFacts) -> int | None:
    """Find a new constraint."""
    return facts.at("ADD", "CONSTRAINT") if facts.words[:1] == ["ALTER"] else None


def _drop_missing(facts: StatementFacts) -> int | None:
    """Find a DROP of what may be gone."""
    if facts.words[:1] == ["DROP"]:
        return None if facts.has("IF", "EXISTS") else 0
    at = facts.at("DROP", "COLUMN")
    return at if at is not None and not facts.has("IF", "EXISTS", start=at) else None


def _plain_insert(facts: StatementFacts) -> int | None:
    """Find rows that would come twice."""
    is_insert = facts.words[:1] == ["INSERT"] and facts.words[1:2] != ["OR"]
    return 0 if is_insert and not facts.has("ON", "CONFLICT") else None


def _plain_index(facts: StatementFacts) -> int | None:
    """Find an index that is built while writers wait."""
    kind, at = facts.created
    if kind != "INDEX" or is_concurrent(facts.tokens) or facts.is_new_table:
        return None
    return at


def _drop_index(facts: StatementFacts) -> int | None:
    """Find an index that is dropped while all wait."""
    is_plain = facts.words[:2] == ["DROP", "INDEX"] and not is_concurrent(facts.tokens)
    return 1 if is_plain else None


def _locking(facts: StatementFacts) -> int | None:
    """Find a command that locks a whole table while it works."""
    words = facts.words
    if words[:1] in (["REINDEX"], ["REFRESH"]) and "CONCURRENTLY" not in words:
        return 0
    is_full = words[:1] == ["VACUUM"] and "FULL" in words[:4]
    return 0 if is_full or words[:1] in (["LOCK"], ["CLUSTER"]) else None


def _volatile(facts: StatementFacts) -> int | None:
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


def _not_null(facts: StatementFacts) -> int | None:
    """Find a check of every row under a lock."""
    return None if facts.is_new_table else facts.at("SET", "NOT", "NULL")


def _filled(facts: StatementFacts) -> int | None:
    """Find a new column that no row can have."""
    start = _added(facts)
    if start is None or facts.is_new_table:
        return None
    has_value = facts.has("DEFAULT", start=start) or facts.has("GENERATED", start=start)
    start += 4 if facts.has("IF", "NOT", "EXISTS", start=start) else 0
    return None if has_value else facts.at("NOT", "NULL", start=start)


def _changed_type(facts: StatementFacts) -> int | None:
    """Find a column whose type changes."""
    if facts.words[:2] != ["ALTER", "TABLE"] or facts.is_new_table:
        return None
    at = facts.at("ALTER")
    after = facts.at("TYPE", start=(at or 0) + 2)
    return after if after is not None and facts.has("ALTER", start=2) else None


def _validated(facts: StatementFacts) -> int | None:
    """Find a constraint that is checked under a lock."""
    at = _add_constraint(facts)
    if at is None or facts.is_new_table:
        return None
    words = {word for word in facts.words[at:] if word}
    if words & {"UNIQUE", "PRIMARY"}:
        return None if facts.has("USING", "INDEX") else at
    is_checked = bool(words & {"CHECK", "FOREIGN", "REFERENCES"})
    return at if is_checked and not facts.has("NOT", "VALID") else None


def _destroys(facts: StatementFacts) -> int | None:
    """Find what takes data away."""
    words = facts.words
    if words[:1] == ["TRUNCATE"]:
        return 0
    lost = ("TABLE", "SCHEMA", "DATABASE", "EXTENSION", "TYPE", "SEQUENCE")
    if words[:1] == ["DROP"] and len(words) > 1 and words[1] in lost:
        return 1
    return facts.at("DROP", "COLUMN") if words[:2] == ["ALTER", "TABLE"] else None


def _unbounded(facts: StatementFacts) -> int | None:
    """Find a change of every row."""
    is_change = facts.words[:1] in (["UPDATE"], ["DELETE"])
    return 0 if is_change and "WHERE" not in facts.words else None


def _rename(facts: StatementFacts) -> int | None:
    """Find a name that what still runs needs."""
    return facts.at("RENAME") if facts.words[:1] == ["ALTER"] else None


def _session_setting(facts: StatementFacts) -> int | None:
    """Find a setting that outlives the statement."""
    is_setting = facts.words[:1] == ["SET"] and facts.words[1:2] != ["LOCAL"]
    return 0 if is_setting else None


def _added(facts: StatementFacts) -> int | None:
    """Find the ADD of a new column."""
    if facts.words[:2] != ["ALTER", "TABLE"]:
        return None
    at = facts.at("ADD")
    other = {"CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK", "EXCLUDE"}
    return at if at is not None and not other & set(facts.words[at + 1 : at + 2]) else None


_GUARD = "wrap it in `DO $$ BEGIN …; EXCEPTION WHEN duplicate_object THEN NULL; END $$`"
RULES = (
    SqlRule(
        *("create-if-not-exists", AGAIN, "low", "fails where it was created before"),
        *("write `IF NOT EXISTS`", _create, _ALL),
    ),
    SqlRule(
        *("create-or-replace", AGAIN, "low", "fails where it was created before"),
        *("write `CREATE OR REPLACE`", _create_or_replace),
    ),
    SqlRule(
        *("create-once", AGAIN, "low", "fails where it was created before"),
        *(_GUARD, _create_other),
    ),
    SqlRule(
        *("add-column-if-not-exists", AGAIN, "low", "fails where the column is there"),
        *("write `ADD COLUMN IF NOT EXISTS`", _add_column),
    ),
    SqlRule(
        *("add-value-if-not-exists", AGAIN, "low", "fails where the value is there"),
        *("write `ADD VALUE IF NOT EXISTS`", _add_value),
    ),
    SqlRule(
        *("add-constraint-once", AGAIN, "low", "fails where the constraint is there"),
        *(_GUARD, _add_constraint),
    ),
    SqlRule(
        *("drop-if-exists", AGAIN, "low", "fails where it is gone already"),
        *("write `IF EXISTS`", _drop_missing, _ALL),
    ),
    SqlRule(
        *(
            "insert-on-conflict",
            AGAIN,
            "low",
            "adds its rows again, or fails on those that are there",
        ),
        *("write `ON CONFLICT DO NOTHING`", _plain_insert, _ALL),
    ),
    SqlRule(
        *("index-blocks-writers", DANGER, "high", "keeps writers waiting while the index is built"),
        *("write `CREATE INDEX CONCURRENTLY IF NOT EXISTS`", _plain_index),
    ),
    SqlRule(
        *(
            "drop-index-blocks",
            DANGER,
            "medium",
            "waits for every query, and keeps new ones waiting",
        ),
        *("write `DROP INDEX CONCURRENTLY IF EXISTS`", _drop_index),
    ),
    SqlRule(
        *("locks-whole-table", DANGER, "high", "keeps others from the table while it works"),
        *(
            "write `CONCURRENTLY` where the command has it, or run it at a quiet time",
            _locking,
        ),
    ),
    SqlRule(
        *("default-rewrites-table", DANGER, "high", "writes every row anew under a full lock"),
        *("add the column without it, fill it in batches, then set the default", _volatile),
    ),
    SqlRule(
        *("set-not-null-scans", DANGER, "medium", "reads the whole table under a full lock"),
        *("first add and validate `CHECK (… IS NOT NULL) NOT VALID`", _not_null),
    ),
    SqlRule(
        *("not-null-without-default", DANGER, "high", "fails where the table has rows"),
        *("give the column a `DEFAULT`, or let it be null at first", _filled, _ALL),
    ),
    SqlRule(
        *("type-rewrites-table", DANGER, "high", "may write every row anew under a full lock"),
        *(
            "add a column of the new type, fill it, and let the code change over",
            _changed_type,
        ),
    ),
    SqlRule(
        *("constraint-scans", DANGER, "medium", "checks every row under a lock"),
        *("write `NOT VALID` and validate later; for keys `USING INDEX`", _validated),
    ),
    SqlRule(
        *("destroys-data", DANGER, "high", "takes away what a release that still runs may need"),
        *("let it follow in a later release, by hand", _destroys, _ALL),
    ),
    SqlRule(
        *("changes-every-row", DANGER, "high", "has no `WHERE`, so it changes and locks every row"),
        *("say which rows, and change them in batches", _unbounded, _ALL),
    ),
    SqlRule(
        *("rename-breaks-old", DANGER, "high", "breaks the release that still runs"),
        *("add the new name, let the code change over, then drop the old one", _rename, _ALL),
    ),
    SqlRule(
        *("setting-outlives", DANGER, "medium", "may stay set on a connection of a pooler"),
        *("write `SET LOCAL`, or set it for the role", _session_setting),
    ),
)
