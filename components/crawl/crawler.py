"""Fetching pages of others, politely: one resource for all sources of a service.

In: URLs, and a store of rate limits (`components.cache`). Out: `Fetched` pages, one request to a host in
each `interval`, over all processes that share the store, robots.txt and redirects counted. Refused, as
`FetchFault`: what robots.txt forbids, addresses that are not public, more than five redirects, bodies that
are too large or encoded, no answer in time. Where the store is away nothing is fetched (`BudgetAway`).
"""

import asyncio
import math
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Protocol

import httpx2
from pydantic import Field

from components.clients.retry import retry_after_seconds
from components.crawl import robots
from components.crawl.addresses import (
    CheckedTarget,
    Network,
    RefusedURL,
    canonical,
    origin_of,
    target_of,
)
from components.crawl.robots import Robots
from components.rate_limit.rates import Rate
from components.rate_limit.store import Limit, Store

__all__ = ["BudgetAway", "Crawler", "FetchFault", "Fetched", "Memory", "RefusedURL", "Waiting"]

_LONGEST_DELAY_SECONDS = 3600
_LONGEST_HOLD_SECONDS = 7 * 86_400.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5


class FetchFault(Exception):  # noqa: N818  # the word of the field
    """A page that could not be fetched, and why."""


class BudgetAway(Exception):  # noqa: N818  # it is a state of the store
    """The store that counts requests is away, so nothing may be fetched."""


class Waiting(Exception):  # noqa: N818  # it is a state of the run
    """The next request is due after the end of this run."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One answer: of 200 with its body, or 304 without."""

    url: str
    status: int
    body: bytes = field(repr=False)
    content_type: str
    etag: str | None
    last_modified: str | None
    fetched_at: datetime
    decision: str


class Memory(Protocol):
    """What is remembered of hosts."""

    async def robots(self, origin: str) -> Robots | None: ...
    async def keep_robots(self, origin: str, found: Robots) -> None: ...
    async def held_until(self, origin: str) -> datetime | None: ...
    async def hold(self, origin: str, until: datetime) -> None: ...


class Crawler:
    """Fetches pages politely: robots.txt, one budget a host, public addresses alone, nothing read twice.

    Raises ValueError where an option is out of its range.
    """

    def __init__(
        self,
        *,
        store: Annotated[
            Store,
            Field(
                description="counts requests, for all processes that share it: a cache, such as that of "
                "`components.cache.memory_cache` for a single one"
            ),
        ],
        interval: Annotated[
            timedelta,
            Field(
                ge=timedelta(seconds=1),
                description="between two requests to a host, in whole seconds; a longer "
                "Crawl-delay of its robots.txt holds",
            ),
        ] = timedelta(seconds=2),
        agent: Annotated[
            str,
            Field(pattern="^[A-Za-z_-]+$", description="our name, by which robots.txt calls us"),
        ] = "estate-crawler",
        contact: Annotated[
            str, Field(description="where we can be reached: a URL, sent with each request")
        ] = "",
        timeout: Annotated[
            timedelta, Field(gt=timedelta(0), description="longest time of one request")
        ] = timedelta(seconds=20),
        max_bytes: Annotated[int, Field(ge=1024, description="largest page")] = 2 * 1024 * 1024,
        now: Annotated[Callable[[], datetime], Field(description="the time, for tests")] = lambda: (
            datetime.now(UTC)
        ),
    ) -> None:
        seconds = interval.total_seconds()
        if seconds < 1 or seconds != int(seconds):
            raise ValueError("`interval` must be whole seconds, 1 or more")
        self.agent = agent
        self.now = now
        self._user_agent = f"{agent} (+{contact})" if contact else agent
        self._timeout_seconds = timeout.total_seconds()
        self._max_bytes = max_bytes
        self._store = store
        self._base = Limit("crawl", Rate(1, int(seconds)))
        self._counters: dict[int, Any] = {}
        self._trust: ssl.SSLContext | None = None

    async def open(self) -> None:
        """Read the authorities that are trusted, which takes long enough to upset an interval."""
        if self._trust is None:
            self._trust = await asyncio.to_thread(ssl.create_default_context)

    async def fetch(
        self,
        url: str,
        memory: Memory,
        *,
        etag: str | None = None,
        last_modified: str | None = None,
        allowed: Sequence[Network] = (),
        wait_seconds: float = math.inf,
    ) -> Fetched:
        """Fetch a page, through redirects; with validators only if it has changed.

        Args:
            url: a canonical one.
            memory: what is known of hosts.
            etag: of the body that is known.
            last_modified: of the body that is known.
            allowed: networks that are not public, and may be asked.
            wait_seconds: how long it may wait for its turn.

        Raises:
            FetchFault: there is no page, for one of the reasons above.
            BudgetAway: nothing may be fetched now.
            Waiting: its turn comes later than that.
        """
        validators = {"If-None-Match": etag, "If-Modified-Since": last_modified}
        sent = {name: value for name, value in validators.items() if value is not None}
        end = asyncio.get_running_loop().time() + wait_seconds
        await self.open()
        for _ in range(_MOST_REDIRECTS + 1):
            target = await self._target(url, allowed)
            rules = await self._rules(target, memory, allowed, end)
            if not rules.allows(url, self.agent):
                raise FetchFault(f"`{url}` is forbidden: {rules.decision}")
            await self._take(target.host, end, rules.delay_seconds(self.agent))
            answer, body = await self._send(target, sent, self._max_bytes)
            if answer.status_code not in _REDIRECTS:
                return await self._judged(url, answer, body, rules, memory)
            url = _next(url, answer)
        raise FetchFault(f"more than {_MOST_REDIRECTS} redirects")

    async def _judged(
        self, url: str, answer: httpx2.Response, body: bytes, rules: Robots, memory: Memory
    ) -> Fetched:
        status = answer.status_code
        if status in {429, 503}:
            await self._hold(origin_of(url), answer, memory)
        if status not in {200, 304}:
            raise FetchFault(f"`{url}` answers {status}")
        return Fetched(
            url=url,
            status=status,
            body=body,
            content_type=answer.headers.get("content-type", ""),
            etag=_bounded(answer.headers.get("etag"), 500),
            last_modified=_bounded(answer.headers.get("last-modified"), 100),
            fetched_at=self.now(),
            decision=rules.decision,
        )

    async def _target(self, url: str, allowed: Sequence[Network]) -> CheckedTarget:
        try:
            return await target_of(url, allowed)
        except RefusedURL as error:
            raise FetchFault(str(error)) from error

    async def _rules(
        self, target: CheckedTarget, memory: Memory, allowed: Sequence[Network], end: float
    ) -> Robots:
        """The rules of the target's origin, asked for where none are known that still hold."""
        origin = target.origin
        until = await memory.held_until(origin)
        if until is not None and until > self.now():
            raise Waiting(f"`{origin}` is to be left alone until {until:%Y-%m-%d %H:%M:%S} UTC")
        known = await memory.robots(origin)
        if known is not None and known.holds(self.now()):
            return known
        found = await self._ask_robots(origin, memory, allowed, end)
        if found.is_kept:
            await memory.keep_robots(origin, found)
        return found

    async def _ask_robots(
        self, origin: str, memory: Memory, allowed: Sequence[Network], end: float
    ) -> Robots:
        url = f"{origin}/robots.txt"
        for _ in range(robots.MOST_REDIRECTS + 1):
            target = await self._target(url, allowed)
            await self._take(target.host, end)
            answer, body = await self._send(target, {}, robots.MOST_BYTES, cuts=True)
            status = answer.status_code
            if status not in _REDIRECTS:
                if status in {429, 503}:
                    await self._hold(origin, answer, memory)
                return Robots(status, body.decode("utf-8", "replace"), self.now())
            url = _next(url, answer)
        return Robots(None, "", self.now())

    async def _take(self, host: str, end: float, delay_seconds: float = 0) -> None:
        """Wait for a host's turn."""
        counter = self._counter(delay_seconds)
        loop = asyncio.get_running_loop()
        while True:
            decision = counter.hit(host)
            if not isinstance(decision, tuple):
                decision = await decision
            if decision.admitted:
                return
            if decision.limit is None:
                raise BudgetAway("the store that counts requests is away: nothing is fetched")
            wait = max(0.001, decision.wait_ns / 1e9)
            if loop.time() + wait > end:
                raise Waiting(f"the next request to `{host}` is due in {wait:.0f} s")
            await asyncio.sleep(wait)

    def _counter(self, delay_seconds: float) -> Any:
        """What counts at the interval, and at a longer one where the host asks for it."""
        longer = min(math.ceil(delay_seconds), _LONGEST_DELAY_SECONDS)
        if longer <= self._base.rate.period_seconds:
            longer = 0
        if longer not in self._counters:
            limits = (self._base, Limit("crawl", Rate(1, longer))) if longer else (self._base,)
            self._counters[longer] = self._store.counter(limits, on_error="deny")
        return self._counters[longer]

    async def _hold(self, origin: str, answer: httpx2.Response, memory: Memory) -> None:
        """Leave a host alone for as long as it says."""
        told = retry_after_seconds(answer.headers.get("retry-after"), self.now())
        if told:
            seconds = min(told, _LONGEST_HOLD_SECONDS)
            await memory.hold(origin, self.now() + timedelta(seconds=seconds))

    async def _send(
        self, target: CheckedTarget, headers: Mapping[str, str], most: int, *, cuts: bool = False
    ) -> tuple[httpx2.Response, bytes]:
        """One request to the address that was judged; of a body that is cut only the beginning."""
        sent = {
            "Host": target.url.netloc.decode("ascii"),
            "User-Agent": self._user_agent,
            "Accept-Encoding": "identity",  # what is small on the wire may be huge in memory
            **headers,
        }
        trust = True if self._trust is None else self._trust
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                # one connection for one request: a pool would share it among names of an address
                httpx2.AsyncClient(
                    verify=trust, trust_env=False, timeout=None
                ) as client,  # bounded above
                client.stream(
                    "GET",
                    target.dialled,
                    headers=sent,
                    follow_redirects=False,
                    extensions={"sni_hostname": target.host},
                ) as answer,
            ):
                if answer.headers.get("content-encoding", "identity").lower() != "identity":
                    raise FetchFault(f"`{target.url}` is encoded, though that was not asked for")
                is_elsewhere = answer.status_code in _REDIRECTS
                body = b"" if is_elsewhere else await _beginning(answer, most)
        except TimeoutError as error:
            seconds = self._timeout_seconds
            raise FetchFault(f"`{target.url}` gave no answer within {seconds:g} s") from error
        except httpx2.HTTPError as error:
            raise FetchFault(f"`{target.url}` gave no answer: {type(error).__name__}") from error
        if len(body) > most and not cuts:
            raise FetchFault(f"`{target.url}` is larger than {most} bytes")
        return answer, body[:most]


async def _beginning(answer: httpx2.Response, most: int) -> bytes:
    """Read a body; of one that is longer than `most` bytes only what shows that."""
    body = bytearray()
    async for some in answer.aiter_raw():
        body += some
        if len(body) > most:
            break
    return bytes(body)


def _next(url: str, answer: httpx2.Response) -> str:
    try:
        return canonical(str(httpx2.URL(url).join(answer.headers.get("location", ""))))
    except (RefusedURL, httpx2.InvalidURL) as error:
        raise FetchFault(f"`{url}` redirects to where nothing is fetched: {error}") from error


def _bounded(value: str | None, longest: int) -> str | None:
    """A validator that can be kept, and sent again."""
    return value if value and len(value) <= longest and value.isascii() else None
