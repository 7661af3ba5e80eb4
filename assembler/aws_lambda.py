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

from starlette.types import ASGIApp, Receive, Scope, Send

from assembler.runtime.lifespan_client import LifespanClient, LifespanFailedError

try:
    from mangum import Mangum
except ModuleNotFoundError as error:
    _TEXT_OF_IT = "the handler needs Mangum: pip install 'fastapi-assembler[serverless]'"
    raise ModuleNotFoundError(_TEXT_OF_IT, name=error.name) from None

# Parts of the media types whose bodies are text; what is no UTF-8 all the same is sent as Base64.
_TEXT = (
    *("text/", "+json", "+xml", "+yaml", "+text", "+json-seq", "application/json"),
    *("application/xml", "application/javascript", "application/ecmascript", "application/yaml"),
    *("application/x-yaml", "application/toml", "application/sql", "application/graphql"),
    *("application/x-ndjson", "application/jsonl", "application/x-www-form-urlencoded"),
    *("application/vnd.oai.openapi", "application/rtf"),
)

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
        assembly = getattr(getattr(app, "state", None), "assembly", None)
        if assembly is not None:
            assembly.registry = None  # a sandbox that sleeps is no instance of a service
        self._state: dict[str, Any] = {}
        self._loop = asyncio.new_event_loop()
        asyncio.set_event_loop(self._loop)
        self._lifespan = LifespanClient(app, {}, self._state)
        try:
            self._loop.run_until_complete(self._start())
        except BaseException:
            self._loop.close()
            raise
        options.setdefault("text_mime_types", list(_TEXT))
        self._mangum = Mangum(self._serve, lifespan="off", **options)

    def __call__(self, event: dict[str, Any], context: Any) -> dict[str, Any]:
        """Answer one event."""
        asyncio.set_event_loop(self._loop)
        return self._mangum(event, context)

    def close(self) -> None:
        """Stop the application; nothing is answered after that."""
        if self._loop.is_closed():
            return
        with suppress(Exception):  # the application has logged what failed
            self._loop.run_until_complete(self._lifespan.aclose())
        self._loop.close()

    async def _start(self) -> None:
        try:
            await self._lifespan.open()
        except LifespanFailedError as error:
            raise RuntimeError(error.message or str(error)) from error
        if not self._lifespan.is_running:
            reason = "the application ended at `lifespan.startup`"
            raise RuntimeError(reason) from self._lifespan.error

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = dict(self._state)
        if "elb" in scope["aws.event"].get("requestContext", {}):
            # Mangum takes the whole header, in which the balancer's own word is only the last one
            scope["client"] = (scope["client"][0].rpartition(",")[2].strip(), 0)
        await self._app(scope, receive, send)
