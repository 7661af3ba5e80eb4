import asyncio
import subprocess
import sys
from pathlib import Path

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from components.database import engine, transaction
from components.estate import listings, seed
from components.estate.models import Listing
from components.estate.schemas import ListingIn, ListingPatch, Search

_PREPARE = """
import asyncio, sys
from components.database import engine
from components.estate.seed import prepare
db = engine(url=sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
asyncio.run(prepare(db=db, listings=40))
"""


async def _count(db: AsyncEngine) -> int | None:
    async with transaction(db, write=False) as session:
        return await session.scalar(select(func.count()).select_from(Listing))


def test_the_same_seed_gives_the_same_listings() -> None:
    assert seed.generate(50, seed=7) == seed.generate(50, seed=7)
    assert seed.generate(50, seed=7) == seed.generate(60, seed=7)[:50]
    assert seed.generate(50, seed=7) != seed.generate(50, seed=8)


def test_every_seeded_listing_is_one_that_the_service_would_take() -> None:
    rows = seed.generate(300, seed=7)
    for row in rows:
        ListingIn.model_validate({n: v for n, v in row.items() if not n.endswith("_at")})
        assert row["status"] != ("sold" if row["purpose"] == "rent" else "rented")
        assert row["created_at"].tzinfo is not None
    assert {row["currency"] for row in rows} >= {"INR", "AED", "GBP", "EUR"}
    assert len({row["city"] for row in rows}) == 15
    assert len({row["kind"] for row in rows}) == 7


def test_a_table_with_content_is_left_as_it_is(url: str) -> None:
    async def counts() -> tuple[int | None, int | None]:
        db = engine(url=url)
        await seed.prepare(db=db, listings=3)
        first = await _count(db)
        await seed.prepare(db=db, listings=50, seed=8)
        second = await _count(db)
        await db.dispose()
        return first, second

    assert asyncio.run(counts()) == (3, 3)


def test_eight_processes_seed_one_sqlite_file_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shared.db"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PREPARE, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    failures = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 8, failures

    async def count() -> int | None:
        db = engine(url=url)
        found = await _count(db)
        await db.dispose()
        return found

    assert asyncio.run(count()) == 40


def test_eight_starts_at_once_seed_one_postgresql_once(postgres: str) -> None:
    async def start() -> int | None:
        engines = [engine(url=postgres, pool_size=1) for _ in range(8)]
        await asyncio.gather(*(seed.prepare(db=db, listings=40) for db in engines))
        found = await _count(engines[0])
        for db in engines:
            await db.dispose()
        return found

    assert asyncio.run(start()) == 40


def test_listings_are_kept_and_found_in_postgresql_too(postgres: str) -> None:
    offer = ListingIn(
        title="Résidence 50% off",
        kind="villa",
        purpose="sale",
        price=10**15,
        area_m2=0.5,
        city="Évora",
        locality="Old Town",
        amenities=["pool"],
    )

    async def story() -> None:
        db = engine(url=postgres)
        await seed.prepare(db=db, listings=40)
        async with transaction(db, write=True) as session:
            created = await listings.create(session, offer, currency="EUR")
        assert created.id == 41  # the database goes on counting after the seeded listings
        async with transaction(db, write=True) as session:
            changed = await listings.update(session, created.id, ListingPatch(status="sold"))
        async with transaction(db, write=False) as session:
            wanted = Search(q="résidence 50%", city="évora", kind="villa", sort="-area")
            page = await listings.search(session, wanted, page_size=20)
            assert await session.scalar(text("SELECT 'villa'::listing_kind")) == "villa"
        assert page.items == [changed]
        assert page.items[0].created_at == created.created_at
        async with transaction(db, write=True) as session:
            assert await listings.delete(session, created.id)
            assert not await listings.delete(session, created.id)
            assert await listings.read(session, created.id) is None
            assert await listings.update(session, created.id, ListingPatch()) is None
        await db.dispose()

    asyncio.run(story())
