"""What is left over in a store → put in order, by any process, again and again.

In: the jobs of this process, ticks that it gave up. Out: runs whose lease ran out are marked lost
and begun again where the job wants it; ticks that nobody claimed within their grace are recorded
as missed; ticks that came while no process was there are caught up; old rows are forgotten. A store
that is away is asked again in the next round.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from assembler.runtime.scheduler.claims import Lost
from assembler.runtime.scheduler.counters import RunCounters
from assembler.runtime.scheduler.execution import Setting
from assembler.runtime.scheduler.job import ScheduledJob
from assembler.runtime.scheduler.run import milliseconds, moment
from assembler.runtime.scheduler.store_client import StoreAwayError

logger = logging.getLogger("assembler.job")

_MOST_UNSETTLED = 1000  # ticks of a job
_PRUNE_SECONDS = 3600.0


@dataclass(slots=True)
class Reaper:
    """Keeps the claims of some jobs in order; `rerun` begins a second attempt."""

    jobs: Mapping[str, ScheduledJob]
    setting: Setting
    tally: RunCounters
    retention: timedelta
    now: Callable[[], datetime]
    rerun: Callable[[Lost], Any]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _unsettled: dict[str, set[int]] = field(default_factory=dict)

    async def keep(
        self,
        due: Callable[[str, list[datetime]], Any] | None = None,
        wake: Callable[[], Any] = lambda: None,
    ) -> None:
        """Go on three times a lease, until `stopping`; `due` takes ticks that are caught up."""
        pruned = time.monotonic()
        is_caught_up = due is None or not self.setting.link.store.shared
        while not self.stopping.is_set():
            try:
                if due is not None and not is_caught_up:
                    await self._catch_up(due)
                    is_caught_up = True
                await self.sweep()
                await self.settle()
                if time.monotonic() > pruned + _PRUNE_SECONDS:
                    pruned = time.monotonic()
                    await self._prune()
            except StoreAwayError:
                pass  # told once; the next round asks again
            except Exception:  # a store of one's own may answer anything, and the rest goes on
                logger.exception("the claims could not be put in order")
            wake()
            third = self.setting.lease.total_seconds() / 3
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(third * random.uniform(0.8, 1)):  # noqa: S311  # no secret
                    await self.stopping.wait()

    async def sweep(self) -> None:
        """Mark runs whose processes died, and begin second attempts. May raise `StoreAwayError`."""
        own = {job.id: job.rerun for job in self.jobs.values()}
        setting = self.setting
        sweep = partial(setting.link.store.sweep, setting.owner, setting.lease_ms, own)
        for lost in await setting.link.ask(sweep):
            self.tally.count(lost.job, "lost")
            again = ", and runs again here" if lost.rerun_id else ""
            again = ", and is queued again" if lost.is_queued else again
            tick = moment(lost.fire_ms).isoformat()
            logger.error(
                "job `%s`, tick %s: lost with %s%s",
                lost.job,
                tick,
                lost.owner or "its place",
                again,
            )
            if lost.rerun_id is not None:
                self.rerun(lost)

    def give_up(self, job_id: str, fire_ms: int) -> None:
        """Remember a tick that is to be recorded as missed, unless someone claims it yet."""
        ticks = self._unsettled.setdefault(job_id, set())
        ticks.add(fire_ms)
        if len(ticks) > _MOST_UNSETTLED:
            ticks.remove(min(ticks))

    async def settle(self) -> None:
        """Record the ticks that were given up, and whose grace is over."""
        for job_id, ticks in list(self._unsettled.items()):
            grace_ms = self.jobs[job_id].grace // timedelta(milliseconds=1)
            due = sorted(ticks)
            for fire_ms in due:
                miss = partial(self.setting.link.store.miss, job_id, [fire_ms], grace_ms)
                settled = await self.setting.link.ask(miss)
                if not settled:
                    break  # nor is the grace of later ones over
                ticks.discard(fire_ms)
                if settled[fire_ms]:
                    self.tally.count(job_id, "missed")
                    tick = moment(fire_ms).isoformat()
                    logger.error("job `%s`, tick %s: missed, nobody could claim it", job_id, tick)
            if not ticks:
                self._unsettled.pop(job_id, None)

    async def _catch_up(self, due: Callable[[str, list[datetime]], Any]) -> None:
        """Hand over ticks that came while no process was there, where their grace is not over.

        A job that has never run is new, and has nothing to catch up.
        """
        link, now = self.setting.link, self.now()
        last = await link.ask(partial(link.store.last_runs, list(self.jobs)))
        for job_id, run in last.items():
            fire = self.jobs[job_id].schedule.latest(now)
            is_open = fire is not None and now - fire <= self.jobs[job_id].grace
            if fire is not None and is_open and milliseconds(fire) > run.fire_ms:
                due(job_id, [fire])

    async def _prune(self) -> None:
        link = self.setting.link
        for job in self.jobs.values():
            keep = max(self.retention, 2 * job.grace) // timedelta(milliseconds=1)
            await link.ask(partial(link.store.prune, job.id, keep))
