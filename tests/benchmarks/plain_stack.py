"""The peer of the benchmark: seven middleware as a competent developer writes them by hand.

Pure ASGI with Starlette's own datastructures, and the same without CORS as `BaseHTTPMiddleware`. They
do less than the components (no trust, no bounds, no escaping beyond json.dumps, a fixed window), and
nothing in them is slow on purpose.
"""

import json
import logging
import time
from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger("bench.plain")

ORIGINS = ["https://app.example.com"]
SECURITY = {
    "Strict-Transport-Security": "max-age=63072000; includeSubDomains",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "X-Permitted-Cross-Domain-Policies": "none",
    "X-DNS-Prefetch-Control": "off",
    "Origin-Agent-Cluster": "?1",
}
CACHE_RULES = [("GET", "/api/v1/public/*", "public, max-age=60"), ("GET", "/static/*", "max-age=9")]


class Window:
    """A fixed window per client."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self.seconds = seconds
        self.hits: dict[str, tuple[float, int]] = {}

    def hit(self, key: str) -> int:
        now = time.monotonic()
        start, count = self.hits.get(key, (now, 0))
        if now - start >= self.seconds:
            start, count = now, 0
        self.hits[key] = (start, count + 1)
        return self.limit - count - 1


class RateLimit:
    def __init__(self, app: ASGIApp, limit: int = 10**9) -> None:
        self.app = app
        self.window = Window(limit, 60)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        remaining = self.window.hit(Request(scope).client.host)  # type: ignore[union-attr]  # a server gives it
        if remaining < 0:
            await JSONResponse({"error": "too many requests"}, 429)(scope, receive, send)
            return

        async def send_limited(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Limit"] = str(self.window.limit)
                headers["RateLimit-Remaining"] = str(remaining)
            await send(message)

        await self.app(scope, receive, send_limited)


class SecurityHeaders:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_secured)


def cache_text(method: str, path: str, headers: Headers) -> str | None:
    if "authorization" in headers or "session=" in headers.get("cookie", ""):
        return "private, no-store"
    for rule_method, pattern, text in CACHE_RULES:
        if rule_method == method and fnmatch(path, pattern):
            return text
    return None


class CacheControl:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        text = cache_text(scope["method"], scope["path"], Headers(scope=scope))

        async def send_cached(message: Message) -> None:
            if text and message["type"] == "http.response.start" and message["status"] < 300:
                headers = MutableHeaders(scope=message)
                headers.setdefault("Cache-Control", text)
                headers.add_vary_header("Authorization")
            await send(message)

        await self.app(scope, receive, send_cached)


class StripSlash:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != "/" and scope["path"].endswith("/"):
            scope = dict(scope)
            scope["path"] = scope["path"].rstrip("/")
        await self.app(scope, receive, send)


class RequestID:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = Headers(scope=scope).get("x-request-id") or str(uuid4())
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_identified(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        await self.app(scope, receive, send_identified)


def log_request(scope: Scope, status: int, size: int, seconds: float) -> None:
    route = scope.get("route")
    facts: dict[str, Any] = {
        "method": scope["method"],
        "path": getattr(route, "path", scope["path"]),
        "status": status,
        "bytes": size,
        "ms": round(seconds * 1000, 3),
        "request_id": scope["state"]["request_id"],
        "client": scope["client"][0] if scope["client"] else None,
    }
    logger.info(json.dumps(facts))


class RequestLogging:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        status, size = 500, 0

        async def send_logged(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            elif message["type"] == "http.response.body":
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, receive, send_logged)
        finally:
            log_request(scope, status, size, time.perf_counter() - start)


def _base(
    dispatch: Callable[[Request, RequestResponseEndpoint], Any],
) -> Callable[[ASGIApp], ASGIApp]:
    return lambda app: BaseHTTPMiddleware(app, dispatch=dispatch)


_window = Window(10**9, 60)


async def _limit(request: Request, call_next: RequestResponseEndpoint) -> Response:
    remaining = _window.hit(request.client.host)  # type: ignore[union-attr]  # a server gives it
    response = await call_next(request)
    response.headers["RateLimit-Remaining"] = str(remaining)
    return response


async def _secure(request: Request, call_next: RequestResponseEndpoint) -> Response:
    response = await call_next(request)
    for name, value in SECURITY.items():
        response.headers.setdefault(name, value)
    return response


async def _cache(request: Request, call_next: RequestResponseEndpoint) -> Response:
    text = cache_text(request.method, request.url.path, request.headers)
    response = await call_next(request)
    if text and response.status_code < 300:
        response.headers.setdefault("Cache-Control", text)
        response.headers.add_vary_header("Authorization")
    return response


async def _strip(request: Request, call_next: RequestResponseEndpoint) -> Response:
    if request.scope["path"] != "/" and request.scope["path"].endswith("/"):
        request.scope["path"] = request.scope["path"].rstrip("/")
    return await call_next(request)


async def _identify(request: Request, call_next: RequestResponseEndpoint) -> Response:
    request.state.request_id = request.headers.get("x-request-id") or str(uuid4())
    response = await call_next(request)
    response.headers["X-Request-ID"] = request.state.request_id
    return response


async def _log(request: Request, call_next: RequestResponseEndpoint) -> Response:
    start = time.perf_counter()
    response = await call_next(request)
    size = int(response.headers.get("content-length", 0))
    log_request(request.scope, response.status_code, size, time.perf_counter() - start)
    return response


def with_cors(app: ASGIApp) -> ASGIApp:
    """Starlette's own, in every stack alike."""
    return CORSMiddleware(app, allow_origins=ORIGINS, allow_credentials=True)


PLAIN: list[Callable[[ASGIApp], ASGIApp]] = [
    with_cors,
    RateLimit,
    SecurityHeaders,
    CacheControl,
    StripSlash,
    RequestID,
    RequestLogging,
]
BASE_HTTP: list[Callable[[ASGIApp], ASGIApp]] = [
    with_cors,
    *(_base(dispatch) for dispatch in (_limit, _secure, _cache, _strip, _identify, _log)),
]


def wrapped(app: Starlette, stack: list[Callable[[ASGIApp], ASGIApp]]) -> Starlette:
    """The same application with a stack, the first outermost, where Starlette puts it."""
    for layer in reversed(stack):
        app.add_middleware(layer)
    return app
