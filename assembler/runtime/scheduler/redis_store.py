"""Claims in Redis, for any number of machines.

In: a `redis.asyncio` client. Out: a `Store`, whose every step is one script that runs at once, by
Redis's own clock. It promises what a database does as long as Redis keeps what it was told: one
that restarts without persistence, or fails over to a replica that lags, forgets claims, and a tick
within its grace may then run twice. It keeps the last runs of each job, not those of some days.
"""

import json
import uuid
from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from assembler.runtime.operations.orders import RECENT_MS, STANDING, Order
from assembler.runtime.scheduler import redis_scripts as scripts
from assembler.runtime.scheduler.claims import (
    EARLY_MS,
    Claim,
    ClaimAnswer,
    Lost,
    Retrial,
    Retried,
    Verdict,
)
from assembler.runtime.scheduler.run import (
    FAILURES,
    REPEATABLE,
    Ending,
    Run,
    RunQuery,
    State,
    selected,
)

_SLACK_MS = 60_000  # ticks are remembered for this much longer than a claim is possible
_FORGOTTEN_MS = 3_600_000  # since an instance spoke
_SWEEP_MS = 600_000  # between two looks for those
_MOST_RECENT = 100  # orders that are looked at again
_NUMBERS = ("fire_ms", "attempt", "started_ms", "finished_ms", "lag_ms", "duration_ms")


class RedisStore:
    """Keeps claims in one Redis, or in one slot of a cluster."""

    shared = True
    kind = "redis"
    runs_kept = scripts.KEPT

    def __init__(self, client: Any) -> None:
        self._client = client
        self._swept_ms: dict[str, int] = {}

    async def prepare(self) -> None:
        """There is nothing to make."""

    async def now(self) -> int:
        """Return Redis's time."""
        seconds, microseconds = await self._client.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def claim(self, claim: Claim) -> ClaimAnswer:
        """Take the tick, where it is due and free."""
        verdict, milliseconds, recorded = await self._run(
            scripts.CLAIM,
            claim.job,
            claim.fire_ms,
            claim.run_id,
            claim.owner,
            claim.grace_ms,
            claim.lease_ms,
            claim.overlap,
            int(claim.rerun),
            EARLY_MS,
            _SLACK_MS,
        )
        return ClaimAnswer(cast("Verdict", _text(verdict)), int(milliseconds), bool(recorded))

    async def heartbeat(self, run_id: str, lease_ms: int) -> bool:
        """Renew the lease."""
        return bool(await self._run(scripts.HEARTBEAT, run_id, lease_ms))

    async def state(self, run_id: str) -> State | None:
        """Return the state of a run that is kept."""
        state = await self._client.hget(f"{scripts.PREFIX}run:{run_id}", "state")
        return None if state is None else cast("State", _text(state))

    async def finish(self, run_id: str, ending: Ending) -> bool:
        """Record the end of a run that holds its claim."""
        facts = (ending.state, ending.lag_ms, ending.duration_ms, ending.error or "")
        return bool(await self._run(scripts.FINISH, run_id, *facts))

    async def sweep(self, owner: str, lease_ms: int, jobs: Mapping[str, bool]) -> list[Lost]:
        """Mark runs whose lease ran out; claim a second attempt where the job says so."""
        fresh = [
            part for job, again in jobs.items() for part in (job, uuid.uuid4().hex if again else "")
        ]
        rows = await self._run(scripts.SWEEP, owner, lease_ms, *fresh)
        lost = []
        for row in rows:
            job, fire, attempt, run_id, was, rerun = (_text(part) for part in row)
            lost.append(Lost(job, int(fire), int(attempt), run_id, was, rerun or None))
        return lost

    async def miss(self, job: str, fires: Sequence[int], grace_ms: int) -> dict[int, bool]:
        """Record ticks that were not claimed within their grace."""
        settled = {}
        for fire in fires:
            fresh = uuid.uuid4().hex
            done = await self._run(scripts.MISS, job, fire, fresh, grace_ms, _SLACK_MS)
            if int(done) >= 0:
                settled[fire] = int(done) == 1
        return settled

    async def last_runs(self, jobs: Collection[str]) -> dict[str, Run]:
        """Return the latest run of each job that has one."""
        kept = await self._kept_runs(jobs)
        return {
            job: max(runs, key=lambda run: (run.fire_ms, run.attempt))
            for job, runs in kept.items()
            if runs
        }

    async def run(self, run_id: str) -> Run | None:
        """Return one run that is kept."""
        return _run_of(await self._client.hgetall(f"{scripts.PREFIX}run:{run_id}"))

    async def runs(self, query: RunQuery) -> list[Run]:
        """Return the kept runs that are asked for."""
        return selected((await self._kept_runs([query.job]))[query.job], query)

    async def failures(self, jobs: Collection[str], span_ms: int) -> dict[str, int]:
        """Return how many of the kept runs of each job went wrong within that time."""
        since = await self.now() - span_ms
        found = {
            job: sum(run.state in FAILURES and run.fire_ms > since for run in runs)
            for job, runs in (await self._kept_runs(jobs)).items()
        }
        return {job: number for job, number in found.items() if number}

    async def again(self, retrial: Retrial) -> Retried | None:
        """Claim one more attempt."""
        facts = (retrial.run_id, retrial.fresh, retrial.owner, retrial.lease_ms, retrial.overlap)
        row = await self._run(scripts.AGAIN, *facts, int(retrial.rerun), *REPEATABLE)
        return None if not row else Retried(_text(row[0]), int(row[1]), int(row[2]))

    async def give(self, service: str, order: Order) -> Order:
        """Keep an order, and end those that stood in its place."""
        said = {name: value for name, value in order.as_dict().items() if name != "at_ms"}
        place = f"{(*STANDING.get(order.kind, ()), order.kind)[0]} {order.target}"
        ends = int(order.kind in STANDING)
        keys = (_orders_key(service), _standing_key(service))
        now = await cast(
            "Awaitable[Any]",
            self._client.eval(
                scripts.GIVE, 2, *keys, order.id, json.dumps(said), place, int(order.stands), ends
            ),
        )
        return replace(order, at_ms=int(now))

    async def orders(self, service: str, limit: int) -> list[Order]:
        """Return the last orders, the latest first."""
        key = _orders_key(service)
        said = await cast("Awaitable[Any]", self._client.lrange(key, 0, limit - 1))
        standing = {order.id for order in await self._standing(service)}
        return [
            replace(order, stands=order.id in standing) for order in (_order(each) for each in said)
        ]

    async def open_orders(self, service: str) -> tuple[int, list[Order]]:
        """Return the time, and the orders that stand or are recent."""
        now = await self.now()
        standing = [each for each in await self._standing(service) if each.holds(now)]
        last = await self.orders(service, _MOST_RECENT)
        known = {each.id for each in standing}
        recent = [each for each in last if each.at_ms > now - RECENT_MS and each.id not in known]
        return now, sorted([*standing, *recent], key=lambda each: each.at_ms)

    async def _standing(self, service: str) -> list[Order]:
        said = await cast("Awaitable[Any]", self._client.hvals(_standing_key(service)))
        return [_order(each) for each in said]

    async def counts(self) -> dict[str, dict[str, int]]:
        """Return how many runs each job had in each state, since Redis was empty."""
        found: dict[str, dict[str, int]] = {}
        for key, count in (await self._client.hgetall(f"{scripts.PREFIX}counts")).items():
            state, _, job = _text(key).partition(":")
            if int(count) > 0:
                found.setdefault(job, {})[state] = int(count)
        return found

    async def prune(self, job: str, keep_ms: int) -> int:
        """Forget nothing: the number of runs is bounded."""
        return 0

    async def announce(self, service: str, instance: str, said: str) -> None:
        """Keep what an instance says of itself, with Redis's time; forget those long gone."""
        key, now = f"{scripts.PREFIX}instances:{service}", await self.now()
        await self._client.hset(key, instance, f"{now} {said}")
        await self._client.pexpire(key, _FORGOTTEN_MS)
        if now < self._swept_ms.get(service, 0) + _SWEEP_MS:  # all that others said is much to read
            return
        self._swept_ms[service] = now
        for name, kept in (await self._client.hgetall(key)).items():
            if now - int(_text(kept).partition(" ")[0]) > _FORGOTTEN_MS:
                await self._client.hdel(key, name)

    async def withdraw(self, service: str, instance: str) -> None:
        """Forget an instance."""
        await self._client.hdel(f"{scripts.PREFIX}instances:{service}", instance)

    async def instances(self, service: str) -> list[tuple[int, str]]:
        """Return how many milliseconds ago each instance spoke, and what it said."""
        now, found = await self.now(), []
        kept = await self._client.hgetall(f"{scripts.PREFIX}instances:{service}")
        for value in kept.values():
            seen, _, said = _text(value).partition(" ")
            found.append((now - int(seen), said))
        return found

    async def _kept_runs(self, jobs: Collection[str]) -> dict[str, list[Run]]:
        """Read all that is kept of some jobs, in two round trips."""
        pipe = self._client.pipeline(transaction=False)
        for job in jobs:
            pipe.lrange(f"{scripts.PREFIX}history:{job}", 0, -1)
        ids = dict(zip(jobs, await pipe.execute() if jobs else [], strict=True))
        for each in (run_id for listed in ids.values() for run_id in listed):
            pipe.hgetall(f"{scripts.PREFIX}run:{_text(each)}")
        rows = iter(await pipe.execute() if any(ids.values()) else [])
        return {
            job: [run for _ in listed if (run := _run_of(next(rows))) is not None]
            for job, listed in ids.items()
        }

    async def _run(self, script: str, *arguments: str | int) -> Any:
        # EVALSHA would save some bytes, and fail after each restart of Redis
        key = scripts.PREFIX + "counts"  # names the slot
        return await cast("Awaitable[Any]", self._client.eval(script, 1, key, *arguments))


def _run_of(got: Mapping[Any, Any]) -> Run | None:
    row: dict[str, Any] = {_text(key): _text(value) for key, value in got.items()}
    facts = {name: row[name] for name in Run.__dataclass_fields__ if name in row}
    facts |= {name: int(row[name]) for name in _NUMBERS if name in row}
    return Run(**facts) if facts else None


def _order(said: Any) -> Order:
    at_ms, _, facts = _text(said).partition(" ")
    return Order(**json.loads(facts), at_ms=int(at_ms))


def _orders_key(service: str) -> str:
    return f"{scripts.PREFIX}orders:{service}"


def _standing_key(service: str) -> str:
    return f"{scripts.PREFIX}standing:{service}"


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
