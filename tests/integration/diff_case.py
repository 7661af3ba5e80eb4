"""A pair of manifests, then `----`, then what `assembler diff` tells of them.

    manifest: 1                  the old side, `old/m.yaml`
    === new                      the new side, `new/m.yaml`
    === old/base.yaml            each other heading starts a further file
    ----
    loosened   `limit` goes …

A case whose text has the word `canary` says that the word must not be in what is shown.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from assembler.review.diff.comparison import compare_sides
from assembler.review.diff.knowledge import Knowledge
from assembler.review.diff.side import Side, read_side
from assembler.review.diff.text import as_text
from assembler.review.finding import Comparison, Grade

SEPARATOR = "----\n"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SWAPPED = {Grade.loosened: Grade.tightened, Grade.tightened: Grade.loosened}


@dataclass(frozen=True, slots=True)
class DiffCase:
    """The parts of one `.case` file."""

    given: str
    expected: str
    files: dict[str, str] = field(default_factory=dict)


def read_case(text: str) -> DiffCase:
    """Split the text of a `.case` file."""
    given, _, expected = text.partition(SEPARATOR)
    files = {"old/m.yaml": ""}
    name = "old/m.yaml"
    for line in given.splitlines(keepends=True):
        if line.startswith("=== "):
            name = line[4:].strip()
            name = "new/m.yaml" if name == "new" else name
            files[name] = ""
        else:
            files[name] += line
    return DiffCase(given, expected, files)


def sides(folder: Path = Path()) -> tuple[Side, Side]:
    """Read both sides of the case that stands in `folder`."""
    return read_side(folder / "old/m.yaml"), read_side(folder / "new/m.yaml")


def compared(old: Side, new: Side, knowledge: Knowledge | None = None) -> Comparison:
    """Compare two sides at a fixed moment."""
    return compare_sides("m.yaml", old, new, knowledge or Knowledge(), NOW)


def told(found: Comparison) -> str:
    """Return the text of a comparison."""
    return as_text([found]) + "\n"


def grades(found: Comparison) -> Counter[Grade]:
    """Count the grades of the findings."""
    return Counter(finding.grade for finding in found.findings)


def directions(found: Comparison, *, swapped: bool = False) -> Counter[Grade]:
    """Count what is looser and what is tighter."""
    counts = grades(found)
    return Counter(
        {SWAPPED[grade] if swapped else grade: counts[grade] for grade in SWAPPED if counts[grade]}
    )
