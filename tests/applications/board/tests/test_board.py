"""The board, as its owners test it."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect


def test_two_draw_together(app: FastAPI) -> None:
    with (
        TestClient(app) as client,
        client.websocket_connect("/ws/lobby?name=ann") as ann,
        client.websocket_connect("/ws/lobby?name=bob") as bob,
    ):
        ann.send_text("circle")
        assert ann.receive_text() == bob.receive_text() == "ann: circle"
        assert client.get("/api/rooms/lobby/strokes").json() == ["ann: circle"]


def test_who_comes_late_sees_what_was_drawn(app: FastAPI) -> None:
    with TestClient(app) as client:
        client.post("/api/rooms/attic/strokes?stroke=line")
        with client.websocket_connect("/ws/attic?name=cy") as socket:
            assert socket.receive_text() == "line"


def test_nobody_comes_without_a_name(app: FastAPI) -> None:
    with (
        TestClient(app) as client,
        pytest.raises(WebSocketDisconnect) as refused,
        client.websocket_connect("/ws/lobby"),
    ):
        pass
    assert refused.value.code == 1008


def test_pages_and_files_are_served(app: FastAPI) -> None:
    with TestClient(app) as client:
        page = client.get("/rooms/lobby")
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert app.url_path_for("static", path="app.js") == "/static/app.js"
        assert "WebSocket" in client.get("/static/app.js").text
        assert client.get("/api/nowhere").json() == {"error": "no data at /api/nowhere"}


def test_each_start_finds_the_rooms_empty(app: FastAPI) -> None:
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/api/rooms/lobby/strokes").json() == []
            client.post("/api/rooms/lobby/strokes?stroke=line")
            assert app.state.rooms.strokes == {"lobby": ["line"]}
