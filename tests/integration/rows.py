"""A database that is opened and pinged, and routes that ask it."""

from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from components import database

router = APIRouter()


class Database(AsyncEngine):
    """An engine that connects at the start."""

    async def open(self) -> None:
        await self.ping()

    async def ping(self) -> None:
        async with self.connect() as connection:
            await connection.execute(text("SELECT 1"))


def engine(*, url: str) -> Database:
    return Database(database.engine(url=url).sync_engine)


@router.get("/rows")
async def rows(request: Request) -> int:
    db: AsyncEngine = request.state.db
    async with db.connect() as connection:
        found: int = await connection.scalar(text("SELECT count(*) FROM pg_class"))
        return found


@router.get("/pool")
async def pool(request: Request) -> dict[str, Any]:
    found = request.state.db.pool
    assert isinstance(found, QueuePool)
    return {"out": found.checkedout(), "most": found.size() + 10}
