"""Stores of claims on real servers."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import create_async_engine

from assembler.runtime.scheduler.stores import store_of
from tests.servers import PostgresServer

STORES = ("memory", "sqlite", "postgresql", "psycopg", "redis")
SHARED = STORES[1:]


@pytest.fixture
def url_of(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """The URL of a store of that kind with nothing in it."""
    with contextlib.ExitStack() as stack:

        def make(kind: str) -> str:
            if kind == "sqlite":
                return f"sqlite+aiosqlite:///{tmp_path}/claims.db"
            if kind == "redis":
                url: str = request.getfixturevalue("redis")
                return url
            server: PostgresServer = request.getfixturevalue("postgres_server")
            return driven(stack.enter_context(server.database()), kind)

        yield make


@contextlib.asynccontextmanager
async def opened(kind: str, url: str | None) -> Any:
    """A store on the server, closed at the end."""
    if kind == "memory":
        yield store_of(None)
        return
    assert url is not None
    if kind == "redis":
        client = Redis.from_url(url)
        try:
            yield store_of(client)
        finally:
            await client.aclose()
        return
    db = create_async_engine(url, pool_pre_ping=True)
    try:
        yield store_of(db)
    finally:
        await db.dispose()


def driven(url: str, kind: str) -> str:
    """The URL for the driver of that kind."""
    driver = "psycopg" if kind == "psycopg" else "asyncpg"
    return url.replace("postgresql:", f"postgresql+{driver}:")
