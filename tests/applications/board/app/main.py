"""The application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from app import api, web
from app.rooms import rooms


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the rooms."""
    await rooms.connect()
    yield
    await rooms.close()


app = FastAPI(
    title="Board",
    docs_url=None,
    redoc_url=None,
    redirect_slashes=False,
    lifespan=lifespan,
    middleware=[
        Middleware(CORSMiddleware, allow_origin_regex=r"https://.*\.example\.com"),
        Middleware(GZipMiddleware),
    ],
    exception_handlers={HTTPException: web.http_error},
)
app.state.rooms = rooms
app.include_router(api.router)
app.mount("/static", web.static_files, name="static")
app.add_api_route("/robots.txt", web.robots, include_in_schema=False)
app.add_api_route("/{rest:path}", web.page, include_in_schema=False, methods=["GET", "HEAD"])
