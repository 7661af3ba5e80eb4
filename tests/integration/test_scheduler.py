"""Jobs of a manifest, between the start and the stop of its application."""

import asyncio
import datetime as dt
import json
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.testclient import TestClient

from assembler.application.build import build
from assembler.diagnostics.errors import ManifestError
from assembler.plan.load import load
from assembler.runtime.scheduler.single_process import SeveralWorkersError, SingleProcess
from components.scheduler import tick_router
from tests.assembler.command import ENVIRONMENT, call, run
from tests.assembler.project import project
from tests.assembler.sample_app.world import cycle, failing_start

JOBS = """
import asyncio
ran = []
ids = []
async def note(job, word: str = "x"):
    ran.append((word, job.attempt))
def note_in_thread(job, word: str = "x"):
    ran.append((word, job.attempt))
def fail():
    raise ValueError("no")
async def slow():
    await asyncio.sleep(60)
def set_id(id: str):
    ids.append(id)
"""
MANIFEST = """
manifest: 1
resources:
  db: {use: components.database.engine, with: {url: "sqlite+aiosqlite:///claims.db"}}
scheduler:
  enabled: false
  store: ${resources.db}
  context: shop.jobs.set_id
  jobs:
    - {id: note, use: shop.jobs.note, every: 1s, with: {word: y}}
    - {id: thread, use: shop.jobs.note_in_thread, cron: "* * * * *"}
    - {id: fail, use: shop.jobs.fail, every: 1h}
    - {id: slow, use: shop.jobs.slow, every: 1h, timeout: 50ms}
routes:
  - use: components.scheduler.tick_router
    with: {secret: a-secret-of-some-length}
"""
FILES = {"shop/__init__.py": "", "shop/jobs.py": JOBS, "m.yaml": MANIFEST}
SECRET = {"Authorization": "Bearer a-secret-of-some-length"}


def ran() -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = sys.modules["shop.jobs"].ran
    return found


def test_jobs_run_by_the_clock(tmp_path: Path) -> None:
    text = MANIFEST.replace("enabled: false", "enabled: true")
    with project(tmp_path, {**FILES, "m.yaml": text}):
        app = build(load("m.yaml"))
        with TestClient(app):
            jobs = app.state.assembly.jobs
            while jobs.tally.total("ok") < 2:
                time.sleep(0.02)
        assert app.state.assembly.as_dict()["jobs"]["jobs"]["note"]["runs"]["ok"] >= 2
        assert ("y", 1) in ran()
        assert sys.modules["shop.jobs"].ids
        steps = {(step.phase, step.id): step.outcome for step in app.state.assembly.steps}
        assert steps["scheduler", "jobs"] == steps["close", "jobs"] == "ok"


def test_jobs_that_are_off_import_no_apscheduler_and_run_when_told(tmp_path: Path) -> None:
    check = (
        "import sys, asyncio, assembler\n"
        "app = assembler.build(assembler.load('m.yaml'))\n"
        "from tests.assembler.sample_app.world import cycle\n"
        "asyncio.run(cycle(app))\n"
        "print([name for name in sys.modules if name.startswith('apscheduler')])\n"
    )
    with project(tmp_path, FILES):
        done = subprocess.run(
            [sys.executable, "-c", check],
            cwd=tmp_path,
            env={**ENVIRONMENT, "PYTHONPATH": f"{tmp_path}:{ENVIRONMENT['PYTHONPATH']}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def tick(client: TestClient, id: str, **options: Any) -> tuple[int, Any]:
    options.setdefault("headers", {})
    options["headers"] = {**SECRET, **options["headers"]}
    answer = client.post(f"/jobs/{id}/tick", **options)
    return answer.status_code, answer.json().get("outcome", answer.json().get("detail"))


def test_an_outside_clock_runs_a_tick_once(tmp_path: Path) -> None:
    with project(tmp_path, FILES), TestClient(build(load("m.yaml"))) as client:
        now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        google = {"X-CloudScheduler-ScheduleTime": now.isoformat()}
        assert tick(client, "thread", headers=google)[1] in {"ok", "missed"}
        assert tick(client, "note", headers=google) == (200, "ok")
        assert tick(client, "note", headers=google) == (200, "taken")
        event = {"source": "aws.events", "time": now.isoformat().replace("+00:00", "Z")}
        assert tick(client, "note", json=event) == (200, "taken")
        assert tick(client, "fail")[0] in {200, 500}
        assert tick(client, "unknown") == (404, "no such job")
        late = (now + dt.timedelta(hours=2)).isoformat()
        status, text = tick(client, "note", json={"time": late})
        assert status == 422
        assert "is still to come" in text
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}):
            assert client.post("/jobs/note/tick", headers=headers).status_code == 401
        assert tick(client, "note", json={"time": "yesterday"})[0] == 422
        assert tick(client, "note", json={"time": "2026-01-01T00:00:00"})[0] == 422
        assert tick(client, "note", content=b"x" * 70_000)[0] == 422


def test_a_router_without_jobs_says_so() -> None:
    app = FastAPI()
    app.include_router(tick_router(secret=SecretStr("a-secret-of-some-length")))
    with TestClient(app) as client:
        assert tick(client, "note")[0] == 503
    with pytest.raises(ValueError, match="at least 16 characters"):
        tick_router(secret=SecretStr("short"))


def test_run_job_ends_by_the_outcome(tmp_path: Path) -> None:
    with project(tmp_path, FILES):
        done = run("run-job", "m.yaml", "note", folder=tmp_path)
        assert done.status == 0, done.err
        assert done.out.startswith("job `note`, tick ")
        assert ": ok in " in done.out
        done = run("run-job", "m.yaml", "fail", folder=tmp_path)
        assert (done.status, "failed in " in done.out) == (1, True)
        assert done.out.endswith("ValueError: no\n")
        done = run("run-job", "m.yaml", "slow", folder=tmp_path)
        assert (done.status, "took longer than its timeout of 50ms" in done.out) == (1, True)


def test_run_job_claims_the_tick_it_is_given(tmp_path: Path) -> None:
    at = dt.datetime.now(dt.UTC).replace(microsecond=0)
    with project(tmp_path, FILES):
        first = run("run-job", "m.yaml", "note", "--at", at.isoformat(), folder=tmp_path)
        again = run("run-job", "m.yaml", "note", "--at", at.isoformat(), folder=tmp_path)
        late = (at - dt.timedelta(hours=1)).isoformat()
        missed = run("run-job", "m.yaml", "note", "--at", late, folder=tmp_path)
        listed = run("jobs", "m.yaml", "--format", "json", folder=tmp_path)
    [last] = [each["last"] for each in json.loads(listed.out)["jobs"] if each["id"] == "note"]
    assert (last["outcome"], last["attempt"], last["error"]) == ("ok", 1, None)
    assert (first.status, again.status, missed.status) == (0, 0, 1)
    assert "has run, or runs, elsewhere already" in again.out
    assert "missed: its grace is over" in missed.out


def test_a_cache_in_redis_is_a_store_and_one_in_memory_is_refused(
    tmp_path: Path, redis: str
) -> None:
    engine = MANIFEST[MANIFEST.index("  db:") : MANIFEST.index("scheduler:")]
    cache = f'  db: {{use: components.cache.redis_cache, with: {{url: "{redis}"}}}}\n'
    text = MANIFEST.replace(engine, cache).replace("enabled: false", "enabled: true")
    memory = MANIFEST.replace(engine, "  db: {use: components.cache.memory_cache}\n")
    with project(tmp_path, {**FILES, "m.yaml": text, "memory.yaml": memory}):
        plan = load("m.yaml")
        apps = [build(plan), build(plan)]
        for app in [*apps, apps[0]]:  # the first one twice, each time on a loop of its own
            with TestClient(app):
                while app.state.assembly.jobs.tally.total("ok") < 1:
                    time.sleep(0.02)
        listed = run("jobs", "m.yaml", "--format", "json", folder=tmp_path)
        with pytest.raises(ManifestError, match="a Cache keeps no claims"):
            build(load("memory.yaml"))
    [last] = [each["last"] for each in json.loads(listed.out)["jobs"] if each["id"] == "note"]
    assert last["outcome"] == "ok"


CRASHING = """
import os, time
async def once(job):
    if job.attempt == 1:
        open("began", "w").close()
        while True:
            time.sleep(1)
"""


def test_run_job_makes_the_second_attempt_of_a_run_that_was_killed(tmp_path: Path) -> None:
    once = (
        "- {id: once, use: shop.jobs.once, every: 1h, grace: 1h, on_crash: rerun}\n    - {id: note"
    )
    text = MANIFEST.replace("- {id: note", once).replace("enabled: false", "lease: 1s")
    at = dt.datetime.now(dt.UTC).isoformat()
    command = [sys.executable, "-m", "assembler", "run-job", "m.yaml", "once", "--at", at]
    with project(tmp_path, {**FILES, "shop/jobs.py": JOBS + CRASHING, "m.yaml": text}):
        with subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT) as first:
            while not (tmp_path / "began").exists():
                time.sleep(0.02)
            first.kill()
        done = run(*command[3:], folder=tmp_path)
        listed = run("jobs", "m.yaml", "--format", "json", folder=tmp_path)
    assert (done.status, ": ok in " in done.out) == (0, True), done.err
    [last] = [each["last"] for each in json.loads(listed.out)["jobs"] if each["id"] == "once"]
    assert (last["outcome"], last["attempt"]) == ("ok", 2)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("zzz",), "no job is called `zzz`; there are: `note`, `thread`, `fail`, `slow`"),
        (("note", "--at", "noon"), "`--at` takes a time with its offset"),
        (("note", "--at", "2026-01-01T00:00:00"), "`--at` takes a time with its offset"),
        (("note", "--at", "2096-01-01T00:00:00Z"), "is still to come"),
    ],
)
def test_run_job_refuses_what_it_cannot_run(
    arguments: tuple[str, ...], text: str, tmp_path: Path
) -> None:
    with project(tmp_path, FILES):
        done = run("run-job", "m.yaml", *arguments, folder=tmp_path)
    assert done.status == 2
    assert text in done.err


def test_run_job_says_when_the_store_is_away(tmp_path: Path) -> None:
    text = MANIFEST.replace("sqlite+aiosqlite:///claims.db", "sqlite+aiosqlite:////no/such/db")
    with project(tmp_path, {**FILES, "m.yaml": text}):
        done = call("run-job", "m.yaml", "note", folder=tmp_path)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout


NO_STORE = MANIFEST.replace("  store: ${resources.db}\n", "").replace("false", "true")


@pytest.mark.parametrize("workers", ["server", "environment"])
def test_several_workers_without_a_store_do_not_start(
    workers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = NO_STORE + ("server: {workers: 3}\n" if workers == "server" else "")
    if workers == "environment":
        monkeypatch.setenv("WEB_CONCURRENCY", "3")
    with project(tmp_path, {**FILES, "m.yaml": text}):
        app = build(load("m.yaml"))
        said = asyncio.run(failing_start(app))
    # before anything is opened and any SQL is run
    assert [(step.phase, step.outcome) for step in app.state.assembly.steps] == [
        ("scheduler", "failed")
    ]
    assert "error[scheduler-without-store]" in said
    assert "3 workers and no `store`: each of them would run every job" in said
    assert "= help: add `store: ${resources.…}` to `scheduler`" in said


def test_one_process_without_a_store_starts(tmp_path: Path) -> None:
    with project(tmp_path, {**FILES, "m.yaml": NO_STORE}):
        asyncio.run(cycle(build(load("m.yaml"))))


def _take(hash: str, order: Any, answer: Any) -> None:
    alone = SingleProcess(hash)
    try:
        alone.take(1, {})
    except SeveralWorkersError as error:
        answer.put(str(error))
    else:
        answer.put("taken")
    order.get()
    alone.leave()


def test_of_the_workers_of_one_server_one_may_go_on(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    order, answer = context.Queue(), context.Queue()
    name = f"{os.getpid()}-{tmp_path.name}"
    workers = [context.Process(target=_take, args=(name, order, answer)) for _ in range(3)]
    for worker in workers:
        worker.start()
    said = sorted(answer.get(timeout=60) for _ in workers)
    for _ in workers:
        order.put(None)
    for worker in workers:
        worker.join(60)
    refusal = "another worker runs the jobs, and there is no `store`"
    assert said == [refusal, refusal, "taken"]


def test_a_thousand_jobs_start_within_a_second(tmp_path: Path) -> None:
    jobs = [
        {"id": f"job-{number}", "use": "shop.jobs.note", "cron": f"{number % 60} 3 * * *"}
        for number in range(1000)
    ]
    text = json.dumps({"manifest": 1, "scheduler": {"jobs": jobs}})
    with project(tmp_path, {**FILES, "m.yaml": text}):
        app = build(load("m.yaml"))
        asyncio.run(cycle(app))
        [step] = [each for each in app.state.assembly.steps if each.phase == "scheduler"]
    print(f"1000 jobs started in {step.milliseconds:.0f} ms")
    assert step.milliseconds < 20_000  # a second on a quiet machine
