"""A service whose jobs run on workers: its files, its processes, and what its jobs noted."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from tests.assembler.command import COMMAND, ENVIRONMENT

PATIENCE_SECONDS = 60
JOBS = """
import asyncio, json, os, time
from pathlib import Path

JOURNAL = Path(__file__).parent.parent / "journal"

def note(event, job):
    line = {"event": event, "job": job.id, "tick": job.fire_time.timestamp(),
            "attempt": job.attempt, "pid": os.getpid()}
    with JOURNAL.open("a") as journal:  # one write of one line: processes share the file
        journal.write(json.dumps(line) + "\\n")

async def tell(job, word: str = "x"):
    assert word == "y"
    note("began", job)

def tell_in_thread(job):
    note("began", job)

async def hang_once(job):
    note("began", job)
    if job.attempt == 1:
        await asyncio.sleep(60)
    note("ended", job)

async def fail_twice(job):
    note("began", job)
    if job.attempt < 3:
        raise ValueError("not yet")

async def slow(job):
    note("began", job)
    await asyncio.sleep(2)
    note("ended", job)
"""
DB = """
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

def engine(*, url: str) -> AsyncEngine:
    return create_async_engine(url, pool_pre_ping=True)
"""
CLOCK = """
import asyncio, sys
import assembler
from tests.assembler.sample_app.world import lifespan_of

async def main():
    lifespan = lifespan_of(assembler.build(assembler.load("m.yaml")))
    await lifespan.start()
    print("up", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await lifespan.stop()

asyncio.run(main())
"""
TICK = """
import asyncio
import assembler
from tests.assembler.sample_app.world import lifespan_of

async def main():
    app = assembler.build(assembler.load("m.yaml", {"scheduler.enabled": False}))
    lifespan = lifespan_of(app)
    await lifespan.start()
    for job in JOBS:
        assert (await app.state.assembly.jobs.tick(job)).outcome == "queued"
    await lifespan.stop()

asyncio.run(main())
"""


@dataclass
class Fleet:
    """A folder with a manifest, and the clocks and workers that read it."""

    folder: Path
    url: str
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.folder}:{ENVIRONMENT['PYTHONPATH']}"
        return {**ENVIRONMENT, "DATABASE_URL": self.url, "PYTHONPATH": path}

    def write(self, jobs: str, scheduler: str = "") -> None:
        manifest = f"""
manifest: 1
resources:
  db: {{use: shop.db.engine, with: {{url: "${{DATABASE_URL}}"}}}}
scheduler:
  engine: procrastinate
  store: ${{resources.db}}
  lease: 6s
  {scheduler}
  jobs:
{jobs}
"""
        (self.folder / "shop").mkdir(exist_ok=True)
        (self.folder / "shop/__init__.py").touch()
        (self.folder / "shop/jobs.py").write_text(JOBS)
        (self.folder / "shop/db.py").write_text(DB)
        (self.folder / "m.yaml").write_text(manifest)
        (self.folder / "journal").touch()

    def clocks(self, count: int) -> list[subprocess.Popen[str]]:
        """Start processes whose clocks queue; they end with their input."""
        started = [self.start_clock() for _ in range(count)]
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
        return started

    def start_clock(self, first: str = "") -> subprocess.Popen[str]:
        """Start one, which runs `first` before all else, and wait for nothing."""
        return self._start([sys.executable, "-c", first + CLOCK], stdin=subprocess.PIPE)

    def tick(self, *jobs: str) -> None:
        """Queue the latest tick of each job, as an outside clock does."""
        code = TICK.replace("JOBS", repr(jobs))
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=self.folder,
            env=self.environment,
            check=True,
            timeout=100,
        )

    def output(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.read()

    def workers(self, count: int, *arguments: str) -> list[subprocess.Popen[str]]:
        """Start `assembler worker` so often; returns once they take from the queue."""
        command = [*COMMAND, "worker", "m.yaml", *arguments]
        started = [self._start(command, stderr=subprocess.PIPE) for _ in range(count)]
        for process in started:
            assert process.stderr is not None
            said = process.stderr.readline()
            while not said.startswith("takes from the queue"):
                assert said, f"the worker ended with status {process.wait(20)}"
                said = process.stderr.readline()
        return started

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    def lines(self, event: str = "began") -> list[dict[str, Any]]:
        found = [json.loads(line) for line in (self.folder / "journal").read_text().splitlines()]
        return [line for line in found if line["event"] == event]

    def query(self, statement: str) -> list[Any]:
        async def go() -> list[Any]:
            db = create_async_engine(self.url)
            try:
                async with db.begin() as connection:
                    found = await connection.execute(text(statement))
                    return [tuple(row) for row in found.all()] if found.returns_rows else []
            finally:
                await db.dispose()

        return asyncio.run(go())

    def states(self) -> dict[str, int]:
        statement = "SELECT state, count(*) FROM assembler_job_runs GROUP BY state"
        return dict(self.query(statement))

    def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < end, (self.folder / "journal").read_text()
            time.sleep(0.1)

    def end(self, *processes: subprocess.Popen[str]) -> list[int]:
        """Stop them as a platform does, and return their statuses."""
        for process in processes:
            if process.stdin is None:
                process.send_signal(signal.SIGTERM)
            else:
                process.stdin.close()
        return [process.wait(PATIENCE_SECONDS) for process in processes]

    def _start(self, command: list[str], **pipes: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**self.environment, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
            **pipes,
        )
        self.processes.append(process)
        return process


@contextmanager
def fleet(folder: Path, url: str) -> Iterator[Fleet]:
    """A fleet whose processes are gone when the block ends."""
    made = Fleet(folder, url)
    try:
        yield made
    finally:
        for process in made.processes:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
                process.kill()
            process.wait(20)
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()
