"""Search by meaning: vectors of the texts of a service's rows, kept beside them.

In: an engine of SQLAlchemy whose database has the tables of `components.vectors.tables`, and what makes
embeddings: `components.clients.ai.OpenAIClient`, or `components.vectors.hashed.HashedEmbeddings`. Out: a
resource that keeps the vectors of a `Source` (`sync`) and finds the nearest to a text (`asked`,
`nearest`). Refused, as `NoVectorSearch`, so that the caller goes on by words: a provider that is off,
away or slow, a database that cannot compare vectors, a vector of other dimensions than the set's.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from typing import Annotated, Any, Protocol, runtime_checkable

from pydantic import Field
from sqlalchemy import Row, Select, select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from components.database import transaction
from components.vectors.ranking import (
    ExactSearch,
    NoVectorSearch,
    VectorSet,
    by_pgvector,
    fused,
    index_kind,
    loaded_sqlite_vec,
    sqlite_vec_query,
)
from components.vectors.tables import SETS, forget

__all__ = ["Embedder", "NoVectorSearch", "Question", "Source", "Vectors", "forget", "fused"]

logger = logging.getLogger("components.vectors")

_AWAY_SECONDS = 15.0
_LEAST_LENGTH, _MOST_LENGTH = 1e-37, 1e38  # squared, within float32
_NO_PGVECTOR = "the database has no extension `vector`"
_NO_NUMPY = "NumPy is not installed: the extra `[vectors]` brings it"


@runtime_checkable
class Embedder(Protocol):
    """What makes embeddings."""

    @property
    def is_on(self) -> bool: ...
    @property
    def embedding_model(self) -> str | None: ...
    async def embed(
        self, texts: Sequence[str], *, model: str | None = None
    ) -> list[list[float]]: ...


@dataclass(frozen=True, slots=True)
class Source:
    """Rows that have vectors.

    `query` selects those that are to have one, the id first; `text` makes what is embedded of a row,
    and `template` is the version of how it does. A text that is cut is cut by `text`.
    """

    collection: str
    template: str
    id: Any
    query: Select[*tuple[Any, ...]]
    text: Callable[[Row[Any]], str]

    @property
    def ids(self) -> Select[Any]:
        """The ids alone."""
        return self.query.with_only_columns(self.id)

    def key(self, model: str, row: Row[Any]) -> str:
        """The hash of all that an embedding depends on."""
        told = f"{model}\0{self.template}\0{self.text(row)}"
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Question:
    """A text as the set of its answers sees it."""

    set: VectorSet
    vector: list[float]


class Vectors:
    """A resource: where vectors are kept, and what makes them.

    Raises TypeError where `embeddings` makes none.
    """

    def __init__(
        self,
        *,
        db: Annotated[AsyncEngine, Field(description="the engine of the database")],
        embeddings: Annotated[
            Any,
            Field(
                description="what makes embeddings: `components.vectors.hashed.HashedEmbeddings` of words "
                "alone, `components.clients.ai.OpenAIClient` of meanings"
            ),
        ],
        query_timeout: Annotated[
            timedelta,
            Field(gt=timedelta(0), description="how long a search waits for its embedding"),
        ] = timedelta(seconds=2),
        clock: Annotated[
            Callable[[], float], Field(description="gives seconds, for tests")
        ] = time.monotonic,
    ) -> None:
        if not isinstance(embeddings, Embedder):
            raise TypeError(
                f"`embeddings` is an object of {type(embeddings).__name__}, which makes none"
            )
        self.db = db
        self.embeddings: Embedder = embeddings
        self._timeout_seconds = query_timeout.total_seconds()
        self._clock = clock
        self._away_until = float("-inf")
        self._exact = ExactSearch()
        self._unfit: str | None = None
        self._is_exact = False

    @property
    def model(self) -> str:
        """The model that the vectors are to be of."""
        return self.embeddings.embedding_model or ""

    @property
    def is_on(self) -> bool:
        """Whether there is anything that makes embeddings."""
        return self.embeddings.is_on and bool(self.model)

    @property
    def status_note(self) -> str | None:
        """Says why search is by words only, where that is known; else by what it is ordered."""
        if not self.is_on:
            return "off: no credentials, so search is by words only"
        if self._unfit is not None:
            return f"search is by words only: {self._unfit}"
        if self._is_exact:
            return "search is exact: no index of pgvector has so many dimensions"
        return getattr(self.embeddings, "status_note", None)

    async def open(self) -> None:
        """Look whether the database can compare vectors; what is away may come later."""
        try:
            await self.ping()
        except NoVectorSearch as error:
            logger.warning("search is by words only: %s", error)

    async def ping(self) -> None:
        """Raise NoVectorSearch where the database cannot compare vectors."""
        async with transaction(self.db, write=False) as session:
            await self._judge(session)

    async def asked(self, collection: str, question: str) -> Question:
        """The text's embedding, by the model of the set that answers.

        Raises:
            NoVectorSearch: there is none, and why.
        """
        if not self.is_on:
            raise NoVectorSearch("embeddings are off")
        async with transaction(self.db, write=False) as session:
            await self._judge(session)
            found = await active_set(session, collection)
        if found is None or found.dimensions is None:
            raise NoVectorSearch("there are no vectors yet")
        is_postgresql = self.db.dialect.name == "postgresql"
        self._is_exact = is_postgresql and index_kind(found.dimensions) is None
        if self._clock() < self._away_until:
            raise NoVectorSearch("the provider of embeddings is away")
        try:
            async with asyncio.timeout(self._timeout_seconds):
                (vector,) = await self.embeddings.embed([question], model=found.model)
        except Exception as error:
            self._away_until = self._clock() + _AWAY_SECONDS
            logger.warning("search is by words only: %s", _words_of(error))
            raise NoVectorSearch("the provider of embeddings is away") from error
        if len(vector) != found.dimensions or not is_usable(vector):
            self.distrust()
            message = f"the provider's vectors do not fit those of `{found.model}` that are kept"
            raise NoVectorSearch(message)
        return Question(found, vector)

    def distrust(self) -> None:
        """Have the provider asked again for what it gave, if its client keeps that: it does not fit."""
        forget = getattr(self.embeddings, "forget_embeddings", None)
        if forget is not None:
            forget()

    async def nearest(
        self, session: AsyncSession, question: Question, eligible: Select[Any], *, limit: int
    ) -> list[int]:
        """The ids, among those that `eligible` selects, nearest to the question."""
        found, vector = question.set, question.vector
        if session.get_bind().dialect.name == "postgresql":
            return await by_pgvector(session, found, vector, eligible, limit)
        if await loaded_sqlite_vec(session):
            return [*await session.scalars(sqlite_vec_query(found, vector, eligible, limit))]
        return await self._exact.nearest(session, found, vector, eligible, limit)

    async def _judge(self, session: AsyncSession) -> None:
        self._unfit = await _unfit(session)
        if self._unfit is not None:
            raise NoVectorSearch(self._unfit)


async def active_set(session: AsyncSession, collection: str) -> VectorSet | None:
    """The set that answers."""
    row = (
        await session.execute(
            select(SETS.c.id, SETS.c.model, SETS.c.dimensions, SETS.c.state).where(
                SETS.c.collection == collection, SETS.c.state == "active"
            )
        )
    ).one_or_none()
    return None if row is None else VectorSet(*row)


def is_usable(vector: Sequence[float]) -> bool:
    """Whether it has a direction that float32 can tell: a length neither nothing nor endless."""
    length = sum(number * number for number in vector)
    return _LEAST_LENGTH < length < _MOST_LENGTH


async def _unfit(session: AsyncSession) -> str | None:
    if session.get_bind().dialect.name == "postgresql":
        there = await session.scalar(text("SELECT 1 FROM pg_extension WHERE extname = 'vector'"))
        return None if there else _NO_PGVECTOR
    if await loaded_sqlite_vec(session) or find_spec("numpy") is not None:
        return None
    return _NO_NUMPY


def _words_of(error: Exception) -> str:
    return str(error) or type(error).__name__
