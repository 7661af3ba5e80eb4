"""A process that runs jobs on a store, for tests and benchmarks that start several of it.

Arguments: a JSON object with `kind`, `url`, `journal` (a file to which each run appends a line),
`every`, `takes` and, of the very first run, `first_takes` in seconds, and options of the job and the engine. A line on standard input
ends it; `offset` moves its clock by that many seconds.
"""

import asyncio
import datetime as dt
import json
import os
import sys
import threading
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

from apscheduler.schedulers import base
from sqlalchemy import text

from assembler.manifest.schedule import every
from assembler.runtime.scheduler import clock
from assembler.runtime.scheduler.context import JobContext, NotMineError
from assembler.runtime.scheduler.engine import Jobs
from assembler.runtime.scheduler.execution import Setting
from assembler.runtime.scheduler.job import ScheduledJob
from assembler.runtime.scheduler.store_client import StoreClient
from tests.assembler.runtime.scheduler.conftest import opened


class Worker:
    """One process: its engine, and what its job does."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.path = Path(options["journal"])

    def note(self, event: str, job: JobContext) -> None:
        fire = job.fire_time.timestamp()
        line = {"event": event, "tick": fire, "lag": time.time() - fire, "pid": os.getpid()}
        with self.path.open("a") as journal:  # one write of one line: processes share the file
            journal.write(json.dumps({**line, "attempt": job.attempt}) + "\n")

    async def work(self, job: JobContext) -> None:
        self.note("began", job)
        is_first = len(self.path.read_text().splitlines()) == 1
        takes = self.options.get("first_takes" if is_first else "takes", 0.0)
        end = time.monotonic() + takes
        while time.monotonic() < end:  # noqa: ASYNC110  # it notices a pause of the process
            await asyncio.sleep(0.02)
        if self.options.get("fenced"):
            try:
                async with self.store.engine.begin() as connection:
                    await job.fence(connection)
                    await connection.execute(text("INSERT INTO effects VALUES (1)"))
            except NotMineError:
                self.note("fenced", job)
        self.note("ended", job)

    async def run(self) -> None:
        options = self.options
        async with opened(options["kind"], options["url"]) as self.store:
            seconds = options.get("lease", 30.0)
            link = StoreClient(self.store, min(5.0, seconds / 3))
            one = ScheduledJob(
                "job",
                self.work,
                every(timedelta(seconds=options["every"])),
                grace=timedelta(seconds=options.get("grace", 60)),
                overlap=options.get("overlap", "forbid"),
                rerun=options.get("rerun", False),
            )
            setting = Setting(link, timedelta(seconds=seconds))
            jobs = Jobs([one], setting, clock=clock.APSchedulerClock())
            await jobs.open()
            ended = asyncio.Event()
            loop = asyncio.get_running_loop()
            threading.Thread(target=_await_line, args=(loop, ended), daemon=True).start()
            print("up", flush=True)
            await ended.wait()
            await jobs.aclose()


def _await_line(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    sys.stdin.readline()
    loop.call_soon_threadsafe(ended.set)


def move_clock(seconds: float) -> None:
    """Let APScheduler believe that it is later, or earlier."""

    class Moved(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            real = dt.datetime.now(tz) + timedelta(seconds=seconds)
            return cls.fromtimestamp(real.timestamp(), tz)

    base.datetime = Moved


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    move_clock(given.get("offset", 0.0))
    asyncio.run(Worker(**given).run())
