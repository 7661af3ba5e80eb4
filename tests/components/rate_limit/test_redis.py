import asyncio
import random
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from components.rate_limit.endpoint import EndpointRateLimiter
from components.rate_limit.rates import parse_rates
from components.rate_limit.redis import RedisStore
from components.rate_limit.redis_link import ConnectionLink, link_to
from components.rate_limit.redis_script import LUA, plan_text
from components.rate_limit.store import Counter, Decision, Limit, OnStoreError, name_limits
from tests.components.rate_limit.play import play
from tests.servers import RedisServer, free_port, start_redis

LONG = timedelta(seconds=10)  # where a slow machine must not matter
SHORT = timedelta(milliseconds=50)


def limits(limit: str | list[str], name: str = "test") -> tuple[Limit, ...]:
    return name_limits(name, parse_rates(limit))


async def decide(counter: Counter, subject: str, cost: int = 1) -> Decision:
    found = counter.hit(subject, cost)
    return found if isinstance(found, Decision) else await found


def with_store(
    server: RedisServer, story: Callable[[RedisStore], Awaitable[None]], **options: Any
) -> None:
    """Run a story in an event loop of its own with a store of its own."""

    async def run() -> None:
        options.setdefault("url", server.url)
        options.setdefault("prefix", f"{uuid.uuid4()}:")
        options.setdefault("store_timeout", LONG)
        options.setdefault("probe_interval", timedelta(milliseconds=20))
        store = RedisStore(**options)
        try:
            await story(store)
        finally:
            await store.aclose()

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # the breaker tells nobody
            await asyncio.sleep(0.01)


def test_exactly_the_quota_is_admitted_at_any_concurrency(redis_server: RedisServer) -> None:
    async def story(store: RedisStore) -> None:
        counter = store.counter(limits("50/minute"))
        found = await asyncio.gather(*[decide(counter, "a") for _ in range(400)])
        assert sum(one.admitted for one in found) == 50
        assert sorted(one.remaining for one in found if one.admitted) == list(range(50))

    with_store(redis_server, story)


def test_stores_with_one_prefix_share_their_counts(redis_server: RedisServer) -> None:
    async def story(store: RedisStore) -> None:
        other = RedisStore(url=redis_server.url, prefix=store.prefix, store_timeout=LONG)
        counters = [one.counter(limits("9/minute")) for one in (store, other)]
        found = [await decide(counters[n % 2], "a") for n in range(20)]
        assert sum(one.admitted for one in found) == 9
        await other.aclose()

    with_store(redis_server, story)


def test_several_limits_are_charged_together_or_not_at_all(redis_server: RedisServer) -> None:
    async def story(store: RedisStore) -> None:
        wide = limits("10/minute", "wide")
        both = store.counter((*wide, *limits("2/hour", "narrow")))
        found = [await decide(both, "a") for _ in range(5)]
        assert [one.admitted for one in found] == [True, True, False, False, False]
        assert found[-1].limit is not None
        assert found[-1].limit.name == "narrow"
        alone = await decide(store.counter(wide), "a")
        assert alone.remaining == 10 - 3  # the refusals took nothing

    with_store(redis_server, story)


def test_a_client_has_one_key_that_leaves_with_its_window(redis_server: RedisServer) -> None:
    async def story(store: RedisStore) -> None:
        await decide(store.counter(limits(["5/second", "9/minute"])), "a")
        await decide(store.counter(limits("9/2 seconds", "other")), "a")
        async with AsyncRedis.from_url(redis_server.url) as client:
            keys = await client.keys(f"{store.prefix}*")
            assert keys == [f"{store.prefix}a".encode()]
            assert 59_000 < await client.pttl(keys[0]) <= 62_000

    with_store(redis_server, story)


def test_a_refused_client_asks_redis_no_more(redis_server: RedisServer) -> None:
    async def story(store: RedisStore) -> None:
        counter = store.counter(limits("1/minute"))
        await decide(counter, "a")
        await decide(counter, "a")
        refused = counter.hit("a")
        assert isinstance(refused, Decision)
        assert not refused.admitted
        assert 0 < refused.wait_ns <= 62 * 10**9
        assert not isinstance(counter.hit("b"), Decision)

    with_store(redis_server, story)


def test_what_is_remembered_of_refusals_is_bounded(redis_server: RedisServer) -> None:
    async def story(store: RedisStore) -> None:
        counter: Any = store.counter(limits("1/minute"))
        for number in range(40):
            await decide(counter, f"{number}")
            await decide(counter, f"{number}")
        assert 0 < len(counter._refused) <= 10

    with_store(redis_server, story, max_refused=10)


def test_the_wait_that_is_told_is_enough(redis_server: RedisServer) -> None:
    async def story(store: RedisStore) -> None:
        counter = store.counter(limits("2/second"))
        for _ in range(3):
            found = await decide(counter, "a", 2)
            if not found.admitted:
                await asyncio.sleep(found.wait_ns / 1e9)
                assert (await decide(counter, "a", 2)).admitted

    with_store(redis_server, story)


def test_the_script_never_admits_more_than_the_quota_in_any_window(
    redis_server: RedisServer,
) -> None:
    """The script under a clock of ours, against a sliding log."""
    script = LUA.replace("redis.call('TIME')", "{ARGV[3], 0}")
    assert script != LUA
    chance = random.Random(5)
    plans = '[[["x",7,1000000],["y",20,4000000]]]'  # 7 in 30 s and 20 in 120 s
    quotas = ((7, 30), (20, 120))
    with Redis.from_url(redis_server.url) as client:
        run = client.register_script(script)
        key, now, waited = str(uuid.uuid4()), 1_000_000, 0
        logs: tuple[deque[tuple[int, int]], ...] = (deque(), deque())
        for _ in range(1500):
            now += chance.choice((0, 0, 1, 2, 5, 40))
            cost = chance.choice((1, 1, 3))
            answer: Any = run(keys=[key], args=[plans, f"1 {cost}", now])
            which, left, wait = map(int, answer.split())
            if which < 0:
                assert wait > 0
                now += -(-wait // 1_000_000)
                waited += 1
                answer = run(keys=[key], args=[plans, f"1 {cost}", now])
                which, left, wait = map(int, answer.split())
            assert which > 0
            assert left >= 0
            for log, (quota, seconds) in zip(logs, quotas, strict=True):
                log.append((now, cost))
                while log[0][0] < now - seconds:
                    log.popleft()
                assert sum(cost for _, cost in log) <= quota
        assert waited > 100


def test_a_client_one_percent_slower_than_a_small_quota_is_never_refused(
    redis_server: RedisServer,
) -> None:
    script = LUA.replace("redis.call('TIME')", "{0, ARGV[3]}")
    with Redis.from_url(redis_server.url) as client:
        run = client.register_script(script)
        for quota in (1, 2, 7, 30):
            plans = f"[{plan_text(limits(f'{quota}/minute'))}]"
            key, step = str(uuid.uuid4()), 60_600_000 // quota
            for turn in range(100):
                answer: Any = run(keys=[key], args=[plans, "1 1", 10**12 + turn * step])
                assert int(answer.split()[0]) == 1
            early = 10**12 + 99 * step + step // 2
            answer = run(keys=[key], args=[plans, f"1 {quota}", early])
            assert int(answer.split()[0]) == -1


@pytest.mark.parametrize(("step", "admitted"), [(-5, False), (-500_000, True)])
def test_a_clock_that_is_set_back_far_does_not_lock_clients_out(
    redis_server: RedisServer, step: int, admitted: bool
) -> None:
    script = LUA.replace("redis.call('TIME')", "{ARGV[3], 0}")
    with Redis.from_url(redis_server.url) as client:
        run = client.register_script(script)
        key, now = str(uuid.uuid4()), 1_000_000
        run(keys=[key], args=['[[["x",1,2000000]]]', "1 1", now])
        answer: Any = run(keys=[key], args=['[[["x",1,2000000]]]', "1 1", now + step])
        assert (int(answer.split()[0]) > 0) is admitted


def test_hits_of_one_tick_and_hits_behind_a_call_share_a_call(redis_server: RedisServer) -> None:
    async def story(store: RedisStore) -> None:
        calls: list[int] = []
        link: Any = store.queue._link
        evaluate = link.evaluate

        async def counted(keys: list[bytes], plans: str, hits: list[str]) -> bytes:
            calls.append(len(keys))
            found: bytes = await evaluate(keys, plans, hits)
            return found

        link.evaluate = counted
        counter = store.counter(limits("1000/minute"))
        await asyncio.gather(*[decide(counter, str(n)) for n in range(30)])
        assert calls == [30]
        await asyncio.gather(*[decide(counter, str(n)) for n in range(600)])
        assert calls == [30, 256, 256, 88]

    with_store(redis_server, story)


def test_a_flushed_script_is_sent_again_and_nothing_is_lost(redis_server: RedisServer) -> None:
    async def story(store: RedisStore) -> None:
        counter = store.counter(limits("9/minute"))
        assert (await decide(counter, "a")).remaining == 8
        async with AsyncRedis.from_url(redis_server.url) as client:
            await client.script_flush()
        assert (await decide(counter, "a")).remaining == 7

    with_store(redis_server, story)


def test_a_cancelled_request_disturbs_nobody(redis_server: RedisServer) -> None:
    async def story(store: RedisStore) -> None:
        counter = store.counter(limits("9/minute"))
        tasks = [asyncio.create_task(decide(counter, "a")) for _ in range(4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert [isinstance(one, Decision) for one in found] == [True, False, True, True]
        assert not store.queue.breaker.is_open

    with_store(redis_server, story)


def test_a_store_serves_one_event_loop_after_another(redis_server: RedisServer) -> None:
    store = RedisStore(url=redis_server.url, prefix=f"{uuid.uuid4()}:", store_timeout=LONG)
    counter = store.counter(limits("9/minute"))

    async def once() -> int:
        await store.start()
        remaining = (await decide(counter, "a")).remaining
        await store.aclose()
        return remaining

    assert [asyncio.run(once()) for _ in range(3)] == [8, 7, 6]


@pytest.mark.parametrize(("mode", "admitted"), [("local", 5), ("allow", 20), ("deny", 0)])
def test_a_killed_redis_opens_the_breaker_and_the_mode_decides(
    mortal_redis: RedisServer, mode: OnStoreError, admitted: int
) -> None:
    async def story(store: RedisStore) -> None:
        counter = store.counter(limits("10/minute"), on_error=mode)
        assert (await decide(counter, "a")).admitted
        mortal_redis.kill()
        found = [await decide(counter, "b") for _ in range(20)]
        assert sum(one.admitted for one in found) == admitted
        assert store.queue.breaker.is_open
        assert isinstance(counter.hit("c"), Decision)  # nobody waits now
        mortal_redis.start()
        await until(lambda: not store.queue.breaker.is_open)
        assert (await decide(counter, "d")).remaining == 9

    with_store(mortal_redis, story, share=2)


def test_a_share_is_of_all_processes_and_never_nothing(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(store: RedisStore) -> None:
        assert store.share == 8
        fall_back: Any = store.counter(limits(["4/second", "80/minute"]))
        found = [fall_back.fall_back("a", 3) for _ in range(3)]
        assert [one.admitted for one in found] == [True, False, False]
        assert found[0].limit in fall_back.limits  # fields name the limit, not the share

    monkeypatch.setenv("WEB_CONCURRENCY", "8")
    with_store(redis_server, story)
    monkeypatch.delenv("WEB_CONCURRENCY")
    assert RedisStore(url=redis_server.url).share == 1
    with pytest.raises(ValueError, match="share"):
        RedisStore(url=redis_server.url, share=0)


def test_a_frozen_redis_holds_three_calls_up_to_the_deadline_and_then_none(
    mortal_redis: RedisServer,
) -> None:
    async def story(store: RedisStore) -> None:
        counter = store.counter(limits("10/minute"))
        await store.start()
        mortal_redis.freeze()
        waited = 0
        for _ in range(10):
            found = counter.hit("a")
            if not isinstance(found, Decision):
                waited += 1
                found = await found
            assert found.admitted
        assert waited == 3
        assert not (await decide(counter, "a")).admitted  # the limit holds here
        mortal_redis.thaw()
        await until(lambda: not store.queue.breaker.is_open)
        assert not isinstance(counter.hit("b"), Decision)

    with_store(mortal_redis, story, store_timeout=SHORT)


def test_hits_behind_a_frozen_call_do_not_wait_for_a_deadline_each(
    mortal_redis: RedisServer,
) -> None:
    async def story(store: RedisStore) -> None:
        counter = store.counter(limits("1000/minute"))
        await store.start()
        mortal_redis.freeze()
        first = asyncio.create_task(decide(counter, "a"))
        await asyncio.sleep(0.001)
        behind = [asyncio.create_task(decide(counter, "a")) for _ in range(600)]
        begin = time.monotonic()
        await asyncio.gather(first, *behind)
        # four batches, one deadline: far below four of them, and far over one on a busy machine
        assert time.monotonic() - begin < 7
        mortal_redis.thaw()

    with_store(mortal_redis, story, store_timeout=timedelta(seconds=2))


def test_an_answer_that_came_while_the_loop_was_busy_counts(redis_server: RedisServer) -> None:
    async def story(store: RedisStore) -> None:
        counter = store.counter(limits("9/minute"))
        await store.start()
        task = asyncio.create_task(decide(counter, "a"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(0.2)  # noqa: ASYNC251  # a handler that blocks the loop past the deadline
        await task
        assert store.queue.breaker._failures == 0

    with_store(redis_server, story, store_timeout=timedelta(milliseconds=100))


def test_there_is_one_probe_however_many_fail(mortal_redis: RedisServer) -> None:
    async def story(store: RedisStore) -> None:
        counter = store.counter(limits("1000/minute"))
        mortal_redis.kill()
        await asyncio.gather(*[decide(counter, "a") for _ in range(300)])
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert len([t for t in others if "_watch" in repr(t.get_coro())]) == 1

    with_store(mortal_redis, story)


def test_a_start_without_redis_fails() -> None:
    async def run() -> None:
        store = RedisStore(url=f"redis://127.0.0.1:{free_port()}")
        with pytest.raises(Exception, match="Connect call failed"):
            await store.start()
        await store.aclose()

    asyncio.run(run())


def test_a_closed_store_leaves_no_task_and_no_waiting_hit(mortal_redis: RedisServer) -> None:
    async def story(store: RedisStore) -> None:
        counter = store.counter(limits("9/minute"))
        await store.start()
        mortal_redis.freeze()
        tasks = [asyncio.create_task(decide(counter, "a")) for _ in range(3)]
        await asyncio.sleep(0.01)
        await store.aclose()
        assert all(one.admitted for one in await asyncio.gather(*tasks))
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with_store(mortal_redis, story)


def test_a_password_and_a_database_are_used() -> None:
    async def story(store: RedisStore) -> None:
        await store.start()
        assert (await decide(store.counter(limits("9/minute")), "a")).remaining == 8

    with start_redis("--requirepass", "s3cret") as server:
        with_store(server, story, url=f"redis://:s3cret@127.0.0.1:{server.port}/3")
        with Redis.from_url(f"redis://:s3cret@127.0.0.1:{server.port}/3") as client:
            assert client.dbsize() == 1


def test_a_cluster_counts_each_client_on_its_server() -> None:
    async def story(store: RedisStore) -> None:
        await store.start()
        counter = store.counter(limits(["5/minute", "7/hour"]))
        found = await asyncio.gather(*[decide(counter, f"c{n % 3}") for n in range(30)])
        assert sum(one.admitted for one in found) == 15

    with start_redis("--cluster-enabled", "yes") as server:
        with Redis.from_url(server.url) as client:
            client.execute_command("CLUSTER", "ADDSLOTS", *range(16384))
            while b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                time.sleep(0.02)
        with_store(server, story, url=f"redis+cluster://127.0.0.1:{server.port}")


def test_sentinel_names_the_master(tmp_path: Path) -> None:
    async def story(store: RedisStore) -> None:
        await store.start()
        assert (await decide(store.counter(limits("9/minute")), "a")).remaining == 8

    with start_redis() as master:
        settings = tmp_path / "sentinel.conf"
        settings.write_text(f"sentinel monitor main 127.0.0.1 {master.port} 1\n")
        with start_redis(sentinel=settings) as sentinel:
            url = f"redis+sentinel://127.0.0.1:{sentinel.port}/main/2"
            with_store(master, story, url=url)
        with Redis.from_url(f"redis://127.0.0.1:{master.port}/2") as client:
            assert client.dbsize() == 1


@pytest.mark.parametrize(
    "url",
    ["", "localhost", "http://h", "redis+x://h", "redis+sentinel://h", "unix+cluster://h",
     "redis+cluster://", "redis+cluster://u:s3cret@h:port"],
)  # fmt: skip
def test_a_bad_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="no Redis URL") as caught:
        RedisStore(url=url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_a_url_says_of_answers_breaks_no_count(redis_server: RedisServer) -> None:
    async def story(store: RedisStore) -> None:
        counter = store.counter(limits("2/minute"))
        found = await asyncio.gather(*[decide(counter, "a") for _ in range(40)])
        assert sum(one.admitted for one in found) == 2

    more = "decode_responses=true&protocol=3&max_connections=1&encoding=latin-1"
    with_store(redis_server, story, url=f"{redis_server.url}?{more}")


def test_a_sentinel_url_gives_its_parts() -> None:
    link = link_to("rediss+sentinel://anna:p%40ss@a:1,b,[::1]:3/main/4")
    assert isinstance(link, ConnectionLink)
    pool: Any = link._client.connection_pool
    hosts = [s.connection_pool.connection_kwargs for s in pool.sentinel_manager.sentinels]
    assert [(h["host"], h["port"]) for h in hosts] == [("a", 1), ("b", 26379), ("::1", 3)]
    assert pool.service_name == "main"
    kwargs = pool.connection_kwargs
    assert (kwargs["username"], kwargs["password"], kwargs["db"]) == ("anna", "p@ss", 4)


def test_spans_must_be_positive() -> None:
    with pytest.raises(ValueError, match="store_timeout"):
        RedisStore(url="redis://h", store_timeout=timedelta(0))


def test_a_route_counts_over_all_processes_by_its_name(redis_server: RedisServer) -> None:
    async def story(store: RedisStore) -> None:
        other = RedisStore(url=redis_server.url, prefix=store.prefix, store_timeout=LONG)
        apps = [limited_app(EndpointRateLimiter("3/minute", store=one)) for one in (store, other)]
        found = [(await play(apps[n % 2], f"/items/{n}")).status for n in range(5)]
        assert found == [200, 200, 200, 429, 429]
        await other.aclose()

    with_store(redis_server, story)


def limited_app(limiter: EndpointRateLimiter) -> FastAPI:
    app = FastAPI()

    @app.get("/items/{number}", dependencies=[Depends(limiter)])
    async def item(number: int) -> int:
        return number

    return app
