"""What can be done with visits.

In: a session whose transaction the caller began, checked values, and the ID of the user. Out: what
is to be answered, free of the session; None where there is no such listing or visit, which is
also what another user's visit is. Refused, as `VisitRefused` with a reason to show: a time
that has passed or is far away, and one at which the listing or the user is taken.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from components.estate import notifications
from components.estate.models import Listing, Visit
from components.estate.schemas import OFFERED, VisitIn, VisitList, VisitOut

_LENGTH = timedelta(minutes=30)
_HORIZON = timedelta(days=180)
_MOST = 200
_LOCKS_OF_VISITORS = 0x76697369  # tells these locks from others of the database


class VisitRefused(Exception):  # noqa: N818  # reads as what happened
    """A visit cannot be booked; the text is why."""


async def book(
    session: AsyncSession, wanted: VisitIn, *, visitor: str, now: datetime
) -> VisitOut | None:
    """Book half an hour at a listing on offer. The transaction must be a writing one.

    None where no such listing is on offer. Raises `VisitRefused` for a time that is not to be had.
    """
    if not now < wanted.at <= now + _HORIZON:
        raise VisitRefused(f"a visit is within the next {_HORIZON.days} days")
    # The row lock makes two bookings of one listing follow each other.
    listing = await session.get(Listing, wanted.listing_id, with_for_update=True)
    if listing is None or listing.status != OFFERED:
        return None
    if (
        session.get_bind().dialect.name == "postgresql"
    ):  # elsewhere one transaction writes at a time
        # And two of one visitor, who may be booking two listings, follow each other too.
        key = func.hashtextextended(visitor, _LOCKS_OF_VISITORS)
        await session.execute(select(func.pg_advisory_xact_lock(key)))
    taken = await session.scalar(
        select(Visit.listing_id)
        .where(or_(Visit.listing_id == listing.id, Visit.visitor == visitor))
        .where(*_meets(wanted.at))
        .limit(1)
    )
    if taken is not None:
        who = "the listing is" if taken == listing.id else "you are"
        raise VisitRefused(f"{who} taken at that time: a visit lasts half an hour")
    visit = Visit(
        listing_id=listing.id,
        visitor=visitor,
        at=wanted.at,
        note=wanted.note,
        status="booked",
        created_at=datetime.now(UTC),
    )
    session.add(visit)
    await session.flush()
    await notifications.visit_booked(session, visitor, visit.id, listing.title, wanted.at)
    return _out(visit, listing.title)


async def of(session: AsyncSession, visitor: str, *, since: datetime | None = None) -> VisitList:
    """At most 200 visits of a user, by their time: the next ones from `since` on, or the last ones."""
    chosen = (
        select(Visit, Listing.title)
        .join(Listing, Listing.id == Visit.listing_id)
        .where(Visit.visitor == visitor)
        .limit(_MOST)
    )
    if since is None:
        found = await session.execute(chosen.order_by(Visit.at.desc(), Visit.id.desc()))
        rows = reversed(found.all())  # those to come are among the last, and never cut off
    else:
        found = await session.execute(chosen.where(Visit.at >= since).order_by(Visit.at, Visit.id))
        rows = iter(found.all())
    return VisitList(items=[_out(visit, title) for visit, title in rows])


async def cancel(session: AsyncSession, visit_id: int, *, visitor: str) -> VisitOut | None:
    """Cancel a visit of the user; one that was cancelled before stays so."""
    found = await session.execute(
        select(Visit, Listing.title)
        .join(Listing, Listing.id == Visit.listing_id)
        .where(Visit.id == visit_id, Visit.visitor == visitor)
    )
    row = found.one_or_none()
    if row is None:
        return None
    visit, title = row
    visit.status = "cancelled"
    await session.flush()
    return _out(visit, title)


def _meets(at: datetime) -> tuple[ColumnElement[bool], ...]:
    """Booked visits that overlap one at `at`."""
    return Visit.status == "booked", Visit.at > at - _LENGTH, Visit.at < at + _LENGTH


def _out(visit: Visit, title: str) -> VisitOut:
    return VisitOut(
        id=visit.id,
        listing_id=visit.listing_id,
        listing_title=title,
        at=visit.at,
        note=visit.note,
        status=visit.status,
    )
