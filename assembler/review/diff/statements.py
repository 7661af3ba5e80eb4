"""The `sql` of a step on both sides → what runs at the start that did not, or no longer.

In: the lists of statements, and how each side reads the files that they name. Out: `Change`s.
A statement is known by its text, so a changed one runs again. Refuses nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from assembler.document.nodes import MappingNode, Node, ScalarNode, SequenceNode
from assembler.review.diff.change import Change, change
from assembler.review.diff.secrecy import shown
from assembler.review.diff.sql import Effect, columns, effects
from assembler.review.finding import Grade

Reader = Callable[
    [MappingNode], str | None
]  # a statement → its text, None where its file is not there
_FLIPPED = {Grade.loosened: Grade.tightened, Grade.tightened: Grade.loosened}


def compare_statements(
    old: Node | None, new: Node | None, read: tuple[Reader, Reader], dialect: str | None
) -> Iterator[Change]:
    """Compare two lists of `{label, run}` or `{label, file}`."""
    before, after = _labelled(old), _labelled(new)
    for label in {**before, **after}:
        nodes = before.get(label), after.get(label)
        texts = tuple(
            None if node is None else reader(node) for node, reader in zip(nodes, read, strict=True)
        )
        if nodes[0] is None or nodes[1] is None or texts[0] != texts[1] or None in texts:
            yield from _differing(shown(label[0]) or "a statement", nodes, texts, dialect)
    kept = [label for label in before if label in after]
    if kept != [label for label in after if label in before]:
        message = "the statements run in another order"
        yield change(Grade.behaviour, "sql-changed", message, old, new)


def _differing(
    label: str,
    nodes: tuple[MappingNode | None, MappingNode | None],
    texts: tuple[str | None, ...],
    dialect: str | None,
) -> Iterator[Change]:
    for node, text in zip(nodes, texts, strict=True):
        if node is not None and text is None:
            message = f"{label} names a file that cannot be read"
            yield change(Grade.review, "sql-changed", message, *nodes)
            return
    done = [[] if text is None else effects(text, dialect) for text in texts]
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
        told = _columns(*(columns(text or "", dialect) for text in texts))
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
