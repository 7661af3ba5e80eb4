"""Cache entries in this process's memory.

In: keys and encoded values. Out: what was written, until its time is over or room is needed.
Bounded by entries and by bytes; what was used longest ago goes first. No lock, no await.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Literal

from components.rate_limit.memory import MemoryStore

_ENTRY_BYTES = 200  # of an entry with an empty key and value, by rule of thumb


class MemoryEntries:
    """Entries with a time to live, the least recently used first."""

    def __init__(
        self, *, max_entries: int, max_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if max_entries < 1 or max_bytes < 1:
            raise ValueError("a cache in memory needs room for at least one entry and byte")
        self.size_bytes = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def read(self, key: str) -> bytes | None:
        """What was written, or None."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock():
            self.remove([key])
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def write(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Keep a value; one that is larger than the whole bound is not kept."""
        self.remove([key])
        size = _size(key, value)
        if size > self._max_bytes:
            return
        self._entries[key] = (self._clock() + ttl_seconds, value)
        self.size_bytes += size
        while self.size_bytes > self._max_bytes or len(self._entries) > self._max_entries:
            self.remove([next(iter(self._entries))])

    def remove(self, keys: Sequence[str]) -> None:
        """Forget the entries of these keys."""
        for key in keys:
            entry = self._entries.pop(key, None)
            if entry is not None:
                self.size_bytes -= _size(key, entry[1])

    def add(self, key: str, amount: int, ttl_seconds: float) -> int:
        """Add to a whole number; a new one begins at 0 and lives for `ttl_seconds`.

        Raises ValueError where the entry is no whole number.
        """
        held = self.read(key)
        try:
            total = int(held or b"0") + amount
        except ValueError:
            raise ValueError("the entry is no whole number") from None
        if held is not None:
            ttl_seconds = self._entries[key][0] - self._clock()
        self.write(key, b"%d" % total, ttl_seconds)
        return total

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.size_bytes = 0


class LocalEntries:
    """Entries in memory, asked as those in Redis are; a limiter counts in memory beside them."""

    state: Literal["ok"] = "ok"
    redis = None

    def __init__(self, entries: MemoryEntries) -> None:
        self._entries = entries
        self.store = MemoryStore()

    async def read(self, key: str) -> bytes | None:
        return self._entries.read(key)

    async def write(self, key: str, value: bytes, ttl_seconds: float) -> None:
        self._entries.write(key, value, ttl_seconds)

    async def remove(self, keys: Sequence[str]) -> None:
        self._entries.remove(keys)

    async def add(self, key: str, amount: int, ttl_seconds: float) -> int:
        return self._entries.add(key, amount, ttl_seconds)

    async def ping(self) -> None:
        """Memory is always there."""

    async def aclose(self) -> None:
        self._entries.clear()


def _size(key: str, value: bytes) -> int:
    return _ENTRY_BYTES + len(key) + len(value)
