"""A Redis of one test alone."""

from collections.abc import Iterator

import pytest

from tests.servers import RedisServer, start_redis


@pytest.fixture
def mortal_redis() -> Iterator[RedisServer]:
    """One that a test may kill or freeze."""
    with start_redis() as server:
        yield server
