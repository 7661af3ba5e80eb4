"""The estate service in a bare FastAPI app."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from components.database import engine
from components.estate import api, seed
from components.mcp.principal import Principal
from components.mcp.protected import Mount, protected

MakeApp = Callable[..., FastAPI]
SCOPES: dict[str, tuple[str, ...]] = {"advertised": (), "challenged": (), "enforced": ()}


class Gate:
    """As a gate does whose mounts only administrators change, with a user of `role` on each request."""

    def __init__(self, app: ASGIApp, role: str | None) -> None:
        self.app = app
        self.user = Principal(id="ada", issuer="i", scopes=frozenset(), role=role)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        rules = protected("https://a.example", "i", "/api", Mount(roles=("admin",)), SCOPES)
        scope.setdefault("state", {}).update(principal=self.user, protected=rules)
        await self.app(scope, receive, send)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/estate.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def each_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database of either kind that the service runs on."""
    is_sqlite = request.param == "sqlite"
    return f"sqlite:///{tmp_path}/e.db" if is_sqlite else request.getfixturevalue("postgres")


@pytest.fixture
def make_app(url: str) -> MakeApp:
    """An app with the router and the number of listings that the test wants, before an administrator."""

    def make(
        *,
        router: APIRouter = api.router,
        listings: int = 0,
        db: AsyncEngine | None = None,
        gated: bool = True,
        role: str | None = "admin",
    ) -> FastAPI:
        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, AsyncEngine]]:
            opened = db or engine(url=url)
            await seed.prepare(db=opened, listings=listings, posts=0)
            yield {"db": opened}
            await opened.dispose()

        app = FastAPI(lifespan=lifespan)
        app.include_router(router, prefix="/api/v1")
        if gated:
            app.add_middleware(Gate, role=role)
        return app

    return make


@pytest.fixture
def client(make_app: MakeApp) -> Iterator[TestClient]:
    with TestClient(make_app(), raise_server_exceptions=False) as made:
        yield made
