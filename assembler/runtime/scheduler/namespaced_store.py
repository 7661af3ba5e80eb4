"""A store that several services share → the part of it that is one service's.

In: a `Store`, the name of a service. Out: a `Store` in which jobs are called as the manifest calls
them, while the store itself keeps them as `NAME/JOB`: two services may each have a job of one name.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from assembler.runtime.scheduler.claims import (
    Claim,
    ClaimAnswer,
    LocalStore,
    Lost,
    Retrial,
    Retried,
    Store,
)
from assembler.runtime.scheduler.run import Run, RunQuery


def named(store: Store, name: str) -> Store:
    """Return the part of the store that is of the service with this name."""
    kind = NamedLocalStore if isinstance(store, LocalStore) else NamedStore
    return cast("Store", kind(store, name))


class NamedStore:
    """Passes everything on, with the name of the service before that of a job."""

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self._prefix = f"{name}/"
        self.service = name

    def __getattr__(self, name: str) -> Any:
        # what is asked by the ID of a run, and what only some stores have
        return getattr(self.store, name)

    async def claim(self, claim: Claim) -> ClaimAnswer:
        """Take the tick, where it is due and free."""
        return await self.store.claim(replace(claim, job=self._prefix + claim.job))

    async def sweep(self, owner: str, lease_ms: int, jobs: Mapping[str, bool]) -> list[Lost]:
        """Mark runs of these jobs whose lease ran out."""
        known = {self._prefix + job: again for job, again in jobs.items()}
        found = await self.store.sweep(owner, lease_ms, known)
        return [replace(lost, job=self.own(lost.job)) for lost in found]

    async def miss(self, job: str, fires: Sequence[int], grace_ms: int) -> dict[int, bool]:
        """Record ticks that nobody claimed."""
        return await self.store.miss(self._prefix + job, fires, grace_ms)

    async def last_runs(self, jobs: Collection[str]) -> dict[str, Run]:
        """Return the latest run of each job that has one."""
        runs = await self.store.last_runs([self._prefix + job for job in jobs])
        return {(own := self.own(job)): replace(run, job=own) for job, run in runs.items()}

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return how many runs each job of the service has in each state."""
        counts = await self.store.counts()
        return {self.own(job): n for job, n in counts.items() if job.startswith(self._prefix)}

    async def prune(self, job: str, keep_ms: int) -> int:
        """Forget old runs of a job."""
        return await self.store.prune(self._prefix + job, keep_ms)

    async def run(self, run_id: str) -> Run | None:
        """Return one run that is kept."""
        run = await self.store.run(run_id)
        return None if run is None else replace(run, job=self.own(run.job))

    async def runs(self, query: RunQuery) -> list[Run]:
        """Return the runs that are asked for."""
        found = await self.store.runs(replace(query, job=self._prefix + query.job))
        return [replace(run, job=query.job) for run in found]

    async def failures(self, jobs: Collection[str], span_ms: int) -> dict[str, int]:
        """Return how many runs of each job went wrong within that time."""
        found = await self.store.failures([self._prefix + job for job in jobs], span_ms)
        return {self.own(job): number for job, number in found.items()}

    async def again(self, retrial: Retrial) -> Retried | None:
        """Claim one more attempt."""
        found = await self.store.again(retrial)
        return None if found is None else replace(found, job=self.own(found.job))

    def own(self, job: str) -> str:
        """Return how the manifest calls a job; one of another service keeps its whole name."""
        return job.removeprefix(self._prefix)


class NamedLocalStore(NamedStore):
    """The same of a store that is a `LocalStore` too."""

    store: Any

    def borrow(self, running: Mapping[str, int]) -> None:
        """Count runs of another process."""
        self.store.borrow({self._prefix + job: fire_ms for job, fire_ms in running.items()})

    def give_back(self, job: str | None) -> None:
        """Let the run of a job go that was borrowed, or all of them."""
        self.store.give_back(None if job is None else self._prefix + job)
