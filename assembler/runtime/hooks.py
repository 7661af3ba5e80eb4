"""What is opened at the start and closed at the end → how each is.

In: the object of a resource, a lifespan of the manifest, the application itself. Out: an `Opening`
for a resource, by the methods that its object has; one for a lifespan, with what it yields; the
lifespan of all routers as a pair of `open` and `aclose`. Opens nothing itself.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AsyncContextDecorator,
    ContextDecorator,
    nullcontext,
)
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from starlette.applications import Starlette

from assembler.diagnostics.span import Span
from assembler.plan.component import CLOSERS, OPENERS, Component
from assembler.runtime.report import Phase
from assembler.runtime.task import StepError, call, nothing

_STARTUP_LIMIT = timedelta(seconds=30)
_CLOSE_LIMIT = timedelta(seconds=10)
_DECORATORS = (AsyncContextDecorator, ContextDecorator)


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
    told: Callable[[str | None], Awaitable[Any]] | None = None  # why it is away, or None
    check: Callable[[], None] | None = None  # raises what opening it would, before any step runs


def resource_opening(
    component: Component,
    value: Any,
    make: Callable[[], Any] | None = None,
    told: Callable[[str | None], Awaitable[Any]] | None = None,
) -> Opening:
    """Say how the object of a resource is opened and closed, by the methods it has.

    `make` makes another one, where the object can be entered once only; `told` is called with why it
    is away, or None once it is open.
    """
    entry = component.entry
    is_renewed = make is not None and _is_single_use(value)
    enter, leave = _methods(_Renewed(value, make) if is_renewed else value)
    if isinstance(value, Awaited):
        enter, leave = value.open, value.aclose
    if not entry.owned:
        enter = leave = nothing
    return Opening(
        id=component.id,
        phase="resource",
        enter=enter,
        leave=leave,
        span=component.span,
        timeout=entry.timeout,
        close_timeout=entry.close_timeout,
        on_error=entry.on_error,
        told=told,
    )


class Awaited:
    """A resource that an async function makes anew each time it is opened; it is open then.

    `keep` is called with the object. At the end it is closed by the first of `aclose`, `close`,
    `dispose` and `shutdown` that it has; one that has none, but can be entered, is entered and left.
    """

    def __init__(self, make: Callable[[], Awaitable[Any]], keep: Callable[[Any], None]) -> None:
        self._make = make
        self._keep = keep
        self._leave: Callable[[], Awaitable[Any]] = nothing

    async def open(self) -> None:
        """Make it."""
        value = await self._make()
        closers = [name for name in CLOSERS if callable(getattr(type(value), name, None))]
        self._leave = partial(call, getattr(value, closers[0])) if closers else nothing
        if not closers:
            enter, self._leave = _methods(value)
            await enter()
        self._keep(value)

    async def aclose(self) -> None:
        """Close it."""
        await self._leave()


class _Renewed:
    """What `@asynccontextmanager` gave is entered once only: made anew for each time after."""

    def __init__(self, first: Any, make: Any) -> None:
        self._next: Any = first
        self._make = make
        self._entered: Any = None

    async def __aenter__(self) -> None:
        context, self._next = self._next or self._make(), None
        self._entered = context
        await _methods(context)[0]()

    async def __aexit__(self, *error: object) -> None:
        await _methods(self._entered)[1]()


def _is_single_use(value: Any) -> bool:
    """Tell whether `contextlib` made the object of a function with a `yield`."""
    inner = getattr(value, "gen", None) if isinstance(value, _DECORATORS) else None
    return inspect.isasyncgen(inner) or inspect.isgenerator(inner)


class EnteredLifespan:
    """One lifespan of the manifest: `make` gives its context manager, `state` is what that yields."""

    def __init__(self, component: Component, make: Callable[[], Any]) -> None:
        self.component = component
        self.state: dict[str, Any] = {}
        self._make = make
        self._context: AbstractAsyncContextManager[Any] = nullcontext()

    def opening(self) -> Opening:
        """Return how it is entered and left."""
        part = self.component
        times = part.entry.timeout, part.entry.close_timeout
        return Opening(part.id, "lifespan", self._open, self._close, part.span, *times)

    async def _open(self) -> None:
        self.state.clear()
        context = self._make()
        if not (hasattr(type(context), "__aenter__") and hasattr(type(context), "__aexit__")):
            kind = type(context).__name__
            raise StepError(f"gives a {kind}, which is no async context manager")
        told = await context.__aenter__()
        if told is not None and not isinstance(told, Mapping):
            await context.__aexit__(None, None, None)
            raise StepError(f"yields a {type(told).__name__}, not a mapping for the state")
        self.state.update(told or {})
        self._context = context

    async def _close(self) -> None:
        await self._context.__aexit__(None, None, None)


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
