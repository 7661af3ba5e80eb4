"""What a judge has found, before it is known in which entry of which manifest.

In: a grade, a rule, a sentence, the nodes of both sides. Out: a `Change`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from assembler.diagnostics.span import Span
from assembler.document.nodes import Node
from assembler.review.finding import Grade

ABSENT: Any = object()  # a side does not say the value, and nothing tells its default


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; `at` leads from its entry or section to it."""

    grade: Grade
    rule: str
    message: str
    at: tuple[str, ...] = ()
    old: Span | None = None
    new: Span | None = None
    details: tuple[str, ...] = ()


def change(
    grade: Grade,
    rule: str,
    message: str,
    old: Node | None = None,
    new: Node | None = None,
    details: Iterable[str] = (),
) -> Change:
    """Make a change between two nodes, one of which may not be there."""
    before = None if old is None else old.span
    after = None if new is None else new.span
    return Change(grade, rule, message, (), before, after, tuple(details))


def under(changes: Iterable[Change], *steps: str) -> Iterator[Change]:
    """Place changes below a key."""
    for item in changes:
        yield replace(item, at=(*steps, *item.at))


def direction(is_looser: bool) -> Grade:
    """Return the grade of a step that loosens, or else tightens."""
    return Grade.loosened if is_looser else Grade.tightened
