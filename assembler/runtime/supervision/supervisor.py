"""A snapshot → the workers that serve it, and go on to serve what was tried.

In: a snapshot of a manifest, what a worker process does. Out: the status of the command, when all
is over. Each worker, also one that replaces another, gets the snapshot that was tried last, and
reads no manifest. A reload is all or nothing: the first new worker tries the new snapshot before it
runs a step of the start; then workers are replaced one by one, the new one serving before the old
one retires; where one fails, those already replaced go back. Signals that come meanwhile are one
more reload.

A worker that dies is replaced. Where that fails it is tried again, as long as another one serves:
else the service is over, with status 3, and whoever restarts it tells more.
"""

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE

from assembler.diagnostics.errors import AssemblerError, UsageError
from assembler.plan.snapshot import Snapshot
from assembler.runtime.listener import bind_any, configured, tell
from assembler.runtime.supervision.process import (
    Failure,
    Planned,
    Spawned,
    Target,
    WorkerError,
    WorkerOrder,
    WorkerProcess,
    spawn,
)

logger = logging.getLogger("uvicorn.error")

T = TypeVar("T")

_KEPT = 10  # snapshots
_LOOK_SECONDS = 2.0  # between two looks at the health of the workers
_CLOCK_SECONDS = 5.0  # for an old worker to hand its clock over
_FIRST_PAUSE_SECONDS = 0.5  # between tries to replace a worker
_LONGEST_PAUSE_SECONDS = 30.0
_LONGEST_TOLD = 4000  # characters of what became of a reload, for pages
_UNPLANNED_SECONDS = 10.0  # for a worker that has not come far to stop
_RETIRED_SECONDS = 30.0  # longer than the connections of a retiring worker are kept
_COUNTING = (signal.SIGTTIN, signal.SIGTTOU)
FIXED = ("host", "port", "uds", "fd", "workers", "runtime_dir")
"""What holds for the life of the parent."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What became of a reload: `status` 0 where it is live, 1 where it was refused, 2 for neither."""

    status: int
    text: str
    digest: str


@dataclass(slots=True)
class Request:
    """Somebody wants what `take` gives to go live; all who ask for the disk share one reload."""

    take: Callable[[], Snapshot]
    is_of_disk: bool = True
    expected: str | None = None  # a digest: what was reviewed
    answer: "asyncio.Future[Reloaded]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


Attendance = Callable[["Supervisor"], AbstractAsyncContextManager[Any]]


class Supervisor:
    """The parent of the workers of one service.

    `take` reads its manifest anew; `first` is a process for the first worker, where there is one.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        target: Target,
        take: Callable[[], Snapshot],
        failed: Callable[[AssemblerError], Failure],
        first: Spawned | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.history = {snapshot.digest: snapshot}
        self.reloads = {"ok": 0, "failed": 0}
        self.last_reload: dict[str, Any] | None = None
        self.planned: Planned | None = None
        self.workers: list[WorkerProcess] = []
        self._target = target
        self._first = first
        self._take = take
        self._failed = failed
        self._config: Config | None = None
        self._sockets: list[socket.socket] = []
        self._retiring: set[WorkerProcess] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests: asyncio.Queue[Request] = asyncio.Queue()
        self._stop = asyncio.Event()
        self._stopped_by: int | None = None
        self._status = 0
        self._is_told = False
        self._had_terminal = _has_terminal()

    async def run(self, attended: Attendance) -> Failure | int:
        """Serve until the end; return the status, or why a first worker did not come to serve.

        `attended` is entered once the address is bound: what is asked for then waits for the end of
        the start. Raises `UsageError` where the address is taken.
        """
        with self._signals():
            try:
                failure = await self._start()
                if failure is None and not self._stop.is_set():
                    async with attended(self):
                        failure = await self._run()
                return failure if failure is not None else self._status
            finally:
                await self._end_all()
                self._unbind()

    async def _run(self) -> Failure | None:
        failure = await self._start_all()
        if failure is None and not self._stop.is_set():
            self._notify("READY=1", f"STATUS=serves {self.snapshot.short}")
            self._spawn_task(self._reload_as_asked())
            self._spawn_task(self._look_after())
            await self._stop.wait()
        return failure

    def request(self, to: str | None = None, expected: str | None = None) -> Request:
        """Return what is to be asked: for a snapshot that is kept, or for what the disk has."""
        if to is None:
            return Request(self._take, expected=expected)
        return Request(partial(self._kept, to), is_of_disk=False)

    def _kept(self, digest: str) -> Snapshot:
        if digest not in self.history:
            raise UsageError(f"no snapshot `{digest}` is kept")
        return self.history[digest]

    @property
    def is_alone(self) -> bool:
        """Whether it has one worker."""
        return len(self.workers) == 1

    @property
    def stopped_by(self) -> int | None:
        """The signal that ended it."""
        return self._stopped_by

    async def reload(self, request: Request) -> Reloaded:
        """Wait until what is asked for is live, or refused."""
        await self._requests.put(request)
        return await request.answer

    # --- start and end

    async def _start(self) -> Failure | None:
        """Let the first worker read what is to be served, and bind its address."""
        first = self._new(self.snapshot, WorkerOrder(reloads=self.reloads))
        self.workers = [first]
        try:
            planned = await self._or_stopped(first.reached("planned"))
        except WorkerError as error:
            return None if self._stop.is_set() else error.failure
        if planned is None:
            return None
        self.planned = planned
        self._bind(planned)
        return None

    async def _start_all(self) -> Failure | None:
        count = self._configuration.workers
        self.workers += [
            self._new(self.snapshot, WorkerOrder(reloads=self.reloads)) for _ in range(1, count)
        ]
        serving = asyncio.gather(*(self._serving(worker) for worker in self.workers))
        try:
            await self._or_stopped(serving)
        except WorkerError as error:
            if not self._stop.is_set():
                self._stop.set()
                return error.failure
        if not self._stop.is_set():
            logger.info("Started parent process [%d]", os.getpid())
            self._is_told = True
            tell(self._configuration, self._sockets)
        return None

    async def _serving(self, worker: WorkerProcess) -> None:
        """Let a worker that needs no trial come to serve. Raises `WorkerError`."""
        await worker.reached("planned")
        self._admit(worker)
        await worker.reached("serving")

    async def _or_stopped(self, wanted: Awaitable[T]) -> T | None:
        """Return what is waited for; None where the order to stop comes first."""
        task = asyncio.ensure_future(wanted)
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            for each in (task, stop):
                each.cancel()
            await asyncio.gather(task, stop, return_exceptions=True)

    @property
    def _configuration(self) -> Config:
        if self._config is None:
            raise RuntimeError("nothing is bound yet")
        return self._config

    def _bind(self, planned: Planned) -> None:
        self._config = configured(planned.options, planned.max_header_bytes)
        self._sockets = bind_any(self._config)

    def _unbind(self) -> None:
        for bound in self._sockets:
            bound.close()
        if self._config is not None and self._config.uds:
            Path(self._config.uds).unlink(missing_ok=True)

    def _new(self, snapshot: Snapshot, order: WorkerOrder) -> WorkerProcess:
        spawned, self._first = self._first or spawn(self._target), None
        return WorkerProcess(spawned, snapshot, order, self._on_end)

    def _admit(self, worker: WorkerProcess) -> None:
        worker.admit(self._sockets)

    async def _end_all(self) -> None:
        """End every worker, with as much time as its stop may take."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._notify("STOPPING=1")
        seconds = _UNPLANNED_SECONDS if self.planned is None else self.planned.stop_seconds
        everybody = {*self.workers, *self._retiring}
        await asyncio.gather(*(self._end(worker, seconds) for worker in everybody))
        if self._is_told:
            logger.info("Stopping parent process [%d]", os.getpid())

    async def _end(self, worker: WorkerProcess, seconds: float | None) -> None:
        worker.is_retiring = True
        if self._stopped_by == signal.SIGINT:
            worker.tell("interrupt")
        else:
            worker.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds):
                await worker.gone()
        except TimeoutError:
            logger.error("Worker [%d] did not stop in time, and is killed", worker.pid)  # noqa: TRY400  # no fault of ours to trace
            worker.kill()
            await worker.gone()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, *_COUNTING)
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _on_signal(self, number: int) -> None:
        if number in _COUNTING:  # uvicorn's parent takes them, and Python would stop at them
            logger.warning("The number of workers is `server.workers`: it needs a restart")
            return
        if number == signal.SIGHUP and not (self._had_terminal and not _has_terminal()):
            self._requests.put_nowait(Request(self._take))
            return
        if self._stopped_by is None:
            self._stopped_by = number
            self._stop.set()
            return
        for worker in {*self.workers, *self._retiring}:  # once more: end at once
            if number == signal.SIGINT:
                worker.tell("interrupt", True)
            else:
                worker.signal(number)

    def _spawn_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- health

    async def _look_after(self) -> None:
        """Kill workers that answer nothing: they are replaced then."""
        while True:
            for worker in {*self.workers, *self._retiring}:
                worker.tell("ping")
            await asyncio.sleep(_LOOK_SECONDS)
            limit = self._configuration.timeout_worker_healthcheck
            for worker in {*self.workers, *self._retiring}:
                silent = time.monotonic() - worker.heard_at
                if worker.has_spoken and silent > limit + _LOOK_SECONDS:
                    logger.error("Worker [%d] hangs, and is killed", worker.pid)
                    worker.kill()

    def _on_end(self, worker: WorkerProcess) -> None:
        self._retiring.discard(worker)
        if worker.is_retiring or self._stop.is_set() or worker not in self.workers:
            return
        if self._config is None or worker.failure is not None:
            return  # it failed to start: whoever waits for it is told
        logger.warning("Worker [%d] died", worker.pid)
        self._spawn_task(self._replace_dead(worker))

    async def _replace_dead(self, dead: WorkerProcess) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while dead in self.workers:
            fresh = self._new(
                dead.snapshot, WorkerOrder(reloads=dict(self.reloads), last_reload=self.last_reload)
            )
            try:
                await self._serving(fresh)
            except WorkerError as error:
                logger.error("Worker [%d] cannot be replaced: %s", dead.pid, error)  # noqa: TRY400  # of another process
                if not any(worker.is_serving for worker in self.workers):
                    self._status = STARTUP_FAILURE
                    self._stop.set()
                    return
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                continue
            except asyncio.CancelledError:
                self._retiring.add(fresh)
                raise
            if dead in self.workers:
                self.workers[self.workers.index(dead)] = fresh
            else:  # a reload was faster
                self._retire(fresh)

    def _retire(self, worker: WorkerProcess) -> None:
        """Let a worker end what is connected to it."""
        if worker.is_gone:
            return
        worker.is_retiring = True
        self._retiring.add(worker)
        worker.tell("retire")
        self._spawn_task(self._bury(worker))

    async def _bury(self, worker: WorkerProcess) -> None:
        stop = None if self.planned is None else self.planned.stop_seconds
        seconds = None if stop is None else stop + _RETIRED_SECONDS
        try:
            async with asyncio.timeout(seconds):
                await worker.gone()
        except TimeoutError:
            logger.error("Worker [%d] did not retire in time, and is killed", worker.pid)  # noqa: TRY400  # as above
            await worker.end()

    # --- reload

    async def _reload_as_asked(self) -> None:
        while True:
            requests = [await self._requests.get()]
            while requests[0].is_of_disk and not self._requests.empty():
                later = self._requests.get_nowait()
                if not later.is_of_disk:
                    self._requests.put_nowait(later)
                    break
                requests.append(later)
            try:
                await self._answer(requests)
            except asyncio.CancelledError:
                self._give(requests, Reloaded(2, "the server is stopping", self.snapshot.digest))
                raise
            except Exception:  # a reload that fails leaves what runs as it is
                logger.exception("the reload failed")
                self._give(requests, Reloaded(2, "the reload failed", self.snapshot.digest))

    def _give(self, requests: list[Request], reloaded: Reloaded) -> None:
        for request in requests:
            if not request.answer.done():
                request.answer.set_result(reloaded)

    async def _answer(self, requests: list[Request]) -> None:
        self._notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        began = time.monotonic()
        reloaded = await self._reloaded(requests)
        if reloaded is not None:
            took = time.monotonic() - began
            self._tell(reloaded, took)
            self._give(requests, reloaded)
        state = "READY=1", f"STATUS=serves {self.snapshot.short}"
        self._notify(*state)

    async def _reloaded(self, requests: list[Request]) -> Reloaded | None:
        """Read what is wanted, and make it live; None where nobody wants any more what there is."""
        running = self.snapshot.digest
        try:
            snapshot = await asyncio.to_thread(requests[0].take)
        except AssemblerError as error:
            failure = self._failed(error)
            return Reloaded(failure.status, failure.text, running)
        others = [each for each in requests if each.expected not in {None, snapshot.digest}]
        changed = "the manifest has changed since it was reviewed: reload again"
        self._give(others, Reloaded(1, f"error: {changed}", running))
        if len(others) == len(requests):
            return None
        try:
            await self._go_live(snapshot)
        except WorkerError as error:
            return Reloaded(1, error.failure.text, running)
        return Reloaded(0, "", snapshot.digest)

    def _tell(self, reloaded: Reloaded, seconds: float) -> None:
        outcome = "failed" if reloaded.status else "ok"
        self.reloads[outcome] += 1
        self.last_reload = {
            "outcome": outcome,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(seconds, 3),
            "digest": reloaded.digest,
            "text": reloaded.text[:_LONGEST_TOLD],
        }
        for worker in self.workers:
            worker.tell("reloads", (dict(self.reloads), self.last_reload))
        if reloaded.status:
            said = "reload refused after %.1f s, %s goes on\n%s"
            logger.error(said, seconds, self.snapshot.short, reloaded.text)
        else:
            logger.info("reloaded in %.1f s: %s is live", seconds, self.snapshot.short)

    async def _go_live(self, snapshot: Snapshot) -> None:
        """Replace all workers by workers of `snapshot`. Raises `WorkerError`, all undone."""
        for worker in set(self._retiring):  # of the reload before: no more than two generations
            await worker.gone()
        previous = self.snapshot
        replaced: list[int] = []
        try:
            planned = await self._replace(0, snapshot, is_trial=True)
            replaced.append(0)
            for number in range(1, len(self.workers)):
                await self._replace(number, snapshot)
                replaced.append(number)
        except WorkerError as error:
            text = error.failure.text
            if replaced:
                text += f"\n{await self._go_back(previous, replaced)}"
            raise WorkerError(Failure(text, error.failure.status)) from error
        self.snapshot = snapshot
        if planned is not None:
            self.planned = planned
            self._config = configured(planned.options, planned.max_header_bytes)
        self._keep(snapshot)

    async def _go_back(self, previous: Snapshot, replaced: list[int]) -> str:
        """Let workers of the snapshot before replace those of the new one; say what came of it."""
        lost = 0
        for number in replaced:
            try:
                await self._replace(number, previous)
            except WorkerError as error:
                lost += 1
                logger.error("a worker cannot go back: %s", error)  # noqa: TRY400  # of another process
        if lost:
            return f"{lost} of {len(replaced)} replaced workers could not go back, and serve on"
        workers = "worker" if len(replaced) == 1 else "workers"
        return f"{len(replaced)} replaced {workers} went back; startup SQL that was applied stays"

    async def _replace(
        self, number: int, snapshot: Snapshot, *, is_trial: bool = False
    ) -> Planned | None:
        """Let a worker of `snapshot` serve in the place of one. Raises `WorkerError`."""
        order = WorkerOrder(
            is_trial=is_trial,
            applies_sql=is_trial,
            holds_clock=True,
            reloads=dict(self.reloads),
            last_reload=self.last_reload,
        )
        fresh = self._new(snapshot, order)
        self._retiring.add(fresh)  # until it serves it is nobody's
        try:
            planned = await self._tried(fresh, is_trial=is_trial)
        except BaseException:
            await self._drop(fresh)
            raise
        old, self.workers[number] = self.workers[number], fresh
        self._retiring.discard(fresh)
        await self._pass_clock(old, fresh)
        self._retire(old)
        return planned

    async def _tried(self, fresh: WorkerProcess, *, is_trial: bool) -> Planned | None:
        limit = 60.0 if self.planned is None else self.planned.reload_timeout
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(limit) as bound:
                planned: Planned = await fresh.reached("planned")
                limit = planned.reload_timeout
                bound.reschedule(began + limit)
                self._refuse_fixed(planned)
                self._admit(fresh)
                if is_trial:
                    await fresh.reached("tried")
                    fresh.tell("go")
                await fresh.reached("serving")
        except TimeoutError:
            where = "its imports and constructors" if fresh.step is None else fresh.step
            text = (
                f"error: worker [{fresh.pid}] did not serve within {limit:g} s "
                f"(`server.reload_timeout`): it was at {where}"
            )
            raise WorkerError(Failure(text, 1)) from None
        return planned

    def _refuse_fixed(self, planned: Planned) -> None:
        """Refuse what the parent settled when it started."""
        if self.planned is None:
            return
        said = []
        for key in FIXED:
            old, new = (self._fixed(each, key) for each in (self.planned, planned))
            if old != new:
                said.append(f"error: `server.{key}` goes from `{old}` to `{new}`")
        if said:
            remedy = "  = help: a reload cannot change that: stop the server, and start it again"
            raise WorkerError(Failure("\n".join([*said, remedy]), 1))

    @staticmethod
    def _fixed(planned: Planned, key: str) -> Any:
        return planned.runtime_dir if key == "runtime_dir" else planned.options.get(key)

    async def _drop(self, worker: WorkerProcess) -> None:
        await worker.end(_CLOCK_SECONDS)
        self._retiring.discard(worker)

    async def _pass_clock(self, old: WorkerProcess, fresh: WorkerProcess) -> None:
        """Stop the clock of a worker, and let the other one go on with it."""
        idle: list[str | None] = []
        old.on_idle = idle.append
        old.tell("clock-off")
        told = None
        with suppress(TimeoutError, WorkerError):
            async with asyncio.timeout(_CLOCK_SECONDS):
                told = await old.reached("clock")
        fresh.on_replaced = partial(old.tell, "cut")
        fresh.tell("clock", told)
        old.on_idle = partial(fresh.tell, "idle")
        for job in idle:  # it ended while nobody had the clock
            fresh.tell("idle", job)

    def _keep(self, snapshot: Snapshot) -> None:
        self.history.pop(snapshot.digest, None)
        self.history[snapshot.digest] = snapshot
        while len(self.history) > _KEPT:
            del self.history[next(iter(self.history))]

    def _notify(self, *states: str) -> None:
        """Tell systemd (sd_notify(3)), where it has asked for it."""
        address = os.environ.get("NOTIFY_SOCKET")
        if not address or not hasattr(socket, "AF_UNIX"):
            return
        place = "\0" + address[1:] if address.startswith("@") else address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto("\n".join(states).encode(), place)


def _has_terminal() -> bool:
    """Tell whether there is a terminal: one that is closed sends SIGHUP, which then means the end."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
