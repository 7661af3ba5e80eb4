"""The middleware together: any order, hostile input, streams, tasks, contexts and disconnects."""

import asyncio
import gc
import itertools
import json
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from functools import partial
from inspect import signature
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.middleware.cache_control import CacheControlMiddleware, CacheRule
from components.middleware.cors import CORSMiddleware
from components.middleware.request_id import RequestIDMiddleware
from components.middleware.request_logging import RequestLoggingMiddleware
from components.middleware.security_headers import SecurityHeadersMiddleware
from components.middleware.trailing_slash import StripTrailingSlashMiddleware
from tests.components.middleware.exchange import Answer, exchange, http_scope, websocket_scope

LAYERS: list[Callable[[ASGIApp], ASGIApp]] = [
    partial(CORSMiddleware, allow_origins=["https://app.example"], allow_credentials=True),
    SecurityHeadersMiddleware,
    partial(
        CacheControlMiddleware,
        rules=[CacheRule(match="GET /items/*", cache="public, max-age=60")],
        etag="weak",
    ),
    StripTrailingSlashMiddleware,
    partial(RequestIDMiddleware, trust="*"),
    partial(RequestLoggingMiddleware, flush_interval=None),
]
ONCE = ("x-request-id", "x-frame-options", "cache-control", "vary", "etag", "content-length")


@pytest.fixture(autouse=True)
def _logging_on() -> Iterator[None]:
    logger = logging.getLogger("components.access")
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(logging.NOTSET)


def stacked(app: ASGIApp, layers: Any = LAYERS) -> ASGIApp:
    for layer in reversed(layers):
        app = layer(app)
    return app


async def _item(request: Request) -> PlainTextResponse:
    return PlainTextResponse("item " * 200)


def checked(answer: Answer) -> None:
    assert answer.status == 200
    for name in ONCE:
        answer.one(name)
    assert answer.one("x-request-id") == "given"
    assert answer.one("cache-control") == "public, max-age=60"
    assert answer.one("vary") is not None
    assert "Authorization" in (answer.one("vary") or "")


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_any_order_with_others_between_and_apps_mounted_inside(order: tuple[int, ...]) -> None:
    foreign = partial(GZipMiddleware, minimum_size=10)
    layers: list[Any] = [LAYERS[at + 1] for at in order]
    layers.insert(2, foreign)
    layers.append(LAYERS[5])
    inner = stacked(Starlette(routes=[Route("/{id}", _item)]), layers)
    app = stacked(Starlette(routes=[Mount("/items", inner)]), layers)
    headers = [(b"x-request-id", b"given"), (b"accept-encoding", b"gzip")]
    for path in ("/items/1", "/items/1/"):
        checked(exchange(app, http_scope(path, headers=headers)))


def _fastapi() -> FastAPI:
    # Its own redirect would decode the query, and fails on bytes that are not UTF-8.
    app = FastAPI(redirect_slashes=False)
    app.add_api_route("/items/{item_id}", lambda item_id: {"ok": True}, methods=["GET", "POST"])
    return app


NAMES = [
    b"x-request-id",
    b"traceparent",
    b"cookie",
    b"authorization",
    b"if-none-match",
    b"origin",
    b"access-control-request-method",
    b"x-forwarded-for",
    b"host",
    b"accept",
]
PIECES = [
    "/",
    "//",
    "..",
    "%2F",
    "%00",
    "items",
    "1",
    "\r\n",
    "\x1b[0m",
    "\u202e",
    "\udcff",
    "é",
    " ",
    "*",
]


def test_ten_thousand_hostile_inputs_give_no_500_and_no_broken_header() -> None:
    random_ = random.Random(7)
    app = stacked(_fastapi())

    def field() -> tuple[bytes, bytes]:
        size = random_.choice([0, 1, 5, 40, 400])
        return random_.choice(NAMES), random_.randbytes(size)

    async def one() -> None:
        path = "/" + "".join(random_.choices(PIECES, k=random_.randint(0, 6)))
        client: Any = random_.choice(
            [None, ("", 0), ("::1", 1), ("not an address", 1), ["10.0.0.1", 2]]
        )
        scope = http_scope(
            path,
            random_.choice(["GET", "HEAD", "POST", "OPTIONS", "get", "X\n"]),
            raw_path=random_.choice([None, path.encode("utf-8", "surrogatepass"), b"", b"/"]),
            headers=[field() for _ in range(random_.randint(0, 8))],
            client=client,
            root_path=random_.choice(["", "/items", "/"]),
            query_string=random_.randbytes(5),
            scheme=random_.choice(["http", "https", "odd"]),
        )
        start: list[Message] = []

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.append(message)

        async def receive() -> Message:
            return {"type": "http.request", "body": random_.randbytes(3), "more_body": False}

        await app(scope, receive, send)
        assert len(start) == 1
        assert start[0]["status"] < 500
        for name, value in start[0]["headers"]:
            assert not {*b"\r\n"} & {*name, *value}

    async def all_of_them() -> None:
        for _ in range(10_000):
            await one()

    asyncio.run(all_of_them())


def test_streams_pass_part_by_part() -> None:
    sent: list[str] = []

    async def parts() -> AsyncIterator[bytes]:
        for at in range(3):
            sent.append(f"made {at}")
            yield b"x" * at

    async def stream(request: Request) -> StreamingResponse:
        return StreamingResponse(parts())

    app = stacked(Starlette(routes=[Route("/items/s", stream)]))

    async def watching(scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            sent.append(message["type"].removeprefix("http.response."))
            await send(message)

        async def never() -> Message:
            return await asyncio.Event().wait()  # type: ignore[return-value]  # it never returns

        await app(scope, never, watched)

    answer = exchange(watching, http_scope("/items/s"))
    assert answer.body == b"xxx"
    assert sent.index("start") < sent.index("made 1")
    assert answer.one("etag") is None


def test_background_tasks_run_after_the_answer_with_its_context() -> None:
    variable: ContextVar[str] = ContextVar("variable")
    order: list[str] = []

    def background() -> None:
        order.append(variable.get())

    async def endpoint(request: Request) -> PlainTextResponse:
        variable.set("from the endpoint")
        return PlainTextResponse("x", background=BackgroundTask(background))

    async def caller(scope: Scope, receive: Receive, send: Send) -> None:
        variable.set("from the caller")

        async def watched(message: Message) -> None:
            order.append(message["type"])
            await send(message)

        await stacked(Starlette(routes=[Route("/", endpoint)]))(scope, receive, watched)
        # No task stands between: what the endpoint set is seen outside.
        assert variable.get() == "from the endpoint"

    exchange(caller, http_scope("/"))
    assert order == ["http.response.start", "http.response.body", "from the endpoint"]


def test_a_client_that_disconnects_leaks_nothing() -> None:
    closed: list[int] = []

    async def parts() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x"
                await asyncio.sleep(0)
        finally:
            closed.append(1)

    async def stream(request: Request) -> StreamingResponse:
        return StreamingResponse(parts())

    app = stacked(Starlette(routes=[Route("/items/s", stream)]))

    async def run() -> int:
        async def gone() -> Message:
            await asyncio.sleep(0)
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            pass

        for _ in range(20):
            await app(http_scope("/items/s"), gone, send)
        gc.collect()
        return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1
    assert len(closed) == 20


def test_an_exception_goes_through_all_and_its_500_has_the_headers_of_the_outer() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError

    async def catching(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except LookupError:
            await PlainTextResponse("failed", 500)(scope, receive, send)

    inside = stacked(failing, LAYERS[3:])
    app = stacked(partial(catching, inside), LAYERS[:2])
    answer = exchange(app, http_scope("/", headers=[(b"origin", b"https://app.example")]))
    assert (answer.status, answer.body) == (500, b"failed")
    assert answer.one("access-control-allow-origin") == "https://app.example"
    assert answer.one("x-frame-options") == "DENY"


def test_lifespan_and_unknown_scopes_pass() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    for kind in ("lifespan", "unheard-of"):
        exchange(stacked(app), {"type": kind})
    exchange(stacked(app), websocket_scope())
    assert seen == ["lifespan", "unheard-of", "websocket"]


def test_each_component_takes_the_options_of_a_manifest() -> None:
    """Options come as plain values and are converted, strictly, by the constructors' hints."""
    given: list[tuple[Any, str, Any]] = [
        (CacheControlMiddleware, "rules", [{"match": "GET /x/*", "cache": "public"}]),
        (CacheControlMiddleware, "session_cookies", ["sid"]),
        (RequestIDMiddleware, "trust", ["10.0.0.0/8"]),
        (RequestIDMiddleware, "trust", "*"),
        (RequestLoggingMiddleware, "sample", 0.5),
        (RequestLoggingMiddleware, "exclude", ["/health/*"]),
        (SecurityHeadersMiddleware, "hsts", None),
        (SecurityHeadersMiddleware, "docs_paths", ["/docs"]),
        (StripTrailingSlashMiddleware, "exempt", ["/mcp"]),
        (CORSMiddleware, "allow_origins", ["https://a.example"]),
    ]
    for component, name, value in given:
        hint = signature(component).parameters[name].annotation
        converted = TypeAdapter(hint).validate_json(json.dumps(value), strict=True)
        strict = TypeAdapter(hint).validate_python(value, strict=True)
        component(_fastapi(), **{name: strict})
        assert converted == strict
