"""A request with an API key -> the same request with the name of the key's holder.

In: HTTP requests and websocket handshakes with the key in a header, of which only the SHA-256 is
configured. Out: `request.user`, `request.auth` and `request.state.user` say whose key it is; without a
valid key 401 with WWW-Authenticate (a websocket is refused before it is accepted). Not checked:
`exempt` paths. Place it inside CORS, so that preflights, which carry no key, are answered further out.

A key's hash is `printf %s "$KEY" | sha256sum`. Keys must be random, of 128 bits or more: a hash without
salt does not protect a word.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field
from starlette.authentication import AuthCredentials, SimpleUser
from starlette.types import ASGIApp, Receive, Scope, Send

from components.http.error_response import BodyOption, ErrorResponse, Fault, valid_shape
from components.http.headers import HeaderName, header_name
from components.http.openapi import Offer, refusals, secured, together
from components.http.paths import PathPattern, app_path, exempts_path, means_route
from components.http.user import note_opened


class KeyHolder(SimpleUser):
    """Who sent a valid key; `identity` and `username` are its name."""

    @property
    def identity(self) -> str:
        return self.username


def _hash(text: str) -> str:
    if not _HASH.fullmatch(text):  # the text is not shown: it may be a key, by mistake
        raise ValueError("takes the SHA-256 of a key, as 64 hexadecimal digits")
    return text


_HASH = re.compile(r"[0-9a-fA-F]{64}")
KeyHash = Annotated[str, AfterValidator(_hash)]


class APIKeyMiddleware:
    """Lets only requests with one of `keys` pass.

    In the header `Authorization` the key stands after the word `Bearer`.

    Raises:
        TypeError, ValueError: an option is not what it should be.
    """

    layer_role = "auth"

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: Annotated[
            Mapping[str, KeyHash],
            Field(
                min_length=1,
                description="the holder's name, and the SHA-256 of the key in hex: "
                "`d91d8b4ef6c4a83ac3d3d3f2b0a0a0b5a8d6a9a3e2a2b1d8f7c6b5a49382716f`",
                json_schema_extra={"looser": "longer"},
            ),
        ],
        header: Annotated[
            HeaderName, Field(description="the header that carries the key")
        ] = "X-API-Key",
        exempt: Annotated[
            Sequence[PathPattern],
            Field(
                description="paths that need no key, such as `/health/*`",
                json_schema_extra={"looser": "longer"},
            ),
        ] = (),
        body: BodyOption = "accept",
    ) -> None:
        if not keys:
            raise ValueError("`keys` is empty: nothing could pass")
        for name, digest in keys.items():
            if not _HASH.fullmatch(digest):
                raise ValueError(f"`keys`: that of `{name}` is not a SHA-256 in hex")
        self.app = app
        self._keys = [(name, bytes.fromhex(digest)) for name, digest in keys.items()]
        self._header = header_name("header", header)
        self._prefix = b"bearer " if self._header == b"authorization" else b""
        self._shown_header = header
        challenge = "Bearer" if self._prefix else "APIKey"
        self._fault = Fault(
            401, message="a valid API key is needed", headers={"WWW-Authenticate": challenge}
        )
        self._exempt = exempts_path("exempt", exempt)
        self._body = valid_shape(body)

    def openapi_operation(self, method: str, path: str) -> Offer | None:
        """The key that is asked for on a route, and the refusal."""
        if means_route(self._exempt, path):
            return None
        scheme = {"type": "apiKey", "in": "header", "name": self._shown_header}
        if self._prefix:
            scheme = {"type": "http", "scheme": "bearer"}
        return together(
            refusals(self._body, self._fault), secured("api_key", scheme, is_needed=True)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or self._exempt(app_path(scope)):
            await self.app(scope, receive, send)
            return
        name = self._holder(scope)
        if name is None:
            await ErrorResponse(self._fault, scope, body=self._body)(scope, receive, send)
            return
        scope["user"] = KeyHolder(name)
        scope["auth"] = AuthCredentials(["authenticated"])
        scope.setdefault("state", {})["user"] = name
        note_opened(scope)
        await self.app(scope, receive, send)

    def _holder(self, scope: Scope) -> str | None:
        """Whose key it is. Every key is compared, whichever matches."""
        given = [value for name, value in scope["headers"] if name == self._header]
        prefix = len(self._prefix)
        if len(given) != 1 or given[0][:prefix].lower() != self._prefix:
            return None
        digest = hashlib.sha256(given[0][prefix:].strip()).digest()
        holder = None
        for name, expected in self._keys:
            if hmac.compare_digest(digest, expected):
                holder = name
        return holder
