"""Sends one request to an app and says all that can be seen of how it was dispatched."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from inspect import signature
from typing import Any

import fastapi.routing
from fastapi import APIRouter, FastAPI
from opentelemetry import trace

from assembler.application.route_index import IndexReport, index_routes

NO_PROTOCOLS: dict[str, Any] = {"subprotocols": []}


@dataclass(frozen=True)
class Request:
    path: str
    method: str = "GET"
    root_path: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ((b"host", b"testserver"),)

    @property
    def kind(self) -> str:
        return "websocket" if self.method == "WEBSOCKET" else "http"

    def scope(self) -> dict[str, Any]:
        scope = {
            "type": self.kind,
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "path": self.path,
            "root_path": self.root_path,
            "query_string": b"q=1",
            "headers": list(self.headers),
            "server": ("testserver", 80),
            "scheme": "http" if self.kind == "http" else "ws",
            "state": {},
        }
        return scope | ({"method": self.method} if self.kind == "http" else NO_PROTOCOLS)


@dataclass(frozen=True)
class Seen:
    messages: list[dict[str, Any]]
    error: str
    scope: dict[str, Any]
    asgi_scope: dict[str, Any] = field(compare=False, repr=False)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    def header(self, name: bytes) -> str:
        return str(dict(self.messages[0]["headers"])[name], "latin-1")

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)


async def ask(app: FastAPI, request: Request) -> Seen:
    messages: list[dict[str, Any]] = []
    scope = request.scope()
    waiting = ["websocket.connect" if request.kind == "websocket" else "http.request"]

    async def receive() -> dict[str, Any]:
        kind = waiting.pop() if waiting else f"{request.kind}.disconnect"
        return {"type": kind, "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        messages.append(comparable(message))

    error = ""
    try:
        await app(scope, receive, send)
    except Exception as exc:
        error = repr(exc)
    return Seen(messages, error, summary(scope, app), scope)


def see(app: FastAPI, path: str, method: str = "GET") -> Seen:
    return asyncio.run(ask(app, Request(path=path, method=method)))


def answering(text: str) -> Any:
    async def answer() -> str:
        return text

    return answer


def an_app(*, count: int = 50) -> FastAPI:
    """`/api/v1/things-N/{name}` below two routers, `/flat-N` on the app itself."""
    app, outer, inner = FastAPI(), APIRouter(prefix="/api"), APIRouter(prefix="/v1")
    for number in range(count):
        name = f"thing-{number}"
        inner.add_api_route(f"/things-{number}/{{name}}", answering(name), name=name)
        app.add_api_route(f"/flat-{number}", answering(f"flat-{number}"), name=f"flat-{number}")
    outer.include_router(inner)
    app.include_router(outer)
    assert index_routes(app) == IndexReport(active=True)
    return app


def comparable(message: dict[str, Any]) -> dict[str, Any]:
    """A 405 lists its methods in the order of a set."""
    headers = [
        (name, b", ".join(sorted(value.split(b", "))) if name == b"allow" else value)
        for name, value in message.get("headers", [])
    ]
    return message | {"headers": headers}


def summary(scope: dict[str, Any], app: FastAPI) -> dict[str, Any]:
    """What dispatch left in the scope, in terms that two apps built alike share."""
    inner = scope.get("fastapi", {})
    included, context = inner.get("included_router"), inner.get("effective_route_context")
    return {
        "keys": sorted(scope),
        "router is the app's": scope.get("router") is app.router,
        "route": describe(scope.get("route")),
        "endpoint": describe(scope.get("endpoint")),
        "plain": {name: scope.get(name) for name in ("path_params", "root_path", "app_root_path")},
        "fastapi": sorted(inner),
        "form limits": inner.get("form_limits"),
        "included": included and (type(included).__name__, included.include_context.prefix),
        "context": context
        and (
            context.path,
            describe(context.original_route),
            describe(context.starlette_route),
        ),
    }


def describe(value: Any) -> str:
    names = (getattr(value, name, "") for name in ("__name__", "path", "name", "host"))
    return " ".join((type(value).__name__, *(name for name in names if isinstance(name, str))))


class Spans(trace.TracerProvider):
    """Notes every name that a span is given."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
        names = self.names

        class Span(trace.NonRecordingSpan):
            def update_name(self, name: str) -> None:
                names.append(name)

        class Tracer(trace.NoOpTracer):
            def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
                return Span(trace.INVALID_SPAN_CONTEXT)

        return Tracer()


def known(function: Callable[..., Any], **options: Any) -> dict[str, Any]:
    """Those of `options` that the installed FastAPI has."""
    return {
        name: value for name, value in options.items() if name in signature(function).parameters
    }


KEEPS_ROUTERS = hasattr(fastapi.routing, "_IncludedRouter")
"""Whether an included router is an object of its own; older FastAPI copies its routes."""

HAS_TELEMETRY = find_spec("fastapi.telemetry") is not None
HAS_BODY_LIMITS = bool(known(APIRouter, max_body_size=1))
