"""The outcome of each step → the report, the log, and the error that ends a start.

In: a step, when it began, what it raised. Out: a `Step` in the report, one table in the log for a
whole start or stop, a `StartupError` with the step's line. No secret of the manifest is in them.
"""

import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from assembler.diagnostics.errors import Diagnostic, StartupError
from assembler.diagnostics.exceptions import failure_of, frame_of
from assembler.diagnostics.span import Span
from assembler.plan.load import Plan
from assembler.runtime.hooks import Opening
from assembler.runtime.report import Assembly, Outcome, Phase, Step, log, named, table
from assembler.runtime.task import StepError, StepTimeout

logger = logging.getLogger("assembler")

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
    label: str | None = None


# Steps that share something, which is open while they run: each is made when the last has ended.
Group = Callable[[], AbstractAsyncContextManager[Iterator[Running]]]


@dataclass(frozen=True, slots=True)
class StepRecorder:
    """Writes down what happened to one application."""

    plan: Plan
    assembly: Assembly
    is_told: bool = True  # whether the log has a table of each start and stop

    def failed(self, step: Opening | Running, began: float, error: Exception) -> None:
        """Record that a step raised; raises `StartupError` where that ends the start."""
        if logger.isEnabledFor(logging.DEBUG):
            trace = self.plan.secrets.scrub("".join(traceback.format_exception(error)))
            logger.debug("%s `%s` failed\n%s", step.phase, _name(step), trace)
        reason = self.reason(error)
        outcome: Outcome = "timeout" if isinstance(error, StepTimeout) else "failed"
        if step.on_error != "fail":
            outcome = "warned" if step.on_error == "warn" else "degraded"
        self.record(step, step.phase, began, outcome, reason)
        if step.on_error == "degrade":
            self.assembly.degraded[_name(step)] = reason
        elif step.on_error == "fail":
            raise self._failure(step, error, reason) from None

    def record(
        self,
        step: Opening | Running,
        phase: Phase,
        began: float,
        outcome: Outcome = "ok",
        error: str | None = None,
        detail: str | None = None,
    ) -> None:
        """Add a step to the report; `began` is on the clock of `time.perf_counter`."""
        milliseconds = round((time.perf_counter() - began) * 1000, 3)
        label = getattr(step, "label", None)
        since = round((began - self.assembly.step_base) * 1000, 3)
        done = Step(step.id, phase, outcome, milliseconds, error, label, detail, since)
        self.assembly.steps.append(done)

    def reason(self, error: Exception) -> str:
        """Say in one line what went wrong."""
        text = str(error) if isinstance(error, StepError) else failure_of(error)
        return self.plan.secrets.scrub(text)

    def tell(self, did: str, began: float, first: int = 0, more: str = "") -> None:
        """Log the steps from number `first` as one table."""
        if not self.is_told:
            return
        milliseconds = (time.perf_counter() - began) * 1000
        steps = self.assembly.steps[first:]
        level = logging.INFO if all(map(is_well, steps)) else logging.WARNING
        log(level, table(f"{did} {self.plan.name} in {milliseconds:.0f} ms{more}", steps))

    def _failure(self, step: Opening | Running, error: Exception, reason: str) -> StartupError:
        is_late = isinstance(error, StepTimeout)
        code, remedy = "startup-failed", None
        if isinstance(error, StepError):
            code, remedy = error.code, error.help
        trace = () if is_late else tuple(self.plan.secrets.scrub(line) for line in frame_of(error))
        message = f"{step.phase} `{_name(step)}` {'' if is_late else 'failed: '}{reason}"
        return StartupError((Diagnostic(code, message, step.span, trace=trace, help=remedy),))


def is_well(step: Step) -> bool:
    """Tell whether nothing about a step needs attention."""
    return step.outcome in _WELL


def _name(step: Opening | Running) -> str:
    return named(step.id, getattr(step, "label", None))
