"""`audit`: manifests → what to think twice about before they are deployed.

In: paths of manifests, what they are for. Out: findings in one of five formats; status 1 where one
is at or above `--fail-on`, 2 where a manifest could not be judged. Refuses what is no manifest by
its text, shape and references; imports no code and reads no variables.
"""

import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli.check import NoCache, own_manifests, read_each
from assembler.cli.output import INVALID, USAGE, complain, show, wants_color
from assembler.diagnostics.errors import ManifestError, UsageError
from assembler.document.extends import DISK
from assembler.document.merge import load_document
from assembler.review import report as reports

if TYPE_CHECKING:
    from assembler.manifest.review import Suppression
    from assembler.review.audit import Report
    from assembler.review.audit.rule import Profile
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
        list[Path] | None,
        typer.Argument(
            help="Manifests; without any, those in `manifests/` that no other one extends.",
            show_default=False,
        ),
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
            help="Let the suppressions of this commit hold, so that a change cannot silence its own gate, and tell what is new.",
        ),
    ] = None,
    only_new: Annotated[
        bool,
        typer.Option("--new", help="With --base: only what is new against it gives status 1."),
    ] = False,
    format: Annotated[AuditFormat, typer.Option(help="How to print.")] = AuditFormat.text,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules instead.")] = False,
    no_cache: NoCache = False,
) -> None:
    """Tell what to think twice about: status 1 where it is grave, 2 where nobody could look."""
    if rules:
        _list_rules(format)
        return
    if only_new and base is None:
        raise UsageError("--new tells what is new against --base: give that as well")
    from assembler.plan.static.cache import kept

    with kept(anew=no_cache):
        found, failures = _all_audited(files or _environments(), profile, base)
    _report(found, failures, format)
    if failures:
        raise typer.Exit(USAGE)
    if any(report.trips(fail_on.value, only_new=only_new) for report in found):
        raise typer.Exit(INVALID)


def _all_audited(
    files: Sequence[Path], profile: ProfileName | None, base: str | None
) -> "tuple[list[Report], list[str]]":
    """Judge the manifests; return sentences that say which could not be."""
    try:
        commit = None if base is None else _commit(base)
    except UsageError as error:  # a failure as every other: no form may read as clean
        complain(f"error: {error}")
        return [], [str(error)]
    paths = dict.fromkeys(files)
    return read_each(paths, lambda path: _audited(path, profile, commit), "could not be judged")


def _environments() -> list[Path]:
    """Return the manifests that stand for an environment: what another extends or mounts is none."""
    paths = own_manifests()
    bases: set[Path] = set()
    for path in paths:
        with suppress(ManifestError, UsageError):  # auditing it tells
            *below, _ = map(DISK.resolved, load_document(path).files)
            bases.update(below)
    return [path for path in paths if DISK.resolved(path) not in bases]


def today() -> date:
    """Return the day by which suppressions end: in UTC, wherever the audit runs."""
    return datetime.now(UTC).date()


def _audited(path: Path, profile: ProfileName | None, base: "Commit | None") -> "Report":
    from assembler.plan.load import load_shape
    from assembler.review.audit import audit as audited
    from assembler.review.audit.rule import profile_of

    chosen = profile_of(path) if profile is None else profile.value
    document, manifest = load_shape(path)
    if base is None:
        return audited(document, manifest, chosen, today=today())
    older, suppressions = _of_base(path, chosen, base)
    report = audited(document, manifest, chosen, today=today(), suppressions=suppressions)
    return report.beside(older)


def _of_base(
    path: Path, profile: "Profile", base: "Commit"
) -> "tuple[Report | None, Sequence[Suppression]]":
    """Return what the audit says of the manifest as a commit has it, and what is silent there.

    A manifest that is new, or that was no valid one, has neither: all that is found is new.
    """
    from assembler.plan.load import load_shape
    from assembler.review.audit import audit as audited
    from assembler.review.diff.imports import import_list_of

    if not base.has(path):
        return None, ()
    try:
        document, manifest = load_shape(path, shelf=base)
        imports = import_list_of(path, base)
    except (ManifestError, UsageError):
        return None, ()
    report = audited(
        document,
        manifest,
        profile,
        today=today(),
        imports=imports,
        shelf=base,
        tree=base.earlier_tree(),
    )
    return report, manifest.audit.suppress


def _commit(name: str) -> "Commit":
    from assembler.review.diff.git import Commit, Repository

    repository = Repository(Path.cwd())
    return Commit(repository, repository.commit(name))


def _report(found: "list[Report]", failures: list[str], format: AuditFormat) -> None:
    from assembler.review.audit import report

    if format is AuditFormat.text:
        text = report.as_text(found, failures, color=wants_color(sys.stdout))
    elif format is AuditFormat.json:
        text = reports.dumped(report.as_dict(found, failures))
    elif format is AuditFormat.github:
        text = reports.as_github(report.results_of(found), failures)
    elif format is AuditFormat.gitlab:
        text = reports.as_gitlab(report.results_of(found), failures)
    else:
        text = report.as_sarif(found, failures)
    if text:
        show(text)


def _list_rules(format: AuditFormat) -> None:
    from assembler.review.audit import report
    from assembler.review.audit.table import RULES

    is_json = format is AuditFormat.json
    show(reports.dumped(report.rules_as_dict(RULES)) if is_json else report.rules_as_text(RULES))
