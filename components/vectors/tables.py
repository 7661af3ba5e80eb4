"""The tables in which vectors are kept, beside the rows whose text they stand for.

In: nothing. Out: `SETS` and `VECTORS`, to be taken over into the metadata of a service
(`add_tables`), and `forget`, for the transaction that ends an item. A set is what one model gave for
one collection: one set answers, and another one is filled while the model changes. An embedding is
a `real[]` on PostgreSQL, where pgvector casts it in the index, so that the tables need no extension;
on SQLite it is a BLOB of little-endian float32.
"""

import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Dialect,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    delete,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, REAL
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.types import TypeDecorator, TypeEngine

_AT_ONCE = 500  # parameters of a statement


class Float32Vector(TypeDecorator[Any]):
    """Numbers as float32; SQLite gives back the bytes."""

    impl = LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(
            ARRAY(REAL) if dialect.name == "postgresql" else LargeBinary()
        )

    def process_bind_param(self, value: Sequence[float] | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return packed(value)


_METADATA = MetaData()

SETS = Table(
    "vector_sets",
    _METADATA,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("collection", String(63), nullable=False),
    Column("model", String(200), nullable=False),
    Column("dimensions", Integer),
    Column("state", String(10), nullable=False),
    Column("revision", BigInteger, nullable=False, server_default=text("0")),
    UniqueConstraint("collection", "model", name="vector_set_once"),
    # an id is in the name of an index: it is never used again
    sqlite_autoincrement=True,
)
"""One row for each model of a collection; `state` is `active` or `filling`.

`revision` is another one after each change of the set's vectors, on SQLite, where it tells a process
that what it has in memory is old. PostgreSQL compares by itself, and no row is to be waited for there.
"""

VECTORS = Table(
    "vectors",
    _METADATA,
    Column("set_id", ForeignKey(SETS.c.id, ondelete="CASCADE"), primary_key=True),
    Column("item_id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", String(64), nullable=False),
    Column("embedding", Float32Vector, nullable=False),
)
"""`key` is the hash of what was embedded: text, version of the template, model."""


def add_tables(metadata: MetaData) -> None:
    """Have the tables created with those of a service."""
    SETS.to_metadata(metadata)
    VECTORS.to_metadata(metadata)


async def forget(session: AsyncSession, collection: str, items: Iterable[int]) -> None:
    """Remove the vectors of items that end, in the transaction that ends them."""
    ids = list(items)
    sets = select(SETS.c.id).where(SETS.c.collection == collection)
    for at in range(0, len(ids), _AT_ONCE):
        some = ids[at : at + _AT_ONCE]
        await session.execute(
            delete(VECTORS).where(VECTORS.c.set_id.in_(sets), VECTORS.c.item_id.in_(some))
        )
    if ids:
        await changed(session, SETS.c.collection == collection)


async def changed(session: AsyncSession, sets: ColumnElement[bool]) -> None:
    """Note that vectors of these sets have changed."""
    if session.get_bind().dialect.name == "sqlite":
        await session.execute(update(SETS).where(sets).values(revision=SETS.c.revision + 1))


def packed(vector: Sequence[float]) -> bytes:
    """Return the numbers as little-endian float32."""
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tobytes()
