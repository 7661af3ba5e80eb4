"""A mounted application that takes long to make."""

import time

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

MADE: list[float] = []


def app(*, seconds: float) -> Starlette:
    time.sleep(seconds)
    MADE.append(seconds)

    async def show(request: Request) -> PlainTextResponse:
        return PlainTextResponse(f"made {len(MADE)}")

    return Starlette(routes=[Route("/", show)])
