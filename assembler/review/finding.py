"""What a comparison of manifests found, as frozen values that every format prints.

In: the facts of `assembler.review.diff`. Out: `Finding`s and `Comparison`s, and the mapping that
programs read. Secrets are gone from the texts already; all else is as the manifests write it, so
each format makes it inert for its own readers. Refuses a rule that is not in the table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from assembler.diagnostics.span import Span, one_line
from assembler.review.rules import RULES


class Grade(IntEnum):
    """How a change is judged; a greater one is worse."""

    cosmetic = 0
    tightened = 1
    behaviour = 2
    review = 3
    loosened = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: lines and columns from 1, the end exclusive."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    @classmethod
    def of(cls, span: Span) -> "Place":
        """Return the place of a span."""
        return cls(span.file.name, span.line, span.column, span.end_line, span.end_column)

    def as_dict(self) -> dict[str, Any]:
        """Return `file`, `line` and the rest."""
        return {
            "file": one_line(self.file),
            "line": self.line,
            "column": self.column,
            "end_line": self.end_line,
            "end_column": self.end_column,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that differs.

    `path` is the address of what differs, such as `middleware.per-ip.with.limit`: on the new side,
    or on the old one where it was removed. `entry` is the address of the entry that it belongs to,
    the same text as `Layer.address`, or empty. `message` is one sentence; `details` are lines that
    may follow it. `old` is None for what was added, `new` for what was removed.
    """

    manifest: str
    grade: Grade
    rule: str
    message: str
    path: str
    entry: str = ""
    old: Place | None = None
    new: Place | None = None
    details: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise KeyError(f"`{self.rule}` is not in the table of rules")

    def as_dict(self) -> dict[str, Any]:
        """Return the keys of `diff --format json`."""
        return {
            "manifest": one_line(self.manifest),
            "grade": self.grade.name,
            "rule": self.rule,
            "message": one_line(self.message),
            "path": one_line(self.path),
            "old": self.old and self.old.as_dict(),
            "new": self.new and self.new.as_dict(),
            "details": [one_line(line) for line in self.details],
        }


@dataclass(frozen=True, slots=True)
class Layer:
    """One middleware of a chain, the outermost first.

    `peer` is its index in the other side's chain, None where that side does not have it; `moved`
    says that it stands elsewhere relative to the layers that stayed.
    """

    address: str
    id: str
    use: str
    peer: int | None = None
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sides of one manifest. A side that does not exist has no name and an empty chain."""

    manifest: str
    old_name: str | None
    new_name: str | None
    findings: tuple[Finding, ...]
    old_chain: tuple[Layer, ...] = ()
    new_chain: tuple[Layer, ...] = ()

    @property
    def worst(self) -> Grade | None:
        """The worst grade, None where nothing differs."""
        return max((finding.grade for finding in self.findings), default=None)

    @property
    def is_reordered(self) -> bool:
        """Whether layers that both sides have stand in another order."""
        return any(layer.moved for layer in self.new_chain)

    @property
    def rows(self) -> tuple[tuple[Layer | None, Layer | None], ...]:
        """Both chains side by side: what stayed stands in one row, all else alone."""
        rows: list[tuple[Layer | None, Layer | None]] = []
        at = 0
        for layer in self.new_chain:
            if layer.peer is None or layer.moved:
                rows.append((None, layer))
                continue
            rows += [(other, None) for other in self.old_chain[at : layer.peer]]
            rows.append((self.old_chain[layer.peer], layer))
            at = layer.peer + 1
        return (*rows, *((other, None) for other in self.old_chain[at:]))


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Sort by grade, the worst first; findings of one grade keep their order."""
    return sorted(findings, key=lambda finding: -finding.grade)


def as_dict(comparisons: Sequence[Comparison], failures: Sequence[str] = ()) -> dict[str, Any]:
    """Return the mapping of `diff --format json`; `failures` say what could not be compared."""
    worst = max((one.worst for one in comparisons if one.worst is not None), default=None)
    findings = worst_first(finding for one in comparisons for finding in one.findings)
    return {
        "format": 1,
        "worst": None if worst is None else worst.name,
        "findings": [finding.as_dict() for finding in findings],
        "failures": [one_line(sentence) for sentence in failures],
    }
