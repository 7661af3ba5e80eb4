"""The SQL of a step on both sides → what runs at the start that did not, or no longer.

In: the lists of statements, how each side reads the files that they name, and how much SQL may be
parsed. Out: `Change`s by what a statement does, as far as a parser tells: what it adds is behaviour, what
it takes away or what nobody can read is to be reviewed, and rights have a direction. A statement is
known by its text, so a changed one runs again; the text itself is never shown.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from assembler.document.nodes import MappingNode, Node, ScalarNode, SequenceNode
from assembler.plan.sql.lint import PARSED, ParserBudget
from assembler.plan.sql.scanner import scan
from assembler.review.credentials import shown
from assembler.review.diff.change import Change, change
from assembler.review.finding import Grade

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


def effects(text: str, dialect: str | None, budget: ParserBudget) -> list[Effect]:
    """Return what a text does; one that cannot be parsed, or is too much, is one opaque effect."""
    if len(text) > _LONGEST:
        return [Effect(Grade.review, "is too long to be read here")]
    try:
        import sqlglot  # noqa: PLC0415  # an extra; without it all SQL is opaque
    except ImportError:
        return [Effect(Grade.review, _UNREAD)]
    logger = logging.getLogger("sqlglot")
    level, logger.level = logger.level, logging.CRITICAL  # it warns of what it only passes
    try:
        if not budget.fits(text, scan(text, dialect or "postgresql")):
            why = "is nested too deeply" if budget.too_deep else "is one of too many"
            return [Effect(Grade.review, f"{why} to be read here")]
        read = PARSED.get(dialect or "postgresql")
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


def columns(text: str, dialect: str | None, budget: ParserBudget) -> dict[str, str]:
    """Return the columns of a table that `text` creates, by name; nothing where that is not told."""
    try:
        import sqlglot  # noqa: PLC0415  # as above
        from sqlglot import exp  # noqa: PLC0415  # as above

        if len(text) > _LONGEST or not budget.fits(text, scan(text, dialect or "postgresql")):
            return {}
        tree = sqlglot.parse_one(text, read=PARSED.get(dialect or "postgresql"))
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


Reader = Callable[
    [MappingNode], str | None
]  # a statement → its text, None where its file is not there
_FLIPPED = {Grade.loosened: Grade.tightened, Grade.tightened: Grade.loosened}


def compare_statements(
    old: Node | None,
    new: Node | None,
    read: tuple[Reader, Reader],
    dialect: str | None,
    budget: ParserBudget,
) -> Iterator[Change]:
    """Compare two lists of `{label, run}` or `{label, file}`; `budget` is that of all that differ."""
    before, after = _labelled(old), _labelled(new)
    for label in {**before, **after}:
        nodes = before.get(label), after.get(label)
        texts = tuple(
            None if node is None else reader(node) for node, reader in zip(nodes, read, strict=True)
        )
        if nodes[0] is None or nodes[1] is None or texts[0] != texts[1] or None in texts:
            yield from _differing(shown(label[0]) or "a statement", nodes, texts, dialect, budget)
    kept = [label for label in before if label in after]
    if kept != [label for label in after if label in before]:
        message = "the statements run in another order"
        yield change(Grade.behaviour, "sql-changed", message, old, new)


def _differing(
    label: str,
    nodes: tuple[MappingNode | None, MappingNode | None],
    texts: tuple[str | None, ...],
    dialect: str | None,
    budget: ParserBudget,
) -> Iterator[Change]:
    for node, text in zip(nodes, texts, strict=True):
        if node is not None and text is None:
            message = f"{label} names a file that cannot be read"
            yield change(Grade.review, "sql-changed", message, *nodes)
            return
    done = [[] if text is None else effects(text, dialect, budget) for text in texts]
    gone = [one for one in done[0] if one not in done[1] and one.words != "reads"]
    more = [effect for effect in done[1] if effect not in done[0]]
    for effect in more:
        yield change(effect.grade, "sql-changed", f"{label} now {effect.words}", *nodes)
    for effect in gone:
        message = f"{label} no longer {effect.words}; what it did stays"
        if effect.words.startswith(("is ", "cannot ")):
            message = f"what {label} did before {effect.words}"
        grade = _FLIPPED.get(effect.grade, Grade.behaviour)
        yield change(grade, "sql-changed", message, *nodes)
    if not gone and not more:
        told = _columns(*(columns(text or "", dialect, budget) for text in texts))
        if told:
            message = f"{label} creates its table {told}: one that stands already stays as it is"
            yield change(Grade.review, "sql-changed", message, *nodes)
            return
        known = all(effect.grade is not Grade.review for effect in done[1])
        message = f"{label} differs, and runs again: {_listed(done[1])}"
        grade = Grade.behaviour if known else Grade.review
        yield change(grade, "sql-changed", message, *nodes)


def _columns(old: dict[str, str], new: dict[str, str]) -> str:
    """Say how the columns of a created table differ."""
    if not old or not new:
        return ""
    sides = {
        "with": [name for name in new if name not in old],
        "without": [name for name in old if name not in new],
        "with another": [name for name in new if name in old and old[name] != new[name]],
    }
    return ", ".join(
        f"{word} column {', '.join(names[:3])}" + (" and more" if len(names) > 3 else "")
        for word, names in sides.items()
        if names
    )


def _labelled(node: Node | None) -> dict[tuple[str, int], MappingNode]:
    """Return the statements by label; of one label, the first is matched with the first."""
    found: dict[tuple[str, int], MappingNode] = {}
    counts: Counter[str] = Counter()
    for item in node.items if isinstance(node, SequenceNode) else ():
        label = item.get("label") if isinstance(item, MappingNode) else None
        if isinstance(item, MappingNode):
            name = str(label.value) if isinstance(label, ScalarNode) else ""
            found[name, counts[name]] = item
            counts[name] += 1
    return found


def _listed(done: list[Effect]) -> str:
    return ", ".join(effect.words for effect in done[:3]) or "it is empty"
