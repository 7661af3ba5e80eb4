"""What is opened at the start and closed at the end → how each is.

In: the object of a resource, the application itself. Out: an `Opening` for a resource, by the
methods that its object has; the lifespan of all routers as a pair of `open` and `aclose`. Opens
nothing itself.
"""

import inspect
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from starlette.applications import Starlette

from assembler.diagnostics.span import Span
from assembler.plan.component import CLOSERS, OPENERS, Component
from assembler.runtime.report import Phase
from assembler.runtime.task import call, nothing

_STARTUP_LIMIT = timedelta(seconds=30)
_CLOSE_LIMIT = timedelta(seconds=10)


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
        self._context: AbstractAsyncContextManager[Any] = nullcontext()

    async def open(self) -> None:
        """Enter it."""
        self._context = self.app.router.lifespan_context(self.app)
        self.state.clear()
        self.state.update(await self._context.__aenter__() or {})

    async def aclose(self) -> None:
        """Leave it."""
        await self._context.__aexit__(None, None, None)


def _methods(value: Any) -> tuple[Callable[[], Any], Callable[[], Any]]:
    kind = type(value)
    if hasattr(kind, "__aenter__") and hasattr(kind, "__aexit__"):
        return value.__aenter__, lambda: value.__aexit__(None, None, None)
    if hasattr(kind, "__enter__") and hasattr(kind, "__exit__"):
        return lambda: call(value.__enter__), lambda: call(value.__exit__, None, None, None)
    # Only an `async def` opens: SQLAlchemy's plain `connect` would hand out a connection.
    openers = [n for n in OPENERS if inspect.iscoroutinefunction(getattr(kind, n, None))]
    closers = [n for n in CLOSERS if callable(getattr(kind, n, None))]
    enter = getattr(value, openers[0]) if openers else nothing
    closer = getattr(value, closers[0]) if closers else nothing
    return enter, lambda: call(closer)
