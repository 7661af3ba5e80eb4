"""The app that real server processes run: a limit that holds over all of them."""

import os
from datetime import timedelta

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from components.middleware.rate_limit import RateLimitMiddleware
from components.rate_limit.redis import RedisStore


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


def make() -> ASGIApp:
    """`--factory`; options come from the environment."""
    store = RedisStore(
        url=os.environ["REDIS_URL"],
        store_timeout=timedelta(milliseconds=int(os.environ.get("STORE_TIMEOUT_MS", "100"))),
        prefix=os.environ.get("PREFIX", "rate:"),
        share=int(os.environ.get("SHARE", "1")),
    )
    return RateLimitMiddleware(
        Starlette(routes=[Route("/", hello)]), limit=os.environ["LIMIT"], store=store
    )
