"""Channels over websockets and event streams, on a real server."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import websockets
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message
from starlette.websockets import WebSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

from components.cache import memory_cache
from components.channels import Channels, memory_channels
from components.channels.endpoint import ChannelEndpoint
from components.channels.tickets import HandshakeTokens, Tickets, _name
from components.mcp.gate import BearerGate
from components.mcp.protected import Mount
from components.mcp.resource_server import ResourceServer
from tests.components.mcp.issuer import SECRET, token
from tests.components.middleware.exchange import http_scope
from tests.servers import free_port, serve
from tests.waiting import until

ISSUER = "https://issuer.example"
ORIGIN = "https://app.example"


class Site:
    """A bare Starlette application with channels, in a thread; `channels` live in its loop."""

    def __init__(self, **options: Any) -> None:
        self.channels: Channels = memory_channels()
        self.tickets = Tickets(store=memory_cache(), ttl=options.pop("ttl", timedelta(seconds=30)))
        self.resource_server = ResourceServer(
            base_url="https://api.example",
            issuer=ISSUER,
            secret=SecretStr(SECRET),
            scopes_implied=["mcp:read", "mcp:write"],
            mounts={
                "/ws/own": Mount(),
                "/ws/jobs": Mount(roles=("admin",)),
                "/events/own": Mount(),
                "/tickets": Mount(),
            },
        )
        self.endpoint = ChannelEndpoint(
            verifier=self.resource_server, **{"origins": [ORIGIN], **options}
        )
        self.queries: list[bytes] = []
        self.port = free_port()
        self.log: list[str] = []

    def app(self) -> ASGIApp:
        async def socket_of(websocket: WebSocket) -> None:
            self.queries.append(websocket.scope["query_string"])
            name = websocket.path_params["name"]
            wanted = (lambda data: data != "other") if "some" in websocket.query_params else None
            await self.endpoint.websocket(websocket, name, wanted=wanted)

        async def events(request: Request) -> Any:
            return self.endpoint.events(request, request.path_params["name"])

        async def publish(request: Request) -> JSONResponse:
            body = await request.json()
            for value in body["values"]:
                await self.channels.publish(body["channel"], value)
            return JSONResponse({"readers": self.channels.readers})

        async def drain(request: Request) -> JSONResponse:
            self.channels.on_drain(0.1)
            return JSONResponse({})

        async def ticket(request: Request) -> JSONResponse:
            given = request.headers["authorization"].partition(" ")[2]
            channel = request.query_params["channel"]
            return JSONResponse({"ticket": await self.tickets.issue(given, channel)})

        @asynccontextmanager
        async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
            await self.channels.open()
            yield {"channels": self.channels}
            await self.channels.aclose()

        app: ASGIApp = Starlette(
            lifespan=lifespan,
            routes=[
                WebSocketRoute("/ws/{name}", socket_of),
                Route("/events/{name}", events),
                Route("/publish", publish, methods=["POST"]),
                Route("/drain", drain, methods=["POST"]),
                Route("/tickets", ticket, methods=["POST"]),
            ],
        )
        gate = BearerGate(app, resource_server=self.resource_server)
        return HandshakeTokens(gate, tickets=self.tickets, paths=["/ws/*", "/events/*"])

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> httpx2.AsyncClient:
        """A client without certificates, which take long to load."""
        return httpx2.AsyncClient(base_url=self.http, timeout=30, verify=False)

    async def publish(self, channel: str, *values: Any) -> int:
        async with self.client() as client:
            body = {"channel": channel, "values": values}
            answer = await client.post("/publish", json=body)
        count: int = answer.json()["readers"]
        return count

    async def ticket(self, channel: str, given: str) -> str:
        headers = {"authorization": f"Bearer {given}"}
        async with self.client() as client:
            answer = await client.post("/tickets", params={"channel": channel}, headers=headers)
        text: str = answer.json()["ticket"]
        return text


@contextlib.contextmanager
def serving(site: Site) -> Iterator[Site]:
    with serve(site.app(), port=site.port, ws_per_message_deflate=False):
        yield site


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as made:
        yield made


def user(name: str = "u-1", **claims: Any) -> str:
    return token(SECRET, iss=ISSUER, sub=name, **claims)


def bearer(given: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {given}"}


def play(story: Any) -> None:
    asyncio.run(asyncio.wait_for(story, 60))


async def word(connection: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await asyncio.wait_for(connection.recv(), 30))
    return found


async def refusal(url: str, **options: Any) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as caught:
        async with websockets.connect(url, **options):
            """Never."""
    return caught.value


async def close_code(connection: Any) -> tuple[int, str]:
    try:
        while True:
            await asyncio.wait_for(connection.recv(), 30)
    except ConnectionClosed as closed:
        end = closed.rcvd
    return (end.code, end.reason) if end is not None else (1006, "")


def test_a_client_gets_what_is_published_and_what_it_missed(site: Site) -> None:
    async def story() -> None:
        async with websockets.connect(f"{site.ws}/c") as connection:
            ready = await word(connection)
            assert ready["type"] == "ready"
            await site.publish("c", {"n": 1}, {"n": 2})
            first, second = await word(connection), await word(connection)
            assert [first["data"], second["data"]] == [{"n": 1}, {"n": 2}]
        await site.publish("c", {"n": 3})
        async with websockets.connect(f"{site.ws}/c?since={first['position']}") as connection:
            assert (await word(connection))["position"] == first["position"]
            assert [(await word(connection))["data"]["n"] for _ in range(2)] == [2, 3]

    play(story())


@pytest.mark.parametrize("since", ["rubbish", "0123456789ab:7", "a:b", "%00"])
def test_a_place_that_is_not_known_is_a_gap(site: Site, since: str) -> None:
    async def story() -> None:
        async with websockets.connect(f"{site.ws}/c?since={since}") as connection:
            assert (await word(connection))["type"] == "ready"
            gap = await word(connection)
            assert (gap["type"], gap["reason"]) == ("gap", "reset")
            await site.publish("c", 1)
            assert (await word(connection))["data"] == 1

    play(story())


@pytest.mark.parametrize(
    ("origin", "admitted"),
    [
        (None, True),
        (ORIGIN, True),
        ("HTTPS://APP.example", True),
        ("https://evil.example", False),
        ("https://app.example.evil.example", False),
        ("null", False),
        ("own", True),
    ],
)
def test_pages_of_other_origins_are_refused_before_anything_is_accepted(
    site: Site, origin: str | None, admitted: bool
) -> None:
    async def story() -> None:
        given = site.http if origin == "own" else origin
        if admitted:
            async with websockets.connect(f"{site.ws}/c", origin=given) as connection:  # type: ignore[arg-type]  # any text
                assert (await word(connection))["type"] == "ready"
        else:
            refused = await refusal(f"{site.ws}/c", origin=given)
            assert refused.response.status_code == 403
        headers = {} if given is None else {"origin": given}
        async with (
            site.client() as client,
            client.stream("GET", "/events/c", headers=headers) as answer,
        ):
            assert answer.status_code == (200 if admitted else 403)

    play(story())


def test_a_route_of_fastapi_streams() -> None:
    endpoint, channels = ChannelEndpoint(), memory_channels()
    api = FastAPI()

    @api.get("/events", response_class=Response)
    def events(request: Request) -> Any:
        request.state.channels = channels
        return endpoint.events(request, "c")

    async def story() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()
        sent: list[Any] = []

        async def receive() -> Any:
            if not begun.is_set():
                begun.set()
                return {"type": "http.request", "body": b"", "more_body": False}
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == "http.response.body":
                ended.set()

        await channels.open()
        await asyncio.wait_for(api(http_scope(path="/events"), receive, send), 30)
        await channels.aclose()
        assert sent[0]["status"] == 200
        types = [value for name, value in sent[0]["headers"] if name == b"content-type"]
        assert types == [b"text/event-stream; charset=utf-8"]
        assert b"retry:" in sent[1]["body"]

    play(story())


def test_two_origins_are_refused(site: Site) -> None:
    async def story() -> None:
        more = [("origin", ORIGIN), ("origin", ORIGIN)]
        refused = await refusal(f"{site.ws}/c", additional_headers=more)
        assert refused.response.status_code in {400, 403}  # some servers refuse it themselves
        async with site.client() as client:
            assert (await client.get("/events/c", headers=more)).status_code == 403

    play(story())


@pytest.mark.parametrize("way", ["header", "subprotocol", "ticket"])
def test_a_token_comes_by_header_subprotocol_or_ticket(site: Site, way: str) -> None:
    async def story() -> None:
        given, query = user(), ""
        options: dict[str, Any] = {}
        if way == "header":
            options = {"additional_headers": bearer(given)}
        elif way == "subprotocol":
            options = {"subprotocols": ["channels.v1", f"bearer.{given}"]}
        else:
            query = f"?ticket={await site.ticket('own', given)}&x=%C3%A9"
        async with websockets.connect(f"{site.ws}/own{query}", **options) as connection:
            assert (await word(connection))["type"] == "ready"
            assert connection.subprotocol == ("channels.v1" if way == "subprotocol" else None)
        assert all(b"ticket" not in one for one in site.queries)
        assert site.queries[-1] == (b"x=%C3%A9" if way == "ticket" else b"")

    play(story())


def test_a_ticket_opens_one_channel_once(site: Site) -> None:
    async def story() -> None:
        ticket = await site.ticket("own", user())
        async with websockets.connect(f"{site.ws}/own?ticket={ticket}") as connection:
            await word(connection)
        again = await refusal(f"{site.ws}/own?ticket={ticket}")
        assert again.response.status_code == 401
        other = await site.ticket("c", user())
        assert (await refusal(f"{site.ws}/own?ticket={other}")).response.status_code == 401
        # a wrong door has burnt it
        assert (await refusal(f"{site.ws}/own?ticket={other}")).response.status_code == 401
        for bad in ("x", "", "a" * 43, "é", "x" * 5000):
            assert (await refusal(f"{site.ws}/own?ticket={bad}")).response.status_code == 401
        two = f"ticket={await site.ticket('own', user())}&ticket=x"
        assert (await refusal(f"{site.ws}/own?{two}")).response.status_code == 401

    play(story())


def test_of_many_who_have_the_same_ticket_one_comes_in() -> None:
    async def story() -> None:
        tickets = Tickets(store=memory_cache())
        ticket = await tickets.issue("t", "c")
        found = await asyncio.gather(*(tickets.redeem(ticket, "c") for _ in range(50)))
        assert sorted(one or "" for one in found) == [""] * 49 + ["t"]

    play(story())


def test_a_ticket_ends_and_its_store_tells_nothing() -> None:
    async def story() -> None:
        cache = memory_cache()
        tickets = Tickets(store=cache, ttl=timedelta(milliseconds=30))
        ticket = await tickets.issue("a-secret-token", "c")
        kept = repr(vars(cache._entries)) + repr(
            await cache.namespace("tickets").get(_name(ticket))
        )
        assert "a-secret-token" not in kept
        assert ticket not in kept
        await asyncio.sleep(0.05)
        assert await tickets.redeem(ticket, "c") is None

    play(story())


def test_a_token_in_the_query_is_refused(site: Site) -> None:
    async def story() -> None:
        refused = await refusal(f"{site.ws}/own?access_token={user()}")
        assert refused.response.status_code == 401

    play(story())


def test_channels_of_a_role_are_refused_to_others(site: Site) -> None:
    async def story() -> None:
        url = f"{site.ws}/jobs"
        assert (await refusal(url)).response.status_code == 401
        denied = await refusal(url, additional_headers=bearer(user()))
        assert denied.response.status_code == 403
        admin = user(app_metadata={"role": "admin"})
        async with websockets.connect(url, additional_headers=bearer(admin)) as connection:
            assert (await word(connection))["type"] == "ready"

    play(story())


def test_a_connection_ends_with_its_token_unless_it_is_renewed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The endpoint's clock, which it looks at often here, is the test's; the token is valid."""
    monkeypatch.setattr("components.channels.endpoint._LONGEST_WAIT_SECONDS", 0.02)
    ahead = 0

    async def story(site: Site) -> None:
        nonlocal ahead
        soon = int(time.time()) + 600
        headers = bearer(user(exp=soon))
        async with (
            websockets.connect(f"{site.ws}/own", additional_headers=headers) as left,
            websockets.connect(f"{site.ws}/own", additional_headers=headers) as renewed,
        ):
            await word(left)
            await word(renewed)
            await renewed.send(json.dumps({"type": "renew", "token": user("somebody else")}))
            assert await word(renewed) == {"type": "refused"}
            await renewed.send(json.dumps({"type": "renew", "token": "x.y.z"}))
            assert await word(renewed) == {"type": "refused"}
            await renewed.send(json.dumps({"type": "renew", "token": user(exp=soon + 1200)}))
            assert await word(renewed) == {"type": "renewed"}
            ahead = 601
            assert await close_code(left) == (4401, "the token has expired")
            await site.publish("own", 1)
            assert (await word(renewed))["data"] == 1
        async with site.client() as client:
            answer = await client.get("/events/own", headers=headers)
            assert "event: expired" in answer.text

    with serving(Site(now=lambda: time.time() + ahead)) as site:
        play(story(site))


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("hello", 1008),
        ("[]", 1008),
        ('{"type":"publish"}', 1008),
        ('{"type":"renew"}', 1008),
        (b"\x00\x01", 1008),
        ("[" * 9000, 1008),
        ("x" * 20_000, 1009),
    ],
)
def test_what_is_not_understood_ends_the_connection(
    site: Site, said: str | bytes, code: int
) -> None:
    async def story() -> None:
        async with websockets.connect(f"{site.ws}/c") as connection:
            await word(connection)
            await connection.send(said)
            assert (await close_code(connection))[0] == code
        await until(lambda: site.channels.readers == 0)

    play(story())


def test_connections_are_bounded_and_counted_down() -> None:
    async def story(site: Site) -> None:
        first = await websockets.connect(f"{site.ws}/c")
        second = await websockets.connect(f"{site.ws}/c")
        refused = await refusal(f"{site.ws}/c")
        assert refused.response.status_code == 429
        assert refused.response.headers["retry-after"]
        async with site.client() as client:
            assert (await client.get("/events/c")).status_code == 429
        async with websockets.connect(f"{site.ws}/own", additional_headers=bearer(user())):
            """A user is counted alone."""
        await first.close()
        await until(lambda: site.channels.readers == 1)
        third = await websockets.connect(f"{site.ws}/c")
        await second.close()
        await third.close()
        await until(lambda: site.channels.readers == 0)
        assert site.endpoint._count == 0
        assert not site.endpoint._clients

    with serving(Site(max_per_client=2)) as site:
        play(story(site))


def test_only_what_is_wanted_is_sent_and_the_place_goes_on(site: Site) -> None:
    async def story() -> None:
        async with websockets.connect(f"{site.ws}/c?some") as connection:
            await word(connection)
            await site.publish("c", *["other"] * 150)
            told = await word(connection)
            assert told["type"] == "position"
            await site.publish("c", "mine")
            assert (await word(connection))["data"] == "mine"

    play(story())


def test_a_slow_reader_holds_up_nobody() -> None:
    async def story(site: Site) -> None:
        slow = socket.create_connection(("127.0.0.1", site.port))
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        head = f"GET /ws/c HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n"
        slow.sendall(head.encode())  # and then it reads nothing
        await until(lambda: site.channels.readers == 1)
        async with websockets.connect(f"{site.ws}/c", max_queue=None) as fast:
            await word(fast)
            big = "x" * 50_000
            for n in range(100):
                await site.publish("c", [n, big])
                assert (await word(fast))["data"][0] == n
        await until(lambda: site.channels.readers == 0, seconds=30)  # both are gone
        slow.close()

    with serving(Site(queue=8, overflow="disconnect")) as site:
        play(story(site))


def test_a_reader_that_was_too_slow_is_told_of_a_gap() -> None:
    async def story(site: Site) -> None:
        async with websockets.connect(f"{site.ws}/c", max_queue=1) as slow:
            await word(slow)
            for n in range(300):
                await site.publish("c", [n, "x" * 60_000])
            seen, gaps, last = 0, 0, -1
            while last < 299:
                told = await word(slow)
                if told["type"] == "gap":
                    assert told["reason"] == "slow"
                    gaps += 1
                else:
                    seen, last = seen + 1, told["data"][0]
            assert gaps >= 1
            assert seen < 300

    with serving(Site(queue=8)) as site:
        play(story(site))


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("closed"), ConnectionError()])
def test_a_client_that_goes_while_something_is_sent_is_no_fault_of_the_service(
    error: Exception,
) -> None:
    async def story() -> None:
        channels = memory_channels()
        await channels.open()
        came = asyncio.Event()

        async def receive() -> Message:
            if not came.is_set():
                came.set()
                return {"type": "websocket.connect"}
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            if message["type"] == "websocket.send":
                raise error

        scope = {"type": "websocket", "path": "/", "query_string": b"", "headers": []}
        websocket = WebSocket({**scope, "state": {"channels": channels}}, receive, send)
        await asyncio.wait_for(ChannelEndpoint().websocket(websocket, "listings"), 20)
        assert channels.readers == 0
        await channels.aclose()

    asyncio.run(story())


def test_a_drain_closes_with_1012_and_then_refuses(site: Site) -> None:
    async def story() -> None:
        connections = [await websockets.connect(f"{site.ws}/c") for _ in range(5)]
        async with site.client() as client:
            stream = asyncio.create_task(client.get("/events/c"))
            await until(lambda: site.channels.readers == 6)
            await client.post("/drain")
            for connection in connections:
                assert await close_code(connection) == (1012, "the service restarts")
            text = (await stream).text
            assert text.rstrip().rpartition("\n")[2].startswith("retry: ")  # not all at once
            refused = await refusal(f"{site.ws}/c")
            assert refused.response.status_code == 503
            assert refused.response.headers["retry-after"]

    play(story())


def events_of(text: str) -> list[dict[str, str]]:
    found = []
    for block in text.split("\n\n"):
        lines = [line.partition(": ") for line in block.split("\n") if ": " in line]
        found.append({name: value for name, _, value in lines if name})
    return [one for one in found if one]


async def stream_of(site: Site, count: int, **headers: str) -> list[dict[str, str]]:
    """The first events of a stream."""
    async with (
        site.client() as client,
        client.stream("GET", "/events/c", headers=headers) as answer,
    ):
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        text = ""
        async for part in answer.aiter_text():
            text += part
            if len(events_of(text)) >= count:
                return events_of(text)[:count]
    raise AssertionError(text)


def test_an_event_stream_goes_on_after_the_last_event(site: Site) -> None:
    async def story() -> None:
        reading = asyncio.create_task(stream_of(site, 3))
        await until(lambda: site.channels.readers == 1)
        await site.publish("c", {"n": 1}, {"n": 2})
        hello, first, second = await reading
        assert "retry" in hello
        assert [json.loads(one["data"])["n"] for one in (first, second)] == [1, 2]
        again = await stream_of(site, 2, **{"last-event-id": first["id"]})
        assert again[0]["id"] == first["id"]
        assert json.loads(again[1]["data"]) == {"n": 2}
        lost = await stream_of(site, 2, **{"last-event-id": "0123456789ab:1"})
        assert (lost[1]["event"], json.loads(lost[1]["data"])) == ("gap", {"reason": "reset"})
        await until(lambda: site.channels.readers == 0)

    play(story())


def test_a_silent_event_stream_says_that_it_lives() -> None:
    async def story(site: Site) -> None:
        async with (
            site.client() as client,
            client.stream("GET", "/events/c") as answer,
        ):
            text = ""
            async for part in answer.aiter_text():
                text += part
                if text.count(": still here") == 2:
                    return
            raise AssertionError(text)

    with serving(Site(heartbeat=timedelta(milliseconds=50))) as site:
        play(story(site))


def test_without_channels_it_says_so() -> None:
    async def events(request: Request) -> Any:
        return ChannelEndpoint().events(request, "c")

    async def story() -> None:
        transport = httpx2.ASGITransport(Starlette(routes=[Route("/", events)]))
        async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
            assert (await client.get("/")).status_code == 503

    play(story())


def test_origins_are_a_list() -> None:
    with pytest.raises(TypeError, match="list of origins"):
        ChannelEndpoint(origins="*")
