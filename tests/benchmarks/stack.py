"""What seven middleware cost: the components, the same written by hand, and as BaseHTTPMiddleware.

Run `python -m tests.benchmarks.stack [--wrk | --layers | --routes]`. In process: median µs per request
over alternating rounds, less those of the bare FastAPI application. Everything is inside the measured
time, the logging handlers and the flushing of buffers too. `--wrk`: requests/s over real sockets, one
uvicorn per stack, 32 connections. `--layers`: what each component adds alone. `--routes`: 400 routes
and uniform traffic, the assembled stack beside plain FastAPI without any middleware.

The stacks: `assembled` is built from a manifest, guards and route index included; `ours` are the same
classes by hand, with default options; `direct` hands each log record on at once; `file` logs past the
logging tree; `same-cors` has Starlette's CORS, as the peers have. The route stands in an included
router, as routes do.

The six that edit headers run as one chain (see `components.middleware.header_layer`): one by one they
added 19 µs, as a chain 14. Access logging watches the body too and stands apart; half of what it adds
is the logging tree's own handling and writing of each record.
"""

import asyncio
import gc
import logging
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import uvloop
from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp, Message

import assembler
from components.access_log.buffer import _flushed_before_fork
from components.middleware.cache_control import CacheControlMiddleware, CacheRule
from components.middleware.cors import CORSMiddleware
from components.middleware.rate_limit import RateLimitMiddleware
from components.middleware.request_id import RequestIDMiddleware
from components.middleware.request_logging import RequestLoggingMiddleware
from components.middleware.security_headers import SecurityHeadersMiddleware
from components.middleware.trailing_slash import StripTrailingSlashMiddleware
from tests.benchmarks.plain_stack import BASE_HTTP, ORIGINS, PLAIN, with_cors, wrapped

Layers = list[Callable[[ASGIApp], ASGIApp]]
ROUNDS, REQUESTS = 40, 400
PATH = "/api/v1/public/items/7"
RULES = [CacheRule(match="GET /api/v1/public/*", cache="public, max-age=60")]
HEADERS = [
    (b"host", b"api.example.com"),
    (b"user-agent", b"bench/1"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"connection", b"keep-alive"),
]
ORIGIN = (b"origin", b"https://app.example.com")


def ours(cors: Callable[[ASGIApp], ASGIApp], **logging_options: Any) -> Layers:
    return [
        cors,
        partial(RateLimitMiddleware, limit="1000000/minute"),
        SecurityHeadersMiddleware,
        partial(CacheControlMiddleware, rules=RULES),
        StripTrailingSlashMiddleware,
        RequestIDMiddleware,
        partial(RequestLoggingMiddleware, **logging_options),
    ]


lean_cors = partial(CORSMiddleware, allow_origins=ORIGINS, allow_credentials=True)


def stacks() -> dict[str, Layers]:
    return {
        "bare": [],
        "plain": PLAIN,
        "ours": ours(lean_cors),
        "direct": ours(lean_cors, flush_interval=None),
        "file": ours(lean_cors, sink="/dev/null"),
        "same-cors": ours(with_cors),
        "basehttp": BASE_HTTP,
    }


router = APIRouter()


@router.get("/public/items/{item_id}")
async def item(item_id: int) -> dict[str, int]:
    return {"id": item_id}


def application(layers: Layers, routes: APIRouter = router) -> ASGIApp:
    app = FastAPI()
    app.include_router(routes, prefix="/api/v1")
    return wrapped(app, layers)


def four_hundred() -> APIRouter:
    """400 routes in 16 routers."""
    routes = APIRouter()
    for section in range(16):
        part = APIRouter(prefix=f"/section-{section}")
        for number in range(25):
            part.add_api_route(f"/things-{number}/{{item_id}}", item)
        routes.include_router(part)
    return routes


many = four_hundred()
MANY_PATHS = [f"/api/v1/section-{s}/things-{n}/7" for s in range(16) for n in range(25)]

MANIFEST = """
manifest: 1
middleware:
  - use: components.middleware.cors.CORSMiddleware
    with: {allow_origins: ["https://app.example.com"], allow_credentials: true}
  - {use: components.middleware.rate_limit.RateLimitMiddleware, with: {limit: 1000000/minute}}
  - use: components.middleware.security_headers.SecurityHeadersMiddleware
  - use: components.middleware.cache_control.CacheControlMiddleware
    with: {rules: [{match: "GET /api/v1/public/*", cache: "public, max-age=60"}]}
  - use: components.middleware.trailing_slash.StripTrailingSlashMiddleware
  - use: components.middleware.request_id.RequestIDMiddleware
  - use: components.middleware.request_logging.RequestLoggingMiddleware
routes:
  - {use: tests.benchmarks.stack.ROUTES, prefix: /api/v1}
"""


def from_manifest(routes: str = "router") -> ASGIApp:
    with TemporaryDirectory() as folder:  # outside of the project: its import list has no tests
        manifest = Path(folder, "stack.yaml")
        manifest.write_text(MANIFEST.replace("ROUTES", routes))
        return assembler.build(assembler.load(manifest))


def set_up_logging() -> None:
    """One handler for all stacks: formats, writes and flushes, to nowhere."""
    handler = logging.FileHandler("/dev/null")
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Message) -> None:
    pass


async def _round(
    app: ASGIApp,
    headers: list[tuple[bytes, bytes]],
    requests: int,
    paths: Sequence[str] = (PATH,),
) -> float:
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "raw_path": b"",
        "query_string": b"",
        "root_path": "",
        "client": ("198.51.100.7", 40000),
        "server": ("10.0.0.1", 8000),
    }
    start = time.perf_counter()
    for at in range(requests):
        # Made when it is needed, as a server does: a list of scopes made before is cold memory.
        path = paths[at % len(paths)]
        await app({**scope, "path": path, "headers": list(headers), "state": {}}, _receive, _send)
        if at % 50 == 49:
            await asyncio.sleep(0)  # timers fire between requests, as they do under a server
    for buffer in _flushed_before_fork():  # else another stack's round would pay for the lines
        buffer.flush()
    return (time.perf_counter() - start) / requests * 1e6


async def in_process(headers: list[tuple[bytes, bytes]]) -> None:
    apps = {name: application(layers) for name, layers in stacks().items()}
    apps["assembled"] = from_manifest()
    times: dict[str, list[float]] = {name: [] for name in apps}
    for at in range(ROUNDS + 1):
        for name, app in apps.items():
            gc.collect()
            took = await _round(app, headers, REQUESTS // (8 if name == "basehttp" else 1))
            if at:  # the first round warms up
                times[name].append(took)
    bare = statistics.median(times["bare"])
    plain = statistics.median(times["plain"]) - bare
    print(f"{'stack':10} {'µs':>8} {'added':>8} {'/ plain':>8}")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:10} {median:8.1f} {median - bare:8.1f} {(median - bare) / plain:8.2f}")


def each_layer() -> None:
    """What each component adds alone, for profiling."""

    async def run() -> None:
        bare = application([])
        for layer in ours(lean_cors):
            app = application([layer])
            pairs = [
                (await _round(app, HEADERS, 1000), await _round(bare, HEADERS, 1000))
                for _ in range(ROUNDS)
            ]
            added = statistics.median(one - other for one, other in pairs)
            named = layer.func if isinstance(layer, partial) else layer
            print(f"{named.__name__:30} {added:8.2f}")

    uvloop.run(run())


async def four_hundred_routes() -> None:
    apps = {"bare": application([], many), "assembled": from_manifest("many")}
    times: dict[str, list[float]] = {name: [] for name in apps}
    for _ in range(9):
        for name, app in apps.items():
            times[name].append(await _round(app, HEADERS, len(MANY_PATHS), MANY_PATHS))
    bare, ours = (statistics.median(taken) for taken in times.values())
    print(f"400 routes, uniform: FastAPI without middleware {bare:.1f} µs, assembled with seven")
    print(f"{ours:.1f} µs: {bare / ours:.2f} x its requests/s in process")


def many_bare() -> ASGIApp:
    return application([], many)


def many_assembled() -> ASGIApp:
    set_up_logging()
    return from_manifest("many")


def _app(name: str) -> ASGIApp:
    set_up_logging()
    return application(stacks()[name])


def bare() -> ASGIApp:
    return _app("bare")


def plain() -> ASGIApp:
    return _app("plain")


def ours_by_hand() -> ASGIApp:
    return _app("ours")


def assembled() -> ASGIApp:
    set_up_logging()
    return from_manifest()


def file() -> ASGIApp:
    return _app("file")


def basehttp() -> ASGIApp:
    return _app("basehttp")


def over_sockets() -> None:
    wrk = shutil.which("wrk")
    if wrk is None:
        print("wrk is not installed: requests/s were not measured")
        return
    names = ["bare", "plain", "assembled", "ours_by_hand", "file", "basehttp"]
    servers = {name: (8770 + at, _serve(name, 8770 + at)) for at, name in enumerate(names)}
    rates: dict[str, list[float]] = {name: [] for name in names}
    try:
        for _ in range(9):
            for name, (port, _server) in servers.items():
                rates[name].append(_rate(wrk, port, seconds=1))
    finally:
        for _, server in servers.values():
            server.terminate()
            server.wait()
    print(f"{'stack':12} {'req/s':>8} {'/ bare':>8}")
    for name, found in rates.items():
        # Of each round alone: what else the machine does slows both.
        ratio = statistics.median(
            one / bare for one, bare in zip(found, rates["bare"], strict=True)
        )
        print(f"{name:12} {statistics.median(found):8.0f} {ratio:8.2f}")


def _serve(name: str, port: int) -> subprocess.Popen[bytes]:
    server = subprocess.Popen(
        f"{sys.executable} -m uvicorn --factory tests.benchmarks.stack:{name} --port {port} "
        "--no-access-log --log-level warning".split()
    )
    for _ in range(100):
        try:
            httpx2.get(f"http://127.0.0.1:{port}{PATH}")
            break
        except httpx2.TransportError:
            time.sleep(0.1)
    return server


def _rate(wrk: str, port: int, *, seconds: int) -> float:
    report = subprocess.run(
        [wrk, "-t1", "-c32", f"-d{seconds}s", f"http://127.0.0.1:{port}{PATH}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    line = next(line for line in report.splitlines() if line.startswith("Requests/sec"))
    return float(line.split()[1])


if __name__ == "__main__":
    set_up_logging()
    if "--wrk" in sys.argv:
        over_sockets()
    elif "--layers" in sys.argv:
        each_layer()
    elif "--routes" in sys.argv:
        uvloop.run(four_hundred_routes())
    else:
        print("without Origin")
        uvloop.run(in_process(HEADERS))
        print("with Origin (Starlette's CORS adds its headers in each stack)")
        uvloop.run(in_process([*HEADERS, ORIGIN]))
