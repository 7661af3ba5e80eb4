"""Comparisons → the words and counts that every document about them begins with.

In: `Comparison`s. Out: findings grouped over the manifests that share them, their counts in words,
places as text. Refuses nothing; the texts are as the manifests write them.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from assembler.review.finding import Comparison, Finding, Grade, Layer, Place, worst_first

MEANINGS: Mapping[Grade, str] = MappingProxyType(
    {
        Grade.loosened: "protects less than before",
        Grade.review: "needs the eyes of a person",
        Grade.behaviour: "works differently",
        Grade.tightened: "protects more than before",
        Grade.cosmetic: "means the same",
    }
)
# Shapes, so that no grade is told by its colour alone.
MARKS: Mapping[Grade, str] = MappingProxyType(
    {
        Grade.loosened: "▲",
        Grade.review: "◆",
        Grade.behaviour: "●",
        Grade.tightened: "▼",
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
    """Return `1 not compared, 2 loosened`, or `nothing differs`."""
    counts = Counter(finding.grade for finding in findings)
    parts = [f"{len(failures)} not compared"] if failures else []
    parts += [f"{counts[grade]} {grade.name}" for grade in sorted(counts, reverse=True)]
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
