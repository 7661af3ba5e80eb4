"""Claims in a SQL database: PostgreSQL for any number of machines, SQLite for processes of one.

In: an async SQLAlchemy engine. Out: a `Store`. A claim is one INSERT that gives the row back to
exactly one process; `overlap: forbid` is a unique index. Statements stand alone and commit by
themselves; the few that belong together are one transaction, which takes SQLite's write lock at its
beginning. Refuses other databases.
"""

import json
import uuid
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from assembler.runtime.operations.orders import KEPT_MS, STANDING, Order
from assembler.runtime.scheduler.claims import (
    EARLY_MS,
    Claim,
    ClaimAnswer,
    Lost,
    Retrial,
    Retried,
)
from assembler.runtime.scheduler.run import Ending, Run, RunQuery, State
from assembler.runtime.scheduler.sql_tables import (
    CREATE,
    CREATE_INSTANCES,
    INSTANCES,
    IS_THERE,
    LOCK_TO_CREATE,
    LOCK_TO_REPLACE,
    POSTGRES_TABLE,
    SQLITE_TABLE,
    VERSION,
    VERSION_NOW,
    VERSIONS,
    statements,
)

_TRIES = 3  # of a claim, while what stands in its way comes and goes


class SqlStore:
    """Keeps claims in one table of the engine's database."""

    shared = True

    def __init__(self, engine: AsyncEngine) -> None:
        dialect = engine.dialect.name
        try:
            self._sql = statements(dialect)
        except KeyError:
            raise ValueError(f"a scheduler keeps no claims in {dialect}") from None
        self.kind = dialect
        self._is_sqlite = dialect == "sqlite"
        self.engine = engine
        self._has_instances = False
        self._has_orders = False
        self._committing = engine.execution_options(isolation_level="AUTOCOMMIT")

    async def prepare(self) -> None:
        """Make the table, where there is none."""
        if not self._is_sqlite and await self._value(IS_THERE) is not None:
            return  # a role that may not make tables can use one
        async with self._transaction() as connection:
            if not self._is_sqlite:
                await connection.execute(LOCK_TO_CREATE)
            for statement in CREATE:
                await connection.exec_driver_sql(statement)

    async def now(self) -> int:
        """Return the database's time."""
        return int(await self._value(self._sql.now))

    async def claim(self, claim: Claim) -> ClaimAnswer:
        """Take the tick, where it is due and free."""
        for _ in range(_TRIES):
            started = await self._claimed(claim)
            if started is not None:
                return ClaimAnswer("claimed", started - claim.fire_ms)
            answer = await self._refusal(claim)
            if answer is not None:
                return answer
        return ClaimAnswer("skipped")  # others come and go; the next tick has its chance

    async def heartbeat(self, run_id: str, lease_ms: int) -> bool:
        """Renew the lease."""
        return await self._changed(self._sql.heartbeat, {"run": run_id, "lease": lease_ms}) > 0

    async def state(self, run_id: str) -> State | None:
        """Return the state of a run that is kept."""
        state: State | None = await self._value(self._sql.state, {"run": run_id})
        return state

    async def fence(self, connection: Any, run_id: str) -> bool:
        """Tell whether it holds its claim, and keep it so until the connection's transaction ends."""
        found = await connection.execute(self._sql.fence, {"run": run_id})
        return found.first() is not None

    async def finish(self, run_id: str, ending: Ending) -> bool:
        """Record the end of a run that holds its claim."""
        return await self._changed(self._sql.finish, ending_values(run_id, ending)) > 0

    async def sweep(self, owner: str, lease_ms: int, jobs: Mapping[str, bool]) -> list[Lost]:
        """Mark runs whose lease ran out; both attempts change hands in one transaction."""
        if await self._value(self._sql.stale) is None:
            return []
        lost = []
        async with self._transaction() as connection:
            found = await connection.execute(self._sql.lose, {"jobs": json.dumps(list(jobs))})
            for row in found.mappings().all():
                rerun_id = None
                if row["may_rerun"] and row["attempt"] == 1 and jobs[row["job"]]:
                    rerun_id = await self._rerun(connection, row, owner, lease_ms)
                names = ("job", "fire_ms", "attempt", "run_id", "owner")
                lost.append(Lost(**{name: row[name] for name in names}, rerun_id=rerun_id))
        return lost

    async def miss(self, job: str, fires: Sequence[int], grace_ms: int) -> dict[int, bool]:
        """Record ticks that were not claimed within their grace."""
        now = await self.now()
        settled = {}
        for fire in fires:
            if fire >= now - grace_ms:
                continue
            values = {"job": job, "fire": fire, "run": uuid.uuid4().hex, "grace": grace_ms}
            settled[fire] = await self._value(self._sql.miss, values) is not None
        return settled

    async def last_runs(self, jobs: Collection[str]) -> dict[str, Run]:
        """Return the latest run of each job that has one."""
        known = {"jobs": json.dumps(list(jobs))}
        async with self._committing.connect() as connection:
            rows = (await connection.execute(self._sql.last, known)).all()
        return {row[0]: Run(*row) for row in rows}

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return how many runs each job has in each state."""
        async with self._committing.connect() as connection:
            rows = (await connection.execute(self._sql.counts)).all()
        found: dict[str, dict[str, int]] = {}
        for job, state, count in rows:
            found.setdefault(job, {})[state] = count
        return found

    async def prune(self, job: str, keep_ms: int) -> int:
        """Forget old runs of a job."""
        return await self._changed(self._sql.prune, {"job": job, "keep": keep_ms})

    async def run(self, run_id: str) -> Run | None:
        """Return one run that is kept."""
        async with self._committing.connect() as connection:
            row = (await connection.execute(self._sql.run, {"run": run_id})).first()
        return None if row is None else Run(*row)

    async def runs(self, query: RunQuery) -> list[Run]:
        """Return the runs that are asked for; each state is one stretch of an index."""
        values: dict[str, Any] = {
            "job": query.job,
            "since": query.since_ms,
            "until": query.until_ms,
            "limit": query.limit,
        }
        rows: list[Any] = []
        async with self._committing.connect() as connection:
            for state in query.states:
                found = await connection.execute(
                    self._sql.runs_in_state, {**values, "state": state}
                )
                rows += found.all()
            if not query.states:
                rows += (await connection.execute(self._sql.runs, values)).all()
        runs = [Run(*row) for row in rows]
        runs.sort(key=lambda run: (run.fire_ms, run.attempt), reverse=True)
        return runs[: query.limit]

    async def failures(self, jobs: Collection[str], span_ms: int) -> dict[str, int]:
        """Return how many runs of each job went wrong within that time."""
        values = {"jobs": json.dumps(list(jobs)), "span": span_ms}
        async with self._committing.connect() as connection:
            rows = (await connection.execute(self._sql.failures, values)).all()
        return {row[0]: int(row[1]) for row in rows}

    async def again(self, retrial: Retrial) -> Retried | None:
        """Claim one more attempt: its row is given to one process."""
        async with self._committing.connect() as connection:
            found = await connection.execute(self._sql.again, retrial_values(retrial, "running"))
            row = found.first()
        return None if row is None else Retried(row.job, row.fire_ms, row.attempt)

    async def version(self) -> tuple[int, int]:
        """Return the version of the tables, and the one that is wanted; 1 has no orders."""
        if not self._has_orders:
            is_there = await self._has_table(VERSIONS)
            found = int(await self._value(VERSION_NOW) or 1) if is_there else 1
            self._has_orders = found >= VERSION
            return found, VERSION
        return VERSION, VERSION

    async def give(self, service: str, order: Order) -> Order:
        """Keep an order, and end those that stood in its place, in one transaction."""
        place = {"service": service, "target": order.target}
        values = {
            **place,
            "id": order.id,
            "kind": order.kind,
            "value": order.value,
            "actor": order.actor,
            "lasts": order.lasts_ms,
            "stands": int(order.stands),
        }
        async with self._transaction() as connection:
            for kind in STANDING.get(order.kind, ()):
                await connection.execute(self._sql.replace_orders, {**place, "kind": kind})
            at_ms = (await connection.execute(self._sql.give, values)).scalar_one()
            keep = {"service": service, "keep": KEPT_MS}
            await connection.execute(self._sql.forget_orders, keep)
        return replace(order, at_ms=int(at_ms))

    async def orders(self, service: str, limit: int) -> list[Order]:
        """Return the last orders, the latest first."""
        values = {"service": service, "limit": limit}
        async with self._committing.connect() as connection:
            rows = (await connection.execute(self._sql.orders, values)).all()
        return [_order(row) for row in rows]

    async def open_orders(self, service: str) -> tuple[int, list[Order]]:
        """Return the time, and the orders that stand or are recent; none by tables without them."""
        have, wanted = await self.version()
        if have < wanted:
            return 0, []
        async with self._committing.connect() as connection:
            found = await connection.execute(self._sql.open_orders, {"service": service})
            rows = found.all()
        return (int(rows[0][0]) if rows else 0), [_order(row[1:]) for row in rows]

    async def announce(self, service: str, instance: str, said: str) -> None:
        """Keep what an instance says of itself, with the database's time; forget those long gone."""
        if not self._has_instances:
            await self._make_instances()
        values = {"service": service, "instance": instance, "said": said}
        await self._changed(self._sql.announce, values)
        await self._changed(self._sql.forget, {"service": service})

    async def withdraw(self, service: str, instance: str) -> None:
        """Forget an instance."""
        await self._changed(self._sql.withdraw, {"service": service, "instance": instance})

    async def instances(self, service: str) -> list[tuple[int, str]]:
        """Return how many milliseconds ago each instance spoke, and what it said."""
        if not self._has_instances and not await self._has_table(INSTANCES):
            return []  # nobody has spoken yet
        async with self._committing.connect() as connection:
            rows = (await connection.execute(self._sql.instances, {"service": service})).all()
        return [(int(age), said) for age, said in rows]

    async def _has_table(self, name: str) -> bool:
        look = SQLITE_TABLE if self._is_sqlite else POSTGRES_TABLE
        return await self._value(look, {"name": name}) is not None

    async def _make_instances(self) -> None:
        if not await self._has_table(INSTANCES):
            async with self._transaction() as connection:
                if not self._is_sqlite:
                    await connection.execute(LOCK_TO_CREATE)
                await connection.exec_driver_sql(CREATE_INSTANCES)
        self._has_instances = True

    async def _claimed(self, claim: Claim) -> int | None:
        """Return when the claim was made by the database's clock, None where it was not."""
        values = claim_values(claim)
        started: int | None
        if claim.overlap != "replace":
            started = await self._value(self._sql.claim, values)
            return started
        async with self._transaction() as connection:
            return await self._claimed_in(connection, claim, values)

    async def _claimed_in(
        self, connection: AsyncConnection, claim: Claim, values: dict[str, Any]
    ) -> int | None:
        if claim.overlap == "replace" and not self._is_sqlite:
            await connection.execute(LOCK_TO_REPLACE, {"job": claim.job})
        started: int | None = (await connection.execute(self._sql.claim, values)).scalar()
        if started is not None and claim.overlap == "replace":
            earlier = {"job": claim.job, "fire": claim.fire_ms}
            await connection.execute(self._sql.replace, earlier)
        return started

    async def _refusal(self, claim: Claim) -> ClaimAnswer | None:
        """Find what stood in the way of a claim; None where it is gone."""
        tick = {"job": claim.job, "fire": claim.fire_ms}
        async with self._committing.connect() as connection:
            row = (await connection.execute(self._sql.explain, tick)).one()
        since = row.now - claim.fire_ms
        if row.taken_by == claim.run_id:  # the answer to our own claim was lost on its way
            return ClaimAnswer("claimed", since)
        if row.taken_by is not None:
            return ClaimAnswer("taken")
        if since < -EARLY_MS:
            return ClaimAnswer("early", -since - EARLY_MS // 2)
        if since > claim.grace_ms:
            return ClaimAnswer("late")
        if row.busy_until_ms is None or claim.overlap == "allow":
            return None
        if row.busy_until_ms < row.now:
            return ClaimAnswer("stale")
        if since < 0:
            return ClaimAnswer("early", -since)  # until its time has come, the other may end
        facts = {**tick, "run": claim.run_id, "owner": claim.owner}
        skipped = await self._value(self._sql.skip, facts)
        return ClaimAnswer("skipped", recorded=skipped is not None)

    async def _rerun(
        self, connection: AsyncConnection, row: Any, owner: str, lease_ms: int
    ) -> str | None:
        values = attempt_values(row, owner=owner, lease=lease_ms, state="running")
        return (await connection.execute(self._sql.rerun, values)).scalar()

    async def _value(self, statement: Any, values: dict[str, Any] | None = None) -> Any:
        async with self._committing.connect() as connection:
            return (await connection.execute(statement, values or {})).scalar()

    async def _changed(self, statement: Any, values: dict[str, Any]) -> int:
        async with self._committing.connect() as connection:
            return (await connection.execute(statement, values)).rowcount

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncConnection]:
        if not self._is_sqlite:
            async with self.engine.begin() as connection:
                yield connection
            return
        # by itself SQLite takes the lock at the first write, and fails where someone else has it
        async with self._committing.connect() as connection:
            await connection.exec_driver_sql("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                await connection.exec_driver_sql("ROLLBACK")
                raise
            await connection.exec_driver_sql("COMMIT")


def claim_values(claim: Claim) -> dict[str, Any]:
    """Return what the statement of a claim takes."""
    return {
        "job": claim.job,
        "fire": claim.fire_ms,
        "run": claim.run_id,
        "owner": claim.owner,
        "exclusive": int(claim.overlap == "forbid"),
        "replaces": int(claim.overlap == "replace"),
        "rerun": int(claim.rerun),
        "grace": claim.grace_ms,
        "lease": claim.lease_ms,
        "state": "running",
    }


def retrial_values(retrial: Retrial, state: State) -> dict[str, Any]:
    """Return what the statement of one more attempt takes."""
    return {
        "run": retrial.run_id,
        "fresh": retrial.fresh,
        "owner": retrial.owner if state == "running" else "",
        "state": state,
        "exclusive": int(retrial.overlap == "forbid"),
        "rerun": int(retrial.rerun),
        "lease": retrial.lease_ms if state == "running" else None,
    }


def _order(row: Any) -> Order:
    id_, kind, target, actor, value, lasts_ms, at_ms, stands = row
    return Order(id_, kind, target, actor, value, lasts_ms, int(at_ms), bool(stands))


def attempt_values(row: Any, *, owner: str, lease: int | None, state: State) -> dict[str, Any]:
    """Return what the statement of the attempt after that of `row` takes."""
    return {
        "job": row["job"],
        "fire": row["fire_ms"],
        "attempt": row["attempt"] + 1,
        "run": uuid.uuid4().hex,
        "owner": owner,
        "exclusive": row["is_exclusive"],
        "rerun": row["may_rerun"],
        "lease": lease,
        "state": state,
    }


def ending_values(run_id: str, ending: Ending) -> dict[str, Any]:
    """Return what the statement of an end takes."""
    return {
        "run": run_id,
        "state": ending.state,
        "lag": ending.lag_ms,
        "duration": ending.duration_ms,
        "error": ending.error,
    }
