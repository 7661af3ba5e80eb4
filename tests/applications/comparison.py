"""Two applications → what each is and does, as plain data that can be compared.

In: a FastAPI application, and requests as `requests.yaml` lists them. Out: its routes in order, its
OpenAPI document, its layers with their options, its handlers, its answers, and what it logs at each
start and stop. Knows nothing of manifests.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import fastapi.routing
from fastapi import FastAPI
from starlette.datastructures import Secret
from starlette.routing import Mount
from starlette.testclient import TestClient

# Before FastAPI 0.140 routers are copied into the application, and there is nothing to iterate.
CONTEXTS: Any = getattr(fastapi.routing, "iter_route_contexts", iter)

VOLATILE = {"server-timing", "x-request-id", "set-cookie", "last-modified", "etag", "date"}
"""Headers whose value differs from one answer to the next; that they are there is compared."""


def routes(app: FastAPI) -> list[tuple[object, ...]]:
    """Say of each route, in order: methods, path, name, where its endpoint is."""
    return [
        (sorted(getattr(route, "methods", None) or ()), route.path, route.name, answering(route))
        for route in CONTEXTS(app.routes)
    ]


def answering(route: Any) -> str:
    """Say which function answers, or the class of the application that does."""
    app = getattr(getattr(route, "route", route), "app", None)
    found = getattr(route, "endpoint", None) or app
    if isinstance(found, FastAPI):
        return "an application"  # whose own facts are compared
    return place_of(found if hasattr(found, "__qualname__") else type(found))


def facts(app: FastAPI) -> dict[str, Any]:
    """Say what an application is, and those that are mounted in it."""
    return {
        "title": app.title,
        "routes": routes(app),
        "openapi": app.openapi(),
        "layers": layers(app),
        "handlers": handlers(app),
        "state": sorted(set(app.state._state) - {"assembly"}),
        "mounts": [
            facts(route.app)
            for route in app.routes
            if isinstance(route, Mount) and isinstance(route.app, FastAPI)
        ],
    }


def place_of(value: Any) -> str:
    """Say where a function or class is defined."""
    return f"{value.__module__}.{value.__qualname__}"


def layers(app: FastAPI) -> list[tuple[str, str]]:
    """Say of each layer, outermost first: its class and its options."""
    return [(place_of(layer.cls), said(layer.kwargs)) for layer in app.user_middleware]


def said(options: Mapping[str, Any]) -> str:
    """Say options in words: sequences alike, functions by name, secrets as their value."""

    def plain(value: Any) -> Any:
        if callable(value):
            return place_of(value)
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [plain(item) for item in value]
        if hasattr(value, "get_secret_value"):
            value = value.get_secret_value()
        return str(value) if isinstance(value, Secret) else value

    return repr({name: plain(value) for name, value in sorted(options.items())})


def handlers(app: FastAPI) -> dict[str, str]:
    """Say which function answers which exception or status, but for FastAPI's own."""
    named = {
        getattr(key, "__qualname__", str(key)): place_of(handler)
        for key, handler in app.exception_handlers.items()
    }
    return {
        key: name for key, name in named.items() if not name.startswith(("fastapi.", "starlette."))
    }


def answers(client: TestClient, requests: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Send the requests in order; say of each answer its status, headers and body."""
    logins: dict[str, str] = {}
    found = []
    for item in requests:
        method, _, path = item["request"].partition(" ")
        headers = dict(item.get("headers", {}))
        if "as" in item:
            headers["Authorization"] = f"Bearer {logins[item['as']]}"
        answer = client.request(
            method,
            path,
            headers=headers,
            json=item.get("json"),
            data=item.get("form"),
            content=item.get("content"),
            follow_redirects=False,
        )
        if "login" in item:
            logins[item["login"]] = answer.json()["access_token"]
        fields = sorted(
            (name, "" if name in VOLATILE else value)
            for name, value in answer.headers.multi_items()
        )
        found.append((item["request"], answer.status_code, fields, answer.text))
    return found


@contextmanager
def logged(name: str) -> Iterator[list[str]]:
    """Collect what the logger of that name, and those below it, say meanwhile."""
    lines: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.name}: {record.getMessage()}")

    logger, handler = logging.getLogger(name), Collector()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
