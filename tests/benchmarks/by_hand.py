"""The application of `manifests/dev.yaml`, wired by hand: the peer of the start benchmark."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from components.database import engine
from components.estate.api import listings_router
from components.estate.seed import prepare
from components.estate.settings import Settings

settings = Settings()
db = engine(url=settings.database_url)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Seed, serve, close."""
    await prepare(db=db, listings=settings.listings)
    yield {"db": db}
    await db.dispose()


app = FastAPI(
    title="Estate API",
    version="1.0.0",
    lifespan=lifespan,
    openapi_url="/api/v1/openapi.json",
    docs_url="/api/v1/docs",
    redoc_url="/api/v1/redoc",
)
app.add_middleware(
    CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"]
)
app.include_router(
    listings_router(currency=settings.currency, page_size=settings.page_size), prefix="/api/v1"
)
