"""Exceptions leave the stack as exceptions, and their answers travel back through it."""

import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from tests.assembler.sample_app.journal import events
from tests.assembler.sample_app.world import built

ORIGIN = {"origin": "https://app.example.com"}
ROUTES = "routes: [{use: $parts.api.router}]"


@pytest.fixture(autouse=True)
def _empty_journal() -> None:
    events.clear()


def app_of(folder: Path, *, layers: str = "", handlers: str = "") -> FastAPI:
    """The router under CORS, a label, and `layers`; inside all of them a second label."""
    cors = "starlette.middleware.cors.CORSMiddleware"
    return built(
        folder,
        f"""
        middleware:
          - {{use: {cors}, with: {{allow_origins: ["{ORIGIN["origin"]}"]}}}}
          - {{id: outer, use: $parts.layers.Label, with: {{name: outer}}}}
          {f"- {layers}" if layers else ""}
          - {{id: inner, use: $parts.layers.Label, with: {{name: inner}}}}
        exception_handlers: [{handlers}]
        {ROUTES}
        """,
    )


def client_of(app: FastAPI, *, raising: bool = False) -> TestClient:
    """A client; one that is `raising` raises what reaches the server."""
    return TestClient(app, headers=ORIGIN, raise_server_exceptions=raising)


def assert_travelled(response: Any, *labels: str) -> None:
    assert response.headers["access-control-allow-origin"] == ORIGIN["origin"]
    assert response.headers.get_list("x-labels") == list(labels)


CATCH_ALL = "{catch: Exception, use: $parts.api.as_json}"


def test_the_500_of_a_route_has_the_headers_of_every_layer(tmp_path: Path) -> None:
    client = client_of(app_of(tmp_path, handlers=CATCH_ALL))
    response = client.get("/raise/value")
    assert response.status_code == 500
    assert response.json() == {"handler": "as_json", "error": "ValueError", "context": "none"}
    assert_travelled(response, "inner", "outer")
    assert events == ["outer in", "inner in"]  # neither layer has come to its end


def test_without_any_handler_the_500_is_plain_and_travels_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    response = client_of(app_of(tmp_path)).get("/raise/value")
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert_travelled(response, "inner", "outer")
    [record] = [record for record in caplog.records if record.name == "assembler.error"]
    assert record.getMessage() == "unhandled exception in GET '/raise/value'"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


def observed(app: FastAPI) -> list[str]:
    """Stand between Starlette's outermost layer and the rest, as instrumentation does; tell what passes."""
    seen: list[str] = []
    build = app.build_middleware_stack

    def with_observer() -> Any:
        outermost: Any = build()
        inner = outermost.app

        async def observer(scope: Scope, receive: Receive, send: Send) -> None:
            async def sent(message: Message) -> None:
                seen.append(message["type"])
                await send(message)

            try:
                await inner(scope, receive, sent)
            except Exception as error:
                seen.append(type(error).__name__)
                raise

        outermost.app = observer
        return outermost

    app.build_middleware_stack = with_observer  # type: ignore[method-assign]  # as they do it
    app.middleware_stack = app.build_middleware_stack()
    return seen


@pytest.mark.parametrize("handlers", ["", CATCH_ALL])
def test_who_stands_between_sees_the_exception_before_its_answer(
    tmp_path: Path, handlers: str
) -> None:
    app = app_of(tmp_path, handlers=handlers)
    seen = observed(app)
    response = client_of(app).get("/raise/value")
    assert response.status_code == 500
    assert_travelled(response, "inner", "outer")
    assert seen == ["ValueError", "http.response.start", "http.response.body"]


@pytest.mark.parametrize("handlers", ["", CATCH_ALL])
def test_what_is_raised_outside_of_all_layers_is_answered_as_in_starlette(
    tmp_path: Path, handlers: str
) -> None:
    app = app_of(tmp_path, handlers=handlers)

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ValueError

    outermost: Any = app.middleware_stack
    outermost.app = broken
    response = client_of(app).get("/")
    assert response.status_code == 500
    assert ("as_json" in response.text) == bool(handlers)


def test_a_path_cannot_forge_a_line_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layer = "{use: $parts.layers.Faulty, with: {moment: before}}"
    client_of(app_of(tmp_path, layers=layer)).get("/a%0AINFO forged/faulty")
    [record] = [record for record in caplog.records if record.name == "assembler.error"]
    assert "\n" not in record.getMessage()


@pytest.mark.parametrize(("moment", "labels"), [("before", ["outer"]), ("at_start", ["outer"])])
def test_the_exception_of_a_layer_is_answered_by_the_layers_outside_it(
    tmp_path: Path, moment: str, labels: list[str]
) -> None:
    layer = f"{{use: $parts.layers.Faulty, with: {{moment: {moment}}}}}"
    response = client_of(app_of(tmp_path, layers=layer, handlers=CATCH_ALL)).get("/faulty")
    assert response.status_code == 500
    assert response.json()["error"] == "RuntimeError"
    assert_travelled(response, *labels)


def test_the_exception_of_the_outermost_layer_is_answered(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        "middleware: [{use: $parts.layers.Faulty, with: {moment: before}}]\n"
        f"exception_handlers: [{CATCH_ALL}]\n{ROUTES}",
    )
    assert client_of(app).get("/faulty").json()["handler"] == "as_json"


def test_a_handler_for_a_class_answers_routes_and_layers_alike(tmp_path: Path) -> None:
    handler = "{catch: RuntimeError, use: $parts.api.Answering, with: {word: one, status: 502}}"
    layer = "{use: $parts.layers.Faulty, with: {moment: before}}"
    app = app_of(tmp_path, layers=layer, handlers=handler)
    response = client_of(app).get("/faulty")
    assert (response.status_code, response.json()) == (502, {"handler": "one"})
    assert_travelled(response, "outer")


@pytest.mark.parametrize("use", ["as_json", "as_json_async"])
def test_handlers_may_be_sync_or_async_and_see_context_variables(tmp_path: Path, use: str) -> None:
    app = app_of(
        tmp_path,
        layers="{use: $parts.layers.SetsContext}",
        handlers=f"{{catch: Exception, use: $parts.api.{use}}}",
    )
    client = client_of(app)
    answer = client.get("/raise/value").json()
    assert answer == {"handler": use, "error": "ValueError", "context": "from the layer"}
    assert client.get("/hello").json()["context"] == "from the layer"


def test_a_handler_that_fails_gives_the_plain_500_and_both_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handlers = "{catch: Exception, use: $parts.api.failing_handler}"
    response = client_of(app_of(tmp_path, handlers=handlers)).get("/raise/value")
    assert (response.status_code, response.text) == (500, "Internal Server Error")
    assert_travelled(response, "inner", "outer")
    messages = [
        record.getMessage() for record in caplog.records if record.name == "assembler.error"
    ]
    assert messages == [
        "unhandled exception in GET '/raise/value'",
        "the handler of ValueError failed",
    ]


def test_a_handler_sees_the_head_of_the_request(tmp_path: Path) -> None:
    handlers = "{catch: Exception, use: $parts.api.reading_handler}"
    response = client_of(app_of(tmp_path, handlers=handlers)).get(
        "/raise/value?page=2", headers={"x-word": "seen"}
    )
    assert response.json() == {"handler": "seen", "query": "page=2"}


def test_a_handler_of_http_500_answers_that_status_and_is_the_last_resort(tmp_path: Path) -> None:
    app = app_of(tmp_path, handlers="{catch: 500, use: $parts.api.as_json}")
    client = client_of(app)
    assert client.get("/raise/http/500").json()["error"] == "HTTPException"
    assert client.get("/raise/value").json()["error"] == "ValueError"
    assert client.get("/raise/http/404").json() == {"detail": "with detail"}


BY_STATUS = "{catch: 401, use: $parts.api.Answering, with: {word: by status, status: 401}}"
BY_CLASS = "{catch: fastapi.HTTPException, use: $parts.api.Answering, with: {word: by class}}"
BASE = "{catch: $parts.api.AppError, use: $parts.api.Answering, with: {word: base}}"
SPECIAL = "{catch: $parts.api.SpecialError, use: $parts.api.Answering, with: {word: special}}"


@pytest.mark.parametrize("backwards", [False, True])
def test_the_closest_handler_answers_whatever_their_order(tmp_path: Path, backwards: bool) -> None:
    handlers = [CATCH_ALL, BASE, SPECIAL, BY_CLASS, BY_STATUS]
    app = app_of(tmp_path, handlers=", ".join(handlers[:: -1 if backwards else 1]))
    client = client_of(app)
    answers = {
        path: client.get(f"/raise/{path}").json()["handler"]
        for path in ("http/401", "http/409", "app", "special", "value")
    }
    assert answers == {
        "http/401": "by status",
        "http/409": "by class",
        "app": "base",
        "special": "special",
        "value": "as_json",
    }


@pytest.mark.newest
def test_an_exception_after_the_start_is_raised_to_the_server(tmp_path: Path) -> None:
    layer = "{use: $parts.layers.Faulty, with: {moment: after}}"
    client = client_of(app_of(tmp_path, layers=layer, handlers=CATCH_ALL), raising=True)
    with pytest.raises(RuntimeError, match="a faulty layer"):
        client.get("/faulty")
    with pytest.raises(RuntimeError, match="the stream broke"):
        client.get("/stream?fail_at=2")


def test_a_start_that_a_layer_holds_back_is_no_start_outside_it(tmp_path: Path) -> None:
    layer = "{use: $parts.layers.Buffering}"
    response = client_of(app_of(tmp_path, layers=layer, handlers=CATCH_ALL)).get(
        "/stream?fail_at=0"
    )
    assert response.json()["handler"] == "as_json"
    assert_travelled(response, "outer")


def test_a_layer_may_ask_twice(tmp_path: Path) -> None:
    layer = "{use: $parts.layers.Twice}"
    response = client_of(app_of(tmp_path, layers=layer, handlers=CATCH_ALL)).get("/raise/value")
    assert response.json()["handler"] == "as_json"
    assert events.count("dropped http.response.start") == 1


def test_streams_compression_and_background_tasks_pass_untouched(tmp_path: Path) -> None:
    layer = "{use: starlette.middleware.gzip.GZipMiddleware, with: {minimum_size: 100}}"
    client = client_of(app_of(tmp_path, layers=layer, handlers=CATCH_ALL))
    assert client.get("/stream").text == "chunk 0;chunk 1;chunk 2;"
    big = client.get("/big")
    assert (big.headers["content-encoding"], len(big.text)) == ("gzip", 5000)
    assert client.get("/background").json() == "answered"
    assert "background work" in events


def test_a_failing_background_task_is_raised_to_the_server(tmp_path: Path) -> None:
    client = client_of(app_of(tmp_path, handlers=CATCH_ALL), raising=True)
    with pytest.raises(RuntimeError, match="the background task broke"):
        client.get("/background?fail=true")


def test_websockets_pass_untouched(tmp_path: Path) -> None:
    client = client_of(app_of(tmp_path, handlers=CATCH_ALL))
    with client.websocket_connect("/state") as socket:
        assert socket.receive_json() == {}
    with (
        pytest.raises(RuntimeError, match="a broken socket"),
        client.websocket_connect("/broken-socket") as socket,
    ):
        socket.receive_json()
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/no-such-socket"):
        pass


def test_nothing_is_logged_as_unhandled_when_a_handler_is_meant_for_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    layer = "{use: $parts.layers.Faulty, with: {moment: before}}"
    handler = "{catch: RuntimeError, use: $parts.api.as_json}"
    with caplog.at_level(logging.DEBUG, "assembler"):
        client_of(app_of(tmp_path, layers=layer, handlers=handler)).get("/faulty")
    assert [record for record in caplog.records if record.name == "assembler.error"] == []
