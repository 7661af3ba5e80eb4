"""A built application → its start and its stop.

In: the plan, the objects that were made from it, the mounted applications. Out: an ASGI lifespan:
resources open from top to bottom, startup steps run, routers' and mounts' own lifespans are
entered; at the end shutdown hooks run and everything that was opened is closed in reverse.

Each step is bounded, timed and isolated: one that fails or hangs at the stop never keeps the rest.
A step that fails at the start with `on_error: fail` unwinds what was started; hooks do not run,
and the server is told to exit with a message that names the step and its line.
"""

import asyncio
import contextlib
import inspect
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from assembler.component import Component
from assembler.errors import Diagnostic, Span, StartupError, render
from assembler.plan import Plan
from assembler.report import Assembly, Outcome, Phase, Step, table
from assembler.resolve import failure_of, frame_of
from assembler.task import Owned, StepTimeout, bounded, call

logger = logging.getLogger("assembler")

STARTUP_SECONDS = timedelta(seconds=30)
CLOSE_SECONDS = timedelta(seconds=10)
_FIRST_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 30.0
_OPENERS = ("open", "connect", "start")
_CLOSERS = ("aclose", "close", "dispose", "shutdown")


@dataclass(frozen=True, slots=True)
class Opening:
    """Something that is opened at the start and closed at the end: a resource or a lifespan."""

    id: str
    phase: Phase
    enter: Callable[[], Awaitable[Any]]
    leave: Callable[[], Awaitable[Any]]
    span: Span
    timeout: timedelta = STARTUP_SECONDS
    close_timeout: timedelta = CLOSE_SECONDS
    on_error: str = "fail"


@dataclass(frozen=True, slots=True)
class Running:
    """A function that runs once, at the start or at the end, with its options already in place."""

    id: str
    phase: Phase
    run: Callable[[], Awaitable[Any]]
    span: Span
    timeout: timedelta
    on_error: str = "fail"


@dataclass(slots=True)
class Lifespan:
    """Starts and stops one application; it may be entered again after it was left."""

    plan: Plan
    assembly: Assembly
    resources: list[Opening]
    startup: list[Running]
    inner: list[Opening]  # routers' and mounts' own lifespans
    shutdown: list[Running]
    _opened: list[tuple[Opening, Owned]] = field(default_factory=list)
    _retries: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        """Run every step of the start, or unwind and raise `StartupError`."""
        began = time.perf_counter()
        self.assembly.steps.clear()
        self.assembly.degraded.clear()
        try:
            for opening in self.resources:
                await self._open(opening)
            for running in self.startup:
                await self._run(running)
            for opening in self.inner:
                await self._open(opening)
        except BaseException:
            await self._close_all()
            raise
        self.assembly.ready = True
        milliseconds = (time.perf_counter() - began) * 1000
        count = len(self.assembly.degraded)
        state = f", {count} degraded" if count else ""
        title = f"started {self.plan.name} in {milliseconds:.0f} ms{state}"
        _log(logging.WARNING if count else logging.INFO, table(title, self.assembly.steps))

    async def stop(self) -> None:
        """Run every step of the stop, whatever the others do; raises nothing."""
        began = time.perf_counter()
        self.assembly.ready = False
        first = len(self.assembly.steps)
        for running in self.shutdown:
            with contextlib.suppress(StartupError):
                await self._run(running)
        await self._close_all()
        steps = self.assembly.steps[first:]
        failed = sum(step.outcome != "ok" for step in steps)
        milliseconds = (time.perf_counter() - began) * 1000
        state = f", {failed} failed" if failed else ""
        title = f"stopped {self.plan.name} in {milliseconds:.0f} ms{state}"
        _log(logging.WARNING if failed else logging.INFO, table(title, steps))

    async def _open(self, opening: Opening) -> None:
        owned = Owned(opening.enter, opening.leave)

        async def enter() -> None:
            await owned.enter(opening.timeout)
            self._opened.append((opening, owned))

        if not await self._step(opening, enter) and opening.on_error == "degrade":
            self._retries.append(asyncio.create_task(self._retry(opening)))

    async def _run(self, running: Running) -> None:
        await self._step(running, lambda: bounded(running.timeout, running.run))

    async def _step(self, step: Opening | Running, run: Callable[[], Awaitable[None]]) -> bool:
        """Run and record one step; return whether it went well, raise where it must."""
        began = time.perf_counter()
        try:
            await run()
        except Exception as error:
            logger.debug("%s `%s` failed", step.phase, step.id, exc_info=error)
            reason = self.plan.secrets.scrub(failure_of(error))
            if isinstance(error, StepTimeout):
                reason = str(error)
            outcome: Outcome = "timeout" if isinstance(error, StepTimeout) else "failed"
            if step.on_error != "fail":
                outcome = "warned" if step.on_error == "warn" else "degraded"
            self._record(step, outcome, began, reason)
            if step.on_error == "degrade":
                self.assembly.degraded[step.id] = reason
            elif step.on_error == "fail":
                raise self._failure(step, error, reason) from None
            return False
        self._record(step, "ok", began, None)
        return True

    def _failure(self, step: Opening | Running, error: Exception, reason: str) -> StartupError:
        is_late = isinstance(error, StepTimeout)
        code = "startup-timeout" if is_late else "startup-failed"
        trace = () if is_late else tuple(self.plan.secrets.scrub(line) for line in frame_of(error))
        says = reason if is_late else f"failed: {reason}"
        message = f"{step.phase} `{step.id}` {says}"
        return StartupError((Diagnostic(code, message, step.span, trace=trace),))

    def _record(
        self,
        step: Opening | Running,
        outcome: Outcome,
        began: float,
        error: str | None,
        phase: Phase | None = None,
    ) -> None:
        milliseconds = round((time.perf_counter() - began) * 1000, 3)
        self.assembly.steps.append(Step(step.id, phase or step.phase, outcome, milliseconds, error))

    async def _retry(self, opening: Opening) -> None:
        """Open a degraded resource in the background, waiting longer each time."""
        wait = _FIRST_RETRY_SECONDS
        while True:
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_RETRY_SECONDS)
            owned = Owned(opening.enter, opening.leave)
            try:
                await owned.enter(opening.timeout)
            except Exception as error:  # noqa: BLE001  # reported by its state, and tried again
                late = isinstance(error, StepTimeout)
                reason = str(error) if late else self.plan.secrets.scrub(failure_of(error))
                self.assembly.degraded[opening.id] = reason
                continue
            self._opened.append((opening, owned))
            del self.assembly.degraded[opening.id]
            _log(logging.INFO, f"resource `{opening.id}` is back")
            return

    async def _close_all(self) -> None:
        """Close in reverse what was opened; a failure is recorded and does not stop the rest."""
        for task in self._retries:
            task.cancel()
        await asyncio.gather(*self._retries, return_exceptions=True)
        self._retries.clear()
        while self._opened:
            opening, owned = self._opened.pop()
            began = time.perf_counter()
            outcome: Outcome = "ok"
            reason = None
            try:
                await owned.leave(opening.close_timeout)
            except StepTimeout as error:
                outcome, reason = "timeout", str(error)
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # recorded; the rest must close
                outcome, reason = "failed", self.plan.secrets.scrub(failure_of(error))
            self._record(opening, outcome, began, reason, "close")


@dataclass(frozen=True, slots=True)
class LifespanProtocol:
    """Answers the ASGI lifespan messages of a server (ASGI specification, lifespan protocol 2.0)."""

    lifespan: Lifespan
    state: dict[str, Any]  # what requests find on `request.state`
    inner_state: Callable[[], dict[str, Any]]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one start and one stop."""
        await receive()
        try:
            await self.lifespan.start()
        except StartupError as error:
            text = "\n\n".join(render(fault) for fault in error.diagnostics)
            await send({"type": "lifespan.startup.failed", "message": text})
            raise
        if "state" in scope:
            scope["state"].update(self.state, **self.inner_state())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.lifespan.stop()
        await send({"type": "lifespan.shutdown.complete"})


def resource_opening(component: Component, value: Any) -> Opening:
    """Say how the object of a resource is opened and closed, by the methods it has."""
    kind = type(value)
    if hasattr(kind, "__aenter__") and hasattr(kind, "__aexit__"):
        enter: Any = value.__aenter__
        leave: Any = lambda: value.__aexit__(None, None, None)  # noqa: E731  # one of three ways
    elif hasattr(kind, "__enter__") and hasattr(kind, "__exit__"):
        enter = lambda: call(value.__enter__)  # noqa: E731
        leave = lambda: call(value.__exit__, None, None, None)  # noqa: E731
    else:
        # Only `async def` methods open: SQLAlchemy's `connect` would hand out a connection.
        opener = next(
            (
                getattr(value, n)
                for n in _OPENERS
                if inspect.iscoroutinefunction(getattr(kind, n, None))
            ),
            None,
        )
        closer = next(
            (getattr(value, n) for n in _CLOSERS if callable(getattr(kind, n, None))), None
        )
        enter = opener or _nothing
        leave = (lambda: call(closer)) if closer else _nothing
    entry = component.entry
    return Opening(
        component.id,
        "resource",
        enter,
        leave,
        component.span,
        entry.timeout,
        entry.close_timeout,
        entry.on_error,
    )


class MountedLifespan:
    """Speaks the lifespan protocol to a mounted application, as a server would.

    An application that does not know the protocol raises or returns, and is served without
    (ASGI specification, lifespan: servers must continue). `state` is what it put there.
    """

    def __init__(self, app: Any, state: dict[str, Any]) -> None:
        self.app = app
        self.shared = state
        self.state: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Send `lifespan.startup` and wait for the answer; raises `RuntimeError` where it failed."""
        self._stop = asyncio.Event()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._messages: Iterator[str] = iter(("lifespan.startup", "lifespan.shutdown"))
        self.state = dict(self.shared)
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        self._task = asyncio.create_task(self.app(scope, self._receive, self._answers.put))
        answer = await self._answer()
        if answer is not None and answer["type"].endswith(".failed"):
            await asyncio.wait({self._task}, timeout=1)
            raise RuntimeError(_last_line(answer.get("message", "")) or "its own startup failed")

    async def aclose(self) -> None:
        """Send `lifespan.shutdown` and wait until the application has ended."""
        if self._task is None or self._task.done():
            return
        self._stop.set()
        answer = await self._answer()
        await self._task
        if answer is not None and answer["type"].endswith(".failed"):
            raise RuntimeError(_last_line(answer.get("message", "")) or "its own shutdown failed")

    async def _receive(self) -> dict[str, Any]:
        kind = next(self._messages, "lifespan.shutdown")
        if kind == "lifespan.shutdown":
            await self._stop.wait()
        return {"type": kind}

    async def _answer(self) -> dict[str, Any] | None:
        """Return the application's next message, or None once it has ended without one."""
        assert self._task is not None  # noqa: S101  # for the type checker: only called after open
        waiting = asyncio.create_task(self._answers.get())
        try:
            await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if waiting.done():
                return waiting.result()
            if not self._task.cancelled() and (error := self._task.exception()) is not None:
                logger.debug("mounted application has no lifespan", exc_info=error)
            return None
        finally:
            waiting.cancel()


@contextlib.asynccontextmanager
async def running(lifespan: Lifespan) -> AsyncIterator[None]:
    """Start on entry and stop on exit, for tests and commands that need no server."""
    await lifespan.start()
    try:
        yield
    finally:
        await lifespan.stop()


async def _nothing() -> None:
    return None


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""


def _log(level: int, text: str) -> None:
    """Log through the `assembler` logger; where nobody set up logging, write to standard error."""
    if logger.hasHandlers():
        logger.log(level, text)
    else:
        print(text, file=sys.stderr)  # noqa: T201  # a start without a word would look like a hang
