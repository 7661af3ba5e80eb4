"""A request -> who sent it, and whether that, or what else a guard knows of it, let it in.

In: a scope that authentication further out has filled: `scope["user"]`, as Starlette's
AuthenticationMiddleware and the guards of this package do, or `request.state.user`. Out: one text for
limits and logs alike; and the word of a guard for layers that say who may keep an answer.
"""

from typing import Any

from starlette.types import Scope

_OPENED = "opened_by_guard"
_NAMES = ("identity", "username", "id", "display_name")


def user_of(scope: Scope) -> str | None:
    """What whoever is logged in goes by: the identity, where they have one, or a name."""
    user = scope.get("user")
    if user is None or not _attribute(user, "is_authenticated", otherwise=True):
        user = (scope.get("state") or {}).get("user")
    if user is None or isinstance(user, str | int):
        return str(user) if user else None
    for name in _NAMES:
        found = _attribute(user, name, otherwise=None)
        if found is not None and found != "":
            return str(found)
    return None


def note_opened(scope: Scope) -> None:
    """Say that a guard let this request in for what it knows of it: its answer is not for all."""
    scope.setdefault("state", {})[_OPENED] = True


def is_personal(scope: Scope) -> bool:
    """Whether a guard let this request in, or somebody is known to have sent it."""
    state = scope.get("state") or ()
    if _OPENED in state:
        return True
    return ("user" in scope or "user" in state) and user_of(scope) is not None


def _attribute(user: object, name: str, *, otherwise: object) -> Any:
    try:
        return getattr(user, name, otherwise)
    except Exception:  # noqa: BLE001  # a user's class may do anything; BaseUser.identity raises
        return otherwise
