"""Comparisons → text for a terminal.

In: comparisons, what could not be compared, whether to colour, and how wide. Out: the worst first;
where layers changed, both chains side by side. Every string is made inert, so that a manifest can
neither colour the text nor forge a line of it.
"""

from collections.abc import Iterator, Sequence

from assembler.diagnostics.span import one_line
from assembler.review.finding import (
    Comparison,
    Finding,
    Grade,
    Layer,
    counted,
    findings_of,
    place_text,
    restacked,
    shared,
)

_COLORS = {
    Grade.loosened: "\x1b[1;31m",
    Grade.breaks_callers: "\x1b[1;31m",
    Grade.breaks_readers: "\x1b[1;31m",
    Grade.review: "\x1b[1;35m",
    Grade.behaviour: "\x1b[1;33m",
    Grade.tightened: "\x1b[1;32m",
    Grade.compatible: "\x1b[1;32m",
    Grade.cosmetic: "\x1b[2m",
}
_END = "\x1b[0m"
_WORD = 9  # columns of a grade at least
_NARROW = 24  # columns of one chain at least


def as_text(
    comparisons: Sequence[Comparison],
    failures: Sequence[str] = (),
    *,
    color: bool = False,
    width: int = 100,
) -> str:
    """Draw all comparisons, then count their findings and the `failures` to compare.

    What several manifests share, since they extend one base, is told once below all their names.
    """
    groups = shared(findings_of(comparisons))
    titles = {one.manifest: _title(one) for one in comparisons}
    column = max([_WORD, *(len(finding.grade.word) for finding, _ in groups)])
    blocks: dict[tuple[str, ...], list[str]] = {}
    for finding, manifests in groups:
        block = blocks.setdefault(tuple(titles[name] for name in manifests), [])
        block += ["", *_told(finding, column, color=color)]
    for group in restacked(comparisons):
        names = tuple(titles[one.manifest] for one in group)
        blocks.setdefault(names, []).extend(["", *_chains(group[0], width)])
    parts = ["\n".join([", ".join(names), *lines]) for names, lines in blocks.items()]
    return "\n\n".join([*parts, counted((finding for finding, _ in groups), failures)])


def _title(comparison: Comparison) -> str:
    old, new = comparison.old_name, comparison.new_name
    name = one_line(comparison.manifest)
    return name if None in (old, new) or old == new else f"{one_line(str(old))} → {name}"


def _told(finding: Finding, column: int, *, color: bool) -> Iterator[str]:
    grade = f"{finding.grade.word:<{column}}"
    indent = " " * (column + 4)
    if color:
        grade = f"{_COLORS[finding.grade]}{grade}{_END}"
    yield f"  {grade}  {one_line(finding.message)}"
    where = " → ".join(one_line(place_text(one)) for one in (finding.old, finding.new) if one)
    facts = [one_line(finding.path), f"[{finding.rule}]", where]
    yield f"{indent}{'  '.join(filter(None, facts))}"
    for line in finding.details:
        yield f"{indent}{one_line(line)}"


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
