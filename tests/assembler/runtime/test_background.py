"""Loops: run from the start to the stop, again after a crash, in one process of all where told."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from assembler.application.build import build
from assembler.runtime.background import Loop
from assembler.runtime.report import Assembly, LoopState
from tests.assembler.sample_app import injected
from tests.assembler.sample_app.journal import events
from tests.assembler.sample_app.world import Server, assembly_of, built, planned, until

LOOP = """
    resources: {store: {use: $parts.injected.Store}}
    background: [{id: poll, use: $parts.injected.poll, on_crash: CRASH, with: {ends: ENDS}}]
    shutdown: [{use: $parts.steps.say, with: {word: hook}}]
"""


@pytest.fixture(autouse=True)
def _empty_journal() -> None:
    events.clear()
    injected.crashes.clear()


def looped(folder: Path, crash: str = "restart", ends: str = "false") -> Any:
    return built(folder, LOOP.replace("CRASH", crash).replace("ENDS", ends))


def loop_of(app: Any) -> Loop:
    opening = app.router.lifespan.lifespan.running[-1]
    loop: Loop = opening.enter.__self__
    return loop


def test_a_loop_is_cancelled_before_the_hooks(tmp_path: Path) -> None:
    app = looped(tmp_path)

    async def main() -> None:
        server = Server(app)
        await server.start()
        await until(lambda: bool(events))
        assert assembly_of(app).as_dict()["background"][0]["status"] == "running"
        await server.stop()

    asyncio.run(main())
    assert events == ["poll runs on real", "poll ended", "hook"]
    assert assembly_of(app).loops["poll"] == LoopState("poll", "stopped")


def test_it_runs_again_after_a_crash_with_growing_pauses(tmp_path: Path) -> None:
    app = looped(tmp_path)
    injected.crashes += [ValueError("no"), ValueError("no")]
    pauses: list[float] = []

    async def wait(seconds: float) -> None:
        pauses.append(seconds)
        check = assembly_of(app).checks["background poll"]
        assert await check() == "ValueError: no"
        assert not check.critical

    async def main() -> None:
        loop_of(app).wait = wait
        server = Server(app)
        await server.start()
        await until(lambda: assembly_of(app).loops["poll"].crashes == 2 and len(events) == 3)
        assert await assembly_of(app).checks["background poll"]() is None
        await server.stop()

    asyncio.run(main())
    assert pauses == [1.0, 2.0]


@pytest.mark.parametrize("crash", ["fail", "ignore"])
def test_one_that_is_not_run_again_stays_crashed(tmp_path: Path, crash: str) -> None:
    app = looped(tmp_path, crash)
    injected.crashes.append(ValueError("no"))
    ended: list[str] = []

    async def main() -> None:
        loop_of(app).end = lambda: ended.append("told")
        server = Server(app)
        await server.start()
        await until(lambda: assembly_of(app).loops["poll"].status == "crashed")
        check = assembly_of(app).checks["background poll"]
        assert (await check(), check.critical) == ("ValueError: no", crash == "fail")
        await server.stop()

    asyncio.run(main())
    assert ended == (["told"] if crash == "fail" else [])


def test_one_that_ends_by_itself_is_well(tmp_path: Path) -> None:
    app = looped(tmp_path, ends="true")
    with TestClient(app):
        pass
    assert events == ["poll runs on real", "hook"]
    assert assembly_of(app).loops["poll"].error is None


ONCE = """
    resources:
      store: {use: $parts.injected.Store}
      db: {use: sqlalchemy.ext.asyncio.create_async_engine, with: {url: "sqlite+aiosqlite:///FILE"}}
    scheduler: {store: "${resources.db}", lease: 20s}
    background: [{id: poll, use: $parts.injected.poll, once: true}]
"""


def test_one_process_of_all_runs_it_and_another_takes_over(tmp_path: Path) -> None:
    plan = planned(tmp_path, ONCE.replace("FILE", str(tmp_path / "claims.db")))
    first, second = build(plan), build(plan)

    def status(app: Any) -> str:
        assembly: Assembly = assembly_of(app)
        return assembly.loops["poll"].status

    async def came(app: Any, wanted: str) -> None:
        async with asyncio.timeout(60):
            while status(app) != wanted:  # noqa: ASYNC110  # a database is asked in between
                await asyncio.sleep(0.01)

    async def main() -> None:
        one, two = Server(first), Server(second)
        await one.start()
        await came(first, "running")
        await two.start()
        await came(second, "standing by")
        await one.stop()
        assert status(first) == "stopped"
        await came(second, "running")
        await two.stop()

    asyncio.run(main())
    assert events == ["poll runs on real", "poll ended"] * 2
