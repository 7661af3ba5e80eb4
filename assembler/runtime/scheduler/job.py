"""What the engine knows about a job: its function, its clock, its bounds; and what a tick came to.

In: nothing. Out: `ScheduledJob`, `TickResult`, and the protocols of a schedule and of a clock that calls when
ticks are due. A plan's jobs become these in `declared`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from assembler.runtime.scheduler.claims import EARLY_MS, Overlap
from assembler.runtime.scheduler.context import JobContext
from assembler.runtime.scheduler.run import State


class JobSchedule(Protocol):
    """When a job fires; moments are aware."""

    def after(self, moment: datetime, /) -> datetime | None:
        """Return the first fire strictly later than `moment`."""

    def latest(self, moment: datetime, /) -> datetime | None:
        """Return the last fire at or before `moment`."""


@dataclass(frozen=True, slots=True)
class ScheduledJob:
    """A function that runs by the clock; `run` calls it with its options and what it is told."""

    id: str
    run: Callable[[JobContext], Awaitable[Any]]
    schedule: JobSchedule
    timeout: timedelta | None = None
    grace: timedelta = timedelta(seconds=60)
    jitter: timedelta | None = None
    overlap: Overlap = "forbid"
    rerun: bool = False
    zone: Any = None  # a tzinfo, in which the job is told its tick

    def meant(self, at: datetime) -> datetime:
        """Return the tick that somebody means at that time. Raises ValueError where there is none.

        It is the latest one, or the next where that is nearer and about to come: clocks differ.
        """
        latest, following = self.schedule.latest(at), self.schedule.after(at)
        wait = timedelta.max if following is None else following - at
        is_near = wait <= timedelta(milliseconds=EARLY_MS) and (
            latest is None or wait < at - latest
        )
        fire = following if is_near else latest
        if fire is None:
            raise ValueError(f"`{self.id}` had no tick before {at.isoformat()}")
        return fire


@dataclass(frozen=True, slots=True)
class TickResult:
    """What became of one tick: the state of its run, `taken` by another process, or `paused`."""

    job: str
    fire_time: datetime
    outcome: State | Literal["taken", "paused"]
    run_id: str | None = None
    milliseconds: int | None = None
    error: str | None = None


class Clock(Protocol):
    """What calls `due` when ticks are due."""

    def start(
        self, jobs: Sequence[ScheduledJob], due: Callable[[str, list[datetime]], Any]
    ) -> None:
        """Begin."""

    def pause(self) -> None:
        """Call no more."""

    def wake(self) -> None:
        """Look at the time now: a timer does not notice that a clock was set."""

    def stop(self) -> None:
        """End."""
