"""A worker: what waits in the queue → runs, under the claims that queued them.

In: the jobs of a manifest and the store that queues them. Out: how many runs ended in which state.
Procrastinate fetches, and bounds how many run at once; the run itself is the same as in a process
with a clock, with its lease, timeout, fence and row. At the end running jobs have some time to come
to theirs, and are cancelled then. Refuses a job that this manifest does not have: it goes back for
a worker that knows it, a few times.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from procrastinate import App, BaseRetryStrategy, RetryDecision
from procrastinate.jobs import Job as Place

from assembler.runtime.scheduler.engine import END_SECONDS, Jobs
from assembler.runtime.scheduler.execution import Execution
from assembler.runtime.scheduler.fleet.connector import EngineConnector
from assembler.runtime.scheduler.fleet.store import TASK
from assembler.runtime.scheduler.namespaced_store import NamedStore
from assembler.runtime.scheduler.store_client import StoreAwayError

_POLL_SECONDS = 1.0  # for what nobody tells of: retries, and what was put back
_PAUSE_SECONDS = 0.5
_ELSEWHERE_SECONDS = 5
_MOST_ELSEWHERE = 60  # times that an unknown job is put back: five minutes


class ElsewhereError(Exception):
    """The job is for another worker, or this one stops."""


class _Elsewhere(BaseRetryStrategy):
    """Puts back what is for others; no run is ever tried again by this."""

    def get_retry_decision(self, *, exception: BaseException, job: Place) -> RetryDecision | None:
        if isinstance(exception, ElsewhereError) and job.attempts < _MOST_ELSEWHERE:
            return RetryDecision(retry_in={"seconds": _ELSEWHERE_SECONDS})
        return None


@dataclass(slots=True)
class Worker:
    """Runs what is queued for the jobs of one process, `concurrency` at once."""

    jobs: Jobs
    store: NamedStore  # of a `FleetStore`
    concurrency: int
    close_timeout: timedelta
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    ended: Counter[str] = field(default_factory=Counter)
    _running: "set[asyncio.Task[Any]]" = field(default_factory=set)

    async def run(self, *, once: bool = False) -> None:
        """Work until `stopping` is set, or with `once` until nothing waits.

        Raises what `FleetStore.prepare` does where the tables do not fit.
        """
        lease_seconds = self.jobs.setting.lease.total_seconds()
        limit = self.jobs.setting.link.limit_seconds
        connector = EngineConnector(self.store.engine, limit_seconds=limit, stopping=self.stopping)
        app = App(connector=connector)
        app.task(name=TASK, retry=_Elsewhere())(self._run)
        options: Any = {
            "queues": [self.store.queue],
            "concurrency": self.concurrency,
            "wait": not once,
            "install_signal_handlers": False,
            "delete_jobs": "always",  # the row of the run is what stays
            "listen_notify": not once,
            "fetch_job_polling_interval": _POLL_SECONDS,
            "update_heartbeat_interval": lease_seconds / 3,
            "stalled_worker_timeout": lease_seconds,
            "shutdown_graceful_timeout": self.close_timeout.total_seconds(),
        }
        working = asyncio.create_task(app.run_worker_async(**options))
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.stopping.set()
            stopping.cancel()
            await self._end(working)
        if not working.cancelled():
            working.result()

    async def _end(self, working: "asyncio.Task[None]") -> None:
        """Let jobs end, as Procrastinate does where it is cancelled; whoever is impatient cancels us."""
        interrupted: asyncio.CancelledError | None = None
        for seconds in (self.close_timeout.total_seconds() + END_SECONDS, END_SECONDS):
            if working.done():
                break
            for task in self._running if interrupted else {working}:
                task.cancel()
            try:
                await asyncio.wait({working}, timeout=seconds)
            except asyncio.CancelledError as error:
                interrupted = error
        working.cancel()
        if interrupted is not None:
            raise interrupted

    async def _run(self, job: str, run_id: str) -> None:
        """Run what was fetched, where it still waits."""
        job = self.store.own(job)
        if job not in self.jobs.jobs:
            raise ElsewhereError(job)
        begun = await self._begin(run_id)
        if begun is None:
            return
        fire_ms, attempt, since_ms = begun
        run = Execution(self.jobs.setting, self.jobs.jobs[job], fire_ms, run_id, attempt)
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # this is a coroutine
        self._running.add(task)
        try:
            result = await self.jobs.run(run, since_ms)
        except asyncio.CancelledError:
            self.ended["cancelled"] += 1
            raise
        finally:
            self._running.discard(task)
        self.ended[result.outcome] += 1

    async def _begin(self, run_id: str) -> tuple[int, int, int] | None:
        setting = self.jobs.setting
        begin = partial(self.store.begin, run_id, setting.owner, setting.lease_ms)
        while not self.stopping.is_set():
            with suppress(StoreAwayError):
                return await setting.link.ask(begin)
            await asyncio.sleep(_PAUSE_SECONDS)
        raise ElsewhereError(run_id)
