"""What one process does about ticks: claims, runs, ends, and what it reports."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from assembler.manifest.schedule import every
from assembler.runtime.operations.orders import new_order
from assembler.runtime.scheduler.build import Threads
from assembler.runtime.scheduler.claims import Claim, ClaimAnswer
from assembler.runtime.scheduler.context import JobContext, NotMineError
from assembler.runtime.scheduler.engine import Jobs, Pauses
from assembler.runtime.scheduler.execution import Setting
from assembler.runtime.scheduler.job import ScheduledJob
from assembler.runtime.scheduler.memory import MemoryStore
from assembler.runtime.scheduler.namespaced_store import named
from assembler.runtime.scheduler.run import milliseconds, moment
from assembler.runtime.scheduler.store_client import StoreAwayError, StoreClient

SECOND = timedelta(seconds=1)


class Away(MemoryStore):
    """A store that does not answer while `away`; its clock can be set."""

    shared = True

    def __init__(self) -> None:
        self.away = False
        self.asked = 0
        self.offset = 0.0
        super().__init__(clock=lambda: time.time() + self.offset)

    async def claim(self, claim: Claim) -> ClaimAnswer:
        self.asked += 1
        if self.away:
            raise ConnectionError("no route to the store")
        return await super().claim(claim)


def job(run: Callable[[JobContext], Awaitable[Any]], **options: Any) -> ScheduledJob:
    return ScheduledJob(id="job", run=run, schedule=every(SECOND), **options)


def jobs(one: ScheduledJob, store: MemoryStore | None = None, **options: Any) -> Jobs:
    link = StoreClient(store or MemoryStore(), 1.0, options.pop("scrub", str))
    lease = options.pop("lease", timedelta(seconds=30))
    setting = Setting(link, lease, options.pop("scrub", str), options.pop("enter", None))
    return Jobs([one], setting, **options)


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110  # what is waited for sets no event
        await asyncio.sleep(0.01)


def now() -> datetime:
    return datetime.now(UTC)


def test_a_job_is_told_its_tick_and_its_run() -> None:
    told: list[JobContext] = []

    async def run(context: JobContext) -> None:
        told.append(context)
        assert await context.still_mine()

    async def test() -> None:
        made = jobs(job(run))
        await made.open()
        fire = moment(milliseconds(now()) // 1000 * 1000)
        result = await made.tick("job", fire)
        again = await made.tick("job", fire)
        await made.aclose()
        assert (result.outcome, again.outcome) == ("ok", "taken")
        [context] = told
        assert (context.id, context.fire_time, context.attempt) == ("job", fire, 1)
        assert context.run_id == result.run_id
        assert not await context.still_mine()
        with pytest.raises(NotMineError, match="no longer holds its claim"):
            await context.fence(None)

    asyncio.run(test())


def test_a_failing_job_is_logged_without_secrets_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def run(context: JobContext) -> None:
        raise ValueError("hunter2 is wrong")

    async def test() -> None:
        made = jobs(job(run, overlap="allow"), scrub=lambda text: text.replace("hunter2", "***"))
        made.setting = Setting(
            made.setting.link, made.setting.lease, lambda t: t.replace("hunter2", "***")
        )
        await made.open()
        result = await made.run_now("job")
        assert (result.outcome, result.error) == ("failed", "ValueError: *** is wrong")
        assert (await made.tick("job")).outcome == "failed"
        await made.aclose()
        assert made.tally.runs["job"]["failed"] == 2
        assert made.as_dict()["jobs"]["job"]["last"]["error"] == "ValueError: *** is wrong"

    asyncio.run(test())
    record = caplog.records[0]
    assert record.name == "assembler.job"
    assert record.exc_info is not None  # what Sentry's logging integration sends
    assert record.exc_text is not None
    assert record.exc_text.endswith("ValueError: *** is wrong")
    assert "one_run.py" not in record.exc_text  # it begins in the job
    assert "hunter2" not in caplog.text


def test_the_text_of_an_error_can_be_written_down_by_any_store() -> None:
    async def run(context: JobContext) -> None:
        raise ValueError("no \0 and \ud800")

    async def test() -> None:
        made = jobs(job(run))
        await made.open()
        assert (await made.run_now("job")).error == "ValueError: no \\u0000 and \\ud800"
        await made.aclose()

    asyncio.run(test())


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_a_job_that_would_end_the_process_ends_its_run(error: BaseException) -> None:
    async def run(context: JobContext) -> None:
        raise error

    async def test() -> None:
        made = jobs(job(run))
        await made.open()
        assert (await made.run_now("job")).outcome == "failed"
        await made.aclose()

    asyncio.run(test())


def test_a_run_that_takes_too_long_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def run(context: JobContext) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()

    async def test() -> None:
        made = jobs(job(run, timeout=timedelta(milliseconds=50)))
        await made.open()
        result = await made.run_now("job")
        await made.aclose()
        assert result.outcome == "timeout"
        assert result.error == "took longer than its timeout of 50ms"
        assert cancelled.is_set()

    asyncio.run(test())


def test_a_thread_that_ignores_its_timeout_holds_the_claim_until_it_ends() -> None:
    release, began = threading.Event(), threading.Event()

    async def test() -> None:
        threads = Threads(1)

        def work() -> None:
            began.set()
            release.wait(20)

        one = job(lambda _: threads.run(work), timeout=timedelta(milliseconds=20))
        made = jobs(one)
        await made.open()
        first = asyncio.create_task(made.run_now("job"))
        await asyncio.to_thread(began.wait, 20)
        await asyncio.sleep(0.1)
        assert (await made.run_now("job")).outcome == "skipped"
        release.set()
        assert (await first).outcome == "timeout"
        await made.aclose()

    asyncio.run(test())


def test_threads_are_bounded_and_carry_context() -> None:
    most = running = 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    async def test() -> None:
        threads = Threads(2)
        await asyncio.gather(*(threads.run(work) for _ in range(10)))

    asyncio.run(test())
    assert most == 2


def test_the_stop_waits_for_a_run_for_a_bounded_time_and_marks_what_it_cancels(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended: list[str] = []

    began = asyncio.Event()

    async def run(context: JobContext) -> None:
        began.set()
        await asyncio.sleep(seconds)
        ended.append("well")

    seconds = 0.05

    async def test() -> str:
        nonlocal began
        began = asyncio.Event()
        store = MemoryStore()
        made = jobs(job(run), store, close_timeout=timedelta(milliseconds=500))
        await made.open()
        task = asyncio.create_task(made.run_now("job"))
        await began.wait()
        await made.aclose()
        await asyncio.wait({task})
        with pytest.raises(RuntimeError, match="the scheduler is closed"):
            await made.run_now("job")
        [last] = (await store.last_runs(["job"])).values()
        return last.state

    assert asyncio.run(test()) == "ok"
    seconds = 60
    assert asyncio.run(test()) == "cancelled"
    assert ended == ["well"]
    assert "was cancelled, as the process stops" in caplog.text


def test_a_job_that_ignores_its_cancellation_does_not_keep_the_process() -> None:
    async def run(context: JobContext) -> None:
        began.set()
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    began, released = asyncio.Event(), asyncio.Event()

    async def test() -> None:
        store = MemoryStore()
        made = jobs(job(run), store, close_timeout=timedelta(milliseconds=10))
        await made.open()
        task = asyncio.create_task(made.run_now("job"))
        await began.wait()
        start = time.monotonic()
        await made.aclose()
        assert time.monotonic() - start < 20
        [last] = (await store.last_runs(["job"])).values()
        assert last.state == "cancelled"
        released.set()
        await asyncio.wait({task})

    asyncio.run(test())


def test_a_store_that_is_away_lets_nothing_run_and_the_tick_runs_when_it_is_back() -> None:
    ran: list[datetime] = []

    async def run(context: JobContext) -> None:
        ran.append(context.fire_time)

    async def test() -> None:
        store = Away()
        made = jobs(job(run), store)
        await made.open()
        store.away = True
        fire = moment(milliseconds(now()) // 1000 * 1000)
        made.due("job", [fire])
        with pytest.raises(StoreAwayError):
            await made.tick("job")
        await until(lambda: not (store.asked < 3))
        assert ran == []
        assert made.as_dict()["store"] == "ConnectionError: no route to the store"
        store.away = False
        await until(lambda: ran)
        await made.aclose()
        assert ran == [fire]
        assert made.as_dict()["store"] == "ok"

    asyncio.run(test())


def test_a_tick_that_nobody_could_claim_is_recorded_as_missed_once() -> None:
    async def run(context: JobContext) -> None:
        raise AssertionError

    async def test() -> None:
        store = Away()
        made = jobs(job(run, grace=SECOND), store)
        await made.open()
        store.away = True
        fire = moment(milliseconds(now()) // 1000 * 1000)
        made.due("job", [fire])
        await until(lambda: not (made._tasks))
        store.away = False
        store.offset = 5
        await made._keeper.settle()
        await made._keeper.settle()
        await made.aclose()
        assert made.tally.runs["job"] == {"missed": 1}

    asyncio.run(test())


def test_of_several_ticks_at_once_the_latest_runs_and_the_others_are_missed() -> None:
    ran: list[datetime] = []

    async def run(context: JobContext) -> None:
        ran.append(context.fire_time)

    async def test() -> None:
        store = Away()
        made = jobs(job(run), store)
        await made.open()
        last = moment(milliseconds(now()) // 1000 * 1000)
        made.due("job", [last - 2 * SECOND, last - SECOND, last])
        await made._keeper.settle()  # another process may claim them still
        assert "missed" not in made.tally.runs.get("job", {})
        await until(lambda: ran)
        store.offset = 61
        await made._keeper.settle()
        await made.aclose()
        assert ran == [last]
        assert made.tally.runs["job"] == {"ok": 1, "missed": 2}

    asyncio.run(test())


def test_a_clock_that_is_fast_waits_for_the_stores() -> None:
    ran: list[float] = []

    async def run(context: JobContext) -> None:
        ran.append(time.time())

    async def test() -> None:
        made = jobs(job(run))
        await made.open()
        fire = moment(milliseconds(now()) // 1000 * 1000 + 3000)
        made.due("job", [fire])
        await until(lambda: ran)
        await made.aclose()
        assert ran[0] >= fire.timestamp() - 0.01

    asyncio.run(test())


def test_a_tick_far_ahead_is_refused() -> None:
    async def run(context: JobContext) -> None:
        raise AssertionError

    async def test() -> None:
        made = jobs(job(run))
        await made.open()
        with pytest.raises(ValueError, match="is still to come"):
            await made.tick("job", now() + timedelta(hours=1))
        await made.aclose()

    asyncio.run(test())


def test_replace_ends_the_last_run_of_the_same_process_at_once() -> None:
    async def run(context: JobContext) -> None:
        began.set()
        await asyncio.sleep(60 if context.fire_time == first else 0)

    began = asyncio.Event()
    last = moment(milliseconds(now()) // 1000 * 1000)
    first = last - SECOND

    async def test() -> None:
        made = jobs(job(run, overlap="replace"))
        await made.open()
        older = asyncio.create_task(made.tick("job", first))
        await began.wait()
        newer = await made.tick("job", last)
        assert newer.outcome == "ok"
        assert (await older).outcome == "replaced"
        await made.aclose()

    asyncio.run(test())


def test_a_run_that_was_given_up_for_lost_cancels_itself(caplog: pytest.LogCaptureFixture) -> None:
    cancelled: list[bool] = []

    async def run(context: JobContext) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(await context.still_mine())
            raise

    async def test() -> None:
        store = MemoryStore()
        made = jobs(job(run), store, lease=timedelta(milliseconds=150))
        await made.open()
        task = asyncio.create_task(made.run_now("job"))
        await until(lambda: store._running)
        store._running.clear()
        assert (await task).outcome == "lost"
        await made.aclose()
        assert made.tally.runs == {}

    asyncio.run(test())
    assert cancelled == [True] or cancelled == [False]
    assert "was lost, and has been cancelled" in caplog.text


def test_the_context_is_entered_with_the_id_of_the_run() -> None:
    entered: list[str] = []

    async def run(context: JobContext) -> None:
        assert entered == [context.run_id]

    async def test() -> None:
        made = jobs(job(run), enter=entered.append)
        await made.open()
        assert (await made.run_now("job")).outcome == "ok"
        await made.aclose()

    asyncio.run(test())


def test_the_records_of_a_jobs_logger_say_which_run_it_is(caplog: pytest.LogCaptureFixture) -> None:
    async def run(context: JobContext) -> None:
        context.logger.warning("done")

    async def test() -> str | None:
        made = jobs(job(run))
        await made.open()
        result = await made.run_now("job")
        await made.aclose()
        return result.run_id

    run_id = asyncio.run(test())
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert (record.__dict__["job"], record.__dict__["request_id"]) == ("job", run_id)


def test_a_pause_that_is_ordered_while_the_store_is_asked_holds_the_next_tick() -> None:
    """What the store said before the order is believed for no tick after it."""

    async def main() -> None:
        asked, may_answer = asyncio.Event(), asyncio.Event()
        orders: list[Any] = []

        async def open_orders(service: str) -> tuple[int, list[Any]]:
            found = list(orders)
            asked.set()
            await may_answer.wait()
            return 0, found

        store: Any = SimpleNamespace(service="shop", open_orders=open_orders)
        pauses = Pauses(Setting(StoreClient(store, 30.0), SECOND))
        before = asyncio.create_task(pauses.hold("job"))
        await asked.wait()
        orders.append(new_order("pause", "job", "Ann", None, None))
        pauses.forget()
        may_answer.set()
        assert not await before
        assert await pauses.hold("job")

    asyncio.run(main())


class Standing:
    """A clock that never tells of a tick."""

    def start(self, jobs: object, due: object) -> None:
        """Do nothing."""

    def pause(self) -> None:
        """Do nothing."""

    wake = stop = pause


def test_a_run_that_goes_on_in_another_process_keeps_the_next_one_from_beginning() -> None:
    """Without a store the clock is handed over with what runs, until that has ended."""

    async def main() -> None:
        release = asyncio.Event()
        begun: list[str] = []

        async def waits(context: JobContext) -> None:
            begun.append("old")
            await release.wait()

        async def notes(context: JobContext) -> None:
            begun.append("new")

        old, new = (
            jobs(job(waits)),
            jobs(job(notes), cast("Any", named(MemoryStore(), "shop")), clock=Standing()),
        )
        await old.open()
        await new.open(holds_clock=True)
        running = asyncio.create_task(old.tick("job"))
        await asyncio.sleep(0)  # it is asked for, and not yet claimed
        idle: list[str] = []
        new.take_over(old.hand_over(idle.append))
        await until(lambda: begun)
        assert (await new.run_now("job")).outcome == "skipped"
        assert idle == []
        release.set()
        assert (await running).outcome == "ok"
        await until(lambda: idle)
        new.give_back(idle[0])
        await asyncio.sleep(0.002)  # each millisecond is a tick of its own
        assert (await new.run_now("job")).outcome == "ok"
        assert begun == ["old", "new"]
        await old.aclose()
        await new.aclose()

    asyncio.run(main())


def test_a_run_that_goes_on_in_another_process_is_replaced_there() -> None:
    """Without a store the next process says so, and the one before ends its run."""

    async def main() -> None:
        begun: list[str] = []

        async def waits(context: JobContext) -> None:
            begun.append("old")
            await asyncio.Event().wait()

        async def notes(context: JobContext) -> None:
            begun.append("new")

        old, new = (
            jobs(job(waits, overlap="replace")),
            jobs(
                job(notes, overlap="replace"),
                cast("Any", named(MemoryStore(), "shop")),
                clock=Standing(),
            ),
        )
        await old.open()
        await new.open(holds_clock=True)
        running = asyncio.create_task(old.tick("job"))
        await until(lambda: begun)
        replaced: list[str] = []

        def cut(job_id: str) -> None:
            replaced.append(job_id)
            old.cut(job_id)

        new.take_over(old.hand_over(new.give_back), cut)
        await asyncio.sleep(0.002)  # each millisecond is a tick of its own
        assert (await new.run_now("job")).outcome == "ok"
        assert (await running).outcome == "replaced"
        await asyncio.sleep(0.002)
        assert (await new.run_now("job")).outcome == "ok"
        assert (begun, replaced) == (["old", "new", "new"], ["job"])
        await old.aclose()
        await new.aclose()

    asyncio.run(main())
