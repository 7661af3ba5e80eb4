"""A request → who looks at the console, or nobody.

In: a request, the token of operators where there is one. Out: a `Visitor`, or None: to a stranger the
console is not there. With a token one comes in by the cookie that the login form sets, or by the token
itself as a bearer; without one by this machine alone: from a loopback address, through no proxy, under
a name of loopback (a page of another site may give its own name that address: DNS rebinding). Requests
that a page of another origin makes see nothing either way, whatever CORS lets it read.

A change is asked for by this site alone (`Origin`, `Sec-Fetch-Site`), or by a script with the token.
Failed logins are counted by address: over ten a minute are refused, right ones too.
"""

import base64
import hashlib
import hmac
import ipaddress
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from components.health.access import bearer_of, is_local, token_bytes
from components.rate_limit.keys import client_ip
from components.rate_limit.memory import Table
from components.rate_limit.rates import parse_rates
from components.rate_limit.store import name_limits

COOKIE = "assembler_console"
SESSION_SECONDS = 8 * 3600
LONGEST_NAME = 60
_LIMIT = "10/minute"
_MOST_ADDRESSES = 4096
_HOST = re.compile(r"(?:[a-z0-9-]+\.)*localhost|[0-9.]+|\[[0-9a-f:.]+\]")
_SITES = frozenset({"same-origin", "none"})


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks: an operator by the name of the login form, `token` for a script, `local` here."""

    name: str
    way: Literal["cookie", "token", "loopback"]


class ConsoleAccess:
    """Who may see the console.

    Args:
        token: what operators know; None opens the console to this machine.

    Raises:
        ValueError: the token is empty or not plain ASCII.
    """

    def __init__(
        self,
        token: SecretStr | None,
        *,
        clock: Callable[[], float] = time.time,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._token = token_bytes(token)
        self._clock = clock
        key = self._token or b""
        self._key = hmac.new(key, b"console session", "sha256").digest()
        (limit,) = name_limits("console", parse_rates(_LIMIT))
        self._failures = Table(limit, _MOST_ADDRESSES, clock_ns)

    @property
    def has_token(self) -> bool:
        """Whether operators log in."""
        return self._token is not None

    def visitor(self, request: Request) -> Visitor | None:
        """Return who looks; None for a stranger."""
        if _is_foreign(request):
            return None
        if self._token is None:
            return Visitor("local", "loopback") if is_loopback(request) else None
        if request.headers.get("authorization", "").lower().startswith("bearer "):
            return self._bearer(request)
        name = self._session(request)
        return None if name is None else Visitor(name, "cookie")

    def may_change(self, request: Request, visitor: Visitor) -> bool:
        """Tell whether a change was asked for by this site, or by a script with the token."""
        origin = request.headers.get("origin")
        site = request.headers.get("sec-fetch-site")
        if origin is None and site is None:
            return visitor.way == "token"
        if site is not None and site != "same-origin":
            return False
        return origin is None or _is_own(origin, request)

    def login(self, request: Request, token: str) -> bool | int:
        """Judge a token of the form; seconds to wait where too many were wrong."""
        subject = client_ip(request.scope)
        waiting = self._failures.refusal(subject, 1)
        if waiting is not None:
            return max(1, -(-waiting.wait_ns // 10**9))
        given = token.strip().encode("utf-8", "replace")
        if self._token is not None and hmac.compare_digest(given, self._token):
            return True
        self._failures.hit(subject)
        return False

    def begin(self, response: Response, name: str, path: str) -> None:
        """Let a browser come in for eight hours."""
        until = int(self._clock()) + SESSION_SECONDS
        written = base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")
        said = f"{until}.{written}"
        value = f"{said}.{self._signature(said, path)}"
        _set(response, f"{COOKIE}={value}", path, SESSION_SECONDS)

    def end(self, response: Response, path: str) -> None:
        """Let a browser forget that it came in."""
        _set(response, f"{COOKIE}=", path, 0)

    def _signature(self, said: str, path: str) -> str:
        return hmac.new(self._key, f"{path} {said}".encode(), "sha256").hexdigest()

    def _session(self, request: Request) -> str | None:
        """Return the name in the cookie, where it is one of ours and still holds."""
        said, _, signature = request.cookies.get(COOKIE, "").rpartition(".")
        until, _, written = said.partition(".")
        path = request.scope.get("console_path", "")
        if not hmac.compare_digest(signature.encode(), self._signature(said, path).encode()):
            return None
        if not until.isdecimal() or int(until) <= self._clock():
            return None
        return base64.urlsafe_b64decode(written + "=" * (-len(written) % 4)).decode()

    def _bearer(self, request: Request) -> Visitor | None:
        """Judge a bearer; a wrong one counts as a failed login, a right one always comes in."""
        if self._token is not None and hmac.compare_digest(bearer_of(request), self._token):
            return Visitor("token", "token")
        self._failures.hit(client_ip(request.scope))
        return None


def is_loopback(request: Request) -> bool:
    """Tell whether this machine asks, through no proxy, by a name of loopback."""
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not is_local(request):
        return False
    host = hosts[0].lower()
    if not host.endswith("]"):  # a port
        name, colon, port = host.rpartition(":")
        host = name if colon and port.isdecimal() else host
    if not _HOST.fullmatch(host):
        return False
    if host.endswith("localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_foreign(request: Request) -> bool:
    """Tell whether a page of another origin asks, by more than a link that somebody followed."""
    origin = request.headers.get("origin")
    if origin is not None and not _is_own(origin, request):
        return True
    site = request.headers.get("sec-fetch-site", "none")
    is_link = (
        request.method in {"GET", "HEAD"}
        and request.headers.get("sec-fetch-mode") == "navigate"
        and request.headers.get("sec-fetch-dest", "document") == "document"
    )
    return site not in _SITES and not is_link


def _is_own(origin: str, request: Request) -> bool:
    """Compare an origin with the host that was asked for; a proxy may have ended TLS."""
    try:
        parts = urlsplit(origin)
    except ValueError:  # half an address of IPv6
        return False
    default = {"http": ":80", "https": ":443"}.get(parts.scheme)
    if default is None:
        return False
    host = request.headers.get("host", "").lower()
    return parts.netloc.lower().removesuffix(default) == host.removesuffix(default)


def _set(response: Response, pair: str, path: str, seconds: int) -> None:
    fields = f"{pair}; Max-Age={seconds}; Path={path}; HttpOnly; Secure; SameSite=Strict"
    response.headers.append("set-cookie", fields)


def digest_of(data: bytes) -> str:
    """Return a short name for what a file holds, so that a browser never shows an old one."""
    return hashlib.sha256(data).hexdigest()[:12]
