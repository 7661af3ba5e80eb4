"""Things that start and stop → bounded, owned by one task each.

In: a function to enter and one to leave, each with a time limit. Out: both run in one and the same
task, since cancel scopes and context variables must be left where they were entered; a step that
hangs is cancelled, and one that ignores that is abandoned, so that it never keeps the rest.
Synchronous functions run in daemon threads of their own: a stuck one cannot keep the process.
"""

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

_GRACE_SECONDS = 1.0  # for a cancelled step to clean up


class StepTimeout(Exception):  # noqa: N818  # reads as what happened
    """A step took longer than its limit; `abandoned` where it ignored its cancellation."""

    def __init__(self, limit: timedelta, *, abandoned: bool) -> None:
        more = ", and ignored its cancellation" if abandoned else ""
        super().__init__(f"took longer than its timeout of {shown_duration(limit)}{more}")


def shown_duration(limit: timedelta) -> str:
    """Write a duration as a manifest does."""
    milliseconds = round(limit.total_seconds() * 1000)
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


async def call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Await an async function; run any other in a thread, and await what it returns if need be."""
    if inspect.iscoroutinefunction(function):
        return await function(*arguments, **options)
    result = await _in_thread(lambda: function(*arguments, **options))
    return await result if inspect.isawaitable(result) else result


async def bounded(limit: timedelta, function: Callable[[], Awaitable[Any]]) -> None:
    """Run `function` in a task of its own, for at most `limit`; raises `StepTimeout`."""
    owned = Owned(function, _nothing)
    await owned.enter(limit)
    await owned.leave(limit)


class Owned:
    """A pair of `enter` and `leave` that one task runs, however much later the second comes."""

    def __init__(
        self, enter: Callable[[], Awaitable[Any]], leave: Callable[[], Awaitable[Any]]
    ) -> None:
        self._enter = enter
        self._leave = leave
        self._leaving = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def enter(self, limit: timedelta) -> None:
        """Enter; raises what entering raised, or `StepTimeout`."""
        entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(entered))
        try:
            await asyncio.wait({entered}, timeout=limit.total_seconds())
        except asyncio.CancelledError:
            await self._cancel()
            raise
        if not entered.done():
            abandoned = await self._cancel()
            raise StepTimeout(limit, abandoned=abandoned)
        entered.result()

    async def leave(self, limit: timedelta) -> None:
        """Leave, in the task that entered; raises what leaving raised, or `StepTimeout`."""
        if self._task is None:
            return
        self._leaving.set()
        try:
            await asyncio.wait({self._task}, timeout=limit.total_seconds())
        except asyncio.CancelledError:
            await self._cancel()
            raise
        if not self._task.done():
            abandoned = await self._cancel()
            raise StepTimeout(limit, abandoned=abandoned)
        self._task.result()

    async def _run(self, entered: "asyncio.Future[None]") -> None:
        try:
            await self._enter()
        except BaseException as error:
            if not entered.done():
                entered.set_exception(_as_exception(error))
                entered.exception()  # retrieved: a step that timed out has nobody left to ask
            if isinstance(error, Exception):
                return
            raise
        if not entered.done():
            entered.set_result(None)
        await self._leaving.wait()
        await self._leave()

    async def _cancel(self) -> bool:
        """Cancel the task; return True where it goes on all the same."""
        if self._task is None:
            return False
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=_GRACE_SECONDS)
        if not self._task.done():
            return True
        if not self._task.cancelled():
            self._task.exception()
        return False


def _as_exception(error: BaseException) -> Exception:
    """A step that raises SystemExit has failed; it does not end the server by itself."""
    if isinstance(error, Exception):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}".rstrip(": "))


async def _nothing() -> None:
    return None


async def _in_thread(function: Callable[[], Any]) -> Any:
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()
    context = contextvars.copy_context()

    def settle(result: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(_as_exception(error))

    def run() -> None:
        result, error = None, None
        try:
            result = context.run(function)
        except BaseException as raised:  # noqa: BLE001  # carried over to the task that waits
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True, name="assembler-step").start()
    return await done
