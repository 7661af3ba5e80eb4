"""An exception that nobody handled → an answer that travels the stack.

Starlette answers unhandled exceptions outside all middleware, so a 500 has no CORS, security or
request-ID headers (starlette#1175). Here a `Guard` stands inside each middleware: what the layers
below it raise becomes a response there, and passes outwards like any other. The handlers are the
manifest's, the one for `Exception` last; without one the answer is a plain 500. What comes so far
is logged, unless the handler says by an attribute `reports = True` that it does so itself.

In: an ASGI application, the handlers. Out: an ASGI application that does not raise before its
response has started. Passes on whatever is not an HTTP request.
"""

import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("assembler.error")


class Guard:
    """Turns exceptions of `app` into responses."""

    is_transparent = True  # layers on both sides may join to one pass: nothing is edited between

    def __init__(
        self,
        app: ASGIApp,
        handlers: Mapping[Any, Callable[..., Any]],
        scrub: Callable[[str], str],
        depth: int = 0,
    ) -> None:
        self.app = app
        self.depth = depth  # how many layers stand outside
        self.handlers = handlers
        self.scrub = scrub

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer what it raises, unless the response has started."""
        trail = scope.get("assembler.trail")
        if trail is not None:  # who asks how far a request comes: `assembler.testing.expect`
            trail.append((self.depth, dict(scope)))
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # A middleware that leaves `send` as it is hands on the watch of the guard outside it.
        watch = send if type(send) is _Watch else _Watch(send)
        try:
            await self.app(scope, receive, watch)
        except Exception as error:
            if watch.started:
                raise
            response = await self._answer(scope, error)
            await response(scope, receive, watch)

    async def _answer(self, scope: Scope, error: Exception) -> ASGIApp:
        handler, is_last = self._handler(error)
        if is_last and not getattr(handler, "reports", False):
            self._log(f"unhandled exception in {scope['method']} {scope['path']!r}", error)
        response: ASGIApp | None = None
        if handler is not None:
            try:
                # Without `receive`, as in Starlette: a body that was read once never comes again.
                response = await _call(handler, Request(scope), error)
            except Exception as second:  # noqa: BLE001  # a handler may raise anything
                self._log(f"the handler of {type(error).__name__} failed", second)
        return response or PlainTextResponse("Internal Server Error", status_code=500)

    def _log(self, text: str, error: Exception) -> None:
        """Log the traceback without the secrets that it quotes."""
        if not logger.isEnabledFor(logging.ERROR):
            return
        info = (type(error), error, error.__traceback__)
        record = logger.makeRecord(logger.name, logging.ERROR, __file__, 0, text, (), info)
        record.exc_text = self.scrub("".join(traceback.format_exception(error)).rstrip())
        logger.handle(record)  # formatters print `exc_text` where it is there

    def _handler(self, error: Exception) -> tuple[Callable[..., Any] | None, bool]:
        """Find a handler by status, then by class; tell whether it is the last resort."""
        if isinstance(error, HTTPException) and error.status_code in self.handlers:
            return self.handlers[error.status_code], False
        for kind in type(error).__mro__:
            if kind in self.handlers and kind is not Exception:
                return self.handlers[kind], False
        return self.handlers.get(Exception) or self.handlers.get(500), True


class _Watch:
    """A `send` that knows whether the response has started."""

    __slots__ = ("send", "started")

    def __init__(self, send: Send) -> None:
        self.send = send
        self.started = False

    def __call__(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.started = True
        return self.send(message)


async def _call(handler: Callable[..., Any], request: Request, error: Exception) -> Any:
    method = getattr(handler, "__call__", None)  # noqa: B004  # an object may have an async one
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(method):
        return await handler(request, error)
    return await run_in_threadpool(handler, request, error)
