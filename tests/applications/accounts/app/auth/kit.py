"""What a service sees of the kit: an object that makes routers and dependencies."""

from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.security import OAuth2PasswordRequestForm

from app.auth.backend import Backend
from app.auth.manager import BaseUser, BaseUserCreate, BaseUserManager, U, UserExistsError

UserSchema = TypeVar("UserSchema", bound=BaseUser)
CreateSchema = TypeVar("CreateSchema", bound=BaseUserCreate)


class AccountsKit(Generic[U]):
    """Makes routers for the users of one manager, who come through these backends."""

    def __init__(self, get_user_manager: Callable[..., Any], backends: list[Backend]) -> None:
        self.get_user_manager = get_user_manager
        self.backends = backends

    def get_auth_router(self, backend: Backend, requires_superuser: bool = False) -> APIRouter:
        """Make the routes `/login` and `/whoami` of a backend."""
        router = APIRouter()
        current = self.current_user(superuser=requires_superuser)

        @router.post("/login", name=f"auth:{backend.name}.login")
        async def login(
            credentials: OAuth2PasswordRequestForm = Depends(),
            manager: BaseUserManager[Any] = Depends(self.get_user_manager),
        ) -> Any:
            user = await manager.authenticate(credentials.username, credentials.password)
            if user is None or not user.is_active:
                raise HTTPException(400, "LOGIN_BAD_CREDENTIALS")
            return backend.transport.answer(backend.get_strategy().write(user.id))

        @router.get("/whoami", name=f"auth:{backend.name}.whoami")
        async def whoami(user: Any = Depends(current)) -> dict[str, str]:
            return {"email": user.email}

        return router

    def get_register_router(
        self, user_schema: type[UserSchema], user_create_schema: type[CreateSchema]
    ) -> APIRouter:
        """Make the route `/register`."""
        router = APIRouter()

        @router.post("/register", response_model=user_schema, status_code=201, name="register")
        async def register(
            request: Request,
            wish: user_create_schema,  # type: ignore[valid-type]  # known at run time
            manager: BaseUserManager[Any] = Depends(self.get_user_manager),
        ) -> Any:
            try:
                return await manager.create(wish)
            except UserExistsError:
                raise HTTPException(400, "REGISTER_USER_ALREADY_EXISTS") from None

        return router

    def get_users_router(self, user_schema: type[UserSchema]) -> APIRouter:
        """Make the routes below `/users`."""
        router = APIRouter()
        current = self.current_user()
        superuser = self.current_user(superuser=True)

        @router.get("/me", response_model=user_schema, name="users:current")
        async def me(user: Any = Depends(current)) -> Any:
            return user

        @router.get("/{number}", response_model=user_schema, dependencies=[Depends(superuser)])
        async def read_user(
            number: int, manager: BaseUserManager[Any] = Depends(self.get_user_manager)
        ) -> Any:
            if number not in manager.users:
                raise HTTPException(404)
            return manager.users[number]

        return router

    def current_user(self, *, superuser: bool = False) -> Callable[..., Awaitable[U]]:
        """Make a dependency that gives who asks, or refuses with 401 and 403."""
        first = self.backends[0]

        async def current(
            token: str | None = Depends(first.transport.scheme),
            manager: BaseUserManager[Any] = Depends(self.get_user_manager),
        ) -> Any:
            number = first.get_strategy().read(token) if token else None
            user = manager.users.get(number) if number is not None else None
            if user is None or not user.is_active:
                raise HTTPException(401)
            if superuser and not user.is_superuser:
                raise HTTPException(403)
            return user

        return current
