"""What the estate service does by the clock.

In: an engine. Out: changed rows, and their number in the log. Each job may run
twice, or in two processes at once: the second finds nothing to do.
"""

import logging
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import Field
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from components.database import transaction
from components.estate import posts
from components.estate.models import Listing

logger = logging.getLogger("components.estate")


async def withdraw_stale(
    *,
    db: AsyncEngine,
    days: Annotated[
        int, Field(ge=1, le=36_500, description="how long a listing stays on offer untouched")
    ] = 365,
) -> int:
    """Withdraw what is on offer and has not been changed for `days`; return how many that were."""
    oldest = datetime.now(UTC) - timedelta(days=days)
    is_stale = (Listing.status == "active") & (Listing.updated_at < oldest)
    async with transaction(db, write=True) as session:
        found = await session.scalars(
            update(Listing).where(is_stale).values(status="withdrawn").returning(Listing.id)
        )
        count = len(found.all())
    logger.info("%s listings were withdrawn", count)
    return count


async def publish_due_posts(*, db: AsyncEngine) -> list[int]:
    """Publish the scheduled posts whose time has come; return their ids."""
    async with transaction(db, write=True) as session:
        published = await posts.publish_due(session, datetime.now(UTC))
    if published:
        logger.info("%s posts were published", len(published))
    return published
