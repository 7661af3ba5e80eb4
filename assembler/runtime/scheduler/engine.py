"""Jobs, and a store of their claims → what every process of a service does about them.

In: ticks, from our own clock, from an outside one or by hand. Out: a `TickResult` each. A tick is
claimed, and retried within its grace while the store is away. Of several ticks that came due at
once, as a process that slept sees them, the latest runs. At the end runs have some time to come to
theirs, and are cancelled then. Refuses ticks while it is closed.
"""

import asyncio
import contextlib
import logging
import random
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Any

from assembler.runtime.scheduler.claims import Claim, ClaimAnswer, LocalStore, Lost, Retrial
from assembler.runtime.scheduler.counters import RunCounters
from assembler.runtime.scheduler.execution import Execution, Setting
from assembler.runtime.scheduler.job import Clock, ScheduledJob, TickResult
from assembler.runtime.scheduler.reaper import Reaper
from assembler.runtime.scheduler.run import milliseconds, moment
from assembler.runtime.scheduler.store_client import StoreAwayError

logger = logging.getLogger("assembler.job")

_SHORTEST_RETRY_SECONDS = 0.2
_LONGEST_RETRY_SECONDS = 2.0
_MOST_EARLY_MS = 60_000  # of an outside clock
_ENDS = ("ok", "failed", "timeout", "skipped", "missed", "lost")  # told at once, as 0
_MOST_CAUGHT_UP = 100  # ticks of a job
_PAUSES_SECONDS = 2.0  # for which what the store says of pauses is believed
_ANSWER_SECONDS = 0.9  # at the end, for a store that is asked just then
END_SECONDS = 4.0  # for cancelled runs to end and to be recorded


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What the next process must know of a clock that stands: ticks by job, in ms since 1970.

    `since` has the last tick, or when the clock was started where there was none; `running` those
    whose runs go on, of a store that only this process has.
    """

    since: Mapping[str, int]
    running: Mapping[str, int]


class Jobs:
    """The jobs of one process; without a `clock` they run when they are told to."""

    def __init__(
        self,
        jobs: Sequence[ScheduledJob],
        setting: Setting,
        *,
        clock: Clock | None = None,
        close_timeout: timedelta = timedelta(seconds=10),
        retention: timedelta = timedelta(days=7),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        is_paused: Callable[[], bool] = lambda: False,
        is_worker: bool = False,
    ) -> None:
        self.jobs = {job.id: job for job in jobs}
        self.setting = setting
        self.tally = RunCounters()
        self._clock = clock
        self._close_timeout = close_timeout
        self._now = now
        self._is_paused = is_paused
        self._is_worker = is_worker  # runs what others claim, and keeps it in order
        self._keeper = Reaper(self.jobs, setting, self.tally, retention, now, self._again)
        self._outside = ExternalTicks(setting, self._keeper)
        self.pauses = Pauses(setting)
        self._keeping: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self._closed.set()
        self._tasks: dict[asyncio.Task[Any], tuple[str, int]] = {}  # with job and tick
        self._runs: set[Execution] = set()
        self._began_ms: int | None = None  # when the clock was started
        self._last_ms: dict[str, int] = {}  # the last tick of each job that the clock told
        self._idle: Callable[[str], None] | None = None  # of a clock that was handed over
        self._elsewhere: set[str] = set()  # jobs of which a run of the process before goes on
        self._replaced: Callable[[str], None] | None = None  # is told of those that end it

    async def open(self, *, holds_clock: bool = False) -> None:
        """Start the clock, and what looks after the store; one that is away is waited for.

        With `holds_clock` the clock stands until `take_over`.
        """
        self._closed.clear()
        self._keeper.stopping.clear()
        if self._clock is not None:
            if not holds_clock:
                self._start_clock(self._clock)
        elif self._is_worker:
            self._keeping = asyncio.create_task(self._keeper.keep())

    async def aclose(self) -> None:
        """Pause, let runs end for a bounded time, cancel the rest; a stuck one is left behind."""
        self._closed.set()
        self.pause()
        self._keeper.stopping.set()
        if self._clock is not None:
            self._clock.stop()
        tasks = set(self._tasks)
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=self._close_timeout.total_seconds())
        finally:  # also where the stop has less time than that
            late = {task for task in tasks if not task.done()}
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=END_SECONDS)
            await self._end_keeping()

    async def _end_keeping(self) -> None:
        """Let a question to the store be answered: one that is cut off leaves its connection behind."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            await asyncio.wait({keeping}, timeout=_ANSWER_SECONDS)
            keeping.cancel()

    def hand_over(self, idle: Callable[[str], None]) -> "HandedOver":
        """Stop the clock for good; return what the next process must know of it.

        `idle` is told the job of each run that goes on, once that has ended.
        """
        self.pause()
        self._idle = idle
        began = self._began_ms
        since = {} if began is None else {job: self._last_ms.get(job, began) for job in self.jobs}
        if self.setting.link.store.shared:
            return HandedOver(since, {})
        return HandedOver(since, dict(sorted(self._tasks.values(), key=itemgetter(1))))

    def take_over(self, told: "HandedOver", replaced: Callable[[str], None] | None = None) -> None:
        """Start a clock that was held, and run the ticks that came since.

        Of several ticks of a job the latest runs, where its grace is not over. A job of which
        nothing is told is new. What runs elsewhere counts as a run of this process, until
        `give_back`; `replaced` is told the job where a run here takes its place, to `cut` it there.
        """
        if self._clock is None or self._began_ms is not None or self._closed.is_set():
            return
        store, since = self.setting.link.store, told.since
        if isinstance(store, LocalStore):
            store.borrow(told.running)
            self._elsewhere, self._replaced = set(told.running), replaced
        self._start_clock(self._clock)
        now = self._now()
        for job_id, job in self.jobs.items():
            fires = _between(job, since[job_id], now) if job_id in since else []
            if fires and now - fires[-1] <= job.grace:
                self.due(job_id, fires)

    def give_back(self, job_id: str | None) -> None:
        """Hear that the run elsewhere of a job, or of all, has ended."""
        store = self.setting.link.store
        if isinstance(store, LocalStore):
            store.give_back(job_id)
        self._elsewhere -= self._elsewhere if job_id is None else {job_id}

    def cut(self, job_id: str) -> None:
        """End the runs of a job that one of the next process replaces."""
        for run in self._runs:
            if run.job.id == job_id:
                run.cut("replaced")

    def _start_clock(self, clock: Clock) -> None:
        self._began_ms = milliseconds(self._now())
        clock.start(list(self.jobs.values()), self.due)
        self._keeping = asyncio.create_task(self._keeper.keep(self.due, clock.wake))

    def pause(self) -> None:
        """Begin no more runs by the clock; what runs goes on."""
        if self._clock is not None:
            self._clock.pause()

    def due(self, job_id: str, fires: list[datetime]) -> None:
        """Run the latest of the ticks, unless another process does; the others are given up."""
        if self._is_paused():  # while the process drains, ticks are for others
            return
        *older, latest = (milliseconds(fire) for fire in fires)
        self._last_ms[job_id] = latest
        for fire in older:
            self._keeper.give_up(job_id, fire)
        self._spawn(self._tick(self.jobs[job_id], latest, is_patient=True), (job_id, latest))

    async def tick(
        self, job_id: str, at: datetime | None = None, *, waits: bool = False
    ) -> TickResult:
        """Run the tick of the job that was due at `at`, or now, unless it was run already.

        The tick is the latest one of the job's own schedule, or the next where that is nearer and
        about to come, so that an outside clock which is off, or repeats itself, means the same.
        Second attempts that this begins are waited for, as nobody else may be there to do so; with
        `waits` also a run elsewhere, should it need one. Raises KeyError for an unknown job,
        ValueError where its tick is still to come, `StoreAwayError`.
        """
        job = self.jobs[job_id]
        fire_ms = milliseconds(job.meant(self._now() if at is None else at))
        if self._clock is not None:
            return await self._told(job, fire_ms)
        if await self.pauses.hold(job_id):
            return TickResult(job_id, moment(fire_ms), "paused")
        claim = partial(self._told, job, fire_ms)
        return await self._outside.run(job, fire_ms, claim, waits=waits)

    async def run_now(self, job_id: str, at_ms: int | None = None) -> TickResult:
        """Run the job at this moment, which is a tick of its own. Raises as `tick` does.

        At `at_ms`, by the store's clock, it is one tick for all that are told the same. A pause
        holds ticks of clocks alone.
        """
        job = self.jobs[job_id]
        if at_ms is None:
            at_ms = await self.setting.link.ask(self.setting.link.store.now)
        return await self._told(job, at_ms)

    async def retry(self, run_id: str) -> TickResult | None:
        """Try a run that ended badly once more, with its own tick.

        None where there is no such run of these jobs. Raises `StoreAwayError`.
        """
        setting = self.setting
        run = await setting.link.ask(partial(setting.link.store.run, run_id))
        job = self.jobs.get(run.job) if run is not None else None
        if run is None or job is None:
            return None
        fresh = uuid.uuid4().hex
        retrial = Retrial(
            run_id, fresh, setting.owner, setting.lease_ms, job.overlap, rerun=job.rerun
        )
        got = await setting.link.ask(partial(setting.link.store.again, retrial))
        if got is None:
            return TickResult(job.id, moment(run.fire_ms), "taken")
        if got.is_queued:
            self.tally.count(job.id, "queued")
            return TickResult(job.id, moment(run.fire_ms), "queued", fresh)
        since_ms = milliseconds(self._now()) - got.fire_ms
        execution = Execution(setting, job, got.fire_ms, fresh, got.attempt)
        return await asyncio.shield(
            self._spawn(self.run(execution, since_ms), (job.id, got.fire_ms))
        )

    def watch(self, watcher: Callable[[str, str, int], Any]) -> None:
        """Tell `watcher` the job, the outcome and the number of all that is counted here."""
        for job in self.jobs:
            for state in _ENDS:
                watcher(job, state, 0)
        self.tally.watch(watcher)

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers of this process as JSON has them."""
        return {"store": self.setting.link.away or "ok", "jobs": self.tally.as_dict()}

    async def _told(self, job: ScheduledJob, fire_ms: int) -> TickResult:
        # a caller who goes away does not take the run along
        return await asyncio.shield(self._spawn(self._tick(job, fire_ms), (job.id, fire_ms)))

    def _spawn(
        self, tick: Coroutine[Any, Any, TickResult], what: tuple[str, int]
    ) -> "asyncio.Task[TickResult]":
        if self._closed.is_set():
            tick.close()
            raise RuntimeError("the scheduler is closed")
        task = asyncio.create_task(tick)
        self._tasks[task] = what
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        job_id, _ = self._tasks.pop(task)
        if self._idle is not None and all(other != job_id for other, _ in self._tasks.values()):
            self._idle(job_id)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.debug("a tick was not claimed: %s", type(error).__name__)

    async def _tick(
        self, job: ScheduledJob, fire_ms: int, *, is_patient: bool = False
    ) -> TickResult:
        """Claim the tick and run it; a patient claim is tried again while the store is away."""
        claim = Claim(
            job.id,
            fire_ms,
            uuid.uuid4().hex,
            self.setting.owner,
            job.grace // timedelta(milliseconds=1),
            self.setting.lease_ms,
            job.overlap,
            job.rerun,
        )
        fire = moment(fire_ms)
        if is_patient and await self.pauses.hold(job.id):
            return TickResult(job.id, fire, "paused")
        answer = await self._claim(claim, is_patient=is_patient)
        if answer is None or answer.verdict == "late":
            self._keeper.give_up(job.id, fire_ms)
            if not is_patient:
                await self._keeper.settle()
            return TickResult(job.id, fire, "missed")
        if answer.verdict == "claimed":
            return await self.run(
                Execution(self.setting, job, fire_ms, claim.run_id), answer.milliseconds
            )
        if answer.verdict == "queued":
            self.tally.count(job.id, "queued")
            return TickResult(job.id, fire, "queued", claim.run_id)
        if answer.verdict != "skipped":
            return TickResult(job.id, fire, "taken")
        if answer.recorded:
            self.tally.count(job.id, "skipped")
            said = "job `%s`, tick %s: skipped, the last run goes on"
            logger.warning(said, job.id, fire.isoformat())
        return TickResult(job.id, fire, "skipped")

    async def _claim(self, claim: Claim, *, is_patient: bool) -> ClaimAnswer | None:
        """Ask until there is an answer; None where none came within the grace."""
        store, link = self.setting.link.store, self.setting.link
        end = time.monotonic() + claim.grace_ms / 1000
        pause = _SHORTEST_RETRY_SECONDS
        while True:
            try:
                answer = await link.ask(partial(store.claim, claim))
                if answer.verdict == "stale":
                    await self._keeper.sweep()
                    continue
            except StoreAwayError:
                if not is_patient:
                    raise
                if time.monotonic() > end:
                    return None
                await self._wait(pause * random.uniform(0.5, 1))  # noqa: S311  # no secret
                pause = min(pause * 2, _LONGEST_RETRY_SECONDS)
                continue
            if answer.verdict != "early":
                return answer
            if not is_patient and answer.milliseconds > _MOST_EARLY_MS:
                tick = moment(claim.fire_ms).isoformat()
                raise ValueError(f"tick {tick} of `{claim.job}` is still to come")
            await self._wait(answer.milliseconds / 1000)

    async def _wait(self, seconds: float) -> None:
        """Sleep, unless the process stops: what was not claimed then is for others."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()
            raise asyncio.CancelledError

    async def run(self, run: Execution, since_ms: int) -> TickResult:
        """Run a tick that is claimed; raises CancelledError where the process stops."""
        if run.job.overlap == "replace":
            for other in self._runs:  # those of other processes notice at their next heartbeat
                if other.job is run.job and other.fire_ms < run.fire_ms:
                    other.cut("replaced")
            if run.job.id in self._elsewhere and self._replaced is not None:
                self._elsewhere.discard(run.job.id)
                self._replaced(run.job.id)
        self._runs.add(run)
        jitter = run.job.jitter.total_seconds() if run.job.jitter else 0.0
        try:
            ended = await run.run(since_ms, random.uniform(0, jitter))  # noqa: S311  # no secret
        except asyncio.CancelledError:
            self.tally.count(run.job.id, "cancelled")
            raise
        finally:
            self._runs.discard(run)
        if ended.state != "lost":  # that is counted by the one who found it
            self.tally.count(ended.job, ended.state, ended)
        fire = moment(run.fire_ms)
        return TickResult(run.job.id, fire, ended.state, run.run_id, ended.duration_ms, ended.error)

    def _again(self, lost: Lost) -> None:
        assert lost.rerun_id is not None  # noqa: S101  # this is what it is called for
        job = self.jobs[lost.job]
        run = Execution(self.setting, job, lost.fire_ms, lost.rerun_id, lost.attempt + 1)
        since_ms = milliseconds(self._now()) - lost.fire_ms
        task = self._spawn(self.run(run, since_ms), (job.id, lost.fire_ms))
        self._outside.note(lost, task)


@dataclass(slots=True)
class Pauses:
    """Jobs whose ticks an operator holds back: `here` by this process, others by the store.

    What the store says is believed for two seconds; while it is away, what it said last holds, and
    no tick can be claimed anyway.
    """

    setting: Setting
    here: set[str] = field(default_factory=set)
    _kept: frozenset[str] = frozenset()
    _fresh_until: float = 0.0
    _changes: int = 0

    def forget(self) -> None:
        """Ask the store anew at the next tick, also where it is being asked just now."""
        self._fresh_until = 0.0
        self._changes += 1

    async def hold(self, job_id: str) -> bool:
        """Tell whether ticks of the job are held back."""
        store: Any = self.setting.link.store
        service = getattr(store, "service", None)
        if service is not None and _keeps_orders(store) and time.monotonic() > self._fresh_until:
            changes = self._changes
            # not by the client: claims go on where a role may not read the orders
            with contextlib.suppress(Exception):
                async with asyncio.timeout(self.setting.link.limit_seconds):
                    now, orders = await store.open_orders(service)
                held = (each for each in orders if each.kind == "pause" and each.holds(now))
                self._kept = frozenset(each.target for each in held)
            if changes == self._changes:
                self._fresh_until = time.monotonic() + _PAUSES_SECONDS
        return job_id in self.here or job_id in self._kept


def _keeps_orders(store: Any) -> bool:
    return callable(getattr(getattr(store, "store", store), "open_orders", None))


@dataclass(slots=True)
class ExternalTicks:
    """Ticks of a process that has no clock of its own."""

    setting: Setting
    keeper: Reaper
    _second: dict[tuple[str, int], "asyncio.Task[TickResult]"] = field(default_factory=dict)

    async def run(
        self,
        job: ScheduledJob,
        fire_ms: int,
        claim: Callable[[], Awaitable[TickResult]],
        *,
        waits: bool,
    ) -> TickResult:
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

    def note(self, lost: Lost, task: "asyncio.Task[TickResult]") -> None:
        """Remember the second attempt of a run, until it ends."""
        tick = (lost.job, lost.fire_ms)
        self._second[tick] = task
        task.add_done_callback(lambda _task: self._second.pop(tick, None))

    async def _once(
        self, job: ScheduledJob, fire_ms: int, claim: Callable[[], Awaitable[TickResult]]
    ) -> TickResult:
        await self.keeper.sweep()
        again = self._second.get((job.id, fire_ms))
        return await (claim() if again is None else asyncio.shield(again))

    async def _is_running(self, job: ScheduledJob, fire_ms: int) -> bool:
        last_runs = partial(self.setting.link.store.last_runs, [job.id])
        last = (await self.setting.link.ask(last_runs)).get(job.id)
        return last is not None and (last.fire_ms, last.state) == (fire_ms, "running")


def _between(job: ScheduledJob, since_ms: int, now: datetime) -> list[datetime]:
    """Return the last ticks of a job after `since_ms`, oldest first."""
    fires: deque[datetime] = deque(maxlen=_MOST_CAUGHT_UP)
    fire = job.schedule.after(max(moment(since_ms), now - job.grace))
    while fire is not None and fire <= now:
        fires.append(fire)
        fire = job.schedule.after(fire)
    return list(fires)
