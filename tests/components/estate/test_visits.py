"""Visits, similar listings and counts: the functions behind REST and MCP."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from components.database import engine, transaction
from components.estate import dashboard, listings, seed, visits, visits_api
from components.estate.models import Base, Visit
from components.estate.schemas import ListingIn, ListingOut, VisitIn
from components.estate.visits import VisitRefused
from components.mcp.principal import Principal
from tests.components.estate.conftest import MakeApp

NOW = datetime(2026, 7, 1, 8, 0, tzinfo=UTC)
OFFER: dict[str, Any] = {
    "title": "A house",
    "kind": "house",
    "purpose": "sale",
    "status": "active",
    "price": 1000,
    "area_m2": 100,
    "city": "Pune",
    "locality": "Baner",
}


async def add(db: AsyncEngine, **changes: Any) -> ListingOut:
    async with transaction(db, write=True) as session:
        offered = ListingIn.model_validate(OFFER | changes)
        return await listings.create(session, offered, currency="INR")


async def book(db: AsyncEngine, listing: int, minutes: int, *, visitor: str = "ada") -> Any:
    wanted = VisitIn(listing_id=listing, at=NOW + timedelta(minutes=minutes))
    async with transaction(db, write=True) as session:
        return await visits.book(session, wanted, visitor=visitor, now=NOW)


def test_a_visit_is_booked_seen_and_cancelled_by_its_visitor_alone(url: str) -> None:
    async def story() -> None:
        db = engine(url=url)
        await seed.prepare(db=db, listings=0)
        house = await add(db)
        visit = await book(db, house.id, 60)
        assert (visit.status, visit.listing_title) == ("booked", "A house")
        async with transaction(db, write=True) as session:
            assert (await visits.of(session, "ada")).items == [visit]
            assert (await visits.of(session, "bob")).items == []
            assert await visits.cancel(session, visit.id, visitor="bob") is None
            cancelled = await visits.cancel(session, visit.id, visitor="ada")
            assert cancelled is not None
            assert cancelled.status == "cancelled"
            assert (await visits.of(session, "ada", since=NOW + timedelta(hours=2))).items == []
        assert await book(db, house.id, 60, visitor="bob")  # the time is free again
        await db.dispose()

    asyncio.run(story())


def test_of_many_visits_the_last_are_listed_or_the_next_ones(url: str) -> None:
    async def story() -> None:
        db = engine(url=url)
        await seed.prepare(db=db, listings=0)
        house = await add(db)
        made = {"listing_id": house.id, "visitor": "ada", "note": "", "status": "booked"}
        rows = [{**made, "at": NOW + timedelta(hours=at), "created_at": NOW} for at in range(250)]
        async with transaction(db, write=True) as session:
            await session.execute(insert(Visit), rows)
        async with transaction(db, write=False) as session:
            last = (await visits.of(session, "ada")).items
            following = (await visits.of(session, "ada", since=NOW)).items
        hours = [
            [int((visit.at - NOW) / timedelta(hours=1)) for visit in v] for v in (last, following)
        ]
        assert hours == [[*range(50, 250)], [*range(200)]]
        await db.dispose()

    asyncio.run(story())


def test_similar_listings_of_the_same_city_are_first_whatever_its_letters(url: str) -> None:
    async def story() -> None:
        db = engine(url=url)
        await seed.prepare(db=db, listings=0)
        wanted = await add(db, city="Évora", price=1000)
        await add(db, city="Porto", price=1000)
        near = await add(db, city="Évora", price=5000)
        async with transaction(db, write=False) as session:
            found = await listings.similar(session, wanted, limit=2)
        assert found[0].id == near.id
        await db.dispose()

    asyncio.run(story())


@pytest.mark.parametrize("minutes", [-1, 0, 181 * 24 * 60])
def test_a_visit_is_neither_past_nor_far_away(url: str, minutes: int) -> None:
    async def story() -> None:
        db = engine(url=url)
        await seed.prepare(db=db, listings=0)
        house = await add(db)
        with pytest.raises(VisitRefused, match="within the next 180 days"):
            await book(db, house.id, minutes)
        await db.dispose()

    asyncio.run(story())


def test_nobody_is_at_two_places_and_no_listing_has_two_visitors(url: str) -> None:
    async def story() -> None:
        db = engine(url=url)
        await seed.prepare(db=db, listings=0)
        house, other = await add(db), await add(db)
        await book(db, house.id, 60)
        with pytest.raises(VisitRefused, match="the listing is taken"):
            await book(db, house.id, 89, visitor="bob")
        with pytest.raises(VisitRefused, match="you are taken"):
            await book(db, other.id, 31)
        assert await book(db, house.id, 90, visitor="bob")
        assert await book(db, other.id, 30)
        await db.dispose()

    asyncio.run(story())


@pytest.mark.parametrize("status", ["draft", "withdrawn", "sold"])
def test_what_is_not_on_offer_is_not_there(url: str, status: str) -> None:
    async def story() -> None:
        db = engine(url=url)
        await seed.prepare(db=db, listings=0)
        house = await add(db, status=status)
        assert await book(db, house.id, 60) is None
        assert await book(db, house.id + 1, 60) is None
        async with transaction(db, write=False) as session:
            assert await listings.read(session, house.id, only_offered=True) is None
            assert await listings.read(session, house.id)
        await db.dispose()

    asyncio.run(story())


async def _of_many_one_books(url: str, *, houses: int = 1) -> None:
    db = engine(url=url, pool_size=10)
    await seed.prepare(db=db, listings=0)
    ids = [house.id for house in await asyncio.gather(*(add(db) for _ in range(houses)))]
    tries = (
        book(db, ids[n % houses], 60, visitor=f"visitor-{n}" if houses == 1 else "ada")
        for n in range(20)
    )
    results = await asyncio.gather(*tries, return_exceptions=True)
    refused = [result for result in results if isinstance(result, VisitRefused)]
    booked = [result for result in results if not isinstance(result, BaseException)]
    async with db.begin() as connection:
        await connection.run_sync(Base.metadata.drop_all)
    await db.dispose()
    assert (len(booked), len(refused)) == (1, 19), results


def test_of_many_at_once_one_books(url: str) -> None:
    asyncio.run(_of_many_one_books(url))


def test_of_many_at_once_one_books_on_postgresql(postgres: str) -> None:
    asyncio.run(_of_many_one_books(postgres))


def test_one_visitor_is_not_at_two_listings_at_a_time(url: str) -> None:
    asyncio.run(_of_many_one_books(url, houses=20))


def test_one_visitor_is_not_at_two_listings_at_a_time_on_postgresql(postgres: str) -> None:
    asyncio.run(_of_many_one_books(postgres, houses=20))


def test_similar_listings_are_near_and_then_alike_in_price(url: str) -> None:
    async def story() -> list[str]:
        db = engine(url=url)
        await seed.prepare(db=db, listings=0)
        house = await add(db)
        others: dict[str, dict[str, Any]] = {
            "far and equal": {"city": "Delhi"},
            "near and dear": {"price": 5000},
            "near and alike": {"price": 1100, "city": "PUNE"},
            "a flat": {"kind": "apartment"},
            "to rent": {"purpose": "rent"},
            "a draft": {"status": "draft"},
            "in dollars": {"currency": "USD"},
        }
        for title, changes in others.items():
            await add(db, title=title, **changes)
        async with transaction(db, write=False) as session:
            found = await listings.similar(session, house, limit=5)
        await db.dispose()
        return [listing.title for listing in found]

    assert asyncio.run(story()) == ["near and alike", "near and dear", "far and equal"]


def test_a_dashboard_counts_what_there_is(url: str) -> None:
    async def story() -> dashboard.Dashboard:
        db = engine(url=url)
        await seed.prepare(db=db, listings=0)
        house = await add(db)
        await add(db, kind="villa", city="Delhi")
        await add(db, city="Delhi")
        await add(db, status="draft")
        await book(db, house.id, 60)
        gone = await book(db, house.id, 120)
        async with transaction(db, write=True) as session:
            await visits.cancel(session, gone.id, visitor="ada")
        async with transaction(db, write=False) as session:
            counts = await dashboard.count(session, now=NOW)
        await db.dispose()
        return counts

    counts = asyncio.run(story())
    assert counts.model_dump() == {
        "listings": 4,
        "by_status": {"active": 3, "draft": 1},
        "offered_by_kind": {"house": 2, "villa": 1},
        "offered_by_city": {"Delhi": 2, "Pune": 1},
        "visits_by_status": {"booked": 1, "cancelled": 1},
        "upcoming_visits": 1,
    }
    assert list(counts.offered_by_city) == ["Delhi", "Pune"]


def test_visits_over_rest_are_those_of_who_is_logged_in(make_app: MakeApp) -> None:
    app = make_app(router=visits_api.router, listings=50, gated=False)
    user = "ada"

    async def gated(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and user:
            principal = Principal(id=user, issuer="i", scopes=frozenset())
            scope.setdefault("state", {})["principal"] = principal
        await app(scope, receive, send)

    at = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    rows = seed.generate(50, seed=7)
    listing = 1 + next(n for n, row in enumerate(rows) if row["status"] == "active")
    with TestClient(gated) as client:
        wish = {"listing_id": listing, "at": at}
        offers = [client.post("/api/v1/visits", json=wish) for _ in range(2)]
        assert [answer.status_code for answer in offers] == [201, 409]
        visit = offers[0].json()
        assert client.get("/api/v1/visits").json()["items"] == [visit]
        missing = client.post("/api/v1/visits", json={"listing_id": 10**6, "at": at})
        assert missing.status_code == 404
        naive = client.post("/api/v1/visits", json={**wish, "at": "2026-07-01T10:00:00"})
        assert naive.status_code == 422
        user = "bob"
        assert client.get("/api/v1/visits").json()["items"] == []
        assert client.post(f"/api/v1/visits/{visit['id']}/cancel").status_code == 404
        user = "ada"
        cancelled = client.post(f"/api/v1/visits/{visit['id']}/cancel").json()
        assert cancelled["status"] == "cancelled"
        user = ""
        assert client.get("/api/v1/visits").status_code == 401
