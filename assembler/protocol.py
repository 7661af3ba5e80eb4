"""A `Lifespan` → what a server talks to.

In: a `Lifespan`, and what requests are to find on their state. Out: an ASGI callable for the scope
`lifespan` (ASGI specification, lifespan protocol 2.0). A start that fails is answered with the
message that names the step and its line; the server then ends.
"""

from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from assembler.errors import ManifestError, render
from assembler.failure import failure_of
from assembler.lifespan import Lifespan


@dataclass(frozen=True, slots=True)
class LifespanProtocol:
    """Answers the lifespan messages of a server."""

    lifespan: Lifespan
    states: tuple[dict[str, Any], ...]  # what requests find on `request.state`

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one start and one stop."""
        await receive()
        try:
            await self.lifespan.start()
        except Exception as error:
            # Without an answer a server would take it that there is no lifespan, and serve.
            await send(
                {"type": "lifespan.startup.failed", "message": f"the start failed\n{_said(error)}"}
            )
            if "asgi" not in scope:  # no server, but a client for tests, which wants the exception
                raise
            return
        for state in self.states if "state" in scope else ():
            scope["state"].update(state)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.lifespan.stop()
        await send({"type": "lifespan.shutdown.complete"})


def _said(error: Exception) -> str:
    if isinstance(error, ManifestError):
        return "\n\n".join(render(fault) for fault in error.diagnostics)
    return failure_of(error)
