"""BodyLimitMiddleware."""

import json
import socket
from typing import Any

import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.middleware.body_limit import BodyLimitMiddleware
from tests.components.middleware.exchange import (
    Answer,
    exchange,
    http_scope,
    responding,
    websocket_scope,
)
from tests.servers import start_uvicorn


def parts(*sizes: int) -> list[Message]:
    last = len(sizes) - 1
    return [
        {"type": "http.request", "body": b"x" * size, "more_body": at < last}
        for at, size in enumerate(sizes)
    ]


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await responding(body=[str(size).encode()])(scope, receive, send)


def limited(app: ASGIApp, received: list[Message], **more: Any) -> Answer:
    return exchange(
        BodyLimitMiddleware(app, max_bytes=10), http_scope(method="POST", **more), received
    )


@given(st.lists(st.integers(0, 8), min_size=1, max_size=6))
def test_admits_exactly_what_is_not_longer(sizes: list[int]) -> None:
    answer = limited(reading, parts(*sizes))
    assert answer.status == (200 if sum(sizes) <= 10 else 413)


def test_says_what_is_wrong_in_the_shape_of_errors() -> None:
    answer = limited(reading, parts(11))
    assert json.loads(answer.body) == {
        "error": {
            "code": "body_too_large",
            "message": "the body is longer than 10 bytes",
            "details": {"max_bytes": 10},
        }
    }


@pytest.mark.parametrize("length", [b"11", b"0000000000011", b"9" * 5000])
def test_an_announced_body_is_refused_before_anything_is_read(length: bytes) -> None:
    async def untouched(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    if length.startswith(b"0"):
        length = length.lstrip(b"0")
    assert limited(untouched, [], headers=[(b"content-length", length)]).status == 413


@pytest.mark.parametrize("length", [b"", b"-1", b"1e9", b"\xb2", b"1, 2"])
def test_an_odd_announcement_is_counted(length: bytes) -> None:
    fields = [(b"content-length", length)]
    assert limited(reading, parts(5), headers=fields).status == 200
    assert limited(reading, parts(5, 6), headers=fields).status == 413


def test_nothing_is_kept_back_while_the_body_is_read() -> None:
    received = parts(4, 4, 4, 4)
    taken = iter(received)
    seen: list[Message] = []

    async def receive() -> Message:
        return next(taken)

    async def app(scope: Scope, _: Receive, send: Send) -> None:
        async def inner(scope: Scope, receive: Receive, send: Send) -> None:
            while True:
                seen.append(await receive())

        await BodyLimitMiddleware(inner, max_bytes=10)(scope, receive, send)

    assert exchange(app, http_scope()).status == 413
    assert seen == received[:2]
    assert next(taken) is received[3]


def test_an_application_that_hides_the_exception_still_answers_413() -> None:
    async def hiding(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
        except Exception:
            await responding(400)(scope, receive, send)

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        with pytest.raises(Exception, match="413"):
            await receive()

    async def grouping(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await receive()
        except Exception as error:
            raise ExceptionGroup("group", [error]) from None

    for app in (hiding, silent, grouping):
        assert limited(app, parts(11)).status == 413


def test_an_answer_that_has_begun_is_not_replaced() -> None:
    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()

    with pytest.raises(Exception, match="413"):
        limited(early, parts(11))


def test_errors_of_the_application_are_its_own() -> None:
    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("own")

    with pytest.raises(RuntimeError, match="own"):
        limited(failing, parts(1))


def test_exempt_paths_and_other_scopes_pass() -> None:
    app = BodyLimitMiddleware(reading, max_bytes=1, exempt=["/uploads/*"])
    assert exchange(app, http_scope("/uploads/a"), parts(5)).status == 200
    assert exchange(app, http_scope("/api/uploads/a", root_path="/api"), parts(5)).status == 200
    assert exchange(app, http_scope("/uploads"), parts(5)).status == 413
    for scope in (websocket_scope(), {"type": "lifespan"}):
        exchange(BodyLimitMiddleware(responding(), max_bytes=1), scope)


def test_fastapi_bodies_and_forms() -> None:
    app = FastAPI()

    @app.post("/json")
    async def take(body: dict[str, str]) -> dict[str, str]:
        return body

    @app.post("/form")
    async def form(request: Request) -> int:
        return len(await request.form())

    client = TestClient(BodyLimitMiddleware(app, max_bytes=100))
    assert client.post("/json", json={"a": "b"}).json() == {"a": "b"}
    assert client.post("/json", content=iter([b'{"a":', b'"' + b"x" * 200])).status_code == 413
    boundary = {"content-type": "multipart/form-data; boundary=x"}
    stream = iter([b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n', b"y" * 200])
    assert client.post("/form", content=stream, headers=boundary).status_code == 413


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 2000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n7d0\r\n"],
)
def test_a_real_server_tells_the_client(head: bytes) -> None:
    with (
        start_uvicorn("tests.components.middleware.test_body_limit:served") as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as client,
    ):
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n" + head + b"x" * 2000)
        assert client.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("options", [{"max_bytes": -1}, {"max_bytes": 1, "exempt": ["x"]}])
def test_refuses_what_is_no_limit(options: Any) -> None:
    with pytest.raises(ValueError):
        BodyLimitMiddleware(responding(), **options)
    with pytest.raises(TypeError):
        BodyLimitMiddleware(responding(), max_bytes=1, exempt="/a")


served = BodyLimitMiddleware(reading, max_bytes=1000)
