"""Claims that are queued: a tick and its place in the queue are made in one transaction.

In: an async SQLAlchemy engine of PostgreSQL. Out: a `Store` whose claims wait for a worker, in state
`queued`, until `begin` gives them to one. A process that dies between the two leaves both or none.
A run that ends badly and is to be tried again is queued in the transaction that records its end.
Refuses other databases. A run and its place in the queue know each other by the run's ID, which is the
`queueing_lock` of Procrastinate's job.

The sweep keeps the queue whole: a run whose worker died is lost, and queued again where the job
wants it; one that was fetched and never begun goes back; one that is no longer in the queue, as
somebody emptied it, is lost.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from assembler.runtime.scheduler.claims import Claim, ClaimAnswer, Lost, Retrial, Retried
from assembler.runtime.scheduler.fleet import schema
from assembler.runtime.scheduler.run import Ending, State
from assembler.runtime.scheduler.sql_store import (
    SqlStore,
    attempt_values,
    claim_values,
    ending_values,
    retrial_values,
)
from assembler.runtime.scheduler.sql_tables import LOCK_TO_CREATE, TABLE, statements

TASK = "assembler.run"
_NOW = "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)"
_COLUMNS = "job, fire_ms, attempt, run_id, owner, is_exclusive, may_rerun"

QUEUE = text(
    """SELECT procrastinate_defer_jobs_v1(ARRAY[CAST(ROW(
        CAST(:queue AS varchar), CAST(:task AS varchar), 0, NULL, CAST(:run AS text),
        CAST(:arguments AS jsonb),
        CASE WHEN CAST(:wait AS float) > 0
             THEN clock_timestamp() + make_interval(secs => CAST(:wait AS float)) END
    ) AS procrastinate_job_to_defer_v1)])"""
)
BEGIN = text(
    f"""UPDATE {TABLE} SET state = 'running', owner = CAST(:owner AS text), started_ms = now,
        lease_ms = now + CAST(:lease AS BIGINT)
    FROM (SELECT {_NOW} AS now) AS clock WHERE run_id = :run AND state = 'queued'
    RETURNING fire_ms, attempt, started_ms"""  # noqa: S608  # our own text
)
FINISH = text(f"{statements('postgresql').finish.text} RETURNING {_COLUMNS}")
# Both are seen by one snapshot: a run leaves its state before its place in the queue is given up.
LOSE_UNQUEUED = text(
    f"""UPDATE {TABLE} AS run SET state = 'lost', finished_ms = {_NOW}
    WHERE state = 'queued' AND NOT EXISTS (
        SELECT 1 FROM procrastinate_jobs AS place
        WHERE place.queueing_lock = run.run_id AND place.status IN ('todo', 'doing'))
    RETURNING {_COLUMNS}"""  # noqa: S608  # as above
)
# fetched a lease ago, and not running: its worker died between, or lost an answer
STALLED = text(
    f"""SELECT place.id, run.state FROM procrastinate_jobs AS place
    LEFT JOIN {TABLE} AS run ON run.run_id = place.queueing_lock
    WHERE place.status = 'doing' AND place.task_name = :task AND place.queue_name = :queue
      AND coalesce(run.state, '') <> 'running'
      AND (SELECT max(at) FROM procrastinate_events AS event
           WHERE event.job_id = place.id AND event.type = 'started')
          < clock_timestamp() - make_interval(secs => CAST(:lease AS float))
    FOR UPDATE OF place SKIP LOCKED"""  # noqa: S608  # as above
)
PUT_BACK = text("SELECT procrastinate_retry_job_v2(:id, NULL, NULL, NULL, NULL)")
TAKE_OUT = text("SELECT procrastinate_finish_job_v1(:id, 'failed', true)")


_LONGEST_WAIT_SECONDS = 3600.0
_FAILED = frozenset({"failed", "timeout"})


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a job is tried again after a failure: `limit` times, the first after `wait`."""

    limit: int = 0
    wait: timedelta = timedelta(seconds=10)

    def after(self, state: State, attempt: int, *, may_rerun: bool) -> float | None:
        """Return the seconds until the next attempt; None where there is none.

        What failed waits twice as long each time, for an hour at most. What a dying or stopping
        worker took along is queued at once where the job may run again (`on_crash: rerun`), and
        at least once.
        """
        if state in _FAILED and attempt <= self.limit:
            doubled: float = self.wait.total_seconds() * 2 ** min(attempt - 1, 30)
            return min(doubled, max(_LONGEST_WAIT_SECONDS, self.wait.total_seconds()))
        if state in {"lost", "cancelled"} and may_rerun and attempt <= max(1, self.limit):
            return 0.0
        return None


_FACTS = ("job", "fire_ms", "attempt", "run_id", "owner")


class FleetStore(SqlStore):
    """Keeps claims in the engine's database, and queues them for workers.

    With `runs_here` a claim is not queued: who makes it runs it. Raises ValueError for what is no
    engine of PostgreSQL.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        queue: str,
        retries: Mapping[str, Retry],
        runs_here: bool = False,
    ) -> None:
        if not isinstance(engine, AsyncEngine):
            kind = type(engine).__name__
            raise ValueError(f"a queue is kept in PostgreSQL: a {kind} is no engine of it")  # noqa: TRY004  # as of stores
        if engine.dialect.name != "postgresql":
            raise ValueError(f"a queue is kept in PostgreSQL, not in {engine.dialect.name}")
        super().__init__(engine)
        self.queue = queue
        self._retries = retries
        self._runs_here = runs_here

    async def prepare(self) -> None:
        """Make the tables, where there are none. Raises `SchemaError` for another version's."""
        await super().prepare()
        async with self._committing.connect() as connection:
            if await schema.is_there(connection):
                return
        async with self._transaction() as connection:
            await connection.execute(LOCK_TO_CREATE)
            if not await schema.is_there(connection):
                await schema.create(connection)

    async def claim(self, claim: Claim) -> ClaimAnswer:
        """Take the tick, where it is due and free, and queue it."""
        answer = await super().claim(claim)
        if answer.verdict == "claimed" and not self._runs_here:
            return ClaimAnswer("queued", answer.milliseconds)
        return answer

    async def begin(self, run_id: str, owner: str, lease_ms: int) -> tuple[int, int, int] | None:
        """Give a queued run to one worker: its tick, its attempt, and how long after the tick.

        None where it waits no longer.
        """
        values = {"run": run_id, "owner": owner, "lease": lease_ms}
        async with self._committing.connect() as connection:
            row = (await connection.execute(BEGIN, values)).first()
        return None if row is None else (row.fire_ms, row.attempt, row.started_ms - row.fire_ms)

    async def finish(self, run_id: str, ending: Ending) -> bool:
        """Record the end of a run that holds its claim, and queue what comes after it."""
        async with self._transaction() as connection:
            row = (
                (await connection.execute(FINISH, ending_values(run_id, ending))).mappings().first()
            )
            if row is not None:
                await self._again(connection, row, ending.state)
        return row is not None

    async def again(self, retrial: Retrial) -> Retried | None:
        """Queue one more attempt, in the transaction that claims it."""
        if self._runs_here:
            return await super().again(retrial)
        async with self._transaction() as connection:
            values = retrial_values(retrial, "queued")
            row = (await connection.execute(self._sql.again, values)).first()
            if row is None:
                return None
            await self._enqueue(connection, row.job, retrial.fresh)
        return Retried(row.job, row.fire_ms, row.attempt, is_queued=True)

    async def sweep(self, owner: str, lease_ms: int, jobs: Mapping[str, bool]) -> list[Lost]:
        """Mark runs that nobody has, queue what is to run again, and put the queue in order."""
        async with self._transaction() as connection:
            known = {"jobs": json.dumps(list(jobs))}
            gone = (await connection.execute(self._sql.lose, known)).mappings().all()
            left = (await connection.execute(LOSE_UNQUEUED)).mappings().all()
            lost = []
            for row in (*gone, *left):
                is_queued = await self._again(connection, row, "lost")
                facts = {name: row[name] for name in _FACTS}
                lost.append(Lost(**facts, is_queued=is_queued))
            await self._order(connection, lease_ms)
        return lost

    async def _claimed(self, claim: Claim) -> int | None:
        if self._runs_here:
            return await super()._claimed(claim)
        values = {**claim_values(claim), "state": "queued", "lease": None}  # it begins with the run
        async with self._transaction() as connection:
            started = await self._claimed_in(connection, claim, values)
            if started is not None:
                await self._enqueue(connection, claim.job, claim.run_id)
        return started

    async def _again(self, connection: AsyncConnection, row: Any, state: State) -> bool:
        """Queue the next attempt of a run that ended in `state`, where there is to be one."""
        retry = self._retries.get(row["job"], Retry())
        wait = retry.after(state, row["attempt"], may_rerun=bool(row["may_rerun"]))
        if wait is None:
            return False
        values = attempt_values(row, owner="", lease=None, state="queued")
        if (await connection.execute(self._sql.rerun, values)).scalar() is None:
            return False  # a later tick has begun
        await self._enqueue(connection, row["job"], values["run"], wait)
        return True

    async def _enqueue(
        self, connection: AsyncConnection, job: str, run_id: str, wait: float = 0.0
    ) -> None:
        arguments = json.dumps({"job": job, "run_id": run_id})
        place = {"queue": self.queue, "task": TASK, "run": run_id, "wait": wait}
        await connection.execute(QUEUE, {**place, "arguments": arguments})

    async def _order(self, connection: AsyncConnection, lease_ms: int) -> None:
        """Put back what was fetched and not begun; take out what has ended."""
        where = {"task": TASK, "queue": self.queue, "lease": lease_ms / 1000}
        for row in (await connection.execute(STALLED, where)).all():
            move = PUT_BACK if row.state == "queued" else TAKE_OUT
            await connection.execute(move, {"id": row.id})
