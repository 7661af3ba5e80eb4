"""What is opened at the start and closed at the end → how each is.

In: the object of a resource, a mounted application, the application itself. Out: an `Opening` for
a resource, by the methods that its object has; lifespans of mounts and routers as pairs of `open`
and `aclose`. Opens nothing itself.
"""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp, Message

from assembler.diagnostics.exceptions import failure_of
from assembler.diagnostics.span import Span
from assembler.plan.component import Component
from assembler.runtime.report import Phase
from assembler.runtime.task import StepError, call, nothing

logger = logging.getLogger("assembler")

_STARTUP_LIMIT = timedelta(seconds=30)
_CLOSE_LIMIT = timedelta(seconds=10)
_OPENERS = ("open", "connect", "start")
_CLOSERS = ("aclose", "close", "dispose", "shutdown")
_END_SECONDS = 1.0  # for an application to end after it said that its startup failed


@dataclass(frozen=True, slots=True)
class Opening:
    """Something that is opened at the start and closed at the end: a resource or a lifespan."""

    id: str
    phase: Phase
    enter: Callable[[], Awaitable[Any]]
    leave: Callable[[], Awaitable[Any]]
    span: Span
    timeout: timedelta = _STARTUP_LIMIT
    close_timeout: timedelta = _CLOSE_LIMIT
    on_error: str = "fail"


def resource_opening(component: Component, value: Any) -> Opening:
    """Say how the object of a resource is opened and closed, by the methods it has."""
    entry = component.entry
    enter, leave = _methods(value)
    return Opening(
        id=component.id,
        phase="resource",
        enter=enter,
        leave=leave,
        span=component.span,
        timeout=entry.timeout,
        close_timeout=entry.close_timeout,
        on_error=entry.on_error,
    )


class RouterLifespans:
    """The lifespan context that FastAPI merged from all included routers; `state` is its yield."""

    def __init__(self, app: Starlette) -> None:
        self.app = app
        self.state: dict[str, Any] = {}

    async def open(self) -> None:
        """Enter it."""
        self._context = self.app.router.lifespan_context(self.app)
        self.state.clear()
        self.state.update(await self._context.__aenter__() or {})

    async def aclose(self) -> None:
        """Leave it."""
        await self._context.__aexit__(None, None, None)


class MountedLifespan:
    """Speaks the lifespan protocol to a mounted application, as a server would.

    An application that does not know the protocol raises or returns, and is served without
    (ASGI specification, lifespan: servers must continue). It finds `shared` on its state; what it
    puts there itself goes into `own`.
    """

    def __init__(self, app: ASGIApp, shared: dict[str, Any], own: dict[str, Any]) -> None:
        self.app = app
        self.shared = shared
        self.own = own
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Send `lifespan.startup` and wait for the answer; raises `StepError` where it failed."""
        self._questions: asyncio.Queue[Message] = asyncio.Queue()
        state = dict(self.shared)
        task = asyncio.create_task(self._serve(state))
        answer = await self._ask(task, "lifespan.startup")
        if answer is None:
            _note_end(task)
        elif answer["type"] == "lifespan.startup.failed":
            await _end(task)
            raise _failure(answer, task)
        else:
            self._task = task
        self.own.clear()
        self.own.update((k, v) for k, v in state.items() if self.shared.get(k, self) is not v)

    async def aclose(self) -> None:
        """Send `lifespan.shutdown` and wait until the application has ended."""
        task, self._task = self._task, None
        if task is None:
            return
        answer = await self._ask(task, "lifespan.shutdown")
        if answer is not None and answer["type"] == "lifespan.shutdown.failed":
            await _end(task)
            raise _failure(answer, task)
        await task

    async def _serve(self, state: dict[str, Any]) -> None:
        asgi = {"version": "3.0", "spec_version": "2.0"}
        scope = {"type": "lifespan", "asgi": asgi, "state": state}
        try:
            await self.app(scope, self._questions.get, self._hear)
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001  # SystemExit in a task would end the loop
            raise StepError(failure_of(error)).with_traceback(error.__traceback__) from None

    async def _ask(self, task: "asyncio.Task[None]", kind: str) -> Message | None:
        """Return the application's answer, or None where it has ended without one."""
        self._answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._questions.put_nowait({"type": kind})
        try:
            either: set[asyncio.Future[Any]] = {self._answer, task}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            raise
        return self._answer.result() if self._answer.done() else None

    async def _hear(self, message: Message) -> None:
        if not self._answer.done():
            self._answer.set_result(message)


def _methods(value: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    kind = type(value)
    if hasattr(kind, "__aenter__") and hasattr(kind, "__aexit__"):
        return value.__aenter__, lambda: value.__aexit__(None, None, None)
    if hasattr(kind, "__enter__") and hasattr(kind, "__exit__"):
        return lambda: call(value.__enter__), lambda: call(value.__exit__, None, None, None)
    # Only an `async def` opens: SQLAlchemy's plain `connect` would hand out a connection.
    openers = [n for n in _OPENERS if inspect.iscoroutinefunction(getattr(kind, n, None))]
    closers = [n for n in _CLOSERS if callable(getattr(kind, n, None))]
    enter = getattr(value, openers[0]) if openers else nothing
    closer = getattr(value, closers[0]) if closers else nothing
    return enter, lambda: call(closer)


async def _end(task: "asyncio.Task[None]") -> None:
    _, late = await asyncio.wait({task}, timeout=_END_SECONDS)
    for each in late:
        each.cancel()


def _note_end(task: "asyncio.Task[None]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.debug("a mounted application has no lifespan: %s", type(error).__name__)


def _failure(answer: Message, task: "asyncio.Task[None]") -> StepError:
    """Give the exception that ended the application, or else the line that names it in its answer."""
    if task.done() and not task.cancelled() and (error := task.exception()) is not None:
        text = str(error) if isinstance(error, StepError) else failure_of(error)
        return StepError(text).with_traceback(error.__traceback__)
    lines = answer.get("message", "").strip().splitlines() or ["its lifespan failed"]
    return StepError(lines[-1] if lines[0].startswith("Traceback") else lines[0])
