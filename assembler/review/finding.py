"""What a comparison of manifests found, as frozen values that every format prints, and its words.

In: the facts of `assembler.review.diff`. Out: `Finding`s of the one table of rules, `Comparison`s, the
mapping and the results that programs read, and what every document says of them: findings grouped over
the manifests that share them, counts in words, places as text. Secrets are gone from the texts already;
all else is as the manifests write it, so each format makes it inert for its own readers. Rules are
stable: scripts and code hosts key on them; one that is not in the table is refused.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from assembler.diagnostics.span import Span, one_line
from assembler.review.report import UNKNOWN, ReportResult, worst_of

RULES = MappingProxyType(
    {
        # of whole manifests:
        "manifest-added": "a manifest is new",
        "manifest-removed": "a manifest is gone",
        "manifest-renamed": "a manifest has another name",
        "same-meaning": "the text differs and the resolved manifest is the same",
        # of entries:
        "entry-added": "an entry is new",
        "entry-removed": "an entry is gone",
        "entry-renamed": "an entry has another id",
        "entry-replaced": "an entry names other code",
        "unknown-code": "what an entry names cannot be found in the source",
        "code-changed": "a module behind what guards, handles errors or runs before routes is not as it was",
        "imports-widened": "a manifest may import more, or another file says what it may",
        "imports-narrowed": "a manifest may import less",
        "order": "entries stand in another order",
        "protection-added": "a layer that protects is new",
        "protection-removed": "a layer that protects is gone",
        "order-weakens": "a layer stands where it protects less",
        "order-strengthens": "a layer stands where it protects more",
        # of options:
        "option-loosened": "an option moved in the direction that its signature calls looser",
        "option-tightened": "an option moved away from what its signature calls looser",
        "option-changed": "an option differs and no direction is known",
        "option-reordered": "a list whose order has no meaning was sorted otherwise",
        "reference-changed": "a value comes from another reference",
        "secret-changed": "a value that may be a secret differs",
        # of sections:
        "section-changed": "a value of a section differs",
        "documentation-exposed": "the description of the API is served where it was not",
        "documentation-hidden": "the description of the API is no longer served",
        "failure-tolerated": "a failure that ended the start no longer does",
        "failure-fatal": "a failure ends the start that did not",
        "dependency-added": "a dependency runs before the routes of an entry",
        "dependency-removed": "a dependency no longer runs before the routes of an entry",
        "schedule-changed": "a job runs at other times",
        "sql-changed": "SQL that runs at the start differs",
        "suppression-added": "a rule of the audit is silenced",
        "suppression-removed": "a rule of the audit is no longer silenced",
        "expectation-changed": "what requests must give differs",
        # of OpenAPI documents:
        "api-path": "a path is new, gone or named otherwise",
        "api-operation": "an operation is new or gone",
        "api-operation-id": "an operation has another `operationId`",
        "api-parameter": "a parameter is new, gone, needed or free",
        "api-body": "a body is new, gone, needed or free",
        "api-media-type": "a form of a body is new or gone",
        "api-status": "a status is answered that was not, or no longer",
        "api-header": "a header of an answer is new or gone",
        "api-security": "other credentials are asked for",
        "api-scheme": "a security scheme is new, gone or defined otherwise",
        "api-type": "a value has another type or format",
        "api-enum": "values came or went",
        "api-limit": "a limit of a value moved",
        "api-property": "a property is new, gone, needed or free",
        "api-variant": "one of several forms of a value came or went",
        "api-default": "another value stands in for one that is left out",
        "api-deprecated": "something is advised against, or no longer",
        "api-server": "a server is new or gone",
        "api-changed": "a part differs whose meaning no rule knows",
        "api-text": "texts, examples or the order differ",
    }
)


class Grade(IntEnum):
    """How a change is judged; a greater one is worse."""

    cosmetic = 0
    compatible = 1
    tightened = 2
    behaviour = 3
    review = 4
    breaks_readers = 5
    breaks_callers = 6
    loosened = 7

    @property
    def word(self) -> str:
        """What reports and options call it."""
        return self.name.replace("_", "-")

    @classmethod
    def named(cls, word: str) -> "Grade":
        """Return the grade of a word."""
        return cls[word.replace("-", "_")]


@dataclass(frozen=True, slots=True)
class ReviewKind:
    """What is compared: its name in headings, the grades it has, and what tells its reports apart."""

    title: str
    grades: tuple[Grade, ...]
    marker: str


MANIFESTS = ReviewKind(
    "Manifest review",
    (Grade.loosened, Grade.review, Grade.behaviour, Grade.tightened, Grade.cosmetic),
    "assembler-diff",
)
DOCUMENTS = ReviewKind(
    "API review",
    tuple(sorted(set(Grade) - {Grade.tightened}, reverse=True)),
    "assembler-diff-openapi",
)


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

    @property
    def region(self) -> dict[str, int]:
        """The lines and columns as SARIF names them."""
        ends = {"endLine": self.end_line, "endColumn": self.end_column}
        return {"startLine": self.line, "startColumn": self.column, **ends}

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
            "grade": self.grade.word,
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


def worst_of_all(comparisons: Iterable[Comparison]) -> Grade | None:
    """Return the worst grade of all, None where nothing differs."""
    return max((one.worst for one in comparisons if one.worst is not None), default=None)


def as_dict(comparisons: Sequence[Comparison], failures: Sequence[str] = ()) -> dict[str, Any]:
    """Return the mapping of `diff --format json`; `failures` say what could not be compared."""
    worst = worst_of_all(comparisons)
    findings = findings_of(comparisons)
    return {
        "format": 1,
        "worst": worst_of(None if worst is None else worst.word, failures),
        "findings": [finding.as_dict() for finding in findings],
        "failures": [one_line(sentence) for sentence in failures],
    }


MEANINGS: Mapping[Grade, str] = MappingProxyType(
    {
        Grade.loosened: "protects less than before",
        Grade.breaks_callers: "requests that were right are refused",
        Grade.breaks_readers: "answers are not what readers were promised",
        Grade.review: "needs the eyes of a person",
        Grade.behaviour: "works differently",
        Grade.tightened: "protects more than before",
        Grade.compatible: "breaks nobody",
        Grade.cosmetic: "means the same",
    }
)
# Shapes, so that no grade is told by its colour alone.
MARKS: Mapping[Grade, str] = MappingProxyType(
    {
        Grade.loosened: "▲",
        Grade.breaks_callers: "✖",
        Grade.breaks_readers: "✚",
        Grade.review: "◆",
        Grade.behaviour: "●",
        Grade.tightened: "▼",
        Grade.compatible: "□",
        Grade.cosmetic: "○",
    }
)


def findings_of(comparisons: Iterable[Comparison]) -> list[Finding]:
    """Return all findings, the worst first."""
    return worst_first(finding for one in comparisons for finding in one.findings)


def shared(findings: Sequence[Finding]) -> list[tuple[Finding, list[str]]]:
    """Return each finding once, with the manifests that have it: those that extend one base."""
    groups: dict[Finding, list[str]] = {}
    for finding in findings:
        groups.setdefault(replace(finding, manifest="", entry=""), []).append(finding.manifest)
    return [(finding, list(dict.fromkeys(names))) for finding, names in groups.items()]


def counted(findings: Iterable[Finding], failures: Sequence[str] = ()) -> str:
    """Return `2 loosened, 1 review`, `unknown, 1 not compared`, or `nothing differs`."""
    counts = Counter(finding.grade for finding in findings)
    parts = [UNKNOWN, f"{len(failures)} not compared"] if failures else []
    parts += [f"{counts[grade]} {grade.word}" for grade in sorted(counts, reverse=True)]
    return ", ".join(parts) or "nothing differs"


def place_text(place: Place) -> str:
    """Return `file:line`."""
    return f"{place.file}:{place.line}"


def short_name(layer: Layer) -> str:
    """Return the id of a layer; of one without an id, the last name of its path."""
    return layer.id if layer.id != layer.use else re.split("[.:]", layer.use)[-1]


def restacked(comparisons: Iterable[Comparison]) -> list[list[Comparison]]:
    """Return the comparisons whose layers came, went or moved; those of the same chains together."""
    alike: dict[object, list[Comparison]] = {}
    for one in filter(is_restacked, comparisons):
        alike.setdefault(one.rows, []).append(one)
    return list(alike.values())


def is_restacked(comparison: Comparison) -> bool:
    """Whether layers came, went or moved between two sides that both exist."""
    if comparison.old_name is None or comparison.new_name is None:
        return False
    layers = (*comparison.old_chain, *comparison.new_chain)
    return any(layer.moved or layer.peer is None for layer in layers)


_LEVELS = {
    Grade.loosened: "error",
    Grade.breaks_callers: "error",
    Grade.breaks_readers: "error",
    Grade.review: "warning",
    Grade.behaviour: "warning",
    Grade.tightened: "note",
    Grade.compatible: "note",
    Grade.cosmetic: "note",
}


def results_of(comparisons: Iterable[Comparison]) -> list[ReportResult]:
    """Return the findings as results, the worst first, each at its place on the new side.

    What manifests share because they extend one base is one result. An identity holds no line, so a
    finding stays itself where lines move; it holds the message, so that one who dismissed `50` → `100`
    is told of `50` → `1000`.
    """
    return [_result(finding, names) for finding, names in shared(findings_of(comparisons))]


def _result(finding: Finding, manifests: list[str]) -> ReportResult:
    old, new = finding.old, finding.new
    properties: dict[str, Any] = {
        "grade": finding.grade.word,
        "path": one_line(finding.path),
        "manifests": [one_line(name) for name in manifests],
    }
    text = finding.message
    if old:
        properties["old"] = old.as_dict()
        text += "" if new else f" (was at {place_text(old)})"
    facts = [
        finding.grade.word,
        finding.rule,
        finding.path,
        finding.message,
        new.file if new else "",
    ]
    return ReportResult(
        finding.rule,
        _LEVELS[finding.grade],
        "\n".join(map(one_line, [text, *finding.details])),
        new.file
        if new
        else manifests[0],  # of what was removed, the manifest that no longer has it
        new.region if new else {"startLine": 1},
        identity=sha256(json.dumps(facts).encode()).hexdigest()[:32],
        properties=properties,
    )
