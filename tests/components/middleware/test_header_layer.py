"""Layers in a chain answer as the same layers do one by one, whatever stands between them."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.middleware.cache_control import CacheControlMiddleware, CacheRule
from components.middleware.cors import CORSMiddleware
from components.middleware.header_layer import Fields, HeaderLayer, Rule, Step
from components.middleware.rate_limit import RateLimitMiddleware
from components.middleware.request_id import RequestIDMiddleware
from components.middleware.security_headers import SecurityHeadersMiddleware
from components.middleware.trailing_slash import StripTrailingSlashMiddleware
from components.rate_limit.memory import MemoryStore
from components.request_context import CONTEXT
from tests.components.middleware.exchange import Answer, exchange, http_scope, websocket_scope

Layer = Callable[[ASGIApp], ASGIApp]


def passing(app: ASGIApp) -> ASGIApp:
    """Does nothing, and ends a chain."""

    async def passed(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return passed


def meddling(app: ASGIApp) -> ASGIApp:
    """A foreign layer that says what it saw, and adds to the very list that it was handed."""

    async def meddled(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen = b" ".join(sorted(name.lower() for name, _ in message["headers"]))
                message["headers"] += [(b"x-seen", seen), (b"vary", b"Accept")]
            await send(message)

        await app(scope, receive, send_more)

    return meddled


class Transparent:
    """Answers what is raised inside, and lets chains through."""

    is_transparent = True

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except LookupError:
            await PlainTextResponse("failed", 500)(scope, receive, send)


def limiting(app: ASGIApp) -> ASGIApp:
    store = MemoryStore(clock_ns=lambda: 10**15)
    routes: Any = [{"match": "/items/one", "limit": "1/hour"}]
    return RateLimitMiddleware(app, limit="9/minute", store=store, routes=routes)


LAYERS: dict[str, Layer] = {
    "cors": partial(CORSMiddleware, allow_origins=["https://app.example"], allow_credentials=True),
    "any-cors": partial(CORSMiddleware, allow_origins=["*"], expose_headers=["X-A"]),
    "limit": limiting,
    "security": SecurityHeadersMiddleware,
    "cache": partial(
        CacheControlMiddleware, rules=[CacheRule(match="GET /items/*", cache="public", cdn="s")]
    ),
    "etag": partial(
        CacheControlMiddleware, rules=[CacheRule(match="/items/*", cache="public")], etag="weak"
    ),
    "slash": StripTrailingSlashMiddleware,
    "id": partial(RequestIDMiddleware, trust="*"),
    "foreign": meddling,
    "gzip": partial(GZipMiddleware, minimum_size=1),
}
FIELDS = [
    (b"Cache-Control", b"no-cache"),
    (b"vary", b"Accept-Encoding"),
    (b"VARY", b"Origin"),
    (b"set-cookie", b"a=1"),
    (b"set-cookie", b"b=2"),
    (b"x-frame-options", b"SAMEORIGIN"),
    (b"X-Request-ID", b"own"),
    (b"x-unknown", b"1"),
    (b"etag", b'"tag"'),
    (b"access-control-allow-origin", b"https://own.example"),
]
REQUEST_FIELDS = [
    (b"origin", b"https://app.example"),
    (b"origin", b"https://evil.example"),
    (b"authorization", b"Bearer x"),
    (b"cookie", b"session=1"),
    (b"access-control-request-method", b"POST"),
    (b"accept-encoding", b"gzip"),
    (b"if-none-match", b'"tag"'),
]


def stacked(app: ASGIApp, names: list[str], between: Layer | None) -> ASGIApp:
    for name in reversed(names):
        app = LAYERS[name](app)
        if between is not None:
            app = between(app)
    return app


def said(answer: Answer) -> tuple[list[Any], set[str]]:
    """What was sent; headers without their order, and what a foreign layer saw as a set."""
    messages = []
    seen: set[str] = set()
    for message in answer.messages:
        fields = [(bytes(name).lower(), value) for name, value in message.get("headers", ())]
        seen |= {value.decode() for name, value in fields if name == b"x-seen"}
        messages.append({**message, "headers": sorted(fields)})
    return messages, seen


@settings(max_examples=600, deadline=None)
@given(
    names=st.lists(st.sampled_from(sorted(LAYERS)), max_size=8),
    inner=st.lists(st.sampled_from(sorted(LAYERS)), max_size=4),
    fields=st.lists(st.sampled_from(FIELDS), max_size=4),
    asked=st.lists(st.sampled_from(REQUEST_FIELDS), max_size=4),
    path=st.sampled_from(
        ["/items/1", "/items/one", "/items/1/", "/items", "/items/", "/docs", "/"]
    ),
    method=st.sampled_from(["GET", "GET", "HEAD", "POST", "OPTIONS"]),
    status=st.sampled_from([200, 200, 304, 404]),
    websocket=st.sampled_from([False, False, False, True]),
)
def test_a_chain_answers_as_its_layers_do_one_by_one(
    names: list[str],
    inner: list[str],
    fields: list[tuple[bytes, bytes]],
    asked: list[tuple[bytes, bytes]],
    path: str,
    method: str,
    status: int,
    websocket: bool,
) -> None:
    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept", "headers": list(fields)})
            return
        # The same message and list with every answer, and a tuple now and then.
        await send({"type": "http.response.start", "status": status, "headers": list(fields)})
        await send({"type": "http.response.body", "body": b"hello " * 50})

    def app(between: Layer | None) -> ASGIApp:
        within = stacked(endpoint, inner, between)
        routes: list[Any] = [Mount("/items", within), Route("/", _front)]
        return stacked(Starlette(routes=routes), names, between)

    headers = [(b"x-request-id", b"given"), *asked]
    scope = websocket_scope if websocket else partial(http_scope, method=method)
    chained, apart, wrapped = app(None), app(passing), app(Transparent)
    for _ in range(2):  # the second time, limits are reached and edits are known
        answers = [
            said(exchange(one, scope(path, headers=headers, root_path="")))
            for one in (chained, apart, wrapped)
        ]
        assert answers[0] == answers[1] == answers[2]


async def _front(request: Request) -> PlainTextResponse:
    return PlainTextResponse("front")


def chain_of(app: ASGIApp) -> int:
    assert isinstance(app, HeaderLayer)
    return len(app.chain.begins)


async def _answering(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("x")(scope, receive, send)


def test_neighbours_form_a_chain_and_others_end_it() -> None:
    six = ["cors", "limit", "security", "cache", "slash", "id"]
    assert chain_of(stacked(_answering, six, None)) == 6
    app: ASGIApp = _answering
    for name in reversed(six):
        app = LAYERS[name](Transparent(app))
    assert chain_of(app) == 6
    assert chain_of(stacked(_answering, ["cors", "foreign", "limit"], None)) == 1


def test_a_layer_that_edits_what_another_adds_stands_apart() -> None:
    outer = RequestIDMiddleware(RequestIDMiddleware(_answering))
    assert chain_of(outer) == 1
    answer = exchange(outer, http_scope())
    assert answer.one("x-request-id") == answer.scope["state"]["request_id"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_what_a_layer_raises_is_answered_inside_the_layers_around_it(wrapped: bool) -> None:
    def key(scope: Scope) -> str:
        assert CONTEXT.get() is not None
        raise LookupError

    inside: ASGIApp = RateLimitMiddleware(_answering, limit="1/hour", key=key)
    if wrapped:
        inside = Transparent(inside)
    app = SecurityHeadersMiddleware(RequestIDMiddleware(inside))
    if wrapped:
        answer = exchange(app, http_scope())
        assert (answer.status, answer.body) == (500, b"failed")
        assert answer.one("x-request-id") is not None
        assert answer.one("x-frame-options") == "DENY"
    else:
        with pytest.raises(LookupError):
            exchange(app, http_scope())


def test_a_request_leaves_no_context_behind() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError

    async def run() -> None:
        async def nothing(message: Message) -> None:
            raise AssertionError

        async def never() -> Message:
            raise AssertionError

        with pytest.raises(LookupError):
            await SecurityHeadersMiddleware(RequestIDMiddleware(failing))(
                http_scope(), never, nothing
            )
        assert CONTEXT.get() is None

    asyncio.run(run())


def test_a_message_that_is_sent_with_every_answer_is_edited_once_each_time() -> None:
    start = {"type": "http.response.start", "status": 200, "headers": [(b"vary", b"Accept")]}

    async def constant(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start)
        await send({"type": "http.response.body"})

    app = stacked(constant, ["cors", "limit", "security", "cache", "id"], None)
    scope = partial(http_scope, headers=[(b"x-request-id", b"given")])
    first, second = exchange(app, scope()), exchange(app, scope())
    assert start["headers"] == [(b"vary", b"Accept")]
    assert len(first.headers) == len(second.headers)


def test_what_is_kept_of_answers_is_bounded() -> None:
    status = iter(range(200, 4000))

    async def any_status(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": next(status), "headers": []})
        await send({"type": "http.response.body"})

    app = SecurityHeadersMiddleware(any_status)
    for _ in range(1500):
        exchange(app, http_scope())
    assert len(app.chain._kept) <= 1024


class Added(Rule):
    """The rule of the example in the module's opening."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def edit(self, fields: Fields, status: int, scope: Scope) -> Fields:
        return [*fields, *self._fields]


class PoweredBy(HeaderLayer):
    """The layer of the example, with a field that differs."""

    reads_headers = False

    def __init__(self, app: ASGIApp, *, text: str = "coffee") -> None:
        self.app = app
        self._rule = Added([(b"x-powered-by", text.encode("latin-1"))])
        self._join(touches=[b"x-powered-by"], adds=[b"x-path"])

    def begin(self, scope: Scope, headers: dict[bytes, bytes]) -> Step:
        return Step(self._rule, (b"x-path", scope["path"].encode()))


def test_a_layer_of_anybody_joins_the_chain() -> None:
    app = SecurityHeadersMiddleware(PoweredBy(RequestIDMiddleware(_answering), text="tea"))
    assert chain_of(app) == 3
    answer = exchange(app, http_scope("/a"))
    assert (answer.one("x-powered-by"), answer.one("x-path")) == ("tea", "/a")
    assert answer.one("x-request-id")
    assert answer.one("x-frame-options") == "DENY"
