"""An application → a handler of AWS Lambda's events.

In: the application of the manifest that `ASSEMBLY` names, or any other; events of API Gateway (HTTP
and REST APIs), load balancers and function URLs, which Mangum translates. Out: `assembler.handler`.
The application starts once, with the instance, and every request finds what its lifespan made;
Mangum by itself would start and stop it with each event. Refuses, as RuntimeError, a start that
fails: the instance then ends, and the next one tries.
"""

import asyncio
import atexit
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mangum import Mangum
from starlette.types import ASGIApp, Message, Receive, Scope, Send

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]


def handler_from_environment() -> "Instance":
    """Build and start the manifest that `ASSEMBLY` names; stop it when the process ends."""
    from assembler.asgi import app_from_environment  # noqa: PLC0415  # imports as little as it can

    instance = Instance(app_from_environment())
    atexit.register(instance.close)
    # Lambda tells an instance its end by SIGTERM, where an extension is registered
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    return instance


class Instance:
    """A handler: one application, started, on one event loop that runs while an event is handled.

    `options` are Mangum's, such as `api_gateway_base_path`.
    """

    def __init__(self, app: ASGIApp, **options: Any) -> None:
        self._app = app
        self._state: dict[str, Any] = {}
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._orders: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message] = asyncio.Queue()
        self._lifespan = self._loop.create_task(self._live())
        try:
            self._loop.run_until_complete(self._order("startup"))
        except BaseException:
            self._loop.close()
            raise
        self._mangum = Mangum(self._serve, lifespan="off", **options)

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Answer one event."""
        asyncio.set_event_loop(self._loop)
        return self._mangum(event, context)

    def close(self) -> None:
        """Stop the application; nothing is answered after that."""
        if self._loop.is_closed():
            return
        with suppress(RuntimeError):  # the application has logged what failed
            self._loop.run_until_complete(self._order("shutdown"))
        self._loop.close()

    async def _live(self) -> None:
        asgi = {"version": "3.0", "spec_version": "2.0"}
        scope = {"type": "lifespan", "asgi": asgi, "state": self._state}
        await self._app(scope, self._orders.get, self._answers.put)

    async def _order(self, word: str) -> None:
        """Send a message of the lifespan, and wait for its answer or for its end."""
        await self._orders.put({"type": f"lifespan.{word}"})
        answer = asyncio.ensure_future(self._answers.get())
        await asyncio.wait({answer, self._lifespan}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            reason = self._lifespan.exception()
            raise RuntimeError(f"the application ended at `lifespan.{word}`") from reason
        message = answer.result()
        if message["type"] == f"lifespan.{word}.failed":
            raise RuntimeError(message.get("message", ""))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = dict(self._state)
        if "elb" in scope["aws.event"].get("requestContext", {}):
            # Mangum takes the whole header, in which the balancer's own word is only the last one
            scope["client"] = (scope["client"][0].rpartition(",")[2].strip(), 0)
        await self._app(scope, receive, send)
