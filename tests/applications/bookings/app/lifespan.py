"""The start and the end: an engine, its tables, and what requests find on their state."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from fastapi import FastAPI
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import StaticPool

from app.models import Base, Room
from app.settings import get_settings

logger = logging.getLogger("app.lifespan")
ROOMS = (("Aspen", 4), ("Birch", 8), ("Cedar", 16))


class State(TypedDict):
    """What `request.state` has."""

    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[State]:
    """Open the database, and close it at the end."""
    settings = get_settings()
    engine = create_async_engine(settings.database_url, poolclass=StaticPool)
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    async with sessions() as session:
        session.add_all(Room(name=name, seats=seats) for name, seats in ROOMS)
        await session.commit()
    app.state.rooms = len(ROOMS)
    logger.info("%s opens with %d rooms", app.title, app.state.rooms)
    try:
        yield {"engine": engine, "sessions": sessions}
    finally:
        await engine.dispose()
        logger.info("%s is closed", app.title)
