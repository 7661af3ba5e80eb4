"""SQLAdmin: an administration that mounts itself on the app, with an engine of the manifest."""

from starlette.testclient import TestClient

FILES = {
    "shop.py": """
from sqladmin import Admin, ModelView
from sqlalchemy import Column, Integer, String
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import declarative_base
from sqlalchemy.pool import StaticPool

Base = declarative_base()


class User(Base):
    __tablename__ = "users"
    id = Column(Integer, primary_key=True)
    name = Column(String)


class UserAdmin(ModelView, model=User):
    column_list = [User.id, User.name]


def engine() -> AsyncEngine:
    return create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)


def administration(app, engine: AsyncEngine):
    Admin(app, engine).add_view(UserAdmin)


async def create(engine: AsyncEngine):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(User.__table__.insert(), [{"name": "Ann"}])
""",
    "main.py": """
from contextlib import asynccontextmanager

from fastapi import FastAPI

import shop

database = shop.engine()


@asynccontextmanager
async def lifespan(app):
    await shop.create(database)
    yield
    await database.dispose()


app = FastAPI(lifespan=lifespan)
shop.administration(app, database)
""",
    "manifest.yaml": """
manifest: 1
resources:
  db: {use: shop.engine}
startup:
  - {use: shop.create, with: {engine: "${resources.db}"}}
finish:
  - {use: shop.administration, with: {engine: "${resources.db}"}}
""",
}


def test_rows_are_listed_and_edited(client: TestClient) -> None:
    assert "Ann" in client.get("/admin/user/list").text
    edited = client.post("/admin/user/edit/1", data={"name": "Bo", "save": "Save"})
    assert edited.status_code == 200
    assert "Bo" in client.get("/admin/user/list").text


def test_its_links_and_files_are_below_it(client: TestClient) -> None:
    page = client.get("/admin/").text
    assert "http://testserver/admin/user/list" in page
    assert client.get("/admin/statics/css/main.css").status_code == 200
