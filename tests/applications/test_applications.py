"""Applications of the styles that are seen: what is written by hand and what is assembled are alike.

Each folder has a `main.py` as its authors wrote it, a manifest of the same, requests that both are
sent, and its own tests, which pass with either.
"""

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI
from starlette.testclient import TestClient

import assembler
from assembler.plan.sections.scheduler import schedule_of
from tests.applications.comparison import answers, facts, logged
from tests.assembler.command import in_folder, run

FOLDER = Path(__file__).parent
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/manifest.yaml"))
ROOT = FOLDER.parents[1]


@contextmanager
def by_hand(name: str) -> Iterator[FastAPI]:
    """Import the application that its authors wrote; its modules are forgotten at the end."""
    with in_folder(FOLDER / name):
        module = importlib.import_module("app.main")
        yield module.app if hasattr(module, "app") else module.create_app()


@contextmanager
def assembled(name: str) -> Iterator[FastAPI]:
    """Build the application of the manifest; its modules are forgotten at the end."""
    with in_folder(FOLDER / name):
        yield assembler.build(assembler.load("manifest.yaml"))


def trip(name: str, app: FastAPI) -> tuple[list[tuple[Any, ...]], list[list[str]]]:
    """Start, ask and stop an application twice: its answers the first time, what it logs each time."""
    requests = yaml.safe_load((FOLDER / name / "requests.yaml").read_text("utf-8"))
    given: list[list[tuple[Any, ...]]] = []
    said = []
    for sent in (requests, requests[:1]):
        with logged("app") as lines:
            with TestClient(app, raise_server_exceptions=False) as client:
                lines.append("-- is up")
                given.append(answers(client, sent))
                lines.append("-- is told to stop")
            lines.append(f"-- is down with {sorted(set(app.state._state) - {'assembly'})}")
        said.append(lines)
    return given[0], said


@pytest.mark.parametrize("name", NAMES)
def test_the_assembled_application_is_the_one_by_hand(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPORTS_JOBS", "false")  # a clock of a module runs in one loop only
    with by_hand(name) as app:
        old, (old_answers, old_lines) = facts(app), trip(name, app)
    with assembled(name) as app:
        new, (new_answers, new_lines) = facts(app), trip(name, app)
    for what, value in old.items():
        assert new[what] == value, what
    assert new_lines == old_lines
    for by_hand_answer, answer in zip(old_answers, new_answers, strict=True):
        request, status, fields, body = by_hand_answer
        if status == 500:  # there the layers edit it, too, which Starlette's never meet
            assert answer[1] == 500, request
            assert answer[3] == body, request
            names = {field for field, _ in fields} - {"content-length"}
            assert names <= {field for field, _ in answer[2]}, request
        else:
            assert answer == by_hand_answer


def own_tests(folder: Path, manifest: str) -> str:
    """Run the tests that stand beside an application, with a manifest in its place; return what they print."""
    environment = {
        **os.environ,
        "ASSEMBLY": manifest,
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_its_own_tests_pass_with_either(name: str) -> None:
    assert "skipped" not in own_tests(FOLDER / name, "manifest.yaml")


@pytest.mark.parametrize("name", NAMES)
def test_its_manifest_is_checked_and_in_canonical_form(name: str) -> None:
    for words in ("check", "check --static", "format --check"):
        outcome = run(*words.split(), "manifest.yaml", folder=FOLDER / name)
        assert outcome.status == 0, outcome.out + outcome.err
        assert words != "check" or outcome.out == "manifest.yaml: ok\n"


def test_jobs_of_a_modules_scheduler_fire_when_its_triggers_did() -> None:
    moment = datetime(2027, 3, 25, 12, 1, tzinfo=UTC)  # clocks go forward on the 28th
    with in_folder(FOLDER / "reports"):
        recorded = importlib.import_module("app.jobs").scheduler.get_jobs()
        plan = assembler.load("manifest.yaml")
    declared = {
        job.id: schedule_of(job.entry, "Europe/Berlin").fires(moment, 20) for job in plan.jobs
    }
    assert sorted(declared) == sorted(job.id for job in recorded)
    for job in recorded:
        fires: list[datetime] = []
        for _ in range(20):
            last = fires[-1] if fires else None
            fires.append(job.trigger.get_next_fire_time(last, last or moment))
        assert fires == declared[job.id], job.id
