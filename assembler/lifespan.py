"""A built application → its start and its stop.

In: the plan, what it opens and runs. Out: a `Lifespan`: resources open from top to bottom, startup
steps run, routers' and mounts' own lifespans are entered, and last what works by itself, such as a
scheduler; at the end that is left first, shutdown hooks run, and everything that was opened is
closed in reverse.

Each step is bounded, timed and isolated: one that fails or hangs at the stop never keeps the rest.
A step that fails at the start with `on_error: fail` unwinds what was started; hooks do not run,
and a `StartupError` names the step and its line.
"""

import asyncio
import contextlib
import logging
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from assembler.errors import Diagnostic, Span, StartupError
from assembler.failure import failure_of, frame_of
from assembler.openings import Opening
from assembler.plan import Plan
from assembler.report import Assembly, Outcome, Phase, Step, table
from assembler.task import Owned, StepError, StepTimeout, bounded

logger = logging.getLogger("assembler")

_FIRST_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 30.0
_WELL = frozenset({"ok", "skipped"})


@dataclass(frozen=True, slots=True)
class Running:
    """A function that runs once, at the start or at the end, with its options already in place."""

    id: str
    phase: Phase
    run: Callable[[], Awaitable[Any]]
    span: Span
    timeout: timedelta
    on_error: str = "fail"


@dataclass(slots=True)
class Lifespan:
    """Starts and stops one application; it may be started again after it was stopped."""

    plan: Plan
    assembly: Assembly
    resources: list[Opening]
    startup: list[Running]
    inner: list[Opening]  # routers' and mounts' own lifespans
    shutdown: list[Running]
    running: list[Opening] = field(default_factory=list)  # works by itself: left before the hooks
    wait: Callable[[float], Awaitable[None]] = asyncio.sleep
    _opened: list[tuple[Opening, Owned]] = field(default_factory=list)
    _retries: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        """Run every step of the start, or unwind and raise `StartupError`."""
        began = time.perf_counter()
        self.assembly.steps.clear()
        self.assembly.degraded.clear()
        if self.plan.not_run:
            raise StartupError(self.plan.not_run)
        try:
            for opening in self.resources:
                await self._open(opening)
            for running in self.startup:
                await self._run(running)
            for opening in [*self.inner, *self.running]:
                await self._open(opening)
        except BaseException as error:
            await self._close_all()
            if isinstance(error, StartupError):
                self._tell("failed to start", began, self.assembly.steps, ", and was unwound")
            raise
        self.assembly.ready = True
        count = len(self.assembly.degraded)
        more = f", {count} degraded" if count else ""
        self._tell("started", began, self.assembly.steps, more)

    async def stop(self) -> None:
        """Run every step of the stop, whatever the others do; raises only where it is cancelled."""
        began = time.perf_counter()
        self.assembly.ready = False
        first = len(self.assembly.steps)
        try:
            await self._close_all(self.running)
            for running in self.shutdown:
                with contextlib.suppress(StartupError):
                    await self._run(running)
        finally:
            await self._close_all()
            steps = self.assembly.steps[first:]
            count = sum(step.outcome not in _WELL for step in steps)
            self._tell("stopped", began, steps, f", {count} failed" if count else "")

    async def _open(self, opening: Opening) -> None:
        owned = Owned(opening.enter, opening.leave)

        async def enter() -> None:
            await owned.enter(opening.timeout)
            self._opened.append((opening, owned))

        if not await self._step(opening, enter) and opening.on_error == "degrade":
            self._retries.append(asyncio.create_task(self._retry(opening)))

    async def _run(self, running: Running) -> None:
        await self._step(running, lambda: bounded(running.timeout, running.run))

    async def _step(self, step: Opening | Running, run: Callable[[], Awaitable[None]]) -> bool:
        """Run and record one step; return whether it went well, raise where it must."""
        began = time.perf_counter()
        try:
            await run()
        except Exception as error:  # noqa: BLE001  # a step may raise anything
            trace = self.plan.secrets.scrub("".join(traceback.format_exception(error)))
            logger.debug("%s `%s` failed\n%s", step.phase, step.id, trace)
            reason = self._reason(error)
            outcome: Outcome = "timeout" if isinstance(error, StepTimeout) else "failed"
            if step.on_error != "fail":
                outcome = "warned" if step.on_error == "warn" else "degraded"
            self._record(step, step.phase, began, outcome, reason)
            if step.on_error == "degrade":
                self.assembly.degraded[step.id] = reason
            elif step.on_error == "fail":
                raise self._failure(step, error, reason) from None
            return False
        self._record(step, step.phase, began)
        return True

    def _reason(self, error: Exception) -> str:
        text = str(error) if isinstance(error, StepError) else failure_of(error)
        return self.plan.secrets.scrub(text)

    def _failure(self, step: Opening | Running, error: Exception, reason: str) -> StartupError:
        is_late = isinstance(error, StepTimeout)
        code = "startup-timeout" if is_late else "startup-failed"
        trace = () if is_late else tuple(self.plan.secrets.scrub(line) for line in frame_of(error))
        message = f"{step.phase} `{step.id}` {'' if is_late else 'failed: '}{reason}"
        return StartupError((Diagnostic(code, message, step.span, trace=trace),))

    def _record(
        self,
        step: Opening | Running,
        phase: Phase,
        began: float,
        outcome: Outcome = "ok",
        error: str | None = None,
    ) -> None:
        milliseconds = round((time.perf_counter() - began) * 1000, 3)
        self.assembly.steps.append(Step(step.id, phase, outcome, milliseconds, error))

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
                self.assembly.degraded[opening.id] = self._reason(error)
                continue
            # Closed before what stands above it, however late it came.
            above = self.resources[: self.resources.index(opening)]
            place = sum(other in above for other, _ in self._opened)
            self._opened.insert(place, (opening, owned))
            del self.assembly.degraded[opening.id]
            _log(logging.INFO, f"resource `{opening.id}` is back")
            return

    async def _end_retries(self) -> None:
        retries, self._retries = self._retries, []
        for task in retries:
            task.cancel()
        if retries:
            await asyncio.wait(retries)

    async def _close_all(self, only: list[Opening] | None = None) -> None:
        """Close in reverse what was opened; a failure is recorded and does not stop the rest.

        With `only`, no more than those of it that were opened last.
        """
        interrupted: asyncio.CancelledError | None = None
        while self._retries or (self._opened and (only is None or self._opened[-1][0] in only)):
            try:
                if self._retries:
                    await self._end_retries()
                else:
                    await self._close(*self._opened.pop())
            except asyncio.CancelledError as error:
                interrupted = error
        if interrupted is not None:
            raise interrupted

    async def _close(self, opening: Opening, owned: Owned) -> None:
        began = time.perf_counter()
        outcome: Outcome = "ok"
        reason = None
        try:
            await owned.leave(opening.close_timeout)
        except asyncio.CancelledError:
            self._record(opening, "close", began, "failed", "was cancelled")
            raise
        except Exception as error:  # noqa: BLE001  # recorded; the rest must close
            outcome = "timeout" if isinstance(error, StepTimeout) else "failed"
            reason = self._reason(error)
        self._record(opening, "close", began, outcome, reason)

    def _tell(self, did: str, began: float, steps: list[Step], more: str) -> None:
        milliseconds = (time.perf_counter() - began) * 1000
        is_well = all(step.outcome in _WELL for step in steps)
        level = logging.INFO if is_well else logging.WARNING
        _log(level, table(f"{did} {self.plan.name} in {milliseconds:.0f} ms{more}", steps))


def _log(level: int, text: str) -> None:
    """Log through the `assembler` logger; where nobody set up logging, write to standard error."""
    if logger.hasHandlers():
        logger.log(level, text)
    else:  # a start without a word would look like a hang; one write, as workers share the stream
        sys.stderr.write(f"{text}\n")
