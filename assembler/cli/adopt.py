"""`adopt`: an existing application → a manifest that says the same, and a report of every call.

In: `module:app`. Out: the manifest, and beside the module what a manifest cannot say; on standard output
the report; status 1 where something was refused or the manifest fails its check, 2 where the application
cannot be run or a file stands in the way.
"""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from assembler.cli.output import INVALID, show, wants_color
from assembler.diagnostics.errors import UsageError
from assembler.diagnostics.span import one_line


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
    format: Annotated[AdoptFormat, typer.Option(help="How to print.")] = AdoptFormat.text,
) -> None:
    """Write the manifest of an existing application, with a report of every call that made it."""
    from assembler.adopt import report
    from assembler.adopt.adoption import AdoptionRequest
    from assembler.adopt.adoption import adopt as run

    request = AdoptionRequest(target, output, environment_with(env_file), factory)
    adoption = run(request, _progress)
    show(report.as_json(adoption) if format is AdoptFormat.json else report.as_text(adoption))
    if not adoption.is_whole:
        raise typer.Exit(INVALID)


def environment_with(file: Path | None) -> dict[str, str]:
    """Return the environment, and what it lacks from a file; raises `UsageError`."""
    if file is None:
        return dict(os.environ)
    from dotenv import dotenv_values

    if not file.is_file():
        raise UsageError(f"there is no file `{one_line(file.as_posix())}`")
    values = dotenv_values(file)
    return {**{key: value for key, value in values.items() if value is not None}, **os.environ}


def _progress(text: str) -> None:
    """Say at a terminal what goes on; nowhere else."""
    if wants_color(sys.stderr):
        sys.stderr.write(f"\r\033[K{text} …")
        sys.stderr.flush()
        if text == "checking":
            sys.stderr.write("\r\033[K")
