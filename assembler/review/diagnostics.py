"""Diagnostics → the formats that `check` and `audit` print.

In: diagnostics or findings of any number of manifests. Out: text with carets, JSON (`format: 1`),
workflow commands of GitHub Actions, SARIF 2.1.0, or the code quality report of GitLab. Refuses
nothing; every string is made inert first.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from assembler.diagnostics.codes import CODES
from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.render import Told, render
from assembler.diagnostics.span import printable
from assembler.review.sarif import location, log, message

# What GitHub, SARIF and GitLab call each severity.
_LEVELS = {
    "error": ("error", "error", "major"),
    "warning": ("warning", "warning", "minor"),
    "high": ("error", "error", "major"),
    "medium": ("warning", "warning", "minor"),
    "low": ("notice", "note", "info"),
}


def as_text(diagnostics: Sequence[Told], *, color: bool = False) -> str:
    """Draw every diagnostic, then count them."""
    if not diagnostics:
        return ""
    parts = [render(item, color=color) for item in diagnostics]
    return "\n\n".join([*parts, counted(diagnostics)])


def distinct(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    """Drop what was found twice: manifests that extend one base share its faults."""
    return list({render(item): item for item in diagnostics}.values())


def counted(diagnostics: Sequence[Told]) -> str:
    """Return `2 errors, 1 warning`."""
    counts = []
    for severity in _LEVELS:
        count = sum(item.severity == severity for item in diagnostics)
        if count:
            is_noun = severity in {"error", "warning"}
            counts.append(f"{count} {severity}{'s' if is_noun and count > 1 else ''}")
    return ", ".join(counts)


def as_json(diagnostics: Sequence[Told]) -> str:
    """Return the mapping that programs read."""
    return json.dumps(
        {"format": 1, "diagnostics": [item.as_dict() for item in diagnostics]}, indent=2
    )


def as_github(diagnostics: Sequence[Told]) -> str:
    """Return one workflow command a line, which GitHub shows at the changed lines."""
    return "\n".join(_command(item) for item in diagnostics)


def as_sarif(diagnostics: Sequence[Told]) -> str:
    """Return one run of SARIF 2.1.0, with the table of codes as its rules."""
    return log(CODES, [result(item) for item in diagnostics], category="assembler-check")


def result(item: Told) -> dict[str, Any]:
    """Return one result of SARIF."""
    facts = item.as_dict()
    text = facts["message"] + (f" ({printable(item.help)})" if item.help else "")
    told: dict[str, Any] = {
        "ruleId": item.code,
        "level": _LEVELS[item.severity][1],
        "message": message(text),
    }
    if item.span is not None:
        region = {
            "startLine": facts["line"],
            "startColumn": facts["column"],
            "endLine": facts["end_line"],
            "endColumn": facts["end_column"],
        }
        told["locations"] = [location(item.span.file.name, region)]
    return told


def as_gitlab(diagnostics: Sequence[Told]) -> str:
    """Return a code quality report, which GitLab shows at the changed lines.

    A fault keeps its fingerprint while it moves, so that GitLab can tell what a change brings.
    Source: GitLab, "Code Quality report format".
    """
    seen: Counter[str] = Counter()
    return json.dumps([_issue(item, seen) for item in diagnostics], indent=2)


def _issue(item: Told, seen: Counter[str]) -> dict[str, Any]:
    facts = item.as_dict()
    identity = "\0".join((item.code, facts["file"] or "", facts["message"]))
    seen[identity] += 1  # two faults of one wording are two
    digest = hashlib.sha256(f"{identity}\0{seen[identity]}".encode())
    return {
        "description": facts["message"] + (f" ({printable(item.help)})" if item.help else ""),
        "check_name": item.code,
        "fingerprint": digest.hexdigest(),
        "severity": _LEVELS[item.severity][2],
        "location": {
            "path": facts["file"] or ".",
            "lines": {"begin": facts["line"] or 1, "end": facts["end_line"] or 1},
        },
    }


def _command(item: Told) -> str:
    facts = item.as_dict()
    places = {
        "file": facts["file"],
        "line": facts["line"],
        "endLine": facts["end_line"],
        "col": facts["column"],
        "endColumn": facts["end_column"] if facts["line"] == facts["end_line"] else None,
        "title": item.code,
    }
    properties = ",".join(
        f"{key}={_escaped(str(value), ',:')}" for key, value in places.items() if value is not None
    )
    text = facts["message"] + (f"\nhelp: {printable(item.help)}" if item.help else "")
    return f"::{_LEVELS[item.severity][0]} {properties}::{_escaped(text, '')}"


def _escaped(text: str, more: str) -> str:
    """Escape as the runner's toolkit does: its commands end at a newline."""
    for char in "%\r\n" + more:
        text = text.replace(char, f"%{ord(char):02X}")
    return text
