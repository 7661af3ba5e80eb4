"""A mount that is made on its first request → an ASGI application that stands for it until then.

In: a function that makes the application, with all that it imports. Out: a `LazyMount`, which makes
it once for any number of waiting requests, in a thread, and enters its lifespan in a task of its
own, whose context holds nothing of the request that happened to come first. The same task leaves
the lifespan at the end. Refuses requests with 503 and Retry-After while the making fails; why it
fails is for the log alone. A fresh application is tried after a pause that doubles each time.

A request that goes away takes nothing with it: it waits for the making, it does not own it.
"""

import asyncio
import contextvars
import gc
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException, WebSocketException
from starlette.types import ASGIApp, Receive, Scope, Send

from assembler.diagnostics.errors import ManifestError, raise_faults
from assembler.diagnostics.exceptions import failure_of, frame_of
from assembler.diagnostics.render import render
from assembler.plan.component import Component, unfit
from assembler.plan.injection import resources_of_application
from assembler.plan.load import Plan
from assembler.runtime.instances import Objects
from assembler.runtime.lifespan_client import LifespanClient
from assembler.runtime.report import LazyState
from assembler.runtime.task import StepError, StepTimeout, call

logger = logging.getLogger("assembler")

_LIMIT = timedelta(seconds=30)  # as of any step of a start
_LOOK_SECONDS = 0.25  # how often who waits looks whether the service is about to stop
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0


def maker(
    component: Component, plan: Plan, app: FastAPI, resources: dict[str, Any]
) -> Callable[[], ASGIApp]:
    """Return what imports, checks and makes the application of a mount, afresh on each call.

    It raises `ManifestError` for whatever a start would have refused.
    """

    def make() -> ASGIApp:
        objects = Objects(plan, app)
        objects.resources.update(resources)
        made: ASGIApp = objects.made(component.late() if component.late else component)
        asked = resources_of_application(made)
        raise_faults([*objects.faults, *unfit(asked, objects.classes(), component.span)])
        return made

    return make


class LazyMount:
    """Stands for the application that `make` gives; `report` says what became of it.

    `open` and `aclose` are its lifespan. Where nobody calls them, as under a server that was told to
    run no lifespans, the first request of a loop does what `open` does, and the end of the loop
    ends it. Each lifespan gets an application of its own: one may be used once only.
    """

    def __init__(
        self,
        make: Callable[[], ASGIApp],
        shared: dict[str, Any],
        report: LazyState,
        *,
        warmup: bool = False,
        scrub: Callable[[str], str] = str,
        is_ready: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._shared = shared
        self._report = report
        self._warmup = warmup
        self._scrub = scrub
        self._is_ready = is_ready
        self._clock = clock
        self._app: ASGIApp | None = None
        self._own: dict[str, Any] = {}  # what the application's lifespan puts on the state
        # Those of one loop, anew in each; see `_begin`.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owner: asyncio.Task[None] | None = None
        self._attempt: asyncio.Future[None] | None = None
        self._wanted = asyncio.Event()
        self._leaving = asyncio.Event()
        self._is_closing = False
        self._failures_in_row = 0
        self._retry_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request or websocket on to the application, which is made if it is not there."""
        if scope["type"] not in ("http", "websocket"):
            raise RuntimeError(f"a lazy mount serves no scope of type {scope['type']!r}")
        app = self._app or await self._made(scope)
        if self._own:
            scope["state"] = {**scope.get("state", {}), **self._own}
        await app(scope, receive, send)

    async def open(self) -> None:
        """Start the task that owns the application; with `warmup`, begin to make it."""
        self._begin()
        if self._warmup:
            self._want()

    async def aclose(self) -> None:
        """Leave the application's lifespan, or give up making it."""
        self._is_closing = True
        owner = self._owner
        if owner is None:
            return
        if self._app is None:
            owner.cancel()
        self._leaving.set()
        try:
            await asyncio.wait({owner})
        except asyncio.CancelledError:
            owner.cancel()
            raise
        finally:
            self._settle()  # the owner may have ended before it saw that it was wanted
        if not owner.cancelled():
            owner.result()

    def want(self) -> None:
        """Begin to make the application, unless it is there or is not to be tried again yet."""
        if self._app is not None or self._is_closing:
            return
        if self._loop is not asyncio.get_running_loop():
            self._begin()
        if self._clock() >= self._retry_at:
            self._want()

    def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_closing = False
        self._attempt = None
        self._failures_in_row = 0
        self._retry_at = self._clock()
        self._wanted = asyncio.Event()
        self._leaving = asyncio.Event()
        self._owner = self._loop.create_task(self._run(), context=contextvars.Context())

    async def _made(self, scope: Scope) -> ASGIApp:
        """Wait for the application; raises the refusal where it cannot be had."""
        if self._loop is not asyncio.get_running_loop():
            self._begin()
        if not self._is_closing and self._clock() >= self._retry_at:
            await self._wait(self._want())
        if self._app is None:
            raise _refusal(scope, self._retry_at - self._clock())
        return self._app

    async def _wait(self, attempt: "asyncio.Future[None]") -> None:
        """Wait for the end of an attempt, or until the service is about to stop.

        A server that is told to stop waits for its requests before it ends any lifespan.
        """
        was_ready = self._is_ready()
        while not attempt.done() and (self._is_ready() or not was_ready):
            await asyncio.wait({attempt}, timeout=_LOOK_SECONDS)

    def _want(self) -> "asyncio.Future[None]":
        """Return the end of the attempt that runs, or of one that begins."""
        if self._attempt is None:
            self._attempt = asyncio.get_running_loop().create_future()
            self._wanted.set()
        return self._attempt

    async def _run(self) -> None:
        """Own the application, from the first request to the end."""
        lifespan: LifespanClient | None = None
        try:
            while lifespan is None:
                await self._wanted.wait()
                self._wanted.clear()
                lifespan = await self._tried()
            await self._leaving.wait()
        finally:
            self._app = None
            self._report.built = False
        await lifespan.aclose()

    async def _tried(self) -> LifespanClient | None:
        """Make the application and enter its lifespan; return None where that failed."""
        began = self._clock()
        self._report.building = True
        own: dict[str, Any] = {}
        limit = asyncio.timeout(_LIMIT.total_seconds())
        try:
            with _FULL_COLLECTIONS.put_off():
                async with limit:
                    app: ASGIApp = await call(self._make)
                    lifespan = LifespanClient(app, self._shared, own)
                    await lifespan.open()
        except Exception as error:  # noqa: BLE001  # others' code may raise anything
            late = StepTimeout(_LIMIT, abandoned=False) if limit.expired() else None
            self._note_failure(late or error)
            return None
        else:
            self._app, self._own = app, own
            self._note_success(self._clock() - began)
            return lifespan
        finally:
            self._report.building = False
            self._settle()

    def _settle(self) -> None:
        """Let go who waits for the attempt that has ended."""
        if self._attempt is not None and not self._attempt.done():
            self._attempt.set_result(None)
        self._attempt = None

    def _note_success(self, seconds: float) -> None:
        report = self._report
        report.built = True
        report.builds += 1
        report.milliseconds = round(seconds * 1000, 3)
        report.error = None
        logger.info("mount `%s` was made on demand in %.0f ms", report.id, seconds * 1000)

    def _note_failure(self, error: Exception) -> None:
        pause = min(_FIRST_PAUSE_SECONDS * 2**self._failures_in_row, _LONGEST_PAUSE_SECONDS)
        self._failures_in_row = min(self._failures_in_row + 1, 16)
        self._retry_at = self._clock() + pause
        self._report.failures += 1
        if isinstance(error, ManifestError):
            self._report.error = self._scrub(error.diagnostics[0].message)
            text = "\n\n".join(render(fault) for fault in error.diagnostics)
        else:
            text = str(error) if isinstance(error, StepError) else failure_of(error)
            self._report.error = self._scrub(text)
            text = self._scrub("\n  ".join([text, *frame_of(error)]))
        what = "mount `%s` could not be made, and is tried again in %.0f s at the earliest: %s"
        logger.error(what, self._report.id, pause, text)


class _FullCollections:
    """Puts off the garbage collector's full collections, for any number of mounts at once.

    Amid the imports one of all that the service has would hold the loop for some 100 ms; the young
    generations are collected as ever. To freeze what is there would be quicker still, but nobody can
    take back a freeze of his own alone.
    """

    _NEVER = 2**30  # collections of the middle generation

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted_by = 0
        self._before = 0

    @contextmanager
    def put_off(self) -> Iterator[None]:
        """Run the block without one."""
        with self._lock:
            young, middle, full = gc.get_threshold()
            if self._wanted_by == 0:
                self._before = full
                gc.set_threshold(young, middle, self._NEVER)
            self._wanted_by += 1
        try:
            yield
        finally:
            with self._lock:
                self._wanted_by -= 1
                young, middle, full = gc.get_threshold()
                if self._wanted_by == 0 and full == self._NEVER:  # nobody else has set it
                    gc.set_threshold(young, middle, self._before)


_FULL_COLLECTIONS = _FullCollections()


def _refusal(scope: Scope, seconds: float) -> Exception:
    if scope["type"] == "websocket" and "websocket.http.response" not in scope.get(
        "extensions", {}
    ):
        return WebSocketException(1013)  # try again later
    return HTTPException(503, headers={"Retry-After": str(max(1, math.ceil(seconds)))})
