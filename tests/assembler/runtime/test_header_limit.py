"""The bound on a request line and its headers, under uvicorn with each of its parsers."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from uvicorn import Server
from websockets.sync.client import connect

from assembler.runtime.header_limit import LimitedConfig, limited

LIMIT = 4096
LAST = b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n\r\nend"
PARSERS = ("httptools", "h11")


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the size of the body, or echoes one word."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": (await receive())["text"]})
        await send({"type": "websocket.close"})
        return
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = str(size).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def running(parser: str) -> Iterator[int]:
    path = limited(LIMIT, {"http": parser}).http
    config = LimitedConfig(app, http=path, lifespan="off", log_level="critical", port=0)
    config.max_header_bytes = LIMIT
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = Server(config)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(timeout=20)
    assert not thread.is_alive()


@pytest.fixture(scope="module", params=PARSERS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    with running(request.param) as found:
        yield found


def answers(port: int, *parts: bytes) -> bytes:
    """Send all parts as far as the server takes them; return what it answers until it closes.

    One more request, after which it closes, follows them; what that one is answered is left out.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        with suppress(OSError):
            for part in (*parts, LAST):
                client.sendall(part)
        with suppress(OSError):
            while data := client.recv(65536):
                received += data
    before, _, last = received.rpartition(b"HTTP/1.1 ")
    return before if last.endswith(b"\r\n\r\n3") else received


def statuses(port: int, *parts: bytes) -> list[bytes]:
    found = answers(port, *parts).split(b"HTTP/1.1 ")[1:]
    return [answer[:3] for answer in found]


def head(size: int, *, target: bool = False, path: bytes = b"/") -> bytes:
    """A request whose line and headers have that many bytes, the empty line not counted."""
    before, after = (b"GET ", b" HTTP/1.1\r\nHost: x\r\nA: ")
    rest = size - len(before + path + after + b"\r\n")
    assert rest > 0
    if target:
        return before + path + b"x" * rest + after + b"\r\n\r\n"
    return before + path + after + b"x" * rest + b"\r\n\r\n"


@pytest.mark.parametrize("target", [False, True])
def test_headers_of_the_bound_pass_and_longer_ones_are_refused(port: int, target: bool) -> None:
    assert statuses(port, head(LIMIT, target=target)) == [b"200"]
    assert statuses(port, head(LIMIT + 1, target=target)) == [b"431"]
    assert statuses(port, head(100_000, target=target)) in (
        [b"431"],
        [],
    )  # or the client is cut off


def test_many_small_fields_count_together(port: int) -> None:
    fields = b"".join(b"A%d: b\r\n" % number for number in range(1000))
    assert statuses(port, b"GET / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n") in ([b"431"], [])


@pytest.mark.parametrize(
    "endless",
    [b"GET /", b"GET / HTTP/1.1\r\nHost: x\r\nA: ", b"GET / HTTP/1.1\r\nHost: x\r\nB"],
    ids=["target", "value", "name"],
)
def test_what_never_ends_is_cut_off_soon(port: int, endless: bytes) -> None:
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(endless)
        with suppress(OSError):
            while sent < 50_000_000:
                client.sendall(b"x" * 10_000)
                sent += 10_000
                time.sleep(0.001)
    assert sent < 20_000_000  # the system takes some of it before the server looks


def test_an_endless_trailer_is_cut_off(port: int) -> None:
    start = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nT: "
    sent = 0
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(start)
        with suppress(OSError):
            while sent < 50_000_000:
                client.sendall(b"x" * 10_000)
                sent += 10_000
                time.sleep(0.001)
    assert sent < 20_000_000  # the system takes some of it before the server looks


def test_a_body_is_as_long_as_it_likes(port: int) -> None:
    whole = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300_000
    assert answers(port, whole).endswith(b"300000")
    chunk = b"1\r\na\r\n" * 5000 + b"4000\r\n" + b"b" * 0x4000 + b"\r\n"
    start = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert answers(port, start + chunk + b"0\r\n\r\n").endswith(b"21384")


def test_each_of_several_requests_has_the_whole_bound(port: int) -> None:
    assert statuses(port, head(LIMIT) * 3) == [b"200"] * 3
    one = head(LIMIT)
    assert statuses(port, *(one[at : at + 700] for at in range(0, len(one), 700))) == [b"200"]


def test_a_late_request_that_is_too_long_is_refused_after_the_earlier_ones(port: int) -> None:
    first = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(first)
        answer = b""
        while not answer.endswith(b"\r\n\r\n0"):
            answer += client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        client.sendall(head(LIMIT + 1))
        answer = b""
        while data := client.recv(65536):
            answer += data
        assert answer.startswith(b"HTTP/1.1 431")


def test_what_is_no_http_is_told_as_ever(port: int) -> None:
    assert statuses(port, b"nonsense\r\n\r\n") == [b"400"]


def test_a_websocket_opens(port: int) -> None:
    with connect(f"ws://127.0.0.1:{port}/") as client:
        client.send("word")
        assert client.recv(timeout=30) == "word"
