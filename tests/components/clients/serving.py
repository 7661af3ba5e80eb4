"""A service of someone else, played by a small application on a real socket, in a thread."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.servers import serve

Answer = Callable[[Request], Awaitable[Response]]


@dataclass
class Seen:
    """One request, as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass
class Service:
    """Answers with `answers` in turn, the last of them for ever; remembers what came."""

    answers: list[Response | Answer]
    seen: list[Seen] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        body = await request.body()
        came = Seen(request.method, request.url.path, dict(request.headers), body, time.monotonic())
        self.seen.append(came)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            response = answer if isinstance(answer, Response) else await answer(request)
            await response(scope, receive, send)
        finally:
            self.at_once -= 1


@contextmanager
def serving(*answers: Response | Answer) -> Iterator[Service]:
    """A service that gives these answers, at its `url`."""
    service = Service(list(answers))
    with serving_app(service) as url:
        service.url = url
        yield service


@contextmanager
def serving_app(app: ASGIApp, **options: Any) -> Iterator[str]:
    """Any application on a free port; gives its URL."""
    with serve(app, lifespan="off", timeout_graceful_shutdown=1, **options) as url:
        yield url


def failure(status: int, error: Any, **headers: str) -> Response:
    """An answer that is no success, with an `error` in its body."""
    return JSONResponse({"error": error}, status, headers=headers)


async def slow(request: Request) -> Response:
    """No answer for longer than any test waits."""
    for _ in range(200):
        if await request.is_disconnected():
            break
        await asyncio.sleep(0.05)
    return Response(status_code=204)
