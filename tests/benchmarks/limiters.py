"""What limiting costs: ours beside bare FastAPI, slowapi, limits and fastapi-limiter.

`python -m tests.benchmarks.limiters [memory] [route] [refused] [million] [fair] [redis] [frozen]`
Peers run alternately with ours in one process, or under wrk one after another in every round; a
peer that is not installed is left out. Prints medians and ratios, asserts nothing.
"""

import asyncio
import importlib
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from fastapi import Depends, FastAPI, Request
from starlette.types import ASGIApp, Message, Scope

from components.middleware.rate_limit import RateLimitMiddleware
from components.rate_limit.endpoint import EndpointRateLimiter
from components.rate_limit.memory import MemoryStore
from components.rate_limit.rates import parse_rates
from components.rate_limit.redis import RedisStore
from components.rate_limit.store import Decision, name_limits
from tests.servers import start_redis, start_uvicorn

PLENTY = "1000000/minute"


def memory() -> None:
    """µs a hit at 100 000 keys, in random order."""
    keys = [f"ip:10.{i >> 16}.{i >> 8 & 255}.{i & 255}" for i in range(100_000)]
    order = random.Random(1).choices(keys, k=100_000)
    ours = MemoryStore().counter(name_limits("default", parse_rates("500/minute")))
    several = MemoryStore().counter(
        name_limits("several", parse_rates(["50/second", "500/minute"]))
    )
    times: dict[str, list[float]] = {}
    for key in keys:
        ours.hit(key)
        several.hit(key)
    for _ in range(5):
        times.setdefault("ours", []).append(_sync_time(ours.hit, order))
        times.setdefault("ours, two limits", []).append(_sync_time(several.hit, order[:20_000]))
        for name, seconds in _limits_times(keys, order[:5000]).items():
            times.setdefault(name, []).append(seconds)
    _print("memory, µs a hit at 100 000 keys", times, "ours")


def _sync_time(hit: Callable[[str], object], order: list[str]) -> float:
    begin = time.perf_counter()
    for key in order:
        hit(key)
    return (time.perf_counter() - begin) / len(order) * 1e6


def _limits_times(keys: list[str], order: list[str]) -> dict[str, float]:
    limits = _peer("limits")
    if limits is None:
        return {}
    storage = importlib.import_module("limits.aio.storage")
    strategies = importlib.import_module("limits.aio.strategies")

    async def measure() -> dict[str, float]:
        found = {}
        for name in ("FixedWindow", "SlidingWindowCounter", "MovingWindow"):
            limiter = getattr(strategies, f"{name}RateLimiter")(storage.MemoryStorage())
            item = limits.parse("500/minute")
            for key in keys[:20_000]:
                await limiter.hit(item, key)
            begin = time.perf_counter()
            for key in order:
                await limiter.hit(item, key)
            found[f"limits.aio {name}, 20 000"] = (time.perf_counter() - begin) / len(order) * 1e6
        return found

    return asyncio.run(measure())


def route() -> None:
    """µs that a limit on a route adds to FastAPI, in process."""
    empty = FastAPI()

    async def nothing() -> None:
        pass

    @empty.get("/item", dependencies=[Depends(nothing)])
    async def item() -> dict[str, bool]:
        return {"ok": True}

    apps: dict[str, ASGIApp] = {"bare": _bare(), "an empty dependency": empty, **_limited(PLENTY)}
    _compare("per route", apps, rounds=9, added_to="bare")


def refused() -> None:
    """µs for a whole 429."""
    apps = {name: app for name, app in _limited("1/hour").items() if name != "fastapi-limiter"}
    _compare("429 in all", apps, rounds=9)


def _bare() -> FastAPI:
    app = FastAPI()

    @app.get("/item")
    async def item(request: Request) -> dict[str, bool]:
        return {"ok": True}

    return app


def _limited(limit: str) -> dict[str, ASGIApp]:
    apps: dict[str, ASGIApp] = {
        "ours, middleware": RateLimitMiddleware(_bare(), limit=limit),
        "ours, middleware with a route": RateLimitMiddleware(
            _bare(),
            limit=PLENTY,
            routes=[{"match": "GET /item", "limit": limit}],
        ),
    }
    dependent = FastAPI()

    @dependent.get("/item", dependencies=[Depends(EndpointRateLimiter(limit))])
    async def ours() -> dict[str, bool]:
        return {"ok": True}

    apps["ours, dependency"] = dependent
    if (slowapi := _peer("slowapi")) is not None:
        apps["slowapi"] = _slowapi(slowapi, limit)
    if (peer := _peer("fastapi_limiter.depends")) is not None and limit == PLENTY:
        pyrate = importlib.import_module("pyrate_limiter")
        limiter = pyrate.Limiter(pyrate.Rate(1_000_000, pyrate.Duration.MINUTE))
        theirs = FastAPI()

        @theirs.get("/item", dependencies=[Depends(peer.RateLimiter(limiter))])
        async def item() -> dict[str, bool]:
            return {"ok": True}

        apps["fastapi-limiter"] = theirs
    return apps


def _slowapi(slowapi: Any, limit: str, storage: str | None = None) -> FastAPI:
    app = FastAPI()
    address = importlib.import_module("slowapi.util").get_remote_address
    limiter = slowapi.Limiter(key_func=address, headers_enabled=False, storage_uri=storage)
    app.state.limiter = limiter
    errors = importlib.import_module("slowapi.errors")
    app.add_exception_handler(errors.RateLimitExceeded, slowapi._rate_limit_exceeded_handler)

    @app.get("/item")
    @limiter.limit(limit)  # type: ignore[untyped-decorator]  # slowapi is untyped here
    async def item(request: Request) -> dict[str, bool]:
        return {"ok": True}

    return app


def _compare(title: str, apps: dict[str, ASGIApp], rounds: int, added_to: str = "") -> None:
    times: dict[str, list[float]] = {name: [] for name in apps}

    async def measure() -> None:
        for _ in range(rounds):
            for name, app in apps.items():
                times[name].append(await _calls(app, 400))

    asyncio.run(measure())
    if added_to:
        base = statistics.median(times[added_to])
        added = {name: [one - base for one in all_] for name, all_ in times.items()}
        _print(f"{title}, µs added to {base:.1f}", added, "")
    else:
        _print(f"{title}, µs", times, "")


async def _calls(app: ASGIApp, count: int) -> float:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        pass

    begin = time.perf_counter()
    for _ in range(count):
        await app(_scope(), receive, send)
    return (time.perf_counter() - begin) / count * 1e6


def _scope() -> Scope:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/item",
        "raw_path": b"/item",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"accept", b"*/*")],
        "client": ("203.0.113.7", 5000),
        "server": ("127.0.0.1", 80),
        "state": {},
    }


def million() -> None:
    """The longest single hit while a million hostile addresses come, and what they leave behind."""
    store = MemoryStore()
    counter = store.counter(name_limits("default", parse_rates("500/minute")))
    longest: list[float] = []
    for number in range(1_000_000):
        subject = f"ip:{number:x}"
        begin = time.thread_time()  # the time that another process took is no stall of ours
        counter.hit(subject)
        longest.append(time.thread_time() - begin)
    longest.sort()
    slow = ", ".join(f"{one * 1e3:.2f}" for one in longest[-5:])
    middle = statistics.median(longest) * 1e6
    print(
        f"a million addresses: median {middle:.1f} µs, the five slowest {slow} ms, "
        f"kept {sum(map(len, store._tables.values()))}"
    )


def fair() -> None:
    """Which part of a client at 95 % of its limit is admitted (Poisson arrivals, and even ones)."""
    for quota in (20, 100, 500):
        shares = {}
        for name in ("poisson", "even"):
            clock = [10**12]
            store = MemoryStore(clock_ns=lambda clock=clock: clock[0])  # type: ignore[misc]  # bound
            counter = store.counter(name_limits("fair", parse_rates(f"{quota}/minute")))
            shares[name] = (_admitted(counter.hit, clock, quota, name), _log(quota, name))
        print(
            f"fairness at 95 % of {quota}/minute: "
            + "; ".join(
                f"{name}: ours {ours:.2%}, exact log {log:.2%}"
                for name, (ours, log) in shares.items()
            )
        )


def _gaps(quota: int, kind: str) -> list[int]:
    chance, rate = random.Random(quota), 0.95 * quota / 60e9
    return [int(chance.expovariate(rate) if kind == "poisson" else 1 / rate) for _ in range(50_000)]


def _admitted(hit: Callable[[str], Decision], clock: list[int], quota: int, kind: str) -> float:
    count = 0
    for gap in _gaps(quota, kind):
        clock[0] += gap
        count += hit("a").admitted
    return count / 50_000


def _log(quota: int, kind: str) -> float:
    now, log, count = 0, list[int](), 0
    for gap in _gaps(quota, kind):
        now += gap
        while log and log[0] <= now - 60_000_000_000:
            del log[0]
        if len(log) < quota:
            log.append(now)
            count += 1
    return count / 50_000


def redis() -> None:
    """Requests a second under wrk with 32 connections, against bare FastAPI."""
    if shutil.which("wrk") is None:
        print("redis: wrk is not installed")
        return
    kinds = ["bare", "ours", "ours, memory"]
    kinds += ["limits"] if _peer("limits") else []
    kinds += ["slowapi"] if _peer("slowapi") else []
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    with start_redis() as server:
        for _ in range(3):
            for kind in kinds:
                environment = {"LIMITER": kind, "REDIS_URL": server.url}
                target = "tests.benchmarks.limiters:make_app"
                with start_uvicorn(target, "--factory", environment=environment) as port:
                    _wrk(port, 1)
                    found[kind].append(_wrk(port, 3))
    _print("Redis, requests a second, 32 connections", found, "bare")


def _wrk(port: int, seconds: int) -> float:
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", f"http://127.0.0.1:{port}/item"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text:
        print(text)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    return float(rate[1]) if rate else 0.0


def make_app() -> ASGIApp:
    """The app that `redis` puts under wrk."""
    kind, url = os.environ["LIMITER"], os.environ["REDIS_URL"]
    if kind == "ours":
        return RateLimitMiddleware(_bare(), limit=PLENTY, store=RedisStore(url=url))
    if kind == "ours, memory":
        return RateLimitMiddleware(_bare(), limit=PLENTY)
    if kind == "slowapi":
        return _slowapi(_peer("slowapi"), PLENTY, url)
    return _limits_app(url) if kind == "limits" else _bare()


def _limits_app(url: str) -> FastAPI:
    limits = importlib.import_module("limits")
    storage = importlib.import_module("limits.aio.storage")
    strategies = importlib.import_module("limits.aio.strategies")
    app, item = FastAPI(), limits.parse(PLENTY)
    limiter = strategies.FixedWindowRateLimiter(
        storage.RedisStorage("async+" + url, implementation="redispy")
    )

    async def check(request: Request) -> None:
        await limiter.hit(item, request.client.host if request.client else "")

    @app.get("/item", dependencies=[Depends(check)])
    async def ok() -> dict[str, bool]:
        return {"ok": True}

    return app


def frozen() -> None:
    """How long requests wait while Redis is frozen."""

    async def measure() -> list[float]:
        found = []
        with start_redis() as server:
            store = RedisStore(url=server.url, store_timeout=timedelta(milliseconds=100))
            counter = store.counter(name_limits("default", parse_rates(PLENTY)))
            await store.start()
            server.freeze()
            for _ in range(10):
                begin = time.perf_counter()
                decision: Decision | Awaitable[Decision] = counter.hit("a")
                if not isinstance(decision, Decision):
                    await decision
                found.append(time.perf_counter() - begin)
            server.thaw()
            await store.aclose()
        return found

    waits = asyncio.run(measure())
    print("frozen Redis, ms a hit: " + " ".join(f"{wait * 1e3:.2f}" for wait in waits))


def _peer(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _print(title: str, times: dict[str, list[float]], base: str) -> None:
    print(title)
    for name, all_ in times.items():
        middle = statistics.median(all_)
        ratio = f"  {middle / statistics.median(times[base]):7.2f} x" if base else ""
        print(f"  {name:38} {middle:10.2f}{ratio}")


def main() -> None:
    parts = (memory, route, refused, million, fair, redis, frozen)
    wanted = sys.argv[1:]
    for part in parts:
        if not wanted or part.__name__ in wanted:
            part()


if __name__ == "__main__":
    main()
