"""Requests to one service: one pool of connections, tried again where that is safe, in bounded time.

In: requests to paths below one base URL. Out: successful answers, or a `ClientError`. Refused: base URLs
and credentials that no request could carry. Connections open at the first request; after `aclose` the
next request opens them anew, so one object serves an application that is started twice.

Tried again are answers of 408, 429 and 5xx, and connections that failed. A request that must not be
done twice (`once`) is tried again only where it was surely not done: no connection, or 429.
"""

import asyncio
import logging
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any

import httpx2
from pydantic import Field, SecretStr

from components.clients.faults import (
    AuthenticationError,
    ClientError,
    UnavailableError,
    clean,
    fault_of,
)
from components.clients.retry import Attempts

Timeout = Annotated[
    timedelta,
    Field(gt=timedelta(0), description="longest silence while connecting, sending or reading"),
]
Deadline = Annotated[
    timedelta,
    Field(
        gt=timedelta(0),
        description="longest time of a call with its retries; of a stream until it begins",
    ),
]
Retries = Annotated[int, Field(ge=0, le=20, description="further tries after a failed one")]
Connections = Annotated[int, Field(ge=1, description="connections open at the same time")]
BaseURL = Annotated[str, Field(pattern="^https?://", description="where the service's API begins")]

logger = logging.getLogger("components.clients")

_VERIFY_SECONDS = 10.0
_UNSENT = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError)
_MORE_RETRIED = frozenset({408, 429})


@dataclass(slots=True)
class Exchange:
    """The way to one service.

    `provider` is its name in errors, `secrets` is what must not stand in them.
    """

    provider: str
    base_url: str
    timeout: timedelta
    deadline: timedelta
    retries: int
    max_connections: int
    headers: Mapping[str, str] = field(default_factory=dict)
    secrets: Sequence[str] = ()
    _client: httpx2.AsyncClient | None = None

    def __post_init__(self) -> None:
        self.base_url = base_url("base_url", self.base_url)
        for name, value, least in (
            ("timeout", self.timeout, timedelta(microseconds=1)),
            ("deadline", self.deadline, timedelta(microseconds=1)),
            ("retries", self.retries, 0),
            ("max_connections", self.max_connections, 1),
        ):
            if value < least:  # type: ignore[operator]  # each is compared to its own kind
                raise ValueError(f"`{name}` is too small: {value}")

    async def request(
        self, method: str, path: str, *, once: bool = False, **content: Any
    ) -> httpx2.Response:
        """Send a request and read its answer.

        Args:
            method: of HTTP.
            path: below the base URL, without a slash in front; or a whole URL.
            once: it must not be done twice.
            content: `json`, `data`, `headers`, `params`, as httpx2 takes them.

        Raises:
            ClientError: there was no successful answer.
        """
        return await self._answer(method, path, once=once, stream=False, content=content)

    @asynccontextmanager
    async def stream(
        self, method: str, path: str, **content: Any
    ) -> AsyncGenerator[httpx2.Response]:
        """As `request`, for an answer whose body is read bit by bit; it is closed at the end."""
        response = await self._answer(method, path, once=False, stream=True, content=content)
        try:
            yield response
        except httpx2.RequestError as error:
            raise self.broken(error) from error
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def broken(self, error: Exception) -> ClientError:
        """The exception for a connection that failed."""
        words = clean(str(error), self.secrets) or "the connection failed"
        detail = f"{type(error).__name__}: {words}"
        maybe_done = not isinstance(error, _UNSENT)
        return UnavailableError(self.provider, detail, maybe_done=maybe_done)

    async def _answer(
        self, method: str, path: str, *, once: bool, stream: bool, content: dict[str, Any]
    ) -> httpx2.Response:
        attempts = Attempts(retries=self.retries, deadline=self.deadline)
        url = path if "://" in path else f"{self.base_url}/{path}"
        while True:
            told = None
            try:
                async with asyncio.timeout(attempts.remaining_seconds) as limit:
                    response = await self._send(method, url, stream, content)
            except httpx2.RequestError as error:
                fault = self.broken(error)
                retried = not (once and fault.maybe_done)
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise self._late() from error
            else:
                if response.is_success:
                    return response
                fault = fault_of(self.provider, response, self.secrets)
                retried = _is_retried(response.status_code, once=once)
                told = response.headers.get("retry-after")
            if not retried or not await attempts.again(told):
                raise fault

    async def _send(
        self, method: str, url: str, stream: bool, content: dict[str, Any]
    ) -> httpx2.Response:
        client = self._opened()
        response = await client.send(client.build_request(method, url, **content), stream=True)
        if not (stream and response.is_success):
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response

    def _opened(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                headers=dict(self.headers),
                timeout=self.timeout.total_seconds(),
                limits=httpx2.Limits(max_connections=self.max_connections),
            )
        return self._client

    def _late(self) -> ClientError:
        detail = f"no answer within {self.deadline.total_seconds():g} s"
        return UnavailableError(self.provider, detail, maybe_done=True)


class OptionalClient:
    """The base of clients that are off where they have no credentials; the service is not asked."""

    def __init__(self, *, is_on: bool) -> None:
        self.is_on = is_on
        self._is_refused = False

    @property
    def status_note(self) -> str | None:
        """Says that it is off, where it is."""
        return None if self.is_on else "off: no credentials"

    async def ping(self) -> bool:
        """False where the last call was refused for its credentials; nothing is asked."""
        return not self._is_refused

    @contextmanager
    def _noting_refusals(self, *, but: Collection[str] = ()) -> Iterator[None]:
        """Note whether the credentials are refused; codes `but` say nothing of them."""
        try:
            yield
        except AuthenticationError as error:
            self._is_refused = error.code not in but
            raise
        self._is_refused = False


async def verify(ask: Awaitable[object], what: str, close: Callable[[], Awaitable[None]]) -> None:
    """Ask for something at the start; `what` is what the log calls it where nobody answers.

    Raises AuthenticationError, once `close` has been called, where the credentials are refused.
    """
    try:
        async with asyncio.timeout(_VERIFY_SECONDS):
            await ask
    except AuthenticationError:
        await close()  # what was not opened is closed by nobody else
        raise
    except (ClientError, TimeoutError) as error:  # who is away has refused nothing
        logger.warning("%s was not verified: %s", what, type(error).__name__)


def base_url(option: str, url: str) -> str:
    """The URL without the slash at its end.

    Raises:
        ValueError: it is not one; its text, which may hold a password, is not repeated.
    """
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError):
        parsed = httpx2.URL("")
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.query:
        raise ValueError(f"`{option}` is no URL such as `https://api.example.com/v1`")
    return url.rstrip("/")


def secret_text(option: str, value: str | SecretStr) -> str:
    """The text of a secret that a header can carry.

    Raises:
        ValueError: it is empty, or has other characters than visible ASCII.
    """
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if not text or not text.isascii() or any(not "!" <= c <= "~" for c in text):
        raise ValueError(f"`{option}` is empty, or has characters that a header cannot carry")
    return text


def _is_retried(status: int, *, once: bool) -> bool:
    if once:
        return status == 429
    return status >= 500 or status in _MORE_RETRIED
