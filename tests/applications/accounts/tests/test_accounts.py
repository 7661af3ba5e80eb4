"""The service, as its owners test it."""

from fastapi import FastAPI
from fastapi.testclient import TestClient

ANN = {"email": "ann@example.com", "password": "rose"}


def login(client: TestClient, email: str, password: str) -> dict[str, str]:
    answer = client.post("/api/auth/login", data={"username": email, "password": password})
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_who_registers_may_log_in(app: FastAPI) -> None:
    with TestClient(app) as client:
        assert client.post("/api/auth/register", json={**ANN, "name": "Ann"}).status_code == 201
        me = client.get("/api/users/me", headers=login(client, "ann@example.com", "rose")).json()
    assert me == {
        "id": 2,
        "email": "ann@example.com",
        "is_active": True,
        "is_superuser": False,
        "name": "Ann",
    }


def test_only_a_superuser_sees_others(app: FastAPI) -> None:
    with TestClient(app) as client:
        client.post("/api/auth/register", json=ANN)
        ann, root = (login(client, *who) for who in (ANN.values(), ("root@example.com", "root")))
        assert client.get("/api/users/2").status_code == 401
        assert client.get("/api/users/1", headers=ann).status_code == 403
        assert client.get("/api/users/2", headers=root).json()["email"] == "ann@example.com"


def test_a_session_counts_visits(app: FastAPI) -> None:
    with TestClient(app, base_url="https://testserver") as client:
        root = login(client, "root@example.com", "root")
        visits = [client.get("/visits", headers=root).json()["visits"] for _ in range(3)]
    assert visits == [1, 2, 3]


def test_operations_have_the_names_that_the_front_end_wants(app: FastAPI) -> None:
    paths = app.openapi()["paths"]
    assert paths["/api/auth/register"]["post"]["operationId"] == "auth-register"
    assert paths["/visits"]["get"]["operationId"] == "app-visits"
