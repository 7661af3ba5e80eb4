"""`adopt`: an existing application → a manifest that says the same, and a report of every call.

In: `module:app`. Out: the manifest, and beside the module what a manifest cannot say; on standard output
the report; status 1 where something was refused or the manifest fails its check, 2 where the application
cannot be run or a file stands in the way.
"""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli.output import INVALID, named, show, wants_color
from assembler.diagnostics.errors import UsageError
from assembler.diagnostics.span import one_line

if TYPE_CHECKING:
    from assembler.adopt.adoption import AdoptionRequest


_OURS = "components"


class Preference(StrEnum):
    """Whose layers are taken where both do the same."""

    ours = "ours"


class AdoptFormat(StrEnum):
    """How `adopt` prints its report."""

    text = "text"
    json = "json"


def adopt(
    target: Annotated[
        str, typer.Argument(help="The application, as `module:app`.", show_default=False)
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The manifest to write; no file is written over.")
    ] = Path("manifests/app.yaml"),
    factory: Annotated[
        bool, typer.Option("--factory", help="The target is a function that gives the application.")
    ] = False,
    env_file: Annotated[
        Path | None,
        typer.Option(
            "--env-file",
            help="Variables for the recording, beside the environment's.",
            show_default=False,
        ),
    ] = None,
    prefer: Annotated[
        Preference | None,
        typer.Option(
            help="Take components of this package in place of layers of others, where they do the same.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        bool,
        typer.Option(
            "--split",
            help="Propose resources, steps and hooks in place of each lifespan, piece by piece.",
        ),
    ] = False,
    write_main: Annotated[
        bool,
        typer.Option(
            "--write-main",
            help="Show what of the old module others still need, as a diff; where the manifest is there already, that alone.",
        ),
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write what `--write-main` shows.")
    ] = False,
    format: Annotated[AdoptFormat, typer.Option(help="How to print.")] = AdoptFormat.text,
) -> None:
    """Write the manifest of an existing application, with a report of every call that made it."""
    from assembler.adopt import report
    from assembler.adopt.adoption import AdoptionRequest
    from assembler.adopt.adoption import adopt as run

    if apply and not write_main:
        raise UsageError("`--apply` is for `--write-main`")
    package = _OURS if prefer is Preference.ours else None
    request = AdoptionRequest(target, output, environment_with(env_file), factory, package)
    if write_main and output.is_file():
        _reduce(request, apply=apply)
        return
    adoption = run(request, _progress)
    show(report.as_json(adoption) if format is AdoptFormat.json else report.as_text(adoption))
    if split and format is AdoptFormat.text:
        show(report.as_proposals(adoption))
    if not adoption.is_whole:
        raise typer.Exit(INVALID)
    if write_main:
        _reduce(request, apply=apply)


def environment_with(file: Path | None) -> dict[str, str]:
    """Return the environment, and what it lacks from a file; raises `UsageError`."""
    if file is None:
        return dict(os.environ)
    from dotenv import dotenv_values

    if not file.is_file():
        raise UsageError(f"there is no file `{one_line(file.as_posix())}`")
    values = dotenv_values(file)
    return {**{key: value for key, value in values.items() if value is not None}, **os.environ}


def _reduce(request: "AdoptionRequest", *, apply: bool) -> None:
    """Show, or write, the module that composed the application without what the manifest says."""
    import difflib

    from assembler.adopt.old_module import OldModule, reduced
    from assembler.diagnostics.span import printable

    name, _, application = request.target.partition(":")
    path = Path(*name.split(".")).with_suffix(".py")
    if not path.is_file():
        path = Path(*name.split("."), "__init__.py")
    if not path.is_file():
        raise UsageError(f"there is no source `{one_line(path.as_posix())}` below this folder")
    module = OldModule(path, name, application, request.is_factory)
    before = path.read_text("utf-8")
    after = reduced(module, request.output, path.parent / "assembly.py", Path())
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), named(path), named(path), lineterm=""
    )
    said = "\n".join(printable(line) for line in lines)
    show(said or f"{named(path)}: nothing is left to take out")
    if apply:
        path.write_text(after, "utf-8")


def _progress(text: str) -> None:
    """Say at a terminal what goes on; nowhere else."""
    if wants_color(sys.stderr):
        sys.stderr.write(f"\r\033[K{text} …" if text else "\r\033[K")
        sys.stderr.flush()
