"""The command `assembler`: the only rooms that print and exit.

In: arguments. Out: the result on standard output, all else on standard error, and a status: 0 for
yes, 1 for a manifest that is wrong, 2 for a call that is. Never shows Python frames of its own.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Annotated

import typer

from assembler.cli import output
from assembler.cli.audit import audit
from assembler.cli.check import check
from assembler.cli.diff import diff
from assembler.cli.export import export
from assembler.cli.format import format  # noqa: A004  # the command's name
from assembler.cli.init import init
from assembler.cli.jobs import jobs
from assembler.cli.matrix import matrix
from assembler.cli.output import INVALID, USAGE, complain, wants_color, warn
from assembler.cli.reload import reload
from assembler.cli.run_job import run_job
from assembler.cli.serve import serve
from assembler.cli.show import explain, render, routes, schema
from assembler.cli.sql import sql
from assembler.cli.test import test
from assembler.cli.worker import worker
from assembler.diagnostics.errors import AssemblerError, ManifestError
from assembler.diagnostics.exceptions import failure_of
from assembler.review import report as reports

_COMMANDS: dict[Callable[..., None], str] = {
    check: "assembler check manifests/*.yaml --static --format github",
    format: "assembler format manifests/*.yaml --check",
    diff: "assembler diff --base origin/main --fail-on review",
    audit: "assembler audit manifests/prod.yaml --profile prod",
    matrix: "assembler matrix manifests/dev.yaml manifests/prod.yaml --format markdown",
    render: "assembler render manifests/prod.yaml --explain resources.db.with",
    explain: "assembler explain manifests/dev.yaml GET /api/v1/listings",
    routes: "assembler routes manifests/dev.yaml --format json",
    jobs: "assembler jobs manifests/prod.yaml --watch",
    run_job: "assembler run-job manifests/prod.yaml publish-posts --at 2027-03-28T09:00+01:00",
    worker: "assembler worker manifests/prod.yaml --concurrency 8",
    test: "assembler test manifests/test.yaml --format junit",
    schema: "assembler schema > manifests/manifest.schema.json",
    export: "assembler export manifests/prod.yaml --to kubernetes | kubectl apply -f -",
    sql: "assembler sql manifests/prod.yaml --apply",
    serve: "assembler serve manifests/dev.yaml --reload",
    reload: "assembler reload manifests/prod.yaml --fail-on loosened",
    init: "assembler init shop && cd shop && assembler serve manifests/dev.yaml",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit; every error becomes one message and a status."""
    _prepare_streams()
    try:
        command()(arguments, prog_name="assembler")
    except ManifestError as error:
        warn(reports.as_text(error.diagnostics, color=wants_color(sys.stderr)))
        raise SystemExit(INVALID) from None
    except AssemblerError as error:
        complain(f"error: {error}")
    except OSError as error:  # the current folder is gone, the disk is full, no file may be opened
        place = f"`{error.filename}`: " if error.filename else ""
        complain(f"error: {place}{error.strerror or failure_of(error)}")
    except Exception as error:  # what no stage foresaw is told in one line as well
        if sys.flags.dev_mode:  # `python -X dev -m assembler …` shows where
            raise
        complain(f"error: {failure_of(error)}")
    raise SystemExit(USAGE)


def command() -> typer.Typer:
    """Return the command with all that it can do."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    app.callback()(_assembler)
    for function, example in _COMMANDS.items():
        app.command(epilog=f"Example: {example}")(function)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        output.show(f"assembler {version('fastapi-assembler')}")
        raise typer.Exit


def _assembler(
    show_version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Assemble a FastAPI application from a YAML manifest, and check every line of it first."""


def _prepare_streams() -> None:
    """Let no character end the command that a terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # closed by the caller, or not a text file
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
