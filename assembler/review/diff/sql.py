"""The text of a statement → what it does to a database, as far as a parser tells.

In: SQL. Out: its effects, each with a grade: what it adds is behaviour, what it takes away or what
nobody can read is to be reviewed, and rights have a direction. The text itself is never shown.
Refuses nothing.
"""

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from assembler.plan.sql.lint import Budget
from assembler.plan.sql.scanner import scan
from assembler.review.finding import Grade

_DIALECTS = {"postgresql": "postgres", "sqlite": "sqlite", "mysql": "mysql", "mariadb": "mysql"}
_LONGEST = 20_000  # characters: sqlglot's time grows with them
_NAME = re.compile(r"[^\w.]")
_UNREAD = "is not parsed here"


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that a statement does; `words` follow its name in a sentence."""

    grade: Grade
    words: str


# The words of a statement, without its comments and texts; the first that fits tells.
_BY_WORDS = tuple(
    (re.compile(pattern), grade, words)
    for pattern, grade, words in (
        (r"GRANT ", Grade.loosened, "grants rights"),
        (r"REVOKE ", Grade.tightened, "takes rights away"),
        (r".* (DISABLE|NO FORCE) ROW LEVEL SECURITY", Grade.loosened, "turns row security off"),
        (r".* (ENABLE|FORCE) ROW LEVEL SECURITY", Grade.tightened, "turns row security on"),
        (r".*\bSECURITY DEFINER\b", Grade.loosened, "runs code with the rights of its owner"),
        (r"(CREATE|ALTER) (ROLE|USER) .*\b(SUPERUSER|BYPASSRLS)\b", Grade.loosened, "gives a role rights over all"),
        (r"(CREATE|ALTER|DROP) (ROLE|USER|GROUP) ", Grade.review, "changes a role"),
        (r"(CREATE|ALTER|DROP) POLICY ", Grade.review, "changes a policy of row security"),
        (r"ALTER TYPE .* ADD VALUE ", Grade.behaviour, "adds a value to a type"),
        (r"CREATE EXTENSION ", Grade.review, "brings in an extension"),
        (r"(DO|CALL|EXECUTE) ", Grade.review, "runs code that is opaque here"),
    )
)  # fmt: skip


def effects(text: str, dialect: str | None) -> list[Effect]:
    """Return what a text does; one that cannot be parsed is one opaque effect."""
    if len(text) > _LONGEST:
        return [Effect(Grade.review, "is too long to be read here")]
    try:
        import sqlglot  # noqa: PLC0415  # an extra; without it all SQL is opaque
    except ImportError:
        return [Effect(Grade.review, _UNREAD)]
    logger = logging.getLogger("sqlglot")
    level, logger.level = logger.level, logging.CRITICAL  # it warns of what it only passes
    try:
        if not Budget().fits(text, scan(text, dialect or "postgresql")):
            return [Effect(Grade.review, "is nested too deeply to be read here")]
        read = _DIALECTS.get(dialect or "postgresql")
        words = " ".join(
            token.text.upper() for token in sqlglot.tokenize(text, read) if not _is_text(token)
        )
        for pattern, grade, told in _BY_WORDS:
            if pattern.match(f"{words} "):
                return [Effect(grade, told)]
        trees = [tree for tree in sqlglot.parse(text, read=read) if tree is not None]
        return [effect for tree in trees for effect in _of(tree)]
    except Exception:  # noqa: BLE001  # whatever a parser raises on a hostile text: it is opaque
        return [Effect(Grade.review, "cannot be parsed")]
    finally:
        logger.level = level


def columns(text: str, dialect: str | None) -> dict[str, str]:
    """Return the columns of a table that `text` creates, by name; nothing where that is not told."""
    try:
        import sqlglot  # noqa: PLC0415  # as above
        from sqlglot import exp  # noqa: PLC0415

        if len(text) > _LONGEST or not Budget().fits(text, scan(text, dialect or "postgresql")):
            return {}
        tree = sqlglot.parse_one(text, read=_DIALECTS.get(dialect or "postgresql"))
    except Exception:  # noqa: BLE001  # as above
        return {}
    if not isinstance(tree, exp.Create) or not isinstance(tree.this, exp.Schema):
        return {}
    found = (item for item in tree.this.expressions if isinstance(item, exp.ColumnDef))
    return {_named(item): item.sql() for item in found}


def _is_text(token: Any) -> bool:
    return "STRING" in token.token_type.name


def _of(tree: Any) -> Iterator[Effect]:
    kind = type(tree).__name__
    if kind == "Create":
        yield _created(tree)
    elif kind == "Alter":
        table = _named(tree.this)
        for action in tree.args.get("actions") or [None]:
            yield _altered(action, table)
    elif kind == "Drop":
        what = str(tree.args.get("kind") or "object").lower()
        yield Effect(Grade.review, f"drops {what} {_named(tree)}")
    elif kind == "Insert":
        yield Effect(Grade.behaviour, f"adds rows to {_named(tree.this)}")
    elif kind in {"Update", "Merge"}:
        yield Effect(Grade.review, f"changes rows of {_named(tree.this)}")
    elif kind in {"Delete", "TruncateTable"}:
        yield Effect(Grade.review, f"deletes rows of {_named(tree)}")
    elif kind in {"Select", "Union"} and not _calls(tree):
        yield Effect(Grade.behaviour, "reads")
    else:
        yield Effect(Grade.review, "is opaque here")


def _calls(tree: Any) -> bool:
    """Tell whether a query calls a function that sqlglot does not know: it may do anything."""
    return any(type(node).__name__ == "Anonymous" for node in tree.walk())


def _created(tree: Any) -> Effect:
    kind = str(tree.args.get("kind") or "object").lower()
    is_code = kind in {"function", "procedure", "trigger"}
    if kind == "index":
        return Effect(Grade.behaviour, f"creates index {_named(tree.this.this or tree.this)}")
    return Effect(
        Grade.review if is_code else Grade.behaviour, f"creates {kind} {_named(tree.this)}"
    )


def _altered(action: Any, table: str) -> Effect:
    kind = type(action).__name__
    if kind == "ColumnDef":
        return Effect(Grade.behaviour, f"adds column {_named(action)} to {table}")
    if kind == "Drop":
        what = str(action.args.get("kind") or "column").lower()
        return Effect(Grade.review, f"drops {what} {_named(action)} of {table}")
    if kind == "AddConstraint":
        return Effect(Grade.behaviour, f"adds a constraint to {table}")
    return Effect(Grade.review, f"alters {table}")


def _named(node: Any) -> str:
    """Return a name in backticks: words and dots alone."""
    from sqlglot import exp  # noqa: PLC0415  # it was imported to parse

    found = None if isinstance(node, exp.ColumnDef) else node.find(exp.Table)
    parts = found.parts if found is not None else [node.find(exp.Identifier)]
    name = ".".join(part.name for part in parts if part is not None)
    return f"`{_NAME.sub('_', name)}`"
