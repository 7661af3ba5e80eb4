"""The jobs of a plan → what runs them between start and stop.

In: a plan, the objects that were made of it, the report of the application. Out: an `Opening`, or
nothing where there are no jobs. Refuses, as a fault of the build, a store that can keep no claims,
and at the start several workers without a store. APScheduler is imported at the start, and only
where jobs run by our own clock; Procrastinate only by a worker.
"""

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Literal

from assembler.diagnostics.errors import Diagnostic
from assembler.document.nodes import locate
from assembler.plan.component import Component
from assembler.plan.load import Plan
from assembler.plan.sections.scheduler import schedule_of, service_name
from assembler.plan.signature import job_parameters
from assembler.runtime.hooks import Opening
from assembler.runtime.injection import given
from assembler.runtime.instances import MISSING, Objects
from assembler.runtime.report import Assembly
from assembler.runtime.scheduler.claims import Store
from assembler.runtime.scheduler.context import JobContext
from assembler.runtime.scheduler.engine import END_SECONDS, Jobs
from assembler.runtime.scheduler.execution import Setting
from assembler.runtime.scheduler.job import Clock, ScheduledJob
from assembler.runtime.scheduler.namespaced_store import named
from assembler.runtime.scheduler.single_process import SingleProcess, refuse_several
from assembler.runtime.scheduler.store_client import StoreClient
from assembler.runtime.scheduler.stores import store_of
from assembler.runtime.task import StepError, call

Part = Literal["clock", "once", "worker"]
QUEUE = "assembler"
_ASK_SECONDS = 5.0  # the longest wait for a store, and never more than a third of the lease


class Threads:
    """Runs at most `limit` synchronous jobs at once, each in a daemon thread, which keeps no process.

    A thread cannot be cancelled: whoever is cancelled while waiting for one waits on until it has
    ended, unless they are cancelled again.
    """

    def __init__(self, limit: int) -> None:
        self._free = asyncio.Semaphore(limit)

    async def run(self, function: Callable[[], Any]) -> Any:
        """Run `function` with the context variables of the caller."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def end() -> None:
            self._free.release()
            ended.set()

        def work() -> Any:
            try:
                return function()
            finally:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                    loop.call_soon_threadsafe(end)

        try:
            return await call(work)
        except asyncio.CancelledError:
            await ended.wait()
            raise


class Scheduled:
    """The jobs of one application; opened and closed any number of times, each time anew.

    What is built plays one `part`: `clock` takes ticks as they come, `once` runs what it is told
    to itself, `worker` runs what is queued.
    """

    def __init__(self, plan: Plan, objects: Objects, assembly: Assembly, part: Part) -> None:
        self.plan = plan
        self.objects = objects
        self.assembly = assembly
        self.section = plan.manifest.scheduler
        self.part = part
        self._store = self._claims()
        self._arguments = [(job, objects.options_of(job)) for job in plan.jobs]
        self._alone = SingleProcess(plan.hash)

    def opening(self) -> Opening:
        """Return how the jobs are started and stopped."""
        root = self.plan.document.root
        node, key = locate(root, ("scheduler",))
        return Opening(
            "jobs",
            "scheduler",
            self.open,
            self.aclose,
            key or node.span,
            close_timeout=self.section.close_timeout + timedelta(seconds=END_SECONDS + 1),
            check=self.check,
        )

    def check(self) -> None:
        """Raise what `open` would for the number of workers, and for a clock that is not there."""
        if not self._has_clock:
            return
        _clock()
        if not self._store().shared:
            refuse_several(self.plan.server["workers"])

    @property
    def _has_clock(self) -> bool:
        return self.part == "clock" and self.section.enabled

    async def open(self) -> None:
        """Make the engine, and start it."""
        clock = _clock()() if self._has_clock else None
        supervision, is_held = self.assembly.supervision, False
        if clock is not None and not self._store().shared:
            self._alone.take(self.plan.server["workers"], is_sole=supervision is not None)
            is_held = supervision is not None and supervision.holds_clock
        self.assembly.jobs = self._engine(clock)
        await self.assembly.jobs.open(holds_clock=is_held)

    async def aclose(self) -> None:
        """Stop it; its numbers stay."""
        self._alone.leave()
        await self.assembly.jobs.aclose()

    def _claims(self) -> Callable[[], Store]:
        """Return what makes the store, which is bound to a loop."""
        name = self.section.store_id
        value = None if name is None else self.objects.resources.get(name, MISSING)
        try:
            if value is not MISSING:
                self._store_of(value)
        except ValueError as error:
            node, _ = locate(self.plan.document.root, ("scheduler", "store"))
            self.objects.faults.append(Diagnostic("bad-value", f"`store`: {error}", node.span))
        return partial(self._store_of, value)

    def _store_of(self, value: Any) -> Store:
        name = service_name(self.plan.manifest)
        if not self.section.has_fleet:
            return named(store_of(value), name)
        from assembler.runtime.scheduler.fleet.store import FleetStore, Retry  # noqa: PLC0415  # only for a fleet

        jobs = (component.entry for component in self.plan.jobs)
        store = FleetStore(
            value,
            queue=self.section.queue or QUEUE,
            retries={f"{name}/{job.id}": Retry(job.retries, job.retry_wait) for job in jobs},
            runs_here=self.part == "once",
        )
        return named(store, name)

    def setting(self) -> Setting:
        """Return what the runs of this process share, in the running loop."""
        scrub, lease = self.plan.secrets.scrub, self.section.lease
        limit = min(_ASK_SECONDS, lease.total_seconds() / 3)
        enter = self.plan.job_context.target.value if self.plan.job_context else None
        return Setting(StoreClient(self._store(), limit, scrub), lease, scrub, enter)

    def _engine(self, clock: Clock | None) -> Jobs:
        setting = self.setting()
        threads = Threads(self.section.threads)
        return Jobs(
            [self._job(component, options, threads) for component, options in self._arguments],
            setting,
            clock=clock,
            close_timeout=self.section.close_timeout,
            retention=self.section.retention,
            is_paused=lambda: self.assembly.state not in {"starting", "started"},
            is_worker=self.part == "worker",
        )

    def _job(
        self, component: Component, options: Callable[[], dict[str, Any]], threads: Threads
    ) -> ScheduledJob:
        entry = component.entry
        schedule = schedule_of(entry, self.section.timezone)
        return ScheduledJob(
            component.id,
            _runner(component, options, threads, self.objects.resources),
            schedule,
            timeout=entry.timeout,
            grace=entry.grace,
            jitter=entry.jitter,
            overlap=entry.overlap,
            rerun=entry.on_crash == "rerun",
            zone=schedule.zone,
        )


def _runner(
    component: Component,
    options: Callable[[], dict[str, Any]],
    threads: Threads,
    resources: Mapping[str, Any],
) -> Callable[[JobContext], Awaitable[Any]]:
    function = component.target.value
    names = job_parameters(component.target.signature)

    async def run(context: JobContext) -> None:
        if not component.needs:
            await work({**options(), **dict.fromkeys(names, context)})
            return
        async with given(component.needs, resources, options()) as arguments:
            await work({**arguments, **dict.fromkeys(names, context)})

    async def work(arguments: dict[str, Any]) -> None:
        if component.target.is_async:
            await function(**arguments)
            return
        result = await threads.run(partial(function, **arguments))
        if inspect.isawaitable(result):
            await result

    return run


def _clock() -> type[Clock]:
    try:
        from assembler.runtime.scheduler.clock import APSchedulerClock  # noqa: PLC0415  # heavy
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "apscheduler":
            raise
        raise StepError("needs APScheduler: pip install 'fastapi-assembler[scheduler]'") from None
    return APSchedulerClock
