"""What to think twice about in a statement: one table.

In: nothing. Out: `RULES`, each with an id, a severity, a sentence and what to write instead; their
`find` gives the place in a statement. Refuses nothing. Sources: the locks that PostgreSQL 18
documents for each command, "ALTER TABLE, Notes", "CREATE INDEX, Building Indexes Concurrently".
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from assembler.plan.sql import signs
from assembler.plan.sql.signs import Facts

Severity = Literal["high", "medium", "low"]
AGAIN, DANGER = "sql-not-repeatable", "sql-dangerous"
_ALL = frozenset({"postgresql", "sqlite"})
_POSTGRES = frozenset({"postgresql"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing to think twice about; `code` is that of its diagnostic."""

    id: str
    code: str
    severity: Severity
    sentence: str
    fix: str
    find: Callable[[Facts], int | None]
    dialects: frozenset[str] = _POSTGRES


_GUARD = "wrap it in `DO $$ BEGIN …; EXCEPTION WHEN duplicate_object THEN NULL; END $$`"
RULES = (
    Rule(
        *("create-if-not-exists", AGAIN, "low", "fails where it was created before"),
        *("write `IF NOT EXISTS`", signs.create, _ALL),
    ),
    Rule(
        *("create-or-replace", AGAIN, "low", "fails where it was created before"),
        *("write `CREATE OR REPLACE`", signs.create_or_replace),
    ),
    Rule(
        *("create-once", AGAIN, "low", "fails where it was created before"),
        *(_GUARD, signs.create_other),
    ),
    Rule(
        *("add-column-if-not-exists", AGAIN, "low", "fails where the column is there"),
        *("write `ADD COLUMN IF NOT EXISTS`", signs.add_column),
    ),
    Rule(
        *("add-value-if-not-exists", AGAIN, "low", "fails where the value is there"),
        *("write `ADD VALUE IF NOT EXISTS`", signs.add_value),
    ),
    Rule(
        *("add-constraint-once", AGAIN, "low", "fails where the constraint is there"),
        *(_GUARD, signs.add_constraint),
    ),
    Rule(
        *("drop-if-exists", AGAIN, "low", "fails where it is gone already"),
        *("write `IF EXISTS`", signs.drop_missing, _ALL),
    ),
    Rule(
        *(
            "insert-on-conflict",
            AGAIN,
            "low",
            "adds its rows again, or fails on those that are there",
        ),
        *("write `ON CONFLICT DO NOTHING`", signs.plain_insert, _ALL),
    ),
    Rule(
        *("index-blocks-writers", DANGER, "high", "keeps writers waiting while the index is built"),
        *("write `CREATE INDEX CONCURRENTLY IF NOT EXISTS`", signs.plain_index),
    ),
    Rule(
        *(
            "drop-index-blocks",
            DANGER,
            "medium",
            "waits for every query, and keeps new ones waiting",
        ),
        *("write `DROP INDEX CONCURRENTLY IF EXISTS`", signs.drop_index),
    ),
    Rule(
        *("locks-whole-table", DANGER, "high", "keeps others from the table while it works"),
        *(
            "write `CONCURRENTLY` where the command has it, or run it at a quiet time",
            signs.locking,
        ),
    ),
    Rule(
        *("default-rewrites-table", DANGER, "high", "writes every row anew under a full lock"),
        *("add the column without it, fill it in batches, then set the default", signs.volatile),
    ),
    Rule(
        *("set-not-null-scans", DANGER, "medium", "reads the whole table under a full lock"),
        *("first add and validate `CHECK (… IS NOT NULL) NOT VALID`", signs.not_null),
    ),
    Rule(
        *("not-null-without-default", DANGER, "high", "fails where the table has rows"),
        *("give the column a `DEFAULT`, or let it be null at first", signs.filled, _ALL),
    ),
    Rule(
        *("type-rewrites-table", DANGER, "high", "may write every row anew under a full lock"),
        *(
            "add a column of the new type, fill it, and let the code change over",
            signs.changed_type,
        ),
    ),
    Rule(
        *("constraint-scans", DANGER, "medium", "checks every row under a lock"),
        *("write `NOT VALID` and validate later; for keys `USING INDEX`", signs.validated),
    ),
    Rule(
        *("destroys-data", DANGER, "high", "takes away what a release that still runs may need"),
        *("let it follow in a later release, by hand", signs.destroys, _ALL),
    ),
    Rule(
        *("changes-every-row", DANGER, "high", "has no `WHERE`, so it changes and locks every row"),
        *("say which rows, and change them in batches", signs.unbounded, _ALL),
    ),
    Rule(
        *("rename-breaks-old", DANGER, "high", "breaks the release that still runs"),
        *("add the new name, let the code change over, then drop the old one", signs.rename, _ALL),
    ),
    Rule(
        *("setting-outlives", DANGER, "medium", "may stay set on a connection of a pooler"),
        *("write `SET LOCAL`, or set it for the role", signs.session_setting),
    ),
)
