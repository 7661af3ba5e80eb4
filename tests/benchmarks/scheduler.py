"""The scheduler on real servers: runs counted, claims and starts timed.

Run with `python -m tests.benchmarks.scheduler [KIND…]`; kinds are postgresql, redis, sqlite. Prints
for each kind, with 8 processes: how often the ticks of 60 seconds ran, for a job every second and
one of three seconds every five; how late runs began; how long one claim takes. Then what a process
with 1000 jobs costs.
"""

import asyncio
import resource
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from assembler.manifest.schedule import every, parse
from assembler.runtime.scheduler.claims import Claim
from assembler.runtime.scheduler.clock import APSchedulerClock
from assembler.runtime.scheduler.context import JobContext
from assembler.runtime.scheduler.engine import Jobs
from assembler.runtime.scheduler.execution import Setting
from assembler.runtime.scheduler.job import ScheduledJob
from assembler.runtime.scheduler.memory import MemoryStore
from assembler.runtime.scheduler.run import Ending
from assembler.runtime.scheduler.store_client import StoreClient
from tests.assembler.runtime.scheduler.conftest import driven, opened
from tests.assembler.runtime.scheduler.processes import crew, doubles
from tests.servers import start_postgres, start_redis

PROCESSES = 8
SECONDS = 60


@contextmanager
def server(kind: str, folder: Path) -> Iterator[str]:
    """An empty store of that kind."""
    if kind == "redis":
        with start_redis() as redis:
            yield redis.url
    elif kind == "sqlite":
        yield f"sqlite+aiosqlite:///{folder}/{uuid.uuid4().hex}.db"
    else:
        with start_postgres() as postgres:
            yield driven(postgres.url, kind)


def count_runs(kind: str, url: str, folder: Path, period: float, takes: float) -> None:
    journal = folder / uuid.uuid4().hex
    with crew(journal, kind=kind, url=url, every=period, takes=takes) as made:
        for _ in range(PROCESSES):
            made.add()
        made.await_start()
        start = (time.time() // period + 1) * period + 0.5 * period
        time.sleep(start + SECONDS - time.time())
        made.stop()
        lines = [line for line in made.lines() if start <= line["tick"] < start + SECONDS]
    lags = sorted(line["lag"] * 1000 for line in lines)
    print(
        f"  every {period:g} s, {takes:g} s long: {len(lines)} of {SECONDS / period:.0f} ticks ran, "
        f"{len(doubles(lines))} twice; lag p50 {lags[len(lags) // 2]:.0f} ms, "
        f"p99 {lags[int(len(lags) * 0.99)]:.0f} ms"
    )


async def time_claims(kind: str, url: str) -> None:
    async with opened(kind, url) as store:
        await store.prepare()
        took = []
        for number in range(200):
            fire = await store.now()
            claim = Claim(
                f"timed-{number}", fire, uuid.uuid4().hex, "me", 60_000, 30_000, "forbid", False
            )
            began = time.perf_counter()
            answer = await store.claim(claim)
            took.append((time.perf_counter() - began) * 1000)
            assert answer.verdict == "claimed"
            await store.finish(claim.run_id, Ending("ok", 0, 0))
    took.sort()
    print(f"  claim p50 {took[100]:.1f} ms, p99 {took[198]:.1f} ms")


async def idle(count: int) -> None:
    async def nothing(job: JobContext) -> None:
        """Never called here."""

    jobs = [
        ScheduledJob(f"job-{n}", nothing, parse(f"{n % 60} {n % 24} 1 1 *")) for n in range(count)
    ]
    jobs.append(ScheduledJob("each-minute", nothing, every(timedelta(minutes=1))))
    setting = Setting(StoreClient(MemoryStore(), 5), timedelta(seconds=30))
    engine = Jobs(jobs, setting, clock=APSchedulerClock())
    began = time.perf_counter()
    await engine.open()
    started = time.perf_counter() - began
    before = _processor_seconds()
    await asyncio.sleep(20)
    share = (_processor_seconds() - before) / 20
    await engine.aclose()
    print(f"{count} jobs: start {started * 1000:.0f} ms, idle {share:.2%} of a processor")


def _processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        for each in sys.argv[1:] or ("postgresql", "redis", "sqlite"):
            print(f"{each}, {PROCESSES} processes")
            with server(each, Path(name)) as where:
                asyncio.run(time_claims(each, where))
                count_runs(each, where, Path(name), 1, 0)
                count_runs(each, where, Path(name), 5, 3)
    asyncio.run(idle(1000))
