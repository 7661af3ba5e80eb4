"""Things to remember -> those that are neither too old nor too many.

In: keys and values, and a clock in seconds. Out: a value until its lifetime is over or newer ones need
its place. Refuses nothing: the oldest goes first, so that no flood grows the process.
"""

import math
from collections.abc import Callable
from typing import Generic, TypeVar

Clock = Callable[[], float]
_Value = TypeVar("_Value")


class Bounded(Generic[_Value]):
    """At most `capacity` values, each for `lifetime_seconds` after it was put."""

    def __init__(self, capacity: int, clock: Clock, *, lifetime_seconds: float = math.inf) -> None:
        self._capacity = capacity
        self._clock = clock
        self._lifetime_seconds = lifetime_seconds
        # one lifetime for all: the order in which they were put is that in which they end
        self._values: dict[str, tuple[float, _Value]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: str, value: _Value) -> None:
        """Remember `value` anew, as the youngest."""
        self._values.pop(key, None)
        now = self._clock()
        while self._values:
            oldest = next(iter(self._values))
            if self._values[oldest][0] > now and len(self._values) < self._capacity:
                break
            del self._values[oldest]
        self._values[key] = (now + self._lifetime_seconds, value)

    def get(self, key: str) -> _Value | None:
        """The value, if it is still remembered."""
        ends, value = self._values.get(key, (0.0, None))
        return value if ends > self._clock() else None

    def pop(self, key: str) -> _Value | None:
        """The value, which is forgotten."""
        value = self.get(key)
        self._values.pop(key, None)
        return value
