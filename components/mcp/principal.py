"""Who sends a request, as their token says -> what endpoints, tools, logs and limits read.

In: the claims of a token that was verified. Out: a `Principal`, which stands at `request.user` and
`request.state.principal`; `principal_of` gives it where it must be there. Refuses to answer for a
request that no gate has seen.

A principal is on the request, not in a context variable: an MCP server runs its tools in tasks that
were started before the request came, and a tool reaches the request through its context.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.authentication import BaseUser
from starlette.requests import HTTPConnection
from starlette.types import Scope


@dataclass(frozen=True)
class Principal(BaseUser):
    """A user that a token speaks for.

    `scopes` are those of the token and those that a login implies; `role` is the value of the role
    claim; `claims` are the token's own, which never include the token.
    """

    id: str
    issuer: str
    scopes: frozenset[str]
    role: str | None = None
    client_id: str | None = None
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)

    is_authenticated: Final = True

    @property
    def identity(self) -> str:
        """What limits count by."""
        return self.id

    @property
    def display_name(self) -> str:
        """What logs show: an ID, as a name may be anything."""
        return self.id


def principal_of(request: HTTPConnection | Scope) -> Principal:
    """The principal of a request or its scope.

    Raises:
        PermissionError: no gate has let this request pass.
    """
    scope = request.scope if isinstance(request, HTTPConnection) else request
    found = scope.get("state", {}).get("principal")
    if not isinstance(found, Principal):
        raise PermissionError("the request has passed no gate")
    return found
