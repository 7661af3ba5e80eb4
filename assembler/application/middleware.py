"""An application with its middleware and handlers → the same application, sealed.

In: a FastAPI application whose layers stand outermost first. Out: its stack is built, with a guard
inside each layer and one outside all of them. A layer whose constructor raises is reported and left
out, so that all of them are tried. `app.user_middleware` stays as it was, for who reads it.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, cast

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from assembler.application.guard import Guard

Failed = Callable[[Middleware, BaseException], None]
Handlers = Mapping[Any, Callable[..., Any]]


def seal(app: FastAPI, failed: Failed, scrub: Callable[[str], str]) -> None:
    """Build the stack of `app`; `failed` is told of each layer that cannot be made, and why.

    `scrub` takes the secrets out of what the guards log.
    """
    handlers = dict(app.exception_handlers)
    layers = list(app.user_middleware)
    app.user_middleware[:] = _guarded(
        layers, partial(Guard, handlers=handlers, scrub=scrub), failed
    )
    try:
        app.middleware_stack = app.build_middleware_stack()
    finally:
        app.user_middleware[:] = layers


def _guarded(
    layers: list[Middleware], guard: Callable[..., Guard], failed: Failed
) -> list[Middleware]:
    stack = [
        item
        for depth, layer in enumerate(layers)
        for item in (Middleware(guard, depth=depth), _Layer(layer, failed))
    ]
    return [*stack, Middleware(partial(_innermost, partial(guard, depth=len(layers))))]


def _innermost(guard: Callable[..., Guard], app: Any) -> ASGIApp:
    """Guard Starlette's ExceptionMiddleware, which takes a handler for 500 out of its own."""
    made = guard(app)
    if 500 in made.handlers:
        app.add_exception_handler(500, made.handlers[500])
    return made


class _Layer(Middleware):
    def __init__(self, layer: Middleware, failed: Failed) -> None:
        super().__init__(cast("Any", layer.cls), *layer.args, **layer.kwargs)
        self._layer = layer
        self._failed = failed

    def __iter__(self) -> Iterator[Any]:
        return iter((self._make, self.args, self.kwargs))

    def _make(self, app: ASGIApp, *args: Any, **kwargs: Any) -> ASGIApp:
        try:
            made: ASGIApp = self._layer.cls(app, *args, **kwargs)
            if not callable(made):
                kind = type(made).__name__
                raise TypeError(f"it gives a {kind}, not an ASGI application")  # noqa: TRY301  # one way to tell
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # user code may raise anything
            self._failed(self._layer, error)
            return app
        return made
