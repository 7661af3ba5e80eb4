"""A request to follow a channel -> a websocket, or an event stream, with its messages.

In: a handshake or a GET request, the name of the channel, and which of its messages are meant. Out:
JSON texts, `{"type": "ready" | "message" | "gap" | "position", "position": "epoch:offset", …}`, or
events whose `id` is the position. A client that comes back says where it was, by `since` or
`Last-Event-ID`, and gets what it missed, or a gap: then it reads the state anew.

Refused before anything is accepted: an Origin that is not listed (403), more connections than a
caller may have (429), a service that drains or whose server is away (503). Who may read is for a gate
before it to say. A connection ends with its token, by 4401, unless the client sends another one of the
same user: `{"type": "renew", "token": "…"}`.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Annotated, Any, Protocol
from urllib.parse import urlsplit

from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Message as ASGIMessage
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from components.channels import Channels, Gap, Subscription, SubscriptionEnded
from components.channels.feed import Overflow
from components.channels.message import Message, Position
from components.mcp.principal import Principal
from components.mcp.protected import Protected

EXPIRED = 4401
POLICY = 1008
TOO_BIG = 1009

_LONGEST_WORD = 16_384  # characters that a client may send at once
_MOST_WORDS = 60  # that a client may send in a minute
_SKIPPED = 100  # messages that are not meant, after which the position is told
_GRACE_SECONDS = 5.0  # in which a writer that is stuck may still end by itself
_LONGEST_WAIT_SECONDS = 86_400.0
_ANYWHERE = "*"

Wanted = Callable[[Any], bool]
Origins = Annotated[
    Sequence[str],
    Field(
        description="origins of pages that may connect, or `*`; the service's own may, and so may "
        "what is no browser, and sends none",
        json_schema_extra={"looser": "longer"},
    ),
]
MostConnections = Annotated[
    int,
    Field(
        ge=1,
        description="connections at most, in each process",
        json_schema_extra={"looser": "higher"},
    ),
]
MostPerClient = Annotated[
    int,
    Field(
        ge=1,
        description="connections of one user or address, in each process",
        json_schema_extra={"looser": "higher"},
    ),
]


class Verifies(Protocol):
    """Judges tokens: `components.mcp.resource_server.ResourceServer`."""

    async def principal(self, mount: Protected, token: str) -> Principal: ...


class ChannelEndpoint:
    """Serves channels of `request.state.channels` to clients, within limits."""

    def __init__(
        self,
        *,
        origins: Origins = (),
        max_connections: MostConnections = 10_000,
        max_per_client: MostPerClient = 20,
        queue: Annotated[
            int, Field(ge=1, le=10_000, description="messages that a client may be behind")
        ] = 256,
        overflow: Annotated[
            Overflow, Field(description="what becomes of a client that is further behind")
        ] = "drop-oldest",
        heartbeat: Annotated[
            timedelta,
            Field(gt=timedelta(0), description="how long an event stream is silent at most"),
        ] = timedelta(seconds=15),
        verifier: Annotated[
            Any, Field(description="judges the tokens by which connections are renewed")
        ] = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        if isinstance(origins, str):
            raise TypeError("`origins` is a list of origins, not one text")
        self._origins = frozenset(origin.rstrip("/").lower() for origin in origins)
        self._most = max_connections
        self._most_per_client = max_per_client
        self._queue = queue
        self._overflow: Overflow = overflow
        self._heartbeat_seconds = heartbeat.total_seconds()
        self._verifier: Verifies | None = verifier
        self._now = now
        self._clients: Counter[str] = Counter()
        self._count = 0

    async def websocket(
        self, websocket: WebSocket, channel: str, *, wanted: Wanted | None = None
    ) -> None:
        """Serve a websocket until it ends; `since` in its query is where it was.

        Raises:
            HTTPException: it is refused; on servers that can say no more it is closed instead.
        """
        try:
            with self.admitted(websocket) as client:
                since = _since(websocket.query_params.get("since"))
                with await self.subscription(websocket, channel, since) as subscription:
                    await _Socket(self, websocket, subscription, client, wanted).run()
        except HTTPException:
            if "websocket.http.response" in (websocket.scope.get("extensions") or {}):
                raise
            await websocket.close(POLICY)

    def events(
        self, request: Request, channel: str, *, wanted: Wanted | None = None
    ) -> "EventStream":
        """The answer that streams a channel; `Last-Event-ID`, or `since` in the query, is where it was."""
        return EventStream(self, request, channel, wanted)

    async def renewed(self, connection: HTTPConnection, token: str) -> Principal | None:
        """The principal of another token for the same user and the same rules; None where it is not."""
        mount, before = _of_state(connection, "protected"), _principal(connection)
        if self._verifier is None or mount is None or before is None:
            return None
        try:
            principal = await self._verifier.principal(mount, token)
        except Exception:  # noqa: BLE001  # invalid, or nobody can tell now: the old one holds
            return None
        same = (principal.id, principal.issuer) == (before.id, before.issuer)
        return principal if same and mount.lacking(principal) is None else None

    def seconds_left(self, principal: Principal | None) -> float | None:
        """How long the token of a principal holds; None for ever."""
        expires = principal.claims.get("exp") if principal is not None else None
        return None if not isinstance(expires, int | float) else float(expires) - self._now()

    @property
    def heartbeat_seconds(self) -> float:
        """The longest silence of an event stream."""
        return self._heartbeat_seconds

    @contextmanager
    def admitted(self, connection: HTTPConnection) -> Iterator[Principal | None]:
        """Count a connection while it lasts; raises HTTPException."""
        self._judge(connection)
        client = _client(connection)
        self._count += 1
        self._clients[client] += 1
        try:
            yield _principal(connection)
        finally:
            self._count -= 1
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    def _judge(self, connection: HTTPConnection) -> None:
        origins = connection.headers.getlist("origin")
        if len(origins) > 1 or (origins and not self._is_known(origins[0], connection)):
            raise HTTPException(403, "pages of this origin may not connect")
        is_full = self._count >= self._most
        if is_full or self._clients[_client(connection)] >= self._most_per_client:
            raise HTTPException(429, "too many connections", {"Retry-After": "10"})

    def _is_known(self, origin: str, connection: HTTPConnection) -> bool:
        origin = origin.lower()
        if origin in self._origins or _ANYWHERE in self._origins:
            return True
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        own = connection.headers.get("host", "").lower()
        is_secure = connection.scope.get("scheme") in {"https", "wss"}
        return (
            bool(own) and parts.netloc == own and parts.scheme == ("https" if is_secure else "http")
        )

    async def subscription(
        self, connection: HTTPConnection, channel: str, since: Position | None
    ) -> Subscription:
        channels: Channels | None = _of_state(connection, "channels")
        if channels is None:
            raise HTTPException(503, "there are no channels here", {"Retry-After": "60"})
        try:
            return await channels.subscribe(
                channel, since=since, queue=self._queue, overflow=self._overflow
            )
        except Exception as error:  # the service drains, or its server is away
            wait = str(random.randint(1, 5))  # noqa: S311  # spreads those who come back
            raise HTTPException(503, "no channel can be read now", {"Retry-After": wait}) from error


class _Connection:
    """What a websocket and an event stream have in common: an end that comes with the token."""

    def __init__(
        self,
        endpoint: ChannelEndpoint,
        connection: HTTPConnection,
        subscription: Subscription,
        principal: Principal | None,
        wanted: Wanted | None,
    ) -> None:
        self.endpoint = endpoint
        self.connection = connection
        self.subscription = subscription
        self._wanted = wanted
        self._principal = principal
        self._timer: asyncio.TimerHandle | None = None
        self._skipped = 0
        self._killer: asyncio.TimerHandle | None = None

    async def together(
        self, writing: Coroutine[Any, Any, None], listening: Coroutine[Any, Any, None]
    ) -> SubscriptionEnded | None:
        """Write and listen until one side ends it; return why the service did, if it did.

        Each has a task of its own: a message wakes two calls, and not all that lie around them.
        """
        loop = asyncio.get_running_loop()
        writer, listener = loop.create_task(writing), loop.create_task(listening)

        def ended() -> None:
            if self._killer is None:  # a client that takes nothing leaves it stuck
                self._killer = loop.call_later(_GRACE_SECONDS, writer.cancel)

        self.subscription.on_end = ended
        self._watch(self._principal)
        try:
            await asyncio.wait({writer})
        finally:
            for handle in (self._timer, self._killer):
                if handle is not None:
                    handle.cancel()
            listener.cancel()
            writer.cancel()
            await asyncio.gather(writer, listener, return_exceptions=True)
        error = None if writer.cancelled() else writer.exception()
        if error is None or isinstance(error, OSError | RuntimeError | WebSocketDisconnect):
            return (
                None  # the client is gone: servers say so when one sends, and Starlette after them
            )
        if isinstance(error, SubscriptionEnded):
            return error
        raise error

    def renew(self, principal: Principal) -> None:
        """Go on with another token."""
        self._principal = principal
        self._watch(principal)

    def meant(self, items: Sequence[Message | Gap]) -> list[Message | Gap]:
        """Those that the client wants."""
        if self._wanted is None:
            return [*items]
        found = [one for one in items if isinstance(one, Gap) or self._wanted(one.data)]
        self._skipped = 0 if found and found[-1] is items[-1] else self._skipped + len(items)
        return found

    @property
    def is_due(self) -> bool:
        """Whether so much was left out that the client should know how far it is."""
        if self._skipped < _SKIPPED:
            return False
        self._skipped = 0
        return True

    def _watch(self, principal: Principal | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        left = self.endpoint.seconds_left(principal)
        if left is None:
            return
        if left <= 0:
            self.subscription.end(EXPIRED, "the token has expired")
            return
        wait = min(left, _LONGEST_WAIT_SECONDS)
        self._timer = asyncio.get_running_loop().call_later(wait, self._watch, principal)


class _Socket(_Connection):
    connection: WebSocket

    async def run(self) -> None:
        """Serve until one side ends it."""
        websocket = self.connection
        offered: list[str] = websocket.scope.get("subprotocols") or []
        position = self.subscription.position
        await websocket.accept(subprotocol=offered[0] if offered else None)
        hello = f'{{"type":"ready","position":"{position}"}}'
        end = await self.together(self._write(websocket.send, hello), self._listen())
        if end is not None and end.code:
            with suppress(Exception):  # it may be gone already
                await websocket.close(end.code, str(end))

    async def _write(self, send: Send, hello: str) -> None:
        subscription = self.subscription
        await send({"type": "websocket.send", "text": hello})
        while self._wanted is None:
            for item in await subscription.next():
                await send({"type": "websocket.send", "text": item.frame})
        while True:
            for item in self.meant(await subscription.next()):
                await send({"type": "websocket.send", "text": item.frame})
            if self.is_due:
                text = f'{{"type":"position","position":"{subscription.position}"}}'
                await send({"type": "websocket.send", "text": text})

    async def _listen(self) -> None:
        """Hear what the client says: a new token, or that it goes."""
        loop = asyncio.get_running_loop()
        words, until = 0, loop.time() + 60
        while True:
            message = await self.connection.receive()
            if message["type"] == "websocket.disconnect":
                self.subscription.end(0, "gone")
                return
            if loop.time() >= until:
                words, until = 0, loop.time() + 60
            words += 1
            text = message.get("text")
            if words > _MOST_WORDS:
                self.subscription.end(POLICY, "too many messages")
            elif text is not None and len(text) > _LONGEST_WORD:
                self.subscription.end(TOO_BIG, "too long")
            elif not await self._obey(text):
                self.subscription.end(POLICY, "not understood")

    async def _obey(self, text: str | None) -> bool:
        try:
            word = json.loads(text or "")
        except (ValueError, RecursionError):
            return False
        if not isinstance(word, dict) or word.get("type") != "renew":
            return False
        token = word.get("token")
        if not isinstance(token, str):
            return False
        principal = await self.endpoint.renewed(self.connection, token)
        if principal is not None:
            self.renew(principal)
        answer = {"type": "renewed" if principal is not None else "refused"}
        with suppress(Exception):  # it may be gone
            await self.connection.send_text(json.dumps(answer))
        return True


class EventStream(Response):
    """A response that streams one channel as server-sent events.

    Raises HTTPException, before it answers, where that is refused.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        endpoint: ChannelEndpoint,
        request: Request,
        channel: str,
        wanted: Wanted | None,
    ) -> None:
        self._endpoint = endpoint
        self._request = request
        self._channel = channel
        self._wanted = wanted
        self.background = None
        self.status_code = 200
        # As Starlette's streams do: there is no body yet, and so no length.
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint, request = self._endpoint, self._request
        with endpoint.admitted(request) as principal:
            text = request.headers.get("last-event-id") or request.query_params.get("since")
            with await endpoint.subscription(request, self._channel, _since(text)) as subscription:
                stream = _Events(endpoint, request, subscription, principal, self._wanted)
                await stream.run(receive, send, self.raw_headers)


class _Events(_Connection):
    async def run(self, receive: Receive, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        """Serve until one side ends it."""
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self.together(self._write(send), self._listen(receive))
        with suppress(OSError):
            await send(_body(b"", more=False))

    async def _write(self, send: Send) -> None:
        async for part in self._parts():
            if part:
                await send(_body(part))

    async def _parts(self) -> AsyncGenerator[bytes]:
        yield f"retry: 2000\nid: {self.subscription.position}\n\n".encode()
        try:
            while True:
                yield await self._next()
        except SubscriptionEnded as end:
            if end.code == EXPIRED:
                yield b'event: expired\ndata: {"reason":"the token has expired"}\n\n'
            elif end.code:  # not all at once
                yield f"retry: {random.randint(500, 5000)}\n\n".encode()  # noqa: S311  # no secret

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self.endpoint.heartbeat_seconds):
                items = await self.subscription.next()
        except TimeoutError:
            return b": still here\n\n"
        parts = b"".join(item.event for item in self.meant(items))
        if self.is_due:
            parts += f"id: {self.subscription.position}\n\n".encode()
        return parts

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.subscription.end(0, "gone")


def _body(part: bytes, *, more: bool = True) -> ASGIMessage:
    return {"type": "http.response.body", "body": part, "more_body": more}


def _since(text: str | None) -> Position | None:
    """The place that a client names; one that cannot be read is one that is not known."""
    if not text:
        return None
    return Position.parse(text) or Position("", 1)


def _of_state(connection: HTTPConnection, name: str) -> Any:
    return getattr(connection.state, name, None)


def _principal(connection: HTTPConnection) -> Principal | None:
    found = _of_state(connection, "principal")
    return found if isinstance(found, Principal) else None


def _client(connection: HTTPConnection) -> str:
    """By whom connections are counted: a user, or else an address."""
    principal = _principal(connection)
    if principal is not None:
        return f"user {principal.id}"
    return f"address {connection.client.host if connection.client else ''}"
