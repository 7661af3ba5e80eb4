"""RequestLoggingMiddleware: its lines, where they go, and when."""

import asyncio
import gc
import json
import logging
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from components.access_log.line import LogLine, who
from components.middleware.request_id import RequestIDMiddleware
from components.middleware.request_logging import RequestLoggingMiddleware
from tests.components.middleware.exchange import exchange, http_scope, responding, websocket_scope

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Kept(logging.Handler):
    """Keeps the records it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(record.getMessage()) for record in self.records]


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, logger = Kept(), logging.getLogger("components.access")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def logged(app: ASGIApp, **options: Any) -> RequestLoggingMiddleware:
    return RequestLoggingMiddleware(app, **({"flush_interval": None} | options))


def test_one_line_of_json_says_what_happened(kept: Kept) -> None:
    app = logged(responding(201, body=(b"ab", b"cde")))
    ticks = iter([10.0, 10.25])
    app._clock = lambda: next(ticks)
    app._now = lambda: 1_700_000_000.5
    scope = http_scope("/items", "POST", state={"request_id": "abc", "traceparent": PARENT})
    exchange(app, scope)
    assert kept.lines == [
        {
            "time": "2023-11-14T22:13:20.500Z",
            "event": "request",
            "method": "POST",
            "path": "/items",
            "status": 201,
            "bytes": 5,
            "ms": 250.0,
            "request_id": "abc",
            "client": "198.51.100.7",
            "trace_id": PARENT[3:35],
            "span_id": PARENT[36:52],
        }
    ]
    record: Any = kept.records[0]
    assert (record.levelno, record.created) == (logging.INFO, 1_700_000_000.5)
    assert (record.request_id, record.span_id) == ("abc", PARENT[36:52])


def test_an_odd_state_of_someone_else_breaks_no_line(kept: Kept) -> None:
    exchange(logged(responding()), http_scope(state={"request_id": 7, "traceparent": 8}))
    exchange(logged(responding()), http_scope(state={"request_id": "", "traceparent": 'x"' * 40}))
    assert [line["request_id"] for line in kept.lines] == ["7", ""]


def test_head_has_no_bytes(kept: Kept) -> None:
    exchange(logged(responding()), http_scope(method="HEAD"))
    assert kept.lines[0]["bytes"] == 0


@pytest.mark.parametrize("outer", [True, False])
def test_knows_the_request_id_inside_and_outside_of_its_middleware(kept: Kept, outer: bool) -> None:
    app = (
        logged(RequestIDMiddleware(responding()))
        if outer
        else RequestIDMiddleware(logged(responding()))
    )
    answer = exchange(app, http_scope())
    assert kept.lines[0]["request_id"] == answer.one("x-request-id")


async def _endpoint(request: Request) -> PlainTextResponse:
    return PlainTextResponse("x")


def _nested() -> FastAPI:
    inner, outer = APIRouter(prefix="/inner/{a}"), APIRouter(prefix="/outer/{o}")
    inner.add_api_route("/x/{b}", lambda: "x")
    outer.include_router(inner, prefix="/p")
    app = FastAPI()
    app.include_router(outer, prefix="/api")
    app.mount("/sub", Starlette(routes=[Route("/q/{z:int}", _endpoint)]))
    return app


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/api/outer/1/p/inner/2/x/3", "/api/outer/{o}/p/inner/{a}/x/{b}"),
        ("/sub/q/7", "/sub/q/{z:int}"),
        ("/sub/nope", "/sub/nope"),
        ("/nope", "/nope"),
    ],
)
@pytest.mark.parametrize("root_path", ["", "/v2"])
@pytest.mark.parametrize("mounted", [False, True])
def test_the_path_is_the_whole_template(
    kept: Kept, path: str, template: str, root_path: str, mounted: bool
) -> None:
    app: Starlette = _nested()
    prefix = ""
    if mounted:
        app, prefix = Starlette(routes=[Mount("/m", app)]), "/m"
    scope = http_scope(root_path + prefix + path, root_path=root_path)
    exchange(logged(app), scope)
    line = kept.lines[0]
    unmatched = line["status"] == 404
    assert line["path"] == (root_path if unmatched else "") + prefix + template


@given(st.text(), st.text(), st.text())
def test_no_input_can_break_or_forge_a_line(path: str, method: str, given: str) -> None:
    scope = http_scope("/" + path, method, client=(given, 1), state={"request_id": given})
    scope["user"] = SimpleNamespace(display_name=given)
    writer = LogLine(max_length=64)
    line = writer.of_request(
        (logging.INFO, writer.of_request, 1.0, 200, 1, 0.1, "", None, *who(scope))
    )
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 5 * 64 * 12 + 300
    assert json.loads(line)["path"] == ("/" + path if len(path) < 64 else "/" + path[:62] + "…")


def test_what_is_kept_of_methods_is_bounded() -> None:
    writer = LogLine(max_length=64)
    for method in ("GET", "M" * 5000):
        scope = http_scope("/x", method) | {"route": SimpleNamespace(path="/x")}
        writer.of_request(
            (logging.INFO, writer.of_request, 1.0, 200, 1, 0.1, "", None, *who(scope))
        )
    assert list(writer._heads) == [("GET", "/x")]


def test_control_ansi_and_bidirectional_characters_are_inert(kept: Kept) -> None:
    exchange(
        logged(responding()), http_scope('/\r\n{"a"\x1b[31m\u202e\x7f\x00\u2028"', raw_path=None)
    )
    text = kept.records[0].getMessage()
    assert text.isascii()
    assert text.isprintable()
    assert kept.lines[0]["path"] == '/\r\n{"a"\x1b[31m\u202e\x7f\x00\u2028"'


class _Rude:
    @property
    def display_name(self) -> str:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ("ann", "ann"),
        (7, "7"),
        (SimpleNamespace(display_name="Ann"), "Ann"),
        (SimpleNamespace(display_name="", username="ann", id=1), "ann"),
        (SimpleNamespace(id=9), "9"),
        (SimpleNamespace(display_name=""), None),
        (_Rude(), None),
        (None, None),
    ],
)
def test_the_user_is_named_where_known(kept: Kept, user: Any, name: str | None) -> None:
    app = logged(responding())
    exchange(app, http_scope(user=user))
    exchange(app, http_scope(state={"user": user}))
    assert [line.get("user") for line in kept.lines] == [name, name]


def test_slow_requests_and_server_errors_are_warnings(kept: Kept) -> None:
    app = logged(responding(), slow=timedelta(seconds=2))
    ticks = iter([1.0, 3.0, 4.0, 5.9])
    app._clock = lambda: next(ticks)
    exchange(app, http_scope())
    exchange(app, http_scope())
    exchange(logged(responding(503)), http_scope())
    exchange(logged(responding(404)), http_scope())
    levels = [record.levelname for record in kept.records]
    assert levels == ["WARNING", "INFO", "WARNING", "INFO"]
    assert [line.get("slow") for line in kept.lines] == [True, None, None, None]


def test_an_exception_is_logged_as_500_and_raised_on(kept: Kept) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise LookupError("secret")

    with pytest.raises(LookupError):
        exchange(logged(app), http_scope())
    assert (kept.lines[0]["status"], kept.lines[0]["error"]) == (500, "LookupError")
    assert "secret" not in kept.records[0].getMessage()
    assert kept.records[0].levelname == "WARNING"


def test_sampling_keeps_slow_ones_and_errors(kept: Kept) -> None:
    draws = iter([0.1, 0.4, 0.9, 0.2])
    app = logged(responding(), sample=0.3)
    app._random = lambda: next(draws)
    for _ in range(4):
        exchange(app, http_scope())
    assert len(kept.records) == 2
    exchange(logged(responding(500), sample=0.0), http_scope())
    exchange(logged(responding(), sample=0.0, slow=timedelta(0)), http_scope())
    exchange(logged(responding(), sample=0.0), http_scope())
    assert [line["status"] for line in kept.lines[2:]] == [500, 200]


def test_excluded_paths_are_not_logged(kept: Kept) -> None:
    app = logged(responding(), exclude=["/health/*", "/ping"])
    for path in ("/health/live", "/ping", "/pings"):
        exchange(app, http_scope(path))
    exchange(app, http_scope("/v2/ping", root_path="/v2"))
    assert [line["path"] for line in kept.lines] == ["/pings"]


def test_a_client_that_went_away_is_recorded(kept: Kept) -> None:
    async def forever() -> Any:
        while True:
            yield b"x"
            await asyncio.sleep(0)

    async def stream(scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(forever())(scope, receive, send)

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()

    async def polling(scope: Scope, receive: Receive, send: Send) -> None:
        assert await Request(scope, receive).is_disconnected()
        await responding()(scope, receive, send)

    gone = [{"type": "http.disconnect"}]
    exchange(logged(stream), http_scope(), gone)
    with pytest.raises(ClientDisconnect):
        exchange(logged(reading), http_scope(), gone)
    exchange(logged(polling), http_scope(), gone)
    assert [line["disconnected"] for line in kept.lines] == [True, True, True]
    assert [line["status"] for line in kept.lines] == [200, 499, 200]


def test_a_disconnect_after_the_answer_is_none(kept: Kept) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await responding()(scope, receive, send)
        await receive()
        assert (await receive())["type"] == "http.disconnect"

    exchange(logged(app), http_scope())
    assert "disconnected" not in kept.lines[0]


def test_background_tasks_do_not_count_as_time(kept: Kept) -> None:
    ticks = iter([1.0, 1.5])
    ran: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        task = BackgroundTask(ran.append, 1)
        await PlainTextResponse("x", background=task)(scope, receive, send)

    middleware = logged(app)
    middleware._clock = lambda: next(ticks)
    exchange(middleware, http_scope())
    assert (kept.lines[0]["ms"], ran) == (500.0, [1])


def test_websockets_have_a_line_when_they_open_and_one_when_they_close(kept: Kept) -> None:
    app = FastAPI()

    @app.websocket("/ws/{room}")
    async def room(socket: WebSocket, room: str) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send_text(await socket.receive_text())
        except WebSocketDisconnect:
            pass

    with TestClient(logged(app)).websocket_connect("/ws/1") as socket:
        socket.send_text("a")
        socket.receive_text()
        socket.close(4001)
    opened, closed = kept.lines
    assert (opened["event"], opened["path"]) == ("websocket.open", "/ws/{room}")
    assert (closed["event"], closed["code"]) == ("websocket.close", 4001)
    assert (closed["sent"], closed["received"]) == (1, 1)


@pytest.mark.parametrize(
    ("messages", "fails", "events"),
    [
        (["websocket.close"], False, [("websocket.refused", None)]),
        ([], True, [("websocket.failed", None)]),
        (["websocket.accept"], True, [("websocket.open", None), ("websocket.close", 1011)]),
        (
            ["websocket.accept", "websocket.close"],
            False,
            [("websocket.open", None), ("websocket.close", 1000)],
        ),
    ],
)
def test_websockets_that_are_refused_fail_or_are_closed_here(
    kept: Kept, messages: list[str], fails: bool, events: list[tuple[str, int | None]]
) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for kind in messages:
            await send({"type": kind})
        if fails:
            raise LookupError

    try:
        exchange(logged(app), websocket_scope())
    except LookupError:
        assert fails
    assert [(line["event"], line.get("code")) for line in kept.lines] == events
    assert (kept.records[-1].levelname == "WARNING") is fails


def test_records_wait_for_the_timer_and_warnings_take_the_waiting_along(kept: Kept) -> None:
    app = RequestLoggingMiddleware(responding(), flush_interval=timedelta(milliseconds=1))
    failing = responding(500)

    async def run() -> None:
        async def request(path: str) -> None:
            async def receive() -> Message:
                return {"type": "http.request"}

            async def send(message: Message) -> None:
                pass

            await app(http_scope(path), receive, send)

        await request("/one")
        assert kept.records == []
        while not kept.records:  # noqa: ASYNC110 - a logging handler has nothing to await
            await asyncio.sleep(0)
        await request("/two")
        assert len(kept.records) == 1
        app.app = failing
        await request("/three")

    asyncio.run(run())
    assert [line["path"] for line in kept.lines] == ["/one", "/two", "/three"]


@pytest.mark.parametrize("factory", [logging.LogRecord, type("Own", (logging.LogRecord,), {})])
def test_the_records_of_a_batch_share_nothing_but_their_process(kept: Kept, factory: Any) -> None:
    def mark(record: logging.LogRecord) -> bool:
        assert not hasattr(record, "marked")
        record.marked = True
        return True

    kept.addFilter(mark)
    app = RequestLoggingMiddleware(responding(), flush_interval=timedelta(hours=1))
    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(factory)
    try:
        for at, now in enumerate((1_700_000_000.25, 1_700_000_060.5)):
            app._now = partial(float, now)
            exchange(app, http_scope(f"/{at}", state={"request_id": f"id-{at}"}))
        app._sink.flush()
    finally:
        logging.setLogRecordFactory(before)
    first, second = kept.records
    assert type(first) is type(second) is factory
    assert [line["path"] for line in kept.lines] == ["/0", "/1"]
    assert [vars(record)["request_id"] for record in kept.records] == ["id-0", "id-1"]
    assert (first.msecs, second.msecs, second.created - first.created) == (250.0, 500.0, 60.25)
    assert round(second.relativeCreated - first.relativeCreated) == 60_250
    assert first.process == second.process == os.getpid()
    assert vars(first).keys() == vars(second).keys()


def test_the_end_of_the_lifespan_flushes(kept: Kept) -> None:
    app = Starlette(routes=[Route("/", _endpoint)])
    app.add_middleware(RequestLoggingMiddleware, flush_interval=timedelta(hours=1))
    with TestClient(app) as client:
        client.get("/")
        assert kept.records == []
    assert len(kept.records) == 1


def test_a_loop_that_ended_without_its_timer_does_not_stop_the_next(kept: Kept) -> None:
    app = RequestLoggingMiddleware(responding(), flush_interval=timedelta(milliseconds=1))
    exchange(app, http_scope("/one"))

    async def second(scope: Scope, receive: Receive, send: Send) -> None:
        await app(http_scope("/two"), receive, send)
        while not kept.records:  # noqa: ASYNC110 - a logging handler has nothing to await
            await asyncio.sleep(0)

    exchange(second, http_scope())
    assert [line["path"] for line in kept.lines] == ["/one", "/two"]


def test_a_full_buffer_is_written_at_once(kept: Kept) -> None:
    app = RequestLoggingMiddleware(responding(), flush_interval=timedelta(hours=1))

    async def many(scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(1500):
            await app(http_scope(), receive, send)

    exchange(many, http_scope())
    assert len(kept.records) == 5 * 256


def test_a_logger_that_takes_no_info_costs_no_line() -> None:
    app = logged(responding(), logger="components.access.silent")
    logging.getLogger("components.access.silent").setLevel(logging.ERROR)
    app._now = lambda: pytest.fail("a line was begun")
    exchange(app, http_scope())


def test_an_app_that_is_thrown_away_leaves_nothing_but_its_lines(kept: Kept) -> None:
    app = RequestLoggingMiddleware(responding(), flush_interval=timedelta(hours=1))
    exchange(app, http_scope())
    buffer = weakref.ref(app._sink._buffer)
    del app
    gc.collect()
    assert buffer() is None
    assert len(kept.records) == 1


def test_a_file_gets_lines_and_may_be_rotated(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    app = RequestLoggingMiddleware(responding(), sink=str(path))
    for name in ("/one", "/two"):
        exchange(app, http_scope(name))
    assert not path.exists()
    app._sink.flush()
    assert [json.loads(line)["path"] for line in path.read_text().splitlines()] == ["/one", "/two"]
    path.rename(tmp_path / "access.log.1")
    exchange(app, http_scope("/three"))
    app._sink.flush()
    assert json.loads(path.read_text())["path"] == "/three"


def test_lines_that_cannot_be_written_are_counted_and_said(tmp_path: Path) -> None:
    path = tmp_path / "later" / "access.log"
    app = RequestLoggingMiddleware(responding(), sink=str(path))
    exchange(app, http_scope())
    app._sink.flush()
    path.parent.mkdir()
    exchange(app, http_scope())
    app._sink.flush()
    said, line = map(json.loads, path.read_text().splitlines())
    assert said == {"event": "lines-lost", "lines": 1}
    assert line["status"] == 200


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_standard_stream_gets_lines(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    app = RequestLoggingMiddleware(responding(), sink=name)
    exchange(app, http_scope())
    app._sink.flush()
    written = capsys.readouterr()
    assert json.loads(written.out if name == "stdout" else written.err)["path"] == "/items"


PROGRAM = """
import os, sys
from components.middleware.request_logging import RequestLoggingMiddleware
from tests.components.middleware.exchange import exchange, http_scope, responding
app = RequestLoggingMiddleware(responding(), sink=sys.argv[1])
exchange(app, http_scope("/parent"))
if os.fork() == 0:
    exchange(app, http_scope("/child"))
    sys.exit()
os.wait()
"""


def test_the_end_of_a_process_flushes_and_a_fork_repeats_nothing(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    root = Path(__file__).parents[3]
    subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)],
        check=True,
        env=os.environ | {"PYTHONPATH": str(root)},
        timeout=60,
    )
    paths = [json.loads(line)["path"] for line in path.read_text().splitlines()]
    assert paths == ["/parent", "/child"]


@pytest.mark.parametrize(
    "options",
    [
        {"sink": "stdot"},
        {"sample": 1.5},
        {"sample": -0.1},
        {"max_length": 3},
        {"exclude": ["health"]},
        {"flush_interval": timedelta(seconds=-1)},
    ],
)
def test_refuses_options_that_are_not_what_they_should_be(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        RequestLoggingMiddleware(responding(), **options)
