"""The application: `uvicorn --factory app.main:create_app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException
from sqlalchemy import text

from app import config, jobs, routes, startup
from app.database import engine
from app.handlers import register_cache_headers, register_error_handlers


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start all, and stop all."""
    await startup.create_tables()
    await startup.run_statements()
    startup.start_jobs()
    try:
        yield
    finally:
        startup.stop_jobs()
        await startup.close_engines()


def create_app(title: str = config.TITLE) -> FastAPI:
    """Make the application."""
    app = FastAPI(title=title, version="3.0.0", lifespan=lifespan)
    admin = APIRouter(prefix="/admin", tags=["admin"])

    def is_admin(x_role: str = Header("")) -> None:
        if x_role != "admin":
            raise HTTPException(403, f"not for you in {title}")

    @app.get("/health", include_in_schema=False)
    async def health() -> dict[str, str]:
        async with engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        return {"status": "ok", "service": title}

    @admin.post("/publish")
    async def publish_now() -> dict[str, int]:
        return {"published": await jobs.publish()}

    @admin.get("/count")
    async def count(state: str = "draft") -> dict[str, int]:
        return {"count": await jobs.count(state)}

    @admin.get("/broken")
    async def broken() -> None:
        raise LookupError(title)

    register_error_handlers(app, contact="desk@example.com")
    register_cache_headers(app)
    app.include_router(routes.router)
    app.include_router(admin, dependencies=[Depends(is_admin)])
    return app
