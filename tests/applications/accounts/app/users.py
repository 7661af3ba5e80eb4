"""The users of this service: their models, their manager, and the objects that the kit takes."""

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import Request

from app.auth.backend import Backend, BearerTransport, SignedStrategy
from app.auth.kit import AccountsKit
from app.auth.manager import BaseUser, BaseUserCreate, BaseUserManager, hashed
from app.settings import settings

logger = logging.getLogger("app.users")


@dataclass
class User:
    """A user."""

    id: int
    email: str
    password: str
    name: str = ""
    is_active: bool = True
    is_superuser: bool = False


class UserRead(BaseUser):
    """A user as it is shown."""

    name: str = ""


class UserCreate(BaseUserCreate):
    """What one says to become a user."""

    name: str = ""


class UserManager(BaseUserManager[User]):
    """Keeps the users."""

    user_class = User

    async def on_after_register(self, user: User) -> None:
        """Say hello."""
        logger.info("user %d is here", user.id)


def first_users() -> dict[int, User]:
    """Return who is there from the beginning."""
    root = User(1, "root@example.com", hashed("root"), "Root", is_superuser=True)
    return {root.id: root}


async def get_user_manager(request: Request) -> AsyncIterator[UserManager]:
    """Give the manager of the users that the start has made."""
    yield UserManager(request.app.state.users)


def get_strategy() -> SignedStrategy:
    """Return who signs tokens."""
    return SignedStrategy(settings.secret.get_secret_value())


bearer_transport = BearerTransport(token_url="auth/login")
auth_backend = Backend("signed", bearer_transport, get_strategy)
accounts = AccountsKit[User](get_user_manager, [auth_backend])
current_active_user = accounts.current_user()
current_superuser = accounts.current_user(superuser=True)
