"""A pool of threads for work that nobody waits for, such as notifications.

In: functions and their arguments, from coroutines or threads. Out: futures. Refused: work beyond the
bound of the queue, and after the end. Context variables are those of whoever submitted.

At its end the pool takes no more, works off what waits for a bounded time, and cancels the rest. A
thread cannot be cancelled: what hangs is left behind in a daemon thread, and never keeps the process.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from pydantic import Field

from components.thread_crew import Crew, PoolClosed, PoolFull

__all__ = ["Pool", "PoolClosed", "PoolFull", "pool"]

T = TypeVar("T")

logger = logging.getLogger("components.threads")


class Pool:
    """Starts its threads as calls come; once closed, `open` makes it as new."""

    def __init__(
        self, *, workers: int, max_waiting: int, drain_timeout: timedelta, name: str
    ) -> None:
        if workers < 1 or max_waiting < 1 or drain_timeout < timedelta(0):
            raise ValueError(
                "`workers` and `max_waiting` must be at least 1, and `drain_timeout` not negative"
            )
        self._workers = workers
        self._max_waiting = max_waiting
        self._drain_seconds = drain_timeout.total_seconds()
        self._name = name
        self._crew = Crew(workers, max_waiting, name)

    @property
    def waiting(self) -> int:
        """Calls that no thread has taken yet."""
        return len(self._crew.calls)

    @property
    def running(self) -> int:
        """Calls that threads are busy with."""
        return self._crew.running

    def submit(self, function: Callable[..., T], /, *arguments: Any, **options: Any) -> "Future[T]":
        """Have a function called by a thread; what it raises is logged.

        Raises PoolFull, at once, where `max_waiting` calls wait already, and PoolClosed.
        """
        future = self._crew.put(function, arguments, options)
        future.add_done_callback(self._log_failure)
        return future

    async def enqueue(
        self, function: Callable[..., T], /, *arguments: Any, **options: Any
    ) -> "Future[T]":
        """Do as `submit`, but wait while the queue is full; raises PoolClosed."""
        future = await self._put(function, arguments, options)
        future.add_done_callback(self._log_failure)
        return future

    async def run(self, function: Callable[..., T], /, *arguments: Any, **options: Any) -> T:
        """Wait for room and for the result; raises what the function raises, and PoolClosed."""
        return await asyncio.wrap_future(await self._put(function, arguments, options))

    async def open(self) -> None:
        """Take calls again, where the pool was closed."""
        if self._crew.closed:
            self._crew = Crew(self._workers, self._max_waiting, self._name)

    async def aclose(self) -> int:
        """Take no more, work off, then cancel; return how many calls were not done."""
        crew = self._crew
        idle = crew.close(asyncio.get_running_loop())
        try:
            await asyncio.wait({idle}, timeout=self._drain_seconds)
        finally:
            cancelled, left = crew.cancel(), crew.running
            if cancelled or left:
                logger.warning(
                    "thread pool `%s` ended: %d waiting calls cancelled, %d running ones left behind",
                    *(self._name, cancelled, left),
                )
        return cancelled + left

    async def _put(
        self, function: Callable[..., T], arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> "Future[T]":
        crew, loop = self._crew, asyncio.get_running_loop()
        while True:
            try:
                return crew.put(function, arguments, options)
            except PoolFull:
                room = crew.wish_for_room(loop)
            try:
                await room
            except asyncio.CancelledError:
                crew.drop_wish(loop, room)
                raise

    def _log_failure(self, future: "Future[Any]") -> None:
        if future.cancelled():
            return
        error = future.exception()
        if error is not None:
            logger.error("a call in thread pool `%s` failed", self._name, exc_info=error)


def pool(
    *,
    workers: Annotated[int, Field(ge=1, le=1000, description="threads at most")] = 4,
    max_waiting: Annotated[
        int, Field(ge=1, description="calls that wait at most; more are refused, or wait outside")
    ] = 1000,
    drain_timeout: Annotated[
        timedelta, Field(ge=timedelta(0), description="how long the end waits for what is not done")
    ] = timedelta(seconds=5),
    name: Annotated[
        str, Field(min_length=1, description="of its threads, and in the log")
    ] = "pool",
) -> Pool:
    """Make a pool, without a thread."""
    return Pool(workers=workers, max_waiting=max_waiting, drain_timeout=drain_timeout, name=name)
