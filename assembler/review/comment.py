"""Comparisons → a comment on a pull request, in GitHub's Markdown.

In: `Comparison`s. Out: Markdown that begins with a hidden line, by which a later run finds its
comment and updates it; the worst first, what is cosmetic folded, and never longer than code hosts
take: what is cut is said. Refuses a bound too small to say that, and a marker that could end the
hidden line.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import takewhile

from assembler.review.finding import (
    MANIFESTS,
    MEANINGS,
    Comparison,
    Finding,
    Grade,
    Layer,
    ReviewKind,
    counted,
    findings_of,
    place_text,
    restacked,
    shared,
    short_name,
)
from assembler.review.markup import code, longest_run, markdown, shown

LONGEST_BYTES = 65_536  # GitHub takes so many characters, which are never more than their bytes
_SHORTEST_BYTES = 4_096
_NOTICE_BYTES = 512  # kept free for what is said of a cut
_NAMED = 5  # manifests that are named together
_DETAILS = 10  # lines below a finding
_COLUMN = 44  # characters of a chain's column
_CIRCLES = {
    Grade.loosened: "🔴",
    Grade.breaks_callers: "🟥",
    Grade.breaks_readers: "🟧",
    Grade.review: "🟠",
    Grade.behaviour: "🔵",
    Grade.tightened: "🟢",
    Grade.compatible: "🟩",
    Grade.cosmetic: "⚪",
}
Group = tuple[Finding, list[str]]


def as_markdown(
    comparisons: Sequence[Comparison],
    failures: Sequence[str] = (),
    *,
    limit_bytes: int = LONGEST_BYTES,
    marker: str | None = None,
    subject: ReviewKind = MANIFESTS,
) -> str:
    """Write the comment, of at most `limit_bytes` (4096 at least), with `marker` in its first line.

    Without one, that of `subject` stands there.

    `failures` are sentences that say what could not be compared; they come before all findings.

    Raises:
        ValueError: of a bound that is too small, or a marker of more than letters, digits and
            single hyphens.
    """
    if limit_bytes < _SHORTEST_BYTES:
        raise ValueError(f"`limit_bytes` is at least {_SHORTEST_BYTES}, not {limit_bytes}")
    marker = subject.marker if marker is None else marker
    if not re.fullmatch(r"[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*", marker):
        raise ValueError("`marker` takes letters and digits, with single hyphens between them")
    findings = findings_of(comparisons)
    groups = shared(findings)
    names = list(dict.fromkeys(finding.manifest for finding in findings))
    head = f"<!-- {marker} -->\n## {subject.title}: {counted((finding for finding, _ in groups), failures)}\n"
    if names:
        head += f"\n{_named(names)}\n"
    comment = _Comment(head, limit_bytes - _NOTICE_BYTES)
    if failures:
        items = "".join(f"- {markdown(sentence)}\n" for sentence in failures[:_NAMED])
        more = len(failures) - _NAMED
        items += f"- and {more} more\n" if more > 0 else ""
        comment.add(f"\n### ⛔ Not compared\n\n{items}")
    if len(names) == 1:  # which the head has named
        groups = [(finding, []) for finding, _ in groups]
    for grade in sorted(Grade, reverse=True):
        if grade is Grade.cosmetic:  # which is folded, and the chains belong to what is not
            _write_chains(comment, restacked(comparisons))
        _write_grade(comment, grade, [group for group in groups if group[0].grade is grade])
    return (comment.text + _cut(comment, len(groups), limit_bytes)).rstrip("\n")


class _Comment:
    """The text so far. Once a block does not fit, no later one is written: the worst come first."""

    def __init__(self, head: str, limit_bytes: int) -> None:
        self.text = head
        self.written = 0
        self.is_full = False
        self._left = limit_bytes - len(head.encode())

    def add(self, block: str, reserved: str = "") -> bool:
        """Write `block` where it fits, and keep the room for what is `reserved`."""
        size = len((block + reserved).encode())
        self.is_full = self.is_full or size > self._left
        if not self.is_full:
            self.text += block
            self._left -= size
        return not self.is_full


def _write_grade(comment: _Comment, grade: Grade, groups: list[Group]) -> None:
    if not groups:
        return
    title = f"{_CIRCLES[grade]} {grade.word.capitalize()}: {MEANINGS[grade]}"
    opening, closing = f"\n### {title}\n\n", ""
    if grade is Grade.cosmetic:
        opening = f"\n<details>\n<summary>{title} ({len(groups)})</summary>\n\n"
        closing = "\n</details>\n"
    items = ["\n".join(_item(*group)) + "\n" for group in groups]
    if comment.add(opening + items[0], closing):
        comment.written += 1 + sum(1 for _ in takewhile(comment.add, items[1:]))
        comment.text += closing


def _item(finding: Finding, manifests: list[str]) -> Iterator[str]:
    sides = [code(place_text(place)) for place in (finding.old, finding.new) if place]
    facts = [code(finding.path)] if finding.path else []
    if finding.old and finding.new:
        facts.append(" → ".join(dict.fromkeys(sides)))
    elif sides:
        facts.append(("was " if finding.old else "new at ") + sides[0])
    facts.append(f"rule {code(finding.rule)}")
    facts += [f"in {_named(manifests)}"] if manifests else []
    yield f"- {markdown(finding.message)}\\"
    yield f"  {' · '.join(facts)}"
    for line in finding.details[:_DETAILS]:
        yield f"  - {markdown(line)}"
    if len(finding.details) > _DETAILS:
        yield f"  - and {len(finding.details) - _DETAILS} more lines"


def _named(manifests: Sequence[str]) -> str:
    named = ", ".join(map(code, manifests[:_NAMED]))
    more = len(manifests) - _NAMED
    return f"{named} and {more} more" if more > 0 else named


def _write_chains(comment: _Comment, groups: Sequence[Sequence[Comparison]]) -> None:
    for group in groups:
        lines = [line.rstrip() for line in _chain(group[0])]
        fence = "`" * max(3, 1 + longest_run("\n".join(lines)))
        title = f"The middleware of {_named([one.manifest for one in group])}, the outermost first:"
        comment.add("\n".join(["", title, "", f"{fence}text", *lines, fence, ""]))


def _chain(comparison: Comparison) -> Iterator[str]:
    yield f"{'before':{_COLUMN}}  after"
    for old, new in comparison.rows:
        yield f"{_layer(old, 'removed'):{_COLUMN}}  {_layer(new, 'added')}"


def _layer(layer: Layer | None, alone: str) -> str:
    if layer is None:
        return ""
    mark = " (moved)" if layer.moved else f" ({alone})" if layer.peer is None else ""
    return shown(short_name(layer), _COLUMN - 11) + mark


def _cut(comment: _Comment, groups: int, limit_bytes: int) -> str:
    if not comment.is_full:
        return ""
    untold = groups - comment.written
    what = f"{untold} of {groups} findings are" if untold else "a part is"
    return (
        f"\n> **Cut:** {what} not shown, since this comment holds at most {limit_bytes} bytes."
        f" `assembler diff` prints all.\n"
    )
