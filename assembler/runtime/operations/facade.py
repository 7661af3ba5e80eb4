"""An application that runs → what its operators see of all replicas, and what they order.

In: the plan, the report of this process, the scheduler's store where there is one. Out: `Operations`,
which stands at `app.state.assembly.operations`: plain data, without values of the environment and
without secrets. Each process tells the others by the store's table of instances what it runs, how it is
and what it has counted, every ten seconds; orders are rows there, which each process reads every two
seconds. Without a store both are this process's alone. Refused: orders whose target is not there.

Where the store does not answer, what this process knows is told, and why it is no more.
"""

import asyncio
import contextlib
import json
import logging
import os
import random
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from assembler.diagnostics.span import printable
from assembler.plan.fingerprint import grouped, read_fingerprint
from assembler.plan.load import Plan
from assembler.plan.sections.scheduler import service_name
from assembler.runtime.operations import figures as counted
from assembler.runtime.operations.levels import known_loggers
from assembler.runtime.operations.link import ANSWER_SECONDS, OperationsAwayError, StoreLink
from assembler.runtime.operations.order_runner import OrderError, OrderRunner
from assembler.runtime.operations.orders import Kind, MemoryOrders, Order, OrderStore, new_order
from assembler.runtime.registry import ALIVE_MS, Registry
from assembler.runtime.report import Assembly, log
from assembler.runtime.scheduler.run import RunQuery, State
from assembler.runtime.task import within

T = TypeVar("T")

_BEAT_SECONDS = 10.0
_LOOK_SECONDS = 2.0  # between looks at the orders
_FRESH_SECONDS = 1.0  # for which all who look get the same
_SAME_SECONDS = 10.0  # for which what processes run is believed to be the same
_CHECK_SECONDS = 1.0
_DAY_MS = 86_400_000
MOST_RUNS = 500


@dataclass(frozen=True, slots=True)
class Sources:
    """What the builder of the application knows of it; each is asked when somebody looks."""

    explain: Callable[[], dict[str, Any]]
    options: Callable[[], list[dict[str, Any]]]
    timetable: Callable[[datetime], list[dict[str, Any]]]
    stacks: Callable[[], Sequence[counted.Stack]]


class Operations:
    """What pages for operators ask."""

    def __init__(
        self,
        plan: Plan,
        assembly: Assembly,
        registry: Registry,
        store: Any,
        sources: Sources,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.service = service_name(plan.manifest)
        self._plan = plan
        self._assembly = assembly
        self._registry = registry
        self._store = store if callable(getattr(store, "announce", None)) else None
        self._sources = sources
        self._clock = clock
        self._link = StoreLink(self._store, plan.secrets.scrub)
        self._orders: OrderStore = (
            store if callable(getattr(store, "open_orders", None)) else MemoryOrders(clock)
        )
        self._runner = OrderRunner(
            plan, assembly, self._link, self._orders, self.service, self._noted
        )
        self._key = plan.secrets.key()
        self._tasks: list[asyncio.Task[None]] = []
        self._explained: dict[str, Any] | None = None
        self._kept: dict[str, tuple[float, Any]] = {}
        self._changes = 0
        self._parsed: dict[str, tuple[str, Any]] = {}
        self._resources: tuple[float, dict[str, str]] = (0.0, {})
        self._beaten = asyncio.Event()
        self._leaving = asyncio.Event()

    # --- this process, and what it tells the others

    async def open(self) -> None:
        """Begin to tell the others, and to look at the orders; nobody waits for the store."""
        if not self._tasks:
            self._beaten, self._leaving = asyncio.Event(), asyncio.Event()
            self._tasks = [asyncio.create_task(work()) for work in (self._beat, self._watch)]

    async def aclose(self) -> None:
        """End it, once the store has answered; runs that were ordered are the scheduler's to end."""
        tasks, self._tasks = self._tasks, []
        self._leaving.set()
        self._beaten.set()
        if tasks:
            await asyncio.wait(tasks, timeout=ANSWER_SECONDS)
        rest = [task for task in (*tasks, *self._runner.running) if not task.done()]
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest)
        self._runner.levels.end(())
        if self._store is not None and self._link.away is None and tasks:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(ANSWER_SECONDS):
                    await self._store.withdraw(self._figures_name, self._registry.instance)

    async def this_instance(self) -> dict[str, Any]:
        """Return how this process is; what it has counted is in `own_figures`."""
        assembly, plan = self._assembly, self._plan
        supervision = assembly.supervision
        return {
            "instance": self._registry.instance,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "manifest": plan.name,
            "version": plan.manifest.app.version,
            "digest": plan.digest,
            "state": assembly.state,
            "ready": assembly.ready,
            "started_ms": None
            if assembly.started_at is None
            else round(assembly.started_at * 1000),
            "resources": await self._resource_states(),
            "background": [
                {"id": loop.id, "status": loop.status, "crashes": loop.crashes, "error": loop.error}
                for loop in assembly.loops.values()
            ],
            "lazy": [
                {
                    "id": lazy.id,
                    "built": lazy.built,
                    "building": lazy.building,
                    "failures": lazy.failures,
                    "error": lazy.error,
                }
                for lazy in assembly.lazy.values()
            ],
            "reloads": None if supervision is None else dict(supervision.reloads),
            "last_reload": None if supervision is None else supervision.last_reload,
            "levels": self._runner.levels.as_dict(),
            "done": dict(self._runner.done),
        }

    def own_figures(self) -> dict[str, Any]:
        """Return what this process has counted."""
        return counted.own_figures(self._sources.stacks(), self._key)

    async def instances(self) -> list[dict[str, Any]]:
        """Return each process of the service as it was some seconds ago (`age_ms`), this one as it is."""
        return await self._shared("instances", _FRESH_SECONDS, self._instances)

    async def drift(self) -> dict[str, Any]:
        """Return which processes run the same: `groups`, each with its `digest` and `instances`."""
        return await self._shared("drift", _SAME_SECONDS, self._drift)

    async def figures(self) -> dict[str, Any]:
        """Return the numbers of all processes together, as `figures.merged` gives them."""
        return await self._shared("figures", _FRESH_SECONDS, self._merged)

    def store_state(self) -> dict[str, Any]:
        """Return where all this comes from: `kind`, whether it is `shared`, why it is `away`.

        `tables` says what is to be run where they are behind; `runs_kept` is how many runs of a job
        are kept, None where `retention` bounds them; `orders_shared` whether all carry orders out.
        """
        kind = getattr(self._store, "kind", None)
        return {
            "kind": kind or ("memory" if self._store is None else type(self._store).__name__),
            "shared": self._store is not None,
            "away": self._link.away,
            "runs_kept": getattr(self._store, "runs_kept", 100 if self._store is None else None),
            "orders_shared": not isinstance(self._orders, MemoryOrders)
            and not self._link.is_behind,
            "tables": self._link.state(),
        }

    # --- what it is made of

    async def explanation(self) -> dict[str, Any]:
        """Return `explain --format json` of the whole application, each layer and route with numbers."""
        return await self._shared("explanation", _FRESH_SECONDS, self._explanation)

    async def limits(self) -> list[dict[str, Any]]:
        """Return each limit: its layer, its rate, what it admitted and refused, whom it refused most."""
        figures = await self.figures()
        names = {part.id: part.target.path for part in self._limiters()}
        found = []
        for id_, layer in figures["layers"].items():
            for name, quota, seconds in layer["limits"]:
                decided = figures["policies"].get(name)
                measured = figures["measured"]
                found.append(
                    {
                        "layer": id_,
                        "use": names.get(id_),
                        "name": name,
                        "quota": quota,
                        "period_seconds": seconds,
                        "admitted": int(decided["admitted"])
                        if decided
                        else 0
                        if measured
                        else None,
                        "refused": int(decided["refused"]) if decided else 0 if measured else None,
                        "refused_keys": layer["refused_keys"],
                    }
                )
        return found

    def options(self) -> list[dict[str, Any]]:
        """Return each value of the manifest as it is written, with the `file` and `line` it is from."""
        found: list[dict[str, Any]] | None = self._kept.get("options", (0.0, None))[1]
        if found is None:
            found = self._sources.options()
            self._kept["options"] = (float("inf"), found)
        return found

    def timeline(self) -> list[dict[str, Any]]:
        """Return the steps of this process's start (and stop), each with when it began."""
        steps: list[dict[str, Any]] = self._assembly.as_dict()["steps"]
        return steps

    def loggers(self) -> list[dict[str, Any]]:
        """Return the loggers of this process; `change` is the one that holds for a while."""
        changes = self._runner.levels.as_dict()
        return [{**each, "change": changes.get(each["name"])} for each in known_loggers()]

    # --- jobs

    async def jobs(self) -> dict[str, Any]:
        """Return the jobs: clock, next fires, last run, failures of a day, whether they are paused.

        `unknown` says why nothing is known of their runs, where it is so.
        """
        return await self._shared("jobs", _FRESH_SECONDS, self._jobs)

    async def runs(
        self,
        job: str,
        *,
        states: Sequence[State] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
    ) -> list[dict[str, Any]]:
        """Return runs of a job, the latest tick first, at most 500.

        Raises `OrderError` for a job that is not there, `OperationsAwayError`.
        """
        self._runner.known_job(job)
        query = RunQuery(job, tuple(states), limit=min(limit, MOST_RUNS))
        if since is not None:
            query = replace(query, since_ms=round(since.timestamp() * 1000))
        if until is not None:
            query = replace(query, until_ms=round(until.timestamp() * 1000))
        store = self._run_store()
        if store is None:
            return []
        found = await self._link.ask(partial(store.runs, query))
        return [run.as_dict() for run in found]

    # --- orders

    async def orders(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the last orders, the latest first, with what became of them in which process.

        Raises `OperationsAwayError`.
        """
        await self._look_at_tables()
        if self._link.is_behind:
            return []
        found = await self._link.ask(partial(self._orders.orders, self.service, limit))
        told = {each["instance"]: each["done"] for each in await self.instances()}
        return [
            {
                **order.as_dict(),
                "until_ms": order.until_ms,
                "done": {name: done[order.id] for name, done in told.items() if done.get(order.id)},
            }
            for order in found
        ]

    async def order(
        self,
        kind: Kind,
        target: str,
        *,
        actor: str,
        value: str | None = None,
        lasts: timedelta | None = None,
    ) -> Order:
        """Give an order, which is written down first, and carry it out here.

        `run`, `pause` and `resume` take a job, `retry` the ID of a run, `level` a logger with the
        level as `value` and how long it `lasts`, `open` a lazy mount. Raises `OrderError` for what
        is not there, `OperationsAwayError`.
        """
        order = new_order(kind, target, _actor(actor), value, _milliseconds(lasts))
        await self._runner.check(order)
        await self._look_at_tables()
        if self._link.is_behind:
            raise OperationsAwayError("its tables have no place for orders yet")
        given = await self._link.ask(partial(self._orders.give, self.service, order))
        log(
            logging.INFO,
            f"order `{given.kind}` for `{printable(given.target)}` by {printable(given.actor)}",
        )
        self._forget("jobs")
        await self._runner.carry_out()
        return given

    # --- how it is done

    @property
    def _figures_name(self) -> str:
        return f"figures {self.service}"

    def _scrub(self, text: str) -> str:
        return self._plan.secrets.scrub(text)

    def _run_store(self) -> Any:
        """Return the store that has runs to show; one of somebody's own may have none."""
        jobs = self._assembly.jobs
        store = None if jobs is None else jobs.setting.link.store
        kept = getattr(store, "store", store)
        return store if callable(getattr(kept, "runs", None)) else None

    def _limiters(self) -> list[Any]:
        scoped = [item for part in self._plan.routes for item in part.scoped]
        return [*self._plan.middleware, *scoped]

    async def _shared(self, name: str, seconds: float, make: Callable[[], Awaitable[T]]) -> T:
        """Return what was made for another who looks, while it is fresh."""
        until, kept = self._kept.get(name, (0.0, None))
        if time.monotonic() < until and kept is not None:
            return kept  # type: ignore[no-any-return]  # what `make` gave
        changes = self._changes
        made = await make()
        if changes == self._changes:  # else it may have been read before
            self._kept[name] = (time.monotonic() + seconds, made)
        return made

    def _forget(self, name: str) -> None:
        """Let who looks from now on see what this process has just changed."""
        self._kept.pop(name, None)
        self._changes += 1

    async def _instances(self) -> list[dict[str, Any]]:
        said, rows = await asyncio.gather(self.this_instance(), self._rows())  # a page waits once
        own = {**said, "age_ms": 0}
        found = [own]
        for age, said in rows:
            told = self._told(said) if age < ALIVE_MS else None
            if told is not None and told.get("instance") != own["instance"]:
                found.append({**told, "age_ms": age})
        found.sort(key=lambda each: (each["host"], each["pid"], each["instance"]))
        return found

    async def _rows(self) -> list[tuple[int, str]]:
        """Return what each process said of itself, and how many milliseconds ago."""
        rows: list[tuple[int, str]] = []
        if self._store is not None:
            with contextlib.suppress(OperationsAwayError):
                rows = await self._link.ask(partial(self._store.instances, self._figures_name))
        return rows

    def _told(self, said: str) -> dict[str, Any] | None:
        """Read what an instance said; what is no such thing, as of another version, is left out."""
        try:
            told = json.loads(said)
            name = str(told["instance"])
        except (ValueError, KeyError, TypeError):
            return None
        known = self._parsed.get(name)
        if known is None or known[0] != said:
            self._parsed[name] = (said, told)
        return told if {"host", "pid", "figures", "digest"} <= told.keys() else None

    async def _merged(self) -> dict[str, Any]:
        others = [each["figures"] for each in await self.instances() if "figures" in each]
        return counted.merged([self.own_figures(), *others])

    async def _explanation(self) -> dict[str, Any]:
        if self._explained is None:
            self._explained = await asyncio.to_thread(self._sources.explain)
        base, figures = self._explained, await self.figures()
        layers = [self._layer(layer, figures) for layer in base["middleware"]]
        numbers: Sequence[Any] = [None] * len(base["routes"])
        if figures["measured"]:
            listed = ((route["path"], route["methods"]) for route in base["routes"])
            numbers = counted.of_routes(figures, listed)
        routes = [
            {**route, "figures": number}
            for route, number in zip(base["routes"], numbers, strict=True)
        ]
        told = {
            "measured": figures["measured"],
            "total": figures["total"] if figures["measured"] else None,
            "in_flight": figures["in_flight"],
            "websockets": figures["websockets"],
            "unrouted": counted.unrouted(figures),
        }
        return {**base, "middleware": layers, "routes": routes, "figures": told}

    async def _drift(self) -> dict[str, Any]:
        own = self._registry.fingerprint
        running = [] if own is None else [(self._registry.instance, own)]
        away = None
        if self._store is not None:
            try:
                rows = await self._link.ask(partial(self._store.instances, self.service))
            except OperationsAwayError as error:
                rows, away = [], str(error)
            for age, said in rows:
                if age >= ALIVE_MS:
                    continue
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    told = json.loads(said)
                    if told["instance"] != self._registry.instance:
                        running.append((str(told["instance"]), read_fingerprint(told)))
        groups = grouped(running)
        return {
            "known": bool(running) and away is None,
            "differs": len(groups) > 1,
            "groups": [
                {"digest": group.fingerprint.digest, "instances": list(group.instances)}
                for group in groups
            ],
        }

    async def _resource_states(self) -> list[dict[str, Any]]:
        """Return each resource: `open`, `degraded` or `away`, and its last error."""
        assembly = self._assembly
        until, lost = self._resources
        if time.monotonic() >= until and assembly.ready:
            asked = {
                id_: check for id_, check in assembly.checks.items() if id_ not in assembly.degraded
            }
            answers = await asyncio.gather(*(_asked(check) for check in asked.values()))
            lost = {
                id_: self._scrub(reason)
                for id_, reason in zip(asked, answers, strict=True)
                if reason is not None
            }
            self._resources = (time.monotonic() + 2 * _CHECK_SECONDS, lost)
        steps = {step.id: step for step in assembly.steps if step.phase == "resource"}
        found = []
        for part in self._plan.resources:
            step = steps.get(part.id)
            error = assembly.degraded.get(part.id) or lost.get(part.id)
            state = "degraded" if part.id in assembly.degraded else "away" if error else "open"
            if step is None:
                state = "given"
            found.append(
                {
                    "id": part.id,
                    "use": part.target.path,
                    "state": state,
                    "error": error,
                    "milliseconds": None if step is None else step.milliseconds,
                    "note": assembly.notes.get(part.id),
                }
            )
        return found

    async def _jobs(self) -> dict[str, Any]:
        now = datetime.fromtimestamp(self._clock(), UTC)
        told = self._sources.timetable(now)
        jobs, store = self._assembly.jobs, self._run_store()
        ids = [job["id"] for job in told]
        last: Mapping[str, Any] = {}
        failures: Mapping[str, int] = {}
        paused: dict[str, Order] = {}
        unknown = None if store is not None or not told else "nobody here knows their runs"
        if store is not None:
            try:
                last = await self._link.ask(partial(store.last_runs, ids))
                failures = await self._link.ask(partial(store.failures, ids, _DAY_MS))
                time_ms, orders = await self._link.ask(
                    partial(self._orders.open_orders, self.service)
                )
                paused = {o.target: o for o in orders if o.kind == "pause" and o.holds(time_ms)}
            except OperationsAwayError as error:
                unknown = str(error)
        for job in told:
            run, pause = last.get(job["id"]), paused.get(job["id"])
            job["last"] = None if run is None else run.as_dict()
            job["failures"] = None if unknown else failures.get(job["id"], 0)
            job["paused"] = None if pause is None else {"by": pause.actor, "at_ms": pause.at_ms}
        enabled = self._plan.manifest.scheduler.enabled
        return {"enabled": enabled, "here": jobs is not None, "unknown": unknown, "jobs": told}

    def _layer(self, layer: dict[str, Any], figures: Mapping[str, Any]) -> dict[str, Any]:
        """Add the numbers that are known of a layer: of all requests, or of what it decided."""
        if layer["id"] == figures["layer"]:
            return {**layer, "figures": figures["total"]}
        said = figures["layers"].get(layer["id"])
        if said is None or not figures["measured"]:
            return {**layer, "figures": None}
        decided = [figures["policies"].get(name, {}) for name, *_ in said["limits"]]
        admitted = max((int(each.get("admitted", 0)) for each in decided), default=0)
        refused = sum(int(each.get("refused", 0)) for each in decided)
        return {**layer, "figures": {"admitted": admitted, "refused": refused}}

    async def _look_at_tables(self) -> None:
        """Know how far the tables are; where nothing works in the background, bring them up here."""
        await (self._link.look() if self._tasks else self._link.bring_up())

    def _noted(self) -> None:
        """Let the others hear of it at once."""
        self._forget("instances")
        self._beaten.set()

    # --- in the background

    async def _beat(self) -> None:
        """Tell the others, every ten seconds and after each order."""
        while not self._leaving.is_set():
            self._beaten.clear()
            if self._store is not None:
                with contextlib.suppress(Exception):  # pages say that the store is away
                    said = {**await self.this_instance(), "figures": self.own_figures()}
                    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
                    instance = self._registry.instance
                    announce = partial(self._store.announce, self._figures_name, instance, text)
                    await self._link.ask(announce)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BEAT_SECONDS):
                    await self._beaten.wait()

    async def _watch(self) -> None:
        """Look at the orders, and keep levels for as long as they hold."""
        while not self._leaving.is_set():
            try:
                await self._link.bring_up()
                if not self._link.is_behind:
                    await self._runner.carry_out()
            except OperationsAwayError:
                pass  # pages say so
            except Exception:  # a store of one's own may answer anything
                logging.getLogger("assembler").exception("the orders could not be read")
            self._runner.levels.end()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS * random.uniform(0.75, 1)):  # noqa: S311  # no secret
                    await self._leaving.wait()


async def _asked(check: Callable[[], Awaitable[str | None]]) -> str | None:
    try:
        return await within(_CHECK_SECONDS, check)
    except Exception as error:  # noqa: BLE001  # a resource may raise anything
        return (
            f"no answer within {_CHECK_SECONDS:g} s"
            if isinstance(error, TimeoutError)
            else (type(error).__name__)
        )


def _actor(name: str) -> str:
    plain = " ".join(printable(name).split())[:100]
    if not plain:
        raise OrderError("an order needs the name of who gives it")
    return plain


def _milliseconds(lasts: timedelta | None) -> int | None:
    return None if lasts is None else lasts // timedelta(milliseconds=1)
