"""A request to a protected mount -> the same request with its principal, or a refusal.

In: HTTP requests and websocket handshakes with a token in the header `Authorization: Bearer …`.
Out: `request.user`, `request.auth` and `request.state.principal` say whom the token speaks for, and
`request.state.protected` by which rules.
Paths outside the mounts pass as they are, and so does a request without a token by a method that the
mount has made public.

Refuses, before the mount is even built where it is lazy: no token, an invalid one, one in the query
string, which ends up in logs and histories (401); two tokens (400); too few rights (403); and while
the issuer's keys cannot be fetched all that depend on them (503). The application's own handlers
answer, as for an `HTTPException` of a route; each refusal brings the WWW-Authenticate of its mount
(RFC 6750 and RFC 9728).

Place it inside CORS, whose preflights carry no token, and inside what changes paths.
"""

import re
from typing import Annotated, Any
from urllib.parse import parse_qsl

from pydantic import Field
from starlette._utils import is_async_callable
from starlette.authentication import AuthCredentials
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from components.http.error_response import ErrorResponse, fault_of
from components.http.openapi import Offer
from components.http.paths import app_path
from components.mcp.keys import KeysUnavailable
from components.mcp.principal import Principal
from components.mcp.protected import Protected
from components.mcp.resource_server import ResourceServer
from components.mcp.tokens import InvalidToken

_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
_MISSING = "a bearer token in the Authorization header is needed"


class BearerGate:
    """Lets only requests with a token pass that `resource_server` takes for their mount."""

    layer_role = "auth"

    def __init__(
        self,
        app: ASGIApp,
        *,
        resource_server: Annotated[ResourceServer, Field(description="what judges tokens")],
    ) -> None:
        self.app = app
        self._server = resource_server

    def openapi_operation(self, method: str, path: str) -> Offer | None:
        """What the gate asks for and answers on a route."""
        return self._server.openapi_operation(method, path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        mounts: tuple[Protected, ...] = ()
        if scope["type"] in ("http", "websocket"):
            mounts = self._server.mounts_of(app_path(scope))
        if mounts:
            mount = mounts[0]
            try:
                principal = await self._admitted(scope, mount)
                for other in mounts[1:]:  # whichever of them answers, it is guarded
                    await self._admitted(scope, other)
            except HTTPException as refusal:
                await _answer(refusal, scope, receive, send)
                return
            state = scope.setdefault("state", {})
            state["protected"] = mount
            if principal is not None:
                scope["user"] = state["principal"] = principal
                scope["auth"] = AuthCredentials(sorted(principal.scopes))
        await self.app(scope, receive, send)

    async def _admitted(self, scope: Scope, mount: Protected) -> Principal | None:
        """The principal of the request, if it needs or has one; raises the refusal."""
        is_public = scope.get("method") in mount.public_methods
        token = _token_of(scope, mount, is_needed=not is_public)
        if token is None:
            return None
        try:
            principal = await self._server.principal(mount, token)
        except InvalidToken as error:
            raise _refusal(401, str(error), mount, "invalid_token") from None
        except KeysUnavailable as error:
            text = "tokens cannot be verified at the moment"
            raise HTTPException(503, text, {"Retry-After": str(error.seconds)}) from None
        lacking = None if is_public else mount.lacking(principal)
        if lacking is not None:
            raise _refusal(403, lacking, mount, "insufficient_scope")
        return principal


def _token_of(scope: Scope, mount: Protected, *, is_needed: bool) -> str | None:
    """The one token of the request; raises the refusal where one is needed and missing, or more."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    is_in_query = _names_a_token(scope.get("query_string", b""))
    if len(given) > 1 or (given and is_in_query):
        raise _refusal(400, "more than one token came", mount, "invalid_request")
    if is_in_query:
        raise _refusal(401, "a token in the query string is not taken", mount)
    if not given and not is_needed:
        return None
    word, _, rest = given[0].strip().partition(b" ") if given else (b"", b"", b"")
    token: bytes = rest.strip()
    if word.lower() != b"bearer" or not token:
        raise _refusal(401, _MISSING, mount)
    if not _TOKEN.fullmatch(token):
        raise _refusal(401, "the token is not well formed", mount, "invalid_token")
    return token.decode("ascii")


def _names_a_token(query: bytes) -> bool:
    if b"%" not in query and b"access_token" not in query:
        return False
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return any(name == "access_token" for name, _ in pairs)


def _refusal(status: int, text: str, mount: Protected, error: str | None = None) -> HTTPException:
    challenge = mount.challenge(error, text if error else None)
    return HTTPException(status, text, {"WWW-Authenticate": challenge})


async def _answer(refusal: HTTPException, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as the application would for a route: its middleware stand outside its handlers."""
    is_http = scope["type"] == "http"
    connection: HTTPConnection = Request(scope) if is_http else WebSocket(scope, receive, send)
    handlers = getattr(scope.get("app"), "exception_handlers", {})
    handler: Any = handlers.get(refusal.status_code) or handlers.get(HTTPException)
    response: ASGIApp | None = None
    # FastAPI's own handler cannot answer a websocket on a server without that extension.
    if handler and (is_http or "websocket.http.response" in (scope.get("extensions") or {})):
        if is_async_callable(handler):
            response = await handler(connection, refusal)
        else:
            response = await run_in_threadpool(handler, connection, refusal)
    if response is None:
        response = ErrorResponse(fault_of(refusal, refusal.status_code), scope)
    await response(scope, receive, send)
