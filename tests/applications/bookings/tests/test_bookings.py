"""The service, as its owners test it."""

from fastapi import FastAPI
from fastapi.testclient import TestClient

STANDUP = {
    "room_id": 1,
    "starts": "2027-03-01T09:00:00",
    "ends": "2027-03-01T10:00:00",
    "title": "Stand-up",
}


def test_a_room_is_booked_once(app: FastAPI) -> None:
    with TestClient(app) as client:
        assert client.post("/api/bookings", json=STANDUP).status_code == 201
        again = client.post("/api/bookings", json=STANDUP)
    assert again.status_code == 409
    assert again.headers["X-Room-Free"] == "2027-03-01T10:00:00"


def test_each_start_has_a_database_of_its_own(app: FastAPI) -> None:
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/api/bookings").json() == []
            assert client.post("/api/bookings", json=STANDUP).status_code == 201
            assert len(client.get("/api/rooms").json()) == app.state.rooms == 3


def test_errors_have_one_shape(app: FastAPI) -> None:
    with TestClient(app) as client:
        assert client.get("/api/rooms/9").json()["error"] == "room_not_found"
        assert client.get("/api/rooms/first").json() == {
            "error": "invalid",
            "fields": ["path.number"],
        }


def test_each_answer_says_its_version(app: FastAPI) -> None:
    with TestClient(app) as client:
        answer = client.get("/api/rooms", headers={"Origin": "https://rooms.example.com"})
    assert answer.headers["X-Version"] == app.version == app.state.settings.version
    assert answer.headers["Access-Control-Allow-Origin"] == "https://rooms.example.com"
