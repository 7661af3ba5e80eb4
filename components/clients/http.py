"""A shared HTTP client: one pool of connections for all who call a service.

In: where the service is, and bounds. Out: an `httpx2.AsyncClient` whose calls end within a deadline
and are tried again where that is safe. Refused: bounds below their least, and a file of certificates
that cannot be read.

Tried again are idempotent requests, and others with an Idempotency-Key, where the connection failed
or the answer is 502, 503 or 504. Any request is, where it was surely not handled: no connection was
made, or the answer is 429, or 503 with Retry-After. Never one whose body is a stream that is gone.
A Retry-After is waited for, if the deadline leaves the time; else the answer is the caller's.

Cookies are not kept: a client that all requests share would hand one user's to the next.
"""

import asyncio
import re
import ssl
from collections.abc import Mapping
from datetime import timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Annotated, Any, Self

import httpx2
from pydantic import AfterValidator, Field, SecretStr

from components.clients.retry import Attempts

_IDEMPOTENT = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"}
_NEVER_SENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
_BROKEN = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)
_PROXY = re.compile(r"(?i)(?:https?|socks5h?)://[^\s/]")


class DeadlineExceeded(httpx2.TimeoutException):
    """A call with all its tries took longer than the client's deadline."""


class HTTPClient(httpx2.AsyncClient):
    """Serves one lifespan after another: once closed, it can be entered again."""

    def __init__(self, *, retries: int, deadline: timedelta, **options: Any) -> None:
        super().__init__(**options)
        self._retries = retries
        self._deadline = deadline

    async def __aenter__(self) -> Self:
        self._state = type(self._state).UNOPENED
        return await super().__aenter__()

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """As httpx2's; raises `DeadlineExceeded`, of a stream only until its head is there."""
        attempts = Attempts(retries=self._retries, deadline=self._deadline)
        bound = asyncio.timeout(attempts.remaining_seconds)
        try:
            async with bound:
                return await self._send(request, attempts, options)
        except TimeoutError as error:
            if not bound.expired():
                raise
            seconds = self._deadline.total_seconds()
            text = f"no answer within the deadline of {seconds:g} s"
            raise DeadlineExceeded(text, request=request) from error

    async def _send(
        self, request: httpx2.Request, attempts: Attempts, options: dict[str, Any]
    ) -> httpx2.Response:
        while True:
            try:
                response = await super().send(request, **options)
            except httpx2.TransportError as error:
                if not (_may_follow_error(request, error) and await attempts.again()):
                    raise
                continue
            told = response.headers.get("retry-after")
            if not (_may_follow_answer(request, response) and await attempts.again(told)):
                return response
            await response.aclose()


def _proxy(url: str | SecretStr | None) -> str | SecretStr | None:
    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    if text and not _PROXY.match(text):
        raise ValueError("takes a URL that begins with http://, https:// or socks5://")
    return url


def client(
    *,
    base_url: Annotated[
        str,
        Field(
            pattern=r"^[^\x00-\x20\x7f]*$", description="what the paths of requests are added to"
        ),
    ] = "",
    headers: Annotated[
        Mapping[str, str] | None, Field(description="sent with every request")
    ] = None,
    timeout: Annotated[
        timedelta, Field(gt=timedelta(0), description="longest silence while sending or reading")
    ] = timedelta(seconds=10),
    connect_timeout: Annotated[
        timedelta, Field(gt=timedelta(0), description="longest wait for a new connection")
    ] = timedelta(seconds=5),
    pool_timeout: Annotated[
        timedelta, Field(gt=timedelta(0), description="longest wait for a free connection")
    ] = timedelta(seconds=5),
    deadline: Annotated[
        timedelta,
        Field(gt=timedelta(0), description="longest time of a call, with all tries and waits"),
    ] = timedelta(seconds=30),
    retries: Annotated[int, Field(ge=0, le=20, description="tries after the first")] = 2,
    max_connections: Annotated[
        int, Field(ge=1, description="connections at most; more calls wait for a free one")
    ] = 100,
    max_idle: Annotated[int, Field(ge=0, description="connections kept open without use")] = 20,
    idle_timeout: Annotated[
        timedelta, Field(gt=timedelta(0), description="how long an unused connection is kept")
    ] = timedelta(seconds=30),
    follow_redirects: Annotated[
        bool, Field(description="follow redirects", json_schema_extra={"looser": "true"})
    ] = False,
    verify: Annotated[
        bool | str,
        Field(
            description="check certificates, by the system's authorities or by those of this file",
            json_schema_extra={"looser": "false"},
        ),
    ] = True,
    proxy: Annotated[
        str | SecretStr | None,
        AfterValidator(_proxy),
        Field(description="proxy for all requests; else HTTPS_PROXY and the like hold"),
    ] = None,
) -> HTTPClient:
    """Make a client to share: one pool, safe retries within a deadline, closed at the end.

    Nothing is read or opened here but the certificates.

    Raises ValueError where a bound is below its least, or `verify` names no file of certificates.
    """
    if retries < 0 or max_connections < 1 or max_idle < 0:
        raise ValueError(
            "`max_connections` must be at least 1, `retries` and `max_idle` at least 0"
        )
    seconds = timeout.total_seconds()
    return HTTPClient(
        retries=retries,
        deadline=deadline,
        base_url=base_url,
        headers=headers,
        timeout=httpx2.Timeout(
            seconds, connect=connect_timeout.total_seconds(), pool=pool_timeout.total_seconds()
        ),
        limits=httpx2.Limits(
            max_connections=max_connections,
            max_keepalive_connections=max_idle,
            keepalive_expiry=idle_timeout.total_seconds(),
        ),
        follow_redirects=follow_redirects,
        verify=_authorities(verify) if isinstance(verify, str) else verify,
        proxy=proxy.get_secret_value() if isinstance(proxy, SecretStr) else proxy,
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
    )


def _authorities(path: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        raise ValueError(f"`verify` names no file of certificates: `{path}`") from error


def _may_follow_error(request: httpx2.Request, error: httpx2.TransportError) -> bool:
    if isinstance(error, _NEVER_SENT):
        return _can_be_sent_again(request)
    return isinstance(error, _BROKEN) and _is_idempotent(request) and _can_be_sent_again(request)


def _may_follow_answer(request: httpx2.Request, response: httpx2.Response) -> bool:
    status = response.status_code
    refused = status == 429 or (status == 503 and "retry-after" in response.headers)
    failed = status in {502, 503, 504} and _is_idempotent(request)
    return (refused or failed) and _can_be_sent_again(request)


def _is_idempotent(request: httpx2.Request) -> bool:
    return request.method in _IDEMPOTENT or "idempotency-key" in request.headers


def _can_be_sent_again(request: httpx2.Request) -> bool:
    return isinstance(request.stream, httpx2.ByteStream)
