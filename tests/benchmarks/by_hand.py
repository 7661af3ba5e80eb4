"""The application of `manifests/dev.yaml`, wired by hand: the peer of the start benchmark."""

import logging.config
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from components import errors
from components.database import engine
from components.estate.api import listings_router
from components.estate.seed import prepare
from components.estate.settings import Settings
from components.middleware.cache_control import CacheControlMiddleware, CacheRule
from components.middleware.cors import CORSMiddleware
from components.middleware.rate_limit import RateLimitMiddleware
from components.middleware.request_id import RequestIDMiddleware
from components.middleware.request_logging import RequestLoggingMiddleware
from components.middleware.security_headers import SecurityHeadersMiddleware
from components.middleware.trailing_slash import StripTrailingSlashMiddleware

logging.config.dictConfig(
    {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": "%(message)s"}},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
        "loggers": {
            "assembler": {"level": "INFO", "handlers": ["console"], "propagate": False},
            "components": {"level": "INFO", "handlers": ["console"], "propagate": False},
        },
    }
)
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
# The last one added is the outermost.
app.add_middleware(RateLimitMiddleware, limit="500/minute")
app.add_middleware(
    CacheControlMiddleware,
    rules=[CacheRule(match="GET /api/v1/openapi.json", cache="public, max-age=300")],
)
app.add_middleware(StripTrailingSlashMiddleware)
app.add_middleware(SecurityHeadersMiddleware, docs_paths=["/api/v1/docs", "/api/v1/redoc"])
app.add_middleware(RequestLoggingMiddleware)
app.add_middleware(RequestIDMiddleware)
app.add_middleware(
    CORSMiddleware,
    allow_origins=["*"],
    allow_methods=["*"],
    allow_headers=["*"],
    expose_headers=["X-Request-ID", "RateLimit", "RateLimit-Policy", "Retry-After"],
)
handlers: dict[type[Exception], Any] = {
    HTTPException: errors.http_exception(),
    RequestValidationError: errors.validation_error(),
    ValueError: errors.value_error(),
    SQLAlchemyError: errors.database_error(),
    Exception: errors.unexpected(debug=True),
}
for caught, handler in handlers.items():
    app.add_exception_handler(caught, handler)
app.include_router(
    listings_router(currency=settings.currency, page_size=settings.page_size), prefix="/api/v1"
)
