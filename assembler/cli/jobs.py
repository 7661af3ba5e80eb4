"""`jobs`: one manifest → when its jobs fire, and what their last runs came to.

In: the path of a manifest. Out: text, or JSON for programs; with `--watch` a picture that is drawn
anew until Ctrl-C. Refuses what `check` refuses, and a moment without a zone.
"""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli.output import results_apart, show
from assembler.diagnostics.errors import UsageError

if TYPE_CHECKING:
    from assembler.plan.load import Plan

Clock = Callable[[], datetime]


class JobsFormat(StrEnum):
    """How `jobs` prints its list."""

    text = "text"
    json = "json"


def jobs(
    file: Annotated[Path, typer.Argument(help="A manifest.", show_default=False)],
    format: Annotated[JobsFormat, typer.Option(help="How to print.")] = JobsFormat.text,
    after: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Fires after this time, such as 2027-03-28T00:00+01:00."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Draw it anew until Ctrl-C.")] = False,
    interval: Annotated[
        str, typer.Option(metavar="DURATION", help="How often `--watch` draws.")
    ] = "2s",
) -> None:
    """List the jobs: the clock of each in plain words, its next fires, its last run."""
    from assembler.plan.load import load

    clock = _clock(after)
    pause = _pause(interval)
    if watch and (format is JobsFormat.json or not sys.stdout.isatty()):
        raise UsageError("`--watch` draws on a terminal")
    with results_apart():
        plan = load(file)
    if watch:
        with suppress(KeyboardInterrupt):
            asyncio.run(_watch(plan, clock, pause))
    else:
        asyncio.run(_list(plan, clock, format))


async def _list(plan: "Plan", clock: Clock, format: JobsFormat) -> None:
    from assembler.describe import jobs as timetable
    from assembler.runtime.scheduler.last_runs import last_runs

    with results_apart():
        known = await last_runs(plan)
    jobs = timetable.timetable(plan, clock(), known.runs)
    as_format = timetable.as_json if format is JobsFormat.json else timetable.as_text
    show(as_format(plan, jobs, known.unknown))


async def _watch(plan: "Plan", clock: Clock, pause: timedelta) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from assembler.describe import jobs as timetable
    from assembler.runtime.scheduler.last_runs import last_runs

    with Live(console=Console(), screen=True, auto_refresh=False) as live:
        while True:
            moment = clock()
            with results_apart():
                known = await last_runs(plan)
            jobs = timetable.timetable(plan, moment, known.runs)
            picture = timetable.as_text(plan, jobs, known.unknown)
            title = moment.astimezone().isoformat(timespec="seconds")
            live.update(Text(f"{title}\n\n{picture}"), refresh=True)
            await asyncio.sleep(pause.total_seconds())


def moment_of(text: str, option: str, *, example: str) -> datetime:
    """Read the value of an option. Raises `UsageError` where it is no time with an offset."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UsageError(f"`{option}` takes a time with its offset, such as `{example}`")
    return moment


def _clock(after: str | None) -> Clock:
    if after is None:
        return lambda: datetime.now(UTC)
    moment = moment_of(after, "--after", example="2027-03-28T00:00+01:00")
    return lambda: moment


def _pause(interval: str) -> timedelta:
    from assembler.manifest.duration import parse_duration

    try:
        return parse_duration(interval)
    except ValueError as error:
        raise UsageError(f"`--interval` {error}") from None
