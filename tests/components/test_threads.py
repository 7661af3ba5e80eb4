import asyncio
import contextvars
import logging
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from components.threads import Pool, PoolClosed, PoolFull, pool
from tests.waiting import until

word = contextvars.ContextVar("word", default="none")


def busy(made: Pool) -> threading.Event:
    """Fill every thread of a pool of one, until the event is set."""
    go = threading.Event()
    made.submit(go.wait)
    return go


def test_a_call_runs_in_a_daemon_thread_with_the_callers_context() -> None:
    def look(number: int, *, more: int) -> tuple[int, str, bool]:
        return number + more, word.get(), threading.current_thread().daemon

    async def story() -> None:
        made = pool(name="mail")
        word.set("told")
        assert made.submit(look, 1, more=2).result(10) == (3, "told", True)
        assert await made.run(look, 1, more=3) == (4, "told", True)
        assert await made.aclose() == 0

    asyncio.run(story())


def test_no_thread_before_the_first_call_and_no_more_than_workers() -> None:
    async def story() -> None:
        made = pool(workers=3, name="counted")
        threads: set[str] = set()

        def note() -> None:
            threads.add(threading.current_thread().name)
            gate.wait(20)

        assert not any(t.name.startswith("counted") for t in threading.enumerate())
        gate = threading.Barrier(3)
        await asyncio.gather(*(made.run(note) for _ in range(30)))
        assert threads == {"counted-1", "counted-2", "counted-3"}
        await made.aclose()
        await until(lambda: not any(t.name.startswith("counted") for t in threading.enumerate()))

    asyncio.run(story())


def test_a_full_pool_refuses_at_once() -> None:
    async def story() -> None:
        made = pool(workers=1, max_waiting=2)
        go = busy(made)
        await until(lambda: made.running == 1)
        futures = [made.submit(lambda: 1) for _ in range(2)]
        with pytest.raises(PoolFull, match="thread pool `pool` is full: 2 calls wait"):
            made.submit(lambda: 1)
        go.set()
        assert [future.result(10) for future in futures] == [1, 1]
        await made.aclose()

    asyncio.run(story())


def test_who_can_wait_is_let_in_when_there_is_room() -> None:
    async def story() -> None:
        made = pool(workers=1, max_waiting=1)
        go = busy(made)
        await until(lambda: made.running == 1)
        done: list[int] = []
        asking = [asyncio.create_task(made.enqueue(done.append, n)) for n in range(20)]
        leaving = asyncio.create_task(made.run(done.append, 99))
        await asyncio.sleep(0)
        assert made.waiting == 1
        leaving.cancel()
        go.set()
        for future in await asyncio.gather(*asking):
            await asyncio.wrap_future(future)
        assert sorted(done) == list(range(20))
        await made.aclose()

    asyncio.run(story())


def test_nobody_is_forgotten_however_many_leave() -> None:
    async def story() -> None:
        made = pool(workers=2, max_waiting=1)
        tasks = [asyncio.create_task(made.run(lambda: 1)) for _ in range(200)]
        for task in tasks[::3]:
            await asyncio.sleep(0)
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(one == 1 or isinstance(one, asyncio.CancelledError) for one in found)
        assert await made.aclose() == 0

    asyncio.run(story())


def test_a_failure_is_logged_or_told_to_who_waits(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> None:
        raise LookupError("nobody")

    async def story() -> None:
        made = pool()
        with pytest.raises(LookupError, match="nobody"):
            await made.run(fail)
        assert not caplog.records
        made.submit(fail)
        await made.aclose()

    with caplog.at_level(logging.ERROR, logger="components.threads"):
        asyncio.run(story())
    (record,) = caplog.records
    assert record.getMessage() == "a call in thread pool `pool` failed"
    assert record.exc_info is not None


def test_the_end_works_off_what_waits() -> None:
    async def story() -> None:
        made = pool(workers=1)
        done: list[int] = []
        go = busy(made)
        for n in range(5):
            made.submit(done.append, n)
        closing = asyncio.create_task(made.aclose())
        await asyncio.sleep(0)
        with pytest.raises(PoolClosed, match="thread pool `pool` is closed"):
            made.submit(print)
        go.set()
        assert await closing == 0
        assert done == [0, 1, 2, 3, 4]

    asyncio.run(story())


def test_the_end_is_bounded_and_tells_what_was_not_done(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        made = pool(workers=1, max_waiting=3, drain_timeout=timedelta(milliseconds=50), name="mail")
        go = busy(made)
        await until(lambda: made.running == 1)
        futures = [made.submit(print) for _ in range(3)]
        outside = asyncio.create_task(made.enqueue(print))
        await asyncio.sleep(0)
        assert await made.aclose() == 4
        assert all(future.cancelled() for future in futures)
        with pytest.raises(PoolClosed):
            await outside
        await made.open()
        assert await made.run(lambda: 7) == 7
        go.set()
        assert await made.aclose() == 0

    asyncio.run(story())
    messages = [record.getMessage() for record in caplog.records]
    text = "thread pool `mail` ended: 3 waiting calls cancelled, 1 running ones left behind"
    assert messages == [text]


def test_a_call_that_hangs_never_keeps_the_process() -> None:
    code = (
        "import time; from components.threads import pool\n"
        "pool().submit(time.sleep, 3600)\n"
        "print('ended')"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, timeout=30, capture_output=True, check=True
    )
    assert done.stdout == b"ended\n"


@pytest.mark.parametrize(
    "options", [{"workers": 0}, {"max_waiting": 0}, {"drain_timeout": timedelta(-1)}]
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        pool(**options)
