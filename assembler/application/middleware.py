"""The stack of an application: its layers, and what becomes of an exception that leaves them.

In: an application with its layers, outermost first, and its handlers. Out: `Application`, a FastAPI
whose stack is Starlette's with two things more. A `_Waypoint` stands inside each layer, and an
`ExceptionBoundary` outside all of them.

An exception travels outwards through every layer, as in Starlette: through `finally`, `except` and
`async with` of anyone's middleware. Who catches it and answers has answered. Each place that it
passes keeps the `send` that it was given. Where nobody answered, the boundary makes the answer once
the exception has left the last layer, and sends it through the `send` of the innermost of these
places: the layers are closures around it, and edit the answer as they edit any other (CORS, IDs,
security headers), which Starlette's own 500 never meets (starlette#1175). Then the exception is
raised on, so that servers, tracers and test clients see it.

A layer whose `send` is of no use any more (`BaseHTTPMiddleware` has closed its stream) is passed by:
a `_Relay` inside it hands the answer to the `send` that this layer was given itself. A layer that
says `send_outlives_call = True` does without a relay (see `assembler.runtime.contracts`).
"""

import asyncio
import copy
import inspect
import logging
import sys
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import Context, ContextVar, Token, copy_context
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import anyio
import starlette
from fastapi import FastAPI
from fastapi.exceptions import ValidationException
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException, WebSocketException
from starlette.middleware import Middleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assembler.application.openapi import Stack, extended, name_of, same_layers, tell_mounted
from assembler.plan.closing_layers import ATTRIBUTE, class_closes_send

logger = logging.getLogger("assembler.error")

EXCHANGE = "assembler.exchange"
"""The key of a scope under which layers find the `Exchange` of their request."""

ENTRIES = "entries"
"""The attribute of a route that holds others, which are those of the application all the same."""

_TRAIL = "assembler.trail"
_LAST_WORD = "assembler.last_word"
_LAST = (Exception, 500)
_LOGGED = "_assembler_has_logged"
_PATIENCE_SECONDS = 2.0
_UNSET: Any = object()
_SERVERS = (
    "uvicorn.error",
    "gunicorn.error",
    "hypercorn.error",
    "mangum.http",
    "_granian.utils",
)

Handler = Callable[..., Any]
Failed = Callable[[Middleware, BaseException], None]


class Application(FastAPI):
    """A FastAPI application whose stack lets exceptions travel; see this module's opening.

    Until `seal` or `seal_inside` it is FastAPI's own. Whoever builds the stack anew, as
    instrumentation does, gets the same one; `app.user_middleware` stays as it is, for who reads it.
    """

    _seal: "_Seal | None" = None
    _outer: "Application | None" = None  # in which it is mounted, as a part of one whole
    _level = 0  # where the places between its layers begin: deeper than those of the outer one
    extends_openapi = True
    """Whether the OpenAPI document has what layers, handlers and dependencies offer."""

    _plain: dict[str, Any] | None = None  # FastAPI's document, made before there was a stack
    _document: dict[str, Any] | None = None
    _document_stacks: Sequence[Stack] = ()
    outside: Callable[[], Sequence[Stack]] | None = None
    """Gives the stacks around the mount of this application, where it is mounted in another one."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document: FastAPI's, with what the parts of the stack add to it.

        It is made once, and anew when routes or the stack have changed. What somebody else has put
        at `openapi_schema` is the document as it stands.
        """
        is_plain = self._seal is None or not self.extends_openapi
        stacks = [] if is_plain else [self.own_stack(), *self.stacks_outside()]
        if self.openapi_schema is self._document and not same_layers(stacks, self._document_stacks):
            self.openapi_schema = None
        before = self.openapi_schema
        document = self._document_of_routes()
        if document is before and document is not self._plain:
            return document
        if is_plain:
            self._plain = document
            return document
        self._document, self._document_stacks = document, stacks
        routes = (
            (each, self.stacks_around(route))
            for route in self.routes
            for each in getattr(route, ENTRIES, (route,))
        )
        return extended(document, routes)

    def _document_of_routes(self) -> dict[str, Any]:
        """FastAPI's document, with the routes that stand in a scope of their own."""
        if not any(hasattr(route, ENTRIES) for route in self.routes):
            return super().openapi()
        view = copy.copy(self)  # the same application, its scopes opened
        view.router = copy.copy(self.router)
        view.router.routes = [
            each for route in self.routes for each in getattr(route, ENTRIES, (route,))
        ]
        document = FastAPI.openapi(view)
        for name in (
            "openapi_schema",
            "_openapi_routes_version",
        ):  # by which FastAPI knows it again
            if name in vars(view):
                setattr(self, name, vars(view)[name])
        return document

    def stacks_around(self, route: BaseRoute, path: str = "") -> list[Stack]:
        """The stacks around a route, or around what is mounted at `path`, the innermost first."""
        scoped = getattr(getattr(route, "stack", None), "parts", None)
        inner = [self.own_stack()] if scoped is None else [scoped, self.own_stack()]
        found = [*inner, *self.stacks_outside()]
        return [replace(each, prefix=each.prefix + path) for each in found] if path else found

    def stacks_outside(self) -> Sequence[Stack]:
        """The stacks around the mount of this application, the innermost first."""
        return () if self.outside is None else self.outside()

    def stacks_for_documents(self, route: BaseRoute, path: str) -> list[Stack]:
        """The stacks of which the document of what is mounted at `path` tells."""
        return self.stacks_around(route, path) if self.extends_openapi else []

    def own_stack(self) -> Stack:
        """The layers of the application as they were made, and its handlers."""
        made = self._seal.made if self._seal is not None else []
        return Stack(made, _all_handlers(self))

    def build_middleware_stack(self) -> ASGIApp:
        """Build Starlette's stack around places and a boundary."""
        if self._seal is None:
            return super().build_middleware_stack()
        if self._outer is not None:
            return self._seal.inner_stack(self, self._outer)
        handlers = dict(self.exception_handlers)
        view = copy.copy(self)  # the same application, as the method of FastAPI is to see it
        view.user_middleware = self._seal.stack(self.user_middleware, handlers, debug=self.debug)
        view.exception_handlers = {
            key: value for key, value in handlers.items() if key not in _LAST
        }
        last: Any = partial(_last_word, handlers)  # its answer is any ASGI application
        view.exception_handlers[Exception] = last
        view.debug = False  # the boundary shows the traceback
        if starlette.__version__.startswith("0.40."):  # which keeps the answer to a handshake
            view.exception_handlers = {
                key: partial(_denying, each) for key, each in view.exception_handlers.items()
            }
        return FastAPI.build_middleware_stack(view)


async def _denying(handler: Handler, connection: Any, error: Exception) -> Any:
    """Call a handler, and send a websocket what it answers, as Starlette does from 0.41 on."""
    response = await _call(handler, connection, error)
    if response is not None and connection.scope["type"] == "websocket":
        await response(connection.scope, connection._receive, connection._send)  # noqa: SLF001  # no public ones
    return response


def seal(
    app: Application, failed: Failed, scrub: Callable[[str], str], *, raise_unhandled: bool = True
) -> None:
    """Build the stack of `app`.

    Args:
        app: gets its stack, so that a constructor that fails shows now.
        failed: is told of each layer that cannot be made, and why; it is left out.
        scrub: takes the secrets out of what is logged.
        raise_unhandled: whether what no handler was meant for is raised to the server after its
            answer, as Starlette does.
    """
    made = app._seal = _Seal(failed, scrub, raise_unhandled=raise_unhandled)  # noqa: SLF001  # of this module
    app.middleware_stack = app.build_middleware_stack()
    made.failed = _raised
    _tell_all_mounted(app)
    for name in _SERVERS:
        if not any(isinstance(each, _NotTwice) for each in logging.getLogger(name).filters):
            logging.getLogger(name).addFilter(_NotTwice())


def _tell_all_mounted(app: Application) -> None:
    for route in app.routes:
        for each in getattr(route, ENTRIES, (route,)):
            _tell_mounted(app, route, each)


def _tell_mounted(app: Application, route: BaseRoute, mount: Any) -> None:
    """Have the document of what is mounted show what stands around it."""
    inner = getattr(mount, "app", None)
    if isinstance(inner, FastAPI):
        path = getattr(mount, "path", "")  # a host has none
        outside = partial(app.stacks_for_documents, route, path)
        if isinstance(inner, Application):
            inner.outside = outside
        else:
            tell_mounted(inner, outside)


def seal_inside(
    app: Application, outer: Application, failed: Failed, names: Mapping[Middleware, str]
) -> None:
    """Build the stack of `app`, which is mounted in `outer`, once that one is sealed.

    What nobody in it answers goes to the handlers of `outer`, then leaves through its layers.
    `names` are the ids of layers.
    """
    assert outer._seal is not None  # noqa: SLF001, S101  # of this module
    made = app._seal = _Seal(  # noqa: SLF001  # as above
        failed,
        outer._seal.scrub,  # noqa: SLF001  # as above
        raise_unhandled=outer._seal.raise_unhandled,  # noqa: SLF001  # as above
        names=names,
    )
    app._outer = outer  # noqa: SLF001  # as above
    app._level = outer._level + 2 * SCOPED_DEPTH  # noqa: SLF001  # as above; a route's own are between
    app.middleware_stack = app.build_middleware_stack()
    made.failed = _raised
    _tell_all_mounted(app)


def _raised(layer: Middleware, error: BaseException) -> None:
    raise error


class _Seal:
    """How the stack of one application is built."""

    def __init__(
        self,
        failed: Failed,
        scrub: Callable[[str], str],
        *,
        raise_unhandled: bool,
        names: Mapping[Middleware, str] = MappingProxyType({}),
    ) -> None:
        self.failed = failed
        self.scrub = scrub
        self.raise_unhandled = raise_unhandled
        self.made: list[Any] = []
        """The layers as they were made, the innermost first."""
        self.names = names

    def stack(
        self, layers: list[Middleware], handlers: Mapping[Any, Handler], *, debug: bool
    ) -> list[Middleware]:
        """The boundary, then each layer with the place inside it."""
        self.made = []
        boundary = partial(
            ExceptionBoundary,
            depth=len(layers),
            handlers=handlers,
            scrub=self.scrub,
            raise_unhandled=self.raise_unhandled,
            debug=debug,
        )
        stack = [Middleware(boundary)]
        for depth, layer in enumerate(layers, start=1):
            place: Callable[..., Any] = partial(_Waypoint, depth=depth, relay=_relay_for(layer.cls))
            if depth == len(layers):
                place = partial(_innermost, place, handlers.get(500))
            stack += [Middleware(self.factory(layer)), Middleware(place)]
        return stack

    def inner_stack(self, app: Application, outer: Application) -> ASGIApp:
        """Build the stack of an application that is mounted: FastAPI's without its outermost place."""
        self.made = []
        handlers = _Handlers.within(_handlers_of(outer), app.exception_handlers)
        layers = app.user_middleware
        boundary = partial(
            ScopeBoundary,
            base=app._level,  # noqa: SLF001  # of this module
            depth=app._level + len(layers),  # noqa: SLF001  # as above
            handlers=handlers.own,
            last=handlers.last,
            scrub=self.scrub,
            raise_unhandled=self.raise_unhandled,
            debug=False,
        )
        places: list[Callable[..., Any]] = [boundary]
        for depth, layer in enumerate(layers, start=app._level + 1):  # noqa: SLF001  # as above
            name = self.names.get(layer) or name_of(layer.cls)
            relay = _relay_for(layer.cls)
            places += [
                self.factory(layer),
                partial(_Waypoint, depth=depth, relay=relay, name=name),
            ]
        places[-1] = partial(_innermost, places[-1], handlers.inside.get(500))
        view = copy.copy(app)  # the same application, as the method of FastAPI is to see it
        view.user_middleware = [Middleware(place) for place in places]
        view.exception_handlers = {
            key: value for key, value in handlers.inside.items() if key not in _LAST
        }
        whole: Any = FastAPI.build_middleware_stack(view)
        stack: ASGIApp = whole.app
        return stack

    def factory(self, layer: Middleware) -> Callable[[ASGIApp], ASGIApp]:
        """Make a layer, or tell why that is not possible and leave it out."""

        def make(app: ASGIApp) -> ASGIApp:
            try:
                made: ASGIApp = layer.cls(app, *layer.args, **layer.kwargs)
                if not callable(made):
                    kind = type(made).__name__
                    raise TypeError(f"it gives a {kind}, not an ASGI application")  # noqa: TRY301  # one way to tell
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001  # user code may raise anything
                self.failed(layer, error)
                return app
            self.made.append(made)
            return made

        return make


class ExceptionBoundary:
    """The outermost place: answers what nobody inside has answered, then raises it on.

    What a layer raised goes to the handlers of every class and status, and counts as answered where
    one of them was meant for it; what came from within all layers has been with these handlers
    already, so that only the one for `Exception` (or 500) is left. Without one the answer is a
    plain 500. What is unhandled is logged, unless the handler says by `reports = True` that it
    does so itself.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        depth: int,
        handlers: Mapping[Any, Handler],
        scrub: Callable[[str], str],
        raise_unhandled: bool,
        debug: bool,
    ) -> None:
        if depth == 0:
            _give_500(app, handlers.get(500))
        self.app = app
        self._depth = depth  # how many layers stand inside
        self.handlers = handlers
        self._scrub = scrub
        self._raise_unhandled = raise_unhandled
        self._debug = debug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and see to what it raises."""
        trail = scope.get(_TRAIL)
        if trail is not None:  # who asks how far a request comes: `assembler.testing.expect`
            trail.append((0, dict(scope), None))
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        outer = scope.get(EXCHANGE)
        exchange = scope[EXCHANGE] = Exchange(send)
        scope[_LAST_WORD] = None
        try:
            await self.app(scope, receive, exchange)
        except BaseException as error:
            if self._is_for_the_last(exchange, error, scope):
                scope[_LAST_WORD] = partial(self._answer_last, exchange, error)
            elif await self._is_settled(exchange, error, scope, receive):
                return
            raise
        finally:
            if outer is not None:  # of an application around this one, in whose scope we run
                scope[EXCHANGE] = outer
            has_ended = exchange.error is not None or exchange.ends is not None
            if has_ended and scope[_LAST_WORD] is None:
                exchange.end()

    def _is_for_the_last(self, exchange: "Exchange", error: BaseException, scope: Scope) -> bool:
        """Tell whether ServerErrorMiddleware is to ask for the answer: what is raised on unanswered."""
        if exchange.status or not isinstance(error, Exception):
            return False
        if (
            not self._raise_unhandled
            or _TRAIL in scope
            or isinstance(_sole(error), ClientDisconnect)
        ):
            return False
        return not self._is_of_layer(exchange, error) or self._meant_for(error) is None

    async def _answer_last(
        self,
        exchange: "Exchange",
        error: BaseException,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Answer as an ASGI application, by the way that the exchange knows."""
        try:
            await self._is_settled(exchange, error, scope, receive)
        finally:
            exchange.end()

    def _is_of_layer(self, exchange: "Exchange", error: BaseException) -> bool:
        """Tell whether a layer raised it, and not what is within all of them."""
        stops = exchange.stops if exchange.error is error else []
        return (stops[0].depth if stops else 0) < self._depth

    async def _is_settled(
        self, exchange: "Exchange", error: BaseException, scope: Scope, receive: Receive
    ) -> bool:
        """Answer `error` where that is possible; tell whether it ends here."""
        if isinstance(error, GeneratorExit) or _is_own_cancellation(error):
            return False  # nothing may wait any more
        if isinstance(_sole(error), ClientDisconnect):
            _mark_as_logged(error)  # nobody is there, and nothing is wrong
            return False
        stops = exchange.stops if exchange.error is error else []
        scope = stops[0].scope if stops else scope
        is_of_layer = self._is_of_layer(exchange, error)
        tokens = _restored(exchange.context) if stops else []
        try:
            handler = self._meant_for(error) if is_of_layer and not exchange.status else None
            is_answered = handler is not None
            was_begun = exchange.status > 0
            is_told = _is_logged(error) or getattr(exchange, "settled", None) is error
            if handler is None and not (was_begun and is_told):
                handler = self.handlers.get(Exception) or self.handlers.get(500)
                self._report(handler, error, scope, begun=was_begun)
            response = await self._response(handler, _sole(error) if is_answered else error, scope)
            if not was_begun:
                await exchange.answer(response, stops, scope, receive)
        finally:
            for token in reversed(tokens):
                token.var.reset(token)
        if is_answered:
            return True
        is_quiet = not self._raise_unhandled or _TRAIL in scope
        is_of_others = was_begun and getattr(exchange, "settled", None) is not error
        return is_quiet and not is_of_others and isinstance(error, Exception)

    def _meant_for(self, error: BaseException) -> Handler | None:
        """Find a handler by status, then by class, `Exception` aside."""
        sole = _sole(error)
        if isinstance(sole, HTTPException) and sole.status_code in self.handlers:
            return self.handlers[sole.status_code]
        for kind in type(sole).__mro__:
            if kind in self.handlers and kind is not Exception:
                return self.handlers[kind]
        return None

    async def _response(
        self, handler: Handler | None, error: BaseException, scope: Scope
    ) -> ASGIApp:
        # Without `receive`, as in Starlette: a body that was read once never comes again.
        request = Request(scope)
        if self._debug and isinstance(error, Exception):
            return ServerErrorMiddleware(self.app).debug_response(request, error)
        response: ASGIApp | None = None
        if handler is not None:
            try:
                response = await _call(handler, request, error)
            except Exception as second:  # noqa: BLE001  # a handler may raise anything
                self._log(f"the handler of {type(error).__name__} failed", second, scope)
            else:
                if getattr(handler, "reports", False):
                    _mark_as_logged(error)
        return response or PlainTextResponse("Internal Server Error", status_code=500)

    def _report(
        self, handler: Handler | None, error: BaseException, scope: Scope, *, begun: bool
    ) -> None:
        if getattr(handler, "reports", False):
            return
        what = "exception after the answer had begun" if begun else "unhandled exception"
        is_raised_on = begun or self._raise_unhandled
        with _apart_from_sentry() if is_raised_on else nullcontext():
            self._log(f"{what} in {scope['method']} {scope['path']!r}", error, scope)

    def _log(self, text: str, error: BaseException, scope: Scope) -> None:
        """Log the traceback without the secrets that it quotes, and with the request's ID."""
        if not logger.isEnabledFor(logging.ERROR):
            return
        info = (type(error), error, error.__traceback__)
        record = logger.makeRecord(logger.name, logging.ERROR, __file__, 0, text, (), info)
        record.exc_text = self._scrub("".join(traceback.format_exception(error)).rstrip())
        request_id = (scope.get("state") or {}).get("request_id")
        if request_id is not None:
            record.request_id = request_id
        logger.handle(record)  # formatters print `exc_text` where it is there
        _mark_as_logged(error)


SCOPED_DEPTH = 1_000_000
"""Where the places of a route's own layers begin: deeper than those of the application."""


class Layers(NamedTuple):
    """The layers of a route, outermost first, what each is called, and who is told of a failure."""

    stack: list[Middleware]
    names: Mapping[Middleware, str]
    failed: Failed


class _Handlers(NamedTuple):
    """The handlers of a part of an application: `own` before those around it, see `within`."""

    own: dict[Any, Handler]  # for what its layers raise
    inside: dict[Any, Handler]  # for what its routes raise
    last: Handler | None  # for any exception, where it has one itself

    @classmethod
    def within(cls, around: Mapping[Any, Handler], mine: Mapping[Any, Handler]) -> "_Handlers":
        """Join the handlers of a part with those around it, which answer what it has none for."""
        classes = tuple(key for key in mine if isinstance(key, type) and key is not Exception)
        is_all = not mine.keys().isdisjoint(_LAST)
        theirs = {
            key: handler
            for key, handler in around.items()
            if key not in _LAST and not _is_covered(key, classes, is_all=is_all)
        }
        inside = {**theirs, **{key: one for key, one in mine.items() if key is not Exception}}
        if 500 in around:  # for an HTTPException of that status
            inside.setdefault(500, around[500])
        return cls({**theirs, **mine}, inside, mine.get(Exception) or mine.get(500))


def _handlers_of(app: Application) -> dict[Any, Handler]:
    """Return the handlers of an application, with those around it where it is mounted."""
    if app._outer is None:  # noqa: SLF001  # of this module
        return dict(app.exception_handlers)
    found = _Handlers.within(_handlers_of(app._outer), app.exception_handlers)  # noqa: SLF001  # as above
    return {**found.inside, **found.own}


def _all_handlers(app: Application) -> dict[Any, Handler]:
    """Return what answers in an application, that for any exception included."""
    if app._outer is None:  # noqa: SLF001  # of this module
        return dict(app.exception_handlers)
    found = _Handlers.within(_handlers_of(app._outer), app.exception_handlers)  # noqa: SLF001  # as above
    return _answering(found, app.exception_handlers, _all_handlers(app._outer))  # noqa: SLF001  # as above


def _answering(
    found: _Handlers, mine: Mapping[Any, Handler], around: Mapping[Any, Handler]
) -> dict[Any, Handler]:
    """Add the handler for any exception of those around a part that has none itself."""
    if not mine.keys().isdisjoint(_LAST):
        return found.own
    return {**found.own, **{key: around[key] for key in _LAST if key in around}}


def scoped_stack(
    app: Application,
    inner: ASGIApp,
    layers: Layers,
    handlers: Mapping[Any, Handler],
) -> ASGIApp:
    """Build the stack of one route of `app` around `inner`, its layers and handlers inside the app's.

    A handler of the application answers where the route has none for it, and does so inside the
    layers of the route, so that a 404 has their headers, too.
    """
    assert app._seal is not None  # noqa: SLF001, S101  # of this module, once the app is sealed
    found = _Handlers.within(_handlers_of(app), handlers)
    made = _Seal(layers.failed, app._seal.scrub, raise_unhandled=app._seal.raise_unhandled)  # noqa: SLF001  # as above
    base = app._level + SCOPED_DEPTH  # noqa: SLF001  # as above
    around: ASGIApp = ExceptionMiddleware(inner, handlers=found.inside)
    for depth in range(len(layers.stack), 0, -1):
        layer = layers.stack[depth - 1]
        relay, name = _relay_for(layer.cls), layers.names.get(layer)
        place = _Waypoint(around, depth=base + depth, relay=relay, name=name)
        around = made.factory(layer)(place)
    made.failed = _raised
    boundary = ScopeBoundary(
        around,
        base=base,
        depth=base + len(layers.stack),
        handlers=found.own,
        last=found.last,
        scrub=app._seal.scrub,  # noqa: SLF001  # as above
        raise_unhandled=app._seal.raise_unhandled,  # noqa: SLF001  # as above
        debug=app.debug,
    )
    boundary.parts = Stack(made.made, _answering(found, handlers, _all_handlers(app)))
    return boundary


def _is_covered(key: Any, classes: tuple[type, ...], *, is_all: bool) -> bool:
    """Tell whether a route's own handlers come before the app's one for `key`.

    Those of `classes` do for what is one of them, and one for `Exception`, where `is_all`, for what
    is no answer of FastAPI's own.
    """
    if isinstance(key, int):
        return any(issubclass(HTTPException, each) for each in classes)
    answers = (HTTPException, WebSocketException, ValidationException)
    return issubclass(key, classes) or (is_all and not issubclass(key, answers))


class ScopeBoundary(ExceptionBoundary):
    """The outermost place of a route's own stack: answers what a handler is meant for, no more.

    What nobody inside has answered, and no handler of the route is for, leaves through the layers of
    the application, whose boundary answers it through those of the route.
    """

    def __init__(self, app: ASGIApp, *, base: int, last: Handler | None, **options: Any) -> None:
        super().__init__(app, **options)
        self._base = base  # the depth of a place outside all layers of the part
        self._last = last
        self.parts = Stack((), self.handlers)
        """What the OpenAPI document of the route is told by."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = scope.get(EXCHANGE)
        if scope["type"] != "http" or exchange is None:
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except BaseException as error:
            if not await self._is_answered(exchange, error, scope, receive, send):
                raise

    async def _is_answered(
        self, exchange: "Exchange", error: BaseException, scope: Scope, receive: Receive, send: Send
    ) -> bool:
        """Answer `error` where a handler is meant for it; tell whether it ends here."""
        is_gone = isinstance(_sole(error), ClientDisconnect)
        if is_gone or isinstance(error, GeneratorExit) or _is_own_cancellation(error):
            return False
        stops = exchange.stops if exchange.error is error else []
        is_of_layer = self._depth > self._base and (not stops or stops[0].depth < self._depth)
        handler = self._meant_for(error) if is_of_layer else None
        last = self._last if isinstance(error, Exception) else None
        if exchange.status or (handler is None and last is None):
            return False
        scope = stops[0].scope if stops else scope
        tokens = _restored(exchange.context) if stops else []
        try:
            if handler is None:
                self._report(last, error, scope, begun=False)
            sole = _sole(error) if handler is not None else error
            response = await self._response(handler or last, sole, scope)
            await exchange.answer(response, list(stops), scope, receive, around=send)
        finally:
            for token in reversed(tokens):
                token.var.reset(token)
        if handler is None:
            exchange.settled = error
        return handler is not None


class Exchange:
    """One request at the boundary: the `send` of the server, and what became of the exception.

    Layers find it in their scope, and may ask `at_end` to be told how the request ended.
    """

    __slots__ = (
        *("_headers", "_patience", "_said", "_send"),
        *("context", "ends", "error", "settled", "status", "stops"),
    )
    settled: BaseException

    def __init__(self, send: Send) -> None:
        self._send = send
        self._said: list[bytes] | None = None
        self.status = 0
        """The status that has reached the server, 0 before that."""
        self.ends: list[Callable[[int], None]] | None = None
        self.error: BaseException | None = None
        # Made when they are needed: `settled`, what a route's own handler for `Exception` has answered
        # and raised on; `_headers` at the start, `context` and `stops` when an exception
        # passes, `_patience` when it is answered.

    def __call__(self, message: Message) -> Awaitable[None]:
        """Hand a message to the server."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._said is not None:
                message = self._begun(message, self._said)
            self._headers: Any = message.get("headers", ())
        return self._send(message)

    async def end_event_stream(self) -> None:
        """End an answer of `text/event-stream` with its last chunk; what comes later is dropped.

        Any other answer would look whole where it is not.
        """
        fields = self._headers if self.status else ()
        types = [value for name, value in fields if name.lower() == b"content-type"]
        if any(value.lower().startswith(_EVENTS) for value in types):
            send, self._send = self._send, _dropped
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    def at_end(self, function: Callable[[int], None]) -> None:
        """Have `function` called once, when all is over, with the status that the server got.

        It is 0 where there was none. For layers that an exception passes: their own end is not
        that of the request.
        """
        self.ends = [function, *(self.ends or ())]

    def passes(self, error: BaseException, depth: int, scope: Scope, send: Send) -> None:
        """Note that `error` passes a place, and the `send` that was given there."""
        if error is not self.error or depth >= self.stops[-1].depth:
            self.error = error
            self.stops: list[_Stop] = []
            self.context = copy_context()
        self.stops.append(_Stop(depth, scope, send))

    async def answer(
        self,
        response: ASGIApp,
        stops: "list[_Stop]",
        scope: Scope,
        receive: Receive,
        around: Send | None = None,
    ) -> None:
        """Send `response` through the places that the exception has passed, and `around` those.

        A layer that holds back the start of another answer is no way for this one.
        """
        self._patience: list[anyio.CancelScope] = []
        outer: Send = self if around is None else around
        for stop in reversed(stops):
            # A layer that has nothing to edit hands on what it was given: that is turned once.
            if isinstance(stop.send, _Relay) and stop.send is not outer:
                if stop.send.is_begun:
                    break
                stop.send.turn(outer, self)
            outer = stop.send
        await response(scope, receive, self._kept_from_caches(outer))

    def end(self) -> None:
        """Tell all who asked; nothing keeps the exception alive after this."""
        if self.error is not None:
            self.error = None
            self.stops = []
            if hasattr(self, "settled"):
                del self.settled
        for function in self.ends or ():
            try:
                function(self.status)
            except Exception:
                logger.exception("what a layer does at the end of a request failed")
        self.ends = None

    def wait(self, patience: anyio.CancelScope) -> None:
        """Let `patience` have no end once the answer has begun."""
        self._patience.append(patience)

    def _kept_from_caches(self, send: Send) -> Send:
        """A `send` of an error that no cache may keep unless the response itself says so."""

        def send_unkept(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start" and message["status"] >= 400:
                fields = list(message.get("headers", ()))
                self._said = [value for name, value in fields if name.lower() == _CACHE[0]]
                if not self._said:
                    self._said = [b"no-store"]
                    fields.append((_CACHE[0], b"no-store"))
                message = {**message, "headers": fields}
            return send(message)

        return send_unkept

    def _begun(self, message: Message, said: list[bytes]) -> Message:
        """The start of an error's answer, with what a layer says of caches taken out again."""
        for patience in self._patience:
            patience.deadline = float("inf")
        fields = [field for field in message.get("headers", ()) if field[0].lower() not in _CACHE]
        return {**message, "headers": [*fields, *((_CACHE[0], value) for value in said)]}


async def _dropped(_: Message) -> None:
    """Take a message for nobody."""


_EVENTS = b"text/event-stream"
_CACHE = (b"cache-control", b"cdn-cache-control", b"surrogate-control", b"expires")


class _Stop:
    """A place that an exception has passed."""

    __slots__ = ("depth", "scope", "send")

    def __init__(self, depth: int, scope: Scope, send: Send) -> None:
        self.depth = depth
        self.scope = scope
        self.send = send


class _Waypoint:
    """Stands inside a layer, and notes which exceptions pass it; edits nothing."""

    is_transparent = True

    def __init__(
        self, app: ASGIApp, *, depth: int, relay: "type[_Relay] | None", name: str | None = None
    ) -> None:
        self.app = app
        self._name = name  # of the layer around it, where that is no layer of the whole
        self._depth = depth  # how many layers stand outside
        self._relay = relay

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trail = scope.get(_TRAIL)
        if trail is not None:
            trail.append((self._depth, dict(scope), self._name))
        if self._relay is not None and scope["type"] == "http":
            send = self._relay(send)
        try:
            await self.app(scope, receive, send)
        except BaseException as error:
            exchange = scope.get(EXCHANGE)
            if exchange is not None:
                exchange.passes(error, self._depth, scope, send)
            raise


class _Relay:
    """The `send` of a layer, which can be changed when the layer is over."""

    __slots__ = ("is_begun", "send")

    def __init__(self, send: Send) -> None:
        self.send = send
        self.is_begun = False

    def __call__(self, message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            self.is_begun = True
        return self.send(message)

    def turn(self, around: Send, exchange: "Exchange") -> None:
        """Make ready for the answer to an exception that has passed the layer."""
        self.send = _Bypass(self.send, around, exchange)


class _ClosedRelay(_Relay):
    """The same for a layer that is known to send nothing any more."""

    __slots__ = ()

    def turn(self, around: Send, exchange: "Exchange") -> None:
        self.send = around


class _Bypass:
    """The `send` of a layer that is over, and the way around it.

    Messages take the way around where the layer's `send` raises, waits for somebody who is gone, or
    keeps the whole answer to itself, before anything has reached the server.
    """

    __slots__ = ("_around", "_exchange", "_held", "_is_around", "_send")

    def __init__(self, send: Send, around: Send, exchange: Exchange) -> None:
        self._send = send
        self._around = around
        self._exchange = exchange
        self._held: list[Message] = []
        self._is_around = False

    async def __call__(self, message: Message) -> None:
        if self._is_around:
            await self._around(message)
            return
        if self._exchange.status:
            await self._send(message)
            return
        # A copy: layers edit the message, and the list of its headers.
        copied = {**message, "headers": list(message["headers"])} if "headers" in message else {}
        self._held.append(copied or dict(message))
        if await self._is_taken(message):
            return
        self._is_around = True
        for each in self._held:
            await self._around(each)

    async def _is_taken(self, message: Message) -> bool:
        is_last = message["type"] == "http.response.body" and not message.get("more_body")
        try:
            with anyio.fail_after(_PATIENCE_SECONDS) as patience:
                self._exchange.wait(patience)
                await self._send(message)
        except Exception:
            if self._exchange.status:
                raise
            return False
        return self._exchange.status > 0 or not is_last


class _NotTwice(logging.Filter):
    """Drops a server's record of an exception that is in our log already."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            return error.__dict__.pop(_LOGGED, None) is None
        # Granian's is text alone: its own first line, and the traceback.
        text = record.getMessage().rstrip() if "\nTraceback " in str(record.msg) else ""
        told = next((each for each in _LAST_TOLD if text.endswith(each)), None)
        if told is None:
            return True
        _LAST_TOLD.remove(told)
        return False


_LAST_TOLD: deque[str] = deque(maxlen=64)
"""How the tracebacks end that were logged last, where a server tells of them by text."""


def _mark_as_logged(error: BaseException) -> None:
    error.__dict__[_LOGGED] = True
    if "granian" in sys.modules:
        _LAST_TOLD.append("".join(traceback.format_exception_only(error)).rstrip())


def _relay_for(layer: object) -> type[_Relay] | None:
    """What stands inside a layer: nothing where its `send` is known to work on."""
    if class_closes_send(layer):
        return _ClosedRelay
    return None if getattr(layer, ATTRIBUTE, False) else _Relay


def _innermost(
    place: Callable[[ASGIApp], ASGIApp], handler: Handler | None, app: ASGIApp
) -> ASGIApp:
    _give_500(app, handler)
    return place(app)


def _give_500(app: Any, handler: Handler | None) -> None:
    """Give Starlette's ExceptionMiddleware the handler for 500, which it is not told of."""
    if handler is not None:
        app.add_exception_handler(500, handler)


@contextmanager
def _apart_from_sentry() -> Iterator[None]:
    """Keep a record from Sentry, which sees the exception itself when it leaves the application.

    Its hook in `logging` comes first and would report the exception as handled.
    """
    sdk, hook = map(sys.modules.get, ("sentry_sdk", "sentry_sdk.integrations.logging"))
    if sdk is None or hook is None or sdk.get_client().get_integration("starlette") is None:
        yield
        return
    hook.ignore_logger(logger.name)
    try:
        yield
    finally:
        getattr(hook, "unignore_logger", lambda _: None)(logger.name)


def _is_logged(error: BaseException) -> bool:
    return _LOGGED in error.__dict__


def _is_own_cancellation(error: BaseException) -> bool:
    """Whether it is this task that somebody has cancelled, and not one that it waited for."""
    if not isinstance(error, anyio.get_cancelled_exc_class()):
        return False
    try:
        task = asyncio.current_task()
    except RuntimeError:  # trio, where a task's cancellation never leaves it otherwise
        return True
    return task is None or task.cancelling() > 0


def _sole(error: BaseException) -> BaseException:
    """What a group of one, or one in another, holds: task groups wrap what a layer lets pass."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _restored(context: Context) -> list[Token[Any]]:
    """Set the variables of `context` that have other values now."""
    variables: list[ContextVar[Any]] = list(context)
    changed = [each for each in variables if each.get(_UNSET) is not context[each]]
    return [each.set(context[each]) for each in changed]


async def _last_word(
    handlers: Mapping[Any, Handler], request: Request, error: BaseException
) -> ASGIApp:
    """Answer, for ServerErrorMiddleware, what left the boundary, or was raised outside of it."""
    plain = PlainTextResponse("Internal Server Error", status_code=500)
    if _LAST_WORD in request.scope:
        last: ASGIApp | None = request.scope.pop(_LAST_WORD)
        return last or plain  # which nobody is sent, where the answer has begun
    handler = handlers.get(Exception) or handlers.get(500)
    answer: ASGIApp = plain if handler is None else await _call(handler, request, error)
    return answer


async def _call(handler: Handler, request: Request, error: BaseException) -> Any:
    method = getattr(handler, "__call__", None)  # noqa: B004  # an object may have an async one
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(method):
        return await handler(request, error)
    return await run_in_threadpool(handler, request, error)
