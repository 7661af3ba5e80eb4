"""Starts of applications for tests of startup SQL: in processes of their own, or in this one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from starlette.testclient import TestClient

from assembler.application.build import build
from assembler.plan.load import load
from assembler.runtime.report import Step

ROOT = Path(__file__).parents[4]
DRIVERS = ["asyncpg", "psycopg"]


def driven(url: str, driver: str) -> str:
    """The URL for SQLAlchemy."""
    return url.replace("postgresql:", f"postgresql+{driver}:", 1)


def manifest(folder: Path, url: str, startup: str, *, pooled: bool = False) -> Path:
    """Write a manifest with the text of a `startup` section, whose database is `db`."""
    path = folder / "manifest.yaml"
    path.write_text(
        "manifest: 1\nresources:\n  db:\n    use: tests.assembler.runtime.sql.engines.engine\n"
        f"    with: {{url: {json.dumps(url)}, pooled: {str(pooled).lower()}}}\nstartup:\n{startup}",
        "utf-8",
    )
    return path


def entry(statements: dict[str, str], **options: Any) -> str:
    """The text of one startup entry."""
    sql = [{"label": label, "run": run} for label, run in statements.items()]
    said = {"id": "schema", "database": "${resources.db}", "sql": sql, **options}
    return f"  - {json.dumps(said)}\n"


def started(path: Path) -> list[Step]:
    """Start and stop the application of a manifest; return the steps of its SQL."""
    app = build(load(path))
    with TestClient(app):
        return [step for step in app.state.assembly.steps if step.label]


def outcomes(steps: list[Step]) -> dict[str, str]:
    """What became of each statement."""
    return {str(step.label): step.outcome for step in steps}


class Replica:
    """A process that starts the application when it is told to, or `count` of them."""

    def __init__(self, path: Path, count: int = 1) -> None:
        self.count = count
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.assembler.runtime.sql.replica", str(path), str(count)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=20)

    def is_ready(self) -> bool:
        assert self.process.stdout is not None
        return all(self.process.stdout.readline() == "ready\n" for _ in range(self.count))

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("." * self.count)  # each takes one
        self.process.stdin.flush()

    def results(self) -> list[dict[str, Any]]:
        out, err = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, err
        answers = [json.loads(line) for line in out.splitlines()]
        assert len(answers) == self.count, err
        return answers

    def result(self) -> dict[str, Any]:
        (answer,) = self.results()
        return answer


def start_at_once(path: Path, count: int) -> list[dict[str, Any]]:
    """Start that many processes in one moment; return what each said."""
    with Replica(path, count) as replicas:
        assert replicas.is_ready()
        replicas.go()
        return replicas.results()
