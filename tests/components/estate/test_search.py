"""Search by meaning and words, over HTTP and by a tool's own function."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.testclient import TestClient

from components.database import engine, transaction
from components.estate import full_text, listings, seed
from components.estate.models import Listing
from components.estate.schemas import ListingIn, ListingPatch, Search
from components.estate.search import SOURCE, ListingSearch, search
from components.estate.search_api import search_router
from components.vectors import Vectors, fused
from components.vectors.hashed import HashedEmbeddings
from components.vectors.ranking import sqlite_vec_query
from components.vectors.sync import sync

COUNT = 200


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database whose vectors are there."""
    made = f"sqlite:///{tmp_path_factory.mktemp('search')}/estate.db"

    async def fill() -> None:
        db = engine(url=made)
        await seed.prepare(db=db, listings=COUNT, posts=0)
        await sync(Vectors(db=db, embeddings=HashedEmbeddings()), SOURCE)
        await db.dispose()

    asyncio.run(fill())
    return made


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[TestClient]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        db = engine(url=url)
        yield {"db": db, "vectors": Vectors(db=db, embeddings=HashedEmbeddings())}
        await db.dispose()

    app = FastAPI(lifespan=lifespan)
    app.include_router(search_router(page_size=7), prefix="/api/v1")
    with TestClient(app) as made:
        yield made


def ask(client: TestClient, **wanted: Any) -> Any:
    answer = client.get("/api/v1/listings/search", params=wanted)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_words_that_are_not_written_that_way_find_what_is_meant(client: TestClient) -> None:
    found = ask(client, q="apartmnt with balconys")  # no word of it occurs
    assert found["ranked_by"] == "meaning and words"
    assert found["items"][0]["kind"] == "apartment"
    assert found["limit"] == len(found["items"]) == 7


def test_every_filter_holds_and_only_what_is_on_offer_is_found(client: TestClient) -> None:
    found = ask(client, q="home", kind="house", min_bedrooms=2, limit=100)
    assert found["items"]
    for one in found["items"]:
        assert (one["kind"], one["status"]) == ("house", "active")
        assert one["bedrooms"] >= 2


@pytest.mark.parametrize("sort", [None, "price", "-area"])
def test_pages_neither_overlap_nor_skip(client: TestClient, sort: str | None) -> None:
    wanted = {"q": "apartment in Mumbai", **({"sort": sort} if sort else {})}
    whole = ask(client, **wanted, limit=100)
    pages = [
        one["id"]
        for offset in range(0, 100, 9)
        for one in ask(client, **wanted, limit=9, offset=offset)["items"]
    ]
    assert pages[: len(whole["items"])] == [one["id"] for one in whole["items"]]
    assert len(set(pages)) == len(pages)
    if sort == "price":
        prices = [one["price"] for one in whole["items"]]
        assert prices == sorted(prices)


@pytest.mark.parametrize("query", ["", " ", "x" * 201, "a\0b"])
def test_a_text_that_says_nothing_or_too_much_is_refused(client: TestClient, query: str) -> None:
    answer = client.get("/api/v1/listings/search", params={"q": query})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "query",
    ['"', "a AND", "NEAR(", "title:x", "*", "-x", "^a", "(", "'; --", "the of", "🏠", "x" * 200],
)
def test_what_is_an_operator_elsewhere_is_a_word_or_nothing(client: TestClient, query: str) -> None:
    assert ask(client, q=query)["note"] is None


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60))
def test_any_text_can_be_searched_for(url: str, typed: str) -> None:
    async def run() -> None:
        db = engine(url=url)
        async with transaction(db, write=False) as session:
            await full_text.ranked(session, typed, SOURCE.ids, limit=5)
        await db.dispose()

    asyncio.run(run())


def test_without_vectors_words_alone_are_asked_and_the_answer_says_so(url: str) -> None:
    async def run() -> None:
        db = engine(url=url)
        found = await search(db, None, ListingSearch(q="villa"), page_size=50)
        await db.dispose()
        assert (found.ranked_by, found.note) == ("words", "this service keeps no vectors")
        assert found.items
        assert all("villa" in f"{one.title} {one.description}".lower() for one in found.items)

    asyncio.run(run())


async def _words(db: AsyncEngine, typed: str) -> list[int]:
    async with transaction(db, write=False) as session:
        return await full_text.ranked(session, typed, SOURCE.ids, limit=1000)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_index_of_words_follows_every_change(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    async def run() -> None:
        url = (
            f"sqlite:///{tmp_path}/e.db"
            if kind == "sqlite"
            else request.getfixturevalue("postgres")
        )
        db = engine(url=url)
        await seed.prepare(db=db, listings=40, posts=0)
        assert await _words(db, "windmill") == []
        async with transaction(db, write=False) as session:
            one, other, *_ = sorted(await session.scalars(SOURCE.ids))
        for id_ in (one, other):
            async with transaction(db, write=True) as session:
                await listings.update(session, id_, ListingPatch(description="Two windmills."))
        assert await _words(db, "windmill") == [one, other]  # by the stem
        async with transaction(db, write=True) as session:
            await listings.delete(session, one)
            await listings.update(session, other, ListingPatch(description="One lighthouse."))
        assert await _words(db, "windmill") == []
        assert await _words(db, "lighthouses") == [other]
        await db.dispose()

    asyncio.run(run())


FOREIGN = {
    "Straße in İstanbul": ["Straße", "STRAßE", "İstanbul"],
    "मुंबई में फ्लैट": ["मुंबई", "फ्लैट चाहिए", "मुंबई?"],
    "ไทยบ้าน": ["ไทยบ้าน"],
    "Квартира в Москве": ["москве", "москве".upper()],
    "São Miguel": ["são", "SÃO", "sa\u0303o", "São!"],
    "Cafe\u0301 Lisboa": ["Cafe\u0301", "caf\u00e9", "LISBOA"],
    "Οδός ΣΊΣΥΦΟΣ": ["ΣΊΣΥΦΟΣ", "σίσυφοσ"],
    "شقة في دبي": ["دبي"],
    "Ask me@host.example, 1,200.50 or 3BHK/4BHK": ["me@host.example", "1,200.50", "3bhk/4bhk"],
    "Well-kept sea-side": ["sea-side", "kept", "SEASIDE well-kept"],
}


async def _list(db: AsyncEngine, *wordings: dict[str, str]) -> None:
    """Write listings that differ in their words alone."""
    async with transaction(db, write=True) as session:
        for wording in wordings:
            offered = ListingIn.model_validate(
                {"kind": "plot", "purpose": "sale", "status": "active"}
                | {"locality": "-", "price": 1, "area_m2": 1, **wording}
            )
            await listings.create(session, offered, currency="INR")


def test_a_word_of_any_language_is_found_as_it_is_written(each_url: str) -> None:
    async def run() -> None:
        db = engine(url=each_url)
        await seed.prepare(db=db, listings=0, posts=0)
        await _list(db, *({"title": title, "city": "-"} for title in FOREIGN))
        async with transaction(db, write=False) as session:
            titles = {one.id: one.title for one in await session.scalars(select(Listing))}
        for title, queries in FOREIGN.items():
            for typed in queries:
                found = [titles[id_] for id_ in await _words(db, typed)]
                assert found == [title], typed
        assert await _words(db, "?! & | <-> :* '") == []
        await db.dispose()

    asyncio.run(run())


def test_a_city_is_found_in_any_case(each_url: str) -> None:
    async def run() -> None:
        db = engine(url=each_url)
        await seed.prepare(db=db, listings=0, posts=0)
        cities = ["Zürich", "São Paulo", "Łódź", "Köln-Ehrenfeld", "मुंबई", "pune"]
        await _list(db, *({"title": city, "city": city} for city in cities))
        async with transaction(db, write=False) as session:
            for city in cities:
                for typed in {city, city.upper(), city.lower(), normalize("NFD", city)}:
                    found = await listings.search(session, Search(city=typed), page_size=9)
                    assert [one.city for one in found.items] == [city], typed
        await db.dispose()

    asyncio.run(run())


def test_a_database_from_before_is_indexed_at_the_next_start(tmp_path: Path) -> None:
    async def run() -> None:
        db = engine(url=f"sqlite:///{tmp_path}/e.db")
        await seed.prepare(db=db, listings=40, posts=0)
        before = await _words(db, "apartment")
        async with transaction(db, write=True) as session:
            for name in ("add", "remove", "change"):
                await session.execute(text(f"DROP TRIGGER listing_words_{name}"))
            await session.execute(text("DROP TABLE listing_words"))
        for _ in range(2):
            await seed.prepare(db=db, listings=0, posts=0)
        assert await _words(db, "apartment") == before != []
        await db.dispose()

    asyncio.run(run())


@given(st.lists(st.lists(st.integers(1, 30), unique=True), max_size=3))
def test_an_order_out_of_several_has_each_once_and_keeps_what_all_agree_on(
    orders: list[list[int]],
) -> None:
    found = fused(*orders)
    assert len(found) == len(set(found))
    assert set(found) == {id_ for order in orders for id_ in order}
    if orders and all(order == orders[0] for order in orders):
        assert found == orders[0]


def test_sqlite_vec_and_numpy_give_the_same_ranking(url: str) -> None:
    """Where this Python's SQLite loads no extensions, another SQLite of PyPI runs the statement."""
    apsw = pytest.importorskip("apsw")
    sqlite_vec = pytest.importorskip("sqlite_vec")
    connection = apsw.Connection(url.removeprefix("sqlite:///"))
    connection.enable_load_extension(True)
    connection.load_extension(sqlite_vec.loadable_path())

    async def by_numpy(asked: str) -> tuple[list[int], Any]:
        db = engine(url=url)
        vectors = Vectors(db=db, embeddings=HashedEmbeddings())
        question = await vectors.asked(SOURCE.collection, asked)
        async with transaction(db, write=False) as session:
            found = await vectors.nearest(session, question, SOURCE.ids, limit=50)
        await db.dispose()
        return found, question

    for asked in ("villa with a pool", "bright office", "3-bedroom apartment in Powai"):
        found, question = asyncio.run(by_numpy(asked))
        made = sqlite_vec_query(question.set, question.vector, SOURCE.ids, 50).compile(
            dialect=sqlite.dialect(paramstyle="named")
        )
        rows = list(connection.execute(str(made), dict(made.params)))
        assert [id_ for (id_,) in rows] == found
    connection.close()
