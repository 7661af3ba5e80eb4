"""Who sent a request: one answer for limits, logs and caches."""

from types import SimpleNamespace
from typing import Any

import pytest
from starlette.authentication import BaseUser, SimpleUser, UnauthenticatedUser

from components.access_log.line import who
from components.http.user import is_personal, note_opened, user_of
from components.mcp.principal import Principal
from components.middleware.api_key import KeyHolder
from components.rate_limit.keys import subject_of
from tests.components.middleware.exchange import http_scope


class Nameless(BaseUser):
    """`identity` and `display_name` raise NotImplementedError."""

    is_authenticated = True


@pytest.mark.parametrize(
    ("user", "name"),
    [
        ("ann", "ann"),
        (7, "7"),
        ("", None),
        (None, None),
        (SimpleUser("ann"), "ann"),
        (UnauthenticatedUser(), None),
        (Nameless(), None),
        (KeyHolder("billing"), "billing"),
        (Principal(id="u-1", issuer="i", scopes=frozenset()), "u-1"),
        (SimpleNamespace(identity="u-1", username="ann", id=9), "u-1"),
        (SimpleNamespace(username="ann", id=9), "ann"),
        (SimpleNamespace(id=9), "9"),
        (SimpleNamespace(display_name="Ann"), "Ann"),
        (SimpleNamespace(is_authenticated=False, id=9), None),
    ],
)
def test_limits_logs_and_caches_agree_on_who_asks(user: Any, name: str | None) -> None:
    scope = http_scope(user=user)
    assert user_of(scope) == name
    assert who(scope)[7] == name
    assert subject_of("user")(scope) == (f"user:{name}" if name else "ip:198.51.100.7")
    assert is_personal(scope) is (name is not None)


def test_what_a_guard_opened_is_personal_whoever_asks() -> None:
    scope = {"type": "http"}
    assert not is_personal(scope)
    note_opened(scope)
    assert is_personal(scope)
