import asyncio
import logging
import socket
import threading
from datetime import timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.responses import PlainTextResponse

from components.clients.http import client
from components.dns import prewarm
from tests.components.clients.serving import serving


def test_the_addresses_of_a_host_are_told_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="components.dns"):
        found = asyncio.run(prewarm(url="postgresql://user:word@localhost:5432/name"))
    assert {"127.0.0.1", "::1"} & set(found)
    (record,) = caplog.records
    assert record.getMessage() == f"`localhost` has the addresses {', '.join(found)}"
    assert "word" not in caplog.text


def test_an_address_is_its_own() -> None:
    assert asyncio.run(prewarm(url="http://[::1]:8000/a")) == ["::1"]
    assert asyncio.run(prewarm(url=SecretStr("http://127.0.0.1"))) == ["127.0.0.1"]


def test_a_host_without_an_address_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(socket.gaierror, match="has no address"):
        asyncio.run(prewarm(url=f"https://{'x' * 70}.example/"))

    def refuse(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    # what a resolver without a network does is not ours to wait for
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(
        socket.gaierror, match="`unknown` has no address: Name or service"
    ) as caught:
        asyncio.run(prewarm(url="https://unknown/"))
    assert caught.value.errno == socket.EAI_NONAME


@pytest.mark.parametrize(
    "url", ["", "localhost", "/path", "http://", "http://h:secret/", "http://[x"]
)
def test_a_url_without_a_host_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="`url` has no host") as caught:
        asyncio.run(prewarm(url=url))
    assert "secret" not in str(caught.value)


def test_a_resolver_that_hangs_is_left_to_a_daemon_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def hang(*_: Any, **__: Any) -> list[Any]:
        go.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(TimeoutError, match=r"the addresses of `h` did not come within 0\.05 s"):
        asyncio.run(prewarm(url="http://h/", timeout=timedelta(milliseconds=50)))
    (thread,) = [t for t in threading.enumerate() if t.name == "dns-prewarm"]
    assert thread.daemon
    go.set()
    thread.join(10)


def test_a_client_has_a_connection_open_when_it_is_done() -> None:
    async def story(url: str) -> None:
        async with client() as http:
            await prewarm(url=url, client=http)
            await http.get(url)

    peers: set[object] = set()

    async def answer(request: Any) -> PlainTextResponse:
        peers.add(request.client)
        return PlainTextResponse("absent", 404)

    with serving(answer) as service:
        asyncio.run(story(service.url))
    assert [seen.method for seen in service.seen] == ["HEAD", "GET"]
    assert len(peers) == 1
