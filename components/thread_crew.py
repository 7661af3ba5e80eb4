"""Calls → threads that run them, for one life of a pool.

In: functions and their arguments, from any thread. Out: futures; words to a loop when there is room
and when all is done. Refused: calls beyond the bound, and after the end. A thread is started when
there is work for it, and is a daemon: what hangs in it never keeps the process.
"""

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


class PoolFull(RuntimeError):  # noqa: N818  # reads as what happened
    """As many calls wait as may."""


class PoolClosed(RuntimeError):  # noqa: N818  # reads as what happened
    """The pool takes no more calls."""


@dataclass(frozen=True, slots=True)
class _Call:
    future: "Future[Any]"
    context: contextvars.Context
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]


_Wish = tuple[asyncio.AbstractEventLoop, "asyncio.Future[None]"]


class Crew:
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
        self._wishes: deque[_Wish] = deque()
        self._idle: _Wish | None = None

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

    def wish_for_room(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        room: asyncio.Future[None] = loop.create_future()
        with self._changed:
            self._wishes.append((loop, room))
            if self.closed or len(self.calls) < self._max_waiting:
                self._grant()
        return room

    def drop_wish(self, loop: asyncio.AbstractEventLoop, room: "asyncio.Future[None]") -> None:
        with self._changed:
            if (loop, room) in self._wishes:
                self._wishes.remove((loop, room))
            else:
                self._grant()  # the room that was meant for this one is another's

    def close(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None]":
        """Take no more; the future is done when nothing waits or runs."""
        idle: asyncio.Future[None] = loop.create_future()
        with self._changed:
            self.closed = True
            self._idle = (loop, idle)
            while self._wishes:
                self._grant()
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
            self._grant()
            return self.calls.popleft()

    def _grant(self) -> None:
        while self._wishes:
            if _tell(*self._wishes.popleft()):
                return

    def _tell_if_idle(self) -> None:
        if self._idle is not None and not self.calls and not self.running:
            _tell(*self._idle)


def _tell(loop: asyncio.AbstractEventLoop, wish: "asyncio.Future[None]") -> bool:
    """Fulfil a wish of a loop; False where that loop is closed."""
    try:
        loop.call_soon_threadsafe(lambda: None if wish.done() else wish.set_result(None))
    except RuntimeError:
        return False
    return True
