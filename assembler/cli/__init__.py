"""The command `assembler`: the only rooms that print and exit.

In: arguments. Out: the result on standard output, all else on standard error, and a status: 0 for
yes, 1 for a manifest that is wrong, 2 for a call that is. Never shows Python frames of its own.

A command is imported when it is called; the version, the help and what a shell completes are told
from the table of commands alone.
"""

import gc
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from assembler.cli import output  # a module is called `show` as well
from assembler.cli.commands import COMMANDS, completed, overview
from assembler.cli.output import INVALID, USAGE, complain, wants_color, warn

if TYPE_CHECKING:
    import typer

_STAY = {"serve", "worker"}
COMPLETE = "ASSEMBLER_COMPLETE"  # how a shell asks: the words as arguments, the last one unfinished


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit; every error becomes one message and a status."""
    try:
        _run(arguments)
    finally:
        output.drop_unwritten()


def _run(arguments: Sequence[str] | None) -> NoReturn:
    _prepare_streams()
    if arguments is None and not _STAY.intersection(sys.argv[1:2]):
        # It ends soon, and reading source makes a million objects that live as long as it does:
        # looking through them for garbage again and again takes a third of a first check.
        gc.set_threshold(5_000_000, 50, 50)
    words = list(sys.argv[1:] if arguments is None else arguments)
    _answer_from_the_table(words)
    from assembler.diagnostics.errors import AssemblerError, ManifestError
    from assembler.diagnostics.exceptions import failure_of

    try:
        named = words[:1] if words[0] in COMMANDS else COMMANDS
        command(named)(words, prog_name="assembler")
    except ManifestError as error:
        from assembler.review import report as reports

        warn(reports.as_text(error.diagnostics, color=wants_color(sys.stderr)))
        raise SystemExit(INVALID) from None
    except AssemblerError as error:
        complain(f"error: {error}")
    except OSError as error:  # the current folder is gone, the disk is full, no file may be opened
        place = f"`{error.filename}`: " if error.filename else ""
        complain(f"error: {_scrubbed(f'{place}{error.strerror or failure_of(error)}')}")
    except Exception as error:  # what no stage foresaw is told in one line as well
        if sys.flags.dev_mode:  # `python -X dev -m assembler …` shows where
            raise
        complain(f"error: {_scrubbed(failure_of(error))}")
    raise SystemExit(USAGE)


def _scrubbed(text: str) -> str:
    """Hide the credentials of the environment, where no plan knows which values came from it."""
    from assembler.diagnostics.secrets import Secrets

    secrets = Secrets()
    secrets.add_credentials(os.environ)
    return secrets.scrub(text)


def command(names: Iterable[str] = COMMANDS) -> "typer.Typer":
    """Return the command with what it can do, or with some of that."""
    import typer

    app = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    app.callback()(_assembler)
    for name in names:
        row = COMMANDS[name]
        function = getattr(import_module(f"assembler.cli.{row.module}"), name.replace("-", "_"))
        app.command(name, epilog=f"Example: {row.example}")(function)
    return app


def _answer_from_the_table(words: list[str]) -> None:
    """Say what needs no command, and exit: the version, the help, what a shell completes."""
    try:
        status = _answered(words)
    except BrokenPipeError:  # the reader has left
        status = INVALID
    except OSError as error:
        complain(f"error: {error.strerror}")
        status = USAGE
    if status is not None:
        raise SystemExit(status)


def _answered(words: list[str]) -> int | None:
    if os.environ.get(COMPLETE):
        output.show("\n".join(completed(words, shell=os.environ[COMPLETE])))
        return 0
    if words[:1] == ["--version"]:
        from importlib.metadata import version

        output.show(f"assembler {version('fastapi-assembler')}")
        return 0
    if words[:1] in ([], ["--help"]):
        output.show(overview(_assembler.__doc__ or ""))
        return 0 if words else USAGE
    return None


def _assembler() -> None:
    """Assemble a FastAPI application from a YAML manifest, and check every line of it first."""


def _prepare_streams() -> None:
    """Let no character end the command that a terminal's encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # closed by the caller, or not a text file
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # as above
