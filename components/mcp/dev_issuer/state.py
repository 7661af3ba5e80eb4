"""What an issuer is told and what it remembers, in one place.

In: the options, judged. Out: `Issuer`, with everything that the endpoints share. All of it is in
memory and bounded: a restart forgets clients, codes and refresh tokens, and of too many the oldest go
first, so that no flood grows the process.
"""

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from components.mcp.dev_issuer.client_document import Fetch, is_document_url
from components.mcp.dev_issuer.clients import Client, documented_client
from components.mcp.dev_issuer.messages import OAuthError
from components.mcp.dev_issuer.signing_key import SigningKey
from components.mcp.dev_issuer.users import User
from components.rate_limit.memory import Table
from components.rate_limit.rates import parse_rates
from components.rate_limit.store import name_limits

# The paths that clients fall back to (MCP 2025-03-26): the official SDK refreshes at `/token` when it
# was started anew and has not read any metadata yet.
AUTHORIZE = "/authorize"
CONSENT = "/authorize/consent"
TOKEN = "/token"  # noqa: S105  # a path
REGISTER = "/register"
REVOKE = "/revoke"
KEYS = "/.well-known/jwks.json"
METADATA = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")

CONSENT_SECONDS = 600
CODE_SECONDS = 60
DOCUMENT_SECONDS = 300
_MOST = 1000

Clock = Callable[[], float]
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Asked:
    """An authorization request that may be put to a person."""

    client: Client
    redirect_uri: str
    state: str | None
    challenge: str
    scopes: tuple[str, ...]
    resources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Consent:
    """A question on somebody's screen; `browser_sha256` is of the cookie that their browser has."""

    asked: Asked
    browser_sha256: str


@dataclass(slots=True)
class Code:
    """A code; `session` is what its first use began."""

    asked: Asked
    user: User
    ends: float
    used: bool = False
    session: str = ""


@dataclass(slots=True)
class Session:
    """A family of refresh tokens, of which only the last one counts."""

    client_id: str
    user: User
    scopes: tuple[str, ...]
    resources: tuple[str, ...]
    secret_sha256: str


class Bounded(Generic[_Value]):
    """At most `capacity` values, each for `lifetime_seconds` after it was put."""

    def __init__(self, capacity: int, clock: Clock, *, lifetime_seconds: float = math.inf) -> None:
        self._capacity = capacity
        self._clock = clock
        self._lifetime_seconds = lifetime_seconds
        # one lifetime for all: the order in which they were put is that in which they end
        self._values: dict[str, tuple[float, _Value]] = {}

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: str, value: _Value) -> None:
        """Remember `value` anew, as the youngest."""
        self._values.pop(key, None)
        now = self._clock()
        while self._values:
            oldest = next(iter(self._values))
            if self._values[oldest][0] > now and len(self._values) < self._capacity:
                break
            del self._values[oldest]
        self._values[key] = (now + self._lifetime_seconds, value)

    def get(self, key: str) -> _Value | None:
        """The value, if it is still remembered."""
        ends, value = self._values.get(key, (0.0, None))
        return value if ends > self._clock() else None

    def pop(self, key: str) -> _Value | None:
        """The value, which is forgotten."""
        value = self.get(key)
        self._values.pop(key, None)
        return value


class Issuer:
    """The options, and the memory of one process."""

    def __init__(
        self,
        *,
        url: str,
        users: tuple[User, ...],
        scopes: tuple[str, ...],
        resources: tuple[str, ...],
        audience: str,
        key: SigningKey,
        access_token_lifetime: timedelta,
        refresh_token_lifetime: timedelta,
        fetch: Fetch,
        clock: Clock,
    ) -> None:
        self.url = url
        self.users = {user.id: user for user in users}
        self.scopes = scopes
        self.resources = resources
        self.audience = audience
        self.key = key
        # claims have whole seconds
        self.access_token_seconds = math.ceil(access_token_lifetime.total_seconds())
        self.clock = clock
        self.clients: Bounded[Client] = Bounded(_MOST, clock)
        self.documents: Bounded[Client] = Bounded(_MOST, clock, lifetime_seconds=DOCUMENT_SECONDS)
        self.consents: Bounded[Consent] = Bounded(_MOST, clock, lifetime_seconds=CONSENT_SECONDS)
        # longer than they hold, to know one that comes again
        self.codes: Bounded[Code] = Bounded(_MOST, clock, lifetime_seconds=CONSENT_SECONDS)
        self.sessions: Bounded[Session] = Bounded(
            10 * _MOST, clock, lifetime_seconds=refresh_token_lifetime.total_seconds()
        )
        self.spend_request = _budget("600/minute", clock)
        self.spend_registration = _budget("60/minute", clock)
        self._spend_document = _budget("60/minute", clock)
        self._fetch = fetch

    async def client(self, client_id: str) -> Client:
        """The client of that identifier.

        Raises:
            OAuthError: nobody has it, or its document is not to be had.
        """
        if is_document_url(client_id):
            known = self.documents.get(client_id)
            if known is None:
                self._spend_document()
                known = documented_client(client_id, await self._fetch(client_id))
                self.documents.put(client_id, known)
            return known
        client = self.registered(client_id)
        if client is None:
            raise OAuthError("invalid_client", "no such client is known here: register it again")
        return client

    def registered(self, client_id: str) -> Client | None:
        """The client that registered; those in use stay when room is needed."""
        client = self.clients.get(client_id)
        if client is not None:
            self.clients.put(client_id, client)
        return client

    def granted_scopes(self, asked: str | None, among: tuple[str, ...]) -> tuple[str, ...]:
        """Those of `among` that were asked for; all, if none was named.

        Others are let be (RFC 6749, 3.3): hosts ask for `offline_access` and `openid` everywhere.

        Raises:
            OAuthError: none is left.
        """
        if asked is None:
            return among
        wanted = asked.split(" ")
        granted = tuple(scope for scope in among if scope in wanted)
        if not granted:
            raise OAuthError("invalid_scope", "none of these scopes can be had")
        return granted

    def checked_resources(self, asked: list[str], among: tuple[str, ...] = ()) -> tuple[str, ...]:
        """The resources that a token is for; all of `among` if none was named.

        Raises:
            OAuthError: tokens are not made for one of them (RFC 8707, 2).
        """
        for resource in asked:
            known = resource in among if among else self._is_ours(resource)
            if not known:
                raise OAuthError("invalid_target", "tokens for this resource are not given here")
        return tuple(asked) or among

    def _is_ours(self, resource: str) -> bool:
        if self.resources:
            return resource in self.resources
        rest = resource.removeprefix(self.url)
        return rest != resource and rest[:1] in {"", "/"} and "#" not in rest


def sha256(text: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _budget(rate: str, clock: Clock) -> Callable[[], None]:
    """A function that counts, and raises when too much is asked of this process."""
    (limit,) = name_limits("dev_issuer", parse_rates(rate))
    table = Table(limit, 1024, lambda: int(clock() * 1e9))

    def spend() -> None:
        decision = table.hit("all")
        if not decision.admitted:
            seconds = str(max(1, -(-decision.wait_ns // 10**9)))
            raise OAuthError(
                "temporarily_unavailable", "too many requests", 429, {"Retry-After": seconds}
            )

    return spend
