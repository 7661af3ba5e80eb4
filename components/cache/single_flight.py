"""Many who want the same thing at once -> one computation.

In: a key and how to compute. Out: one result for all who came while it was under way. An error is
told to all of them and kept for nobody. Who is cancelled leaves; the computation goes on for the
others, and to its end.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Flights(Generic[T]):
    """Computations under way, by key."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[T]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._tasks

    async def run(self, key: str, compute: Callable[[], Awaitable[T]]) -> T:
        """Join the computation of `key`, or begin it.

        Raises what it raises, and RuntimeError where it would wait for itself.
        """
        loop = asyncio.get_running_loop()
        task = self._tasks.get(key)
        if task is None or task.get_loop() is not loop:
            task = loop.create_task(_awaited(compute))
            self._tasks[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        elif task is asyncio.current_task():
            raise RuntimeError(f"the computation of `{key}` waits for itself")
        return await asyncio.shield(task)

    def is_current(self, key: str) -> bool:
        """Whether the running task is the computation of `key`, and was not forgotten."""
        return self._tasks.get(key) is asyncio.current_task()

    def forget(self, key: str) -> None:
        """Let nobody else join: what is being computed is out of date."""
        self._tasks.pop(key, None)

    async def close(self) -> None:
        """Cancel what is under way."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._tasks.values() if task.get_loop() is loop]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, key: str, task: "asyncio.Task[T]") -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]
        if not task.cancelled():
            task.exception()  # retrieved: all who asked may be gone


async def _awaited(compute: Callable[[], Awaitable[T]]) -> T:
    return await compute()
