"""A request → whether its reader may see what an application tells of itself.

In: a request, and the token that readers send. Out: None, or the refusal. Refused: with a token,
whoever does not send it, this machine too; without one, other machines and what a proxy on this one
passed on, as far as that shows: by a field that proxies add, or a `Host` that is a name of the
outside. A plain proxy may show neither: behind one, set a token.

Refusals are counted, as `page_refusals_total` where a `MetricsMiddleware` is around, and more than
30 a minute of one address are 429. Whoever has a token of 16 characters always comes in, for
nobody guesses that, and strangers behind the same proxy must not shut operators out; a shorter one
is not looked at while its address waits.
"""

import hmac
import ipaddress
import re
import time
from collections.abc import Callable
from typing import NamedTuple

from pydantic import AfterValidator, SecretStr
from starlette.requests import Request

from components.rate_limit.keys import client_ip
from components.rate_limit.memory import Table
from components.rate_limit.rates import parse_rates
from components.rate_limit.store import name_limits

ADVISED_LENGTH = 16
"""A token of fewer characters may be guessed."""

_NUMBERS = "components.metrics"  # under which the middleware puts them into the scope
_LIMIT = "30/minute"
_MOST_ADDRESSES = 4096
# what proxies, balancers and networks that deliver content add
_FORWARDED = re.compile(
    r"forward|client-?ip|real-?ip|remote-?(ip|addr)|user-?ip|originating|connecting"
    r"|^(via|cdn-loop|x-host|x-varnish|x-cloud-trace-context)$"
    r"|^(x-)?(akamai|amzn?|appengine|arr|azure|cf|envoy|fastly|fly|original|vercel)-"
)


def _printable(token: str | SecretStr | None) -> str | SecretStr | None:
    if token.get_secret_value() if isinstance(token, SecretStr) else token:
        token_bytes(token)  # of an empty one the constructor tells: it must not pass for none
    return token


PrintableToken = AfterValidator(_printable)
"""What judges the option of a token where it is written."""


class Refusal(NamedTuple):
    """What to answer: 401 or 403, or 429 to whoever was refused too often."""

    status: int
    headers: dict[str, str]


class Access:
    """Who may read the pages called `page`.

    Args:
        token: what readers send as `Authorization: Bearer …`.
        page: what counts of refusals call them.
        loopback: without a token, let this machine read.
        public: without a token, let everybody read.

    Raises:
        ValueError: the token is empty or not plain ASCII.
    """

    def __init__(
        self,
        token: str | SecretStr | None,
        *,
        page: str,
        loopback: bool = True,
        public: bool = False,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._token = token_bytes(token)
        self._page = page
        self._loopback = loopback
        self._public = public
        (limit,) = name_limits(page, parse_rates(_LIMIT))
        self._refusals = Table(limit, _MOST_ADDRESSES, clock_ns)

    def sees(self, request: Request) -> bool:
        """Tell whether a page for everybody shows more here; to send no token is no refusal."""
        if self._token is None:
            return self._public or (self._loopback and is_local(request))
        return "authorization" in request.headers and self.refusal(request) is None

    def refusal(self, request: Request) -> Refusal | None:
        """Say, and count, that a request may not read; None where it may."""
        if self._token is None:
            return None if self.sees(request) else self._refused(request, 403)
        is_guessable = len(self._token) < ADVISED_LENGTH
        must_wait = is_guessable and self._refusals.refusal(client_ip(request.scope), 1) is not None
        if not must_wait and hmac.compare_digest(bearer_of(request), self._token):
            return None
        return self._refused(request, 401)

    def _refused(self, request: Request, status: int) -> Refusal:
        headers = {"www-authenticate": "Bearer"} if status == 401 else {}
        decision = self._refusals.hit(client_ip(request.scope))
        if not decision.admitted:
            status, headers = 429, {"retry-after": str(max(1, -(-decision.wait_ns // 10**9)))}
        numbers = request.scope.get(_NUMBERS)
        if numbers is not None:
            numbers.cell(("refusal", self._page, str(status))).add(1)
        return Refusal(status, headers)


def is_local(request: Request) -> bool:
    """Tell whether the request comes from this machine, and shows no sign of a proxy on it."""
    if request.client is None or not _is_loopback(request.client.host):
        return False
    host = request.headers.get("host", "").rpartition("@")[2]
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    is_inside = not {".", ":"} & set(host.removesuffix(".localhost"))
    return (is_inside or _is_loopback(host)) and not any(map(_FORWARDED.search, request.headers))


def token_bytes(option: str | SecretStr | None) -> bytes | None:
    """Return what a bearer must be, if anything; raises ValueError for what is no plain ASCII."""
    text = option.get_secret_value() if isinstance(option, SecretStr) else option
    if text is None:
        return None
    if not (text.strip() and text.isascii() and text.isprintable()):
        raise ValueError("`token` must be printable ASCII, and not empty")
    return text.encode()


def bearer_of(request: Request) -> bytes:
    """Return the token that the request has; nothing where it has none, or several."""
    fields = request.headers.getlist("authorization")
    scheme, _, given = fields[0].partition(" ") if len(fields) == 1 else ("", "", "")
    return given.strip().encode("latin-1", "replace") if scheme.lower() == "bearer" else b""


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback
