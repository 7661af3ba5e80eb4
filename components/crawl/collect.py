"""One source, collected: its pages one by one, what each has, and where the next ones are.

In: a `Crawler`, an engine with the tables of `components.crawl.tables`, a `CrawlSource` with its parser, and
what keeps rows. Out: counts. A page, its rows and what is remembered of it are one transaction: a process
that dies leaves whole pages, and the next run asks for those again with their validators. Not parsed again
are pages that have not changed (304, or the same hash) and copies of another page of the source.

Refused, with the pages' URLs, at the end of the run, as `CollectionFault`: pages that could not be fetched
or read; what was kept of them before stays.
"""

import asyncio
import codecs
import hashlib
import logging
import math
import re
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx2
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from components.crawl.addresses import Network, RefusedURL, canonical, origin_of
from components.crawl.crawler import Crawler, Fetched, FetchFault, Waiting
from components.crawl.robots import Robots
from components.crawl.tables import HOSTS, PAGES, upsert
from components.database import transaction

logger = logging.getLogger("components.crawl")

_MOST_LINKS = 1000
_HTML = frozenset({"text/html", "application/xhtml+xml"})
_CHARSET = re.compile(rb"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_META = re.compile(rb"<meta\s[^>]{0,300}", re.IGNORECASE)
# of Python's codecs those that are charsets of pages (https://encoding.spec.whatwg.org)
_KNOWN_CHARSET = re.compile(
    r"ascii|big5\w*|cp\d+|euc_\w+|gb\w+|iso2022_jp|iso8859-\d+|koi8-[ru]|mac-\w+|shift_jis|utf-8|utf-16(-[lb]e)?"
)
_READ_AS = {"ascii": "cp1252", "iso8859-1": "cp1252", "shift_jis": "cp932"}  # as browsers do


class CollectionFault(Exception):  # noqa: N818  # the word of the field
    """Some pages of a source were not collected."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a parser found: rows, and links to further pages of the source."""

    rows: Sequence[Any]
    links: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where rows come from."""

    source: str
    url: str
    fetched_at: datetime
    content_hash: str
    robots: str


Keep = Callable[[AsyncSession, Provenance, Sequence[Any]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CrawlSource:
    """Where to begin, how to read, and how far to go.

    `parser` is called in a thread with the body and the URL; it raises ValueError where the page is not
    what it should be. HTML in another charset than UTF-8 it gets in UTF-8, which a byte order mark says.
    """

    name: str
    url: str
    parser: Callable[[bytes, str], Parsed]
    max_pages: int = 50
    allowed: tuple[Network, ...] = field(default=())


class DatabaseMemory:
    """What is known of hosts, in the database."""

    def __init__(self, db: AsyncEngine) -> None:
        self._db = db

    async def robots(self, origin: str) -> Robots | None:
        """The robots.txt that is kept."""
        row = await self._row(origin)
        if row is None or row.robots_at is None:
            return None
        return Robots(row.robots_status, row.robots_text, _time(row.robots_at))

    async def keep_robots(self, origin: str, found: Robots) -> None:
        """Keep a robots.txt for all processes."""
        # PostgreSQL has no NUL in its texts
        text = found.text.replace("\x00", "")
        values = {"robots_status": found.status, "robots_text": text}
        await self._keep(origin, robots_at=found.fetched_at.timestamp(), **values)

    async def held_until(self, origin: str) -> datetime | None:
        """Until when a host is to be left alone."""
        row = await self._row(origin)
        return None if row is None or row.not_before is None else _time(row.not_before)

    async def hold(self, origin: str, until: datetime) -> None:
        """Leave a host alone, in all processes."""
        await self._keep(origin, not_before=until.timestamp())

    async def _row(self, origin: str) -> Any:
        async with transaction(self._db, write=False) as session:
            found = await session.execute(select(HOSTS).where(HOSTS.c.origin == origin))
            return found.one_or_none()

    async def _keep(self, origin: str, **values: Any) -> None:
        async with transaction(self._db, write=True) as session:
            await upsert(session, HOSTS, [{"origin": origin, **values}], keys=["origin"])


async def collect(
    crawler: Crawler,
    db: AsyncEngine,
    source: CrawlSource,
    keep: Keep,
    *,
    seconds: float = math.inf,
) -> Counter[str]:
    """Collect a source, for `seconds` at most; return what became of how many pages.

    Raises:
        CollectionFault: pages of it failed; the others were collected.
        BudgetAway: the store that counts requests is away.
        RefusedURL: the source's own URL is none.
    """
    run = _Run(crawler, db, source, keep, asyncio.get_running_loop().time() + seconds)
    await run.follow(canonical(source.url))
    if run.faults:
        raise CollectionFault(f"{len(run.faults)} pages were not collected: {run.faults[0]}")
    return run.counts


class _Run:
    """One walk through the pages of a source."""

    def __init__(
        self, crawler: Crawler, db: AsyncEngine, source: CrawlSource, keep: Keep, end: float
    ) -> None:
        self._crawler = crawler
        self._db = db
        self._memory = DatabaseMemory(db)
        self._source = source
        self._keep = keep
        self._end = end
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []

    async def follow(self, first: str) -> None:
        """Visit pages, breadth first, within the origin of the first and of where it leads."""
        waiting, seen = deque([first]), {first}
        origins = {origin_of(first)}
        while waiting:
            url = waiting.popleft()
            try:
                at, links = await self._visit(url)
            except Waiting as error:
                self.counts["put off"] += 1 + len(waiting)
                logger.info("%s: %s", self._source.name, error)
                return
            except FetchFault as error:
                self.faults.append(str(error))
                self.counts["failed"] += 1
                logger.warning("%s: %s", self._source.name, error)
                continue
            if url == first:
                origins.add(origin_of(at))  # it may have moved as a whole, to https for example
            for link in links:
                if len(seen) >= self._source.max_pages:
                    break
                if link not in seen and origin_of(link) in origins:
                    seen.add(link)
                    waiting.append(link)

    async def _visit(self, url: str) -> tuple[str, Sequence[str]]:
        """Fetch one page and keep what is new of it; return where it was found, and its links."""
        known = await self._known(url)
        fetched = await self._crawler.fetch(
            url,
            self._memory,
            etag=known.etag if known else None,
            last_modified=known.last_modified if known else None,
            allowed=self._source.allowed,
            wait_seconds=self._end - asyncio.get_running_loop().time(),
        )
        if fetched.status == 304:
            if known is None:
                raise FetchFault(f"`{url}` answers 304, and nothing was known of it")
            self.counts["unchanged"] += 1
            return fetched.url, known.links
        content_hash = hashlib.sha256(fetched.body).hexdigest()
        if known is not None and known.content_hash == content_hash:
            await self._remember(url, fetched, content_hash, known.links)
            self.counts["unchanged"] += 1
            return fetched.url, known.links
        links = await self._links_of_copy(url, content_hash)
        if links is not None:  # the other page may be gone: this one leads on as well
            await self._remember(url, fetched, content_hash, links)
            self.counts["copies"] += 1
            return fetched.url, links
        return fetched.url, await self._read(url, fetched, content_hash)

    async def _read(self, url: str, fetched: Fetched, content_hash: str) -> Sequence[str]:
        body = _page_in_utf8(fetched.body, fetched.content_type)
        try:
            parsed = await asyncio.to_thread(self._source.parser, body, fetched.url)
        except ValueError as error:
            raise FetchFault(f"`{url}` cannot be read: {error}") from error
        except Exception as error:  # what a parser does with rubbish must not end the run
            logger.exception("the parser of `%s` failed", self._source.name)
            reason = f"{type(error).__name__}: {error}"
            raise FetchFault(f"`{url}` cannot be read: {reason}") from error
        links = _links(fetched.url, parsed.links)
        provenance = Provenance(
            self._source.name, fetched.url, fetched.fetched_at, content_hash, fetched.decision
        )
        async with transaction(self._db, write=True) as session:
            await self._keep(session, provenance, parsed.rows)
            await self._upsert(session, url, fetched, content_hash, links)
        self.counts["read"] += 1
        self.counts["rows"] += len(parsed.rows)
        return links

    async def _known(self, url: str) -> Any:
        async with transaction(self._db, write=False) as session:
            found = await session.execute(
                select(PAGES).where(PAGES.c.source == self._source.name, PAGES.c.url == url)
            )
            return found.one_or_none()

    async def _links_of_copy(self, url: str, content_hash: str) -> Sequence[str] | None:
        """Where another page of the same content leads; None where there is none."""
        async with transaction(self._db, write=False) as session:
            found = await session.execute(
                select(PAGES.c.links)
                .where(
                    PAGES.c.source == self._source.name,
                    PAGES.c.content_hash == content_hash,
                    PAGES.c.url != url,
                )
                .limit(1)
            )
            row = found.one_or_none()
        return None if row is None else row.links

    async def _remember(
        self, url: str, fetched: Fetched, content_hash: str, links: Sequence[str]
    ) -> None:
        async with transaction(self._db, write=True) as session:
            await self._upsert(session, url, fetched, content_hash, links)

    async def _upsert(
        self,
        session: AsyncSession,
        url: str,
        fetched: Fetched,
        content_hash: str,
        links: Sequence[str],
    ) -> None:
        row = {
            "source": self._source.name,
            "url": url,
            "etag": fetched.etag,
            "last_modified": fetched.last_modified,
            "content_hash": content_hash,
            "links": list(links),
            "fetched_at": fetched.fetched_at.timestamp(),
        }
        await upsert(session, PAGES, [row], keys=["source", "url"])


def _page_in_utf8(body: bytes, content_type: str) -> bytes:
    """A page of HTML in UTF-8, by what its Content-Type or, without that, its head says of it."""
    kind, _, parameters = content_type.partition(";")
    if kind.strip().lower() not in _HTML or body.startswith(codecs.BOM_UTF8):
        return body
    name = _charset(parameters.encode("latin-1", "replace"))
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name = "utf-16"
    elif name is None:
        said = (_charset(tag) for tag in _META.findall(body[:1024]))
        name = next((one for one in said if one and not one.startswith("utf-16")), None)
    if name in {None, "utf-8"}:
        return body
    return codecs.BOM_UTF8 + body.decode(name, "replace").encode("utf-8", "replace")


def _charset(text: bytes) -> str | None:
    """The codec of the charset that a text names; None where it names none."""
    found = _CHARSET.search(text)
    if found is None:
        return None
    try:
        name = codecs.lookup(found[1].decode("latin-1")).name
    except LookupError:
        return None
    return _READ_AS.get(name, name) if _KNOWN_CHARSET.fullmatch(name) else None


def _links(base: str, links: Sequence[str]) -> list[str]:
    """The links of a page as canonical URLs; what is none is left out."""
    found = []
    for link in links[:_MOST_LINKS]:
        try:
            url = canonical(str(httpx2.URL(base).join(link)))
        except (RefusedURL, httpx2.InvalidURL):
            continue
        if len(url) <= 2000:
            found.append(url)
    return list(dict.fromkeys(found))


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
