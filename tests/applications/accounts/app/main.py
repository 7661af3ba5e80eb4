"""The application."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Request
from fastapi.routing import APIRoute
from starlette.middleware.sessions import SessionMiddleware

from app import items
from app.settings import settings
from app.users import (
    UserCreate,
    UserRead,
    accounts,
    auth_backend,
    current_active_user,
    first_users,
)

logger = logging.getLogger("app.main")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Make the first users."""
    app.state.users = first_users()
    logger.info("%d users", len(app.state.users))
    yield
    logger.info("%d users at the end", len(app.state.users))
    del app.state.users


def operation_id(route: APIRoute) -> str:
    """Name operations as the generator of the front end wants them."""
    return f"{route.tags[0] if route.tags else 'app'}-{route.name}"


app = FastAPI(
    title=settings.project_name,
    lifespan=lifespan,
    generate_unique_id_function=operation_id,
    openapi_url=f"{settings.api_prefix}/openapi.json",
    swagger_ui_parameters={"persistAuthorization": True},
)
app.add_middleware(
    SessionMiddleware,
    secret_key=settings.secret.get_secret_value(),
    max_age=settings.session_seconds,
    same_site="strict",
)
app.include_router(
    accounts.get_auth_router(auth_backend), prefix=f"{settings.api_prefix}/auth", tags=["auth"]
)
app.include_router(
    accounts.get_register_router(UserRead, UserCreate),
    prefix=f"{settings.api_prefix}/auth",
    tags=["auth"],
)
app.include_router(
    accounts.get_users_router(UserRead),
    prefix=f"{settings.api_prefix}/users",
    tags=["users"],
    responses={401: {"description": "Nobody is signed in"}},
)
app.include_router(items.router, prefix=f"{settings.api_prefix}/items", tags=["items"])


@app.get("/visits", dependencies=[Depends(current_active_user)])
async def visits(request: Request) -> dict[str, int]:
    """Count the visits of one session."""
    request.session["visits"] = request.session.get("visits", 0) + 1
    return {"visits": request.session["visits"]}
