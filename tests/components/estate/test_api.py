import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter
from sqlalchemy import event
from starlette.testclient import TestClient
from starlette.types import Message, Receive, Scope, Send

from components.database import engine
from components.estate import api, listings, posts_api
from components.estate.schemas import ListingIn
from tests.components.estate.conftest import MakeApp

OFFER: dict[str, Any] = {
    "title": "2-bedroom apartment in Baner",
    "kind": "apartment",
    "purpose": "sale",
    "price": 9_500_000,
    "area_m2": 81.5,
    "bedrooms": 2,
    "city": "Pune",
    "locality": "Baner",
}
LISTINGS = "/api/v1/listings"


@pytest.fixture
def seeded(make_app: MakeApp) -> Iterator[TestClient]:
    with TestClient(make_app(listings=60), raise_server_exceptions=False) as client:
        yield client


def _create(client: TestClient, **changes: Any) -> dict[str, Any]:
    answer = client.post(LISTINGS, json=OFFER | changes)
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


def test_a_created_listing_is_at_its_location(client: TestClient) -> None:
    answer = client.post(LISTINGS, json=OFFER | {"amenities": ["lift"]})
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{LISTINGS}/{answer.json()['id']}"
    read = client.get(answer.headers["location"])
    assert read.status_code == 200
    assert read.json() == answer.json()
    assert read.json().items() >= (OFFER | {"status": "draft", "currency": "INR"}).items()
    assert read.json()["created_at"] == read.json()["updated_at"]
    assert read.json()["created_at"].endswith("Z")


def test_a_patch_changes_what_it_names_and_nothing_else(client: TestClient) -> None:
    before = _create(client, floor_plan="one large room")
    path = f"{LISTINGS}/{before['id']}"
    after = client.patch(path, json={"price": 9_000_000, "floor_plan": None}).json()
    assert after.pop("updated_at") > before.pop("updated_at")
    assert after == before | {"price": 9_000_000, "floor_plan": None}
    assert client.patch(path, json={}).json()["price"] == 9_000_000


@pytest.mark.parametrize(
    "changes",
    [
        {"title": None},
        {"title": "  x  "},
        {"titel": "A typing mistake"},
        {"status": "unknown"},
        {"price": -1},
        {"price": 10**30},
        {"bedrooms": 2**64},
        {"area_m2": 0},
        {"description": "a\x00b"},
        {"amenities": ["lift"] * 51},
        {"currency": "rupees"},
        {"latitude": 10},
        {"latitude": 10, "longitude": None},
        {"latitude": 91, "longitude": 0},
        {"id": 7},
    ],
)
def test_what_no_listing_can_have_is_422(client: TestClient, changes: dict[str, Any]) -> None:
    path = f"{LISTINGS}/{_create(client)['id']}"
    assert client.patch(path, json=changes).status_code == 422
    assert client.post(LISTINGS, json=OFFER | changes).status_code == 422


def test_a_deleted_listing_is_gone_and_its_id_is_not_given_again(client: TestClient) -> None:
    first = _create(client)["id"]
    answer = client.delete(f"{LISTINGS}/{first}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert _create(client)["id"] > first


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_id_that_names_nothing_is_404(client: TestClient, method: str) -> None:
    body: dict[str, Any] | None = {} if method == "PATCH" else None
    for number in (1, 2**53 - 1):
        answer = client.request(method, f"{LISTINGS}/{number}", json=body)
        assert (answer.status_code, answer.json()) == (404, {"detail": "no such listing"})
    for nonsense in ("0", "-1", "x", str(2**53)):
        answer = client.request(method, f"{LISTINGS}/{nonsense}", json=body)
        assert answer.status_code == 422


def test_a_page_says_where_it_is(seeded: TestClient) -> None:
    page = seeded.get(LISTINGS, params={"limit": 7, "offset": 56}).json()
    assert (page["total"], page["limit"], page["offset"], len(page["items"])) == (60, 7, 56, 4)
    assert len(seeded.get(LISTINGS).json()["items"]) == 20


def test_filters_reach_the_search(seeded: TestClient) -> None:
    wanted: dict[str, str | int] = {
        "city": "mumbai",
        "purpose": "sale",
        "min_price": 1000,
        "sort": "-price",
    }
    items = seeded.get(LISTINGS, params=wanted).json()["items"]
    assert items
    assert all((item["city"], item["purpose"]) == ("Mumbai", "sale") for item in items)
    prices = [item["price"] for item in items]
    assert prices == sorted(prices, reverse=True)


@pytest.mark.parametrize(
    "query",
    [
        "min_price=2&max_price=1",
        "limit=0",
        "limit=101",
        "limit=",
        "offset=-1",
        "offset=99999999999999999999",
        "sort=title",
        "kind=castle",
        "min_price=99999999999999999999",
        "min_bedrooms=x",
        "q=%00",
        "city=%00",
    ],
)
def test_a_search_that_makes_no_sense_is_422(seeded: TestClient, query: str) -> None:
    assert seeded.get(f"{LISTINGS}?{query}").status_code == 422


def test_a_router_may_have_other_defaults(make_app: MakeApp) -> None:
    router = api.listings_router(currency="EUR", page_size=3)
    with TestClient(make_app(router=router, listings=5)) as client:
        assert len(client.get(LISTINGS).json()["items"]) == 3
        assert _create(client)["currency"] == "EUR"
        assert _create(client, currency="USD")["currency"] == "USD"


def test_a_change_is_committed_before_its_answer_is_sent(make_app: MakeApp, tmp_path: Path) -> None:
    app, seen = make_app(), []

    async def watched(scope: Scope, receive: Receive, send: Send) -> None:
        async def look(message: Message) -> None:
            if message["type"] == "http.response.start":
                connection = sqlite3.connect(tmp_path / "estate.db")
                seen.append(connection.execute("SELECT count(*) FROM listings").fetchone()[0])
                connection.close()
            await send(message)

        await app(scope, receive, look if scope["type"] == "http" else send)

    with TestClient(watched) as client:
        path = f"{LISTINGS}/{_create(client)['id']}"
        client.delete(path)
    assert seen == [1, 0]


def test_a_commit_that_fails_is_no_201(make_app: MakeApp, url: str) -> None:
    db = engine(url=url)
    with TestClient(make_app(db=db), raise_server_exceptions=False) as client:

        def fail(_connection: object) -> None:
            raise OSError("disk full")

        event.listen(db.sync_engine, "commit", fail)
        assert client.post(LISTINGS, json=OFFER).status_code == 500
        event.remove(db.sync_engine, "commit", fail)
        assert client.get(LISTINGS).json()["total"] == 0


def test_a_route_that_raises_leaves_nothing_behind(make_app: MakeApp) -> None:
    router = APIRouter()
    router.include_router(api.router)

    @router.post("/interrupted")
    async def interrupted(session: api.Writing) -> None:
        await listings.create(session, ListingIn(**OFFER), currency="INR")
        raise RuntimeError

    with TestClient(make_app(router=router), raise_server_exceptions=False) as client:
        assert client.post("/api/v1/interrupted").status_code == 500
        assert client.get(LISTINGS).json()["total"] == 0


def test_many_changes_at_once_all_succeed(make_app: MakeApp) -> None:
    app = make_app()

    async def change() -> set[int]:
        async with app.router.lifespan_context(app) as state:

            async def with_state(scope: Scope, receive: Receive, send: Send) -> None:
                await app({**scope, "state": dict(state or {})}, receive, send)

            transport = httpx2.ASGITransport(app=with_state)
            async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
                path = (await client.post(LISTINGS, json=OFFER)).headers["location"]
                answers = await asyncio.gather(
                    *(client.patch(path, json={"price": n}) for n in range(30)),
                    *(client.get(path) for _ in range(30)),
                )
                return {answer.status_code for answer in answers}

    assert asyncio.run(change()) == {200}


def test_the_description_is_what_a_reader_needs(make_app: MakeApp) -> None:
    paths = make_app().openapi()["paths"]
    one = f"{LISTINGS}/{{listing_id}}"
    assert set(paths) == {LISTINGS, one, f"{one}/similar"}
    operations = {(path, verb): op for path, ops in paths.items() for verb, op in ops.items()}
    assert len(operations) == 6
    for (path, _), operation in operations.items():
        assert operation["tags"] == ["listings"]
        assert operation["summary"]
        assert "422" in operation["responses"]
        assert ("404" in operation["responses"]) == (path != LISTINGS)
    assert "Location" in operations[LISTINGS, "post"]["responses"]["201"]["headers"]


@pytest.mark.parametrize(
    ("options", "status"),
    [({"gated": False}, 401), ({"role": None}, 403), ({"role": "buyer"}, 403)],
)
def test_what_is_not_public_is_closed_where_no_gate_let_an_administrator_in(
    make_app: MakeApp, options: dict[str, Any], status: int
) -> None:
    both = APIRouter()
    both.include_router(api.router)
    both.include_router(posts_api.router)
    with TestClient(make_app(router=both, listings=60, **options)) as client:
        path = f"{LISTINGS}/1"
        tries = [
            client.post(LISTINGS, json=OFFER),
            client.patch(path, json={}),
            client.delete(path),
            client.post("/api/v1/posts", json={"title": "A title", "body": "A text"}),
            client.post("/api/v1/posts/1/publish"),
            client.post(
                "/api/v1/posts/1/schedule", json={"publish_at": "2099-01-15T09:00:00+05:30"}
            ),
        ]
        assert [answer.status_code for answer in tries] == [status] * 6
        shown = client.get(LISTINGS, params={"page_size": 100}).json()["items"]
        assert {item["status"] for item in shown} == {"active"}


@pytest.mark.parametrize(
    ("field", "value", "status"),
    [
        ("bedrooms", 2.0, 200),  # in JSON a whole number
        ("bedrooms", 2.5, 422),
        ("bedrooms", "2", 422),
        ("bedrooms", True, 422),
        ("price", False, 422),
        ("area_m2", "118", 422),
        ("area_m2", True, 422),
        ("title", 1000, 422),
        ("amenities", "lift", 422),
    ],
)
def test_a_body_has_the_types_that_its_schema_says(
    client: TestClient, field: str, value: Any, status: int
) -> None:
    created = _create(client)
    answer = client.patch(f"{LISTINGS}/{created['id']}", json={field: value})
    assert answer.status_code == status
