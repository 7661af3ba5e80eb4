"""A snapshot → one process that serves it, as its parent says.

In: a pipe to the parent, a snapshot, an `WorkerOrder`. Out: a server, until it is told to stop or to
retire. It reads no manifest of the disk. What keeps it from serving is told to the parent, which
decides what becomes of that; the process then ends with status 3. Shows no Python frames.
"""

import asyncio
import gc
import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from socket import socket
from typing import Any

from fastapi import FastAPI
from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE

from assembler.application.build import build
from assembler.application.middleware import EXCHANGE
from assembler.diagnostics.errors import AssemblerError, Diagnostic, ManifestError
from assembler.diagnostics.exceptions import failure_of
from assembler.document.nodes import ScalarNode, locate
from assembler.plan.load import Plan
from assembler.plan.snapshot import Snapshot
from assembler.review.report import as_text
from assembler.runtime.asgi_lifespan import LifespanProtocol
from assembler.runtime.listener import ListeningServer, configured
from assembler.runtime.recorder import Running
from assembler.runtime.report import Assembly, Supervision
from assembler.runtime.scheduler.engine import HandedOver
from assembler.runtime.supervision.process import Failure, Parent, Planned, WorkerOrder
from assembler.runtime.supervision.retirement import retire

_INVALID, _USAGE = 1, 2
_LONGEST_KEPT_SECONDS = 5.0  # for a connection that is idle, once its worker retires
_MARGIN_SECONDS = 10.0


def work(channel: Connection) -> None:
    """Be a worker of the snapshot that the parent sends."""
    try:
        snapshot, order = channel.recv()
    except EOFError:  # the parent found faults, or is gone
        return
    with suppress(OSError):  # for who stops in a debugger
        sys.stdin = os.fdopen(0)
    os.environ.clear()
    os.environ.update(snapshot.environment)
    os.environ["ASSEMBLY"] = str(snapshot.path)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it may be sent to the whole group
    parent = Parent(channel)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        _work(parent, snapshot, order)
    except KeyboardInterrupt:
        pass
    except Exception as error:  # noqa: BLE001  # told by the parent
        parent.tell("failed", failure_to_start(error))
        raise SystemExit(STARTUP_FAILURE) from None


def failure_to_start(error: Exception) -> Failure:
    """Say why something did not come to serve, as the command says it."""
    if isinstance(error, ManifestError):
        return Failure(as_text(error.diagnostics, color=sys.stderr.isatty()), _INVALID)
    if isinstance(error, AssemblerError):
        return Failure(f"error: {error}", _USAGE)
    if isinstance(error, OSError):
        place = f"`{error.filename}`: " if error.filename else ""
        return Failure(f"error: {place}{error.strerror or failure_of(error)}", _USAGE)
    return Failure(f"error: {failure_of(error)}", _USAGE)


def _work(parent: Parent, snapshot: Snapshot, order: WorkerOrder) -> None:
    def built() -> tuple[Plan, FastAPI, Config]:
        plan = snapshot.load()
        parent.tell("planned", _planned(plan))
        try:
            app = build(plan)
        except ManifestError as error:
            failure = replace(failure_to_start(error), status=STARTUP_FAILURE)
            parent.tell("failed", failure)
            raise SystemExit(STARTUP_FAILURE) from None
        config = configured(plan.server, plan.manifest.server.max_header_bytes)
        config.app = app
        _load(config, plan)
        return plan, app, config

    try:
        plan, app, config = built()
    finally:  # `assembler.asgi.work` let the collector rest, and says why
        gc.freeze()
        gc.enable()
    assembly: Assembly = app.state.assembly
    assembly.supervision = Supervision(
        snapshot.digest,
        dict(order.reloads),
        order.last_reload,
        holds_clock=order.holds_clock,
    )
    attended = _Attended(app, parent, order)
    kept = min(config.timeout_keep_alive, _LONGEST_KEPT_SECONDS)
    drain = plan.manifest.server.drain
    kept = max(kept, drain.total_seconds() if drain else 0.0)
    server = _Server(config, parent, assembly, attended, kept_seconds=kept)
    server.run(parent.wait("sockets"))
    if not server.started and not server.should_exit:
        raise SystemExit(STARTUP_FAILURE)


def _load(config: Config, plan: Plan) -> None:
    """Let uvicorn read its files; what it refuses is told at the key that names it.

    Raises `ManifestError`.
    """
    try:
        config.load()
    except (OSError, ValueError) as error:
        message, key = _refused_by_tls(config, error)
        node, place = locate(plan.document.root, ("server", key))
        span = node.span if isinstance(node, ScalarNode) else place or node.span
        raise ManifestError((Diagnostic("bad-value", message, span),)) from error


def _refused_by_tls(config: Config, error: Exception) -> tuple[str, str]:
    for key in ("ssl_certfile", "ssl_keyfile", "ssl_ca_certs"):
        name = getattr(config, key)
        try:
            if name:
                Path(name).read_bytes()
        except OSError as unread:
            reason = unread.strerror or failure_of(unread)
            return f"`{key}` of `server` cannot be read: {reason}", key
    reason = getattr(error, "reason", None) or failure_of(error)
    return f"TLS cannot be set up: {reason}", "ssl_certfile"


def _planned(plan: Plan) -> Planned:
    server = plan.manifest.server
    drain = server.drain.total_seconds() if server.drain else 0.0
    graceful = server.timeout_graceful_shutdown
    grace = server.termination_grace.total_seconds()
    return Planned(
        options=plan.server,
        max_header_bytes=server.max_header_bytes,
        reload_timeout=server.reload_timeout.total_seconds(),
        stop_seconds=None if graceful is None else drain + graceful + grace + _MARGIN_SECONDS,
        runtime_dir=server.runtime_dir,
    )


class _Attended:
    """The lifespan of the application, of which the parent hears."""

    def __init__(self, app: FastAPI, parent: Parent, order: WorkerOrder) -> None:
        self._parent = parent
        self.go = asyncio.Event()
        router: Any = app.router
        self._protocol: LifespanProtocol = router.lifespan
        router.lifespan = self
        lifespan = self._protocol.lifespan
        if order.is_trial:
            lifespan.tried = self._wait
        if order.holds_clock:  # somebody waits for it, and wants to know for what
            lifespan.reached = partial(parent.tell, "step")
        if not order.applies_sql:  # the first worker of the reload has
            lifespan.startup = [step for step in lifespan.startup if isinstance(step, Running)]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass the words on, and tell the parent why the start failed."""

        async def told(message: Any) -> None:
            if message["type"] == "lifespan.startup.failed":
                text = message["message"].removeprefix("the start failed\n")
                self._parent.tell("failed", Failure(text, STARTUP_FAILURE, is_told=True))
            await send(message)

        await self._protocol(scope, receive, told)

    async def _wait(self) -> None:
        self._parent.tell("tried")
        await self.go.wait()


class _Server(ListeningServer):
    """uvicorn's server, which its parent can retire."""

    def __init__(
        self,
        config: Config,
        parent: Parent,
        assembly: Assembly,
        attended: _Attended,
        *,
        kept_seconds: float,
    ) -> None:
        super().__init__(config)
        self._parent = parent
        self._assembly = assembly
        self._attended = attended
        self._kept_seconds = kept_seconds
        self._retiring: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """Start the application, then listen; the parent hears of it."""
        self._parent.attend(self._hear)
        await super().startup(sockets=sockets)
        if self.started and not self.should_exit:
            self._parent.tell("serving")

    def _hear(self, word: str, said: Any) -> None:
        if word == "go":
            self._attended.go.set()
        elif word == "interrupt":
            if said or not self.should_exit:  # a terminal interrupts parent and workers alike
                os.kill(os.getpid(), signal.SIGINT)
        elif word == "retire":
            self._retiring = asyncio.create_task(self._retire())
        elif word == "reloads" and self._assembly.supervision is not None:
            counted, last = said
            self._assembly.supervision.reloads.update(counted)
            self._assembly.supervision.last_reload = last
        elif word in {"clock-off", "clock", "idle", "cut"}:
            self._hear_of_the_clock(word, said)

    def _hear_of_the_clock(self, word: str, said: Any) -> None:
        jobs = self._assembly.jobs
        if word == "clock-off":
            idle = partial(self._parent.tell, "idle")
            self._parent.tell("clock", None if jobs is None else jobs.hand_over(idle))
        elif word == "idle":
            if jobs is not None:
                jobs.give_back(said)
        elif word == "cut":
            if jobs is not None:
                jobs.cut(said)
        else:
            if self._assembly.supervision is not None:
                self._assembly.supervision.holds_clock = False
            if jobs is not None:
                replaced = partial(self._parent.tell, "replaced")
                jobs.take_over(said or HandedOver({}, {}), replaced)

    async def _retire(self) -> None:
        self._assembly.tell_resources("on_drain", self._kept_seconds)
        if self._assembly.operations is not None:
            await self._assembly.operations.aclose()
        withdrawn = asyncio.create_task(self._assembly.registry.aclose())
        await retire(self, self._kept_seconds, EXCHANGE)
        await withdrawn
