"""A request -> the same request with an ID that its response, its code and its log records share.

In: a header such as `X-Request-ID` of a trusted peer, else a new ID (UUID version 7, so IDs sort by
time); a valid W3C `traceparent` of anyone, as it only ever becomes log data of a fixed form. Out: the
response header (on a websocket's handshake too), `request.state.request_id` and `.traceparent`, and
`components.request_context`. Refuses an ID that is too long, has other characters, was given twice or
comes from elsewhere: the request then gets a new one. Headers of the request stay as they are.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.types import ASGIApp, Scope

from components.http.headers import HeaderName, header_name
from components.http.openapi import Offer
from components.http.trusted_peers import Peer, TrustedPeers
from components.http.uuid7 import process_ids
from components.middleware.header_layer import NOTHING, Fields, HeaderLayer, Rule, Step
from components.request_context import CONTEXT

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/+=@-"

# https://www.w3.org/TR/trace-context/#traceparent-header: version 00 ends after the flags, later
# versions may go on after a dash, ff is none, and neither ID may be all zeros.
_TRACEPARENT = re.compile(
    rb"(?:00|(?P<later>(?!00|ff)[0-9a-f]{2}))"
    rb"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    rb"(?(later)(?:-[!-~]*)?)"
)


class RequestIDMiddleware(HeaderLayer):
    """Gives each request and websocket its ID. Inside another one it keeps the outer one's ID.

    Trust is judged by `scope["client"]`. Behind uvicorn's ProxyHeadersMiddleware that is the end user,
    not the proxy: place this middleware outside of it to trust the proxy.

    Raises:
        TypeError, ValueError: an option is not what it should be.
    """

    layer_role = "request-id"

    on_websockets = True

    def __init__(
        self,
        app: ASGIApp,
        *,
        header: Annotated[
            HeaderName, Field(description="the header that carries the ID, in both directions")
        ] = "X-Request-ID",
        trust: Annotated[
            Literal["*"] | Sequence[Peer],
            Field(
                description="whose IDs are taken: `*`, or addresses, networks, and `unix` for "
                "connections without an address",
                json_schema_extra={"looser": "longer"},
            ),
        ] = (),
        max_length: Annotated[
            int,
            Field(
                ge=1,
                le=1024,
                description="the longest ID that is taken, in characters",
                json_schema_extra={"looser": "higher"},
            ),
        ] = 128,
    ) -> None:
        if not 1 <= max_length <= 1024:
            raise ValueError(f"`max_length` must be from 1 to 1024, not {max_length}")
        self.app = app
        self._name = header_name("header", header)
        self._shown_name = header
        self._takes_ids = bool(trust)
        self._rule = _Replaced(self._name)
        self._peers = TrustedPeers(trust)
        self._max_length = max_length
        self._new_id = process_ids().new
        self._join(touches=[self._name], adds=[self._name])

    def openapi_operation(self, method: str, path: str) -> Offer | None:
        """The header of all answers, and those that a request may bring."""
        text = {"schema": {"type": "string"}}
        name = self._shown_name
        own = {"name": name, "in": "header", "description": "The request's ID", **text}
        parameters = [own] if self._takes_ids else []
        about = "The caller's trace (W3C Trace Context)"
        parameters.append({"name": "traceparent", "in": "header", "description": about, **text})
        shown = {"description": "The ID of the request", "required": True, **text}
        return {
            "parameters": parameters,
            "headers": {"default": {name: {"$ref": f"#/components/headers/{name}"}}},
            "components": {"headers": {name: shown}},
        }

    def begin(self, scope: Scope, headers: dict[bytes, bytes]) -> Step:
        state: dict[str, Any] | None = scope.get("state")
        if state is None:
            state = scope["state"] = {}
        context = CONTEXT.get()
        # Both must agree: the state alone may be shared by requests, and the variable alone is also
        # inherited by a request that this process makes to itself.
        if context is not None and state.get("request_id") == context[0]:
            return NOTHING
        given = self._given_id(scope) if self._name in headers else None
        parent = _valid_traceparent(scope) if b"traceparent" in headers else None
        request_id = given or self._new_id()
        state["request_id"] = request_id
        state["traceparent"] = parent
        token = CONTEXT.set((request_id, parent))
        field = (self._name, request_id.encode("ascii"))
        return Step(self._rule, field, token)

    def _given_id(self, scope: Scope) -> str | None:
        values = [value for name, value in scope["headers"] if name == self._name]
        value: bytes = values[0]
        if (
            len(values) > 1
            or not 1 <= len(value) <= self._max_length
            or value.translate(None, _ALPHABET)
            or not self._peers.trusts(scope.get("client"))
        ):
            return None
        return value.decode("ascii")


class _Replaced(Rule):
    """Drops an answer's own ID, as the step's takes its place."""

    __slots__ = ("_name",)

    starts = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})

    def __init__(self, name: bytes) -> None:
        self._name = name

    def edit(self, fields: Fields, status: int, scope: Scope) -> Fields:
        return [field for field in fields if field[0].lower() != self._name]


def _valid_traceparent(scope: Scope) -> str | None:
    values = [value for name, value in scope["headers"] if name == b"traceparent"]
    if len(values) > 1 or len(values[0]) > 512 or not _TRACEPARENT.fullmatch(values[0]):
        return None
    return bytes(values[0]).decode("ascii")
