"""The application: `uvicorn app.main:app`, or `uvicorn --factory app.main:create_app`."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware

from app.errors import RoomNotFoundError, RoomTakenError, invalid, room_not_found, room_taken
from app.lifespan import lifespan
from app.middleware import VersionHeaderMiddleware
from app.routers import bookings, rooms
from app.settings import Settings, get_settings


def create_app(settings: Settings | None = None) -> FastAPI:
    """Make the application of these settings, the environment's unless given."""
    settings = settings or get_settings()
    app = FastAPI(
        title=settings.title,
        version=settings.version,
        docs_url=settings.docs_url,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=lifespan,
        contact={"name": "Facilities", "url": "https://rooms.example.com"},
        openapi_tags=[{"name": "rooms"}, {"name": "bookings", "description": "Who sits where"}],
    )
    app.state.settings = settings
    app.add_middleware(GZipMiddleware, minimum_size=settings.gzip_minimum_size)
    app.add_middleware(VersionHeaderMiddleware, version=settings.version)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        allow_credentials=True,
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["X-Version"],
    )
    app.add_exception_handler(RoomNotFoundError, room_not_found)
    app.add_exception_handler(RoomTakenError, room_taken)
    app.add_exception_handler(RequestValidationError, invalid)
    app.include_router(rooms.router, prefix="/api")
    app.include_router(bookings.router, prefix="/api")
    return app


app = create_app()
