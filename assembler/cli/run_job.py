"""`run-job`: one manifest, one job → one run, with the resources opened and closed as in the app.

In: the path of a manifest, the ID of a job, a tick or none. Out: one sentence, and a status: 0 for
a run that went well and for a tick that another process has, 1 for one that did not go well, 2 for
a call that is wrong. With a tick it makes the same claim as the scheduler of a service does; a job
with `on_crash: rerun` that runs elsewhere is waited for, as the next one to be started has to make
its second attempt.
"""

import asyncio
import signal
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli.jobs import moment_of
from assembler.cli.output import INVALID, complain, results_apart, show
from assembler.diagnostics.errors import UsageError

if TYPE_CHECKING:
    from assembler.plan.load import Plan
    from assembler.runtime.scheduler.job import TickResult

_WELL = frozenset({"ok", "taken", "skipped", "paused"})


def run_job(
    file: Annotated[Path, typer.Argument(help="A manifest.", show_default=False)],
    job: Annotated[str, typer.Argument(metavar="ID", help="A job of it.", show_default=False)],
    at: Annotated[
        str | None,
        typer.Option(
            metavar="TICK",
            help="Run the tick of this time, such as 2027-03-28T09:00+01:00, unless it was run.",
        ),
    ] = None,
) -> None:
    """Run a job once, now; status 1 where it fails."""
    from assembler.manifest.step import Job
    from assembler.plan.load import load

    moment = None if at is None else moment_of(at, "--at", example="2027-03-28T09:00+01:00")
    with results_apart():
        plan = load(file)
        ids = [component.id for component in plan.jobs]
        if job in {part.entry.id for part in plan.switched_off if isinstance(part.entry, Job)}:
            raise UsageError(f"job `{job}` is switched off: its `enabled` is false")
        if job not in ids:
            known = ", ".join(f"`{each}`" for each in ids) or "none"
            raise UsageError(f"no job is called `{job}`; there are: {known}")
        result = asyncio.run(_run(plan, job, moment))
    if result is None:
        complain(f"error: job `{job}` was cancelled by a signal")
        raise typer.Exit(INVALID)
    show(_sentence(result))
    if result.outcome not in _WELL:
        raise typer.Exit(INVALID)


async def _run(plan: "Plan", job: str, moment: datetime | None) -> "TickResult | None":
    """Run it between the start and the stop of what it needs; None where a signal ended it."""
    from assembler.application.build import build_for_jobs
    from assembler.runtime.scheduler.store_client import StoreAwayError

    lifespan = build_for_jobs(plan)
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # this is a coroutine
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await lifespan.start()
    try:
        jobs = lifespan.assembly.jobs
        done: TickResult = await (
            jobs.run_now(job) if moment is None else jobs.tick(job, moment, waits=True)
        )
    except StoreAwayError as error:
        raise UsageError(f"the store of claims is away, so the job did not run: {error}") from None
    except ValueError as error:
        raise UsageError(str(error)) from None
    except asyncio.CancelledError:
        task.uncancel()
        return None
    finally:
        await lifespan.stop()
    return done


def _sentence(result: "TickResult") -> str:
    tick = result.fire_time.isoformat()
    said = {
        "taken": "has run, or runs, elsewhere already",
        "skipped": "skipped: the last run goes on",
        "paused": "not run: an operator has paused the job",
        "missed": "missed: its grace is over",
        "lost": "lost: the run was away for longer than its lease",
    }.get(result.outcome, result.outcome)
    took = "" if result.milliseconds is None else f" in {result.milliseconds} ms"
    error = f": {result.error}" if result.error else ""
    return f"job `{result.job}`, tick {tick}: {said}{took}{error}"
