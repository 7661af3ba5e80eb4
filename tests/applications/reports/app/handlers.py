"""Handlers and hooks, registered by functions."""

import logging

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from app.routes import ReportLocked

logger = logging.getLogger("app.handlers")


def register_error_handlers(app: FastAPI, *, contact: str = "reports@example.com") -> None:
    """Have errors answered with whom to ask."""

    @app.exception_handler(ReportLocked)
    async def locked(request: Request, error: ReportLocked) -> JSONResponse:
        return JSONResponse({"detail": f"report {error} is locked", "ask": contact}, 423)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        logger.info("%s was unexpected", type(error).__name__)
        return JSONResponse({"detail": "something went wrong", "ask": contact}, 500)


def register_cache_headers(app: FastAPI) -> None:
    """Keep answers out of caches."""

    @app.middleware("http")
    async def no_store(request: Request, call_next) -> Response:  # type: ignore[no-untyped-def]
        response = await call_next(request)
        response.headers.setdefault("Cache-Control", "no-store")
        return response
