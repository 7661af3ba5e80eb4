"""Reports of audits → text for people, results and plain data for programs.

In: `Report`s, and sentences that say what could not be judged. Out: drawings with carets, the mapping
of `audit --format json`, the results of which `review.report` makes the forms of code hosts, the table
of rules. Every string is made inert.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from assembler.diagnostics.render import render
from assembler.diagnostics.span import one_line, printable
from assembler.review import report as forms
from assembler.review.audit import Report
from assembler.review.audit.rule import EVERYWHERE, SEVERITIES, AuditRule, Violation
from assembler.review.audit.table import OF_SUPPRESSIONS, RULES
from assembler.review.report import UNKNOWN, ReportResult, counted, result_of, worst_of


def as_text(reports: Sequence[Report], failures: Sequence[str] = (), *, color: bool = False) -> str:
    """Draw every finding, then tell of each manifest its profile, its counts, what is silenced."""
    drawn = [render(finding, color=color) for finding in all_findings(reports)]
    unknown = [f"{UNKNOWN}: {one_line(failure)}" for failure in failures]
    return "\n\n".join([*drawn, "\n".join([*_summary(reports), *unknown])])


def as_dict(reports: Sequence[Report], failures: Sequence[str] = ()) -> dict[str, Any]:
    """Return the mapping that programs read; `failures` say what could not be judged."""
    return {
        "format": 1,
        "worst": worst_of(worst_severity(reports), failures),
        "failures": [one_line(text) for text in failures],
        "manifests": [
            {"file": one_line(report.manifest), "profile": report.profile} for report in reports
        ],
        "findings": [finding.as_dict() for finding in all_findings(reports)],
        "silenced": [
            {
                **one.finding.as_dict(),
                "reason": printable(one.reason),
                "until": one.until.isoformat(),
            }
            for report in reports
            for one in report.silenced
        ],
    }


def results_of(reports: Sequence[Report]) -> list[ReportResult]:
    """Return the findings as results; what the base of a change has as well is a note."""
    return [_result(finding) for finding in all_findings(reports)]


def _result(finding: Violation) -> ReportResult:
    told = result_of(finding)
    return replace(told, level="note") if finding.is_new is False else told


def as_sarif(reports: Sequence[Report], failures: Sequence[str] = ()) -> str:
    """Return one run of SARIF 2.1.0; `failures` say what could not be judged."""
    meanings = {rule.id: rule.why for rule in (*RULES.values(), *OF_SUPPRESSIONS.values())}
    worst = worst_severity(reports)
    results = results_of(reports)
    return forms.as_sarif(
        results, meanings, category="assembler-audit", failures=failures, worst=worst
    )


def worst_severity(reports: Iterable[Report]) -> str | None:
    """Return the worst severity of all, None where nothing was found."""
    found = {one.worst for one in reports}
    return next((severity for severity in SEVERITIES if severity in found), None)


def all_findings(reports: Iterable[Report]) -> list[Violation]:
    """Return the findings of all, those that manifests share through a base only once."""
    found: dict[Any, Violation] = {}
    for report in reports:
        for finding in report.findings:
            place = (finding.span.file.name, *finding.span[1:])
            found.setdefault((finding.rule, finding.message, place), finding)
    return list(found.values())


def rules_as_text(rules: Mapping[str, AuditRule]) -> str:
    """List the rules: id, severity, profiles; then why, and what to write instead."""
    lines = []
    for rule in rules.values():
        where = "" if rule.profiles == EVERYWHERE else f"  {', '.join(sorted(rule.profiles))}"
        lines += [f"{rule.id}  {rule.severity}{where}", f"  {rule.why}", f"  fix: {rule.fix}", ""]
    return "\n".join(lines).rstrip()


def rules_as_dict(rules: Mapping[str, AuditRule]) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "format": 1,
        "rules": [
            {
                "rule": rule.id,
                "severity": rule.severity,
                "profiles": sorted(rule.profiles),
                "why": rule.why,
                "fix": rule.fix,
            }
            for rule in rules.values()
        ],
    }


def _summary(reports: Sequence[Report]) -> Iterable[str]:
    for report in reports:
        counts = counted(report.findings) or "clean"
        if any(finding.is_new is not None for finding in report.findings):
            new = [finding for finding in report.findings if finding.is_new]
            counts += f"; new: {counted(new) or 'nothing'}"
        yield f"{one_line(report.manifest)} as {report.profile}: {counts}"
        for one in report.silenced:
            reason = one_line(one.reason)
            yield f"  silenced until {one.until}: {one.finding.rule}: {reason}"
