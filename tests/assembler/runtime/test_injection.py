"""Resources and dependencies in signatures: of routes, jobs, steps of the start, functions of the end."""

import asyncio
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from assembler.application.build import build_for_jobs
from assembler.diagnostics.errors import ManifestError
from assembler.plan.load import load
from assembler.plan.static import cache
from assembler.runtime import task
from tests.assembler.project import project
from tests.assembler.sample_app.injected import OtherStore
from tests.assembler.sample_app.journal import events
from tests.assembler.sample_app.world import built, cycle, failing_start, planned

STORE = "resources: {store: {use: $parts.injected.Store}}"
ROUTES = f"{STORE}\nroutes: [{{use: $parts.injected.router}}]"


@pytest.fixture(autouse=True)
def _empty_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    events.clear()
    monkeypatch.setattr(task, "_GRACE_SECONDS", 0.02)


def test_routes_and_websockets_are_given_resources(tmp_path: Path) -> None:
    app = built(tmp_path, ROUTES)
    with TestClient(app) as client:
        assert client.get("/plain").json() == "real"
        assert client.get("/session").json() == ["session of real"] * 2
        with client.websocket_connect("/socket") as socket:
            assert socket.receive_text() == "real"
    assert events == ["session opened", "session closed"]
    schema = app.openapi()
    assert "parameters" not in schema["paths"]["/plain"]["get"]


def test_tests_replace_them_by_id(tmp_path: Path) -> None:
    app = built(tmp_path, ROUTES, store=OtherStore())
    assert TestClient(app).get("/plain").json() == "other"  # without a start, too


def test_a_made_router_that_asks_for_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="`nobody` asks for the resource `nobody`"):
        built(tmp_path, f"{STORE}\nroutes: [{{use: $parts.injected.made}}]")


@pytest.mark.parametrize("section", ["startup", "shutdown"])
def test_steps_and_hooks_are_given_resources_and_dependencies_once(
    tmp_path: Path, section: str
) -> None:
    steps = """
      - {use: $parts.injected.step, with: {word: step}}
      - {use: $parts.injected.step_in_thread}
    """
    asyncio.run(cycle(built(tmp_path, f"{STORE}\n{section}:{steps}")))
    assert events == [
        *("session opened", "step: real, session of real, True", "session closed"),
        *("thread opened", "thread of real, real", "thread closed"),
    ]


def test_an_option_takes_the_place_of_what_would_be_given(tmp_path: Path) -> None:
    text = f"{STORE}\nstartup: [{{use: $parts.injected.step, with: {{word: a, one: b, two: b}}}}]"
    asyncio.run(cycle(built(tmp_path, text)))
    assert events == ["a: real, b, True"]


def test_a_dependency_sees_the_failure_and_is_left(tmp_path: Path) -> None:
    message = asyncio.run(
        failing_start(built(tmp_path, f"{STORE}\nstartup: [{{use: $parts.injected.failing}}]"))
    )
    assert "ValueError: no" in message
    assert events == ["session opened", "session saw the failure", "session closed"]


def test_a_dependency_is_left_where_the_time_is_up(tmp_path: Path) -> None:
    text = f"{STORE}\nstartup: [{{use: $parts.injected.hanging, timeout: 50ms}}]"
    message = asyncio.run(failing_start(built(tmp_path, text)))
    assert "took longer than its timeout of 50ms" in message
    assert events == ["session opened", "session closed"]


JOBS = f"""
{STORE}
scheduler:
  jobs:
    - {{id: plain, use: $parts.injected.job, every: 5s}}
    - {{id: thread, use: $parts.injected.job_in_thread, every: 5s}}
    - {{id: hangs, use: $parts.injected.hanging, every: 5s, timeout: 50ms}}
"""


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ("plain", ["plain: real, session of real"]),
        ("thread", ["thread: real, session of real"]),
        ("hangs", []),
    ],
)
def test_each_run_of_a_job_has_its_own(tmp_path: Path, job: str, said: list[str]) -> None:
    lifespan = build_for_jobs(planned(tmp_path, JOBS.strip("\n")))

    async def once() -> str:
        await lifespan.start()
        try:
            result = await lifespan.assembly.jobs.run_now(job)
            return str(result.outcome)
        finally:
            await lifespan.stop()

    outcome = asyncio.run(once())
    assert outcome == ("timeout" if job == "hangs" else "ok")
    assert events == ["session opened", *said, "session closed"]


ASKING = """
from typing import Annotated
from fastapi import APIRouter, Depends, Request
import assembler
class Engine: ...
def make() -> Engine: return Engine()
Bd = Annotated[Engine, assembler.Resource("bd")]
def session(db: Bd): ...
def ok(db: Annotated[Engine, assembler.Resource("db")]): ...
def user(s: Annotated[str, Depends(session)], request: Request): ...
def inner(s=Depends(session)): ...
def guard(u=Depends(user)): ...
def endpoint(q: int, db: Engine = assembler.Resource("bd")): ...
def deep(n: Annotated[str, Depends(inner)]): ...
def by_default(n=Depends(inner)): ...
def fine(size: int, n=Depends(ok)): ...
router = APIRouter()
other = APIRouter()
@router.get("/a")
async def route(s: Annotated[str, Depends(session)], q: int = 3): ...
@router.get("/ok")
async def right(s=Depends(ok)): ...
@other.get("/b")
async def elsewhere(db: Bd): ...
"""
ASKED = """
manifest: 1
resources: {db: {use: askingshop.make}}
app: {dependencies: [askingshop.guard]}
routes: [{use: askingshop.router}, {path: /x, use: askingshop.endpoint}]
startup:
  - {id: a, use: askingshop.deep}
  - {id: b, use: askingshop.by_default}
  - {id: c, use: askingshop.fine, with: {size: 3}}
"""


@pytest.mark.parametrize("static", [True, False])
def test_what_dependencies_of_dependencies_ask_for_is_proven_by_source_as_well(
    tmp_path: Path, static: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with project(tmp_path / "shop", {"m.yaml": ASKED, "askingshop.py": ASKING}):
        for _ in range(2):  # the second time by what the first one was told
            with pytest.raises(ManifestError) as caught, cache.kept(anew=False):
                load("m.yaml", environment={}, static=static)
            messages = [fault.message for fault in caught.value.diagnostics]
            asking = [text.partition("`")[2].partition("`")[0] for text in messages]
            assert asking == ["guard", "route", "endpoint", "deep", "by_default"]
