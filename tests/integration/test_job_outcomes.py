"""What becomes of jobs, seen from outside: in the metrics of all workers, and at Sentry."""

import re
import sqlite3
from pathlib import Path

import httpx2

from tests.components.clients.serving import serving
from tests.components.numbers import started, until
from tests.components.sentry.test_sentry import accept, items
from tests.servers import free_port

JOBS = """
async def ok(): ...
def fail():
    raise LookupError("no price at postgresql://user:urlword@host/db")
"""
MANIFEST = """
manifest: 1
app: {title: Shop}
resources:
  sentry: {use: components.sentry.init, with: {dsn: "${TEST_DSN:-}"}}
  db: {use: components.database.engine, with: {url: "sqlite+aiosqlite:///claims.db"}}
middleware:
  - {use: components.metrics.MetricsMiddleware, with: {exempt: ["/metrics"]}}
routes:
  - {use: components.metrics.router}
scheduler:
  store: ${resources.db}
  jobs:
    - {id: ok, use: work.ok, every: 1s, overlap: allow}
    - {id: fail, use: work.fail, every: 1s}
"""
COMMAND = ["-m", "uvicorn", "assembler:app", "--port", "PORT", "--log-level", "critical"]


def test_metrics_count_each_tick_of_a_job_once_over_all_workers(tmp_path: Path) -> None:
    folder = written(tmp_path)
    command = [*COMMAND, "--workers", "3"]
    with started(
        command, free_port(), tmp_path, folder=folder, variables={"ASSEMBLY": "m.yaml"}
    ) as url:
        until(lambda: min(ticks(url, "ok", "ok"), ticks(url, "fail", "failed")) >= 3)
        assert [ticks(url, "ok", state) for state in ("missed", "skipped", "lost")] == [0, 0, 0]
        told = ticks(url, "ok", "ok")
    with sqlite3.connect(folder / "claims.db") as database:
        rows = dict(database.execute("SELECT job, count(*) FROM assembler_job_runs GROUP BY job"))
    database.close()
    assert rows.keys() == {"Shop/ok", "Shop/fail"}
    assert 3 <= told <= rows["Shop/ok"]


def test_a_failing_job_arrives_at_sentry_and_stops_nothing(tmp_path: Path) -> None:
    folder = written(tmp_path)
    with serving(accept) as service:
        dsn = service.url.replace("http://", "http://public@") + "/1"
        variables = {"ASSEMBLY": "m.yaml", "TEST_DSN": dsn}
        with started(COMMAND, free_port(), tmp_path, folder=folder, variables=variables) as url:
            until(lambda: ticks(url, "fail", "failed") >= 2)
        events = [item for item in items(service) if item["_type"] == "event"]
    assert len(events) >= 2
    [error] = events[0]["exception"]["values"]
    assert error["type"] == "LookupError"
    assert error["value"] == "no price at postgresql://user:[Filtered]@host/db"
    assert error["stacktrace"]["frames"][-1]["function"] == "fail"
    assert events[0]["logger"] == "assembler.job"
    assert {event["extra"]["job"] for event in events} == {"fail"}
    assert len({event["extra"]["run_id"] for event in events}) == len(events)
    assert "urlword" not in str(events)


def ticks(url: str, job: str, outcome: str) -> float:
    text = httpx2.get(f"{url}/metrics", timeout=30).raise_for_status().text
    found = re.search(f'job_ticks_total{{job="{job}",outcome="{outcome}"}} (.*)', text)
    return float(found[1]) if found else -1


def written(folder: Path) -> Path:
    made = folder / "project"
    made.mkdir()
    (made / "work.py").write_text(JOBS)
    (made / "m.yaml").write_text(MANIFEST)
    return made
