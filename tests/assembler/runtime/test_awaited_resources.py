"""Resources that async functions make: anew at each opening, closed at the end, asked for by id."""

import asyncio
import errno
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from assembler.application.build import build_for_jobs
from tests.assembler.sample_app import injected
from tests.assembler.sample_app.injected import Pool
from tests.assembler.sample_app.journal import events
from tests.assembler.sample_app.world import (
    Server,
    assembly_of,
    built,
    cycle,
    failing_start,
    lifespan_of,
    planned,
    until,
)

POOL = """
    resources:
      store: {use: $parts.injected.Store}
      pool: {use: $parts.injected.pool, with: {store: "${resources.store}"}, on_error: ON_ERROR}
      above: {use: $parts.injected.above, with: {pool: "${resources.pool}"}, on_error: ON_ERROR}
    routes: [{use: $parts.injected.pool_router}]
"""
STEP = """    startup: [{use: $parts.injected.step_with_pool, with: {pool: "${resources.pool}"}}]
    scheduler:
      jobs: [{id: tick, use: $parts.injected.job_with_pool, every: 5s, with: {pool: "${resources.pool}"}}]
"""
WHOLE = POOL.replace("ON_ERROR", "fail") + STEP


@pytest.fixture(autouse=True)
def _empty_journal() -> None:
    events.clear()
    injected.refusals.clear()


def test_it_is_made_at_each_start_and_closed_at_each_end(tmp_path: Path) -> None:
    app = built(tmp_path, WHOLE)
    lifespan_of(app).running.clear()  # no clock
    asyncio.run(cycle(app))
    asyncio.run(cycle(app))
    once = ["pool made for real", "step: pool, above pool", "above pool closed", "pool closed"]
    assert events == once * 2


def test_routes_find_it_in_their_state_and_by_id(tmp_path: Path) -> None:
    app = built(tmp_path, POOL.replace("ON_ERROR", "fail"))
    with TestClient(app) as client:
        assert client.get("/pool").json() is True
        assert "pool" in assembly_of(app).checks


def test_tests_replace_it_by_id(tmp_path: Path) -> None:
    app = built(tmp_path, POOL.replace("ON_ERROR", "fail"), pool=Pool("given"))
    with TestClient(app) as client:
        assert client.get("/pool").json() is True
    assert events == ["above given closed"]


def test_jobs_are_given_it(tmp_path: Path) -> None:
    lifespan = build_for_jobs(planned(tmp_path, WHOLE))

    async def once() -> None:
        await lifespan.start()
        await lifespan.assembly.jobs.run_now("tick")
        await lifespan.stop()

    asyncio.run(once())
    assert "job: pool" in events


def test_what_is_away_is_tried_again_and_then_there_for_requests(tmp_path: Path) -> None:
    injected.refusals.append(ConnectionRefusedError(errno.ECONNREFUSED, "refused"))
    app = built(tmp_path, POOL.replace("ON_ERROR", "degrade"))

    async def no_wait(seconds: float) -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        lifespan_of(app).wait = no_wait
        server = Server(app)
        await server.start()
        await until(lambda: not assembly_of(app).degraded)
        assert isinstance(server.state["pool"], Pool)
        assert assembly_of(app).resources["pool"] is server.state["pool"]
        await server.stop()

    asyncio.run(main())


def test_who_needs_one_that_is_away_says_so(tmp_path: Path) -> None:
    injected.refusals.append(LookupError("no pool"))
    text = POOL.replace("ON_ERROR", "warn") + STEP
    message = asyncio.run(failing_start(built(tmp_path, text)))
    assert "resource `pool` is not there" in message
