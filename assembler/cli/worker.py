"""`worker`: one manifest → a process that runs what its fleet has queued.

In: the path of a manifest with `engine: procrastinate`. Out: what became of the runs, at the end.
SIGTERM or Ctrl-C ends it: nothing more is taken from the queue, runs have `close_timeout` to come
to their end, and are cancelled then; a second signal cancels them at once. Status 0 for such an
end, 1 where `--once` met a run that did not go well. Refuses a manifest without a fleet.
"""

import asyncio
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli.output import INVALID, complain, results_apart, show
from assembler.diagnostics.errors import UsageError
from assembler.diagnostics.exceptions import failure_of

if TYPE_CHECKING:
    from collections import Counter

    from assembler.plan.load import Plan
    from assembler.runtime.scheduler.fleet.worker import Worker

_CONCURRENCY = 4
_AWAIT_SECONDS = 1.0  # between looks for a database that is away
_UNWELL = ("failed", "timeout", "cancelled", "lost")


def worker(
    file: Annotated[Path, typer.Argument(help="A manifest.", show_default=False)],
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Runs at once; else the manifest's.")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Run what waits now, and end; status 1 where one fails.")
    ] = False,
) -> None:
    """Run what the clocks of a manifest have queued, on any number of machines."""
    from assembler.plan.load import load

    with results_apart():
        plan = load(file)
        if not plan.manifest.scheduler.has_fleet:
            raise UsageError(
                f"`{plan.name}` queues nothing: its `scheduler` has no `engine: procrastinate`"
            )
        if not plan.jobs:
            raise UsageError(f"`{plan.name}` has no jobs")
        ended = asyncio.run(_work(plan, concurrency, once=once))
    total = ended.total()
    parts = ", ".join(f"{count} {state}" for state, count in sorted(ended.items()))
    show(f"{total} run{'' if total == 1 else 's'}{': ' if parts else ''}{parts}")
    if once and any(ended[state] for state in _UNWELL):
        raise typer.Exit(INVALID)


async def _work(plan: "Plan", concurrency: int | None, *, once: bool) -> "Counter[str]":
    """Work between the start and the stop of what the jobs need."""
    from assembler.application.build import build_for_jobs
    from assembler.runtime.scheduler.fleet.worker import Worker

    section = plan.manifest.scheduler
    lifespan = build_for_jobs(plan, "worker")
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  # this is a coroutine
    signals = _Signals(task)
    await lifespan.start()
    try:
        jobs = lifespan.assembly.jobs
        store = jobs.setting.link.store
        made = Worker(
            jobs, store, concurrency or section.concurrency or _CONCURRENCY, section.close_timeout
        )
        signals.worker = made
        with suppress(asyncio.CancelledError):
            await _prepared(made)
            names = ", ".join(f"`{name}`" for name in jobs.jobs)
            complain(f"takes from the queue `{store.queue}`: {names}")
            await made.run(once=once)
    finally:
        await lifespan.stop(signals.since)
    return made.ended


async def _prepared(worker: "Worker") -> None:
    """Wait for the database, and for its tables. Raises `UsageError` where they do not fit."""
    from assembler.runtime.scheduler.fleet.schema import SchemaError
    from assembler.runtime.scheduler.store_client import StoreAwayError

    link = worker.jobs.setting.link
    while not worker.stopping.is_set():
        try:
            await link.ask(worker.store.now)
        except StoreAwayError as error:
            if isinstance(error.__cause__, SchemaError):
                raise UsageError(failure_of(error.__cause__)) from None
            await asyncio.sleep(_AWAIT_SECONDS)
        else:
            return


class _Signals:
    """What a signal does: the first one ends the worker, the second one its runs as well."""

    def __init__(self, task: "asyncio.Task[object]") -> None:
        self._task = task
        self.worker: Worker | None = None
        self.since: float | None = None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._hear)

    def _hear(self) -> None:
        is_first = self.since is None
        self.since = self.since or time.perf_counter()
        if is_first and self.worker is not None:
            self.worker.stopping.set()
        else:
            self._task.cancel()
