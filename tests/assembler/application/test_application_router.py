"""`app.router` of an existing application, as the first step of moving it."""

from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from assembler.application import application_router
from assembler.application.build import build
from assembler.plan.load import load
from tests.assembler.project import project

OTHER = """
import warnings
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.responses import PlainTextResponse

EVENTS = []


@asynccontextmanager
async def lifespan(app):
    EVENTS.append("lifespan up")
    app.state.opened = True
    yield {"of": "the other"}
    EVENTS.append("lifespan down")


def made(**options):
    app = FastAPI(title="Other", docs_url="/reference", openapi_url="/other.json", **options)
    inner = FastAPI()

    @inner.get("/x")
    async def x():
        return "inner"

    @app.get("/hello")
    async def hello():
        return "hello"

    app.mount("/inner", inner, name="inner")
    app.host("inner.example.com", inner, name="hosted")

    @app.get("/docs")
    async def docs_of_its_own():
        return "its own"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        @app.on_event("startup")
        async def up():
            EVENTS.append("up")

        @app.on_event("shutdown")
        def down():
            EVENTS.append("down")

    return app


old = made()
new = made(lifespan=lifespan)
"""


@pytest.fixture(params=[True, False], ids=["as FastAPI does", "apart"])
def _mounts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:  # as for a FastAPI before 0.140
        monkeypatch.setattr(application_router, "INCLUDES_MOUNTS", False)
    elif not application_router.INCLUDES_MOUNTS:
        pytest.skip("this FastAPI includes no mounts")


def both(folder: Path, name: str, prefix: str = "") -> tuple[FastAPI, FastAPI, list[str]]:
    """Give the application, the one that includes its router, and what both tell of start and end."""
    module: Any = __import__("other")
    where = f", prefix: {prefix}" if prefix else ""
    docs = "app: {title: Whole, openapi: {path: /api.json, docs: null, redoc: null}}"
    text = f'manifest: 1\n{docs}\nroutes:\n  - {{use: "other:{name}.router"{where}}}\n'
    (folder / "manifest.yaml").write_text(text, "utf-8")
    return getattr(module, name), build(load("manifest.yaml")), module.EVENTS


@pytest.mark.usefixtures("_mounts")
@pytest.mark.parametrize("prefix", ["", "/below"])
def test_all_that_stands_on_the_application_is_there(tmp_path: Path, prefix: str) -> None:
    with project(tmp_path, {"other.py": OTHER}):
        app, whole, _ = both(tmp_path, "old", prefix)
        found = []
        for client, above in ((TestClient(app), ""), (TestClient(whole), prefix)):
            answers = [client.get(f"{above}{path}") for path in ("/hello", "/inner/x", "/docs")]
            answers.append(client.get(f"{above}/x", headers={"host": "inner.example.com"}))
            found.append([(answer.status_code, answer.text) for answer in answers])
        assert found[0] == found[1]
        assert {status for status, _ in found[0]} == {200}
        assert whole.url_path_for("inner", path="x") == f"{prefix}/inner/x"


@pytest.mark.usefixtures("_mounts")
def test_the_pages_that_describe_it_are_those_of_the_manifest(tmp_path: Path) -> None:
    with project(tmp_path, {"other.py": OTHER}):
        _, app, _ = both(tmp_path, "old")
        client = TestClient(app)
        gone = ("/other.json", "/reference", "/redoc", "/reference/oauth2-redirect")
        assert {client.get(path).status_code for path in gone} == {404}
        document = client.get("/api.json").json()
        assert document["info"]["title"] == "Whole"
        assert sorted(document["paths"]) == ["/docs", "/hello"]


@pytest.mark.usefixtures("_mounts")
@pytest.mark.parametrize("name", ["old", "new"])
def test_its_start_and_end_are_the_same(tmp_path: Path, name: str) -> None:
    with project(tmp_path, {"other.py": OTHER}):
        app, whole, events = both(tmp_path, name)
        told = []
        for each in (app, whole):
            for _ in range(2):
                events.clear()
                with TestClient(each) as client:
                    assert client.get("/hello").json() == "hello"
                told.append([*events])
        assert told == [told[0]] * 4
        assert told[0] == (["up", "down"] if name == "old" else ["lifespan up", "lifespan down"])
        assert getattr(whole.state, "opened", False) is (name == "new")
