"""Engines for tests, as a user's own factory would make them."""

import uuid
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool


def engine(*, url: str, pooled: bool = False) -> AsyncEngine:
    """An engine of asyncpg, of psycopg, or of aiosqlite; `pooled` for one behind PgBouncer."""
    if url.startswith("sqlite"):
        return create_async_engine(url)
    if not url.startswith("postgresql+"):
        url = url.replace("postgresql:", "postgresql+asyncpg:", 1)
    if not pooled:
        return create_async_engine(url)
    options: dict[str, Any] = {"prepare_threshold": None}
    if "asyncpg" in url:
        options = {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"__asyncpg_{uuid.uuid4()}__",
        }
    return create_async_engine(url, poolclass=NullPool, connect_args=options)
