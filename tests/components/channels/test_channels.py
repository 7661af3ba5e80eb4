"""Channels: the same promises in memory, over Redis and over PostgreSQL."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.channels import (
    Channels,
    ChannelsClosed,
    Gap,
    Message,
    Position,
    Subscription,
    SubscriptionEnded,
    memory_channels,
    postgres_channels,
    redis_channels,
)
from components.channels.feed import Feed
from components.channels.message import History, history
from components.database import engine
from tests.waiting import until

KINDS = ["memory", "redis", "postgres"]
Make = Callable[..., Any]


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes channels of one kind, open for the time of a block; each call is another process's."""
    kind: str = request.param
    url: str = request.getfixturevalue(kind) if kind != "memory" else ""
    return opening(kind, url)


def opening(kind: str, url: str) -> Make:
    @asynccontextmanager
    async def made(**options: Any) -> AsyncIterator[Channels]:
        db = engine(url=url) if kind == "postgres" else None
        if kind == "memory":
            channels: Channels = memory_channels(**options)
        elif kind == "redis":
            channels = redis_channels(url=url, **options)
        else:
            channels = postgres_channels(db=db, **options)
        await channels.open()
        try:
            yield channels
        finally:
            await channels.aclose()
            if db is not None:
                await db.dispose()

    made.kind = kind  # type: ignore[attr-defined]  # for tests of several processes
    return made


async def read(subscription: Subscription, count: int) -> list[Any]:
    """The data of that many messages."""
    found: list[Any] = []
    async with asyncio.timeout(30):
        while len(found) < count:
            items = await subscription.next()
            found += [item.data if isinstance(item, Message) else item for item in items]
    return found


def play(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 60))


def test_readers_get_what_is_published_in_order_each_with_its_position(make: Make) -> None:
    async def story() -> None:
        async with make() as channels:
            with await channels.subscribe("c") as one, await channels.subscribe("c") as two:
                positions = [await channels.publish("c", {"n": n}) for n in range(10)]
                assert [p.offset for p in positions] == list(range(1, 11))
                assert len({p.epoch for p in positions}) == 1
                for reader in (one, two):
                    assert await read(reader, 10) == [{"n": n} for n in range(10)]
                    assert reader.position == positions[-1]

    play(story)


def test_channels_do_not_meet(make: Make) -> None:
    async def story() -> None:
        async with make() as channels:
            with await channels.subscribe("a") as a, await channels.subscribe("b.c|x@y-z") as b:
                await channels.publish("a", 1)
                await channels.publish("b.c|x@y-z", 2)
                assert await read(a, 1) == [1]
                assert await read(b, 1) == [2]
                assert a.take() == b.take() == []

    play(story)


def test_who_comes_back_gets_what_was_missed(make: Make) -> None:
    async def story() -> None:
        async with make() as channels:
            first = await channels.publish("c", 0)
            for n in range(1, 300):
                await channels.publish("c", n)
            with await channels.subscribe("c", since=first, queue=5) as reader:
                assert await read(reader, 299) == list(range(1, 300))  # and is not called slow
                await channels.publish("c", 300)
                assert await read(reader, 1) == [300]

    play(story)


@pytest.mark.parametrize("place", ["0123456789ab:3", "0123456789ab:0"])
def test_a_position_of_another_life_is_a_gap(make: Make, place: str) -> None:
    async def story() -> None:
        async with make() as channels:
            top = await channels.publish("c", 1)
            with await channels.subscribe("c", since=Position.parse(place)) as reader:
                assert await reader.next() == [Gap(top, "reset")]
                await channels.publish("c", 2)
                assert await read(reader, 1) == [2]

    play(story)


def test_a_history_that_does_not_reach_back_is_a_gap(make: Make) -> None:
    async def story() -> None:
        async with make(history=10) as channels:
            places = [await channels.publish("c", n) for n in range(100)]
            for back, known in ((11, False), (10, True), (1, True), (0, True)):
                with await channels.subscribe("c", since=places[99 - back]) as reader:
                    if known:
                        assert await read(reader, back) == list(range(100 - back, 100))
                    else:
                        assert await reader.next() == [Gap(places[-1], "history")]
            future = Position(places[0].epoch, 101)
            with await channels.subscribe("c", since=future) as reader:
                assert await reader.next() == [Gap(places[-1], "history")]

    play(story)


def test_a_message_with_a_known_key_is_not_added_again(make: Make) -> None:
    async def story() -> None:
        async with make() as channels:
            first = await channels.publish("c", "once", key="k")
            assert await channels.publish("c", "once", key="k") == first
            assert await channels.publish("d", "other", key="k")
            assert (await channels.publish("c", "more", key="l")).offset == first.offset + 1

    play(story)


@pytest.mark.parametrize(
    "value", ["", None, 0, "a\nb\u2028", {"k": ["₹", "नमस्ते", "😀"]}, "x" * 20_000]
)
def test_any_json_arrives_as_it_was(make: Make, value: Any) -> None:
    async def story() -> None:
        async with make() as channels:
            with await channels.subscribe("c") as reader:
                await channels.publish("c", value)
                (message,) = await reader.next()
            assert isinstance(message, Message)
            assert message.data == value
            assert json.loads(message.frame)["data"] == value
            lines = message.event.decode().split("\n")
            assert lines[0] == f"id: {message.position}"
            assert json.loads(lines[1].removeprefix("data: ")) == value
            assert lines[2:] == ["", ""]

    play(story)


@pytest.mark.parametrize("name", ["", "a b", "a\n", "{x}", "ä", "x" * 201, "a/b"])
def test_names_that_are_none_are_refused(make: Make, name: str) -> None:
    async def story() -> None:
        async with make() as channels:
            with pytest.raises(ValueError, match="the name of a channel"):
                await channels.publish(name, 1)
            with pytest.raises(ValueError, match="the name of a channel"):
                await channels.subscribe(name)

    play(story)


def test_what_json_cannot_say_is_refused(make: Make) -> None:
    async def story() -> None:
        async with make() as channels:
            for value in (float("nan"), object()):
                with pytest.raises((TypeError, ValueError)):
                    await channels.publish("c", value)

    play(story)


def test_a_channel_without_readers_keeps_its_messages(make: Make) -> None:
    async def story() -> None:
        async with make() as channels:
            with await channels.subscribe("c") as reader:
                place = reader.position
            await channels.publish("c", 1)
            with await channels.subscribe("c", since=place) as reader:
                assert await read(reader, 1) == [1]

    play(story)


def test_a_slow_reader_is_told_of_a_gap_or_ended_and_holds_up_nobody(make: Make) -> None:
    async def story() -> None:
        async with make() as channels:
            fast = await channels.subscribe("c", queue=4)
            slow = await channels.subscribe("c", queue=4)
            ended = await channels.subscribe("c", queue=4, overflow="disconnect")
            for n in range(20):
                await channels.publish("c", n)
                assert await read(fast, 1) == [n]
            gap, *rest = await slow.next()
            assert gap == Gap(Position(fast.position.epoch, 16), "slow")
            assert await slow.next() != []
            assert rest == []
            with pytest.raises(SubscriptionEnded, match="too slow") as caught:
                await ended.next()
            assert caught.value.code == 1013
            for reader in (fast, slow, ended):
                reader.aclose()
            assert channels.readers == 0

    play(story)


def test_a_slow_reader_gets_the_newest_messages_after_its_gap() -> None:
    async def story() -> None:
        async with opening("memory", "")() as channels:
            slow = await channels.subscribe("c", queue=4)
            for n in range(20):
                await channels.publish("c", n)
            assert [type(item) for item in await slow.next()] == [Gap]
            assert await read(slow, 4) == [16, 17, 18, 19]

    play(story)


def test_the_end_of_the_service_ends_each_subscription(make: Make) -> None:
    async def story() -> None:
        async with make() as channels:
            readers = [await channels.subscribe("c") for _ in range(3)]
            waiting = [asyncio.create_task(reader.next()) for reader in readers]
            await asyncio.sleep(0)
            await channels.aclose()
            for task in waiting:
                with pytest.raises(SubscriptionEnded, match="restarts") as caught:
                    await task
                assert caught.value.code == 1012
            with pytest.raises(ChannelsClosed):
                await channels.subscribe("c")

    play(story)


def test_a_drain_spreads_the_ends_and_takes_nobody_new(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        channels = memory_channels()
        await channels.open()
        readers = [await channels.subscribe("c") for _ in range(40)]
        loop = asyncio.get_running_loop()
        pauses: list[float] = []
        call_later = loop.call_later

        def noting(delay: float, *rest: Any, **options: Any) -> asyncio.TimerHandle:
            pauses.append(delay)
            return call_later(delay, *rest, **options)

        async def until_ended(reader: Subscription) -> None:
            with pytest.raises(SubscriptionEnded):
                await reader.next()

        waiting = [asyncio.create_task(until_ended(reader)) for reader in readers]
        with monkeypatch.context() as noted:
            noted.setattr(loop, "call_later", noting)
            channels.on_drain(0.5)
        with pytest.raises(ChannelsClosed):
            await channels.subscribe("c")
        await asyncio.wait_for(asyncio.gather(*waiting), 30)
        assert len(pauses) == 40
        assert max(pauses) <= 0.5
        assert max(pauses) - min(pauses) > 0.2  # not one heap
        await channels.aclose()

    play(story)


def test_closed_channels_can_be_opened_again(make: Make) -> None:
    async def story() -> None:
        async with make() as channels:
            await channels.publish("c", 1)
            await channels.aclose()
            await channels.open()
            with await channels.subscribe("c") as reader:
                await channels.publish("c", 2)
                assert await read(reader, 1) == [2]

    play(story)


def test_idle_channels_are_left_and_can_be_read_again(make: Make) -> None:
    async def story() -> None:
        options = {} if make.kind == "memory" else {"linger": timedelta(milliseconds=50)}  # type: ignore[attr-defined]  # of the fixture
        async with make(**options) as channels:
            channels._linger_seconds = 0.05
            with await channels.subscribe("c") as reader:
                place = reader.position
            await until(lambda: not channels._feeds)
            await channels.publish("c", 1)
            with await channels.subscribe("c", since=place) as reader:
                assert await read(reader, 1) == [1]

    play(story)


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_processes_meet_and_keep_one_order(kind: str, request: pytest.FixtureRequest) -> None:
    make = opening(kind, request.getfixturevalue(kind))

    async def story() -> None:
        async with make() as first, make() as second, make() as third:
            readers = [await one.subscribe("c", queue=1000) for one in (first, second, third)]

            async def work(channels: Channels, name: str) -> None:
                for n in range(100):
                    await channels.publish("c", [name, n])

            await asyncio.gather(work(first, "a"), work(second, "b"), work(third, "c"))
            seen = [await read(reader, 300) for reader in readers]
            assert seen[0] == seen[1] == seen[2]
            for name in "abc":
                assert [n for who, n in seen[0] if who == name] == list(range(100))

    play(story)


@pytest.mark.parametrize("kind", ["redis", "postgres"])
def test_a_word_that_is_lost_is_found_by_comparing_positions(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = opening(kind, request.getfixturevalue(kind))

    async def story() -> None:
        async with make(check_interval=timedelta(milliseconds=100)) as channels:
            with await channels.subscribe("c") as reader:
                with monkeypatch.context() as deaf:
                    heard = asyncio.Event()

                    def put_nowhere(_feed: Feed, _message: Message) -> bool:
                        heard.set()
                        return True

                    deaf.setattr(Feed, "put", put_nowhere)
                    await channels.publish("c", 1)
                    await heard.wait()
                assert await read(reader, 1) == [1]

    play(story)


def test_many_who_come_at_once_cost_one_reading() -> None:
    async def story() -> None:
        channels = memory_channels()
        await channels.open()
        calls: list[int] = []
        follow = channels._log.follow

        async def counted(names: Any) -> Any:
            calls.append(len(names))
            return await follow(names)

        channels._log.follow = counted  # type: ignore[method-assign, assignment]  # to be counted
        readers = await asyncio.gather(
            *(channels.subscribe(f"c{n % 20}") for n in range(400)),
        )
        assert calls == [20]
        places = [reader.position for reader in readers]
        for reader in readers:
            reader.aclose()
        await asyncio.gather(
            *(channels.subscribe(f"c{n % 20}", since=p) for n, p in enumerate(places))
        )
        assert calls == [20]  # a storm of those who come back asks nobody
        await channels.aclose()

    play(story)


@given(
    entries=st.lists(st.integers(1, 30), unique=True).map(sorted),
    top=st.integers(0, 30),
)
def test_only_the_unbroken_end_of_what_was_kept_counts(entries: list[int], top: int) -> None:
    found = history(Position("e", top), "", [(n, "", str(n)) for n in entries])
    offsets = [message.position.offset for message in found.messages]
    assert offsets == list(range(top - len(offsets) + 1, top + 1))
    assert top - len(offsets) not in entries or top == len(offsets)


@settings(max_examples=200)
@given(
    moves=st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 3)),
            st.tuples(st.just("read"), st.integers(0, 2)),
            st.tuples(st.just("load"), st.integers(0, 6)),
            st.tuples(st.just("renew"), st.just(0)),
            st.tuples(st.just("back"), st.integers(0, 2)),
        ),
        max_size=60,
    ),
    queue=st.integers(1, 5),
    size=st.integers(1, 8),
)
def test_no_reader_ever_misses_or_doubles_a_message_in_silence(
    moves: list[tuple[str, int]], queue: int, size: int
) -> None:
    """A log of the truth, a feed that loses words, readers that come and go."""

    async def story() -> None:
        epoch, log = 1, 0
        feed = Feed("c", size)

        def load() -> None:
            first = max(0, log - size)
            kept = [(n, "", json.dumps([epoch, n])) for n in range(first + 1, log + 1)]
            feed.load(history(Position(str(epoch), log), "", kept))

        load()
        readers = [feed.subscribe(None, queue=queue, overflow="drop-oldest") for _ in range(3)]
        seen: list[list[Any]] = [[reader.position] for reader in readers]
        for move, number in moves:
            if move == "put":
                log += 1
                if number:  # else the word is lost
                    message = Message(Position(str(epoch), log), json.dumps([epoch, log]))
                    if not feed.put(message):
                        load()
            elif move == "load":
                load()
            elif move == "renew":
                epoch, log = epoch + 1, 0
            elif move == "back":
                place = readers[number].position
                readers[number].aclose()
                readers[number] = feed.subscribe(place, queue=queue, overflow="drop-oldest")
            else:
                seen[number] += readers[number].take()
        load()
        for number, reader in enumerate(readers):
            while found := reader.take():
                seen[number] += found
            assert reader.position == Position(str(epoch), log)
            place = seen[number][0]
            for item in seen[number][1:]:
                if isinstance(item, Message):
                    assert item.position == Position(place.epoch, place.offset + 1)
                    assert item.data == [int(item.position.epoch), item.position.offset]
                place = item.position

    asyncio.run(story())


def test_a_history_is_taken_over_once() -> None:
    feed = Feed("c", 10)
    feed.load(History(Position("e", 0)))
    reader = feed.subscribe(None, queue=10, overflow="drop-oldest")
    feed.begin_loading()
    messages = [Message(Position("e", n), str(n)) for n in range(1, 5)]
    for message in messages[1:]:
        feed.put(message)  # while the history is read
    assert feed.load(History(Position("e", 3), tuple(messages[:3])))
    assert reader.take() == messages
