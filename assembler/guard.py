"""An exception that nobody handled → an answer that travels the stack.

Starlette answers unhandled exceptions outside all middleware, so a 500 has no CORS, security or
request-ID headers (starlette#1175). Here a `Guard` stands inside each middleware: what the layers
below it raise becomes a response there, and passes outwards like any other. The handlers are the
manifest's, the one for `Exception` last; without one the answer is a plain 500, and it is logged.

In: an ASGI application, the handlers. Out: an ASGI application that does not raise before its
response has started. Passes on whatever is not an HTTP request.
"""

import inspect
import logging
from collections.abc import Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("assembler.error")

_STARTED = "assembler.response_started"


class Guard:
    """Turns exceptions of `app` into responses.

    The first and the last guard of a stack watch for the start of the response: one sees what
    the routes send, the other what any middleware sends. Those between only read what they saw.
    """

    def __init__(
        self, app: ASGIApp, handlers: Mapping[Any, Callable[..., Any]], *, watches: bool
    ) -> None:
        self.app = app
        self.handlers = handlers
        self.watches = watches

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer what it raises, unless the response has started."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started: list[bool] = scope.setdefault(_STARTED, [])

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.append(True)
            await send(message)

        try:
            await self.app(scope, receive, watch if self.watches else send)
        except Exception as error:
            if started:
                raise
            await self._answer(scope, receive, send, error)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, error: Exception) -> None:
        request = Request(scope, receive)
        handler, is_last = self._handler(error)
        if is_last:
            logger.error(
                "unhandled exception in %s %s", scope["method"], scope["path"], exc_info=error
            )
        response: Any = None
        if handler is not None:
            try:
                if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
                    getattr(handler, "__call__", None)  # noqa: B004  # an object with an async __call__
                ):
                    response = await handler(request, error)
                else:
                    response = await run_in_threadpool(handler, request, error)
            except Exception as second:
                logger.exception("the handler of %s failed", type(error).__name__, exc_info=second)
        if response is None:
            response = PlainTextResponse("Internal Server Error", status_code=500)
        await response(scope, receive, send)

    def _handler(self, error: Exception) -> tuple[Callable[..., Any] | None, bool]:
        """Find a handler by status, then by class; tell whether it is the last resort."""
        if isinstance(error, HTTPException) and error.status_code in self.handlers:
            return self.handlers[error.status_code], False
        for kind in type(error).__mro__:
            if kind in self.handlers and kind is not Exception:
                return self.handlers[kind], False
        return self.handlers.get(Exception) or self.handlers.get(500), True
