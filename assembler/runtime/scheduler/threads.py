"""Synchronous jobs → a bounded number of threads, none of which keeps the process.

In: a function. Out: what it returns, once a thread was free and has run it. A thread cannot be
cancelled: whoever is cancelled while waiting for one waits on until it has ended, unless they are
cancelled again.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from assembler.runtime.task import call


class Threads:
    """Runs at most `limit` functions at once, each in a daemon thread."""

    def __init__(self, limit: int) -> None:
        self._free = asyncio.Semaphore(limit)

    async def run(self, function: Callable[[], Any]) -> Any:
        """Run `function` with the context variables of the caller."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def end() -> None:
            self._free.release()
            ended.set()

        def work() -> Any:
            try:
                return function()
            finally:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                    loop.call_soon_threadsafe(end)

        try:
            return await call(work)
        except asyncio.CancelledError:
            await ended.wait()
            raise
