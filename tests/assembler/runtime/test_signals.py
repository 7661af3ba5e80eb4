"""Signals between a server's handlers and the lifespan, in this process."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from assembler.runtime.report import Assembly
from assembler.runtime.signals import Drain

LONG = timedelta(minutes=10)
SHORT = timedelta(milliseconds=20)
Look = Callable[[], None]


class FakeServer:
    """Takes signals as uvicorn's server does: by a method of its own."""

    def __init__(self, bound: int | None = None) -> None:
        self.heard: list[int] = []
        self.event = asyncio.Event()
        self.config = SimpleNamespace(timeout_graceful_shutdown=bound)
        self.should_exit = False

    def handle_exit(self, number: int, frame: FrameType | None) -> None:
        self.heard.append(number)
        self.should_exit = True
        self.event.set()


@pytest.fixture(autouse=True)
def _handlers_stay() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(main: Callable[[FakeServer], Any], bound: int | None = None) -> FakeServer:
    server = FakeServer(bound)

    async def whole() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, server.handle_exit)
        await main(server)

    asyncio.run(whole())
    return server


def started() -> Assembly:
    return Assembly("m.yaml", "hash", state="started")


def drained(assembly: Assembly, drain: timedelta | None = None, bound: int | None = 10) -> Drain:
    return Drain(assembly, drain=drain, graceful_seconds=bound)


def test_sigterm_turns_readiness_off_and_reaches_the_server_after_the_drain() -> None:
    async def main(server: FakeServer) -> None:
        assembly = started()
        with drained(assembly, SHORT) as drain:
            signal.raise_signal(signal.SIGTERM)
            assert assembly.state == "draining"
            assert not assembly.ready
            assert drain.told_at is not None
            assert server.heard == []
            await server.event.wait()
            assert server.heard == [signal.SIGTERM]
        assert assembly.as_dict()["state"] == "stopping"

    run(main)


def test_without_a_drain_the_server_hears_it_at_once() -> None:
    async def main(server: FakeServer) -> None:
        assembly = started()
        with drained(assembly):
            signal.raise_signal(signal.SIGTERM)
            assert server.heard == [signal.SIGTERM]
            assert assembly.state == "stopping"

    run(main)


def test_sigint_never_drains() -> None:
    async def main(server: FakeServer) -> None:
        with drained(started(), LONG):
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)  # the second one forces
            assert server.heard == [signal.SIGINT, signal.SIGINT]

    run(main)


def test_the_same_order_told_twice_does_not_end_the_drain_and_a_later_one_does() -> None:
    async def main(server: FakeServer) -> None:
        with drained(started(), LONG) as drain:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(0)
            assert server.heard == []
            assert drain.told_at is not None
            drain.told_at -= 2
            signal.raise_signal(signal.SIGTERM)
            assert server.heard == [signal.SIGTERM]

    run(main)


def test_sigint_ends_a_drain() -> None:
    async def main(server: FakeServer) -> None:
        with drained(started(), LONG):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(0)
            signal.raise_signal(signal.SIGINT)
            assert server.heard == [signal.SIGTERM]

    run(main)


def test_a_signal_cancels_the_start_and_nothing_after_it() -> None:
    async def hang(_look: Look) -> None:
        await asyncio.Event().wait()

    async def main(server: FakeServer) -> None:
        with drained(Assembly("m.yaml", "hash", state="starting"), LONG) as drain:
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGTERM)
            assert not await drain.start(hang)
            assert server.heard == [signal.SIGTERM]
            await asyncio.sleep(0)  # is not cancelled

    run(main)


@pytest.mark.parametrize("steps_before", [0, 1])
def test_what_the_server_heard_before_or_by_other_ways_ends_the_start(steps_before: int) -> None:
    done = []

    async def main(server: FakeServer) -> None:
        async def start(look: Look) -> None:
            for step in range(3):
                if step == steps_before:
                    server.handle_exit(signal.SIGTERM, None)
                look()
                done.append(step)

        with drained(Assembly("m.yaml", "hash", state="starting"), LONG) as drain:
            assert not await drain.start(start)
            assert drain.told_at is not None
            await asyncio.sleep(0)  # is not cancelled

    run(main)
    assert done == list(range(steps_before))


def test_what_an_application_within_another_one_was_told_ends_the_start() -> None:
    async def main(server: FakeServer) -> None:
        async def start(look: Look) -> None:
            look()
            raise AssertionError

        with drained(started(), LONG), drained(started(), LONG) as inner:
            server.should_exit = True
            assert not await inner.start(start)

    run(main)


def test_a_signal_that_comes_too_late_to_end_the_start_leaves_the_application_not_ready() -> None:
    async def main(server: FakeServer) -> None:
        assembly = Assembly("m.yaml", "hash", state="starting")

        async def start(_look: Look) -> None:
            signal.raise_signal(signal.SIGTERM)
            assembly.state = "started"

        with drained(assembly, LONG) as drain:
            assert await drain.start(start)
            assert not assembly.ready
            await asyncio.sleep(0)  # is not cancelled
            assert server.heard == [signal.SIGTERM]

    run(main)


def test_a_stop_that_is_under_way_is_not_drained() -> None:
    async def main(server: FakeServer) -> None:
        with drained(Assembly("m.yaml", "hash", state="stopping"), LONG) as drain:
            signal.raise_signal(signal.SIGTERM)
            assert server.heard == [signal.SIGTERM]
            assert drain.assembly.state == "stopping"

    run(main)


def test_a_start_that_is_cancelled_by_others_raises() -> None:
    async def main(server: FakeServer) -> None:
        async def cancelled(_look: Look) -> None:
            raise asyncio.CancelledError

        with drained(started()) as drain, pytest.raises(asyncio.CancelledError):
            await drain.start(cancelled)

    run(main)


def test_handlers_are_put_back_in_whatever_order_applications_end() -> None:
    async def main(server: FakeServer) -> None:
        for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)):
            drains = [drained(started()) for _ in range(3)]
            for drain in drains:
                drain.__enter__()
            for number in order:
                drains[number].__exit__()
            assert signal.getsignal(signal.SIGTERM) == server.handle_exit
            assert signal.getsignal(signal.SIGINT) == server.handle_exit

    run(main)


def test_a_handler_that_others_put_over_ours_stays_and_reaches_the_server() -> None:
    async def main(server: FakeServer) -> None:
        with drained(started(), LONG):
            ours: Any = signal.getsignal(signal.SIGTERM)

            def theirs(number: int, frame: FrameType | None) -> None:
                ours(number, frame)

            signal.signal(signal.SIGTERM, theirs)
        assert signal.getsignal(signal.SIGTERM) is theirs
        signal.raise_signal(signal.SIGTERM)
        assert server.heard == [signal.SIGTERM]

    run(main)


def test_an_unbounded_server_gets_the_bound_and_a_bounded_one_keeps_its_own() -> None:
    async def main(server: FakeServer) -> None:
        with drained(started(), bound=7):
            pass

    assert run(main).config.timeout_graceful_shutdown == 7
    assert run(main, bound=0).config.timeout_graceful_shutdown == 0
    assert run(main, bound=600).config.timeout_graceful_shutdown == 600


def test_signals_that_nobody_handles_stay_as_they_are() -> None:
    async def main() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with drained(started(), LONG):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    asyncio.run(main())


def test_a_server_that_handles_signals_by_its_loop_is_told_of_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: None)
        before = signal.getsignal(signal.SIGTERM)
        with drained(started(), LONG):
            assert signal.getsignal(signal.SIGTERM) is before
        loop.remove_signal_handler(signal.SIGTERM)

    asyncio.run(main())
    assert caplog.messages == [
        "`drain` has no effect under a server that takes SIGTERM by its loop"
    ]


def test_another_thread_leaves_the_signals_alone() -> None:
    async def inside() -> None:
        with drained(started(), LONG):
            pass

    async def main(server: FakeServer) -> None:
        thread = threading.Thread(target=lambda: asyncio.run(inside()))
        thread.start()
        await asyncio.to_thread(thread.join)
        assert signal.getsignal(signal.SIGTERM) == server.handle_exit

    run(main)
