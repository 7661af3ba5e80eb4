"""The interface of a cache, over memory and over a real Redis."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.cache import Cache, memory_cache, redis_cache
from components.cache.memory import MemoryEntries
from components.rate_limit.rates import parse_rates
from components.rate_limit.store import Decision, Store, name_limits
from tests.servers import RedisServer, start_redis
from tests.waiting import until

Story = Callable[[Cache], Awaitable[None]]
Play = Callable[[Story], None]
SECOND = timedelta(seconds=1)


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with start_redis() as started:
        yield started


@pytest.fixture(params=["memory", "redis"])
def play(request: pytest.FixtureRequest) -> Play:
    """Run a story in an event loop of its own with a cache of its own."""
    if request.param == "redis":
        url = request.getfixturevalue("server").url

    async def run(story: Story) -> None:
        if request.param == "memory":
            cache = memory_cache()
        else:
            cache = redis_cache(url=url, prefix=f"{uuid.uuid4()}:", timeout=10 * SECOND)
        await cache.open()
        try:
            await story(cache)
            assert cache.state == "ok"
        finally:
            await cache.aclose()

    return lambda story: asyncio.run(run(story))


def counted(value: Any) -> tuple[list[int], Callable[[], Awaitable[Any]]]:
    """A computation that waits a moment, and the list of its calls."""
    calls: list[int] = []

    async def make() -> Any:
        calls.append(1)
        await asyncio.sleep(0.05)
        if isinstance(value, Exception):
            raise value
        return value

    return calls, make


def test_what_was_set_is_read_until_it_is_deleted(play: Play) -> None:
    async def story(cache: Cache) -> None:
        assert await cache.get("a") is None
        assert await cache.get("a", default=7) == 7
        for value in ({"n": [1, 2.5, None, "ß"]}, b"\x00\xff", b"", "", 0, False, None):
            await cache.set("a", value)
            assert await cache.get("a", default="absent") == value
        await cache.delete("a", "b")
        assert await cache.get("a", default="absent") == "absent"
        await cache.delete()

    play(story)


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), {"a": object()}])
def test_a_value_that_is_neither_json_nor_bytes_is_refused(play: Play, value: object) -> None:
    async def story(cache: Cache) -> None:
        with pytest.raises((TypeError, ValueError)):
            await cache.set("a", value)

    play(story)


def test_an_entry_ends_with_its_time(play: Play) -> None:
    async def story(cache: Cache) -> None:
        await cache.set("short", 1, ttl=timedelta(milliseconds=30))
        await cache.set("long", 1, ttl=timedelta(seconds=60))

        async def is_over() -> bool:
            return await cache.get("short") is None

        await until(is_over)
        assert await cache.get("long") == 1
        with pytest.raises(ValueError, match="`ttl` must be more than 0"):
            await cache.set("a", 1, ttl=timedelta(0))

    play(story)


def test_each_reader_has_its_own_copy(play: Play) -> None:
    async def story(cache: Cache) -> None:
        value = {"list": [1]}
        await cache.set("a", value)
        value["list"].append(2)
        (await cache.get("a"))["list"].append(3)
        assert await cache.get("a") == {"list": [1]}
        _, make = counted(value)
        first, second = await asyncio.gather(
            cache.get_or_set("b", make), cache.get_or_set("b", make)
        )
        assert first == second
        assert first is not second

    play(story)


def test_namespaces_never_meet(play: Play) -> None:
    async def story(cache: Cache) -> None:
        parts = {
            "a:b": cache,
            "b": cache.namespace("a"),
            "c": cache.namespace("a").namespace("b"),
            "b:c": cache.namespace("a"),
        }
        for key, part in parts.items():
            await part.set(key, key)
        for key, part in parts.items():
            assert await part.get(key) == key
        for bad in ("", "a:b", "a.b"):
            with pytest.raises(ValueError, match="no name of a namespace"):
                cache.namespace(bad)
        with pytest.raises(ValueError, match="must not be empty"):
            await cache.get("")

    play(story)


def test_a_count_lives_from_its_first_step(play: Play) -> None:
    async def story(cache: Cache) -> None:
        found = await asyncio.gather(*(cache.increment("n") for _ in range(20)))
        assert sorted(found) == list(range(1, 21))
        assert await cache.get("n") == 20
        assert await cache.increment("n", -5) == 15
        await cache.increment("short", ttl=timedelta(milliseconds=50))

        async def begins_anew() -> bool:
            return await cache.increment("short", ttl=timedelta(seconds=60)) == 1

        await until(begins_anew)
        await cache.set("text", "x")
        with pytest.raises(ValueError, match="the entry is"):
            await cache.increment("text")

    play(story)


def test_tasks_that_ask_at_once_share_one_computation(play: Play) -> None:
    async def story(cache: Cache) -> None:
        calls, make = counted([1])
        found = await asyncio.gather(*(cache.get_or_set("a", make) for _ in range(50)))
        assert found == [[1]] * 50
        assert await cache.get_or_set("a", make) == [1]
        assert len(calls) == 1

    play(story)


def test_none_is_a_value_like_any_other(play: Play) -> None:
    async def story(cache: Cache) -> None:
        calls, make = counted(None)
        assert [await cache.get_or_set("a", make) for _ in range(3)] == [None] * 3
        assert len(calls) == 1

    play(story)


def test_an_error_is_told_to_all_and_kept_for_nobody(play: Play) -> None:
    async def story(cache: Cache) -> None:
        calls, make = counted(LookupError("no"))
        found = await asyncio.gather(
            *(cache.get_or_set("a", make) for _ in range(5)), return_exceptions=True
        )
        assert all(isinstance(one, LookupError) for one in found)
        assert len(calls) == 1
        _, good = counted(3)
        assert await cache.get_or_set("a", good) == 3

    play(story)


def test_cancelling_who_asked_first_disturbs_nobody(play: Play) -> None:
    async def story(cache: Cache) -> None:
        calls, make = counted(1)
        first = asyncio.create_task(cache.get_or_set("a", make))
        await until(lambda: bool(calls))
        second = asyncio.create_task(cache.get_or_set("a", make))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 1
        assert first.cancelled()
        assert len(calls) == 1

    play(story)


def test_a_computation_whose_askers_all_left_is_kept(play: Play) -> None:
    async def story(cache: Cache) -> None:
        calls, make = counted(1)
        only = asyncio.create_task(cache.get_or_set("a", make))
        await until(lambda: bool(calls))
        only.cancel()

        async def is_kept() -> bool:
            return bool(await cache.get("a") == 1)

        await until(is_kept)

    play(story)


@pytest.mark.parametrize("change", ["delete", "set"])
def test_what_changed_during_a_computation_is_not_overwritten(play: Play, change: str) -> None:
    async def story(cache: Cache) -> None:
        calls, make = counted("old")
        asking = asyncio.create_task(cache.get_or_set("a", make))
        await until(lambda: bool(calls))
        await (cache.delete("a") if change == "delete" else cache.set("a", "new"))
        assert await asking == "old"
        assert await cache.get("a") == (None if change == "delete" else "new")

    play(story)


def test_a_computation_that_waits_for_itself_is_told_so(play: Play) -> None:
    async def story(cache: Cache) -> None:
        async def make() -> int:
            return await cache.get_or_set("a", make)

        with pytest.raises(RuntimeError, match="waits for itself"):
            await cache.get_or_set("a", make)

    play(story)


def test_closing_cancels_what_is_being_computed() -> None:
    async def story() -> None:
        cache = memory_cache()
        forever = asyncio.Event()
        asking = asyncio.create_task(cache.get_or_set("a", forever.wait))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await cache.aclose()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(story())


def test_a_cache_is_a_store_of_a_rate_limit(play: Play) -> None:
    async def story(cache: Cache) -> None:
        assert isinstance(cache, Store)
        counter = cache.counter(name_limits("test", parse_rates("3/minute")))
        admitted = 0
        for _ in range(5):
            found = counter.hit("somebody")
            decision = found if isinstance(found, Decision) else await found
            admitted += decision.admitted
        assert admitted == 3

    play(story)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


KEYS = st.sampled_from("abcdefgh")
STEPS = st.one_of(
    st.tuples(st.just("write"), KEYS, st.integers(0, 400), st.integers(1, 20)),
    st.tuples(st.just("read"), KEYS),
    st.tuples(st.just("remove"), KEYS),
    st.tuples(st.just("wait"), st.integers(1, 10)),
)


@given(st.lists(STEPS, max_size=60))
def test_memory_is_bounded_and_never_tells_anything_else(steps: list[tuple[Any, ...]]) -> None:
    clock, model = Clock(), dict[str, tuple[float, bytes]]()
    entries = MemoryEntries(max_entries=5, max_bytes=2000, clock=clock)
    for kind, *given_ in steps:
        if kind == "wait":
            clock.now += given_[0]
            continue
        key = given_[0]
        if kind == "write":
            value = b"x" * given_[1]
            entries.write(key, value, given_[2])
            model[key] = (clock.now + given_[2], value)
            assert entries.read(key) == value
        elif kind == "remove":
            entries.remove([key])
            model.pop(key, None)
            assert entries.read(key) is None
        else:
            found = entries.read(key)
            expires, value = model.get(key, (0.0, b""))
            assert found is None or (found == value and clock.now < expires)
        assert len(entries) <= 5
        assert entries.size_bytes <= 2000
        sizes = [200 + len(k) + len(v) for k, (_, v) in entries._entries.items()]
        assert entries.size_bytes == sum(sizes)


def test_what_was_used_longest_ago_makes_room() -> None:
    entries = MemoryEntries(max_entries=2, max_bytes=10_000)
    entries.write("a", b"1", 60)
    entries.write("b", b"2", 60)
    entries.read("a")
    entries.write("c", b"3", 60)
    assert [entries.read(key) for key in "abc"] == [b"1", None, b"3"]
    entries.write("huge", b"x" * 20_000, 60)
    assert entries.read("huge") is None
    assert len(entries) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "http://h"}, "`url` is no Redis URL"),
        ({"url": "redis://h", "timeout": timedelta(0)}, "`timeout` must be at least"),
        ({"url": "redis://h", "max_connections": 0}, "`max_connections` must be"),
        ({"url": "redis://h", "memory_entries": 0}, "needs room"),
        ({"url": "redis://h", "default_ttl": timedelta(0)}, "`ttl` must be"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        redis_cache(**options)
