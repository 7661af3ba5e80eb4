"""An issuer in this process, with a clock that tests move."""

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.testclient import TestClient

from components.mcp.dev_issuer.server import authorization_server
from components.mcp.dev_issuer.users import User

BASE = "http://localhost:8000"
USERS = [
    User(id="u-ada", email="ada@example.com", name="Ada", role="admin"),
    User(id="u-bob", email="bob@example.com"),
]


class Clock:
    """Seconds since 1970, as a test says."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def issuer_client(clock: Callable[[], float] | None = None, **options: Any) -> TestClient:
    """A bare Starlette application with the issuer's routes."""
    chosen: dict[str, Any] = {"base_url": BASE, "users": USERS, "clock": clock or Clock()} | options
    app = Starlette(routes=authorization_server(**chosen).routes)
    return TestClient(app, base_url=chosen["base_url"])
