"""Diagnostics → the formats that `check` prints.

In: diagnostics of any number of manifests. Out: text with carets, JSON (`format: 1`), workflow
commands of GitHub Actions, SARIF 2.1.0, or the code quality report of GitLab. Refuses nothing;
every string is made inert first.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from assembler.codes import CODES
from assembler.errors import Diagnostic, render
from assembler.review.sarif import location, log, message


def as_text(diagnostics: Sequence[Diagnostic], *, color: bool = False) -> str:
    """Draw every diagnostic, then count them."""
    if not diagnostics:
        return ""
    parts = [render(item, color=color) for item in diagnostics]
    return "\n\n".join([*parts, counted(diagnostics)])


def distinct(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    """Drop what was found twice: manifests that extend one base share its faults."""
    return list({render(item): item for item in diagnostics}.values())


def counted(diagnostics: Sequence[Diagnostic]) -> str:
    """Return `2 errors, 1 warning`."""
    counts = []
    for severity in ("error", "warning"):
        count = sum(item.severity == severity for item in diagnostics)
        if count:
            counts.append(f"{count} {severity}{'s' if count > 1 else ''}")
    return ", ".join(counts)


def as_json(diagnostics: Sequence[Diagnostic]) -> str:
    """Return the mapping that programs read."""
    return json.dumps(
        {"format": 1, "diagnostics": [item.as_dict() for item in diagnostics]}, indent=2
    )


def as_github(diagnostics: Sequence[Diagnostic]) -> str:
    """Return one workflow command a line, which GitHub shows at the changed lines."""
    return "\n".join(_command(item) for item in diagnostics)


def as_sarif(diagnostics: Sequence[Diagnostic]) -> str:
    """Return one run of SARIF 2.1.0, with the table of codes as its rules."""
    return log(CODES, [_result(item) for item in diagnostics], category="assembler-check")


def as_gitlab(diagnostics: Sequence[Diagnostic]) -> str:
    """Return a code quality report, which GitLab shows at the changed lines.

    A fault keeps its fingerprint while it moves, so that GitLab can tell what a change brings.
    Source: GitLab, "Code Quality report format".
    """
    seen: Counter[str] = Counter()
    return json.dumps([_issue(item, seen) for item in diagnostics], indent=2)


def _issue(item: Diagnostic, seen: Counter[str]) -> dict[str, Any]:
    facts = item.as_dict()
    identity = "\0".join((item.code, facts["file"] or "", facts["message"]))
    seen[identity] += 1  # two faults of one wording are two
    digest = hashlib.sha256(f"{identity}\0{seen[identity]}".encode())
    return {
        "description": facts["message"] + (f" ({facts['help']})" if facts["help"] else ""),
        "check_name": item.code,
        "fingerprint": digest.hexdigest(),
        "severity": "major" if item.severity == "error" else "minor",
        "location": {
            "path": facts["file"] or ".",
            "lines": {"begin": facts["line"] or 1, "end": facts["end_line"] or 1},
        },
    }


def _command(item: Diagnostic) -> str:
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
    text = facts["message"] + (f"\nhelp: {facts['help']}" if facts["help"] else "")
    return f"::{item.severity} {properties}::{_escaped(text, '')}"


def _escaped(text: str, more: str) -> str:
    """Escape as the runner's toolkit does: its commands end at a newline."""
    for char in "%\r\n" + more:
        text = text.replace(char, f"%{ord(char):02X}")
    return text


def _result(item: Diagnostic) -> dict[str, Any]:
    facts = item.as_dict()
    text = facts["message"] + (f" ({facts['help']})" if facts["help"] else "")
    result: dict[str, Any] = {
        "ruleId": item.code,
        "level": item.severity,
        "message": message(text),
    }
    if item.span is not None:
        region = {
            "startLine": facts["line"],
            "startColumn": facts["column"],
            "endLine": facts["end_line"],
            "endColumn": facts["end_column"],
        }
        result["locations"] = [location(item.span.file.name, region)]
    return result
