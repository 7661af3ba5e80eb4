"""`diff`: two manifests, or manifests and a commit → what a change of them means.

In: two paths, or a commit and any number of paths. Out: findings as text, as JSON, or as a document for a code host; status 1 where
one is as bad as `--fail-on` says, 2 where a side could not be compared. Needs no environment and
runs no code of the manifests.
"""

import shutil
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli.check import NoCache
from assembler.cli.output import INVALID, USAGE, complain, show, wants_color, warn
from assembler.diagnostics.errors import ManifestError, UsageError
from assembler.review import report as reports

if TYPE_CHECKING:
    from assembler.review.diff.pairs import PathPair, Review
    from assembler.review.finding import Comparison


class DiffFormat(StrEnum):
    """How `diff` prints what it found."""

    text = "text"
    json = "json"
    markdown = "markdown"
    github = "github"
    gitlab = "gitlab"
    sarif = "sarif"
    html = "html"


class Gate(StrEnum):
    """The mildest grade that gives status 1."""

    loosened = "loosened"
    review = "review"
    behaviour = "behaviour"
    tightened = "tightened"
    cosmetic = "cosmetic"
    never = "never"


def diff(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="OLD and NEW; or manifests to compare with a commit, without any those in `manifests/`.",
            show_default=False,
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="REF",
            help="Compare with this commit; without it, and without OLD and NEW, with where the default branch was left.",
        ),
    ] = None,
    fail_on: Annotated[
        Gate, typer.Option(help="End with status 1 from this grade on.")
    ] = Gate.loosened,
    format: Annotated[DiffFormat, typer.Option(help="How to print.")] = DiffFormat.text,
    no_cache: NoCache = False,
) -> None:
    """Tell what a change of manifests means: looser, other behaviour, tighter, or cosmetic."""
    compared: list[Comparison] = []
    failures: list[str] = []
    from assembler.plan.static.cache import kept

    with kept(anew=no_cache):
        for review, pair in _given(files or [], base, failures):
            _compare(review, pair, compared, failures)
    text = _printed(compared, failures, format)
    if text:
        show(text)
    if failures:
        raise typer.Exit(USAGE)
    from assembler.review.finding import worst_of_all

    worst = worst_of_all(compared)
    if worst is not None and fail_on is not Gate.never and worst >= _grade(fail_on):
        raise typer.Exit(INVALID)


def _given(
    files: Sequence[Path], base: str | None, failures: list[str]
) -> "Iterator[tuple[Review, PathPair]]":
    """Yield what is to be compared; where nothing can be, that is a failure as every other."""
    from assembler.review.diff.pairs import PathPair, Review, since

    now = datetime.now(UTC)
    if base is None and len(files) == 2:
        yield Review(now), PathPair(files[0], files[1])
        return
    try:
        shelf, pairs = since(base, files)
    except UsageError as error:
        complain(f"error: {error}")
        failures.append(str(error))
        return
    review = Review(now, shelf)
    yield from ((review, pair) for pair in pairs)


def _compare(
    review: "Review", pair: "PathPair", compared: "list[Comparison]", failures: list[str]
) -> None:
    try:
        compared.append(review.compare(pair))
    except UsageError as error:
        complain(f"error: {error}")
        failures.append(str(error))
    except ManifestError as error:
        complain(f"error: {_invalid(pair)}")
        _show_faults(error)
        failures.append(_invalid(pair))


def _grade(gate: Gate) -> int:
    from assembler.review.finding import Grade

    return Grade[gate.value]


def _printed(compared: "Sequence[Comparison]", failures: Sequence[str], format: DiffFormat) -> str:
    """Write what was compared; each form says itself what could not be."""
    from assembler.review import finding

    if format is DiffFormat.text:
        from assembler.review.diff.text import as_text

        width = shutil.get_terminal_size((100, 24)).columns
        return as_text(compared, failures, color=wants_color(sys.stdout), width=width)
    if format is DiffFormat.markdown:
        from assembler.review.comment import as_markdown

        return as_markdown(compared, failures)
    if format is DiffFormat.html:
        from assembler.review.page import as_html

        return as_html(compared, failures)
    if format is DiffFormat.json:
        return reports.dumped(finding.as_dict(compared, failures))
    results = finding.results_of(compared)
    if format is DiffFormat.github:
        return reports.as_github(results, failures)
    if format is DiffFormat.gitlab:
        return reports.as_gitlab(results, failures)
    worst = finding.worst_of_all(compared)
    name = None if worst is None else worst.name
    return reports.as_sarif(
        results, finding.RULES, category="assembler-diff", failures=failures, worst=name
    )


def _invalid(pair: "PathPair") -> str:
    return f"{pair.name} cannot be compared: one side is no valid manifest"


def _show_faults(error: ManifestError) -> None:
    warn(reports.as_text(error.diagnostics, color=wants_color(sys.stderr)))
