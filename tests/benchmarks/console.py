"""Pages of the console at 1000 routes and 100 jobs, and runs found among a million.

`python -m tests.benchmarks.console [--runs N]` prints for each page the median and the 95th percentile
of its time, of the wall and of this process alone, and the same for a page of the application that
renders nothing; then the times of questions for runs to PostgreSQL.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.testclient import TestClient

import assembler
from assembler.runtime.operations.tables import upgrade
from assembler.runtime.scheduler.run import RunQuery
from assembler.runtime.scheduler.stores import store_of
from tests.servers import start_postgres

ROUTES, JOBS, TIMES = 1000, 100, 60
PAGES = ("", "/explain", "/explain?q=things/7", "/runs", "/limits", "/start", "/options", "/orders")
router = APIRouter()


async def _answer() -> int:
    return 1


for number in range(ROUTES):
    router.add_api_route(f"/things/{number}/{{id}}", _answer, name=f"thing_{number}")


def job(*, number: int) -> None:
    """Do nothing."""


def manifest() -> str:
    """A service of that size."""
    here = "tests.benchmarks.console"
    jobs = "\n".join(
        f"    - {{id: job-{number}, use: {here}.job, every: 1h, with: {{number: {number}}}}}"
        for number in range(JOBS)
    )
    return f"""\
manifest: 1
app: {{title: Large}}
resources:
  store: {{use: components.database.engine, with: {{url: "${{STORE_URL}}"}}}}
middleware:
  - {{use: components.metrics.MetricsMiddleware}}
  - {{use: components.middleware.rate_limit.RateLimitMiddleware, with: {{limit: 1000000/minute}}}}
routes:
  - {{use: {here}.router, prefix: /api}}
  - {{use: components.console.router, prefix: /_assembly, with: {{actions: true}}}}
scheduler:
  store: ${{resources.store}}
  jobs:
{jobs}
"""


def measured(ask: Callable[[], Any]) -> tuple[list[float], list[float]]:
    """Milliseconds of the wall, and of this process."""
    walls, own = [], []
    for _ in range(TIMES):
        wall, cpu = time.perf_counter(), time.process_time()
        ask()
        walls.append((time.perf_counter() - wall) * 1000)
        own.append((time.process_time() - cpu) * 1000)
    return walls, own


def told(name: str, times: list[float], own: list[float]) -> None:
    p95, own95 = (statistics.quantiles(each, n=20)[-1] for each in (times, own))
    print(
        f"  {name:28} p50 {statistics.median(times):7.1f} ms  p95 {p95:7.1f} ms   "
        f"of this process p50 {statistics.median(own):7.1f} ms  p95 {own95:7.1f} ms"
    )


def pages() -> None:
    """Each page, as a client of the same process sees it."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["STORE_URL"] = f"sqlite+aiosqlite:///{folder}/store.db"
        path = Path(folder) / "large.yaml"
        path.write_text(manifest(), "utf-8")
        app = assembler.build(assembler.load(path))
        client = TestClient(app, "http://127.0.0.1", client=("127.0.0.1", 1))
        with client:
            for number in range(ROUTES):
                client.get(f"/api/things/{number}/1")
            print(f"{ROUTES} routes with figures, {JOBS} jobs")
            told("(a route that answers 1)", *measured(lambda: client.get("/api/things/999/1")))
            for page in PAGES:
                client.get(f"/_assembly{page}")

                def ask(page: str = page) -> None:
                    operations = app.state.assembly.operations
                    options = operations._kept.pop("options", None)
                    operations._kept.clear()  # as if nobody had looked a second ago
                    if options is not None:
                        operations._kept["options"] = options
                    assert client.get(f"/_assembly{page}").status_code == 200

                told(page or "/", *measured(ask))


FILL = """
INSERT INTO assembler_job_runs (job, fire_ms, attempt, run_id, owner, state, is_exclusive, may_rerun,
    started_ms, finished_ms, lag_ms, duration_ms, error)
SELECT 'Large/job-' || n % 100, 1700000000000 + n * 1000::bigint, 1, n::text, 'host:1',
    CASE WHEN n % 5000 = 0 THEN 'failed' WHEN n % 1000 = 1 THEN 'timeout' ELSE 'ok' END, 0, 0,
    1700000000000 + n * 1000::bigint, 1700000000100 + n * 1000::bigint, 3, 100,
    CASE WHEN n % 5000 = 0 THEN repeat('an error ', 20) END
FROM generate_series(1, :runs) AS n
"""


async def runs(url: str, number: int) -> None:
    """Questions for runs."""
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
    store: Any = store_of(engine)
    await store.prepare()
    async with engine.begin() as connection:
        await connection.execute(text(FILL), {"runs": number})
    began = time.perf_counter()
    state = await upgrade(store, engine)
    assert state is not None
    assert state.is_current
    print(
        f"{number} runs of {JOBS} jobs in PostgreSQL; index in {time.perf_counter() - began:.1f} s"
    )
    async with engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text("ANALYZE assembler_job_runs"))
    names = [f"Large/job-{each}" for each in range(JOBS)]
    half = 1700000000000 + number * 500
    questions: dict[str, Callable[[], Awaitable[Any]]] = {
        "the last 100 of a job": lambda: store.runs(RunQuery("Large/job-7")),
        "failures of a job": lambda: store.runs(
            RunQuery("Large/job-0", ("failed", "timeout", "lost", "missed"))
        ),
        "a state that never was": lambda: store.runs(RunQuery("Large/job-0", ("replaced",))),
        "failures of an hour": lambda: store.runs(
            RunQuery("Large/job-0", ("failed",), since_ms=half, until_ms=half + 3_600_000)
        ),
        "the last of each job": lambda: store.last_runs(names),
        "failures of each, of a day": lambda: store.failures(names, 86_400_000),
        "failures of each, of ten years": lambda: store.failures(names, 315_360_000_000),
    }
    for name, ask in questions.items():
        times = []
        for _ in range(TIMES):
            began = time.perf_counter()
            await ask()
            times.append((time.perf_counter() - began) * 1000)
        p95 = statistics.quantiles(times, n=20)[-1]
        print(f"  {name:32} p50 {statistics.median(times):7.1f} ms  p95 {p95:7.1f} ms")
    await engine.dispose()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1_000_000)
    number = parser.parse_args().runs
    pages()
    if number:
        with start_postgres() as server, server.database() as url:
            asyncio.run(runs(url, number))


if __name__ == "__main__":
    main()
