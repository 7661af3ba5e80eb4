"""The shop, as its owners test it."""

from fastapi import FastAPI
from fastapi.testclient import TestClient

KEY = {"X-Key": "partner-1"}


def test_each_part_has_its_own_layers(app: FastAPI) -> None:
    with TestClient(app) as client:
        assert "X-Api" not in client.get("/health").headers
        answer = client.get("/api/v1/products", headers=KEY)
        assert (answer.headers["X-Api"], answer.headers["X-Shop"]) == ("v1", "open")
        assert client.get("/api/v1/products").status_code == 401
        other = {"X-Clerk": "ann", "Host": "elsewhere.example"}
        assert client.get("/office/stock", headers=other).status_code == 400


def test_each_part_has_its_own_errors(app: FastAPI) -> None:
    with TestClient(app) as client:
        assert client.get("/nowhere").text == "<h1>No page /nowhere</h1>"
        assert client.get("/api/v1/nowhere", headers=KEY).json()["api"] == "v1"
        sold_out = client.post("/api/v1/products/cup/orders", headers=KEY)
        assert sold_out.json() == {"detail": "no cup left", "path": "/api/v1/products/cup/orders"}
        assert client.get("/office/stock", headers={"X-Clerk": "eve"}).status_code == 403


def test_links_of_the_api_lead_back_into_it(app: FastAPI) -> None:
    with TestClient(app) as client:
        tea = client.get("/api/v1/products/tea", headers=KEY).json()
        assert tea["self"] == "http://testserver/api/v1/products/tea"
        assert client.get(tea["self"], headers=KEY).json() == tea


def test_the_office_finds_its_desk(app: FastAPI) -> None:
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/office/stock", headers={"X-Clerk": "ann"}).json()["desk"]
