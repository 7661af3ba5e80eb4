"""serverless.yaml on AWS Lambda's events: a real PostgreSQL, an interpreter of its own."""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.components.mcp.issuer import SECRET, token
from tests.integration.production import ORIGINS, variables

ROOT = Path(__file__).parents[2]
EVENTS = {
    path.stem: json.loads(path.read_text()) for path in Path(__file__).parent.glob("events/*")
}
HEAVY = {"apscheduler", "mcp", "redis", "sentry_sdk", "prometheus_client", "uvicorn", "jwt"}
PLAY = """
import json, os, sys, time
began = time.perf_counter()
import assembler
handler = assembler.handler
seconds = time.perf_counter() - began
answers = [handler(event, None) for event in json.loads(sys.argv[1])]
state = handler._app.state.assembly
json.dump({
    "answers": answers,
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    "starts": sum(step.id == "db" for step in state.steps),
    "seconds": seconds,
}, open(sys.argv[2], "w"))
"""


@pytest.fixture
def database(postgres: str) -> str:
    """A database that the release job has prepared."""
    command = [sys.executable, "-m", "assembler", "sql", "manifests/prod.yaml", "--apply"]
    environment = {**os.environ, **variables(postgres)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return postgres


def play(database: str, folder: Path, *names: str) -> dict[str, Any]:
    """What the answers of one instance to these events are, and what it has imported."""
    environment = {
        **os.environ,
        **variables(database, SUPABASE_JWT_SECRET=SECRET),
        "ASSEMBLY": "manifests/serverless.yaml",
    }
    events = json.dumps([EVENTS[name] for name in names])
    admin = token(app_metadata={"role": "admin"})
    events = events.replace("A-TOKEN", admin)
    done = subprocess.run(
        [sys.executable, "-B", "-c", PLAY, events, folder / "said.json"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads((folder / "said.json").read_text())
    return said


def body(answer: dict[str, Any]) -> Any:
    text = answer["body"]
    return json.loads(base64.b64decode(text) if answer["isBase64Encoded"] else text)


def test_one_instance_starts_once_and_answers_every_kind_of_event(
    database: str, tmp_path: Path
) -> None:
    others = sorted(EVENTS.keys() - {"function-url"})
    said = play(database, tmp_path, "function-url", *others)
    created, *found = said["answers"]
    assert (created["statusCode"], body(created)["city"]) == (201, "Lisbon")
    assert len(found) == 4
    for answer in found:
        assert answer["statusCode"] == 200
        assert [item["id"] for item in body(answer)["items"]] == [body(created)["id"]]
    cors = dict(zip(others, found, strict=True))["http-api-v2"]["headers"]
    assert cors["access-control-allow-origin"] == ORIGINS[0]
    assert cors["access-control-allow-credentials"] == "true"
    assert cors["strict-transport-security"].startswith("max-age=")
    assert said["starts"] == 1


def test_nothing_heavy_is_imported(database: str, tmp_path: Path) -> None:
    said = play(database, tmp_path, *(EVENTS.keys() - {"function-url"}))  # that one has a token
    assert set(said["modules"]) & HEAVY == set()


def test_no_instance_changes_the_schema(postgres: str, tmp_path: Path) -> None:
    said = play(postgres, tmp_path, "http-api-v2")
    assert said["answers"][0]["statusCode"] == 500  # there are no tables
    with psycopg.connect(postgres) as connection:
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        assert connection.execute(tables).fetchall() == []
