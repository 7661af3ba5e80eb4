"""Single items -> batches of them, in their order, none lost and none twice.

In: items, from any thread. Out: one call with all that waited, when the timer of the running event
loop fires, when there are many, when someone asks, before the process forks, when the buffer is thrown
away and when the process ends. Refuses an interval that is not positive.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import cache
from typing import Any
from weakref import WeakSet, finalize

_FULL = 256  # so that no flush keeps the event loop for long, and what waits stays in its caches


class LineBuffer:
    """Keeps items until the interval after the first of them is over.

    Args:
        write: takes the items. It must not hold the owner of this buffer, which could then never
            be thrown away.
        interval: how long an item waits at most.
    """

    def __init__(self, write: Callable[[list[Any]], None], interval: timedelta) -> None:
        if interval <= timedelta(0):
            raise ValueError(f"`flush_interval` must be more than 0, not {interval}")
        self._items: list[Any] = []
        self._write = write
        self._seconds = interval.total_seconds()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.RLock()
        _flushed_before_fork().add(self)
        finalize(self, _drain, self._items, write, self._lock)

    def add(self, item: Any) -> None:
        """Takes an item."""
        self._items.append(item)
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # another event loop (trio), whose timers we do not know
            self.flush()
            return
        # A timer of a loop that is gone never fires: each loop sets its own.
        if loop is not self._loop:
            self._loop = loop
            loop.call_later(self._seconds, self.flush)
        elif len(self._items) >= _FULL:
            self.flush()

    def flush(self) -> None:
        """Writes all that waits."""
        self._loop = None
        _drain(self._items, self._write, self._lock)


def _drain(
    items: list[Any],
    write: Callable[[list[Any]], None],
    lock: AbstractContextManager[Any],
) -> None:
    with lock:
        # Another thread may append meanwhile: take what was copied, and only that.
        if batch := items[:]:
            del items[: len(batch)]
            write(batch)


@cache
def _flushed_before_fork() -> "WeakSet[LineBuffer]":
    """All buffers: a child that inherited their items would write them a second time."""
    buffers: WeakSet[LineBuffer] = WeakSet()

    def flush_all() -> None:
        for buffer in list(buffers):
            buffer.flush()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=flush_all)
    return buffers
