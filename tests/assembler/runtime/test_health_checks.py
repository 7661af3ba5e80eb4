"""Which resources readiness asks, and what it hears."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from assembler.application.build import build
from assembler.runtime.report import Check
from tests.assembler.sample_app.steps import Asked
from tests.assembler.sample_app.world import assembly_of, built, planned

FIVE = """
    resources:
      db: {use: $parts.steps.Asked}
      cache: {use: $parts.steps.AskedInThread, on_error: degrade}
      trifle: {use: $parts.steps.Asked, on_error: warn}
      other: {use: $parts.steps.AskedForMore}
      bare: {use: $parts.steps.Bare}
"""


async def ask(check: Check) -> str | None:
    return await check()


def test_resources_with_a_ping_are_asked_and_only_those_that_must_be_there_are_critical(
    tmp_path: Path,
) -> None:
    checks = assembly_of(built(tmp_path, FIVE)).checks
    assert {name: check.critical for name, check in checks.items()} == {"db": True, "cache": False}
    assert [asyncio.run(ask(check)) for check in checks.values()] == [None, None]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, None),
        (True, None),
        ("PONG", None),
        (False, "says no"),
        (OSError("away"), "OSError: away"),
    ],
)
def test_what_raises_or_says_no_is_away(tmp_path: Path, answer: Any, reason: str | None) -> None:
    thing = Asked()
    thing.answer = answer
    app = built(tmp_path, "resources: {db: {use: $parts.steps.Asked}}", db=thing)
    assert asyncio.run(ask(assembly_of(app).checks["db"])) == reason


def test_reasons_have_no_secrets(tmp_path: Path) -> None:
    text = 'resources: {db: {use: $parts.steps.Entered, with: {url: "${URL}"}}}'
    plan = planned(tmp_path, text, {"URL": "redis://user:pa55-word@host"})
    thing = Asked()
    thing.answer = OSError("cannot reach redis://user:pa55-word@host")
    app = build(plan, {"db": thing})
    reason = asyncio.run(ask(assembly_of(app).checks["db"]))
    assert reason == "OSError: cannot reach ${URL}"


def test_a_resource_may_say_that_the_service_can_do_without_it(tmp_path: Path) -> None:
    thing: Any = Asked()
    thing.critical = False
    app = built(tmp_path, "resources: {db: {use: $parts.steps.Asked}}", db=thing)
    assert not assembly_of(app).checks["db"].critical
