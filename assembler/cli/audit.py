"""`audit`: manifests → what to think twice about before they are deployed.

In: paths of manifests, what they are for. Out: findings in one of five formats; status 1 where one
is at or above `--fail-on`, 2 where a manifest could not be judged. Refuses what is no manifest by
its text, shape and references; imports no code and reads no variables.
"""

import json
import sys
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from assembler.cli.output import INVALID, USAGE, complain, named, show, wants_color, warn
from assembler.diagnostics.errors import ManifestError, UsageError
from assembler.review import diagnostics

if TYPE_CHECKING:
    from assembler.review.audit import Report
    from assembler.review.diff.git import Commit


class AuditFormat(StrEnum):
    """How `audit` prints what it found."""

    text = "text"
    json = "json"
    github = "github"
    gitlab = "gitlab"
    sarif = "sarif"


class ProfileName(StrEnum):
    """What a manifest is for."""

    dev = "dev"
    test = "test"
    prod = "prod"
    serverless = "serverless"


class Bar(StrEnum):
    """The least severity that gives status 1."""

    high = "high"
    medium = "medium"
    low = "low"


def audit(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Manifests.", show_default=False)
    ] = None,
    profile: Annotated[
        ProfileName | None,
        typer.Option(help="What they are for; else by the word in the file's name, or `prod`."),
    ] = None,
    fail_on: Annotated[
        Bar, typer.Option(help="The least severity that gives status 1.")
    ] = Bar.high,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="Let the suppressions of this commit hold, so that a change cannot silence its own gate.",
        ),
    ] = None,
    format: Annotated[AuditFormat, typer.Option(help="How to print.")] = AuditFormat.text,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules instead.")] = False,
) -> None:
    """Tell what to think twice about: status 1 where it is grave, 2 where nobody could look."""
    if rules:
        _list_rules(format)
        return
    if not files:
        raise UsageError("name a manifest")
    reports: list[Report] = []
    failures: list[str] = []
    shelf = None if base is None else _commit(base)
    for path in dict.fromkeys(files):
        try:
            reports.append(_audited(path, profile, shelf))
        except ManifestError as error:
            warn(diagnostics.as_text(error.diagnostics, color=wants_color(sys.stderr)))
            failures.append(f"{named(path)} could not be judged")
        except UsageError as error:
            failures.append(str(error))
    for failure in failures:
        complain(f"error: {failure}")
    if reports:
        _report(reports, failures, format)
    if failures:
        raise typer.Exit(USAGE)
    if any(report.trips(fail_on.value) for report in reports):
        raise typer.Exit(INVALID)


def today() -> date:
    """Return the day by which suppressions end: in UTC, wherever the audit runs."""
    return datetime.now(UTC).date()


def _audited(path: Path, profile: ProfileName | None, base: "Commit | None") -> "Report":
    from assembler.plan.load import load_shape  # noqa: PLC0415  # each command loads what it needs
    from assembler.review.audit import audit as audited  # noqa: PLC0415
    from assembler.review.audit.rule import profile_of  # noqa: PLC0415

    suppressions = None
    if base is not None:  # a manifest that is new there has none
        suppressions = load_shape(path, shelf=base)[1].audit.suppress if base.has(path) else ()
    document, manifest = load_shape(path)
    chosen = profile_of(path) if profile is None else profile.value
    return audited(document, manifest, chosen, today=today(), suppressions=suppressions)


def _commit(name: str) -> "Commit":
    from assembler.review.diff.git import Commit, Repository  # noqa: PLC0415  # as above

    repository = Repository(Path.cwd())
    return Commit(repository, repository.commit(name))


def _report(reports: "list[Report]", failures: list[str], format: AuditFormat) -> None:
    from assembler.review.audit import report  # noqa: PLC0415  # as above

    if format is AuditFormat.text:
        text = report.as_text(reports, color=wants_color(sys.stdout))
    elif format is AuditFormat.json:
        text = _dumped(report.as_dict(reports, failures))
    elif format is AuditFormat.github:
        text = diagnostics.as_github(report.all_findings(reports))
    elif format is AuditFormat.gitlab:
        text = diagnostics.as_gitlab(report.all_findings(reports))
    else:
        text = report.as_sarif(reports, failures)
    if text:
        show(text)


def _list_rules(format: AuditFormat) -> None:
    from assembler.review.audit import report  # noqa: PLC0415  # as above
    from assembler.review.audit.table import RULES  # noqa: PLC0415

    is_json = format is AuditFormat.json
    show(_dumped(report.rules_as_dict(RULES)) if is_json else report.rules_as_text(RULES))


def _dumped(value: Any) -> str:
    return json.dumps(value, indent=2)
