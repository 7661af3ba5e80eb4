"""What a store of claims promises, so that each tick runs once whoever else is there.

In: a tick that is due by somebody's clock. Out: an `ClaimAnswer` by the clock of the store alone: the
tick is ours, or it is early, or late, or someone else's. A claim is held by its run ID, renewed by
heartbeats for one lease at a time, and given up by `finish`; each of these is refused to a run that
no longer holds it. There is no leader: every process asks, one row decides.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from assembler.runtime.scheduler.run import Ending, Run, RunQuery, State

Overlap = Literal["forbid", "allow", "replace"]
Verdict = Literal[
    "claimed",
    "queued",  # it is ours, and workers run it
    "early",  # by the store's clock: ask again in `milliseconds`
    "taken",  # another process has it, or had it
    "skipped",  # the last run goes on
    "late",  # the grace is over
    "stale",  # the last run's lease has run out: sweep, then claim again
]
EARLY_MS = 2000  # a claim may come this much before its tick: clocks differ


@dataclass(frozen=True, slots=True)
class Claim:
    """A tick that somebody wants to run; the run ID is also the token that fences it."""

    job: str
    fire_ms: int
    run_id: str
    owner: str
    grace_ms: int
    lease_ms: int
    overlap: Overlap
    rerun: bool  # once more, should its process die


@dataclass(frozen=True, slots=True)
class ClaimAnswer:
    """`milliseconds` since the tick (below 0: until it) where claimed, to wait where early.

    `recorded` where this very call wrote the row that says `skipped`.
    """

    verdict: Verdict
    milliseconds: int = 0
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class Retrial:
    """A run that ended badly is to be tried once more, by `owner`, as the run `fresh`."""

    run_id: str
    fresh: str
    owner: str
    lease_ms: int
    overlap: Overlap
    rerun: bool


@dataclass(frozen=True, slots=True)
class Retried:
    """The attempt that a retrial gave: `is_queued` where it waits for a worker."""

    job: str
    fire_ms: int
    attempt: int
    is_queued: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """A run whose lease ran out; `rerun_id` where the sweep claimed a second attempt for us.

    `is_queued` where the second attempt waits for a worker.
    """

    job: str
    fire_ms: int
    attempt: int
    run_id: str
    owner: str
    rerun_id: str | None = None
    is_queued: bool = False


class Store(Protocol):
    """Where claims are kept. A method that cannot reach the store raises; nothing has run then."""

    shared: bool  # whether other processes see the claims

    async def prepare(self) -> None:
        """Make tables, where there are none; any number of processes may do so at once."""

    async def now(self) -> int:
        """Return the store's time."""

    async def claim(self, claim: Claim) -> ClaimAnswer:
        """Take the tick, where it is due and free."""

    async def heartbeat(self, run_id: str, lease_ms: int) -> bool:
        """Renew the lease; False where the run no longer holds its claim."""

    async def state(self, run_id: str) -> State | None:
        """Return the state of a run, `running` where it holds its claim; None for no such run."""

    async def finish(self, run_id: str, ending: Ending) -> bool:
        """Record the end; False, and nothing recorded, where the run no longer held its claim."""

    async def sweep(self, owner: str, lease_ms: int, jobs: Mapping[str, bool]) -> list[Lost]:
        """Mark runs of `jobs` whose lease ran out; claim a second attempt where the job says so."""

    async def miss(self, job: str, fires: Sequence[int], grace_ms: int) -> dict[int, bool]:
        """Record ticks that nobody claimed.

        Returns those that are settled, True where this call recorded it; a tick whose grace is not
        over is left out, as somebody may claim it still.
        """

    async def last_runs(self, jobs: Collection[str]) -> dict[str, Run]:
        """Return the latest run of each job that has one."""

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return how many runs each job has in each state, as far back as rows are kept."""

    async def prune(self, job: str, keep_ms: int) -> int:
        """Forget runs older than that; the last one of a job stays. Returns how many."""

    # what only pages for operators ask

    async def run(self, run_id: str) -> Run | None:
        """Return one run that is kept."""

    async def runs(self, query: RunQuery) -> list[Run]:
        """Return the runs that are asked for, the latest tick first."""

    async def failures(self, jobs: Collection[str], span_ms: int) -> dict[str, int]:
        """Return how many runs of each job went wrong within that time."""

    async def again(self, retrial: Retrial) -> Retried | None:
        """Claim one more attempt; None where the run went well or goes on, or someone has it."""


@runtime_checkable
class LocalStore(Protocol):
    """What a store has besides that other processes do not see: it takes over from one of theirs."""

    def borrow(self, running: Mapping[str, int]) -> None:
        """Count runs that go on in another process, by job and tick, as if they were here."""

    def give_back(self, job: str | None) -> None:
        """Let the borrowed run of a job go, or with None all of them."""
