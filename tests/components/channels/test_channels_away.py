"""Channels while their server is killed, emptied, restarted, full, or behind the wrong pooler."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import text

from components.channels import (
    Channels,
    Gap,
    Message,
    Subscription,
    postgres_channels,
    redis_channels,
)
from components.channels.postgres import _words
from components.database import engine
from tests.servers import PostgresServer, RedisServer, start_pgbouncer, start_redis
from tests.waiting import until

AOF = ("--appendonly", "yes", "--maxmemory-policy", "noeviction", "--appendfsync")


@pytest.fixture
def aof_redis() -> Iterator[RedisServer]:
    with start_redis(*AOF, "always") as server:
        yield server


@pytest.fixture
def forgetful_redis() -> Iterator[RedisServer]:
    with start_redis() as server:
        yield server


async def publish_until_kept(channels: Channels, value: Any, key: str) -> None:
    """As a publisher does that may not lose anything: again, with the same key."""
    while True:
        try:
            await channels.publish("c", value, key=key)
        except Exception:
            await asyncio.sleep(0.02)
        else:
            return


async def seen_by(reader: Subscription, last: Any) -> list[Any]:
    """What a reader gets until `last`; gaps as they are."""
    found: list[Any] = []
    async with asyncio.timeout(30):
        while not found or found[-1] != last:
            items = await reader.next()
            found += [item.data if isinstance(item, Message) else item for item in items]
    return found


async def seen_over_two_kills(server: RedisServer) -> list[list[Any]]:
    """What two readers get of 300 messages, while Redis is killed twice."""
    async with AsyncExitStack() as stack:
        both = [redis_channels(url=server.url) for _ in range(2)]
        for channels in both:
            await channels.open()
            stack.push_async_callback(channels.aclose)
        readers = [await channels.subscribe("c") for channels in both]
        watching = [asyncio.create_task(seen_by(reader, "end")) for reader in readers]
        for n in range(300):
            if n in {100, 200}:
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
            await publish_until_kept(both[n % 2], n, f"k{n}")
        async with asyncio.timeout(30):
            while not all(each.done() for each in watching):
                await both[0].publish("c", "end")  # a gap may stand for the last one
                await asyncio.sleep(0.05)
        return [[item for item in each.result() if item != "end"] for each in watching]


def test_with_its_data_a_redis_that_is_killed_loses_and_doubles_nothing(
    aof_redis: RedisServer,
) -> None:
    for seen in asyncio.run(asyncio.wait_for(seen_over_two_kills(aof_redis), 60)):
        assert seen == list(range(300))


def test_a_redis_that_may_lose_its_last_second_loses_nothing_in_silence() -> None:
    with start_redis(*AOF, "everysec") as server:
        for seen in asyncio.run(asyncio.wait_for(seen_over_two_kills(server), 60)):
            expected, before = 0, None
            for item in seen:
                if not isinstance(item, Gap):
                    assert item == expected or isinstance(before, Gap)
                    assert item >= expected
                    expected = item + 1
                before = item


def test_a_message_in_the_place_of_a_lost_one_is_noticed(redis: str) -> None:
    """As after a crash that took the last messages, when others came before anybody looked."""

    async def story() -> None:
        async with AsyncExitStack() as stack:
            channels = redis_channels(url=redis, check_interval=timedelta(seconds=30))
            await channels.open()
            stack.push_async_callback(channels.aclose)
            reader = await channels.subscribe("c")
            for n in range(5):
                await channels.publish("c", n)
            assert await seen_by(reader, 4) == [0, 1, 2, 3, 4]
            log: Any = channels._log
            head, stream = log._keys("c")
            await log._client.hset(head, mapping={"offset": 7, "tag": "newer"})
            await log._client.delete(stream)
            for offset in range(3, 8):
                await log._client.xadd(stream, {f"newer{offset}": str(offset)}, id=f"{offset}-0")
            channels._lost()
            (gap,) = await asyncio.wait_for(reader.next(), 30)
            assert isinstance(gap, Gap)
            assert gap.reason == "reset"

    asyncio.run(asyncio.wait_for(story(), 60))


def test_without_its_data_every_reader_is_told_of_a_gap_after_a_restart(
    forgetful_redis: RedisServer,
) -> None:
    async def story() -> None:
        channels = redis_channels(url=forgetful_redis.url)
        await channels.open()
        readers = [await channels.subscribe("c") for _ in range(20)]
        away = await channels.subscribe("c")
        await channels.publish("c", 1)
        for reader in readers:
            assert await seen_by(reader, 1) == [1]
        place = away.position
        away.aclose()
        await asyncio.to_thread(forgetful_redis.kill)
        with pytest.raises((RedisError, OSError)):
            await channels.ping()
        await asyncio.to_thread(forgetful_redis.start)
        for reader in readers:  # at once, not with the next message
            (gap,) = await asyncio.wait_for(reader.next(), 30)
            assert isinstance(gap, Gap)
            assert gap.reason == "reset"
        await publish_until_kept(channels, 2, "two")
        for reader in readers:
            assert await seen_by(reader, 2) == [2]
        with await channels.subscribe("c", since=place) as back:
            assert isinstance((await back.next())[0], Gap)
        await channels.ping()
        await channels.aclose()

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_history_that_went_back_begins_anew_for_all(redis: str) -> None:
    """As after a failover to a replica that had not heard of the last messages."""

    async def story() -> None:
        async with AsyncExitStack() as stack:
            both = [
                redis_channels(url=redis, check_interval=timedelta(milliseconds=50))
                for _ in range(2)
            ]
            for channels in both:
                await channels.open()
                stack.push_async_callback(channels.aclose)
            one, two = [await channels.subscribe("c") for channels in both]
            for n in range(5):
                await both[0].publish("c", n)
            await seen_by(one, 4)
            await seen_by(two, 4)
            log: Any = both[0]._log
            head, stream = log._keys("c")
            await log._client.hset(head, "offset", 3)
            await log._client.xtrim(stream, maxlen=0)
            for reader in (one, two):
                (gap,) = await asyncio.wait_for(reader.next(), 30)
                assert isinstance(gap, Gap)
                assert gap.reason == "reset"
            await both[1].publish("c", "new")
            assert await seen_by(one, "new") == ["new"]
            assert await seen_by(two, "new") == ["new"]

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_full_redis_tells_the_publisher_and_loses_nothing(aof_redis: RedisServer) -> None:
    async def story() -> None:
        channels = redis_channels(url=aof_redis.url)
        await channels.open()
        reader = await channels.subscribe("c")
        log: Any = channels._log
        await log._client.config_set("maxmemory", 1)
        with pytest.raises(ResponseError, match="OOM"):
            await channels.publish("c", 1)
        await log._client.config_set("maxmemory", 0)
        await channels.publish("c", 2)
        assert await seen_by(reader, 2) == [2]
        await channels.aclose()

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_redis_that_is_not_there_fails_the_opening_and_a_frozen_one_each_call(
    forgetful_redis: RedisServer,
) -> None:
    async def story() -> None:
        channels = redis_channels(url=forgetful_redis.url, timeout=timedelta(milliseconds=300))
        await channels.open()
        with await channels.subscribe("c") as reader:
            forgetful_redis.freeze()
            for call in (channels.publish("c", 1), channels.subscribe("new"), channels.ping()):
                with pytest.raises((TimeoutError, ConnectionError)):
                    await call
            with await channels.subscribe("c", since=reader.position):
                """What this process knows already is not asked for."""
            forgetful_redis.thaw()
            await until(lambda: channels._feeds["c"].top.offset == 1)  # it did come in the end
            await publish_until_kept(channels, 2, "two")
            assert await seen_by(reader, 2) == [1, 2]
        await channels.aclose()
        await asyncio.to_thread(forgetful_redis.kill)
        with pytest.raises(Exception, match="onnect"):
            await channels.open()

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_listening_connection_that_is_cut_loses_nothing(postgres: str) -> None:
    async def story() -> None:
        db = engine(url=postgres)
        channels = postgres_channels(db=db, check_interval=timedelta(seconds=30))
        await channels.open()
        reader = await channels.subscribe("c")
        watching = asyncio.create_task(seen_by(reader, 59))
        for n in range(60):
            await channels.publish("c", n)
            if n % 20 == 10:
                async with db.begin() as connection:
                    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    await connection.execute(text(cut + "WHERE application_name = 'channels'"))
        assert await watching == list(range(60))
        await channels.ping()
        await channels.aclose()
        await db.dispose()

    asyncio.run(asyncio.wait_for(story(), 60))


def test_one_word_tells_of_many_messages_and_none_is_too_long(postgres: str) -> None:
    async def story() -> None:
        db = engine(url=postgres, pool_size=20)
        channels = postgres_channels(db=db)
        await channels.open()
        log: Any = channels._log
        words: list[str] = []
        hear = log._hear

        def heard(*word: Any) -> None:
            words.append(word[3])
            hear(*word)

        raw = (await log._listening[1].get_raw_connection()).driver_connection
        await raw.add_listener("component_channels", heard)
        readers = [await channels.subscribe(f"c{n}") for n in range(30)]
        big = "x" * 20_000  # more than NOTIFY could carry
        await asyncio.gather(*(channels.publish(f"c{n % 30}", [n, big]) for n in range(300)))
        for reader in readers:
            got = 0
            while got < 10:
                got += len(await asyncio.wait_for(reader.next(), 30))
        assert len(words) < 200
        assert max(map(len, words)) < 8000
        await channels.aclose()
        await db.dispose()

    asyncio.run(asyncio.wait_for(story(), 60))


def test_texts_of_ids_are_cut_before_notify_would_refuse_them() -> None:
    dirty = {10**17 + n: 10**12 for n in range(1000)}
    words = [*_words(dirty)]
    assert all(len(word) < 8000 for word in words)
    told = [tuple(map(int, one.split(":"))) for word in words for one in word.split(",")]
    assert dict(told) == dirty  # type: ignore[arg-type]  # pairs
    assert [*_words({})] == []


def test_messages_are_in_the_order_of_their_commits(postgres: str) -> None:
    """A publisher whose transaction hangs holds the channel's row: nobody overtakes it."""

    async def story() -> None:
        db = engine(url=postgres)
        channels = postgres_channels(db=db)
        await channels.open()
        reader = await channels.subscribe("c")
        await channels.publish("c", 0)
        async with db.connect() as connection:
            await connection.execute(text("SELECT 1 FROM channel_heads FOR UPDATE"))
            late = asyncio.create_task(channels.publish("c", 1))
            other = await asyncio.wait_for(channels.publish("d", 1), 30)  # another channel goes on
            assert other.offset == 1
            assert not late.done()
        assert (await late).offset == 2
        assert await seen_by(reader, 1) == [0, 1]
        await channels.aclose()
        await db.dispose()

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_pooler_in_transaction_mode_is_refused_unless_listening_goes_past_it(
    postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("PgBouncer is not installed")
    monkeypatch.setattr("components.channels.postgres._PROBE_SECONDS", 1.0)

    async def story(pooled: str) -> None:
        db = engine(url=pooled, pooler="transaction")
        channels = postgres_channels(db=db)
        with pytest.raises(ValueError, match="behind a pooler in transaction mode"):
            await channels.open()
        channels = postgres_channels(db=db, listen_url=postgres_server.url)
        await channels.open()
        reader = await channels.subscribe("c")
        await channels.publish("c", 1)
        assert await seen_by(reader, 1) == [1]
        await channels.aclose()
        await db.dispose()

    with start_pgbouncer(postgres_server.url) as pooled:
        asyncio.run(asyncio.wait_for(story(pooled), 60))


@pytest.mark.parametrize(
    ("url", "listen_url", "words"),
    [
        ("sqlite://", None, "`db` is no engine of PostgreSQL, but of sqlite"),
        ("postgresql://u:p@h/d", "mysql://u:p@h/d", "`listen_url` is no URL for asyncpg"),
        ("postgresql+psycopg://u:p@h/d", None, "`listen_url` is no URL for asyncpg"),
    ],
)
def test_what_cannot_be_listened_to_is_refused(
    url: str, listen_url: str | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        postgres_channels(db=engine(url=url), listen_url=listen_url)


def test_what_is_no_redis_url_is_refused() -> None:
    with pytest.raises(ValueError, match="`url` is no Redis URL"):
        redis_channels(url="http://elsewhere")


def test_old_messages_are_forgotten(redis: str, postgres: str) -> None:
    async def story() -> None:
        db = engine(url=postgres)
        for channels in (
            redis_channels(url=redis, history_ttl=timedelta(milliseconds=200)),
            postgres_channels(db=db, history_ttl=timedelta(milliseconds=200)),
        ):
            await channels.open()
            first = await channels.publish("c", 1)
            await channels.publish("c", 2)

            async def is_gone(channels: Channels = channels) -> bool:
                return not (await channels._log.follow(["c"]))[0].messages

            await until(is_gone)
            with await channels.subscribe("c", since=first) as reader:
                (gap,) = await reader.next()
            assert isinstance(gap, Gap)
            await channels.aclose()
        await db.dispose()

    asyncio.run(asyncio.wait_for(story(), 60))
