"""Results → SARIF 2.1.0 (OASIS), which code hosts show at the changed lines.

In: `Comparison`s, or results that another report wrote. Out: a log of one run, with the table of
rules that it uses. Results that manifests share because they extend one base are one result.
Refuses nothing; every string is made inert first.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from assembler.diagnostics.span import one_line, printable
from assembler.review.finding import (
    RULES,
    Comparison,
    Finding,
    Grade,
    Place,
    findings_of,
    place_text,
    shared,
)

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {
    Grade.loosened: "error",
    Grade.review: "warning",
    Grade.behaviour: "warning",
    Grade.tightened: "note",
    Grade.cosmetic: "note",
}
_PLACEHOLDER = re.compile(r"\{(\d+)\}")


def as_sarif(comparisons: Sequence[Comparison], failures: Sequence[str] = ()) -> str:
    """Write the findings, the worst first, each at its place on the new side.

    `failures` are sentences that say what could not be compared: the run did not succeed.

    A fingerprint holds no line, so a finding stays itself where lines move; it holds the message,
    so that one who dismissed `50` → `100` is told of `50` → `1000`.
    """
    groups = shared(findings_of(comparisons))
    results = [_result(finding, names) for finding, names in groups]
    seen: Counter[str] = Counter()
    for result, (finding, _) in zip(results, groups, strict=True):
        print_ = _fingerprint(finding)
        seen[print_] += 1
        marks = f"{print_}:{seen[print_]}"
        # GitHub looks at the second name alone, and would else make a hash of the line's text.
        result["partialFingerprints"] = {
            "assemblerDiff/v1": marks,
            "primaryLocationLineHash": marks,
        }
    return log(RULES, results, category="assembler-diff", failures=failures)


def log(
    rules: Mapping[str, str],
    results: Sequence[Mapping[str, Any]],
    *,
    category: str,
    failures: Sequence[str] = (),
) -> str:
    """Return a log of `results`, each of a rule of the table; `category` tells it from others."""
    used = sorted({result["ruleId"] for result in results})
    index = {rule: at for at, rule in enumerate(used)}
    driver = {
        "name": "assembler",
        "rules": [{"id": rule, "shortDescription": {"text": rules[rule]}} for rule in used],
    }
    run = {
        "tool": {"driver": driver},
        "invocations": [
            {
                "executionSuccessful": not failures,
                "toolExecutionNotifications": [
                    {"level": "error", "message": message(one_line(text))} for text in failures
                ],
            }
        ],
        "automationDetails": {"id": f"{category}/"},
        "columnKind": "unicodeCodePoints",
        "results": [
            {"ruleId": one["ruleId"], "ruleIndex": index[one["ruleId"]], **one} for one in results
        ],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def message(text: str) -> dict[str, str]:
    """Return a message in which nothing is a link or a placeholder (3.11.5, 3.11.6).

    Braces of references stay single: viewers show a text without arguments as it is.
    """
    inert = printable(text).replace("](", "] (")
    return {"text": _PLACEHOLDER.sub(r"{{\1}}", inert)}


def location(file: str, region: Mapping[str, int]) -> dict[str, Any]:
    """Return the place of a result in a file; GitHub demands a region with a line at least."""
    artifact = {"uri": quote(file, errors="surrogateescape")}
    return {"physicalLocation": {"artifactLocation": artifact, "region": dict(region)}}


def _result(finding: Finding, manifests: list[str]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "grade": finding.grade.name,
        "path": one_line(finding.path),
        "manifests": [one_line(name) for name in manifests],
    }
    text = finding.message
    if finding.old:
        properties["old"] = finding.old.as_dict()
        text += "" if finding.new else f" (was at {place_text(finding.old)})"
    return {
        "ruleId": finding.rule,
        "level": _LEVELS[finding.grade],
        "message": message("\n".join(map(one_line, [text, *finding.details]))),
        "locations": [_location(finding, manifests)],
        "properties": properties,
    }


def _location(finding: Finding, manifests: list[str]) -> dict[str, Any]:
    """Return the place on the new side; of what was removed, the manifest that no longer has it."""
    place = finding.new
    return (
        location(place.file, _region(place)) if place else location(manifests[0], {"startLine": 1})
    )


def _region(place: Place) -> dict[str, int]:
    return {
        "startLine": place.line,
        "startColumn": place.column,
        "endLine": place.end_line,
        "endColumn": place.end_column,
    }


def _fingerprint(finding: Finding) -> str:
    file = finding.new.file if finding.new else ""
    facts = [finding.grade.name, finding.rule, finding.path, finding.message, file]
    return sha256(json.dumps(facts).encode()).hexdigest()[:32]
