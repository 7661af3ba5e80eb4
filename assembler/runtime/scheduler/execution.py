"""One claimed tick → its end.

In: a job, and the claim that this process holds. Out: a `Run` that has ended, as the store has it. The claim
is renewed at a third of its lease; a run that no longer holds it cancels itself and records
nothing. A run that takes too long is cancelled, and holds its claim until it has really ended, so
that a thread or a task which ignores that is never run beside. A job may raise
anything, and only its own run ends by it.
"""

import asyncio
import asyncio.tasks
import contextlib
import logging
import os
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from assembler.diagnostics.exceptions import failure_of
from assembler.diagnostics.span import printable
from assembler.manifest.duration import duration_text
from assembler.runtime.scheduler.context import JobContext
from assembler.runtime.scheduler.job import ScheduledJob
from assembler.runtime.scheduler.run import Ending, Run, State, milliseconds, moment
from assembler.runtime.scheduler.store_client import StoreAwayError, StoreClient
from assembler.runtime.task import StepError

_STOP_SECONDS = 1.0  # for a cancelled run to clean up, when the process stops
_RETRY_SECONDS = 0.5  # between tries to record an end
_LONGEST_ERROR = 2000  # characters of it that are kept


@dataclass(frozen=True, slots=True)
class Setting:
    """What all runs of a process share; `enter` is called with a run's ID, in the run's context."""

    link: StoreClient
    lease: timedelta
    scrub: Callable[[str], str] = str
    enter: Callable[[str], Any] | None = None

    @property
    def owner(self) -> str:
        """Return who runs here; a parent may have made the application for its children."""
        return f"{socket.gethostname()}:{os.getpid()}"

    @property
    def lease_ms(self) -> int:
        """Return the lease in milliseconds."""
        return self.lease // timedelta(milliseconds=1)


class Execution:
    """A run, from its claim to its end."""

    def __init__(
        self, setting: Setting, job: ScheduledJob, fire_ms: int, run_id: str, attempt: int = 1
    ) -> None:
        self.setting = setting
        self.job = job
        self.fire_ms = fire_ms
        self.run_id = run_id
        self.attempt = attempt
        self._log = RunLog(job.id, fire_ms, run_id, setting.scrub)
        self._say = self._log.say
        self._store = setting.link.store
        self._lease_seconds = setting.lease.total_seconds()
        self._renewed = time.monotonic()
        self._task: asyncio.Task[None] | None = None
        self._cut: State | None = None  # why it was cancelled, if it was

    async def run(self, since_ms: int, jitter_seconds: float = 0.0) -> Run:
        """Do the job, claimed `since_ms` after its tick, and record its end.

        One that was claimed before its tick, as clocks differ, waits for it. Raises CancelledError
        where the process stops; the end is recorded then, too.
        """
        wait = max(0.0, -since_ms / 1000) + jitter_seconds
        lag_ms = max(0, since_ms) + round(jitter_seconds * 1000)
        began = time.perf_counter() + wait
        work = self._task = asyncio.create_task(self._work(wait))
        beat = asyncio.create_task(self._beat())
        interrupted: asyncio.CancelledError | None = None
        try:
            await self._watch(work, wait)
        except asyncio.CancelledError as error:
            interrupted = error
            await self._stop(work)
        finally:
            beat.cancel()
        state, text = self._outcome(work)
        took_ms = max(0, round((time.perf_counter() - began) * 1000))
        ending = Ending(state, lag_ms, took_ms, text)
        await self._record(ending)
        if interrupted is not None:
            raise interrupted
        return self._run(ending)

    def cut(self, why: State) -> None:
        """Cancel the job, for a reason that is the state it ends in."""
        if self._task is not None and not self._task.done():
            self._cut = self._cut or why
            self._task.cancel()

    async def _work(self, wait: float) -> None:
        await asyncio.sleep(wait)
        if self.setting.enter is not None:
            self.setting.enter(self.run_id)
        try:
            await self.job.run(self._context())
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001  # a SystemExit in a task would end the loop
            raise StepError(failure_of(error)).with_traceback(error.__traceback__) from None

    def _context(self) -> JobContext:
        ask = self.setting.link.ask
        fence = getattr(self._store, "fence", None)

        async def holds() -> bool:
            return await ask(partial(self._store.state, self.run_id)) == "running"

        async def fenced(connection: Any) -> bool:
            assert fence is not None  # noqa: S101  # given only where there is one
            held: bool = await fence(connection, self.run_id)
            return held

        return JobContext(
            id=self.job.id,
            fire_time=moment(self.fire_ms).astimezone(self.job.zone),
            attempt=self.attempt,
            run_id=self.run_id,
            logger=self._log.logger,
            _holds=holds,
            _fence=fenced if fence is not None else None,
        )

    async def _watch(self, work: "asyncio.Task[None]", wait: float) -> None:
        limit = self.job.timeout
        await asyncio.wait({work}, timeout=None if limit is None else wait + limit.total_seconds())
        if not work.done():
            assert limit is not None  # noqa: S101  # only a limit ends the wait
            self.cut("timeout")
            await asyncio.wait({work}, timeout=_STOP_SECONDS)
        if not work.done():
            self._say(logging.ERROR, "ignores its timeout; its claim is held until it ends")
            await asyncio.wait({work})

    async def _beat(self) -> None:
        """Renew the claim; cancel the work where it is no longer ours."""
        pause = self._lease_seconds / 3
        while True:
            await asyncio.sleep(pause)
            asked = time.monotonic()
            beat = partial(self._store.heartbeat, self.run_id, self.setting.lease_ms)
            try:
                is_held, pause = await self.setting.link.ask(beat), self._lease_seconds / 3
            except StoreAwayError:
                is_held, pause = asked < self._renewed + self._lease_seconds, max(pause / 2, 0.2)
            else:
                self._renewed = asked
            if not is_held:
                self.cut(await self._lost_to())
                return

    async def _lost_to(self) -> State:
        with contextlib.suppress(StoreAwayError):
            state = await self.setting.link.ask(partial(self._store.state, self.run_id))
            if state == "replaced":
                return state
        return "lost"

    async def _stop(self, work: "asyncio.Task[None]") -> None:
        """Cancel the work as the process stops; leave it behind where it ignores that."""
        self.cut("cancelled")
        await asyncio.wait({work}, timeout=_STOP_SECONDS)
        if not work.done():
            self._say(logging.ERROR, "ignores its cancellation, and is left behind")
            # The end of the loop cancels all tasks and waits for them without a limit.
            asyncio.tasks._unregister_task(work)  # noqa: SLF001  # documented, for other kinds of task

    def _outcome(self, work: "asyncio.Task[None]") -> tuple[State, str | None]:
        error = None if not work.done() or work.cancelled() else work.exception()
        if self._cut == "timeout" and self.job.timeout is not None:
            return "timeout", f"took longer than its timeout of {duration_text(self.job.timeout)}"
        if self._cut is not None:
            return self._cut, None
        if work.cancelled():
            return "failed", "was cancelled"
        if error is None:
            return "ok", None
        self._say(logging.ERROR, "failed", error)
        text = str(error) if isinstance(error, StepError) else failure_of(error)
        # a database refuses a NUL and half of a surrogate pair, and then the end with them
        return "failed", printable(self.setting.scrub(text))[:_LONGEST_ERROR]

    def _run(self, ending: Ending) -> Run:
        now = milliseconds(datetime.now(UTC))
        return Run(
            job=self.job.id,
            fire_ms=self.fire_ms,
            attempt=self.attempt,
            run_id=self.run_id,
            owner=self.setting.owner,
            state=ending.state,
            started_ms=now - ending.duration_ms,
            finished_ms=now,
            lag_ms=ending.lag_ms,
            duration_ms=ending.duration_ms,
            error=ending.error,
        )

    async def _record(self, ending: Ending) -> None:
        """Tell the store, for as long as the claim can be held."""
        if ending.state in {"lost", "replaced"}:  # others have recorded that
            self._say(logging.ERROR, f"was {ending.state}, and has been cancelled")
            return
        if ending.state in {"timeout", "cancelled"}:
            self._say(logging.ERROR, ending.error or "was cancelled, as the process stops")
        finish = partial(self._store.finish, self.run_id, ending)
        end = self._renewed + self._lease_seconds
        if ending.state == "cancelled":
            end = time.monotonic()  # the process waits for this
        while True:
            with contextlib.suppress(StoreAwayError):
                if not await self.setting.link.ask(finish):
                    self._say(logging.WARNING, f"ended {ending.state}, and had lost its claim")
                return
            if time.monotonic() + _RETRY_SECONDS > end:
                self._say(logging.WARNING, f"ended {ending.state}, which could not be recorded")
                return
            await asyncio.sleep(_RETRY_SECONDS)


_LOGGER = logging.getLogger("assembler.job")
_PACKAGE = str(Path(__file__).parents[2])


class RunLog:
    """What is said about one run: records whose traceback begins in the job, and has no secrets.

    They carry `job`, `run_id` and, for formats that were made for requests, `request_id`; the
    exception itself stays on the record, for Sentry's logging integration.
    """

    def __init__(self, job_id: str, fire_ms: int, run_id: str, scrub: Callable[[str], str]) -> None:
        self._about = f"job `{job_id}`, tick {moment(fire_ms).isoformat()}"
        self._facts = {"job": job_id, "run_id": run_id, "request_id": run_id}
        self._scrub = scrub
        self.logger = logging.LoggerAdapter(_LOGGER, self._facts)

    def say(self, level: int, text: str, error: BaseException | None = None) -> None:
        """Log it, with the traceback of `error`."""
        if not _LOGGER.isEnabledFor(level):
            return
        info = (type(error), error, error.__traceback__) if error is not None else None
        message = f"{self._about}: {text}"
        record = _LOGGER.makeRecord(
            _LOGGER.name, level, __file__, 0, message, (), info, extra=self._facts
        )
        if error is not None:  # formatters print `exc_text` where it is there
            lines = traceback.format_exception(type(error), error, _users(error.__traceback__))
            record.exc_text = printable(self._scrub("".join(lines).rstrip()))
        _LOGGER.handle(record)


def _users(trace: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that begins in the job; all of it where nothing does."""
    at = trace
    while at is not None and at.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        at = at.tb_next
    return at or trace
