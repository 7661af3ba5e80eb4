"""How much there is of what: counts over the tables of the estate service.

In: a session and the time. Out: a `Dashboard`; groups are in descending order, and cities are the
eight that have most.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from components.estate.models import Listing, Visit
from components.estate.schemas import OFFERED

_CITIES = 8


class Dashboard(BaseModel):
    """Counts of what there is."""

    listings: int
    by_status: dict[str, int]
    offered_by_kind: dict[str, int]
    offered_by_city: dict[str, int]
    visits_by_status: dict[str, int]
    upcoming_visits: int


async def count(session: AsyncSession, *, now: datetime) -> Dashboard:
    """Count listings and visits."""
    by_status = await _counts(session, _grouped(Listing.status))
    offered = Listing.status == OFFERED
    upcoming = select(func.count()).where(Visit.status == "booked", Visit.at > now)
    cities = _grouped(Listing.city).where(offered).limit(_CITIES)
    return Dashboard(
        listings=sum(by_status.values()),
        by_status=by_status,
        offered_by_kind=await _counts(session, _grouped(Listing.kind).where(offered)),
        offered_by_city=await _counts(session, cities),
        visits_by_status=await _counts(session, _grouped(Visit.status)),
        upcoming_visits=await session.scalar(upcoming) or 0,
    )


def _grouped(column: Any) -> "Select[str, int]":
    number = func.count()
    return select(column, number).group_by(column).order_by(number.desc(), column)


async def _counts(session: AsyncSession, query: "Select[str, int]") -> dict[str, int]:
    return {name: number for name, number in (await session.execute(query)).all()}  # noqa: C416  # rows
