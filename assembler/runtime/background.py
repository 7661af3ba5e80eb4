"""The loops of a plan → tasks between start and stop.

In: a component of `background`, what runs it once, and for `once` the store of claims. Out: an
`Opening` whose task runs the function, and again with growing pauses where it crashes; the `LoopState`
that health and metrics read. A loop of `once` runs in the process that holds its claim, renewed as a
job's is: the others ask three times in a lease whether it is free.
"""

import asyncio
import contextlib
import logging
import signal
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from assembler.plan.component import Component
from assembler.runtime.hooks import Opening
from assembler.runtime.report import Assembly, Check, LoopState, log
from assembler.runtime.scheduler.claims import Claim
from assembler.runtime.scheduler.execution import Execution, Setting
from assembler.runtime.scheduler.job import JobSchedule, ScheduledJob
from assembler.runtime.scheduler.store_client import StoreAwayError
from assembler.runtime.task import StepError

_LONGEST_PAUSE_SECONDS = 60.0
_STEADY_SECONDS = 60.0  # a loop that ran so long begins anew with its first pause
_GRACE_MS = 10_000  # of a claim, which is asked for at once

Run = Callable[[], Awaitable[Any]]


def end_process() -> None:
    """Have the server stop, as a platform does; without one that listens nothing ends."""
    if callable(signal.getsignal(signal.SIGTERM)):
        signal.raise_signal(signal.SIGTERM)


@dataclass(slots=True)
class Loop:
    """One loop of one application; `reason` says in one line what an exception is, without secrets."""

    component: Component
    run: Run
    assembly: Assembly
    reason: Callable[[Exception], str]
    setting: Callable[[], Setting] | None = None  # of the claims, for `once`
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep
    end: Callable[[], None] = end_process
    _task: asyncio.Task[None] | None = None
    _seen: str | None = None  # the run of another process

    @property
    def state(self) -> LoopState:
        """What is told of it."""
        return self.assembly.loops.setdefault(self.component.id, LoopState(self.component.id))

    def opening(self) -> Opening:
        """Return how it is started and stopped."""
        part = self.component
        is_needed = part.entry.on_crash == "fail"
        self.state.status = "built"
        self.assembly.checks[f"background {part.id}"] = Check(self._asked, is_needed)
        limit = part.entry.close_timeout
        return Opening(
            part.id, "background", self.open, self.aclose, part.span, close_timeout=limit
        )

    async def open(self) -> None:
        """Begin."""
        work = self._supervised() if self.setting is None else self._elected(self.setting())
        self._task = asyncio.create_task(work)

    async def aclose(self) -> None:
        """Cancel it, and wait until it has ended."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self.state.status = "stopped"

    async def _asked(self) -> str | None:
        return self.state.error if self.state.status in {"waiting", "crashed"} else None

    async def _elected(self, setting: Setting) -> None:
        """Run it where no other process does, and stand by where one does."""
        job = ScheduledJob(f"background {self.component.id}", self._led, _NEVER)
        while True:
            self.state.status = "standing by"
            with contextlib.suppress(StoreAwayError):
                run_id, fire_ms = await self._claimed(setting, job.id)
                if run_id is not None:
                    await Execution(setting, job, fire_ms, run_id).run(0)
                if self._is_over():
                    return
            await self.wait(setting.lease.total_seconds() / 3)

    def _is_over(self) -> bool:
        return self.state.status in {"ended", "crashed"}

    async def _led(self, context: Any) -> None:
        await self._supervised()
        if self.state.error is not None:  # others may do better
            raise StepError(self.state.error)

    async def _claimed(self, setting: Setting, job: str) -> tuple[str | None, int]:
        """Return the claim, where the loop is free: what has died is given up first."""
        store, ask = setting.link.store, setting.link.ask
        await ask(lambda: store.sweep(setting.owner, setting.lease_ms, {job: False}))
        last = (await ask(lambda: store.last_runs([job]))).get(job)
        at = await ask(store.now)
        if last is not None and last.state == "running":
            self._seen = last.run_id
            return None, at
        if last is not None and last.run_id == self._seen and last.state == "ok":
            self.state.status = "ended"  # by itself, elsewhere
            return None, at
        run_id = uuid.uuid4().hex
        claim = Claim(
            job, at, run_id, setting.owner, _GRACE_MS, setting.lease_ms, "forbid", rerun=False
        )
        answer = await ask(lambda: store.claim(claim))
        return (run_id if answer.verdict == "claimed" else None), at

    async def _supervised(self) -> None:
        """Run it until it ends; after a crash as its `on_crash` says."""
        entry, state = self.component.entry, self.state
        first = seconds = entry.backoff.total_seconds()
        while True:
            state.status, began = "running", time.monotonic()
            try:
                await self.run()
            except Exception as error:  # noqa: BLE001  # a loop may raise anything
                state.crashes += 1
                state.error = self.reason(error)
                log(logging.ERROR, f"background `{state.id}` crashed: {state.error}")
            else:
                state.status, state.error = "ended", None
                return
            if entry.on_crash != "restart":
                state.status = "crashed"
                if entry.on_crash == "fail":
                    log(logging.CRITICAL, f"background `{state.id}` is needed: the process ends")
                    self.end()
                return
            if time.monotonic() - began > _STEADY_SECONDS:
                seconds = first
            state.status = "waiting"
            await self.wait(seconds)
            seconds = min(seconds * 2, max(_LONGEST_PAUSE_SECONDS, first))


class _Never(JobSchedule):
    """A schedule without a fire: a loop runs by no clock."""

    def after(self, moment: datetime, /) -> datetime | None:
        return None

    def latest(self, moment: datetime, /) -> datetime | None:
        return None


_NEVER = _Never()
