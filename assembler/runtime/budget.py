"""How long the platform waits for the end → how long each step of the stop may take.

In: the budget, the moment when the end was ordered, a clock. Out: a limit for each step: its own
timeout, or less where the rest would be left without time, so that steps that hang never keep the
others from running before the process is killed. Refuses nothing.
"""

import time
from collections.abc import Callable
from datetime import timedelta

_MARGIN = timedelta(seconds=1)  # for the server itself to end
_RESERVE = timedelta(seconds=1)  # that each later step keeps
_LEAST = timedelta(milliseconds=100)  # a step has at least this, however late it is


class Budget:
    """The time from an order to end, on the clock of `time.perf_counter`, to the kill."""

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
