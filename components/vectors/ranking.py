"""Which items are nearest to a vector, and one order out of several.

In: a session, a set, a vector of its dimensions, a query of the ids that may be found. Out: ids, the
nearest first. On PostgreSQL pgvector orders them, by an index where there is one; on SQLite sqlite-vec
does where Python can load extensions, else NumPy: both exactly, by the cosine, equals by id. Refused,
as `NoVectorSearch`: a PostgreSQL without the extension, and a Python without NumPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from sqlalchemy import ColumnElement, Select, func, literal, select, text, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import LargeBinary

from components.vectors.tables import SETS, VECTORS, packed

LONGEST_VECTOR_INDEX = 2000
LONGEST_HALFVEC_INDEX = 4000
_DIGITS = 5  # of a distance: below them sums of float32 differ by their order
_RRF = 60


class NoVectorSearch(Exception):  # noqa: N818  # it is a state of the service, and its text is shown
    """Nothing here can compare vectors."""


@dataclass(frozen=True, slots=True)
class VectorSet:
    """The vectors that one model gave for one collection."""

    id: int
    model: str
    dimensions: int | None
    state: str


def fused(*orders: Sequence[int]) -> list[int]:
    """One order out of several, by reciprocal ranks; equals by id (Cormack et al., SIGIR 2009)."""
    scores: dict[int, float] = {}
    for order in orders:
        for rank, id_ in enumerate(order, 1):
            scores[id_] = scores.get(id_, 0.0) + 1 / (_RRF + rank)
    return sorted(scores, key=lambda id_: (-scores[id_], id_))


def index_kind(dimensions: int) -> str | None:
    """The type whose index of pgvector holds so many dimensions; None where none does."""
    if dimensions <= LONGEST_VECTOR_INDEX:
        return "vector"
    return "halfvec" if dimensions <= LONGEST_HALFVEC_INDEX else None


async def by_pgvector(
    session: AsyncSession,
    found: VectorSet,
    vector: Sequence[float],
    eligible: Select[Any],
    limit: int,
) -> list[int]:
    """The nearest, as pgvector finds them."""
    # an index is walked on until enough of the eligible are found; before 0.8 nothing reads the first
    await session.execute(
        select(
            func.set_config("hnsw.iterative_scan", "strict_order", True),
            func.set_config("hnsw.ef_search", str(max(40, min(limit, 1000))), True),
        )
    )
    kind = f"{index_kind(len(vector)) or 'vector'}({len(vector)})"
    # the set and the cast stand as in the partial index, or it is not used
    distance = text(
        f"CAST(vectors.embedding AS {kind}) <=> CAST(CAST(:asked AS text) AS {kind})"
    ).bindparams(asked=f"[{','.join(map(repr, vector))}]")
    nearest = await session.scalars(
        select(VECTORS.c.item_id)
        .where(text(f"vectors.set_id = {found.id:d}"), VECTORS.c.item_id.in_(eligible))
        .order_by(distance)
        .limit(limit)
    )
    return [*nearest]


async def loaded_sqlite_vec(session: AsyncSession) -> bool:
    """Whether sqlite-vec is there for the session's connection, which is tried once."""
    connection = await session.connection()
    raw = await connection.get_raw_connection()
    known = raw.info
    if "sqlite_vec" not in known:
        known["sqlite_vec"] = False
        driver: Any = raw.driver_connection
        if driver is not None and find_spec("sqlite_vec") is not None:
            sqlite_vec: Any = import_module("sqlite_vec")
            try:
                await driver.enable_load_extension(True)
                await driver.load_extension(sqlite_vec.loadable_path())
                await driver.enable_load_extension(False)
            except Exception:  # noqa: BLE001  # a Python built without it, or another driver: NumPy does
                return False
            known["sqlite_vec"] = True
    return bool(known["sqlite_vec"])


def sqlite_vec_query(
    found: VectorSet, vector: Sequence[float], eligible: Select[Any], limit: int
) -> Select[Any]:
    """The statement by which sqlite-vec finds the nearest."""
    distance: ColumnElement[float] = func.round(
        func.vec_distance_cosine(
            type_coerce(VECTORS.c.embedding, LargeBinary), literal(packed(vector), LargeBinary)
        ),
        _DIGITS,
    )
    return (
        select(VECTORS.c.item_id)
        .where(
            VECTORS.c.set_id == found.id,
            VECTORS.c.item_id.in_(eligible),
        )
        .order_by(distance, VECTORS.c.item_id)
        .limit(limit)
    )


class ExactSearch:
    """NumPy over the vectors of one set, which stay in memory until the set is another or has changed."""

    def __init__(self) -> None:
        self._at = (0, -1)
        self._ids: Any = None
        self._matrix: Any = None

    async def nearest(
        self,
        session: AsyncSession,
        found: VectorSet,
        vector: Sequence[float],
        eligible: Select[Any],
        limit: int,
    ) -> list[int]:
        """The nearest, as NumPy finds them."""
        import numpy as np  # noqa: PLC0415  # of an extra, and slow to import

        await self._load(session, found)
        # one text, since ten thousand rows take longer than all the rest
        listed = await session.scalar(select(func.group_concat(eligible.subquery().c[0])))
        if not listed or not len(self._ids):
            return []
        wanted = np.array(str(listed).split(","), np.int64)
        at = np.searchsorted(self._ids, wanted).clip(max=len(self._ids) - 1)
        at = at[self._ids[at] == wanted]
        asked = np.asarray(vector, np.float32)
        asked /= np.linalg.norm(asked)
        distances = np.round(1 - (self._matrix @ asked)[at], _DIGITS)
        ids = self._ids[at]
        return [int(id_) for id_ in ids[np.lexsort((ids, distances))[:limit]]]

    async def _load(self, session: AsyncSession, found: VectorSet) -> None:
        """Have the set's vectors in memory, in the order of their ids."""
        import numpy as np  # noqa: PLC0415  # of an extra, and slow to import

        of_set = SETS.c.id == found.id
        revision = await session.scalar(select(SETS.c.revision).where(of_set)) or 0
        if self._at == (found.id, revision):
            return
        rows = (
            await session.execute(
                select(VECTORS.c.item_id, type_coerce(VECTORS.c.embedding, LargeBinary))
                .where(VECTORS.c.set_id == found.id)
                .order_by(VECTORS.c.item_id)
            )
        ).all()
        matrix = np.frombuffer(b"".join(blob for _, blob in rows), "<f4")
        matrix = matrix.reshape(len(rows), -1) if rows else matrix.reshape(0, 1)
        lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
        ids = np.fromiter((id_ for id_, _ in rows), np.int64, len(rows))
        self._at, self._ids, self._matrix = (found.id, revision), ids, matrix / lengths
