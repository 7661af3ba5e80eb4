"""A pool of threads for work that nobody waits for, such as notifications.

In: functions and their arguments, from coroutines or threads. Out: futures. Refused: work beyond the
bound of the queue, and after the end. Context variables are those of whoever submitted.

At its end the pool takes no more, works off what waits for a bounded time, and cancels the rest. A
thread cannot be cancelled: what hangs is left behind in a daemon thread, and never keeps the process.
"""

import asyncio
import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, TypeVar

from pydantic import Field

__all__ = ["Pool", "PoolClosed", "PoolFull", "pool"]

T = TypeVar("T")

logger = logging.getLogger("components.threads")


class PoolFull(RuntimeError):  # noqa: N818  # reads as what happened
    """As many calls wait as may."""


class PoolClosed(RuntimeError):  # noqa: N818  # reads as what happened
    """The pool takes no more calls."""


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
        self._threads = _Workers(workers, max_waiting, name)

    @property
    def waiting(self) -> int:
        """Calls that no thread has taken yet."""
        return len(self._threads.calls)

    @property
    def running(self) -> int:
        """Calls that threads are busy with."""
        return self._threads.running

    def submit(self, function: Callable[..., T], /, *arguments: Any, **options: Any) -> "Future[T]":
        """Have a function called by a thread; what it raises is logged.

        Raises PoolFull, at once, where `max_waiting` calls wait already, and PoolClosed.
        """
        future = self._threads.put(function, arguments, options)
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
        if self._threads.closed:
            self._threads = _Workers(self._workers, self._max_waiting, self._name)

    async def aclose(self) -> int:
        """Take no more, work off, then cancel; return how many calls were not done."""
        threads = self._threads
        idle = threads.close(asyncio.get_running_loop())
        try:
            await asyncio.wait({idle}, timeout=self._drain_seconds)
        finally:
            cancelled, left = threads.cancel(), threads.running
            if cancelled or left:
                logger.warning(
                    "thread pool `%s` ended: %d waiting calls cancelled, %d running ones left behind",
                    *(self._name, cancelled, left),
                )
        return cancelled + left

    async def _put(
        self, function: Callable[..., T], arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> "Future[T]":
        threads, loop = self._threads, asyncio.get_running_loop()
        while True:
            try:
                return threads.put(function, arguments, options)
            except PoolFull:
                room = threads.wait_for_room(loop)
            try:
                await room
            except asyncio.CancelledError:
                threads.leave_queue(loop, room)
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
    """Make a bounded pool of threads, which begins with none."""
    return Pool(workers=workers, max_waiting=max_waiting, drain_timeout=drain_timeout, name=name)


@dataclass(frozen=True, slots=True)
class _Call:
    future: "Future[Any]"
    context: contextvars.Context
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]


_Waiter = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]
"""A future that tasks of that loop wait for."""


class _Workers:
    """The threads of one life of a pool, and what they share."""

    def __init__(self, most: int, max_waiting: int, name: str) -> None:
        self.calls: deque[_Call] = deque()
        self.running = 0
        self.closed = False
        self._most = most
        self._max_waiting = max_waiting
        self._name = name
        self._threads = 0
        self._changed = threading.Condition()
        self._waiters: deque[_Waiter] = deque()
        self._idle: _Waiter | None = None

    def put(
        self, function: Callable[..., T], arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> "Future[T]":
        call = _Call(Future(), contextvars.copy_context(), function, arguments, options)
        with self._changed:
            if self.closed:
                raise PoolClosed(f"thread pool `{self._name}` is closed")
            if len(self.calls) >= self._max_waiting:
                waiting = len(self.calls)
                raise PoolFull(f"thread pool `{self._name}` is full: {waiting} calls wait")
            self.calls.append(call)
            if self.running + len(self.calls) > self._threads < self._most:
                self._threads += 1
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=self._work, daemon=True, name=name).start()
            self._changed.notify()
        return call.future

    def wait_for_room(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        room: asyncio.Future[None] = loop.create_future()
        with self._changed:
            self._waiters.append((loop, room))
            if self.closed or len(self.calls) < self._max_waiting:
                self._let_one_in()
        return room

    def leave_queue(self, loop: asyncio.AbstractEventLoop, room: "asyncio.Future[None]") -> None:
        with self._changed:
            if (loop, room) in self._waiters:
                self._waiters.remove((loop, room))
            else:
                self._let_one_in()  # the room that was meant for this one is another's

    def close(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Take no more; the future is done when nothing waits or runs."""
        idle: asyncio.Future[None] = loop.create_future()
        with self._changed:
            self.closed = True
            self._idle = (loop, idle)
            while self._waiters:
                self._let_one_in()
            self._tell_if_idle()
            self._changed.notify_all()
        return idle

    def cancel(self) -> int:
        with self._changed:
            calls = [*self.calls]
            self.calls.clear()
        return sum(call.future.cancel() for call in calls)

    def _work(self) -> None:
        while (call := self._next()) is not None:
            if call.future.set_running_or_notify_cancel():
                try:
                    result = call.context.run(call.function, *call.arguments, **call.options)
                except BaseException as error:  # noqa: BLE001  # told by the future
                    call.future.set_exception(error)
                else:
                    call.future.set_result(result)
            del call  # an idle thread keeps nothing alive
            with self._changed:
                self.running -= 1
                self._tell_if_idle()

    def _next(self) -> _Call | None:
        with self._changed:
            while not self.calls:
                if self.closed:
                    return None
                self._changed.wait()
            self.running += 1
            self._let_one_in()
            return self.calls.popleft()

    def _let_one_in(self) -> None:
        while self._waiters:
            if _resolve(*self._waiters.popleft()):
                return

    def _tell_if_idle(self) -> None:
        if self._idle is not None and not self.calls and not self.running:
            _resolve(*self._idle)


def _resolve(loop: asyncio.AbstractEventLoop, waiter: "asyncio.Future[None]") -> bool:
    """Resolve a future of a loop from any thread; False where that loop is closed."""
    try:
        loop.call_soon_threadsafe(lambda: None if waiter.done() else waiter.set_result(None))
    except RuntimeError:
        return False
    return True
