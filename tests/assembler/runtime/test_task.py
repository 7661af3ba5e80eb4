"""Steps are bounded, and run in one task each."""

import asyncio
import contextlib
import contextvars
import functools
import threading
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any

import anyio
import pytest

from assembler.manifest.duration import duration_text
from assembler.runtime import task
from assembler.runtime.task import Owned, StepError, StepTimeout, bounded, call, nothing, within

LONG = timedelta(seconds=30)
SHORT = timedelta(milliseconds=20)


@pytest.fixture(autouse=True)
def _short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "_GRACE_SECONDS", 0.02)


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return asyncio.run(main())


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [(250, "250ms"), (1000, "1s"), (90_000, "90s"), (300_000, "5m"), (7_200_000, "2h")],
)
def test_durations_are_shown_as_a_manifest_says_them(milliseconds: int, shown: str) -> None:
    assert duration_text(timedelta(milliseconds=milliseconds)) == shown


async def thread_name() -> str:
    return threading.current_thread().name


class Callable_:
    async def __call__(self) -> str:
        return threading.current_thread().name


def test_async_functions_run_in_the_loop_and_others_in_a_thread_of_their_own() -> None:
    async def main() -> None:
        here = threading.current_thread().name
        assert await call(thread_name) == here
        assert await call(functools.partial(thread_name)) == here
        assert await call(Callable_()) == here  # its coroutine is awaited in the loop
        assert await call(lambda: threading.current_thread().name) == "assembler-step"
        assert await call(max, 1, 2, key=lambda number: -number) == 1

    run(main)


def test_a_thread_sees_the_context_of_its_caller() -> None:
    current: contextvars.ContextVar[str] = contextvars.ContextVar("current")

    async def main() -> None:
        current.set("here")
        assert await call(current.get) == "here"

    run(main)


def test_an_exception_of_a_thread_is_raised() -> None:
    def fail() -> None:
        raise LookupError("in a thread")

    async def main() -> None:
        with pytest.raises(LookupError, match="in a thread"):
            await call(fail)

    run(main)


@pytest.mark.parametrize("error", [SystemExit(3), StopIteration("end"), KeyboardInterrupt()])
def test_what_a_future_cannot_hold_becomes_a_step_error(error: BaseException) -> None:
    def fail() -> None:
        raise error

    async def main() -> None:
        with pytest.raises(StepError, match=type(error).__name__):
            await bounded(LONG, lambda: call(fail))

    run(main)


def test_a_step_that_hangs_is_cancelled_at_its_limit() -> None:
    ended: list[str] = []

    async def hang() -> None:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def main() -> None:
        with pytest.raises(StepTimeout, match=r"^took longer than its timeout of 20ms$"):
            await bounded(SHORT, hang)

    run(main)
    assert ended == ["cancelled"]


def test_a_step_that_ignores_its_cancellation_is_abandoned_and_the_loop_ends() -> None:
    async def ignore() -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue

    async def main() -> None:
        with pytest.raises(StepTimeout, match=r"20ms, and ignored its cancellation$"):
            await bounded(SHORT, ignore)
        # What is no task of the loop any more is not waited for at its end.
        assert asyncio.all_tasks() == {asyncio.current_task()}

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # «destroyed but pending» is the truth
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())


def test_a_thread_that_blocks_is_abandoned() -> None:
    release = threading.Event()

    async def main() -> None:
        with pytest.raises(StepTimeout):
            await bounded(SHORT, lambda: call(release.wait))

    run(main)
    release.set()  # its result finds the loop closed, and that is no error


def test_entering_and_leaving_happen_in_one_task() -> None:
    tasks: list[Any] = []

    async def note_task() -> None:
        tasks.append(asyncio.current_task())

    async def main() -> None:
        owned = Owned(note_task, note_task)
        await owned.enter(LONG)
        await owned.leave(LONG)
        assert tasks[0] is tasks[1] is not asyncio.current_task()

    run(main)


def test_cancel_scopes_are_left_where_they_were_entered() -> None:
    def scoped() -> Owned:
        scope = anyio.CancelScope()

        async def enter() -> None:
            scope.__enter__()

        async def leave() -> None:
            scope.__exit__(None, None, None)

        return Owned(enter, leave)

    async def main() -> None:
        first, second = scoped(), scoped()
        await first.enter(LONG)
        await second.enter(LONG)
        await first.leave(LONG)  # not in reverse: each has a task of its own
        await second.leave(LONG)

    run(main)


def test_leaving_what_was_never_entered_does_nothing() -> None:
    async def fail() -> None:
        raise AssertionError

    run(lambda: Owned(fail, fail).leave(LONG))


def test_leaving_is_bounded_and_its_failures_are_raised() -> None:
    async def hang() -> None:
        await asyncio.sleep(3600)

    async def main() -> None:
        for leave, error in ((hang, StepTimeout), (_exit, StepError), (_fail, LookupError)):
            owned = Owned(nothing, leave)
            await owned.enter(LONG)
            with pytest.raises(error):
                await owned.leave(SHORT)

    run(main)


async def _exit() -> None:
    raise SystemExit(3)


async def _fail() -> None:
    raise LookupError("the end")


def test_cancelling_who_waits_cancels_the_step() -> None:
    left: list[str] = []

    async def main() -> None:
        entering = asyncio.Event()

        async def hang() -> None:
            entering.set()
            try:
                await asyncio.sleep(3600)
            finally:
                left.append("cleaned up")

        waiting = asyncio.create_task(bounded(LONG, hang))
        await entering.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    run(main)
    assert left == ["cleaned up"]


def test_what_enters_while_it_is_cancelled_is_left() -> None:
    left: list[str] = []

    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)  # and then it has entered all the same

    async def leave() -> None:
        left.append("left")

    async def main() -> None:
        with pytest.raises(StepTimeout):
            await Owned(stubborn, leave).enter(SHORT)

    run(main)
    assert left == ["left"]


def test_a_task_that_is_cancelled_in_between_leaves_at_once() -> None:
    left: list[str] = []

    async def leave() -> None:
        left.append("left")

    async def main() -> None:
        owned = Owned(nothing, leave)
        await owned.enter(LONG)
        [inner] = asyncio.all_tasks() - {asyncio.current_task()}
        inner.cancel()
        await asyncio.wait({inner})
        assert left == ["left"]
        await owned.leave(LONG)

    run(main)
    assert left == ["left"]


def test_an_awaitable_that_a_plain_function_returns_is_awaited() -> None:
    async def answer() -> int:
        return 42

    def ask() -> Awaitable[int]:
        return answer()

    async def main() -> None:
        assert await call(ask) == 42

    run(main)


def test_a_question_that_is_late_is_left_behind_with_what_it_cleans_up() -> None:
    """A driver closes the connection of a cancelled question with politeness, for seconds."""
    cleaned: list[str] = []

    async def main() -> None:
        polite = asyncio.Event()

        async def ask() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await polite.wait()
                cleaned.append("closed")

        with pytest.raises(TimeoutError):
            await within(0.02, ask)
        assert cleaned == []
        [left] = asyncio.all_tasks() - {asyncio.current_task()}
        polite.set()
        await asyncio.wait({left})
        assert cleaned == ["closed"]

    run(main)


def test_a_question_answers_fails_or_is_cancelled_with_who_asks() -> None:
    async def answer() -> int:
        return 42

    async def fail() -> int:
        raise ValueError("no")

    async def cancelled() -> int:
        raise asyncio.CancelledError

    async def main() -> None:
        assert await within(30, answer) == 42
        with pytest.raises(ValueError, match="no"):
            await within(30, fail)
        with pytest.raises(StepError, match="was cancelled"):
            await within(30, cancelled)
        asking = asyncio.create_task(within(30, asyncio.Event().wait))
        await asyncio.sleep(0)
        [inner] = asyncio.all_tasks() - {asyncio.current_task(), asking}
        asking.cancel()
        await asyncio.wait({asking, inner})
        assert (asking.cancelled(), inner.cancelled()) == (True, True)

    run(main)
