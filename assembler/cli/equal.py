"""`equal`: an application that is written and a manifest → whether both make the same application.

In: `module:app`, the path of a manifest. Out: what was compared and where they differ, as text or JSON;
status 0 where they are equal, 1 where not, 2 where they could not be compared. Safe unless asked
otherwise: requests that only read, no start, no connection but to this machine.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from assembler.cli.adopt import environment_with
from assembler.cli.output import INVALID, complain, show
from assembler.diagnostics.errors import UsageError


class EqualFormat(StrEnum):
    """How `equal` prints what it found."""

    text = "text"
    json = "json"


def equal(
    application: Annotated[
        str, typer.Argument(metavar="MODULE:APP", help="The application.", show_default=False)
    ],
    file: Annotated[Path, typer.Argument(help="The manifest.", show_default=False)],
    accept: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RULE",
            help="Let an intended difference pass, of those that `assembler describe differences` lists; "
            "may be repeated.",
        ),
    ] = None,
    factory: Annotated[
        bool, typer.Option("--factory", help="MODULE:APP is a function that gives the application.")
    ] = False,
    lifespan: Annotated[
        bool, typer.Option("--lifespan", help="Start and stop both, twice, and compare that too.")
    ] = False,
    replay_writes: Annotated[
        bool, typer.Option("--replay-writes", help="Send requests that may write, too.")
    ] = False,
    header: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME:VALUE", help="Send it with every request; may be repeated."),
    ] = None,
    allow_network: Annotated[
        bool, typer.Option("--allow-network", help="Let the code reach other machines.")
    ] = False,
    env_file: Annotated[
        Path | None, typer.Option(help="A file of variables for both.", show_default=False)
    ] = None,
    format: Annotated[EqualFormat, typer.Option(help="How to print.")] = EqualFormat.text,
) -> None:
    """Tell whether a manifest makes the application that is written: status 1 where it does not."""
    from assembler.adopt.equality import EqualityOptions, equality
    from assembler.adopt.equality.report import as_json, as_text
    from assembler.diagnostics.secrets import Secrets

    environment = environment_with(env_file)
    secrets = Secrets()
    secrets.add_credentials(environment)
    options = EqualityOptions(
        is_factory=factory,
        lifespan=lifespan,
        replay_writes=replay_writes,
        allow_network=allow_network,
        accept=accept or (),
        headers=[_header(each) for each in header or ()],
    )
    if not file.is_file():
        raise UsageError(f"`{file}` is no file")
    result = equality(application, str(file), options, environment, _progress)
    form = as_json if format is EqualFormat.json else as_text
    show(form(result, secrets.scrub))
    if not result.is_equal:
        raise typer.Exit(INVALID)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise UsageError(f"`{text}` is no header: write `NAME:VALUE`")
    return name.strip(), value.strip()


def _progress(what: str) -> None:
    """Say at a terminal what takes long."""
    if sys.stderr is not None and sys.stderr.isatty():
        complain(f"{what} …")
