"""What the estate service tells on channels, and on which.

In: a listing before and after a change; what became of a job; the ID of a user. Out: names of channels,
and values that are JSON. Told of listings is only what everybody may see: of one that is not on offer
any more its end, and nothing of a draft.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from components.channels import Channels
from components.estate.models import Listing
from components.estate.schemas import OFFERED

logger = logging.getLogger("components.estate")

LISTINGS = "listings"
JOBS = "jobs"


class ListingChange(BaseModel):
    """What happened to a listing; what is not known of it any more is None."""

    event: Literal["listed", "changed", "ended"]
    id: int
    cities: list[str]
    title: str | None = None
    kind: str | None = None
    purpose: str | None = None
    price: int | None = None
    old_price: int | None = None
    currency: str | None = None
    at: datetime


class JobEnd(BaseModel):
    """What became of one tick of a job in one of the processes."""

    job: str
    outcome: str
    at: datetime


class Before(BaseModel):
    """What of a listing matters after a change of it."""

    status: str
    city: str
    price: int
    currency: str

    @classmethod
    def of(cls, listing: Listing) -> "Before":
        """Remember it before it is changed."""
        return cls(
            status=listing.status,
            city=listing.city,
            price=listing.price,
            currency=listing.currency,
        )


def channel_of(user: str) -> str:
    """The channel of a user's own notifications; IDs may hold what names of channels may not."""
    return f"user-{hashlib.sha256(user.encode()).hexdigest()[:40]}"


def listing_change(before: Before | None, after: Listing | None, id: int) -> dict[str, Any] | None:
    """What is told of a change; None where there is nothing that everybody may know."""
    was = before is not None and before.status == OFFERED
    is_now = after is not None and after.status == OFFERED
    if not was and not is_now:
        return None
    cities = {one.city for one in (before, after) if one is not None and one.status == OFFERED}
    told = ListingChange(event="ended", id=id, cities=sorted(cities), at=datetime.now(UTC))
    if is_now and after is not None:
        has_other_price = was and before is not None and before.price != after.price
        told = told.model_copy(
            update={
                "event": "changed" if was else "listed",
                "title": after.title,
                "kind": after.kind,
                "purpose": after.purpose,
                "price": after.price,
                "old_price": before.price if before is not None and has_other_price else None,
                "currency": after.currency,
            }
        )
    return told.model_dump(mode="json", exclude_none=True)


def of_city(city: str | None) -> Callable[[Any], bool] | None:
    """Says which changes concern a city, in any case; all where none is named."""
    if city is None:
        return None
    wanted = city.casefold()
    return lambda change: any(one.casefold() == wanted for one in change.get("cities", ()))


class JobRuns:
    """Tells on a channel what becomes of the jobs of this process.

    A resource: `on_started` is called with the report of the application when its jobs run.
    """

    def __init__(
        self, *, channels: Annotated[Channels, Field(description="the channels on which it tells")]
    ) -> None:
        self._channels = channels
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_counting = False

    def on_started(self, assembly: Any) -> None:
        """Listen to what runs the jobs, where there is one."""
        self._loop = asyncio.get_running_loop()
        if assembly.jobs is not None:
            self._is_counting = False  # what was before is no news
            assembly.jobs.watch(self._note)
            self._is_counting = True

    async def aclose(self) -> None:
        """Tell what waits."""
        self._is_counting = False
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=2)

    def _note(self, job: str, outcome: str, number: int) -> None:
        if not self._is_counting or self._loop is None:
            return
        end = JobEnd(job=job, outcome=outcome, at=datetime.now(UTC)).model_dump(mode="json")
        task = self._loop.create_task(self._tell(end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self, end: dict[str, Any]) -> None:
        try:
            await self._channels.publish(JOBS, end)
        except Exception as error:  # noqa: BLE001  # a page is then not told; the run is a row
            logger.warning("a job's end was not told: %s", type(error).__name__)
