"""What became of ticks in this process → numbers for pages and metrics.

In: each end of a run, as it comes. Out: a `RunCounters`: by job and outcome, since the start. Each tick is
counted by one process: the one that ran it, or that recorded what became of it. The sum over the
processes is the truth; the store has the same, as far back as it keeps rows.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from assembler.runtime.scheduler.run import Run, State


@dataclass(slots=True)
class RunCounters:
    """`runs[job][state]`, and the last run of each job that this process has seen end."""

    runs: dict[str, Counter[State]] = field(default_factory=dict)
    last: dict[str, Run] = field(default_factory=dict)
    _watchers: list[Callable[[str, State, int], Any]] = field(default_factory=list)

    def count(self, job: str, state: State, run: Run | None = None) -> None:
        """Add one."""
        self.runs.setdefault(job, Counter())[state] += 1
        for watcher in self._watchers:
            watcher(job, state, 1)
        if run is not None:
            self.last[job] = run

    def watch(self, watcher: Callable[[str, State, int], Any]) -> None:
        """Call `watcher` with each number that is added, and with what was counted up to now."""
        for job, counted in self.runs.items():
            for state, number in counted.items():
                watcher(job, state, number)
        self._watchers.append(watcher)

    def total(self, state: State) -> int:
        """Return how many runs of any job ended so."""
        return sum(counted[state] for counted in self.runs.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers as JSON has them."""
        return {
            job: {
                "runs": dict(counted),
                "last": self.last[job].as_dict() if job in self.last else None,
            }
            for job, counted in self.runs.items()
        }
