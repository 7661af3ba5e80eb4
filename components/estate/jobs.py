"""What the estate service does by the clock.

In: an engine. Out: changed rows, and their number in the log. Each job may run
twice, or in two processes at once: the second finds nothing to do.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncEngine

from components.channels import Channels
from components.clients.http import HTTPClient
from components.crawl.addresses import PrivateNetwork, SourceURL, networks
from components.crawl.collect import CrawlSource, Parsed, collect
from components.crawl.crawler import Crawler
from components.estate import listings, market, posts
from components.estate.delivery import Courier, summary
from components.estate.outbox import Outbox, tell, telling_transaction
from components.estate.search import SOURCE
from components.vectors import Vectors
from components.vectors.sync import sync

logger = logging.getLogger("components.estate")


async def withdraw_stale(
    *,
    db: Annotated[AsyncEngine, Field(description="the engine of the database")],
    outbox: Annotated[
        Outbox | None, Field(description="what tells soon after a commit what it left")
    ] = None,
    days: Annotated[
        int, Field(ge=1, le=36_500, description="how long a listing stays on offer untouched")
    ] = 365,
) -> int:
    """Withdraw what is on offer and has not been changed for `days`; return how many that were."""
    oldest = datetime.now(UTC) - timedelta(days=days)
    async with telling_transaction(db, outbox) as session:
        count = len(await listings.withdraw_stale(session, oldest))
    logger.info("%s listings were withdrawn", count)
    return count


async def publish_due_posts(
    *,
    db: Annotated[AsyncEngine, Field(description="the engine of the database")],
    outbox: Annotated[
        Outbox | None, Field(description="what tells soon after a commit what it left")
    ] = None,
) -> list[int]:
    """Publish the scheduled posts whose time has come; return their ids."""
    async with telling_transaction(db, outbox) as session:
        published = await posts.publish_due(session, datetime.now(UTC))
    if published:
        logger.info("%s posts were published", len(published))
    return published


async def deliver_notifications(
    *,
    db: Annotated[AsyncEngine, Field(description="the engine of the database")],
    push: Annotated[Any, Field(description="client of push messages")] = None,
    sms: Annotated[Any, Field(description="client of text messages")] = None,
    channels: Annotated[Channels | None, Field(description="where it tells what waits")] = None,
    lease: Annotated[
        timedelta,
        Field(ge=timedelta(seconds=5), description="how long the rows of a process that died wait"),
    ] = timedelta(seconds=60),
    time: Annotated[
        timedelta, Field(gt=timedelta(0), description="how long one run takes on new work")
    ] = timedelta(seconds=45),
    http: Annotated[HTTPClient | None, Field(description="the client of webhooks")] = None,
    alerts_url: Annotated[
        str,
        Field(
            pattern=r"^(https?://[^\s]+)?$",
            description="is told by a POST of what was not delivered; nobody where empty",
        ),
    ] = "",
) -> dict[str, int]:
    """Deliver what is due, and tell on the channels what waits; return what became of how many."""
    clock = asyncio.get_running_loop().time
    end = clock() + time.total_seconds()
    try:
        await tell(db, channels)
    except Exception as error:  # noqa: BLE001  # whatever is away, what waits for others goes on
        logger.warning("changes wait: %s", type(error).__name__)
    counts = await Courier(db, push, sms, lease=lease).deliver(lambda: clock() >= end)
    if counts:
        logger.info("notifications: %s", summary(counts))
    alarming = {what: counts[what] for what in ("failed", "unknown") if counts[what]}
    if alarming and http is not None and alerts_url:
        try:
            answer = await http.post(alerts_url, json={"notifications": alarming})
            answer.raise_for_status()
        except Exception as error:  # noqa: BLE001  # an alert that fails must not fail the job
            logger.warning("no alert could be sent: %s", type(error).__name__)
    return dict(counts)


async def sync_vectors(
    *,
    vectors: Annotated[Vectors, Field(description="where vectors are kept")],
    db: Annotated[
        AsyncEngine | None, Field(description="the engine of jobs, where they have their own")
    ] = None,
    time: Annotated[
        timedelta, Field(gt=timedelta(0), description="how long one run takes on new work")
    ] = timedelta(minutes=8),
) -> dict[str, int]:
    """Have a vector of every listing on offer, of its text as it is now; return what was done."""
    clock = asyncio.get_running_loop().time
    end = clock() + time.total_seconds()
    counts = dict(await sync(vectors, SOURCE, db=db, until=lambda: clock() >= end))
    if counts:
        told = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
        logger.info("vectors of listings: %s", told)
    return counts


async def collect_market_data(
    *,
    db: Annotated[AsyncEngine, Field(description="the engine of the database")],
    crawler: Annotated[Crawler, Field(description="what fetches pages")],
    url: Annotated[
        SourceURL, Field(description="the first page of the source; off where it is empty")
    ],
    parser: Annotated[
        Callable[[bytes, str], Parsed],
        Field(description="reads figures and links out of a body and its URL"),
    ] = market.parse_table,
    source: Annotated[
        str, Field(max_length=100, description="its name in the figures; the URL where empty")
    ] = "",
    max_pages: Annotated[int, Field(ge=1, le=10_000, description="pages of one run")] = 50,
    allow_private: Annotated[
        Sequence[PrivateNetwork],
        Field(
            description="addresses and networks that may be asked though they are not public",
            json_schema_extra={"looser": "longer"},
        ),
    ] = (),
    time: Annotated[
        timedelta, Field(gt=timedelta(0), description="how long one run goes on")
    ] = timedelta(minutes=8),
) -> dict[str, int]:
    """Collect one source of market data; return what became of how many pages and rows."""
    if not url:
        return {}
    wanted = CrawlSource(
        name=source or url[:100],
        url=url,
        parser=parser,
        max_pages=max_pages,
        allowed=networks(allow_private),
    )
    counts = await collect(crawler, db, wanted, market.keep, seconds=time.total_seconds())
    told = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
    logger.info("market data of %s: %s", wanted.name, told)
    return dict(counts)
