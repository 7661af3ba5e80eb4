"""RequestIDMiddleware, the request context and the IDs themselves."""

import logging
import multiprocessing
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from components import request_context
from components.http.uuid7 import SortableIDs, process_ids
from components.middleware.request_id import RequestIDMiddleware
from tests.components.middleware.exchange import exchange, http_scope, responding, websocket_scope

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def identified(given: str | None, *, client: Any = ("10.1.2.3", 1), **options: Any) -> str:
    headers = [] if given is None else [(b"x-request-id", given.encode("latin-1"))]
    app = RequestIDMiddleware(responding(), **options)
    answer = exchange(app, http_scope(headers=headers, client=client))
    found = answer.one("x-request-id")
    assert found is not None
    assert answer.scope["state"]["request_id"] == found
    return found


def test_makes_a_uuid_of_version_7_where_none_came() -> None:
    assert uuid.UUID(identified(None)).version == 7
    assert uuid.UUID(identified(None)).variant == uuid.RFC_4122


@pytest.mark.parametrize(
    "given", ["a", "7f3c", "Root=1-67891233-abcdef", "x/y:z+1@host", "a" * 128]
)
def test_takes_any_common_form_from_a_trusted_peer(given: str) -> None:
    assert identified(given, trust=["10.0.0.0/8"]) == given


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", "a\r\nb", "é", "<script>", 'a"b', "a,b"])
def test_replaces_an_id_of_another_length_or_alphabet(given: str) -> None:
    assert identified(given, trust="*") != given


@pytest.mark.parametrize(
    ("trust", "client", "taken"),
    [
        ((), ("10.1.2.3", 1), False),
        ("*", ("10.1.2.3", 1), True),
        ("*", None, True),
        (["10.1.2.3"], ("10.1.2.3", 1), True),
        (["10.1.2.4"], ("10.1.2.3", 1), False),
        (["10.0.0.0/8"], ("::ffff:10.1.2.3", 1), True),
        (["2001:db8::/32"], ("2001:db8::1", 1), True),
        (["10.0.0.0/8"], None, False),
        (["unix"], None, True),
        (["unix"], ("10.1.2.3", 1), False),
        (["10.0.0.0/8"], ("testclient", 1), False),
    ],
)
def test_judges_trust_by_the_peer_of_the_scope(trust: Any, client: Any, taken: bool) -> None:
    assert (identified("given", trust=trust, client=client) == "given") is taken


def test_remembers_only_so_many_peers() -> None:
    app = RequestIDMiddleware(responding(), trust=["10.0.0.0/8"])
    for at in range(3000):
        exchange_headers = [(b"x-request-id", b"a")]
        peer = f"192.0.{at // 250}.{at % 250}"
        app._given_id(http_scope(headers=exchange_headers, client=(peer, 1)))
    assert len(app._peers._known) <= 1024


def test_an_id_given_twice_is_no_id() -> None:
    headers = [(b"x-request-id", b"one"), (b"x-request-id", b"two")]
    answer = exchange(RequestIDMiddleware(responding(), trust="*"), http_scope(headers=headers))
    assert answer.one("x-request-id") not in {"one", "two"}


def test_another_header_and_length_by_option() -> None:
    app = RequestIDMiddleware(responding(), header="X-Correlation-ID", trust="*", max_length=4)
    headers = [(b"x-correlation-id", b"abcd")]
    assert exchange(app, http_scope(headers=headers)).one("x-correlation-id") == "abcd"
    headers = [(b"x-correlation-id", b"abcde")]
    assert exchange(app, http_scope(headers=headers)).one("x-correlation-id") != "abcde"


def test_the_route_does_not_double_the_header() -> None:
    app = RequestIDMiddleware(responding(headers=[(b"X-Request-ID", b"route"), (b"a", b"b")]))
    answer = exchange(app, http_scope())
    assert answer.one("x-request-id") == answer.scope["state"]["request_id"]
    assert answer.one("a") == "b"


def test_a_list_of_headers_that_the_app_sends_again_does_not_grow() -> None:
    headers = [(b"content-type", b"text/plain")]

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body"})

    wrapped = RequestIDMiddleware(app)
    for _ in range(3):
        assert len(exchange(wrapped, http_scope()).headers) == 2
    assert len(headers) == 1


def test_a_scope_without_state_gets_one() -> None:
    scope = http_scope()
    del scope["state"]
    answer = exchange(RequestIDMiddleware(responding()), scope)
    assert scope["state"]["request_id"] == answer.one("x-request-id")


def test_a_state_that_requests_share_does_not_share_the_id() -> None:
    app, state = RequestIDMiddleware(responding()), {"db": 1}
    first = exchange(app, http_scope(state=state)).one("x-request-id")
    assert exchange(app, http_scope(state=state)).one("x-request-id") != first


def test_a_mounted_app_with_the_same_middleware_keeps_the_outer_id() -> None:
    seen: list[str] = []

    async def endpoint(request: Request) -> PlainTextResponse:
        seen.append(request.state.request_id)
        return PlainTextResponse("x")

    layers = [Middleware(RequestIDMiddleware)]
    inner = Starlette(routes=[Route("/", endpoint)], middleware=layers)
    client = TestClient(Starlette(routes=[Mount("/sub", inner)], middleware=layers))
    assert client.get("/sub/").headers.get_list("x-request-id") == seen


def test_a_request_that_a_request_makes_has_an_id_of_its_own() -> None:
    ids: list[str | None] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        ids.append(request_context.request_id())
        if scope["path"] == "/outer":
            await wrapped(http_scope("/inner"), receive, send)
            ids.append(request_context.request_id())

    wrapped: ASGIApp = RequestIDMiddleware(app)
    exchange(wrapped, http_scope("/outer"))
    assert ids[0] == ids[2] != ids[1]


def test_websockets_have_it_on_the_handshake_and_in_their_code() -> None:
    async def endpoint(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(f"{socket.state.request_id} {request_context.request_id()}")
        await socket.close()

    app = Starlette(
        routes=[WebSocketRoute("/ws", endpoint)], middleware=[Middleware(RequestIDMiddleware)]
    )
    with TestClient(app).websocket_connect("/ws") as socket:
        headers: dict[bytes, bytes] = dict(getattr(socket, "extra_headers"))  # noqa: B009 - typed None
        found = headers[b"x-request-id"].decode()
        assert socket.receive_text() == f"{found} {found}"


def test_a_refused_websocket_has_it_too() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.http.response.start", "status": 403, "headers": []})

    answer = exchange(RequestIDMiddleware(app), websocket_scope())
    assert answer.one("x-request-id") == answer.scope["state"]["request_id"]


def test_other_scopes_pass_untouched() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    scope = {"type": "lifespan", "state": {}}
    exchange(RequestIDMiddleware(app), scope)
    assert seen[0] is scope
    assert scope == {"type": "lifespan", "state": {}}


def traced(*values: str) -> tuple[str | None, str | None, str | None]:
    found: list[tuple[str | None, str | None, str | None]] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert [value.decode() for _, value in scope["headers"]] == list(values)
        found.append(
            (request_context.traceparent(), request_context.trace_id(), request_context.span_id())
        )

    headers = [(b"traceparent", value.encode()) for value in values]
    exchange(RequestIDMiddleware(app), http_scope(headers=headers))
    return found[0]


def test_a_valid_traceparent_is_in_the_context_and_stays_in_the_scope() -> None:
    assert traced(PARENT) == (PARENT, PARENT[3:35], PARENT[36:52])
    later = "01" + PARENT[2:] + "-more"
    assert traced(later) == (later, PARENT[3:35], PARENT[36:52])


@pytest.mark.parametrize(
    "value",
    [
        "",
        "ff" + PARENT[2:],
        PARENT + "-more",
        PARENT.upper(),
        PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32),
        PARENT.replace("00f067aa0ba902b7", "0" * 16),
        PARENT[:-1],
        PARENT + "\n",
        "01" + PARENT[2:] + "more",
    ],
)
def test_an_invalid_traceparent_is_ignored(value: str) -> None:
    assert traced(value) == (None, None, None)


def test_two_traceparents_are_none() -> None:
    assert traced(PARENT, PARENT) == (None, None, None)


def test_the_filter_puts_the_context_on_log_records() -> None:
    record = logging.makeLogRecord({})
    assert request_context.RequestContextFilter().filter(record)
    assert (record.request_id, record.trace_id, record.span_id) == ("-", "-", "-")  # type: ignore[attr-defined]  # what the filter adds
    token = request_context.CONTEXT.set(("abc", PARENT))
    try:
        record = logging.makeLogRecord({"trace_id": "buffered"})
        request_context.RequestContextFilter().filter(record)
    finally:
        request_context.CONTEXT.reset(token)
    assert (record.request_id, record.trace_id) == ("abc", "buffered")  # type: ignore[attr-defined]  # what the filter adds
    assert record.span_id == "00f067aa0ba902b7"  # type: ignore[attr-defined]  # what the filter adds


def test_the_context_ends_with_the_request_even_if_it_fails() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError(request_context.request_id())

    async def caller(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(LookupError):
            await RequestIDMiddleware(app)(scope, receive, send)
        assert request_context.request_id() is None

    exchange(caller, http_scope())


@given(st.lists(st.integers(min_value=-3, max_value=3), min_size=2, max_size=60))
def test_ids_sort_by_their_making_whatever_the_clock_does(steps: list[int]) -> None:
    now = [1_700_000_000_000_000_000]
    ids = SortableIDs(clock=lambda: now[0])
    made = []
    for step in steps:
        now[0] += step * 700_000
        made.append(ids.new())
    assert made == sorted(set(made))


def test_more_ids_than_a_millisecond_holds_still_sort() -> None:
    ids = SortableIDs(clock=lambda: 1_700_000_000_000_000_000)
    made = [ids.new() for _ in range(10_000)]
    assert made == sorted(set(made))
    assert {len(text) for text in made} == {36}


def _child(queue: Any) -> None:
    queue.put([process_ids().new()[19:] for _ in range(100)])


def test_a_forked_process_draws_its_own_randomness() -> None:
    process_ids().new()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=_child, args=(queue,)) for _ in range(2)]
    for child in children:
        child.start()
    drawn = [queue.get(timeout=30) for _ in children]
    for child in children:
        child.join(20)
    own = [process_ids().new()[19:] for _ in range(100)]
    assert len({*own, *drawn[0], *drawn[1]}) == 300


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"header": "X Request"}, ValueError),
        ({"header": "a\r\nb"}, ValueError),
        ({"trust": "10.0.0.1"}, TypeError),
        ({"trust": ["nonsense"]}, ValueError),
        ({"trust": ["10.0.0.1/8"]}, ValueError),
        ({"max_length": 0}, ValueError),
    ],
)
def test_refuses_options_that_are_not_what_they_should_be(
    options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        RequestIDMiddleware(responding(), **options)
