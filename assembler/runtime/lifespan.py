"""A built application → its start and its stop.

In: the plan, what it opens and runs. Out: a `Lifespan`: resources open from top to bottom, the
manifest's own lifespans are entered, startup steps run, routers' and mounts' own lifespans are
entered, and last what works by itself, such as a scheduler; at the end that is left first, shutdown
hooks run, and everything that was opened is closed in reverse.

Each step is bounded, timed and isolated: one that fails or hangs at the stop never keeps the rest.
A step that fails at the start with `on_error: fail` unwinds what was started; hooks do not run,
and a `StartupError` names the step and its line. What may pass by itself is tried again within the
step's time first.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import InitVar, dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from assembler.diagnostics.errors import StartupError
from assembler.plan.load import Plan
from assembler.runtime.hooks import Opening
from assembler.runtime.recorder import Group, Running, StepRecorder, is_well
from assembler.runtime.report import Assembly, Outcome, StepResult, log
from assembler.runtime.task import Owned, StepTimeout, bounded
from assembler.runtime.transient import is_transient

_MARGIN = timedelta(seconds=1)  # for the server itself to end
_RESERVE = timedelta(seconds=1)  # that each later step keeps
_LEAST = timedelta(milliseconds=100)  # a step has at least this, however late it is
_FIRST_PAUSE_SECONDS = 0.1  # between tries of one start
_LONGEST_PAUSE_SECONDS = 2.0
_FIRST_RETRY_SECONDS = 0.5  # in the background
_LONGEST_RETRY_SECONDS = 30.0


class StopBudget:
    """How long the platform waits for the end → how long each step of the stop may take.

    The time runs from the order to end, on the clock of `time.perf_counter`, to the kill. A step has
    its own timeout, or less where the rest would be left without time, so that steps that hang
    never keep the others from running.
    """

    def __init__(
        self,
        whole: timedelta,
        since: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._clock = clock
        began = clock() if since is None else since
        self._end = began + (whole - _MARGIN).total_seconds()

    def limit(self, timeout: timedelta, later: int) -> timedelta:
        """Return what a step may take that is followed by `later` others."""
        left = timedelta(seconds=self._end - self._clock())
        share = left / (later + 1)
        return min(timeout, max(left - later * min(_RESERVE, share), _LEAST))


@dataclass(slots=True)
class Lifespan:
    """Starts and stops one application; it may be started again after it was stopped."""

    plan: Plan
    assembly: Assembly
    resources: list[Opening]
    startup: Sequence[Running | Group]
    inner: list[Opening]  # routers' and mounts' own lifespans
    shutdown: list[Running]
    running: list[Opening] = field(default_factory=list)  # works by itself: left before the hooks
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep
    lifespans: list[Opening] = field(default_factory=list)  # entered when resources are open
    tried: Callable[[], Awaitable[None]] | None = None  # awaited once resources are open
    reached: Callable[[str], None] | None = None  # is told each step before it runs
    is_told: InitVar[bool] = True  # by a log record of the start, and one of the stop
    recorder: StepRecorder = field(init=False)
    _opened: list[tuple[Opening, Owned]] = field(default_factory=list)
    _retries: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self, is_told: bool) -> None:
        self.recorder = StepRecorder(self.plan, self.assembly, is_told)

    async def start(self, look: Callable[[], None] = lambda: None) -> None:
        """Run every step of the start, or unwind and raise `StartupError`.

        `look` is called before each step; what it raises ends the start as well.
        """
        began = time.perf_counter()
        self.assembly.steps.clear()
        self.assembly.degraded.clear()
        self.assembly.state = "starting"
        self.assembly.step_base = began
        try:
            self._check()
            for opening in self.resources:
                look()
                await self._open(opening)
            if self.tried is not None:
                await self.tried()
            for opening in self.lifespans:
                look()
                await self._open(opening)
            for item in self.startup:
                look()
                await self._run_all(item, look)
            for opening in [*self.inner, *self.running]:
                look()
                await self._open(opening)
            look()
        except BaseException as error:
            self.assembly.state = "failed"
            await self._close_all(self._budget(None))
            is_ended = isinstance(error, asyncio.CancelledError)
            did = "was told to end while it started" if is_ended else "failed to start"
            self.recorder.tell(did, began, more=", and was unwound")
            raise
        self.assembly.state = "started"
        self.assembly.started_at = time.time()
        self.assembly.tell_resources("on_started", self.assembly)
        count = len(self.assembly.degraded)
        self.recorder.tell("started", began, more=f", {count} degraded" if count else "")

    async def stop(self, since: float | None = None) -> None:
        """Run every step of the stop, whatever the others do; raises only where it is cancelled.

        `since` is when the end was ordered, on the clock of `time.perf_counter`: what has passed
        of the `termination_grace` of the manifest, for draining say, is no longer there to use.
        """
        began = time.perf_counter()
        budget = self._budget(since)
        self.assembly.state = "stopping"
        self.assembly.step_base = began
        first = len(self.assembly.steps)
        hooks = len(self.shutdown)
        try:
            await self._close_all(budget, self.running, later=hooks)
            for number, hook in enumerate(self.shutdown, 1):
                later = hooks - number + len(self._opened)
                with contextlib.suppress(StartupError):
                    await self._run(hook, budget.limit(hook.timeout, later))
        finally:
            await self._close_all(budget)
            self.assembly.state = "stopped"
            count = sum(not is_well(step) for step in self.assembly.steps[first:])
            self.recorder.tell("stopped", began, first, f", {count} failed" if count else "")

    def _budget(self, since: float | None) -> StopBudget:
        return StopBudget(self.plan.manifest.server.termination_grace, since)

    def _check(self) -> None:
        """Fail now by what is known to fail once steps have run, and SQL cannot be taken back."""
        for opening in self.running:
            began = time.perf_counter()
            try:
                if opening.check is not None:
                    opening.check()
            except Exception as error:  # noqa: BLE001  # as opening it would
                self.recorder.failed(opening, began, error)

    async def _open(self, opening: Opening) -> None:
        async def enter() -> None:
            owned = await self._entered(opening)
            self._opened.append((opening, owned))

        is_open = await self._step(opening, enter)
        await self._tell(opening, None if is_open else self.assembly.steps[-1].error)
        if not is_open and opening.on_error == "degrade":
            self._retries.append(asyncio.create_task(self._retry(opening)))

    async def _tell(self, opening: Opening, reason: str | None) -> None:
        """Tell who listens why a resource is away, or None; what that raises is logged."""
        if opening.told is None:
            return
        try:
            await bounded(opening.timeout, partial(opening.told, reason))
        except Exception as error:  # noqa: BLE001  # a listener may raise anything
            said = self.recorder.reason(error)
            log(logging.WARNING, f"`on_degraded` of resource `{opening.id}`: {said}")

    async def _entered(self, opening: Opening) -> Owned:
        """Enter it; where a resource fails by what may pass, again while its time lasts.

        Nobody waits for what the application can do without: it is tried again in the background,
        or never.
        """
        may_repeat = opening.phase == "resource" and opening.on_error == "fail"
        end = time.perf_counter() + opening.timeout.total_seconds()
        seconds = _FIRST_PAUSE_SECONDS
        while True:
            owned = Owned(opening.enter, opening.leave)
            left = timedelta(seconds=end - time.perf_counter())
            try:
                await owned.enter(left)
            except StepTimeout as error:
                raise error.of(opening.timeout) from None
            except Exception as error:
                is_late = time.perf_counter() + seconds >= end
                if is_late or not may_repeat or not is_transient(error):
                    raise
                if seconds == _FIRST_PAUSE_SECONDS:
                    reason = self.recorder.reason(error)
                    log(logging.WARNING, f"{opening.phase} `{opening.id}` is awaited: {reason}")
                await self.wait(seconds)
                seconds = min(seconds * 2, _LONGEST_PAUSE_SECONDS)
            else:
                return owned

    async def _run_all(self, item: Running | Group, look: Callable[[], None]) -> None:
        if isinstance(item, Running):
            await self._run(item)
            return
        async with item() as steps:
            for running in steps:
                look()
                await self._run(running)

    async def _run(self, running: Running, limit: timedelta | None = None) -> None:
        async def run() -> Any:
            try:
                return await bounded(limit or running.timeout, running.run)
            except StepTimeout as error:
                raise error.of(running.timeout, limit) from None

        await self._step(running, run)

    async def _step(self, step: Opening | Running, run: Callable[[], Awaitable[Any]]) -> bool:
        """Run and record one step; return whether it went well, raise where it must."""
        began = time.perf_counter()
        if self.reached is not None:
            self.reached(f"{step.phase} `{step.id}`")
        try:
            told = await run()
        except Exception as error:  # noqa: BLE001  # a step may raise anything
            self.recorder.failed(step, began, error)
            return False
        well = told if isinstance(told, StepResult) else StepResult("ok")
        self.recorder.record(step, step.phase, began, well.outcome, detail=well.detail)
        return True

    async def _retry(self, opening: Opening) -> None:
        """Open a degraded resource in the background, waiting longer each time."""
        seconds = _FIRST_RETRY_SECONDS
        while True:
            await self.wait(seconds)
            seconds = min(seconds * 2, _LONGEST_RETRY_SECONDS)
            owned = Owned(opening.enter, opening.leave)
            try:
                await owned.enter(opening.timeout)
            except Exception as error:  # noqa: BLE001  # reported by its state, and tried again
                self.assembly.degraded[opening.id] = self.recorder.reason(error)
                continue
            # Closed before what stands above it, however late it came.
            above = self.resources[: self.resources.index(opening)]
            place = sum(other in above for other, _ in self._opened)
            self._opened.insert(place, (opening, owned))
            del self.assembly.degraded[opening.id]
            log(logging.INFO, f"resource `{opening.id}` is back")
            await self._tell(opening, None)
            return

    async def _end_retries(self) -> None:
        retries, self._retries = self._retries, []
        for task in retries:
            task.cancel()
        if retries:
            await asyncio.wait(retries)

    async def _close_all(
        self, budget: StopBudget, only: list[Opening] | None = None, later: int = 0
    ) -> None:
        """Close in reverse what was opened; a failure is recorded and does not stop the rest.

        With `only`, no more than those of it that were opened last; `later` steps follow.
        """
        interrupted: asyncio.CancelledError | None = None
        while self._retries or (self._opened and (only is None or self._opened[-1][0] in only)):
            try:
                if self._retries:
                    await self._end_retries()
                else:
                    opening, owned = self._opened.pop()
                    limit = budget.limit(opening.close_timeout, len(self._opened) + later)
                    await self._close(opening, owned, limit)
            except asyncio.CancelledError as error:
                interrupted = error
        if interrupted is not None:
            raise interrupted

    async def _close(self, opening: Opening, owned: Owned, limit: timedelta) -> None:
        began = time.perf_counter()
        outcome: Outcome = "ok"
        reason = None
        try:
            await owned.leave(limit)
        except asyncio.CancelledError:
            self.recorder.record(opening, "close", began, "failed", "was cancelled")
            raise
        except StepTimeout as error:
            outcome = "timeout"
            reason = str(error.of(opening.close_timeout, limit))
        except Exception as error:  # noqa: BLE001  # recorded; the rest must close
            outcome = "failed"
            reason = self.recorder.reason(error)
        self.recorder.record(opening, "close", began, outcome, reason)
