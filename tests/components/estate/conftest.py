"""The estate service in a bare FastAPI app."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.testclient import TestClient

from components.database import engine
from components.estate import api, seed

MakeApp = Callable[..., FastAPI]


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/estate.db"


@pytest.fixture
def make_app(url: str) -> MakeApp:
    """An app with the router and the number of listings that the test wants."""

    def make(
        *, router: APIRouter = api.router, listings: int = 0, db: AsyncEngine | None = None
    ) -> FastAPI:
        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, AsyncEngine]]:
            opened = db or engine(url=url)
            await seed.prepare(db=opened, listings=listings, posts=0)
            yield {"db": opened}
            await opened.dispose()

        app = FastAPI(lifespan=lifespan)
        app.include_router(router, prefix="/api/v1")
        return app

    return make


@pytest.fixture
def client(make_app: MakeApp) -> Iterator[TestClient]:
    with TestClient(make_app(), raise_server_exceptions=False) as made:
        yield made
