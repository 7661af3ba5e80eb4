"""Search by meaning and words at 10 000 listings, and a sync that finds nothing to do.

In: nothing. Out: on SQLite (NumPy) and on PostgreSQL (pgvector), without the time of a provider: the 50th
and 95th percentile of a search, beside that of the plain search by words in the same run, and the seconds
and embedding calls of a sync of unchanged listings. `python -m tests.benchmarks.search`.
"""

import asyncio
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from components.database import engine, transaction
from components.estate import listings, seed
from components.estate.schemas import Search
from components.estate.search import SOURCE, ListingSearch, search
from components.vectors import Vectors
from components.vectors.hashed import HashedEmbeddings
from components.vectors.sync import sync
from tests.servers import start_postgres

LISTINGS = 10_000
SEARCHES = 200
QUERIES = (
    {"q": "bright apartment close to the metro"},
    {"q": "villa with a pool", "city": "Lisbon"},
    {"q": "quiet house with a garden", "sort": "price"},
    {"q": "office with fibre internet", "offset": 40},
    {"q": "3-bedroom apartment", "purpose": "rent", "min_bedrooms": 3},
)


class Counting(HashedEmbeddings):
    """Counts how often it is asked."""

    calls = 0

    async def embed(self, texts: Sequence[str], *, model: str | None = None) -> list[list[float]]:
        self.calls += 1
        return await super().embed(texts, model=model)


async def measure(name: str, url: str) -> None:
    """Print the figures of one database."""
    db, embeddings = engine(url=url), Counting()
    await prepare(db)
    vectors = Vectors(db=db, embeddings=embeddings)
    await sync(vectors, SOURCE)
    async with db.begin() as connection:
        await connection.execute(text("ANALYZE"))
    embeddings.calls = 0
    begin = time.perf_counter()
    await sync(vectors, SOURCE)
    seconds = time.perf_counter() - begin
    print(f"{name}: unchanged: {embeddings.calls} calls, {seconds:.2f} s")
    meaning, plain = [], []
    for asked in islice(cycle(QUERIES), SEARCHES):
        begin = time.perf_counter()
        found = await search(db, vectors, ListingSearch.model_validate(asked), page_size=20)
        meaning.append(time.perf_counter() - begin)
        assert found.ranked_by == "meaning and words"
        begin = time.perf_counter()
        async with transaction(db, write=False) as session:
            await listings.search(session, Search.model_validate(asked), page_size=20)
        plain.append(time.perf_counter() - begin)
    for label, times in (("by meaning", meaning), ("by words that must occur", plain)):
        times.sort()
        p50, p95 = (times[int(len(times) * part)] * 1000 for part in (0.5, 0.95))
        print(f"{name}: {label}: p50 {p50:.1f} ms, p95 {p95:.1f} ms")
    print(f"{name}: ratio of medians {meaning[SEARCHES // 2] / plain[SEARCHES // 2]:.2f}")
    await db.dispose()


async def prepare(db: AsyncEngine) -> None:
    """The tables, the extension and the listings."""
    if db.dialect.name == "postgresql":
        async with db.begin() as connection:
            await connection.execute(text("CREATE EXTENSION vector"))
    await seed.prepare(db=db, listings=LISTINGS, posts=0)


def main() -> None:
    """Measure both."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure("sqlite", f"sqlite:///{folder}/estate.db"))
    with start_postgres() as server, server.database() as url:
        asyncio.run(measure("postgresql", url))


if __name__ == "__main__":
    main()
