"""What finding a route costs: plain FastAPI and the route index, alternately in one process.

Run as `python -m tests.benchmarks.dispatch`.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from fastapi import APIRouter, FastAPI

from assembler.application.route_index import index_routes
from assembler.application.route_index.included import IncludedRouteIndex

ROUNDS = 15
ROUTES_PER_ROUTER = 25

Message = dict[str, Any]
Build = Callable[[int], FastAPI]


async def answer() -> dict[str, bool]:
    return {"ok": True}


def included(count: int) -> FastAPI:
    """Routers of 25 routes below two levels of `include_router`."""
    app, api = FastAPI(openapi_url=None), APIRouter(prefix="/api")
    for first in range(0, count, ROUTES_PER_ROUTER):
        router = APIRouter(prefix=f"/section-{first // ROUTES_PER_ROUTER}")
        for number in range(first, min(first + ROUTES_PER_ROUTER, count)):
            router.add_api_route(f"/things-{number}/{{name}}", answer)
        api.include_router(router)
    app.include_router(api)
    return app


def direct(count: int) -> FastAPI:
    """All routes on the app itself."""
    app = FastAPI(openapi_url=None)
    for number in range(count):
        section = number // ROUTES_PER_ROUTER
        app.add_api_route(f"/api/section-{section}/things-{number}/{{name}}", answer)
    return app


def path_of(number: int) -> str:
    return f"/api/section-{number // ROUTES_PER_ROUTER}/things-{number}/one"


def indexed(app: FastAPI) -> FastAPI:
    report = index_routes(app)
    if not report.active:
        raise SystemExit(report.reason)
    return app


def driven(app: FastAPI) -> FastAPI:
    """The index over FastAPI's own walk, as under versions whose walk is not repeated."""
    app.router.middleware_stack = IncludedRouteIndex(app.router, in_one_step=False)
    return app


async def seconds(app: FastAPI, paths: Sequence[str], repeats: int) -> float:
    """The mean time of a request."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    scope = {"type": "http", "method": "GET", "query_string": b"", "headers": [], "root_path": ""}
    started = time.perf_counter()
    for path in itertools.chain.from_iterable(itertools.repeat(paths, repeats)):
        await app({**scope, "path": path, "state": {}}, receive, send)
    return (time.perf_counter() - started) / (len(paths) * repeats)


async def alternately(
    rounds: int, runs: dict[str, tuple[FastAPI, Sequence[str], int]]
) -> dict[str, float]:
    """The median microseconds of each run."""
    for app, paths, _ in runs.values():
        await seconds(app, paths, 1)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(await seconds(*run))
    return {name: 1e6 * median(values) for name, values in times.items()}


async def measure(build: Build) -> list[str]:
    plain, index, small = build(1000), indexed(build(1000)), indexed(build(10))
    plain_small = build(10)
    first, last, missing = path_of(0), path_of(999), "/api/section-0/nothing/one"
    cost = await alternately(
        ROUNDS,
        {
            "plain, route 1 of 1000": (plain, [first], 200),
            "plain, route 1000 of 1000": (plain, [last], 8),
            "plain, 404 among 10": (plain_small, [missing], 200),
            "plain, 404 among 1000": (plain, [missing], 4),
            "index, route 1 of 1000": (index, [first], 200),
            "index, route 1000 of 1000": (index, [last], 200),
            "index, driven, route 1000": (driven(build(1000)), [last], 200),
            "index, 404 among 10": (small, [missing], 200),
            "index, 404 among 1000": (index, [missing], 200),
        },
    )
    uniform = [path_of(number) for number in range(400)]
    cost |= await alternately(
        3,
        {
            "plain, 400 routes, uniform": (build(400), uniform, 1),
            "index, 400 routes, uniform": (indexed(build(400)), uniform, 2),
        },
    )
    lines = [f"  {name:28}{value:9.1f} us" for name, value in cost.items()]
    for name in ("plain", "index"):
        last_first = cost[f"{name}, route 1000 of 1000"] / cost[f"{name}, route 1 of 1000"]
        many_few = cost[f"{name}, 404 among 1000"] / cost[f"{name}, 404 among 10"]
        lines.append(f"  {name}: last against first {last_first:.2f}, 404 {many_few:.2f}")
    first_route = cost["index, route 1 of 1000"] / cost["plain, route 1 of 1000"]
    lines.append(f"  index against plain, route 1: {first_route:.2f}")
    if build is included:
        walked = cost["index, driven, route 1000"] / cost["index, route 1000 of 1000"]
        lines.append(f"  in one step, two levels: {walked:.2f} x the requests/s of the walk")
    gain = cost["plain, 400 routes, uniform"] / cost["index, 400 routes, uniform"]
    lines.append(f"  index against plain, 400 routes uniform: {gain:.2f} x the requests/s")
    return lines


def main() -> None:
    for build in (included, direct):
        print(build.__doc__)
        for line in asyncio.run(measure(build)):
            print(line)


if __name__ == "__main__":
    main()
