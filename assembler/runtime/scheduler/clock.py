"""APScheduler's clock: when a tick is due by this process's time → a call.

In: jobs with schedules. Out: a call of `due` with the ticks that have come. This is the only room
that imports APScheduler, and of its features only this one is used: whether a tick runs, and what
becomes of it, is the engine's. APScheduler itself would skip a tick after a second's delay, and
never tells a job which tick it runs for.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.executors.asyncio import AsyncIOExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from assembler.runtime.scheduler.job import JobSchedule, ScheduledJob

_OLDEST = timedelta(hours=1)  # ticks that came before are not even counted as missed
_MANY = 2**31  # runs at once: overlap is the engine's


class APSchedulerClock:
    """One `AsyncIOScheduler`, with the jobs of one process."""

    def __init__(self) -> None:
        self._scheduler: AsyncIOScheduler | None = None

    def start(
        self, jobs: Sequence[ScheduledJob], due: Callable[[str, list[datetime]], Any]
    ) -> None:
        """Begin, on the running loop."""
        self._scheduler = scheduler = AsyncIOScheduler(timezone=UTC)
        scheduler.add_executor(_Executor(due))
        for job in jobs:
            scheduler.add_job(
                _nothing,
                _Trigger(job.schedule, max(job.grace, _OLDEST)),
                id=job.id,
                misfire_grace_time=None,
                coalesce=False,
                max_instances=_MANY,
            )
        scheduler.start()

    def pause(self) -> None:
        """Call no more."""
        if self._scheduler is not None:
            self._scheduler.pause()

    def wake(self) -> None:
        """Look at the time now."""
        if self._scheduler is not None:
            self._scheduler.wakeup()

    def stop(self) -> None:
        """End, in the next round of the loop; a new start makes a new one."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None


class _Trigger(BaseTrigger):  # type: ignore[misc]  # the library has no types
    """A schedule, which begins again near the present after a long sleep."""

    def __init__(self, schedule: JobSchedule, oldest: timedelta) -> None:
        self._schedule = schedule
        self._oldest = oldest

    def get_next_fire_time(self, previous: datetime | None, now: datetime) -> datetime | None:
        """Return the fire after the last one."""
        return self._schedule.after(now if previous is None else max(previous, now - self._oldest))


class _Executor(AsyncIOExecutor):  # type: ignore[misc]  # the library has no types
    """Hands over the ticks themselves, where APScheduler's own calls the job without them."""

    def __init__(self, due: Callable[[str, list[datetime]], Any]) -> None:
        super().__init__()
        self._due = due

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        self._due(job.id, run_times)
        # The run is over for APScheduler: it counts instances, and drops a job that has too many.
        self._eventloop.call_soon(self._run_job_success, job.id, [])

    def shutdown(self, wait: bool = True) -> None:
        """Cancel nothing: runs are the engine's."""


def _nothing() -> None:
    """Stand for the job, which APScheduler does not call."""
