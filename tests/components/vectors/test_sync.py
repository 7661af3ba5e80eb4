"""Vectors of listings are kept up to date, by a real server that speaks OpenAI's API, on both databases."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import JSONResponse, Response

from components.clients.ai import OpenAIClient
from components.clients.faults import (
    AnswerError,
    AuthenticationError,
    LimitError,
    RequestError,
    UnavailableError,
)
from components.database import engine, transaction
from components.estate import listings, seed
from components.estate.models import Listing
from components.estate.schemas import OFFERED, ListingIn, ListingPatch
from components.estate.search import SOURCE, FoundPage, ListingSearch, search
from components.vectors import NoVectorSearch, Vectors
from components.vectors.sync import UnfitVectors, sync
from components.vectors.tables import SETS, VECTORS
from tests.components.clients.serving import serving_app
from tests.components.vectors.provider import Provider
from tests.waiting import until

COUNT = 90
BOTH = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


@dataclass
class World:
    """A database with listings, and a provider."""

    db: AsyncEngine
    provider: Provider
    base_url: str
    clients: list[OpenAIClient] = field(default_factory=list)

    def vectors(self, model: str = "small", *, cache: int = 0, **options: Any) -> Vectors:
        client = OpenAIClient(
            api_key="k",
            base_url=self.base_url,
            embedding_model=model,
            embedding_cache=cache,
            retries=0,
            deadline=timedelta(seconds=3),
        )
        self.clients.append(client)
        return Vectors(db=self.db, embeddings=client, **options)

    async def kept(self) -> dict[int, str]:
        async with transaction(self.db, write=False) as session:
            rows = await session.execute(select(VECTORS.c.item_id, VECTORS.c.key))
            return {id_: key for id_, key in rows}  # noqa: C416  # rows are no tuples to mypy

    async def called(self, times: int) -> None:
        """Wait until the provider was called so often; it is in another thread."""
        await until(lambda: len(self.provider.calls) >= times)

    async def offered(self) -> set[int]:
        async with transaction(self.db, write=False) as session:
            return set(await session.scalars(SOURCE.ids))

    async def find(self, vectors: Vectors, q: str, **wanted: Any) -> FoundPage:
        return await search(self.db, vectors, ListingSearch(q=q, **wanted), page_size=20)


Enter = Callable[..., Any]


@pytest.fixture
def provider() -> Iterator[tuple[Provider, str]]:
    played = Provider()
    with serving_app(played) as url:
        yield played, url


@pytest.fixture
def world(provider: tuple[Provider, str], tmp_path: Path, request: pytest.FixtureRequest) -> Enter:
    """Opens a world on a kind of database."""

    @asynccontextmanager
    async def opened(kind: str = "sqlite", *, extension: bool = True) -> AsyncIterator[World]:
        if kind == "sqlite":
            url = f"sqlite:///{tmp_path}/estate.db"
        else:
            url = request.getfixturevalue("postgres")
        db = engine(url=url)
        if kind == "postgresql" and extension:
            async with db.begin() as connection:
                await connection.execute(text("CREATE EXTENSION vector"))
        await seed.prepare(db=db, listings=COUNT, posts=0)
        made = World(db, *provider)
        try:
            yield made
        finally:
            for client in made.clients:
                await client.aclose()
            await db.dispose()

    return opened


@BOTH
def test_what_did_not_change_is_not_asked_for_and_what_did_is_once(world: Enter, kind: str) -> None:
    async def run() -> None:
        async with world(kind) as w:
            vectors = w.vectors()
            first = await sync(vectors, SOURCE)
            offered = await w.offered()
            assert set(await w.kept()) == offered
            assert first["kept"] == len(offered)
            w.provider.calls.clear()
            assert not await sync(vectors, SOURCE)
            assert w.provider.calls == []
            one, other = sorted(offered)[:2]
            async with transaction(w.db, write=True) as session:
                await listings.update(session, one, ListingPatch(title="A lighthouse on a cliff"))
                await listings.update(session, other, ListingPatch(price=1))  # not in its text
            assert (await sync(vectors, SOURCE))["kept"] == 1
            (asked,) = w.provider.texts
            assert asked.startswith("A lighthouse on a cliff")
            page = await w.find(vectors, "lighthouse on a cliff")
            assert page.items[0].id == one
            assert page.ranked_by == "meaning and words"

    asyncio.run(run())


@BOTH
def test_an_end_takes_the_vector_in_its_own_transaction(world: Enter, kind: str) -> None:
    async def run() -> None:
        async with world(kind) as w:
            await sync(w.vectors(), SOURCE)
            gone, sold, kept, *_ = sorted(await w.offered())
            async with transaction(w.db, write=True) as session:
                await listings.delete(session, kept)
                await session.rollback()
            async with transaction(w.db, write=True) as session:
                await listings.delete(session, gone)
                await listings.update(session, sold, ListingPatch(status="sold"))
                found = set(await session.scalars(select(VECTORS.c.item_id)))
            assert found & {gone, sold, kept} == {kept}
            assert set(await w.kept()) == await w.offered()

    asyncio.run(run())


@BOTH
def test_the_reconciler_closes_gaps_that_others_made(world: Enter, kind: str) -> None:
    async def run() -> None:
        async with world(kind) as w:
            vectors = w.vectors()
            await sync(vectors, SOURCE)
            one, other, *_ = sorted(await w.offered())
            async with transaction(w.db, write=True) as session:
                await session.execute(delete(VECTORS).where(VECTORS.c.item_id == one))
                await session.execute(
                    update(Listing).where(Listing.id == other).values(status="withdrawn")
                )
            counts = await sync(vectors, SOURCE)
            assert (counts["kept"], counts["removed"]) == (1, 1)
            assert set(await w.kept()) == await w.offered()

    asyncio.run(run())


@BOTH
def test_a_result_of_an_older_text_never_replaces_a_newer_one(world: Enter, kind: str) -> None:
    async def run() -> None:
        async with world(kind) as w:
            await sync(w.vectors(), SOURCE)
            changed, ended, *_ = sorted(await w.offered())

            async def change(title: str) -> None:
                async with transaction(w.db, write=True) as session:
                    await listings.update(session, changed, ListingPatch(title=title))

            await change("The old title of it")
            async with transaction(w.db, write=True) as session:
                await listings.update(session, ended, ListingPatch(title="It ends meanwhile"))
            w.provider.calls.clear()
            w.provider.delay_seconds = 0.6
            slow = asyncio.create_task(sync(w.vectors(), SOURCE))
            await w.called(1)
            w.provider.delay_seconds = 0
            await change("The new title of it")
            async with transaction(w.db, write=True) as session:
                await listings.delete(session, ended)
            await sync(w.vectors(), SOURCE)
            newer = (await w.kept())[changed]
            counts = await slow
            assert counts["outdated"] >= 1
            assert (await w.kept())[changed] == newer
            assert ended not in await w.kept()

    asyncio.run(run())


@BOTH
def test_a_change_of_model_fills_a_second_set_and_switches_when_it_is_whole(
    world: Enter, kind: str
) -> None:
    async def run() -> None:
        async with world(kind) as w:
            await sync(w.vectors(), SOURCE)
            w.provider.dimensions["large"] = 96
            new = w.vectors("large")
            done = 0

            def broken(texts: list[str]) -> Response | None:
                nonlocal done
                done += w.provider.models[-1] == "large"
                return JSONResponse({"error": {"message": "out"}}, 503) if done > 1 else None

            w.provider.fault = broken
            with pytest.raises(UnavailableError):
                await sync(new, SOURCE)
            async with transaction(w.db, write=False) as session:
                states = (await session.execute(select(SETS.c.model, SETS.c.state))).all()
            assert {(*row,) for row in states} == {("small", "active"), ("large", "filling")}
            w.provider.fault = lambda texts: None
            page = await w.find(new, "house with a garden")  # the old model is asked, for its set
            assert page.ranked_by == "meaning and words"
            assert w.provider.models[-1] == "small"
            del w.provider.dimensions["small"]  # the old model goes
            counts = await sync(new, SOURCE)
            assert 0 < counts["kept"] < len(await w.offered())  # what was kept is not asked again
            async with transaction(w.db, write=False) as session:
                sets = (await session.execute(select(SETS.c.model, SETS.c.state))).all()
                assert [(*row,) for row in sets] == [("large", "active")]
                assert await session.scalar(select(func.count()).select_from(VECTORS)) == len(
                    await w.offered()
                )
            page = await w.find(new, "house with a garden")
            assert page.ranked_by == "meaning and words"
            assert w.provider.models[-1] == "large"

    asyncio.run(run())


def embeddings_of(vector: str, texts: list[str]) -> Response:
    """The same for all, as it is written."""
    data = ",".join(f'{{"index":{at},"embedding":{vector}}}' for at in range(len(texts)))
    return Response(f'{{"data":[{data}]}}', media_type="application/json")


FAULTS: dict[str, tuple[Callable[[list[str]], Response | None], type[Exception]]] = {
    "5xx": (lambda _: JSONResponse({"error": {"message": "out"}}, 500), UnavailableError),
    "limit": (
        lambda _: JSONResponse({"error": {"message": "slow"}}, 429, {"Retry-After": "60"}),
        LimitError,
    ),
    "credentials": (lambda _: JSONResponse({"error": {"message": "no"}}, 401), AuthenticationError),
    "rubbish": (lambda _: Response("<html>", media_type="text/html"), AnswerError),
    "nothing": (lambda _: JSONResponse({"data": []}), AnswerError),
    "zeros": (lambda texts: embeddings_of("[0.0, 0.0]", texts), UnfitVectors),
    "dimensions": (lambda texts: embeddings_of("[1, 1, 1, 1, 1, 1, 1]", texts), UnfitVectors),
    "empty": (lambda texts: embeddings_of("[]", texts), UnfitVectors),
    "endless": (lambda texts: embeddings_of("[Infinity, 1]", texts), UnfitVectors),
    "no number": (lambda texts: embeddings_of("[NaN, 1]", texts), UnfitVectors),
    "beyond float32": (lambda texts: embeddings_of("[1e39, 1]", texts), UnfitVectors),
    "below float32": (lambda texts: embeddings_of("[1e-39, 0]", texts), UnfitVectors),
    "beyond a float": (lambda texts: embeddings_of(f"[1{'0' * 400}]", texts), AnswerError),
    "all refused": (lambda _: JSONResponse({"error": {"message": "bad"}}, 400), RequestError),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_provider_loses_nothing_and_search_goes_on_by_words(
    world: Enter, fault: str
) -> None:
    async def run() -> None:
        async with world() as w:
            vectors = w.vectors(cache=100)
            await sync(vectors, SOURCE)
            before = await w.kept()
            async with transaction(w.db, write=True) as session:
                for id_ in before:
                    await listings.update(session, id_, ListingPatch(description="Other words."))
            w.provider.fault, expected = FAULTS[fault]
            with pytest.raises(expected):
                await sync(vectors, SOURCE)
            assert await w.kept() == before
            page = await w.find(vectors, "apartment")
            assert page.ranked_by == "words"
            assert page.note
            assert page.items
            w.provider.fault = lambda texts: None
            assert (await sync(vectors, SOURCE))["kept"] == len(before)
            if expected is UnfitVectors:  # others are left alone for a while
                assert (await w.find(vectors, "apartment")).ranked_by == "meaning and words"

    asyncio.run(run())


def test_one_text_that_is_refused_keeps_no_other_back(world: Enter) -> None:
    async def run() -> None:
        async with world() as w:
            async with transaction(w.db, write=True) as session:
                bad = await listings.create(
                    session,
                    ListingIn(
                        title="Poison for the provider",
                        kind="house",
                        purpose="sale",
                        status=OFFERED,
                        price=1,
                        area_m2=1,
                        city="A",
                        locality="B",
                    ),
                    currency="INR",
                )
            w.provider.fault = lambda texts: (
                JSONResponse({"error": {"message": "no"}}, 400)
                if any("Poison" in one for one in texts)
                else None
            )
            counts = await sync(w.vectors(), SOURCE)
            assert counts["refused"] == 1
            assert set(await w.kept()) == await w.offered() - {bad.id}

    asyncio.run(run())


def test_a_slow_provider_costs_a_search_its_timeout_once(world: Enter) -> None:
    async def run() -> None:
        async with world() as w:
            now = 0.0
            vectors = w.vectors(query_timeout=timedelta(seconds=1), clock=lambda: now)
            await sync(vectors, SOURCE)
            w.provider.delay_seconds = 5
            w.provider.calls.clear()
            for _ in range(3):
                page = await w.find(vectors, "villa")
                assert (page.ranked_by, page.note) == (
                    "words",
                    "the provider of embeddings is away",
                )
            assert len(w.provider.calls) == 1
            w.provider.delay_seconds, now = 0, 60.0
            assert (await w.find(vectors, "villa")).ranked_by == "meaning and words"

    asyncio.run(run())


@BOTH
def test_a_process_that_dies_between_batches_leaves_what_it_kept(world: Enter, kind: str) -> None:
    async def run() -> None:
        async with world(kind) as w:
            vectors = w.vectors()
            w.provider.delay_seconds = 0.2
            dying = asyncio.create_task(sync(vectors, SOURCE))
            await w.called(2)
            dying.cancel()
            await asyncio.gather(dying, return_exceptions=True)
            half = await w.kept()
            assert 0 < len(half) < len(await w.offered())
            w.provider.delay_seconds = 0
            counts = await sync(vectors, SOURCE)
            assert counts["kept"] == len(await w.offered()) - len(half)
            assert set(await w.kept()) == await w.offered()

    asyncio.run(run())


def test_two_that_sync_at_once_keep_every_vector_once(world: Enter) -> None:
    async def run() -> None:
        async with world("postgresql") as w:
            await asyncio.gather(*(sync(w.vectors(), SOURCE) for _ in range(3)))
            assert set(await w.kept()) == await w.offered()

    asyncio.run(run())


def test_without_pgvector_search_is_by_words_and_the_ping_says_so(world: Enter) -> None:
    async def run() -> None:
        async with world("postgresql", extension=False) as w:
            vectors = w.vectors()
            await vectors.open()
            assert "no extension `vector`" in (vectors.status_note or "")
            await sync(vectors, SOURCE)  # kept for the day on which it comes
            page = await w.find(vectors, "apartment")
            assert (page.ranked_by, bool(page.items)) == ("words", True)
            with pytest.raises(NoVectorSearch):
                await vectors.ping()
            async with w.db.begin() as connection:
                await connection.execute(text("CREATE EXTENSION vector"))
            await vectors.ping()
            assert (await w.find(vectors, "apartment")).ranked_by == "meaning and words"

    asyncio.run(run())


@pytest.mark.parametrize(("dimensions", "kind"), [(64, "vector"), (2400, "halfvec"), (4090, None)])
def test_pgvector_has_an_index_of_the_type_that_holds_the_model(
    world: Enter, dimensions: int, kind: str | None
) -> None:
    async def run() -> None:
        async with world("postgresql") as w:
            w.provider.dimensions["small"] = dimensions
            vectors = w.vectors()
            await sync(vectors, SOURCE)
            async with transaction(w.db, write=False) as session:
                found = await session.scalar(
                    text("SELECT indexdef FROM pg_indexes WHERE indexname LIKE 'vectors_of_set_%'")
                )
            assert (found is None) == (kind is None)
            assert kind is None or f"{kind}({dimensions})" in found
            page = await w.find(vectors, "apartment", limit=5)
            assert page.ranked_by == "meaning and words"
            if kind is None:
                assert "exact" in (vectors.status_note or "")

    asyncio.run(run())


@BOTH
def test_the_nearest_are_those_of_the_cosine(world: Enter, kind: str) -> None:
    async def run() -> None:
        async with world(kind) as w:
            vectors = w.vectors()
            await sync(vectors, SOURCE)
            question = await vectors.asked(SOURCE.collection, "villa with a garden")
            async with transaction(w.db, write=False) as session:
                rows = (await session.execute(SOURCE.query)).all()
                texts = [SOURCE.text(row) for row in rows]
                made = await vectors.embeddings.embed(texts)
                wanted = SOURCE.ids.where(Listing.kind == "apartment")
                found = await vectors.nearest(session, question, wanted, limit=10)
            distance = {
                row[0]: 1 - math.fsum(a * b for a, b in zip(question.vector, one, strict=True))
                for row, one in zip(rows, made, strict=True)
                if row.kind == "apartment"
            }
            best = sorted(distance.values())[:10]
            assert [distance[id_] for id_ in found] == pytest.approx(best, abs=2e-5)

    asyncio.run(run())


def test_a_client_without_a_key_is_off_and_nothing_is_asked(world: Enter) -> None:
    async def run() -> None:
        async with world() as w:
            client = OpenAIClient(
                api_key="", optional_key=True, base_url=w.base_url, embedding_model="small"
            )
            vectors = Vectors(db=w.db, embeddings=client)
            await vectors.open()
            assert "off" in (vectors.status_note or "")
            assert not await sync(vectors, SOURCE)
            page = await w.find(vectors, "apartment")
            assert (page.ranked_by, page.note) == ("words", "embeddings are off")
            assert w.provider.calls == []

    asyncio.run(run())
