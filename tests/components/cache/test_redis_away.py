"""A cache whose Redis goes away, and comes back."""

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from components.cache import Cache, redis_cache
from components.cache import redis as cache_redis
from tests.servers import RedisServer, start_redis
from tests.waiting import until

Story = Callable[[Cache, RedisServer], Awaitable[None]]


def play(story: Story, *arguments: str, **options: Any) -> None:
    """Run a story with a Redis of its own, which it may kill."""

    async def run(server: RedisServer) -> None:
        options.setdefault("probe_interval", timedelta(milliseconds=20))
        cache = redis_cache(url=server.url, **options)
        try:
            await cache.open()
            await story(cache, server)
        finally:
            await cache.aclose()

    with start_redis(*arguments) as server:
        asyncio.run(run(server))


async def until_back(cache: Cache) -> None:
    await until(lambda: cache.state == "ok")


def test_memory_serves_while_redis_is_away_and_redis_when_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(cache: Cache, server: RedisServer) -> None:
        await cache.set("a", 1)
        await cache.ping()
        server.kill()
        found = await asyncio.gather(*(cache.get("a") for _ in range(30)))
        assert found == [None] * 30
        assert cache.state == "degraded"
        await cache.set("a", 2)
        assert await cache.get("a") == 2
        assert await cache.increment("n") == 1
        with pytest.raises(ConnectionError, match="Redis is away"):
            await cache.ping()
        with pytest.raises(ConnectionError):
            await cache.open()
        server.start()
        await until_back(cache)
        await cache.ping()
        assert await cache.get("a") is None
        await cache.set("a", 3)
        assert Redis.from_url(server.url).get("cache::a") == b"3"

    with caplog.at_level(logging.WARNING, logger="components.cache"):
        play(story)
    away, back = [record.getMessage() for record in caplog.records]
    assert away.startswith("the cache's Redis is away (")
    assert away.endswith("; this process's memory serves")
    assert back == "the cache's Redis is back"


@pytest.mark.parametrize("most", [10_000, 1])
def test_what_changed_meanwhile_does_not_come_back_old(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    """Redis keeps its content through a freeze: with many changes everything is forgotten."""
    monkeypatch.setattr(cache_redis, "_MOST_UNSURE", most)

    async def story(cache: Cache, server: RedisServer) -> None:
        for key in ("deleted", "changed", "untouched"):
            await cache.set(key, "old")
        Redis.from_url(server.url).set("foreign", "kept")
        server.freeze()
        await cache.delete("deleted")
        await cache.set("changed", "new")
        assert await cache.get("changed") == "new"
        server.thaw()
        await until_back(cache)
        assert await cache.get("deleted") is None
        assert await cache.get("changed") is None
        assert await cache.get("untouched") == ("old" if most > 1 else None)
        assert Redis.from_url(server.url).get("foreign") == b"kept"

    play(story, timeout=timedelta(seconds=1))


def test_a_redis_that_never_answers_costs_one_deadline() -> None:
    async def story(cache: Cache, server: RedisServer) -> None:
        server.freeze()
        loop = asyncio.get_running_loop()
        begin = loop.time()
        await asyncio.gather(*(cache.get(f"{n}") for n in range(100)))
        for n in range(100):
            await cache.get(f"{n}")
        assert loop.time() - begin < 20  # of the two hundred that each its own would cost
        assert cache.state == "degraded"

    play(story, timeout=timedelta(seconds=1))


def test_a_redis_that_is_full_is_away_though_it_answers() -> None:
    async def story(cache: Cache, server: RedisServer) -> None:
        plain = Redis.from_url(server.url)
        plain.config_set("maxmemory", "1")
        await cache.set("a", 1)
        assert cache.state == "degraded"
        assert await cache.get("a") == 1
        with pytest.raises(TimeoutError):
            await until(lambda: cache.state == "ok", seconds=0.2)
        plain.config_set("maxmemory", "0")
        await until_back(cache)

    play(story, "--maxmemory-policy", "noeviction")


def test_an_absent_redis_shows_when_the_cache_is_opened() -> None:
    with start_redis() as server:
        url = server.url

    async def story() -> None:
        cache = redis_cache(url=url)
        with pytest.raises(Exception, match="connecting"):
            await cache.open()
        await cache.set("a", 1)
        assert await cache.get("a") == 1
        await cache.aclose()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(story())


def test_calls_beyond_the_connections_wait_for_one() -> None:
    async def story(cache: Cache, server: RedisServer) -> None:
        await asyncio.gather(*(cache.set(f"{n}", n) for n in range(200)))
        found = await asyncio.gather(*(cache.get(f"{n}") for n in range(200)))
        assert found == list(range(200))
        info: Any = Redis.from_url(server.url).info("clients")
        assert info["connected_clients"] <= 4  # and the one that asks

    play(story, max_connections=3, timeout=timedelta(seconds=10))


def test_an_entry_of_another_kind_is_told_and_opens_nothing() -> None:
    async def story(cache: Cache, server: RedisServer) -> None:
        Redis.from_url(server.url).rpush("cache::a", "x")
        with pytest.raises(ValueError, match="the entry is not what this call is for"):
            await cache.get("a")
        assert cache.state == "ok"
        await cache.set("a", 1)
        assert await cache.get("a") == 1

    play(story, timeout=timedelta(seconds=10))


def test_a_cache_serves_one_event_loop_after_another() -> None:
    async def once(cache: Cache, *, close: bool) -> None:
        await cache.increment("n")
        if close:
            await cache.aclose()

    with start_redis() as server:
        cache = redis_cache(url=server.url, timeout=timedelta(seconds=10))
        for _ in range(3):
            asyncio.run(once(cache, close=True))
        assert Redis.from_url(server.url).get("cache::n") == b"3"


def test_a_cluster_keeps_entries_and_forgets_what_changed() -> None:
    async def story(url: str, server: RedisServer) -> None:
        cache = redis_cache(
            url=url,
            timeout=timedelta(seconds=1),
            probe_interval=timedelta(milliseconds=20),
        )
        await cache.open()
        for number in range(20):
            await cache.set(f"{number}", "old")
        assert await cache.increment("n") == 1
        assert [await cache.get(f"{number}") for number in range(20)] == ["old"] * 20
        server.freeze()
        await cache.delete("0", "1", "2")
        await cache.set("3", "new")
        server.thaw()
        await until_back(cache)
        assert [await cache.get(f"{number}") for number in range(5)] == [None] * 4 + ["old"]
        await cache.aclose()

    with start_redis("--cluster-enabled", "yes") as server:
        with Redis.from_url(server.url) as client:
            command: Any = client.execute_command
            command("CLUSTER", "ADDSLOTS", *range(16384))
            while b"cluster_state:ok" not in command("CLUSTER", "INFO"):
                time.sleep(0.02)
        asyncio.run(story(f"redis+cluster://127.0.0.1:{server.port}", server))


def test_sentinel_names_the_master(tmp_path: Path) -> None:
    async def story(url: str) -> None:
        cache = redis_cache(url=url, timeout=timedelta(seconds=10))
        await cache.open()
        await cache.set("a", 1)
        assert await cache.get("a") == 1
        await cache.aclose()

    with start_redis() as master:
        settings = tmp_path / "sentinel.conf"
        settings.write_text(f"sentinel monitor main 127.0.0.1 {master.port} 1\n")
        with start_redis(sentinel=settings) as sentinel:
            asyncio.run(story(f"redis+sentinel://127.0.0.1:{sentinel.port}/main"))
        assert Redis.from_url(master.url).get("cache::a") == b"1"


def test_a_cache_in_memory_imports_no_redis() -> None:
    code = (
        "import sys; from components.cache import memory_cache; memory_cache(); "
        "sys.exit('redis' in sys.modules)"
    )
    root = Path(__file__).parents[3]
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=root, check=False, timeout=100).returncode
        == 0
    )
