"""What `check`, `audit` and `diff` have found → the forms that people, programs and code hosts read.

In: diagnostics, violations or findings as `ReportResult`s, and sentences that say what nobody could look
at. Out: text with carets, JSON (`format: 1`), workflow commands of GitHub Actions, SARIF 2.1.0 (OASIS),
or the code quality report of GitLab. What could not be looked at is told in every form, and the worst
is then `unknown`: no program may read a failure as clean. Every string is made inert first.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from assembler.diagnostics.codes import CODES
from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.render import Drawable, render
from assembler.diagnostics.span import one_line, printable

UNKNOWN = "unknown"
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_PLACEHOLDER = re.compile(r"\{(\d+)\}")
# What GitHub and GitLab call a level of SARIF.
_GITHUB = {"error": "error", "warning": "warning", "note": "notice"}
_GITLAB = {"error": "major", "warning": "minor", "note": "info"}
_LEVELS = {
    "error": "error",
    "warning": "warning",
    "high": "error",
    "medium": "warning",
    "low": "note",
}


@dataclass(frozen=True, slots=True)
class ReportResult:
    """One thing that was found: `level` is `error`, `warning` or `note`; `region` is SARIF's.

    `identity` tells one result from others in a later run, where it is not rule, file and message.
    """

    rule: str
    level: str
    message: str
    file: str | None = None
    region: Mapping[str, int] = field(default_factory=dict)
    help: str | None = None
    identity: str = ""
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The message, with its remedy."""
        return self.message + (f" ({printable(self.help)})" if self.help else "")


def result_of(item: Drawable) -> ReportResult:
    """Return a diagnostic, or what an audit found, as a result."""
    facts = item.as_dict()
    span = item.span
    keys = {
        "startLine": "line",
        "startColumn": "column",
        "endLine": "end_line",
        "endColumn": "end_column",
    }
    return ReportResult(
        item.code,
        _LEVELS[item.severity],
        facts["message"],
        span.file.name if span else None,
        {name: facts[key] for name, key in keys.items()} if span else {},
        item.help,
    )


def as_text(diagnostics: Sequence[Drawable], *, color: bool = False) -> str:
    """Draw every diagnostic, then count them."""
    if not diagnostics:
        return ""
    parts = [render(item, color=color) for item in diagnostics]
    return "\n\n".join([*parts, counted(diagnostics)])


def distinct(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    """Drop what was found twice: manifests that extend one base share its faults."""
    return list({render(item): item for item in diagnostics}.values())


def counted(diagnostics: Sequence[Drawable]) -> str:
    """Return `2 errors, 1 warning`."""
    counts = []
    for severity in _LEVELS:
        count = sum(item.severity == severity for item in diagnostics)
        if count:
            is_noun = severity in {"error", "warning"}
            counts.append(f"{count} {severity}{'s' if is_noun and count > 1 else ''}")
    return ", ".join(counts)


def worst_of(worst: str | None, failures: Sequence[str]) -> str | None:
    """Return what the key `worst` of every report says: null is clean, and a failure is not."""
    return UNKNOWN if failures else worst


def as_json(diagnostics: Sequence[Drawable]) -> str:
    """Return the mapping that programs read of `check`."""
    return dumped({"format": 1, "diagnostics": [item.as_dict() for item in diagnostics]})


def dumped(value: Any) -> str:
    """Return JSON as the commands print it."""
    return json.dumps(value, indent=2)


def as_github(results: Iterable[ReportResult], failures: Sequence[str] = ()) -> str:
    """Return one workflow command a line, which GitHub shows at the changed lines."""
    lines = [f"::error title={UNKNOWN}::{_escaped(one_line(text), '')}" for text in failures]
    return "\n".join([*lines, *map(_command, results)])


def as_sarif(
    results: Sequence[ReportResult],
    rules: Mapping[str, str],
    *,
    category: str,
    failures: Sequence[str] = (),
    worst: str | None = None,
) -> str:
    """Return a log of one run, with those of `rules` that it uses; `category` tells it from others.

    Results of one identity are numbered: a result keeps its fingerprint while its line moves.
    """
    used = sorted({result.rule for result in results})
    index = {rule: at for at, rule in enumerate(used)}
    seen: Counter[str] = Counter()
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
                    {"level": "error", "message": _message(one_line(text))} for text in failures
                ],
            }
        ],
        "automationDetails": {"id": f"{category}/"},
        "columnKind": "unicodeCodePoints",
        "properties": {"worst": worst_of(worst, failures)},
        "results": [_in_sarif(result, index[result.rule], seen) for result in results],
    }
    return dumped({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})


def sarif_of_check(diagnostics: Sequence[Diagnostic]) -> str:
    """Return the log of `check`, with the table of codes as its rules."""
    results = list(map(result_of, diagnostics))
    levels = {result.level for result in results}
    worst = next((level for level in ("error", "warning") if level in levels), None)
    return as_sarif(results, CODES, category="assembler-check", worst=worst)


def as_gitlab(results: Iterable[ReportResult], failures: Sequence[str] = ()) -> str:
    """Return a code quality report, which GitLab shows at the changed lines.

    A fault keeps its fingerprint while it moves, so that GitLab can tell what a change brings.
    Source: GitLab, "Code Quality report format".
    """
    seen: Counter[str] = Counter()
    unseen = [ReportResult(UNKNOWN, "error", one_line(text)) for text in failures]
    return dumped([_issue(item, seen) for item in (*unseen, *results)])


def _issue(item: ReportResult, seen: Counter[str]) -> dict[str, Any]:
    identity = item.identity or "\0".join((item.rule, printable(item.file or ""), item.message))
    seen[identity] += 1  # two faults of one wording are two
    digest = hashlib.sha256(f"{identity}\0{seen[identity]}".encode())
    begin = item.region.get("startLine", 1)
    return {
        "description": item.text,
        "check_name": item.rule,
        "fingerprint": digest.hexdigest(),
        "severity": "blocker" if item.rule == UNKNOWN else _GITLAB[item.level],
        "location": {
            "path": printable(item.file or "."),
            "lines": {"begin": begin, "end": item.region.get("endLine", begin)},
        },
    }


def _command(item: ReportResult) -> str:
    region = item.region
    is_one_line = region.get("startLine") == region.get("endLine")
    places = {
        "file": None if item.file is None else printable(item.file),
        "line": region.get("startLine"),
        "endLine": region.get("endLine"),
        "col": region.get("startColumn"),
        "endColumn": region.get("endColumn") if is_one_line else None,
        "title": item.rule,
    }
    properties = ",".join(
        f"{key}={_escaped(str(value), ',:')}" for key, value in places.items() if value is not None
    )
    text = item.message + (f"\nhelp: {printable(item.help)}" if item.help else "")
    return f"::{_GITHUB[item.level]} {properties}::{_escaped(text, '')}"


def _escaped(text: str, more: str) -> str:
    """Escape as the runner's toolkit does: its commands end at a newline."""
    for char in "%\r\n" + more:
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def _in_sarif(item: ReportResult, index: int, seen: Counter[str]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "ruleId": item.rule,
        "ruleIndex": index,
        "level": item.level,
        "message": _message(item.text),
    }
    if item.file is not None:  # GitHub demands a region with a line at least
        artifact = {"uri": quote(item.file, errors="surrogateescape")}
        place = {"artifactLocation": artifact, "region": dict(item.region)}
        told["locations"] = [{"physicalLocation": place}]
    if item.properties:
        told["properties"] = dict(item.properties)
    if item.identity:
        seen[item.identity] += 1
        marks = f"{item.identity}:{seen[item.identity]}"
        # GitHub looks at the second name alone, and would else make a hash of the line's text.
        told["partialFingerprints"] = {"assemblerDiff/v1": marks, "primaryLocationLineHash": marks}
    return told


def _message(text: str) -> dict[str, str]:
    """Return a message in which nothing is a link or a placeholder (3.11.5, 3.11.6).

    Braces of references stay single: viewers show a text without arguments as it is.
    """
    inert = printable(text).replace("](", "] (")
    return {"text": _PLACEHOLDER.sub(r"{{\1}}", inert)}
