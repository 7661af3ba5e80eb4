"""What can be done with listings.

In: a session whose transaction the caller began, and checked values. Out: what is to be answered,
free of the session; None or False where there is no such listing.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, UnaryExpression, case, func, or_, select
from sqlalchemy import delete as delete_rows
from sqlalchemy import update as update_rows
from sqlalchemy.ext.asyncio import AsyncSession

from components.estate import events, full_text, notifications, outbox
from components.estate.models import Listing
from components.estate.schemas import (
    OFFERED,
    Filters,
    ListingIn,
    ListingOut,
    ListingPatch,
    Page,
    Search,
)
from components.vectors.tables import forget

COLLECTION = "listings"
"""The name of the vectors of listings."""

_SORTABLE = {
    "price": Listing.price,
    "created_at": Listing.created_at,
    "area": Listing.area_m2,
}


async def create(session: AsyncSession, offered: ListingIn, *, currency: str) -> ListingOut:
    """Keep a new listing; `currency` is for one that names none."""
    now = datetime.now(UTC)
    listing = Listing(
        **offered.model_dump(exclude={"currency"}),
        currency=offered.currency or currency,
        created_at=now,
        updated_at=now,
    )
    session.add(listing)
    await session.flush()
    _tell(session, None, listing, listing.id)
    return ListingOut.model_validate(listing)


async def read(
    session: AsyncSession, listing_id: int, *, only_offered: bool = False
) -> ListingOut | None:
    """One listing; `only_offered` is for those who may not see drafts and what is gone."""
    listing = await session.get(Listing, listing_id)
    if listing is None or (only_offered and listing.status != OFFERED):
        return None
    return ListingOut.model_validate(listing)


async def update(
    session: AsyncSession, listing_id: int, changes: ListingPatch
) -> ListingOut | None:
    """Change the fields that `changes` names, and no others."""
    # the row lock lets a deletion at the same moment come before or after, not in between
    listing = await session.get(Listing, listing_id, with_for_update=True)
    if listing is None:
        return None
    before = events.Before.of(listing)
    for name, value in changes.model_dump(exclude_unset=True).items():
        setattr(listing, name, value)
    await session.flush()
    if listing.status != OFFERED:
        await forget(session, COLLECTION, [listing.id])
    _tell(session, before, listing, listing.id)
    is_offered = before.status == listing.status == OFFERED
    if is_offered and before.currency == listing.currency and listing.price < before.price:
        await notifications.price_dropped(session, listing, before.price)
    return ListingOut.model_validate(listing)


async def delete(session: AsyncSession, listing_id: int) -> bool:
    """True where there was such a listing."""
    listing = await session.get(Listing, listing_id, with_for_update=True)
    if listing is None:
        return False
    before = events.Before.of(listing)
    await session.execute(delete_rows(Listing).where(Listing.id == listing_id))
    await forget(session, COLLECTION, [listing_id])
    _tell(session, before, None, listing_id)
    return True


async def withdraw_stale(session: AsyncSession, oldest: datetime) -> list[int]:
    """Withdraw what is on offer and has not been changed since `oldest`; return their ids."""
    is_stale = (Listing.status == OFFERED) & (Listing.updated_at < oldest)
    found = await session.execute(
        update_rows(Listing)
        .where(is_stale)
        .values(status="withdrawn")
        .returning(Listing.id, Listing.city, Listing.price, Listing.currency),
        execution_options={"synchronize_session": False},
    )
    withdrawn = []
    for id_, city, price, currency in found:
        before = events.Before(status=OFFERED, city=city, price=price, currency=currency)
        _tell(session, before, None, id_)
        withdrawn.append(id_)
    await forget(session, COLLECTION, withdrawn)
    return withdrawn


async def search(
    session: AsyncSession, wanted: Search, *, page_size: int, only_offered: bool = False
) -> Page:
    """One page of what passes every filter; `page_size` is for a search that has no limit.

    Equals in the sort order follow each other by id, so that pages neither overlap nor skip.
    """
    conditions = [*filters(wanted), *([Listing.status == OFFERED] if only_offered else [])]
    limit = wanted.limit or page_size
    total = await session.scalar(select(func.count()).select_from(Listing).where(*conditions))
    found = await session.scalars(
        select(Listing)
        .where(*conditions)
        .order_by(*order(wanted.sort))
        .limit(limit)
        .offset(wanted.offset)
    )
    return Page(
        items=[ListingOut.model_validate(listing) for listing in found],
        total=total or 0,
        limit=limit,
        offset=wanted.offset,
    )


async def similar(session: AsyncSession, listing: ListingOut, *, limit: int) -> list[ListingOut]:
    """What is on offer of the same kind, purpose and currency: same city first, then near in price."""
    elsewhere = case((func.lower(Listing.city) == func.lower(listing.city), 0), else_=1)
    found = await session.scalars(
        select(Listing)
        .where(
            Listing.id != listing.id,
            Listing.status == OFFERED,
            Listing.kind == listing.kind,
            Listing.purpose == listing.purpose,
            Listing.currency == listing.currency,
        )
        .order_by(elsewhere, func.abs(Listing.price - listing.price), Listing.id)
        .limit(limit)
    )
    return [ListingOut.model_validate(other) for other in found]


def filters(wanted: Filters) -> Iterator[ColumnElement[bool]]:
    """The conditions of a search, of which each must hold."""
    for name in ("kind", "purpose", "status", "currency"):
        value = getattr(wanted, name, None)
        if value is not None:
            yield getattr(Listing, name) == value
    if wanted.city is not None:
        yield full_text.in_any_case(Listing.city, wanted.city)
    if wanted.min_price is not None:
        yield Listing.price >= wanted.min_price
    if wanted.max_price is not None:
        yield Listing.price <= wanted.max_price
    if wanted.min_bedrooms is not None:
        yield Listing.bedrooms >= wanted.min_bedrooms
    words = (wanted.q or "").split() if isinstance(wanted, Search) else []
    texts = (Listing.title, Listing.description, Listing.locality, Listing.city)
    for word in words:
        yield or_(*(text.icontains(word, autoescape=True) for text in texts))


def order(sort: str) -> tuple[UnaryExpression[Any], UnaryExpression[int]]:
    """The order of a search; equals by id, so that pages neither overlap nor skip."""
    column = _SORTABLE[sort.removeprefix("-")]
    if sort.startswith("-"):
        return column.desc(), Listing.id.desc()
    return column.asc(), Listing.id.asc()


def _tell(
    session: AsyncSession, before: events.Before | None, after: Listing | None, id: int
) -> None:
    change = events.listing_change(before, after, id)
    if change is not None:
        outbox.note(session, events.LISTINGS, change)
