"""Comparisons → text for a terminal.

In: comparisons, whether to colour, and how wide. Out: the worst first; where layers changed, both
chains side by side. Refuses nothing; every string is made inert, so that a manifest can neither
colour the text nor forge a line of it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from assembler.place import one_line
from assembler.review.finding import Comparison, Finding, Grade, Layer, Place, worst_first

_COLORS = {
    Grade.loosened: "\x1b[1;31m",
    Grade.review: "\x1b[1;35m",
    Grade.behaviour: "\x1b[1;33m",
    Grade.tightened: "\x1b[1;32m",
    Grade.cosmetic: "\x1b[2m",
}
_END = "\x1b[0m"
_NARROW = 24  # columns of one chain at least


def as_text(comparisons: Sequence[Comparison], *, color: bool = False, width: int = 100) -> str:
    """Draw all comparisons, then count their findings."""
    ordered = sorted(comparisons, key=lambda one: -(-1 if one.worst is None else one.worst))
    parts = ["\n".join(_drawn(one, color=color, width=width)) for one in ordered if one.findings]
    return "\n\n".join([*parts, _counted(comparisons)])


def _drawn(comparison: Comparison, *, color: bool, width: int) -> Iterator[str]:
    yield _title(comparison)
    for finding in worst_first(comparison.findings):
        yield ""
        yield from _told(finding, color=color)
    if any(layer.moved or layer.peer is None for layer in _layers(comparison)):
        yield ""
        yield from _chains(comparison, width)


def _layers(comparison: Comparison) -> tuple[Layer, ...]:
    both = comparison.old_name is not None and comparison.new_name is not None
    return (*comparison.old_chain, *comparison.new_chain) if both else ()


def _title(comparison: Comparison) -> str:
    old, new = comparison.old_name, comparison.new_name
    name = one_line(comparison.manifest)
    return name if None in (old, new) or old == new else f"{one_line(str(old))} → {name}"


def _told(finding: Finding, *, color: bool) -> Iterator[str]:
    grade = f"{finding.grade.name:<9}"
    if color:
        grade = f"{_COLORS[finding.grade]}{grade}{_END}"
    yield f"  {grade}  {one_line(finding.message)}"
    where = " → ".join(_place(place) for place in (finding.old, finding.new) if place)
    facts = [one_line(finding.path), f"[{finding.rule}]", where]
    yield f"             {'  '.join(filter(None, facts))}"
    for line in finding.details:
        yield f"             {one_line(line)}"


def _place(place: Place) -> str:
    return f"{one_line(place.file)}:{place.line}"


def _chains(comparison: Comparison, width: int) -> Iterator[str]:
    """Draw both chains side by side, the outermost layer first."""
    rows = [
        (_named(old, "-", is_alone=new is None), _named(new, "+", is_alone=old is None))
        for old, new in comparison.rows
    ]
    widest = max((len(old) for old, _ in rows), default=0)
    column = max(_NARROW, min(widest, (width - 7) // 2))
    yield f"  {'middleware before':<{column}} │ middleware after (outermost first)"
    for old, new in rows:
        yield f"  {_cut(old, column):<{column}} │ {_cut(new, column)}".rstrip()


def _named(layer: Layer | None, sign: str, *, is_alone: bool) -> str:
    if layer is None:
        return ""
    mark = "↕" if layer.moved else sign if is_alone else " "
    return f"{mark} {one_line(layer.id)}"


def _cut(text: str, width: int) -> str:
    """Shorten a dotted path from the left: its last part names it."""
    return text if len(text) <= width else f"{text[:2]}…{text[len(text) - width + 3 :]}"


def _counted(comparisons: Sequence[Comparison]) -> str:
    counts = Counter(finding.grade for one in comparisons for finding in one.findings)
    if not counts:
        return "nothing differs"
    return ", ".join(f"{counts[grade]} {grade.name}" for grade in sorted(counts, reverse=True))
