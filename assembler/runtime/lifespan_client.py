"""An ASGI application's lifespan, as a server leads it → a start and a stop.

In: an application, and what it is to find on its state. Out: a `LifespanClient` (ASGI specification,
lifespan protocol 2.0): of a mount, of what runs on Lambda, of what is tested in process. An
application that does not know the protocol is served without: servers must continue.
"""

import asyncio
from typing import Any

from starlette.types import ASGIApp, Message, Scope

from assembler.diagnostics.exceptions import failure_of
from assembler.runtime.task import StepError

_END_SECONDS = 1.0  # for an application to end after it said that its startup failed


class LifespanFailedError(StepError):
    """The application says that its start or its stop failed; `message` is all that it said."""

    def __init__(self, text: str, message: str) -> None:
        super().__init__(text)
        self.message = message


class LifespanClient:
    """Speaks the lifespan protocol to an application, as a server would.

    It finds `shared` on its state; what it puts there itself goes into `own`. An application that
    does not know the protocol raises or returns: `is_running` is False then, and `error` what it
    raised. With `is_test` it hears that nobody serves it, and what its start raises is raised here.
    """

    def __init__(
        self, app: ASGIApp, shared: dict[str, Any], own: dict[str, Any], *, is_test: bool = False
    ) -> None:
        self.app = app
        self.shared = shared
        self.own = own
        self.is_test = is_test
        self.error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._questions: asyncio.Queue[Message] = asyncio.Queue()
        self._answer: asyncio.Future[Message] | None = None

    @property
    def is_running(self) -> bool:
        """True from the end of a start that went well to the beginning of the stop."""
        return self._task is not None

    async def open(self) -> None:
        """Send `lifespan.startup` and wait for the answer; raises `LifespanFailedError`."""
        self._questions = asyncio.Queue()  # of this loop
        self.error = None
        state = dict(self.shared)
        task = asyncio.create_task(self._serve(state))
        answer = await self._ask(task, "lifespan.startup")
        if answer is None:
            self.error = _error_of(task)
        elif answer["type"] == "lifespan.startup.failed":
            await _end(task)
            error = _error_of(task)
            raise error if self.is_test and error else _failure(answer, error)
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
            raise _failure(answer, _error_of(task))
        await task

    async def _serve(self, state: dict[str, Any]) -> None:
        asgi = {"version": "3.0", "spec_version": "2.0"}
        scope: Scope = {"type": "lifespan", "state": state}
        if not self.is_test:
            scope["asgi"] = asgi
        try:
            await self.app(scope, self._questions.get, self._hear)
        except (Exception, asyncio.CancelledError):
            raise
        except BaseException as error:  # noqa: BLE001  # SystemExit in a task would end the loop
            raise StepError(failure_of(error)).with_traceback(error.__traceback__) from None

    async def _ask(self, task: "asyncio.Task[None]", kind: str) -> Message | None:
        """Return the application's answer, or None where it has ended without one."""
        self._answer = heard = asyncio.get_running_loop().create_future()
        self._questions.put_nowait({"type": kind})
        try:
            either: set[asyncio.Future[Any]] = {heard, task}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            raise
        return heard.result() if heard.done() else None

    async def _hear(self, message: Message) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(message)


async def _end(task: "asyncio.Task[None]") -> None:
    _, late = await asyncio.wait({task}, timeout=_END_SECONDS)
    for each in late:
        each.cancel()


def _error_of(task: "asyncio.Task[None]") -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None


def _failure(answer: Message, error: BaseException | None) -> LifespanFailedError:
    """Give the exception that ended the application, or else the line that names it in its answer."""
    message = answer.get("message", "").strip()
    if error is not None:
        text = str(error) if isinstance(error, StepError) else failure_of(error)
        return LifespanFailedError(text, message).with_traceback(error.__traceback__)
    lines = message.splitlines() or ["its lifespan failed"]
    return LifespanFailedError(lines[-1] if lines[0].startswith("Traceback") else lines[0], message)
