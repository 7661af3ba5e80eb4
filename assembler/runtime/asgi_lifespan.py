"""A `Lifespan` → what a server talks to.

In: a `Lifespan`, and what requests are to find on their state. Out: an ASGI callable for the scope
`lifespan` (ASGI specification, lifespan protocol 2.0). A start that fails is answered with the
message that names the step and its line; the server then ends. A start that a signal ended is
answered as complete, once it is unwound: the server has heard the signal too, and stops by itself,
with the status that the signal gives.
"""

import logging
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from assembler.diagnostics.errors import ManifestError
from assembler.diagnostics.exceptions import failure_of
from assembler.diagnostics.render import render
from assembler.runtime import log_queue
from assembler.runtime.lifespan import Lifespan
from assembler.runtime.report import log
from assembler.runtime.signals import Drain
from assembler.runtime.task import call


@dataclass(frozen=True, slots=True)
class LifespanProtocol:
    """Answers the lifespan messages of a server."""

    lifespan: Lifespan
    states: tuple[dict[str, Any], ...]  # what requests find on `request.state`
    shared: list[dict[str, Any]]  # also to have the resources that are made later

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one start and one stop."""
        await receive()
        server = self.lifespan.plan.manifest.server
        with Drain(
            self.lifespan.assembly,
            drain=server.drain,
            graceful_seconds=server.timeout_graceful_shutdown,
        ) as drain:
            try:
                is_up = await drain.start(self.lifespan.start)
            except Exception as error:
                # Without an answer a server would take it that there is no lifespan, and serve.
                message = f"the start failed\n{_said(error)}"
                await send({"type": "lifespan.startup.failed", "message": message})
                if "asgi" not in scope:  # no server, but a client for tests: it wants the exception
                    raise
                return
            for state in self.states if is_up and "state" in scope else ():
                scope["state"].update(state)
            if is_up and "state" in scope:
                self.shared.append(scope["state"])
            registry = self.lifespan.assembly.registry
            if is_up and registry is not None and "asgi" in scope:
                is_supervised = self.lifespan.assembly.supervision is not None
                await registry.open(is_supervised=is_supervised)
                await self._show(drain)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self._hide()
            if registry is not None:
                await registry.aclose()
            if is_up:
                await self.lifespan.stop(drain.told_at)
                self.shared[:] = [each for each in self.shared if each is not scope.get("state")]
            await call(log_queue.flush)  # a signal may end the process without another word
            await send({"type": "lifespan.shutdown.complete"})

    async def _show(self, drain: Drain) -> None:
        """Begin to tell operators of other processes, and say where their pages are."""
        assembly, options = self.lifespan.assembly, self.lifespan.plan.server
        if assembly.operations is not None:
            await assembly.operations.open()
        for prefix in assembly.consoles:
            log(
                logging.INFO,
                f"console: {drain.address((options['host'], options['port']))}{prefix}",
            )

    async def _hide(self) -> None:
        if self.lifespan.assembly.operations is not None:
            await self.lifespan.assembly.operations.aclose()


def _said(error: Exception) -> str:
    if isinstance(error, ManifestError):
        return "\n\n".join(render(fault) for fault in error.diagnostics)
    return failure_of(error)
