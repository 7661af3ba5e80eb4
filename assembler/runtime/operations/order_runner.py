"""Orders of operators → what this process does about them.

In: orders as the store has them. Out: a `OrderRunner`, which does each once: jobs run in the one process
that gets their claim, levels of loggers hold while their order does, mounts are made. What became of an
order here stands in `done`. Refused, as `OrderError`: an order whose target is not there.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from assembler.diagnostics.exceptions import failure_of
from assembler.diagnostics.span import printable
from assembler.plan.load import Plan
from assembler.runtime.operations.levels import LEVELS, Levels, known_loggers
from assembler.runtime.operations.link import StoreLink
from assembler.runtime.operations.orders import KINDS, MemoryOrders, Order, OrderStore
from assembler.runtime.report import Assembly
from assembler.runtime.scheduler.run import REPEATABLE

LONGEST_LEVEL = timedelta(hours=24)
_DONE_KEPT = 200


class OrderError(ValueError):
    """An order that nobody could carry out; the text says why."""


class OrderRunner:
    """Carries out the orders of one service in one process; `noted` is called after each."""

    def __init__(
        self,
        plan: Plan,
        assembly: Assembly,
        link: StoreLink,
        orders: OrderStore,
        service: str,
        noted: Callable[[], None],
    ) -> None:
        self.levels = Levels()
        self.done: dict[str, str] = {}
        self.running: set[asyncio.Task[None]] = set()
        self._plan = plan
        self._assembly = assembly
        self._link = link
        self._orders = orders
        self._service = service
        self._noted = noted
        self._carrying = asyncio.Lock()

    def known_job(self, id_: str) -> None:
        """Raise `OrderError` for a job that the manifest does not have."""
        if id_ not in {job.id for job in self._plan.jobs}:
            raise OrderError(f"no job is called `{printable(id_)}`")

    async def check(self, order: Order) -> None:
        """Raise `OrderError` for what could not be carried out, `OperationsAwayError`."""
        kind, target = order.kind, order.target
        if kind not in KINDS:
            raise OrderError(f"no order is called `{printable(kind)}`")
        if kind in {"run", "pause", "resume"}:
            self.known_job(target)
        elif kind == "open":
            if target not in self._assembly.lazy_mounts:
                raise OrderError(f"no lazy mount is called `{printable(target)}`")
        elif kind == "level":
            _check_level(order)
        else:
            await self._check_run(target)

    async def carry_out(self) -> None:
        """Look at the orders, and do here what is new. Raises `OperationsAwayError`."""
        async with self._carrying:  # an older answer must not undo what a newer one brought
            now_ms, orders = await self._link.ask(lambda: self._orders.open_orders(self._service))
            holding = [order for order in orders if order.holds(now_ms)]
            self.levels.end({order.target for order in holding if order.kind == "level"})
            for order in orders:
                if order.id not in self.done:
                    self._do(order, now_ms)
            self._pause({order.target for order in holding if order.kind == "pause"})

    def _pause(self, jobs: set[str]) -> None:
        """Hold ticks back: those that the store knows of are read by whoever claims one."""
        if self._assembly.jobs is None:
            return
        if isinstance(self._orders, MemoryOrders):
            self._assembly.jobs.pauses.here = jobs
        else:
            self._assembly.jobs.pauses.forget()

    async def _check_run(self, run_id: str) -> None:
        jobs = self._assembly.jobs
        store = None if jobs is None else jobs.setting.link.store
        run = None if store is None else await self._link.ask(lambda: store.run(run_id))
        if run is None or run.job not in jobs.jobs:
            raise OrderError("there is no such run")
        if run.state not in REPEATABLE:
            raise OrderError(f"the run is {run.state}: only one that ended badly is tried again")

    def _do(self, order: Order, now_ms: int) -> None:
        done = "carried out"
        if order.kind == "level" and order.holds(now_ms) and order.value is not None:
            left = (order.until_ms or now_ms) - now_ms
            self.levels.change(order.target, order.value, left / 1000)
        elif order.kind == "open" and order.target in self._assembly.lazy_mounts:
            self._assembly.lazy_mounts[order.target].want()
        elif order.kind in {"run", "retry"}:
            if self._assembly.jobs is None or not self._assembly.ready:
                return
            done = "begun"
            task = asyncio.create_task(self._run(order))
            self.running.add(task)
            task.add_done_callback(self.running.discard)
        self._note(order, done)

    def _note(self, order: Order, what: str) -> None:
        self.done.pop(order.id, None)
        self.done[order.id] = what
        while len(self.done) > _DONE_KEPT:
            del self.done[next(iter(self.done))]
        self._noted()

    async def _run(self, order: Order) -> None:
        """Run a job, in the one process that gets its claim."""
        jobs = self._assembly.jobs
        result = None
        try:
            if order.kind == "retry":
                result = await jobs.retry(order.target)
            elif order.target in jobs.jobs:
                result = await jobs.run_now(order.target, order.at_ms)
        except Exception as error:  # noqa: BLE001  # the store is away, or the process stops
            self._note(order, f"not run: {self._plan.secrets.scrub(failure_of(error))}")
            return
        outcome = "taken" if result is None else result.outcome
        self._note(order, "elsewhere" if outcome == "taken" else outcome)


def _check_level(order: Order) -> None:
    if order.target not in {each["name"] for each in known_loggers()}:
        raise OrderError(f"no logger is called `{printable(order.target)}`")
    if order.value not in LEVELS:
        raise OrderError(f"a level is one of {', '.join(LEVELS)}")
    longest = LONGEST_LEVEL // timedelta(milliseconds=1)
    if order.lasts_ms is None or not 0 < order.lasts_ms <= longest:
        raise OrderError("a level lasts for a time of at most 24 hours")
