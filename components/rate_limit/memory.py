"""The store in this process's memory.

In: hits. Out: decisions, at once: no lock, no await, a monotonic clock.
Bounded: at most `max_keys` clients per limit. What is over is swept a shard at a time, as new
clients come, so no hit ever waits for a walk over all of them.

At the bound nothing is evicted, or whoever commands many addresses could wash its own counts (or
a victim's) away. Clients known already keep their counts. New ones share overflow counters,
chosen by a keyed hash: they may be limited together, and never more leniently than alone.
"""

import time
from collections.abc import Callable
from operator import attrgetter
from typing import Annotated

from pydantic import Field

from components.rate_limit.store import Decision, Limit, OnStoreError
from components.rate_limit.windows import Window

_SHARD_KEYS = 1024  # a sweep or a dict's growth at this size takes some ten microseconds
_OVERFLOW = 16  # shared counters per shard
_new = tuple.__new__
_remaining = attrgetter("remaining")


class MemoryStore:
    """Counts in this process alone: with several workers each admits the whole quota."""

    def __init__(
        self,
        *,
        max_keys: Annotated[
            int, Field(ge=1024, le=100_000_000, description="clients kept for each limit")
        ] = 200_000,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if max_keys < 1024:
            raise ValueError("`max_keys` must be at least 1024")
        self._max_keys = max_keys
        self._clock_ns = clock_ns
        self._tables: dict[Limit, Table] = {}

    def counter(
        self, limits: tuple[Limit, ...], *, on_error: OnStoreError = "local"
    ) -> "MemoryCounter":
        """Make a counter; memory cannot fail, so `on_error` says nothing here."""
        tables = [self._table(limit) for limit in limits]
        return tables[0] if len(tables) == 1 else Several(tables)

    def _table(self, limit: Limit) -> "Table":
        if limit not in self._tables:
            self._tables[limit] = Table(limit, self._max_keys, self._clock_ns)
        return self._tables[limit]


class Table:
    """The clients of one limit.

    A shard maps a subject to its state, and the numbers 0 to 15 to the overflow counters.
    """

    __slots__ = (
        "_bucket",
        "_clock_ns",
        "_empty",
        "_ends_ns",
        "_room",
        "_shard_mask",
        "_shards",
        "_sweep_at",
        "_swept",
        "_window",
        "limit",
    )

    def __init__(self, limit: Limit, max_keys: int, clock_ns: Callable[[], int]) -> None:
        shards = 1 << max(max_keys // _SHARD_KEYS - 1, 0).bit_length()
        self.limit = limit
        self._shard_mask = shards - 1
        self._window = Window(limit.rate)
        self._clock_ns = clock_ns
        self._room = max_keys // shards - _OVERFLOW
        self._shards: list[dict[str | int, int]] = [{} for _ in range(shards)]
        self._sweep_at = [64] * shards
        self._swept = [0] * shards
        # The bucket of now, the state of a client without hits in it, and when it is over.
        self._bucket = self._empty = self._ends_ns = 0

    def __len__(self) -> int:
        return sum(map(len, self._shards))

    def hit(self, subject: str | int, cost: int = 1, /) -> Decision:
        """Count one hit; written out flat, since every request passes here."""
        now = self._clock_ns()
        if now >= self._ends_ns:
            self._begin_bucket(now)
        window = self._window
        shard = self._shards[hash(subject) & self._shard_mask]
        state = shard.get(subject)
        if state is None:
            subject, state = self._place(subject, self._bucket)
        # a state of this bucket, less what a client not seen has, is its slots; an older one is less
        slots = state - self._empty
        if slots < 0:
            slots = window.slots_at(state, self._bucket)
            state = self._empty + slots
        remaining = window.quota - slots % window.modulus - cost
        if remaining < 0:
            wait_ns = window.wait_ns(slots, -remaining, now)
            return Decision(False, self.limit, remaining + cost, wait_ns)
        shard[subject] = state + cost
        oldest = ((slots + cost).bit_length() - 1) // window.bits
        free_at = self._ends_ns + (window.buckets - oldest) * window.bucket_ns
        # what Decision(…) does, without its Python frame
        return _new(Decision, (True, self.limit, remaining, free_at - now))

    def _begin_bucket(self, now: int) -> None:
        window = self._window
        self._bucket = now // window.bucket_ns
        self._empty = self._bucket << window.shift
        self._ends_ns = (self._bucket + 1) * window.bucket_ns

    def refusal(self, subject: str, cost: int) -> Decision | None:
        """What `hit` would refuse, without counting anything."""
        window, now = self._window, self._clock_ns()
        bucket = now // window.bucket_ns
        state = self._shards[hash(subject) & self._shard_mask].get(subject)
        if state is None:
            _, state = self._place(subject, bucket)
        slots = window.slots_at(state, bucket)
        remaining = window.quota - slots % window.modulus
        if remaining >= cost:
            return None
        return Decision(False, self.limit, remaining, window.wait_ns(slots, cost - remaining, now))

    def undo(self, subject: str | int, cost: int) -> None:
        """Take back a hit that was admitted just now."""
        shard = self._shards[hash(subject) & self._shard_mask]
        shard[subject if subject in shard else _overflow(subject)] -= cost

    def _place(self, subject: str | int, bucket: int) -> tuple[str | int, int]:
        """Choose where a subject not seen is counted, and with which state it begins."""
        index = hash(subject) & self._shard_mask
        shard = self._shards[index]
        if len(shard) >= self._sweep_at[index] and self._swept[index] != bucket:
            self._sweep(index, bucket)
        # a subject that was counted in an overflow counter takes those counts with it
        overflow = _overflow(subject)
        state = shard.get(overflow, bucket << self._window.shift)
        return (subject if len(shard) < self._room else overflow), state

    def _sweep(self, index: int, bucket: int) -> None:
        """Drop what has left the window; again when twice as many have come, or at the bound."""
        shard, window = self._shards[index], self._window
        oldest = bucket - window.buckets << window.shift
        for subject in [subject for subject, state in shard.items() if state < oldest]:
            del shard[subject]
        self._swept[index] = bucket
        self._sweep_at[index] = max(64, min(self._room, 2 * len(shard)))


class Several:
    """Several limits at once: all are charged or none, as nothing is awaited in between."""

    __slots__ = ("_tables",)

    def __init__(self, tables: list[Table]) -> None:
        self._tables = tables

    def hit(self, subject: str, cost: int = 1, /) -> Decision:
        admitted: list[Decision] = []
        for table in self._tables:
            decision = table.hit(subject, cost)
            if not decision.admitted:
                for charged in self._tables[: len(admitted)]:
                    charged.undo(subject, cost)
                return self._refusal(subject, cost, decision)
            admitted.append(decision)
        return min(admitted, key=_remaining)

    def _refusal(self, subject: str, cost: int, found: Decision) -> Decision:
        """The refusal with the longest wait: before that the hit cannot pass."""
        for table in self._tables:
            other = table.refusal(subject, cost)
            if other is not None and other.wait_ns > found.wait_ns:
                found = other
        return found


def _overflow(subject: str | int) -> int:
    """Python hashes texts with a key of its own, so nobody can choose whom to share with."""
    return (hash(subject) >> 32) % _OVERFLOW


MemoryCounter = Table | Several
