"""The estate service talks: what a change by HTTP tells on channels, and what becomes of the news."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from assembler.testing import Assembled
from tests.components.mcp.issuer import token

SECRET = "what-tests-sign-their-tokens-with"
LISTING = {
    "title": "Flat by the sea",
    "kind": "apartment",
    "purpose": "sale",
    "status": "active",
    "price": 250_000,
    "area_m2": 80,
    "city": "Lisbon",
    "locality": "Alfama",
}


def bearer(user: str, role: str | None = None) -> dict[str, str]:
    more = {"app_metadata": {"role": role}} if role else {}
    text = token(SECRET, iss="https://issuer.example", sub=user, **more)
    return {"authorization": f"Bearer {text}"}


ADMIN = bearer("root", "admin")
ANN = bearer("ann")


@pytest.fixture
def client(assembled: Assembled) -> TestClient:
    return assembled("manifests/test.yaml")


def run_job(client: TestClient, id: str) -> Any:
    jobs = client.app.state.assembly.jobs  # type: ignore[attr-defined]  # FastAPI's
    assert client.portal is not None
    return client.portal.call(jobs.run_now, id)


def told(socket: Any) -> Any:
    word = socket.receive_json()
    assert word["type"] == "message", word
    return word["data"]


def test_changes_of_listings_are_told_to_all_and_drafts_to_nobody(client: TestClient) -> None:
    with (
        client.websocket_connect("/api/v1/ws/listings") as everywhere,
        client.websocket_connect("/api/v1/ws/listings?city=lisbon") as lisbon,
    ):
        assert everywhere.receive_json()["type"] == lisbon.receive_json()["type"] == "ready"
        draft = {**LISTING, "status": "draft", "title": "Secret"}
        hidden = client.post("/api/v1/listings", json=draft, headers=ADMIN).json()["id"]
        client.patch(f"/api/v1/listings/{hidden}", json={"price": 1}, headers=ADMIN)
        client.post("/api/v1/listings", json={**LISTING, "city": "Pune"}, headers=ADMIN)
        id_ = client.post("/api/v1/listings", json=LISTING, headers=ADMIN).json()["id"]
        client.patch(f"/api/v1/listings/{id_}", json={"price": 240_000}, headers=ADMIN)
        client.patch(f"/api/v1/listings/{id_}", json={"city": "Porto"}, headers=ADMIN)
        client.patch(f"/api/v1/listings/{id_}", json={"status": "sold"}, headers=ADMIN)
        assert told(everywhere)["cities"] == ["Pune"]
        for socket in (everywhere, lisbon):
            listed, cheaper, moved = told(socket), told(socket), told(socket)
            assert (listed["event"], listed["id"], listed["price"]) == ("listed", id_, 250_000)
            assert (cheaper["event"], cheaper["old_price"]) == ("changed", 250_000)
            assert moved["cities"] == ["Lisbon", "Porto"]
        ended = told(everywhere)
        assert (ended["event"], ended["cities"]) == ("ended", ["Porto"])
        assert "price" not in ended
        client.patch(f"/api/v1/listings/{hidden}", json={"status": "active"}, headers=ADMIN)
        client.delete(f"/api/v1/listings/{hidden}", headers=ADMIN)
        assert [told(everywhere)["event"] for _ in range(2)] == ["listed", "ended"]


def test_a_lower_price_of_a_saved_listing_comes_over_the_channel_and_as_a_push_message(
    client: TestClient,
) -> None:
    id_ = client.post("/api/v1/listings", json=LISTING, headers=ADMIN).json()["id"]
    device = {"token": "a-device-of-ann", "platform": "ios"}
    assert client.post("/api/v1/me/devices", json=device, headers=ANN).status_code == 201
    assert client.put(f"/api/v1/me/saved/{id_}", headers=ANN).status_code == 204
    assert client.put("/api/v1/me/saved/999999", headers=ANN).status_code == 404
    assert client.get("/api/v1/me/saved", headers=ANN).json() == {"items": [id_]}
    with client.websocket_connect("/api/v1/ws/notifications", headers=ANN) as socket:
        socket.receive_json()
        client.patch(f"/api/v1/listings/{id_}", json={"price": 260_000}, headers=ADMIN)
        client.patch(f"/api/v1/listings/{id_}", json={"price": 200_000}, headers=ADMIN)
        news = told(socket)
        assert news["kind"] == "price"
        assert "200,000" in news["body"]
        assert news["link"] == f"/share/listings/{id_}"
    assert run_job(client, "deliver-notifications").outcome == "ok"
    (item,) = client.get("/api/v1/me/notifications", headers=ANN).json()["items"]
    assert (item["way"], item["state"], item["kind"]) == ("push", "sent", "price")
    other = client.get("/api/v1/me/notifications", headers=bearer("bob")).json()
    assert other == {"items": []}


def test_a_booked_visit_and_a_post_are_news_for_who_wants_them(client: TestClient) -> None:
    id_ = client.post("/api/v1/listings", json=LISTING, headers=ADMIN).json()["id"]
    wants = {"push": True, "sms": "never", "digest": False}
    assert client.put("/api/v1/me/preferences/post", json=wants, headers=ANN).status_code == 200
    with client.websocket_connect("/api/v1/ws/notifications", headers=ANN) as socket:
        socket.receive_json()
        at = (datetime.now(UTC) + timedelta(days=2)).isoformat()
        visit = client.post("/api/v1/visits", json={"listing_id": id_, "at": at}, headers=ANN)
        assert visit.status_code == 201
        assert told(socket)["kind"] == "visit"
        post = client.post("/api/v1/posts", json={"title": "Quiet streets"}, headers=ADMIN).json()
        for _ in range(2):  # the second time it is public already
            client.post(f"/api/v1/posts/{post['id']}/publish", headers=ADMIN)
        assert told(socket)["body"] == "Quiet streets"
    items = client.get("/api/v1/me/notifications", headers=ANN).json()["items"]
    assert [item["kind"] for item in items] == ["post", "visit"]


def test_a_change_that_is_rolled_back_tells_nobody(client: TestClient) -> None:
    id_ = client.post("/api/v1/listings", json=LISTING, headers=ADMIN).json()["id"]
    at = {"listing_id": id_, "at": "2020-01-01T10:00:00Z"}
    assert client.post("/api/v1/visits", json=at, headers=ANN).status_code == 409
    assert client.get("/api/v1/me/notifications", headers=ANN).json() == {"items": []}


def test_ends_of_jobs_are_told_to_administrators_alone(client: TestClient) -> None:
    for headers, status in (({}, 401), (ANN, 403)):
        with (
            pytest.raises(WebSocketDisconnect) as caught,
            client.websocket_connect("/api/v1/ws/jobs", headers=headers),
        ):
            """Never."""
        assert getattr(caught.value, "status_code", status) == status
        assert client.get("/api/v1/events/jobs", headers=headers).status_code == status
    with client.websocket_connect("/api/v1/ws/jobs", headers=ADMIN) as socket:
        socket.receive_json()
        run_job(client, "publish-posts")
        end = told(socket)
        assert (end["job"], end["outcome"]) == ("publish-posts", "ok")


def test_a_ticket_stands_for_its_user_and_channel(client: TestClient) -> None:
    wanted = {"channel": "notifications"}
    assert client.post("/api/v1/tickets", json=wanted).status_code == 401
    assert client.post("/api/v1/tickets", json={"channel": "x"}, headers=ANN).status_code == 404
    made = client.post("/api/v1/tickets", json=wanted, headers=ANN)
    assert (made.status_code, made.json()["expires_in"]) == (201, 30)
    path = f"/api/v1/ws/notifications?ticket={made.json()['ticket']}"
    with client.websocket_connect(path) as socket:
        assert socket.receive_json()["type"] == "ready"
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(path):
        """Never a second time."""
    jobs = client.post("/api/v1/tickets", json={"channel": "jobs"}, headers=ANN).json()["ticket"]
    answer = client.get(f"/api/v1/events/jobs?ticket={jobs}")
    assert answer.status_code == 403  # the ticket is worth what its user is


def test_a_storm_of_those_who_come_back_makes_no_database_query(client: TestClient) -> None:
    statements: list[str] = []
    db = client.app.state.assembly.resources["db"]  # type: ignore[attr-defined]  # FastAPI's
    with client.websocket_connect("/api/v1/ws/notifications", headers=ANN) as socket:
        place = socket.receive_json()["position"]

    def note(*arguments: Any) -> None:
        statements.append(str(arguments[2]))

    event.listen(db.sync_engine, "before_cursor_execute", note)
    for _ in range(25):
        wanted = {"channel": "notifications"}
        ticket = client.post("/api/v1/tickets", json=wanted, headers=ANN).json()["ticket"]
        path = f"/api/v1/ws/notifications?since={place}&ticket={ticket}"
        with client.websocket_connect(path) as socket:
            assert socket.receive_json() == {"type": "ready", "position": place}
    assert [one for one in statements if "changes" not in one and "BEGIN" not in one] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("settings", {"timezone": "Mars/Olympus"}),
        ("settings", {"quiet_from": "22:00"}),
        ("settings", {"quiet_from": "22:00", "quiet_until": "22:00"}),
        ("settings", {"quiet_from": "24:00", "quiet_until": "07:00"}),
        ("settings", {"phone": "0123"}),
        ("settings", {"phone": "+919876543210\n"}),
        ("settings", {"more": 1}),
        ("preferences/visit", {"sms": "sometimes"}),
        ("preferences/else", {}),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    client: TestClient, path: str, body: dict[str, Any]
) -> None:
    assert client.put(f"/api/v1/me/{path}", json=body, headers=ANN).status_code == 422


def test_settings_and_preferences_are_kept(client: TestClient) -> None:
    wanted = {
        "timezone": "Europe/Lisbon",
        "quiet_from": "23:30",
        "quiet_until": "06:05",
        "digest_at": "00:00",
        "phone": "+351911111111",
    }
    assert client.get("/api/v1/me/settings", headers=ANN).json()["timezone"] == "Asia/Kolkata"
    for _ in range(2):
        assert client.put("/api/v1/me/settings", json=wanted, headers=ANN).json() == wanted
    assert client.get("/api/v1/me/settings", headers=ANN).json() == wanted
    preferences = client.get("/api/v1/me/preferences", headers=ANN).json()
    assert preferences["post"] == {"push": False, "sms": "never", "digest": False}
    assert client.get("/api/v1/me/settings").status_code == 401


def test_a_device_belongs_to_who_registered_it_last(client: TestClient) -> None:
    device = {"token": "one-telephone", "platform": "android"}
    first = client.post("/api/v1/me/devices", json=device, headers=ANN).json()
    bob = bearer("bob")
    second = client.post("/api/v1/me/devices", json=device, headers=bob).json()
    assert client.get("/api/v1/me/devices", headers=ANN).json() == {"items": []}
    assert "token" not in client.get("/api/v1/me/devices", headers=bob).json()["items"][0]
    assert client.delete(f"/api/v1/me/devices/{second['id']}", headers=ANN).status_code == 404
    assert client.delete(f"/api/v1/me/devices/{second['id']}", headers=bob).status_code == 204
    assert first["id"] != second["id"]
    for number in range(25):
        device = {"token": f"telephone-{number:02d}", "platform": "android"}
        client.post("/api/v1/me/devices", json=device, headers=ANN)
    kept = client.get("/api/v1/me/devices", headers=ANN).json()["items"]
    assert len(kept) == 20
