"""Parts that are switched off, and functions that are told the state of a resource."""

import asyncio
from pathlib import Path

import pytest

from assembler.application.build import build
from assembler.describe.explain import explanation
from assembler.describe.picture import as_text
from tests.assembler.sample_app.journal import events
from tests.assembler.sample_app.world import (
    Server,
    assembly_of,
    built,
    cycle,
    lifespan_of,
    planned,
    until,
)


@pytest.fixture(autouse=True)
def _empty_journal() -> None:
    events.clear()


PARTS = """
    resources: {db: {use: sqlalchemy.ext.asyncio.create_async_engine, with: {url: "sqlite+aiosqlite://"}}}
    startup:
      - {id: first, use: $parts.steps.say, with: {word: first}, enabled: "${FIRST:-false}"}
      - {id: sql, database: "${resources.db}", sql: [{label: a, run: SELECT 1}], enabled: false}
      - {id: second, use: $parts.steps.say, with: {word: second}, enabled: true}
    scheduler:
      jobs: [{id: tick, use: $parts.steps.say, every: 5s, with: {word: tick}, enabled: false}]
    shutdown:
      - {id: last, use: $parts.steps.say, with: {word: last}, enabled: "${LAST:-no}"}
      - {id: end, use: $parts.steps.say, with: {word: end}}
"""


@pytest.mark.parametrize(
    ("environment", "said"),
    [({}, ["second", "end"]), ({"FIRST": "1", "LAST": "yes"}, ["first", "second", "last", "end"])],
)
def test_only_what_is_switched_on_runs(
    tmp_path: Path, environment: dict[str, str], said: list[str]
) -> None:
    plan = planned(tmp_path, PARTS, environment)
    app = build(plan)
    asyncio.run(cycle(app))
    assert [event for event in events if "entered" not in event] == said
    assert assembly_of(app).jobs is None
    assert plan.sql == ()


def test_explain_names_what_is_switched_off(tmp_path: Path) -> None:
    plan = planned(tmp_path, PARTS)
    facts = explanation(plan, build(plan))
    ids = [entry["id"] for entry in facts["switched_off"]]
    assert ids == ["first", "tick", "last", "sql"]
    assert "sql: SQL" in as_text(facts).partition("switched off by `enabled`")[2]


TOLD = (
    "resources: {link: {use: $parts.steps.Late, with: {fails: %d}, on_error: %s, on_degraded: %s}}"
)


async def _no_wait(seconds: float) -> None:
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("fails", "on_error", "told"),
    [
        (0, "degrade", ["link: None"]),
        (1, "degrade", ["link: ConnectionRefusedError: [Errno 111] refused", "link: None"]),
        (1, "warn", ["link: ConnectionRefusedError: [Errno 111] refused"]),
    ],
)
def test_a_function_is_told_the_state_at_the_start_and_each_change(
    tmp_path: Path, fails: int, on_error: str, told: list[str]
) -> None:
    app = built(tmp_path, TOLD % (fails, on_error, "$parts.steps.told_of_state"))

    async def main() -> None:
        lifespan_of(app).wait = _no_wait
        server = Server(app)
        await server.start()
        await until(lambda: len([event for event in events if ":" in event]) == len(told))
        assert app.state.reason == (told[-1].removeprefix("link: ") if on_error == "warn" else None)
        await server.stop()

    asyncio.run(main())
    assert [event for event in events if ":" in event] == told


def test_one_that_raises_ends_nothing_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = built(tmp_path, TOLD % (0, "degrade", "$parts.steps.told_and_fails"))
    asyncio.run(cycle(app))
    assert "`on_degraded` of resource `link`: LookupError: told None" in caplog.text
