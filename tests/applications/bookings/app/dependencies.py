"""What routes ask for."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from app.settings import Settings, get_settings


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    """Give a session of the pool that the lifespan has opened."""
    async with request.state.sessions() as session:
        yield session


SessionDep = Annotated[AsyncSession, Depends(get_session)]
SettingsDep = Annotated[Settings, Depends(get_settings)]
