"""fastapi-users: routers of an object, made with a backend and with models."""

from starlette.testclient import TestClient

FILES = {
    "users.py": """
import uuid
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import StaticPool

SECRET = "a-secret-of-thirty-two-bytes-or-more"
engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase): ...


class User(SQLAlchemyBaseUserTableUUID, Base): ...


class UserRead(schemas.BaseUser[uuid.UUID]): ...


class UserCreate(schemas.BaseUserCreate): ...


class UserUpdate(schemas.BaseUserUpdate): ...


class UserManager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    reset_password_token_secret = SECRET
    verification_token_secret = SECRET


async def get_user_manager():
    async with sessions() as session:
        yield UserManager(SQLAlchemyUserDatabase(session, User))


def get_jwt_strategy() -> JWTStrategy:
    return JWTStrategy(secret=SECRET, lifetime_seconds=3600)


auth_backend = AuthenticationBackend(
    name="jwt", transport=BearerTransport(tokenUrl="auth/jwt/login"), get_strategy=get_jwt_strategy
)
fastapi_users = FastAPIUsers[User, uuid.UUID](get_user_manager, [auth_backend])
current_active_user = fastapi_users.current_user(active=True)
mine = APIRouter()


@mine.get("/authenticated-route")
async def authenticated_route(user: User = Depends(current_active_user)):
    return {"message": f"Hello {user.email}!"}


@asynccontextmanager
async def lifespan(app):
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()
""",
    "main.py": """
from fastapi import FastAPI

from users import *

app = FastAPI(lifespan=lifespan)
app.include_router(fastapi_users.get_auth_router(auth_backend), prefix="/auth/jwt", tags=["auth"])
app.include_router(
    fastapi_users.get_register_router(UserRead, UserCreate), prefix="/auth", tags=["auth"]
)
app.include_router(
    fastapi_users.get_users_router(UserRead, UserUpdate), prefix="/users", tags=["users"]
)
app.include_router(mine)
""",
    "manifest.yaml": """
manifest: 1
resources:
  auth_backend: {use: users.auth_backend, owned: false}
lifespan: [users.lifespan]
routes:
  - id: login
    use: users.fastapi_users.get_auth_router
    with: {backend: "${resources.auth_backend}"}
    prefix: /auth/jwt
    tags: [auth]
  - id: register
    use: users.fastapi_users.get_register_router
    with: {user_schema: users.UserRead, user_create_schema: users.UserCreate}
    prefix: /auth
    tags: [auth]
  - id: users
    use: users.fastapi_users.get_users_router
    with: {user_schema: users.UserRead, user_update_schema: users.UserUpdate}
    prefix: /users
    tags: [users]
  - {use: users.mine}
""",
}
ANN = {"email": "ann@example.com", "password": "a-long-password"}


def test_who_registers_and_logs_in_is_known(client: TestClient) -> None:
    assert client.post("/auth/register", json=ANN).status_code == 201
    form = {"username": ANN["email"], "password": ANN["password"]}
    token = client.post("/auth/jwt/login", data=form).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    hello = client.get("/authenticated-route", headers=headers)
    assert hello.json() == {"message": "Hello ann@example.com!"}
    changed = client.patch("/users/me", headers=headers, json={"email": "bo@example.com"})
    assert changed.json()["email"] == "bo@example.com"


def test_nobody_else_is(client: TestClient) -> None:
    assert client.get("/authenticated-route").status_code == 401
    assert client.get("/users/me", headers={"Authorization": "Bearer x"}).status_code == 401
