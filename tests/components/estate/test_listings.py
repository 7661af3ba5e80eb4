import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from components.database import engine, transaction
from components.estate import listings, seed
from components.estate.models import Listing
from components.estate.schemas import Kind, ListingIn, Page, Purpose, Search, Sort, Status

_START = datetime(2026, 1, 1, tzinfo=UTC)


def _rows() -> list[dict[str, Any]]:
    """Listings of which many are equal in whatever they are sorted by."""
    return [
        row
        | {
            "price": 1000 * (number % 3),
            "area_m2": 50.5 * (1 + number % 4),
            "created_at": _START + timedelta(days=number % 5),
        }
        for number, row in enumerate(seed.generate(80, seed=7))
    ]


ROWS = _rows()


@dataclass(frozen=True)
class Database:
    runner: asyncio.Runner
    db: AsyncEngine

    def search(self, *, page_size: int = 100, **wanted: Any) -> Page:
        async def search() -> Page:
            async with transaction(self.db, write=False) as session:
                return await listings.search(session, Search(**wanted), page_size=page_size)

        return self.runner.run(search())

    def fill(self, rows: list[dict[str, Any]]) -> None:
        async def fill() -> None:
            await seed.prepare(db=self.db, listings=0)
            async with self.db.begin() as connection:
                await connection.execute(insert(Listing), rows)

        self.runner.run(fill())

    def titles(self, **wanted: Any) -> set[str]:
        return {item.title for item in self.search(**wanted).items}


def _database(rows: list[dict[str, Any]]) -> Iterator[Database]:
    with asyncio.Runner() as runner:
        database = Database(runner, engine(url="sqlite://"))
        try:
            database.fill(rows)
            yield database
        finally:
            runner.run(database.db.dispose())


@pytest.fixture(scope="module")
def many() -> Iterator[Database]:
    yield from _database(ROWS)


@pytest.fixture(scope="module")
def texts() -> Iterator[Database]:
    offer = ListingIn(
        title="abc",
        kind="plot",
        purpose="sale",
        price=1,
        area_m2=1,
        city="Goa",
        locality="Old Town",
    )
    times = {"created_at": _START, "updated_at": _START}
    row = offer.model_dump() | times | {"currency": "INR"}
    titles = ["100% sea view", "1000 sea views", "under_score", "underscore", "back\\slash", "a/b"]
    yield from _database([row | {"title": title} for title in titles])


def _optional(*values: Any) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(values)


filters = st.fixed_dictionaries(
    {
        "city": _optional("Mumbai", "LONDON", "Atlantis"),
        "kind": _optional(*get_args(Kind)),
        "purpose": _optional(*get_args(Purpose)),
        "status": _optional(*get_args(Status)),
        "min_price": _optional(0, 500, 1000),
        "max_price": _optional(1000, 2000),
        "min_bedrooms": _optional(0, 2, 5),
    }
)


def _passes(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    exact = all(wanted[n] in (None, row[n]) for n in ("kind", "purpose", "status"))
    city = wanted["city"] is None or wanted["city"].lower() == row["city"].lower()
    least, most, rooms = wanted["min_price"], wanted["max_price"], wanted["min_bedrooms"]
    return (
        exact
        and city
        and (least is None or row["price"] >= least)
        and (most is None or row["price"] <= most)
        and (rooms is None or (row["bedrooms"] is not None and row["bedrooms"] >= rooms))
    )


@given(wanted=filters, sort=st.sampled_from(get_args(Sort)), limit=st.integers(1, 100))
def test_the_pages_of_a_search_are_its_whole_result_in_order(
    many: Database, wanted: dict[str, Any], sort: str, limit: int
) -> None:
    expected = [number for number, row in enumerate(ROWS, start=1) if _passes(row, wanted)]
    found: list[Any] = []
    while True:
        page = many.search(**wanted, sort=sort, limit=limit, offset=len(found))
        assert (page.total, page.limit, page.offset) == (len(expected), limit, len(found))
        found += page.items
        if len(page.items) < limit:
            break
    column = sort.removeprefix("-").replace("area", "area_m2")
    expected.sort(key=lambda number: (ROWS[number - 1][column], number), reverse=sort[0] == "-")
    assert [item.id for item in found] == expected


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("100%", {"100% sea view"}),
        ("%", {"100% sea view"}),
        ("er_s", {"under_score"}),
        ("\\", {"back\\slash"}),
        ("/", {"a/b"}),
        ("SEA View", {"100% sea view", "1000 sea views"}),
        ("sea goa views", {"1000 sea views"}),
        ("sea mountain", set()),
    ],
)
def test_a_text_is_found_as_it_is_written(texts: Database, q: str, found: set[str]) -> None:
    assert texts.titles(q=q) == found


def test_a_text_of_spaces_finds_everything(texts: Database) -> None:
    assert len(texts.titles(q="  ")) == 6


@given(q=st.text(max_size=100).filter(lambda q: "\x00" not in q))
def test_any_text_can_be_searched(texts: Database, q: str) -> None:
    assert 0 <= texts.search(q=q).total <= 6


def test_a_search_without_a_limit_takes_the_page_size(many: Database) -> None:
    assert len(many.search(page_size=9).items) == 9
    assert many.search(page_size=9, limit=2).limit == 2


def test_a_time_without_a_zone_is_refused(many: Database) -> None:
    naive = ROWS[0] | {"created_at": datetime(2026, 1, 1)}  # noqa: DTZ001 (what is refused)
    with pytest.raises(Exception, match="a time without a zone"):
        many.fill([naive])


def test_times_come_back_in_utc(many: Database) -> None:
    first = many.search(sort="created_at", limit=1).items[0]
    assert first.created_at == _START
    assert first.created_at.utcoffset() == timedelta(0)
