"""Two engines, made at the import."""

from collections.abc import AsyncIterator

from sqlalchemy import Column, Integer, MetaData, String, Table
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import StaticPool

from app import config

metadata = MetaData()
report = Table(
    "report",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("title", String, nullable=False),
    Column("state", String, nullable=False, server_default="draft"),
)

engine = create_async_engine(config.DATABASE_URL, poolclass=StaticPool)
archive_engine = create_async_engine(config.ARCHIVE_URL, poolclass=StaticPool)

STATEMENTS = [
    ("report title index", "CREATE INDEX IF NOT EXISTS report_title ON report (title)"),
    ("report state index", "CREATE INDEX IF NOT EXISTS report_state ON report (state)"),
]


async def get_connection() -> AsyncIterator[AsyncConnection]:
    """Give a connection within a transaction."""
    async with engine.begin() as connection:
        yield connection
