"""The service, as its owners test it."""

from fastapi import FastAPI
from fastapi.testclient import TestClient


def test_a_note_is_kept_and_read(app: FastAPI) -> None:
    with TestClient(app) as client:
        number = client.post("/notes", json={"text": "Milk"}).json()["id"]
        assert client.get(f"/notes/{number}/raw").text == "Milk"
        assert client.get("/notes/99").json() == {"detail": "no note 99"}


def test_each_answer_says_who_asked_and_how_long_it_took(app: FastAPI) -> None:
    with TestClient(app) as client:
        answer = client.get("/notes", headers={"X-Request-ID": "abc"})
        assert answer.headers["X-Request-ID"] == "abc"
        assert answer.headers["Server-Timing"].startswith("app;dur=")


def test_robots_are_refused_before_anything_is_measured(app: FastAPI) -> None:
    with TestClient(app) as client:
        answer = client.get("/notes", headers={"User-Agent": "Robot/1.0"})
    assert answer.status_code == 403
    assert "Server-Timing" not in answer.headers
    assert "X-Request-ID" not in answer.headers


def test_the_root_links_to_a_note(app: FastAPI) -> None:
    with TestClient(app) as client:
        body = client.get("/").json()
    assert body == {"notes": 1, "first": "http://testserver/notes/1", "title": app.title}


def test_notes_come_over_a_websocket_too(app: FastAPI) -> None:
    with TestClient(app) as client, client.websocket_connect("/ws") as socket:
        socket.send_text("by wire")
        assert socket.receive_json() == {"id": 2, "text": "by wire", "tags": []}


def test_all_is_forgotten_at_the_end(app: FastAPI) -> None:
    for _ in range(2):
        with TestClient(app) as client:
            assert app.state.started
            assert len(client.get("/notes").json()) == 1
            client.post("/notes", json={"text": "Milk"})
        assert not app.state.started
