"""A real Redis for the session, and a way to play a request without a server."""

from collections.abc import Iterator

import pytest

from tests.servers import RedisServer, start_redis


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Shared by tests that leave it running; keys are told apart by prefixes."""
    with start_redis() as server:
        yield server


@pytest.fixture
def mortal_redis() -> Iterator[RedisServer]:
    """One that a test may kill or freeze."""
    with start_redis() as server:
        yield server
