"""`check`: manifests → what is wrong with them, for people, programs and code hosts.

In: paths of manifests. Out: diagnostics in one of five formats; status 1 where one is an error.
Refuses a file that cannot be read, and still checks the others.
"""

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from assembler.cli.output import (
    INVALID,
    USAGE,
    complain,
    named,
    results_apart,
    show,
    wants_color,
    warn,
)
from assembler.diagnostics.errors import Diagnostic, ManifestError, UsageError
from assembler.document.extends import DISK
from assembler.document.merge import load_document
from assembler.document.mounted import mounted_files
from assembler.document.project import found_manifest
from assembler.review import report as reports

_Read = TypeVar("_Read")
NoCache = Annotated[
    bool,
    typer.Option("--no-cache", help="Read all source anew, and keep nothing of it."),
]


class CheckFormat(StrEnum):
    """How `check` prints what it found."""

    text = "text"
    json = "json"
    github = "github"
    sarif = "sarif"
    gitlab = "gitlab"


_FORMS: dict[CheckFormat, Callable[[list[Diagnostic]], str]] = {
    CheckFormat.json: reports.as_json,
    CheckFormat.github: lambda found: reports.as_github(map(reports.result_of, found)),
    CheckFormat.sarif: reports.sarif_of_check,
    CheckFormat.gitlab: lambda found: reports.as_gitlab(map(reports.result_of, found)),
}


def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Manifests; without any, those in `manifests/`.", show_default=False),
    ] = None,
    static: Annotated[
        bool,
        typer.Option("--static", help="Read source instead of importing it, and no variables."),
    ] = False,
    format: Annotated[CheckFormat, typer.Option(help="How to print.")] = CheckFormat.text,
    no_cache: NoCache = False,
) -> None:
    """Check manifests: text, shape, references, imports and options. Status 1 where one is wrong."""
    found: list[Diagnostic] = []
    unreadable: list[str] = []
    paths = list(dict.fromkeys(files or not_mounted(own_manifests())))
    for path in paths:
        try:
            checked = _checked(path, static=static, anew=no_cache)
        except UsageError as error:
            unreadable.append(f"error: {error}")
            continue
        found += checked
        if format is CheckFormat.text and not _has_errors(checked):
            show(f"{named(path)}: ok")
    if len(unreadable) < len(paths):
        _report(found, format)
    for message in unreadable:
        complain(message)
    if unreadable:
        raise typer.Exit(USAGE)
    if _has_errors(found):
        raise typer.Exit(INVALID)


def own_manifests(*, with_expectations: bool = False) -> list[Path]:
    """Return the manifests in `manifests/`; raises `UsageError` where there is none.

    `prod.expect.yaml` is none: it says what requests to `prod.yaml` must give.
    """
    found = sorted(path for path in Path("manifests").glob("*") if path.suffix in {".yaml", ".yml"})
    if not with_expectations:
        found = [path for path in found if not path.stem.endswith(".expect")]
    if not found:
        raise UsageError("there is no manifest in `manifests/`: name one")
    return [found_manifest(path) for path in found]


def not_mounted(paths: list[Path]) -> list[Path]:
    """Leave out manifests that another one of `paths` mounts: they are a part of that one."""
    inside: set[Path] = set()
    for path in paths:
        with suppress(ManifestError, UsageError):  # checking it tells
            inside.update(mounted_files(load_document(path).root))
    return [path for path in paths if DISK.resolved(path) not in inside]


def read_each(
    paths: Iterable[Path], read: Callable[[Path], _Read], refusal: str
) -> tuple[list[_Read], list[str]]:
    """Read manifests; say why some could not be, and return sentences that say which.

    Of one that is no manifest the sentence ends with `refusal`.
    """
    found: list[_Read] = []
    failures: list[str] = []
    for path in paths:
        try:
            found.append(read(path))
        except ManifestError as error:
            warn(reports.as_text(error.diagnostics, color=wants_color(sys.stderr)))
            failures.append(f"{named(path)} {refusal}")
        except UsageError as error:
            failures.append(str(error))
    for failure in failures:
        complain(f"error: {failure}")
    return found, failures


def _checked(path: Path, *, static: bool, anew: bool) -> list[Diagnostic]:
    from assembler.plan.load import load
    from assembler.plan.sql.lint import lint
    from assembler.plan.static.cache import kept

    try:
        with results_apart(), kept(anew=anew):
            plan = load(path, static=static, lazy=False)
            return [*plan.warnings, *lint(plan.sql)]
    except ManifestError as error:
        return list(error.diagnostics)


def _report(found: list[Diagnostic], format: CheckFormat) -> None:
    told = reports.distinct(found)
    if format is CheckFormat.text:
        text = reports.as_text(told, color=wants_color(sys.stdout))
    else:
        text = _FORMS[format](told)
    if text:
        show(text)


def _has_errors(diagnostics: list[Diagnostic]) -> bool:
    return any(item.severity == "error" for item in diagnostics)
