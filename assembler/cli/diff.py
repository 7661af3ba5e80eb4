"""`diff`: two manifests, or manifests and a commit → what a change of them means.

In: two paths, or a commit and any number of paths; with `--openapi` they are OpenAPI documents. Out:
findings as text, as JSON, or as a document for a code host; status 1 where one is as bad as `--fail-on`
says, 2 where a side could not be compared. Needs no environment and runs no code of the manifests.
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
from assembler.cli.output import INVALID, USAGE, complain, named, show, wants_color, warn
from assembler.diagnostics.errors import ManifestError, UsageError
from assembler.review import report as reports

if TYPE_CHECKING:
    from assembler.review.diff.pairs import PathPair, Review
    from assembler.review.finding import Comparison, ReviewKind
    from assembler.review.openapi.document import ApiDocument


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
    breaks_callers = "breaks-callers"
    breaks_readers = "breaks-readers"
    review = "review"
    behaviour = "behaviour"
    tightened = "tightened"
    compatible = "compatible"
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
    openapi: Annotated[
        bool,
        typer.Option(
            "--openapi", help="Compare OpenAPI documents: who calls breaks, or who reads."
        ),
    ] = False,
    fail_on: Annotated[
        Gate | None,
        typer.Option(
            help="End with status 1 from this grade on: `loosened` unless given, of documents `breaks-readers`.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[DiffFormat, typer.Option(help="How to print.")] = DiffFormat.text,
    no_cache: NoCache = False,
) -> None:
    """Tell what a change of manifests means: looser, other behaviour, tighter, or cosmetic."""
    from assembler.review.finding import DOCUMENTS, MANIFESTS, worst_of_all

    compared: list[Comparison] = []
    failures: list[str] = []
    if openapi:
        _compare_documents(files or [], base, compared, failures)
        subject, gate = DOCUMENTS, fail_on or Gate.breaks_readers
    else:
        from assembler.plan.static.cache import kept

        subject, gate = MANIFESTS, fail_on or Gate.loosened
        with kept(anew=no_cache):
            for review, pair in _given(files or [], base, failures):
                _compare(review, pair, compared, failures)
    text = _printed(compared, failures, format, subject)
    if text:
        show(text)
    if failures:
        raise typer.Exit(USAGE)
    worst = worst_of_all(compared)
    if worst is not None and gate is not Gate.never and worst >= _grade(gate):
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


def _compare_documents(
    files: Sequence[Path],
    base: str | None,
    compared: "list[Comparison]",
    failures: list[str],
) -> None:
    """Compare OpenAPI documents: two of them, or those that a commit has with those of now."""
    from assembler.review.openapi.comparison import compare_documents
    from assembler.review.openapi.document import read_document

    if not files or (base is None and len(files) != 2):
        raise UsageError("give OLD and NEW; or `--base REF` and documents to compare with it")
    try:
        if base is None:
            sides = [(read_document(files[0]), read_document(files[1]))]
        else:
            sides = [(_committed(base, file), read_document(file)) for file in files]
        compared += [compare_documents(old, new) for old, new in sides]
    except UsageError as error:
        complain(f"error: {error}")
        failures.append(str(error))
    except ManifestError as error:
        _show_faults(error)
        names = dict.fromkeys(item.span.file.name for item in error.diagnostics if item.span)
        failures += [f"{name} cannot be compared: it is no OpenAPI document" for name in names]


def _committed(base: str, file: Path) -> "ApiDocument":
    from assembler.review.diff.git import Commit, Repository
    from assembler.review.openapi.document import document_of

    repository = Repository(Path.cwd())
    raw = Commit(repository, repository.commit(base)).raw(file)
    if raw is None:
        raise UsageError(f"cannot read `{named(file)}`: `{base}` does not have it")
    return document_of(raw, file.as_posix())


def _grade(gate: Gate) -> int:
    from assembler.review.finding import Grade

    return Grade.named(gate.value)


def _printed(
    compared: "Sequence[Comparison]",
    failures: Sequence[str],
    format: DiffFormat,
    subject: "ReviewKind",
) -> str:
    """Write what was compared; each form says itself what could not be."""
    from assembler.review import finding

    if format is DiffFormat.text:
        from assembler.review.diff.text import as_text

        width = shutil.get_terminal_size((100, 24)).columns
        return as_text(compared, failures, color=wants_color(sys.stdout), width=width)
    if format is DiffFormat.markdown:
        from assembler.review.comment import as_markdown

        return as_markdown(compared, failures, subject=subject)
    if format is DiffFormat.html:
        from assembler.review.page import as_html

        return as_html(compared, failures, subject=subject)
    if format is DiffFormat.json:
        return reports.dumped(finding.as_dict(compared, failures))
    results = finding.results_of(compared)
    if format is DiffFormat.github:
        return reports.as_github(results, failures)
    if format is DiffFormat.gitlab:
        return reports.as_gitlab(results, failures)
    worst = finding.worst_of_all(compared)
    word = None if worst is None else worst.word
    return reports.as_sarif(
        results, finding.RULES, category=subject.marker, failures=failures, worst=word
    )


def _invalid(pair: "PathPair") -> str:
    return f"{pair.name} cannot be compared: one side is no valid manifest"


def _show_faults(error: ManifestError) -> None:
    warn(reports.as_text(error.diagnostics, color=wants_color(sys.stderr)))
