"""Claims of one process, in its memory: for a scheduler without a store.

In: claims. Out: answers by this process's clock. A tick runs once as long as there is one process;
what ran before it started is not known, so a tick is not caught up after a restart.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from assembler.runtime.scheduler.claims import (
    EARLY_MS,
    Claim,
    ClaimAnswer,
    Lost,
    Retrial,
    Retried,
)
from assembler.runtime.scheduler.run import (
    FAILURES,
    REPEATABLE,
    Ending,
    Run,
    RunQuery,
    State,
    selected,
)

_KEPT = 100  # runs of each job
_ELSEWHERE = "elsewhere "


class MemoryStore:
    """Keeps the last runs of each job, and never lets a claim run out: nobody else is there."""

    shared = False
    kind = "memory"
    runs_kept = _KEPT

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._runs: dict[str, deque[Run]] = {}
        self._running: dict[str, Run] = {}

    async def prepare(self) -> None:
        """There is nothing to make."""

    async def now(self) -> int:
        """Return this process's time."""
        return int(self._clock() * 1000)

    def borrow(self, running: Mapping[str, int]) -> None:
        """Count runs that go on in another process, by job and tick, as if they were here."""
        now = int(self._clock() * 1000)
        for job, fire_ms in running.items():
            run_id = f"{_ELSEWHERE}{job}"
            run = Run(job, fire_ms, 1, run_id, _ELSEWHERE, "running", now, None)
            self._running[run_id] = run

    def give_back(self, job: str | None) -> None:
        """Let the borrowed run of a job go, or with None all of them."""
        for run in [run for run in self._running.values() if run.owner == _ELSEWHERE]:
            if job in (None, run.job):
                del self._running[run.run_id]

    async def claim(self, claim: Claim) -> ClaimAnswer:
        """Take the tick, where it is due and free."""
        since = await self.now() - claim.fire_ms
        if since < -EARLY_MS:
            return ClaimAnswer("early", -since - EARLY_MS // 2)
        if self._knows(claim.job, claim.fire_ms):
            return ClaimAnswer("taken")
        if since > claim.grace_ms:
            return ClaimAnswer("late")
        others = [run for run in self._running.values() if run.job == claim.job]
        if others and claim.overlap != "allow":
            if since < 0:
                return ClaimAnswer("early", -since)  # until its time has come, they may end
            newer = max(run.fire_ms for run in others) > claim.fire_ms
            if claim.overlap == "forbid" or newer:
                self._keep(claim.job, claim.fire_ms, claim.run_id, claim.owner, "skipped")
                return ClaimAnswer("skipped", recorded=True)
            for run in others:
                self._end(run.run_id, "replaced")
        run = self._keep(claim.job, claim.fire_ms, claim.run_id, claim.owner, "running")
        self._running[claim.run_id] = run
        return ClaimAnswer("claimed", since)

    async def heartbeat(self, run_id: str, lease_ms: int) -> bool:
        """Tell whether the run holds its claim."""
        return run_id in self._running

    async def state(self, run_id: str) -> State | None:
        """Return the state of a run that is kept."""
        if run_id in self._running:  # for longer, maybe, than the last runs are kept
            return "running"
        found = (run for runs in self._runs.values() for run in runs if run.run_id == run_id)
        return next((run.state for run in found), None)

    async def finish(self, run_id: str, ending: Ending) -> bool:
        """Record the end of a run that holds its claim."""
        return self._end(run_id, ending.state, ending)

    async def sweep(self, owner: str, lease_ms: int, jobs: Mapping[str, bool]) -> list[Lost]:
        """Find nothing: a run ends with its process, and so does this memory."""
        return []

    async def miss(self, job: str, fires: Sequence[int], grace_ms: int) -> dict[int, bool]:
        """Record ticks that were not claimed within their grace."""
        due = [fire for fire in fires if fire < await self.now() - grace_ms]
        settled = {fire: not self._knows(job, fire) for fire in due}
        for fire in (fire for fire, is_new in settled.items() if is_new):
            self._keep(job, fire, "", "", "missed")
        return settled

    async def last_runs(self, jobs: Collection[str]) -> dict[str, Run]:
        """Return the latest run of each job that has one."""
        kept = {job: self._runs[job] for job in jobs if self._runs.get(job)}
        return {job: max(runs, key=lambda run: run.fire_ms) for job, runs in kept.items()}

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return how many of the kept runs each job has in each state."""
        found: dict[str, dict[str, int]] = {}
        for job, runs in self._runs.items():
            states = found.setdefault(job, {})
            for run in runs:
                states[run.state] = states.get(run.state, 0) + 1
        return found

    async def prune(self, job: str, keep_ms: int) -> int:
        """Forget nothing: the number of runs is bounded."""
        return 0

    async def run(self, run_id: str) -> Run | None:
        """Return one run that is kept."""
        every = (run for runs in self._runs.values() for run in runs)
        return next((run for run in every if run.run_id == run_id), None)

    async def runs(self, query: RunQuery) -> list[Run]:
        """Return the kept runs that are asked for."""
        return selected(self._runs.get(query.job, ()), query)

    async def failures(self, jobs: Collection[str], span_ms: int) -> dict[str, int]:
        """Return how many of the kept runs of each job went wrong within that time."""
        since = await self.now() - span_ms
        found = {
            job: sum(
                run.state in FAILURES and run.fire_ms > since for run in self._runs.get(job, ())
            )
            for job in jobs
        }
        return {job: number for job, number in found.items() if number}

    async def again(self, retrial: Retrial) -> Retried | None:
        """Begin one more attempt."""
        run = await self.run(retrial.run_id)
        if run is None or run.state not in REPEATABLE:
            return None
        attempts = [each.attempt for each in self._runs[run.job] if each.fire_ms == run.fire_ms]
        is_busy = any(each.job == run.job for each in self._running.values())
        if max(attempts) > run.attempt or (is_busy and retrial.overlap == "forbid"):
            return None
        fresh = self._keep(
            run.job, run.fire_ms, retrial.fresh, retrial.owner, "running", run.attempt + 1
        )
        self._running[retrial.fresh] = fresh
        return Retried(fresh.job, fresh.fire_ms, fresh.attempt)

    def _knows(self, job: str, fire_ms: int) -> bool:
        return any(run.fire_ms == fire_ms for run in self._runs.get(job, ()))

    def _keep(
        self, job: str, fire_ms: int, run_id: str, owner: str, state: State, attempt: int = 1
    ) -> Run:
        now = int(self._clock() * 1000)
        finished = None if state == "running" else now
        run = Run(job, fire_ms, attempt, run_id, owner, state, now, finished)
        self._runs.setdefault(job, deque(maxlen=_KEPT)).append(run)
        return run

    def _end(self, run_id: str, state: State, ending: Ending | None = None) -> bool:
        run = self._running.pop(run_id, None)
        if run is None:
            return False
        ended = replace(run, state=state, finished_ms=int(self._clock() * 1000))
        if ending is not None:
            lag, took, error = ending.lag_ms, ending.duration_ms, ending.error
            ended = replace(ended, lag_ms=lag, duration_ms=took, error=error)
        runs = self._runs.get(run.job, deque())
        if run in runs:
            runs[runs.index(run)] = ended
        return True
