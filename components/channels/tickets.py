"""One-use tickets, and the other ways in which a browser brings its token to a channel.

Browsers set no header on a websocket, nor on an `EventSource`. So a token comes as one of the
subprotocols, `bearer.<token>`, beside a public one that is answered; or the browser gets a ticket by a
POST with its token, and puts that into the query. A ticket holds for half a minute, once, for its user
and its channel. A token never stands in a query.

In: websocket handshakes and GET requests. Out: the same, with the token in the Authorization header,
where a gate looks for it, and neither token nor ticket where anything logs them: not in the query
string, nor among the subprotocols. Refused: nothing; what is no ticket is taken away, and the gate
then finds no token.
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, Protocol
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from components.http.openapi import Offer
from components.http.paths import app_path, exempts_path, means_route

PREFIX = "bearer."

_TICKET = re.compile(r"[A-Za-z0-9_-]{43}")
_QUERY = "ticket"


class TicketStore(Protocol):
    """A cache that all processes share: `components.cache`."""

    async def get(self, key: str, default: Any = None) -> Any: ...
    async def set(self, key: str, value: Any, *, ttl: timedelta | None = None) -> None: ...
    async def increment(self, key: str, by: int = 1, *, ttl: timedelta | None = None) -> int: ...


class Tickets:
    """One-use tickets, by which browsers bring a login to a channel.

    What the store holds is of no use to who reads it: the token is encrypted by the ticket, of which
    only a hash is there.
    """

    def __init__(
        self,
        *,
        store: Annotated[
            Any,
            Field(
                description="the cache that keeps them, as `components.cache.memory_cache` makes it for one "
                "process and `components.cache.redis_cache` for all that share it"
            ),
        ],
        ttl: Annotated[
            timedelta,
            Field(
                gt=timedelta(0),
                le=timedelta(minutes=5),
                description="how long a ticket holds",
                json_schema_extra={"looser": "longer"},
            ),
        ] = timedelta(seconds=30),
    ) -> None:
        self.ttl = ttl
        self._store: TicketStore = store.namespace("tickets")

    async def issue(self, token: str, channel: str) -> str:
        """A ticket by which `token` opens that channel, once."""
        ticket = secrets.token_urlsafe(32)
        sealed = _cipher(ticket).encrypt(bytes(12), token.encode(), channel.encode())
        await self._store.set(_name(ticket), sealed, ttl=self.ttl)
        return ticket

    async def redeem(self, ticket: str, channel: str) -> str | None:
        """The token of a ticket; None where it is none, is of another channel, or was used."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  # heavy, and seldom needed

        if not _TICKET.fullmatch(ticket):
            return None
        name = _name(ticket)
        sealed = await self._store.get(name)
        if not isinstance(sealed, bytes):
            return None
        if await self._store.increment(f"used-{name}", ttl=self.ttl * 2) != 1:
            return None
        try:
            # the key is used once, so the nonce need not vary
            opened = _cipher(ticket).decrypt(bytes(12), sealed, channel.encode())
        except InvalidTag:
            return None
        text: str = opened.decode()
        return text


class HandshakeTokens:
    """Puts the token of a handshake where a gate looks for it; place it right outside the gate."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        tickets: Annotated[Tickets, Field(description="what makes tickets and takes them")],
        paths: Annotated[
            Sequence[str], Field(description="where channels are read, such as `/api/ws/*`")
        ],
    ) -> None:
        self.app = app
        self._tickets = tickets
        self._is_meant = exempts_path("paths", paths)

    def openapi_operation(self, method: str, path: str) -> Offer | None:
        """The parameter that a request for a channel may bring."""
        if method != "GET" or not means_route(self._is_meant, path):
            return None
        about = "A ticket, in place of a token"
        text = {"schema": {"type": "string"}}
        return {"parameters": [{"name": _QUERY, "in": "query", "description": about, **text}]}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and self._is_meant(app_path(scope)):
            token = _offered_token(scope) if scope["type"] == "websocket" else None
            query = scope.get("query_string", b"")
            if b"ticket" in query or b"%" in query:
                ticket = _taken_ticket(scope)
                if ticket is not None and scope.get("method", "GET") == "GET":
                    channel = app_path(scope).rstrip("/").rpartition("/")[2]
                    token = await self._tickets.redeem(ticket, channel) or token
            if token is not None:
                field = (b"authorization", f"Bearer {token}".encode("latin-1", "replace"))
                scope["headers"] = [*scope["headers"], field]
        await self.app(scope, receive, send)


class TicketIn(BaseModel):
    """Which channel is to be read."""

    model_config = ConfigDict(strict=True)

    channel: Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$", examples=["notifications"])]


class TicketOut(BaseModel):
    """A ticket: put it into the query as `ticket`, once, within so many seconds."""

    ticket: str
    expires_in: float


def router(
    *,
    tickets: Tickets,
    channels: Annotated[
        Sequence[str], Field(description="for which there are tickets", min_length=1)
    ],
) -> APIRouter:
    """The route `POST /tickets`; a gate before it must ask for the token that the ticket stands for."""
    made = APIRouter(tags=["channels"])
    known = frozenset(channels)

    @made.post(
        "/tickets",
        summary="Get a ticket for a channel",
        status_code=201,
        response_model=TicketOut,
        responses={404: {"description": "No such channel"}},
    )
    async def create_ticket(wanted: TicketIn, request: Request) -> JSONResponse:
        """For browsers, which cannot send a token with a websocket or an event stream."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or getattr(request.state, "principal", None) is None:
            raise HTTPException(401, "log in to get a ticket", {"WWW-Authenticate": "Bearer"})
        if wanted.channel not in known:
            raise HTTPException(404, "no such channel")
        ticket = await tickets.issue(token.strip(), wanted.channel)
        content = TicketOut(ticket=ticket, expires_in=tickets.ttl.total_seconds())
        return JSONResponse(content.model_dump(), 201, {"cache-control": "no-store"})

    return made


def _name(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()


def _cipher(ticket: str) -> Any:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  # heavy

    return AESGCM(hashlib.sha256(b"key of " + ticket.encode()).digest())


def _offered_token(scope: Scope) -> str | None:
    """The token among the subprotocols, which are left without it; None unless there is one."""
    offered: list[str] = [*scope.get("subprotocols", ())]
    found = [one for one in offered if one.startswith(PREFIX)]
    if not found:
        return None
    rest = [one for one in offered if not one.startswith(PREFIX)]
    scope["subprotocols"] = rest
    others = [field for field in scope["headers"] if field[0] != b"sec-websocket-protocol"]
    kept = [(b"sec-websocket-protocol", ", ".join(rest).encode("latin-1"))] if rest else []
    scope["headers"] = [*others, *kept]
    return found[0].removeprefix(PREFIX) if len(found) == 1 else None


def _taken_ticket(scope: Scope) -> str | None:
    """The ticket of the query, which is left without it: servers and others log the query."""
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    found = [value for name, value in pairs if name == _QUERY]
    if found:
        rest = [(name, value) for name, value in pairs if name != _QUERY]
        # the server's own dictionary, which it logs from
        scope["query_string"] = urlencode(rest).encode("ascii")
    return found[0] if len(found) == 1 else None
