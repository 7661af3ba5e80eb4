"""What a crawler remembers, for all processes and over restarts.

In: nothing. Out: `HOSTS` and `PAGES`, to be taken over into the metadata of a service (`add_tables`), and
`upsert`. A host's row has its robots.txt and until when it is to be left alone; a page's row has what a
conditional request needs, the hash of its content and the links that it led to.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import JSON, Column, Float, Index, Integer, MetaData, String, Table, Text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

_METADATA = MetaData()

HOSTS = Table(
    "crawl_hosts",
    _METADATA,
    Column("origin", String(300), primary_key=True),
    Column("robots_status", Integer),
    Column("robots_text", Text),
    Column("robots_at", Float),
    Column("not_before", Float),
)
"""Times are seconds since 1970, UTC."""

PAGES = Table(
    "crawl_pages",
    _METADATA,
    Column("source", String(100), primary_key=True),
    Column("url", String(2000), primary_key=True),
    Column("etag", String(500)),
    Column("last_modified", String(100)),
    Column("content_hash", String(64), nullable=False),
    Column("links", JSON, nullable=False),
    Column("fetched_at", Float, nullable=False),
)

Index("crawl_pages_by_content", PAGES.c.source, PAGES.c.content_hash)


def add_tables(metadata: MetaData) -> None:
    """Have the tables created with those of a service."""
    HOSTS.to_metadata(metadata)
    PAGES.to_metadata(metadata)


async def upsert(
    session: AsyncSession, table: Any, rows: Sequence[dict[str, Any]], *, keys: Sequence[str]
) -> None:
    """Insert rows, or change those that are there by their keys; all rows have the same columns."""
    if not rows:
        return
    is_postgres = session.get_bind().dialect.name == "postgresql"
    made: Any = (postgresql if is_postgres else sqlite).insert(table)
    changed = {name: made.excluded[name] for name in rows[0] if name not in keys}
    await session.execute(
        made.on_conflict_do_update(index_elements=list(keys), set_=changed), list(rows)
    )
