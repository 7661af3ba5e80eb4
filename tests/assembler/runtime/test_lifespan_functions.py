"""Existing lifespans in a manifest: entered anew at each start, their yield in the state."""

import asyncio
import errno
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from assembler.application.build import build_for_jobs
from assembler.runtime import task
from tests.assembler.sample_app import steps
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

TWO = """
    app: {title: Shop}
    resources: {one: {use: $parts.steps.Entered, with: {name: one}}}
    lifespan:
      - $parts.steps.lifespan
      - {id: second, use: $parts.steps.lifespan, with: {name: second}}
      - $parts.steps.lifespan_without_app
    startup: [{use: $parts.steps.say, with: {word: step}}]
    shutdown: [{use: $parts.steps.say, with: {word: hook}}]
"""


@pytest.fixture(autouse=True)
def _empty_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    events.clear()
    steps.refusals.clear()
    monkeypatch.setattr(task, "_GRACE_SECONDS", 0.02)


ONCE = [
    *("one opened", "lifespan entered with Shop", "second entered with Shop", "without the app"),
    *("step", "hook", "second left", "lifespan left", "one closed"),
]


def test_lifespans_are_entered_after_the_resources_and_left_before_them(tmp_path: Path) -> None:
    app = built(tmp_path, TWO)
    asyncio.run(cycle(app))
    assert events == ONCE
    outcomes = [(step.phase, step.id) for step in assembly_of(app).steps if "life" in step.phase]
    assert outcomes == [
        ("lifespan", "tests.assembler.sample_app.steps.lifespan"),
        ("lifespan", "second"),
        ("lifespan", "tests.assembler.sample_app.steps.lifespan_without_app"),
    ]


def test_they_are_called_anew_at_each_start(tmp_path: Path) -> None:
    app = built(tmp_path, TWO)
    asyncio.run(cycle(app))
    asyncio.run(cycle(app))
    assert events == ONCE + ONCE


def test_what_they_yield_is_in_the_state_and_the_later_one_wins(tmp_path: Path) -> None:
    app = built(tmp_path, TWO)
    with TestClient(app) as client:
        assert client.app_state["broker"] == "second"
        assert str(client.app_state["one"]) == "<one>"


def test_one_that_fails_ends_the_start_and_is_unwound(tmp_path: Path) -> None:
    app = built(tmp_path, TWO.replace("{name: second}", "{name: second, fails: true}"))
    message = asyncio.run(failing_start(app))
    assert "lifespan `second` failed: ConnectionError: no broker" in message
    assert "manifest.yaml:6" in message
    assert events[-2:] == ["lifespan left", "one closed"]


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("$parts.steps.lifespan_of_a_number", "yields a int, not a mapping for the state"),
        ("$parts.steps.lifespan_untyped", "gives a int, which is no async context manager"),
        ("{use: $parts.steps.lifespan_that_hangs, timeout: 20ms}", "took longer than its timeout"),
    ],
)
def test_what_is_no_lifespan_ends_the_start(tmp_path: Path, entry: str, reason: str) -> None:
    message = asyncio.run(failing_start(built(tmp_path, f"lifespan: [{entry}]")))
    assert reason in message
    assert "number left" in events or "number" not in entry


def test_a_start_for_jobs_alone_enters_no_lifespan(tmp_path: Path) -> None:
    lifespan = build_for_jobs(planned(tmp_path, TWO))

    async def once() -> None:
        await lifespan.start()
        await lifespan.stop()

    asyncio.run(once())
    assert events == ["one opened", "one closed"]


def test_a_resource_of_a_function_with_a_yield_works_at_each_start(tmp_path: Path) -> None:
    app = built(tmp_path, "resources: {link: {use: $parts.steps.connected}}")
    asyncio.run(cycle(app))
    asyncio.run(cycle(app))
    assert events == ["connected", "disconnected"] * 2


@pytest.mark.parametrize("on_error", ["fail", "degrade"])
def test_a_resource_of_a_function_with_a_yield_is_tried_again(
    tmp_path: Path, on_error: str
) -> None:
    steps.refusals.append(ConnectionRefusedError(errno.ECONNREFUSED, "refused"))
    text = f"resources: {{link: {{use: $parts.steps.connected, on_error: {on_error}}}}}"
    app = built(tmp_path, text)

    async def no_wait(seconds: float) -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        lifespan_of(app).wait = no_wait
        server = Server(app)
        assert (await server.start())["type"] == "lifespan.startup.complete"
        await until(lambda: not assembly_of(app).degraded)
        await server.stop()

    asyncio.run(main())
    assert events == ["connected", "disconnected"]


@pytest.mark.parametrize("owned", [True, False])
def test_an_object_of_a_module_is_the_resource_and_is_opened_where_it_is_owned(
    tmp_path: Path, *, owned: bool
) -> None:
    entry = f"{{use: $parts.steps.there, owned: {str(owned).lower()}}}"
    app = built(tmp_path, f"resources: {{link: {entry}}}")
    with TestClient(app) as client:
        assert client.app_state["link"] is steps.there
    assert events == (["there opened", "there closed"] if owned else [])
    assert ("resource" in [step.phase for step in assembly_of(app).steps]) is owned
