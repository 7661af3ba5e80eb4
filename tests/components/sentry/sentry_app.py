"""A service whose errors go to Sentry, by hand and by a manifest; the DSN stands in TEST_DSN."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI

from components import sentry

router = APIRouter()


@router.get("/fail/{what}")
async def fail(what: str) -> None:
    private = "privateword"
    raise LookupError(f"no {what} at postgresql://user:urlword@host/db{private[:0]}")


def app() -> FastAPI:
    watched = sentry.init(
        dsn=os.environ["TEST_DSN"], environment="test", release="shop@1", traces_sample_rate=1
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        await watched.open()
        yield {}
        await watched.aclose()

    made = FastAPI(lifespan=lifespan)
    made.include_router(router)
    return made
