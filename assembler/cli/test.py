"""`test`: a manifest → whether the application that it makes meets what `expect` says.

In: the path of a manifest. Out: a result for each expectation, in one of three formats; status 1
where one is not met or the application does not start. Refuses a manifest that expects nothing: a
test that tests nothing is no pass.
"""

import asyncio
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli.output import INVALID, named, results_apart, show, wants_color

if TYPE_CHECKING:
    from assembler.testing.expect.run import Result


class TestFormat(StrEnum):
    """How `test` prints its results."""

    __test__ = False  # its name says nothing to pytest

    text = "text"
    json = "json"
    junit = "junit"


def test(
    file: Annotated[Path, typer.Argument(help="A manifest.", show_default=False)],
    format: Annotated[TestFormat, typer.Option(help="How to print.")] = TestFormat.text,  # noqa: PT028  # a command
) -> None:
    """Start the application and send the requests of `expect`. Status 1 where one is not met."""
    from assembler.testing.expect import report

    with results_apart():
        results = _results(file)
    if format is TestFormat.json:
        show(report.as_json(named(file), results))
    elif format is TestFormat.junit:
        show(report.as_junit(named(file), results))
    else:
        show(report.as_text(results, color=wants_color(sys.stdout)))
    if any(result.faults for result in results):
        raise typer.Exit(INVALID)


def _results(file: Path) -> "list[Result]":
    from assembler.plan.load import load
    from assembler.testing.expect.run import try_all

    return asyncio.run(try_all(load(file), os.environ))
