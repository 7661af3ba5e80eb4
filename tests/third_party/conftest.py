"""Extensions of others, set up in a manifest as their documents set them up in a `main.py`.

Each module has the files of a small project: `main.py` by the documents of the extension, and a
manifest of the same. Every test runs with either. They want packages that `.[dev]` leaves out, so
they are collected by `.ci/third_party` alone, which makes an environment for them and runs each module
in a process of its own: what some of these extensions do to a process stays.
"""

import importlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

import assembler
from tests.assembler.project import project

collect_ignore_glob = [] if os.environ.get("THIRD_PARTY") else ["test_*.py"]


@pytest.fixture(params=["main.py", "manifest.yaml"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FastAPI]:
    """Give the application of the module's files: by hand, then assembled."""
    with project(tmp_path, request.module.FILES):
        if request.param == "main.py":
            yield importlib.import_module("main").app
        else:
            yield assembler.build(assembler.load("manifest.yaml"))


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """Give a client of the application, which has started."""
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client
