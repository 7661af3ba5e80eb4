"""Things that start and stop → bounded, owned by one task each.

In: a function to enter and one to leave, each with a time limit. Out: both run in one and the same
task, since cancel scopes and context variables must be left where they were entered; a step that
hangs is cancelled, and one that ignores that is abandoned, so that it never keeps the rest.
Synchronous functions run in daemon threads of their own: a stuck one cannot keep the process.
"""

import asyncio
import asyncio.tasks
import contextlib
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from assembler.diagnostics.exceptions import failure_of
from assembler.manifest.duration import duration_text

T = TypeVar("T")

_left: "set[asyncio.Future[Any]]" = set()  # cancelled and not over: the loop alone may forget them
_GRACE_SECONDS = 1.0  # for a cancelled step to clean up


class StepError(Exception):
    """A step went wrong, and the text says so without the name of an exception."""

    code = "startup-failed"
    help: str | None = None


class StepTimeout(StepError):  # noqa: N818  # reads as what happened
    """A step took longer than its limit; `abandoned` where it ignored its cancellation."""

    code = "startup-timeout"

    def __init__(self, limit: timedelta, *, abandoned: bool) -> None:
        self.abandoned = abandoned
        super().__init__(self._text(f"its timeout of {duration_text(limit)}"))

    def of(self, timeout: timedelta, limit: timedelta | None = None) -> "StepTimeout":
        """Return what to say of a step with that timeout, of which it had no more than `limit`."""
        if limit is None or limit >= timeout:
            return StepTimeout(timeout, abandoned=self.abandoned)
        cut = StepTimeout(limit, abandoned=self.abandoned)
        cut.args = (self._text(f"the {duration_text(limit)} that `termination_grace` left it"),)
        return cut

    def _text(self, what: str) -> str:
        return (
            f"took longer than {what}{', and ignored its cancellation' if self.abandoned else ''}"
        )


async def call(function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Any:
    """Await an async function; run any other in a thread, and await what it returns if need be."""
    if inspect.iscoroutinefunction(function):
        return await function(*arguments, **options)
    result = await _in_thread(lambda: function(*arguments, **options))
    return await result if inspect.isawaitable(result) else result


async def bounded(limit: timedelta, function: Callable[[], Awaitable[Any]]) -> Any:
    """Run `function` in a task of its own, for at most `limit`; raises `StepTimeout`."""
    result = None

    async def enter() -> None:
        nonlocal result
        result = await function()

    owned = Owned(enter, nothing)
    await owned.enter(limit)
    await owned.leave(limit)
    return result


async def within(seconds: float, question: Callable[[], Awaitable[T]]) -> T:
    """Return the answer of a task of its own. Raises TimeoutError once `seconds` are over.

    What the question has to clean up then, such as a connection that is closed with politeness
    towards a server which hangs, is not waited for.
    """
    task = asyncio.ensure_future(question())
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        if not task.done():
            task.cancel()
            _left.add(task)
            task.add_done_callback(_forget)
    if not task.done():
        raise TimeoutError
    if task.cancelled():
        raise StepError("was cancelled")
    return task.result()


def _forget(task: "asyncio.Future[Any]") -> None:
    _left.discard(task)
    if not task.cancelled():
        task.exception()  # nobody is left to ask


async def nothing() -> None:
    """Stand for the entering or leaving of what needs none."""


class Owned:
    """A pair of `enter` and `leave` that one task runs, however much later the second comes.

    Where the task is cancelled in between, as a task group of the step's own does when one of its
    children fails, it leaves at once.
    """

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
        await self._wait(self._task, entered, limit)
        entered.result()

    async def leave(self, limit: timedelta) -> None:
        """Leave, in the task that entered; raises what leaving raised, or `StepTimeout`."""
        if self._task is None:
            return
        self._leaving.set()
        await self._wait(self._task, self._task, limit)
        if self._task.cancelled():
            raise StepError("was cancelled")
        self._task.result()

    async def _wait(
        self, task: "asyncio.Task[None]", end: "asyncio.Future[None]", limit: timedelta
    ) -> None:
        try:
            await asyncio.wait({end}, timeout=limit.total_seconds())
        except asyncio.CancelledError:
            await self._cancel(task)
            raise
        if not end.done():
            raise StepTimeout(limit, abandoned=await self._cancel(task))

    async def _run(self, entered: "asyncio.Future[None]") -> None:
        try:
            await self._enter()
        except BaseException as error:
            if not entered.done():
                entered.set_exception(_as_exception(error))
                entered.exception()  # retrieved: a step that timed out has nobody left to ask
            if isinstance(error, asyncio.CancelledError):
                raise
            return
        if not entered.done():
            entered.set_result(None)
        with contextlib.suppress(asyncio.CancelledError):
            await self._leaving.wait()
        try:
            await self._leave()
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001  # would end the loop, and the rest must stop
            raise _as_exception(error) from None

    async def _cancel(self, task: "asyncio.Task[None]") -> bool:
        """Cancel the task; return True where it goes on all the same."""
        self._leaving.set()  # it may have entered in this very moment
        task.cancel()
        await asyncio.wait({task}, timeout=_GRACE_SECONDS)
        if not task.done():
            # The end of the loop cancels all tasks and waits for them without a limit.
            asyncio.tasks._unregister_task(task)  # noqa: SLF001  # documented, for other kinds of task
            return True
        if not task.cancelled():
            task.exception()
        return False


def _as_exception(error: BaseException) -> Exception:
    """Return what a future can hold: a step that wants to end the process failed, and no more."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return StepError(failure_of(error)).with_traceback(error.__traceback__)


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
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, daemon=True, name="assembler-step").start()
    return await done
