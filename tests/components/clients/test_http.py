"""The shared client, before a service on a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from components.clients import close_all
from components.clients.http import DeadlineExceeded, HTTPClient, client
from tests.components.clients.serving import Service, serving, slow
from tests.servers import free_port

OK = PlainTextResponse("ok")
MS = timedelta(milliseconds=1)
Call = Callable[[HTTPClient], Awaitable[Any]]


def calling(service: Service, call: Call, **options: Any) -> Any:
    """What a call returns, with a client of its own."""

    async def run() -> Any:
        async with client(base_url=service.url, **options) as http:
            return await call(http)

    return asyncio.run(run())


def answer(status: int, **headers: str) -> Response:
    return Response(
        status_code=status, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


def test_a_client_is_an_httpx2_client_with_a_base_url_and_headers() -> None:
    with serving(OK) as service:
        found = calling(service, lambda http: http.get("/a/b"), headers={"x-key": "k"})
    assert found.text == "ok"
    assert (service.seen[0].path, service.seen[0].headers["x-key"]) == ("/a/b", "k")
    assert isinstance(client(), httpx2.AsyncClient)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_an_idempotent_request_is_tried_again(method: str, status: int) -> None:
    with serving(answer(status), OK) as service:
        found = calling(service, lambda http: http.request(method, "/"))
    assert found.status_code == 200
    assert [seen.method for seen in service.seen] == [method, method]


@pytest.mark.parametrize(
    ("first", "headers", "tries"),
    [
        (answer(502), {}, 1),
        (answer(503), {}, 1),
        (answer(503, retry_after="0"), {}, 2),
        (answer(429), {}, 2),
        (answer(502), {"Idempotency-Key": "k"}, 2),
        (answer(500), {"Idempotency-Key": "k"}, 1),
    ],
)
def test_a_post_is_tried_again_only_where_it_was_surely_not_handled(
    first: Response, headers: dict[str, str], tries: int
) -> None:
    with serving(first, OK) as service:
        calling(service, lambda http: http.post("/", json={"a": 1}, headers=headers))
    assert [seen.body for seen in service.seen] == [b'{"a":1}'] * tries


def test_the_last_answer_is_the_callers() -> None:
    with serving(answer(503)) as service:
        found = calling(service, lambda http: http.get("/"), retries=1)
    assert (found.status_code, len(service.seen)) == (503, 2)


def test_a_retry_after_is_waited_for() -> None:
    with serving(answer(429, retry_after="1"), OK) as service:
        assert calling(service, lambda http: http.get("/")).status_code == 200
    first, second = service.seen
    assert second.at - first.at >= 1


def test_a_retry_after_beyond_the_deadline_is_not_waited_for() -> None:
    with serving(answer(429, retry_after="3600"), OK) as service:
        assert calling(service, lambda http: http.get("/")).status_code == 429
    assert len(service.seen) == 1


def test_a_body_that_is_gone_is_not_sent_again() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"part"

    with serving(answer(429), OK) as service:
        found = calling(service, lambda http: http.put("/", content=body()))
    assert (found.status_code, len(service.seen)) == (429, 1)


def test_a_call_ends_at_its_deadline() -> None:
    with serving(slow) as service, pytest.raises(DeadlineExceeded, match=r"deadline of 0\.2 s"):
        calling(service, lambda http: http.get("/"), deadline=200 * MS)


def test_a_silence_ends_a_try_and_an_idempotent_call_goes_on() -> None:
    with serving(slow, OK) as service:
        assert calling(service, lambda http: http.get("/"), timeout=1000 * MS).text == "ok"
    with serving(slow, OK) as service, pytest.raises(httpx2.ReadTimeout):
        calling(service, lambda http: http.post("/"), timeout=1000 * MS)


def test_a_refused_connection_is_tried_again_with_any_method() -> None:
    port = free_port()

    async def story() -> str:
        async with client(base_url=f"http://127.0.0.1:{port}") as http:
            asking = asyncio.create_task(http.post("/"))
            await asyncio.sleep(0.1)
            with socket.create_server(("127.0.0.1", port)) as listener:
                listener.setblocking(False)
                loop = asyncio.get_running_loop()
                peer, _ = await loop.sock_accept(listener)
                with peer:
                    await loop.sock_recv(peer, 65536)
                    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
                    await loop.sock_sendall(peer, reply)
                    return (await asking).text

    assert asyncio.run(story()) == "ok"


def test_a_connection_that_breaks_is_tried_again_only_for_an_idempotent_call() -> None:
    async def story(method: str) -> tuple[int, bool]:
        tries = 0

        async def break_off(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal tries
            tries += 1
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(break_off, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            async with client(base_url=f"http://127.0.0.1:{port}", retries=1) as http:
                await http.request(method, "/")
        except httpx2.TransportError:
            return tries, True
        finally:
            server.close()
            await server.wait_closed()
        return tries, False

    assert asyncio.run(story("GET")) == (2, True)
    assert asyncio.run(story("POST")) == (1, True)


def test_a_stream_is_tried_again_until_it_begins() -> None:
    async def read(http: HTTPClient) -> bytes:
        async with http.stream("GET", "/") as response:
            return b"".join([part async for part in response.aiter_bytes()])

    with serving(answer(503), OK) as service:
        assert calling(service, read, max_connections=1) == b"ok"


def test_cookies_of_one_answer_are_not_sent_with_the_next_request() -> None:
    async def twice(http: HTTPClient) -> None:
        await http.get("/")
        await http.get("/")

    with serving(answer(200, set_cookie="session=somebodys"), OK) as service:
        calling(service, twice)
    assert "cookie" not in service.seen[1].headers


def test_no_more_connections_than_allowed() -> None:
    async def pause(_request: Request) -> Response:
        await asyncio.sleep(0.02)
        return OK

    async def many(http: HTTPClient) -> None:
        await asyncio.gather(*(http.get("/") for _ in range(20)))

    with serving(pause) as service:
        calling(service, many, max_connections=3)
    assert service.most_at_once <= 3


def test_a_client_serves_one_lifespan_after_another_in_a_bare_app() -> None:
    with serving(OK) as service:
        shared = client(base_url=service.url)

        @asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
            async with shared:
                yield {"shop": shared}

        async def proxy(request: Request) -> Response:
            return PlainTextResponse((await request.state.shop.get("/")).text)

        app = Starlette(routes=[Route("/", proxy)], lifespan=lifespan)
        for _ in range(3):
            with TestClient(app) as browser:
                assert browser.get("/").text == "ok"
            assert shared.is_closed


def test_a_closed_client_sends_nothing() -> None:
    async def story() -> None:
        http = client()
        await close_all(clients=[http, http])
        with pytest.raises(RuntimeError, match="has been closed"):
            await http.get("http://127.0.0.1/")

    asyncio.run(story())


def test_clients_are_all_closed_though_one_fails() -> None:
    class Broken:
        async def aclose(self) -> None:
            raise OSError("stuck")

    async def story() -> None:
        http = client()
        with pytest.raises(ExceptionGroup, match="1 of 2 clients did not close") as caught:
            await close_all(clients=[Broken(), http])
        assert isinstance(caught.value.exceptions[0], OSError)
        assert http.is_closed
        await close_all()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"retries": -1}, "`retries`"),
        ({"max_connections": 0}, "`max_connections`"),
        ({"verify": "/absent.pem"}, "`verify` names no file of certificates: `/absent.pem`"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        client(**options)
