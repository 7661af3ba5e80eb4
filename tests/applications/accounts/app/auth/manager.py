"""Users: what they are, and who keeps them."""

import hashlib
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict


class UserProtocol(Protocol):
    """What the kit needs to know of a user."""

    id: int
    email: str
    password: str
    is_active: bool
    is_superuser: bool


U = TypeVar("U", bound=UserProtocol)


class BaseUser(BaseModel):
    """A user as it is shown."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    email: str
    is_active: bool = True
    is_superuser: bool = False


class BaseUserCreate(BaseModel):
    """What one says to become a user."""

    email: str
    password: str


class UserExistsError(Exception):
    """Somebody has the address."""


def hashed(password: str) -> str:
    """Return what is kept of a password."""
    return hashlib.scrypt(password.encode(), salt=b"accounts", n=2, r=8, p=1).hex()


class BaseUserManager(Generic[U]):
    """Keeps users in a mapping, and tells what happens to them."""

    user_class: type[U]

    def __init__(self, users: dict[int, U]) -> None:
        self.users = users

    async def create(self, wish: BaseUserCreate) -> U:
        """Keep a new user; raises `UserExistsError`."""
        if any(user.email == wish.email for user in self.users.values()):
            raise UserExistsError(wish.email)
        facts: dict[str, Any] = {**wish.model_dump(), "password": hashed(wish.password)}
        user = self.user_class(id=len(self.users) + 1, **facts)
        self.users[user.id] = user
        await self.on_after_register(user)
        return user

    async def authenticate(self, email: str, password: str) -> U | None:
        """Return the user who has this password."""
        for user in self.users.values():
            if user.email == email and user.password == hashed(password):
                return user
        return None

    async def on_after_register(self, user: U) -> None:
        """Do what a service wants to do then."""
