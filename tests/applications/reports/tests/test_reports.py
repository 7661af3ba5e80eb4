"""The service, as its owners test it."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

ADMIN = {"X-Role": "admin"}


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, raise_server_exceptions=False)


def test_what_is_published_stays_as_it_is(client: TestClient) -> None:
    with client:
        number = client.post("/reports", json={"title": "March", "state": "ready"}).json()["id"]
        assert client.post("/admin/publish", headers=ADMIN).json() == {"published": 1}
        edited = client.put(f"/reports/{number}", json={"title": "April"})
    assert edited.status_code == 423
    assert edited.json() == {"detail": "report 1 is locked", "ask": "desk@example.com"}


def test_only_admins_administrate(client: TestClient) -> None:
    with client:
        assert client.get("/admin/count").json() == {"detail": "not for you in Reports"}


def test_answers_stay_out_of_caches(client: TestClient) -> None:
    with client:
        assert client.get("/health").headers["Cache-Control"] == "no-store"


def test_what_goes_wrong_is_told_with_whom_to_ask(client: TestClient) -> None:
    with client:
        answer = client.get("/admin/broken", headers=ADMIN)
    assert answer.status_code == 500
    assert answer.json()["ask"] == "desk@example.com"


def test_each_start_has_empty_databases(client: TestClient) -> None:
    for _ in range(2):
        with client:
            assert client.get("/reports").json() == []
            client.post("/reports", json={"title": "March"})
