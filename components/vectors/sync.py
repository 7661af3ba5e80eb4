"""Keeps vectors of a service's rows: what changed is embedded, what ended is gone, and nothing else.

In: `Vectors`, a `Source` that says which rows there are and what their text is. Out: rows of `vectors`,
and counts of what was done. Each batch is a transaction of its own, so a process that dies loses what
it had asked for last and no more. Before a result is kept its row is locked and read again: one that was
made from an older text is dropped. Refused: vectors of other dimensions than the set's.

Of two models the new one is filled while the old one answers; when no row lacks a vector the new one
answers, and the old one's vectors go. An old model that is still asked for its own set is asked for
what changed meanwhile; where the provider does not have it any more, what changed leaves the old set.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from components.clients.faults import RequestError
from components.database import transaction
from components.vectors import Source, Vectors, active_set, is_usable
from components.vectors.ranking import VectorSet, index_kind
from components.vectors.tables import SETS, VECTORS, changed

logger = logging.getLogger("components.vectors")

_PAGE = 2000
_BATCH = 64
_ROUNDS = 5  # rows that change all the time are for the next run


class UnfitVectors(Exception):  # noqa: N818  # it is what was given, not a fault of the code
    """The provider gave vectors that cannot be kept beside those that are."""


@dataclass(frozen=True, slots=True)
class _Due:
    id: int
    key: str
    text: str


async def sync(
    vectors: Vectors,
    source: Source,
    *,
    db: AsyncEngine | None = None,
    until: Callable[[], bool] = lambda: False,
) -> Counter[str]:
    """Bring the vectors up to date, until `until` says that the time is over; return the counts.

    `db` is another engine of the same database, such as one for jobs.

    Raises:
        ClientError: the provider is away, limits or refuses us; what was kept stays.
        UnfitVectors: its vectors are none, or of other dimensions than those that are kept.
    """
    counts: Counter[str] = Counter()
    if not vectors.is_on:
        return counts
    db = db or vectors.db
    wanted = await _set_of(db, source.collection, vectors.model)
    async with transaction(db, write=False) as session:
        active = await active_set(session, source.collection)
    if active is not None and active.id != wanted.id:
        await _Work(vectors, db, source, active, counts, until).keep_true()
    await _Work(vectors, db, source, wanted, counts, until).fill()
    await _index(db, wanted.id)
    if active is None or active.id != wanted.id:
        await _switch(db, source, wanted, counts)
    return +counts


class _Work:
    """One set, filled."""

    def __init__(
        self,
        vectors: Vectors,
        db: AsyncEngine,
        source: Source,
        found: VectorSet,
        counts: Counter[str],
        until: Callable[[], bool],
    ) -> None:
        self._vectors = vectors
        self._db = db
        self._source = source
        self._set = found
        self._counts = counts
        self._until = until
        self._refused: set[str] = set()

    async def fill(self) -> None:
        """Embed what has no vector of its text; remove the vectors of what there is not any more."""
        for _ in range(_ROUNDS):
            outdated = self._counts["outdated"]
            is_done = await self._round()
            if not is_done or self._counts["outdated"] == outdated:
                break
        self._counts["refused"] += len(self._refused)
        await _sweep(self._db, self._source, self._set.id, self._counts)

    async def _round(self) -> bool:
        """Look at every row once; False where the time is over before that."""
        batch: list[_Due] = []
        async for one in self._due():
            batch.append(one)
            if len(batch) == _BATCH:
                if self._until():
                    return False
                await self._embed_some(batch)
                batch = []
        if batch and not self._until():
            await self._embed_some(batch)
        return True

    async def keep_true(self) -> None:
        """Fill a set whose model is on its way out; what cannot be embedded any more leaves it."""
        try:
            await self.fill()
        except Exception as error:  # noqa: BLE001  # the model may be gone: the new one goes on
            logger.warning("`%s` gives no more vectors: %s", self._set.model, type(error).__name__)
            outdated = [one.id async for one in self._due()]
            of_set = VECTORS.c.set_id == self._set.id
            async with transaction(self._db, write=True) as session:
                for at in range(0, len(outdated), _BATCH):
                    some = outdated[at : at + _BATCH]
                    await session.execute(
                        delete(VECTORS).where(of_set, VECTORS.c.item_id.in_(some))
                    )
                await changed(session, SETS.c.id == self._set.id)

    async def _due(self) -> AsyncIterator[_Due]:
        """What has no vector, or one of another text."""
        last = 0
        while True:
            async with transaction(self._db, write=False) as session:
                rows = await self._page(session, last)
            for row in rows:
                key = self._source.key(self._set.model, row)
                if row.kept_key != key and key not in self._refused:
                    yield _Due(row[0], key, self._source.text(row))
            if len(rows) < _PAGE:
                return
            last = rows[-1][0]

    async def _page(self, session: AsyncSession, last: int) -> Sequence[Row[Any]]:
        id_ = self._source.id
        kept = (VECTORS.c.item_id == id_) & (VECTORS.c.set_id == self._set.id)
        return (
            await session.execute(
                self._source.query.add_columns(VECTORS.c.key.label("kept_key"))
                .outerjoin(VECTORS, kept)
                .where(id_ > last)
                .order_by(id_)
                .limit(_PAGE)
            )
        ).all()

    async def _embed_some(self, due: Sequence[_Due]) -> None:
        """Embed and keep; a provider that refuses every text refuses something else."""
        kept, refused = self._counts["calls"], len(self._refused)
        try:
            await self._embed(due)
        except UnfitVectors:
            self._vectors.distrust()
            raise
        if self._counts["calls"] == kept and len(due) > 1:
            detail = f"{len(self._refused) - refused} texts of as many were refused"
            raise RequestError(self._set.model, detail)

    async def _embed(self, due: Sequence[_Due]) -> None:
        """Embed and keep; a text that is refused is found by halves, and left out."""
        try:
            made = await self._vectors.embeddings.embed(
                [one.text for one in due], model=self._set.model
            )
        except RequestError as error:
            if error.status in {404, 405}:
                raise  # there is no such model or address: it is not the text
            if len(due) == 1:
                logger.warning("%d has no vector: %s", due[0].id, error)
                self._refused.add(due[0].key)
                return
            for half in (due[: len(due) // 2], due[len(due) // 2 :]):
                await self._embed(half)
            return
        self._counts["calls"] += 1
        if len(made) != len(due) or not all(map(is_usable, made)):
            raise UnfitVectors(f"`{self._set.model}` gave what is no vector")
        await self._keep(due, made)

    async def _keep(self, due: Sequence[_Due], made: Sequence[Sequence[float]]) -> None:
        vectors = {one.id: (one.key, vector) for one, vector in zip(due, made, strict=True)}
        source, set_id = self._source, self._set.id
        async with transaction(self._db, write=True) as session:
            rows = (
                await session.execute(
                    source.query.where(source.id.in_(sorted(vectors)))
                    .order_by(source.id)
                    .with_for_update()
                )
            ).all()
            same = [row[0] for row in rows if self._key(row) == vectors[row[0]][0]]
            await self._check_dimensions(session, {len(vector) for vector in made})
            await session.execute(
                delete(VECTORS).where(VECTORS.c.set_id == set_id, VECTORS.c.item_id.in_(same))
            )
            if same:
                await session.execute(
                    insert(VECTORS),
                    [
                        {"set_id": set_id, "item_id": id_, "key": key, "embedding": vector}
                        for id_ in same
                        for key, vector in [vectors[id_]]
                    ],
                )
                await changed(session, SETS.c.id == set_id)
        self._counts["kept"] += len(same)
        self._counts["outdated"] += len(due) - len(same)

    def _key(self, row: Row[Any]) -> str:
        return self._source.key(self._set.model, row)

    async def _check_dimensions(self, session: AsyncSession, given: set[int]) -> None:
        """Hold the vectors to the dimensions of the set; the first of them say which."""
        is_set = SETS.c.id == self._set.id
        known = await session.scalar(select(SETS.c.dimensions).where(is_set).with_for_update())
        if len(given) != 1 or known not in {None, *given}:
            told = ", ".join(map(str, sorted(given)))
            raise UnfitVectors(
                f"`{self._set.model}` gave vectors of {told} dimensions, and those kept have {known}"
                if known
                else f"`{self._set.model}` gave vectors of {told} dimensions"
            )
        if known is None:
            await session.execute(update(SETS).where(is_set).values(dimensions=given.pop()))


async def _set_of(db: AsyncEngine, collection: str, model: str) -> VectorSet:
    """The set of a model, made where there is none; the first of a collection answers at once."""
    is_it = (SETS.c.collection == collection, SETS.c.model == model)
    columns = (SETS.c.id, SETS.c.model, SETS.c.dimensions, SETS.c.state)
    while True:
        async with transaction(db, write=False) as session:
            row = (await session.execute(select(*columns).where(*is_it))).one_or_none()
            first = await active_set(session, collection) is None
        if row is not None:
            return VectorSet(*row)
        try:
            async with transaction(db, write=True) as session:
                state = "active" if first else "filling"
                await session.execute(
                    insert(SETS).values(collection=collection, model=model, state=state)
                )
        except IntegrityError:  # another process made it at this moment
            continue


async def _sweep(db: AsyncEngine, source: Source, set_id: int, counts: Counter[str]) -> None:
    """Remove the vectors of what there is not any more, whoever ended it."""
    async with transaction(db, write=True) as session:
        gone = await session.scalars(
            delete(VECTORS)
            .where(VECTORS.c.set_id == set_id, VECTORS.c.item_id.not_in(source.ids))
            .returning(VECTORS.c.item_id)
        )
        removed = len(gone.all())
        if removed:
            await changed(session, SETS.c.id == set_id)
    counts["removed"] += removed


async def _switch(db: AsyncEngine, source: Source, wanted: VectorSet, counts: Counter[str]) -> None:
    """Let a set answer where no row lacks a vector; the others go."""
    if counts["refused"]:
        logger.warning("the new model refuses %d texts: the old one answers", counts["refused"])
    async with transaction(db, write=True) as session:
        there = select(VECTORS.c.item_id).where(VECTORS.c.set_id == wanted.id)
        missing = await session.scalar(
            select(func.count()).select_from(source.ids.where(source.id.not_in(there)).subquery())
        )
        counts["missing"] = missing or 0
        if missing:
            return
        of_it = SETS.c.collection == source.collection
        await session.execute(select(SETS.c.id).where(of_it).order_by(SETS.c.id).with_for_update())
        old = (
            await session.scalars(
                delete(SETS).where(of_it, SETS.c.id != wanted.id).returning(SETS.c.id)
            )
        ).all()
        await session.execute(update(SETS).where(SETS.c.id == wanted.id).values(state="active"))
    for id_ in old:
        await _drop_index(db, id_)
    if old:
        logger.info("`%s` answers now", wanted.model)


async def _index(db: AsyncEngine, set_id: int) -> None:
    """Have an index of pgvector over a set that has none; without one the search is exact."""
    if db.dialect.name != "postgresql":
        return
    async with transaction(db, write=False) as session:
        dimensions = await session.scalar(select(SETS.c.dimensions).where(SETS.c.id == set_id))
        is_valid = await session.scalar(
            text(
                "SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
                "WHERE relname = :name AND pg_table_is_visible(pg_class.oid)"
            ).bindparams(name=_index_name(set_id))
        )
        there = await session.scalar(text("SELECT 1 FROM pg_extension WHERE extname = 'vector'"))
    if dimensions is None or is_valid or not there:
        return
    kind = index_kind(dimensions)
    if kind is None:
        logger.info("search is exact: no index of pgvector has %d dimensions", dimensions)
        return
    if is_valid is False:
        await _drop_index(db, set_id)
    await _run_alone(
        db,
        f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {_index_name(set_id)} ON vectors "
        f"USING hnsw ((CAST(embedding AS {kind}({dimensions}))) {kind}_cosine_ops) "
        f"WHERE set_id = {set_id:d}",
    )


async def _drop_index(db: AsyncEngine, set_id: int) -> None:
    if db.dialect.name == "postgresql":
        await _run_alone(db, f"DROP INDEX CONCURRENTLY IF EXISTS {_index_name(set_id)}")


async def _run_alone(db: AsyncEngine, statement: str) -> None:
    """Run what may stand in no transaction; where it fails, the search is slower and right."""
    try:
        async with db.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            await connection.exec_driver_sql(statement)
    except SQLAlchemyError as error:
        logger.warning("search is exact: no index was made: %s", type(error).__name__)


def _index_name(set_id: int) -> str:
    return f"vectors_of_set_{set_id:d}"
