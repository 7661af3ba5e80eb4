"""What a run came to → whether it is queued again, and how much later.

In: the state in which an attempt ended, and its number. Out: seconds to wait, or nothing.
"""

from dataclasses import dataclass
from datetime import timedelta

from assembler.runtime.scheduler.run import State

_LONGEST_WAIT_SECONDS = 3600.0
_FAILED = frozenset({"failed", "timeout"})


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a job is tried again after a failure: `limit` times, the first after `wait`."""

    limit: int = 0
    wait: timedelta = timedelta(seconds=10)

    def after(self, state: State, attempt: int, *, may_rerun: bool) -> float | None:
        """Return the seconds until the next attempt; None where there is none.

        What failed waits twice as long each time, for an hour at most. What a dying or stopping
        worker took along is queued at once where the job may run again (`on_crash: rerun`), and
        at least once.
        """
        if state in _FAILED and attempt <= self.limit:
            doubled: float = self.wait.total_seconds() * 2 ** min(attempt - 1, 30)
            return min(doubled, max(_LONGEST_WAIT_SECONDS, self.wait.total_seconds()))
        if state in {"lost", "cancelled"} and may_rerun and attempt <= max(1, self.limit):
            return 0.0
        return None
