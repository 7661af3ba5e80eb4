"""What is known about one run of a job.

In: a row of a store, or what a run has just come to. Out: `Run`, as lists, pages and programs show
it, and `Ending`. Times are milliseconds since the epoch, by the clock of the store: one number
means the same in every database, and none has a zone that could be lost.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

State = Literal[
    "queued",  # claimed, and waits for a worker
    "running",  # claimed, and its lease is renewed
    "ok",
    "failed",  # it raised
    "timeout",  # it took longer than its `timeout`
    "cancelled",  # its process was stopped
    "replaced",  # a later tick of a job with `overlap: replace` took its place
    "lost",  # its process died, or was away for longer than the lease
    "missed",  # nobody could claim the tick within its grace
    "skipped",  # the run before it went on still
]


@dataclass(frozen=True, slots=True)
class Run:
    """One row: a tick of a job, and what became of it."""

    job: str
    fire_ms: int
    attempt: int
    run_id: str
    owner: str
    state: State
    started_ms: int
    finished_ms: int | None = None
    lag_ms: int | None = None  # from the tick to the first line of the job
    duration_ms: int | None = None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the run as JSON has it."""
        return {
            "job": self.job,
            "tick": _iso(self.fire_ms),
            "attempt": self.attempt,
            "run_id": self.run_id,
            "owner": self.owner,
            "outcome": self.state,
            "started": _iso(self.started_ms),
            "finished": None if self.finished_ms is None else _iso(self.finished_ms),
            "lag_milliseconds": self.lag_ms,
            "milliseconds": self.duration_ms,
            "error": self.error,
        }


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs of a job are wanted, the latest first.

    `states` are those they may be in, all where none is named; `since_ms` and `until_ms` bound their
    ticks, the end excluded; at most `limit` of them.
    """

    job: str
    states: tuple[State, ...] = ()
    since_ms: int = 0
    until_ms: int = 2**62
    limit: int = 100


@dataclass(frozen=True, slots=True)
class Ending:
    """What a run came to; the text of an error has had its secrets taken out."""

    state: State
    lag_ms: int
    duration_ms: int
    error: str | None = None


FAILURES: tuple[State, ...] = ("failed", "timeout", "lost", "missed")
"""The states of runs that somebody should look at."""

REPEATABLE: tuple[State, ...] = (*FAILURES, "cancelled", "replaced", "skipped")
"""The states in which a run may be tried once more."""


def selected(runs: Iterable[Run], query: RunQuery) -> list[Run]:
    """Return those of `runs` that a query asks for, for stores that keep a few."""
    found = [
        run
        for run in runs
        if run.job == query.job
        and (not query.states or run.state in query.states)
        and query.since_ms <= run.fire_ms < query.until_ms
    ]
    found.sort(key=lambda run: (run.fire_ms, run.attempt), reverse=True)
    return found[: query.limit]


def milliseconds(moment: datetime) -> int:
    """Return an aware moment as milliseconds since the epoch."""
    return round(moment.timestamp() * 1000)


def moment(milliseconds: int) -> datetime:
    """Return the moment, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _iso(milliseconds: int) -> str:
    return moment(milliseconds).isoformat(timespec="milliseconds")
