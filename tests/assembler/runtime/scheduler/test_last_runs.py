"""Who looks at a manifest's jobs is told their last runs, or why nobody knows of any."""

import asyncio
import json
from pathlib import Path

import pytest

from assembler.plan.load import load
from assembler.runtime.scheduler.last_runs import LastRuns, last_runs
from tests.assembler.command import run
from tests.assembler.project import project

SHOP = """\
def tick(): ...
def broken(): raise ValueError("no key")
def store(*, broken): ...
"""
ENGINE, CACHE = "components.database.engine", "components.cache.redis_cache"


def manifest(use: str, url: str, more: str = "") -> str:
    return f"""\
manifest: 1
resources:
  unused: {{use: shop.broken}}
  store: {{use: {use}, with: {{{json.dumps("url")}: {json.dumps(url)}{more}}}}}
scheduler:
  store: ${{resources.store}}
  jobs: [{{id: tick, use: shop.tick, every: 1h}}, {{id: seldom, use: shop.tick, cron: "0 0 1 1 *"}}]
"""


def known(folder: Path, text: str) -> LastRuns:
    with project(folder, {"shop.py": SHOP, "m.yaml": text}):
        return asyncio.run(last_runs(load("m.yaml")))


@pytest.mark.parametrize("kind", ["postgres", "redis"])
def test_a_store_that_was_never_used_knows_no_run_and_then_the_last_one(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    use = ENGINE if kind == "postgres" else CACHE
    text = manifest(use, request.getfixturevalue(kind))
    assert known(tmp_path, text) == LastRuns({}, None)
    (tmp_path / "m.yaml").write_text(text.replace("  unused: {use: shop.broken}\n", ""))
    assert run("run-job", "m.yaml", "tick", folder=tmp_path).status == 0
    found = known(tmp_path, text)
    assert found.unknown is None
    assert {job: facts["outcome"] for job, facts in found.runs.items()} == {"tick": "ok"}
    (tmp_path / "m.yaml").write_text(text)
    told = run("jobs", "m.yaml", folder=tmp_path)
    assert "last  ok, tick " in told.out
    assert told.out.endswith("last  none yet\n")
    facts = json.loads(run("jobs", "m.yaml", "--format", "json", folder=tmp_path).out)
    assert facts["last_unknown"] is None
    assert [job["last"] and job["last"]["outcome"] for job in facts["jobs"]] == ["ok", None]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (manifest(ENGINE, "postgresql://u:canary@127.0.0.1:1/x"), "the store `store` does not answer: "),
        (manifest(CACHE, "redis://:canary@127.0.0.1:1/0"), "the store `store` does not answer: "),
        (manifest("shop.broken", "x").replace(', with: {"url": "x"}', ""), "`broken` could not be made: ValueError: no key"),
        ("manifest: 1\nscheduler: {jobs: [{use: shop.tick, every: 1h}]}\n", "the scheduler has no `store`"),
    ],
    ids=["database", "redis", "unmade", "none"],
)  # fmt: skip
def test_why_no_run_is_known_is_told(text: str, reason: str, tmp_path: Path) -> None:
    found = known(tmp_path, text)
    assert found.runs == {}
    assert found.unknown is not None
    assert found.unknown.startswith(reason)
    assert "canary" not in found.unknown
    assert f"last  unknown: {reason}" in run("jobs", "m.yaml", folder=tmp_path).out
