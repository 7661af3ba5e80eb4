"""Sockets that are bound before a start and listen after it."""

import asyncio
import socket
from typing import Any

import pytest
from uvicorn import Config

from assembler.diagnostics.errors import UsageError
from assembler.runtime.listener import ListeningServer, bind, place, tell
from tests.waiting import until


class Noting:
    """An application that tries its own address during its start, and ends its server after it."""

    def __init__(self) -> None:
        self.port = 0
        self.was_open: bool | None = None
        self.events: list[str] = []
        self.during: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        await receive()
        self.events.append("start")
        self.was_open = is_open(self.port)
        if self.during is not None:
            self.during()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self.events.append("stop")
        await send({"type": "lifespan.shutdown.complete"})


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except OSError:
        return False
    return True


def config(app: Any, host: str = "127.0.0.1", port: int = 0) -> Config:
    return Config(app, host=host, port=port, log_config=None)


def test_the_port_is_ours_before_the_start_and_opens_after_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(app: Noting) -> None:
        settings = config(app)
        sockets = bind(settings)
        assert sockets is not None
        app.port = sockets[0].getsockname()[1]
        server = ListeningServer(settings)
        with caplog.at_level("INFO", "uvicorn.error"):
            serving = asyncio.create_task(server.serve(sockets))
            await until(lambda: server.started)
            tell(settings, sockets)
        assert await asyncio.to_thread(is_open, app.port)
        server.should_exit = True
        await serving

    app = Noting()
    asyncio.run(main(app))
    assert app.was_open is False
    assert app.events == ["start", "stop"]
    assert f"running on http://127.0.0.1:{app.port} " in caplog.text


def test_a_port_that_another_process_takes_meanwhile_ends_the_start_in_order() -> None:
    app = Noting()
    settings = config(app)
    sockets = bind(settings)
    assert sockets is not None
    app.port = sockets[0].getsockname()[1]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

        def take() -> None:
            other.bind(("127.0.0.1", app.port))
            other.listen()

        app.during = take
        with pytest.raises(SystemExit) as ended:
            asyncio.run(ListeningServer(settings).serve(sockets))
    assert ended.value.code == 3
    assert app.events == ["start", "stop"]
    for each in sockets:
        each.close()


def test_a_port_in_use_and_a_host_that_is_not_there_are_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"^cannot listen on 127\.0\.0\.1:{port}: address al"):
            bind(config(None, port=port))
    for host in ("no-such-host.invalid", "192.0.2.1"):
        with pytest.raises(UsageError, match=f"^cannot listen on {host}:8000: "):
            bind(config(None, host=host, port=8000))


def test_a_host_of_two_families_is_bound_in_each_on_one_port() -> None:
    sockets = bind(config(None, host="localhost"))
    assert sockets is not None
    try:
        assert len({bound.getsockname()[1] for bound in sockets}) == 1
        families = [bound.family for bound in sockets]
        assert families
        assert len(families) == len(set(families))
    finally:
        for bound in sockets:
            bound.close()


def test_a_unix_socket_is_left_to_uvicorn() -> None:
    assert bind(Config(None, uds="a.sock", log_config=None)) is None  # type: ignore[arg-type]  # no app is run


def test_places_are_written_as_in_urls() -> None:
    assert place("::1", 80) == "[::1]:80"
    assert place("", 80) == "0.0.0.0:80"
