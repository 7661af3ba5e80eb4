"""Tracers see an exception leave an assembled application as they see it leave a plain one."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message

from assembler.application.middleware import Application, seal
from components.middleware.request_id import RequestIDMiddleware

NO_SPAN = ReadableSpan("none")


def asked(app: ASGIApp, exporter: InMemorySpanExporter) -> tuple[list[Message], ReadableSpan]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.request"}

    scope: Any = {
        "type": "http",
        "method": "GET",
        "path": "/key",
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 5),
        "root_path": "",
    }
    with pytest.raises(KeyError):
        asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]  # a coroutine, as all are
    spans = exporter.get_finished_spans()
    return sent, next((each for each in spans if each.kind is SpanKind.SERVER), NO_SPAN)


@pytest.mark.parametrize("place", ["outside", "layer"])
def test_opentelemetry_tells_of_it_as_of_a_plain_application(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A layer records the exception; outside, the span has ended with the answer, in both."""
    told = []
    for app in (FastAPI(), Application()):
        exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        app.get("/key")(key)
        if place == "layer":
            layer = Middleware(OpenTelemetryMiddleware, tracer_provider=provider)
            app.user_middleware.append(layer)
        app.user_middleware.append(Middleware(RequestIDMiddleware))
        if isinstance(app, Application):
            seal(app, failing, str)
        traced: ASGIApp = app
        if place == "outside":
            traced = OpenTelemetryMiddleware(app, tracer_provider=provider)
        with caplog.at_level(logging.DEBUG):
            sent, span = asked(traced, exporter)
        told.append(([event.name for event in span.events], span.status.status_code))
    assert told[0] == told[1]
    assert told[0][0] == (["exception"] if place == "layer" else [])
    assert sent[0]["status"] == 500
    assert b"x-request-id" in dict(sent[0]["headers"])
    assert "ended span" not in caplog.text


async def key() -> None:
    raise KeyError("k")


def failing(layer: Middleware, error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("moment", ["before the build", "after the build"])
def test_whoever_builds_the_stack_anew_gets_the_same_one(moment: str) -> None:
    """As OpenTelemetry's instrumentation of FastAPI does, which wraps `build_middleware_stack`."""
    seen: list[str] = []
    app = Application()
    app.get("/key")(key)
    app.user_middleware.append(Middleware(RequestIDMiddleware))
    if moment == "before the build":
        instrument(app, seen)
        seal(app, failing, str)
    else:
        seal(app, failing, str)
        instrument(app, seen)
        app.middleware_stack = app.build_middleware_stack()
    sent, _ = asked(app, InMemorySpanExporter())
    assert b"x-request-id" in dict(sent[0]["headers"])
    assert seen == ["KeyError"]


def instrument(app: FastAPI, seen: list[str]) -> None:
    original: Callable[[], ASGIApp] = app.build_middleware_stack

    def build() -> ASGIApp:
        inner = original()

        async def traced(scope: Any, receive: Any, send: Any) -> None:
            try:
                await inner(scope, receive, send)
            except Exception as error:
                seen.append(type(error).__name__)
                raise

        return traced

    app.build_middleware_stack = build  # type: ignore[method-assign]  # as instrumentation does
