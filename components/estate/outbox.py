"""What changed, kept in the transaction that changes it, and told on channels after the commit.

In: a session, the name of a channel, a value. Out: a row of `changes`, which is published and then
deleted, by the process that wrote it, at once, or else by the job `deliver-notifications`. A process
that dies in between leaves the row; one that is told twice has the same key, and is told once.
Where the channels are away, rows wait.

Changes of one listing are told in the order of their commits: one process at a time tells, by the ids,
which a listing's row lock puts in that order.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from components.channels import Channels
from components.database import transaction
from components.estate.models import Change

logger = logging.getLogger("components.estate")

_BATCH = 200
_LOCK = 0x6368616E676573  # "changes"
_PAUSE_SECONDS = 0.5


def note(session: AsyncSession, channel: str, value: Any) -> None:
    """Keep what is to be told on a channel, if the transaction is committed."""
    session.add(Change(channel=channel, body=value, created_at=datetime.now(UTC)))


async def tell(db: AsyncEngine, channels: Channels | None) -> int:
    """Publish what waits, and return how much that was. Without channels nobody can be listening.

    Raises what the channels' server or the database raises; then the rest waits.
    """
    told = 0
    while True:
        async with transaction(db, write=True) as session:
            if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time
                await session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            waiting = (
                await session.scalars(select(Change).order_by(Change.id).limit(_BATCH))
            ).all()
            if channels is not None:
                for change in waiting:
                    key = f"change-{change.id}"
                    await channels.publish(change.channel, change.body, key=key)
            ids = [change.id for change in waiting]
            await session.execute(delete(Change).where(Change.id.in_(ids)))
        told += len(ids)
        if len(ids) < _BATCH:
            return told


class Outbox:
    """Tells, soon after each commit, what it left in the outbox.

    A resource: it begins with the service, and tells the last before the service ends.
    """

    def __init__(
        self,
        *,
        db: Annotated[AsyncEngine, Field(description="the engine of the database")],
        channels: Annotated[Channels, Field(description="the channels on which it tells")],
        interval: Annotated[
            timedelta,
            Field(gt=timedelta(0), description="how often it looks for what others left"),
        ] = timedelta(seconds=30),
    ) -> None:
        self._db = db
        self._channels = channels
        self._interval_seconds = interval.total_seconds()
        self._wake = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to tell."""
        self._wake = asyncio.Event()
        self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def aclose(self) -> None:
        """Tell what waits, and end."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
            self._telling = None
            try:
                await tell(self._db, self._channels)
            except Exception as error:  # noqa: BLE001  # another process, or the job, will
                logger.warning("changes wait: %s", type(error).__name__)

    def wake(self) -> None:
        """Say that something was committed."""
        self._wake.set()

    async def _tell(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._interval_seconds):
                    await self._wake.wait()
            except TimeoutError:
                """Then it looks by itself."""
            self._wake.clear()
            try:
                await tell(self._db, self._channels)
            except Exception as error:  # noqa: BLE001  # whatever is away comes back
                logger.warning("changes wait: %s", type(error).__name__)
                await asyncio.sleep(_PAUSE_SECONDS)
                self._wake.set()


@asynccontextmanager
async def telling_transaction(
    db: AsyncEngine, outbox: Outbox | None = None
) -> AsyncIterator[AsyncSession]:
    """One writing transaction; what it leaves in the outbox is told once it is committed."""
    async with transaction(db, write=True) as session:
        yield session
    if outbox is not None:
        outbox.wake()
