"""A tick that somebody outside tells → what became of it, with all that it brought about.

In: a job, its tick, how it is claimed and run. Out: the `Result`, once second attempts that were
begun here have ended too: nobody else may be there to begin them, and the process may end with the
answer. A tick whose process died is the run of its second attempt.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from assembler.runtime.scheduler.claims import Lost
from assembler.runtime.scheduler.execution import Setting
from assembler.runtime.scheduler.job import Job, Result
from assembler.runtime.scheduler.reaper import Keeper


@dataclass(slots=True)
class Outside:
    """Ticks of a process that has no clock of its own."""

    setting: Setting
    keeper: Keeper
    _second: dict[tuple[str, int], "asyncio.Task[Result]"] = field(default_factory=dict)

    async def run(
        self, job: Job, fire_ms: int, claim: Callable[[], Awaitable[Result]], *, waits: bool
    ) -> Result:
        """Sweep, and claim and run the tick; with `waits` a run elsewhere is given time to end.

        Raises `StoreAwayError`, and what `claim` raises.
        """
        result = await self._once(job, fire_ms, claim)
        while waits and job.rerun and result.outcome == "taken":
            if not await self._is_running(job, fire_ms):
                break
            await asyncio.sleep(self.setting.lease.total_seconds() / 3)
            result = await self._once(job, fire_ms, claim)
        if self._second:
            await asyncio.wait(self._second.values())
        return result

    def note(self, lost: Lost, task: "asyncio.Task[Result]") -> None:
        """Remember the second attempt of a run, until it ends."""
        tick = (lost.job, lost.fire_ms)
        self._second[tick] = task
        task.add_done_callback(lambda _task: self._second.pop(tick, None))

    async def _once(self, job: Job, fire_ms: int, claim: Callable[[], Awaitable[Result]]) -> Result:
        await self.keeper.sweep()
        again = self._second.get((job.id, fire_ms))
        return await (claim() if again is None else asyncio.shield(again))

    async def _is_running(self, job: Job, fire_ms: int) -> bool:
        last_runs = partial(self.setting.link.store.last_runs, [job.id])
        last = (await self.setting.link.ask(last_runs)).get(job.id)
        return last is not None and (last.fire_ms, last.state) == (fire_ms, "running")
