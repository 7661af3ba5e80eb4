"""Search of listings by meaning and words together.

In: what was typed, filters, a sort order or none. Out: a page of what is on offer, the best match first
unless another order is asked for, and by what it was ranked. Where nothing can tell the meaning, words
alone do, and the page says so and why. Found are at most 200 by meaning and 500 by words, joined by
reciprocal ranks; every one passes every filter.
"""

from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import Row, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from components.database import transaction
from components.estate import full_text, listings
from components.estate.models import Listing
from components.estate.schemas import OFFERED, Filters, ListingOut, Page, Sort, Typed
from components.vectors import NoVectorSearch, Question, Vectors, fused
from components.vectors.sync import Source

_MOST_BY_MEANING = 200
_MOST_BY_WORDS = 500
_LONGEST_TEXT = 6000  # characters, far below what models take

RankedBy = Literal["meaning and words", "words"]


class ListingSearch(Filters):
    """What to look for: typed words, which need not occur, and filters, which all must hold."""

    q: Annotated[Typed, Field(description="what is sought, in any words")]
    sort: Annotated[
        Sort | None,
        Field(description="best match first where absent; `-` puts the largest or latest first"),
    ] = None


class FoundPage(Page):
    """A page of what was found; `note` says why it was ranked by words alone, where it was."""

    ranked_by: RankedBy | None = None
    note: str | None = None


async def search(
    db: AsyncEngine, vectors: Vectors | None, wanted: ListingSearch, *, page_size: int
) -> FoundPage:
    """One page of what is on offer; `page_size` is for a search that has no limit."""
    question, note = await _asked(vectors, wanted.q)
    limit = wanted.limit or page_size
    async with transaction(db, write=False) as session:
        eligible = select(Listing.id).where(Listing.status == OFFERED, *listings.filters(wanted))
        orders = [await full_text.ranked(session, wanted.q, eligible, limit=_MOST_BY_WORDS)]
        if vectors is not None and question is not None:
            try:
                async with session.begin_nested():
                    nearest = await vectors.nearest(
                        session, question, eligible, limit=_MOST_BY_MEANING
                    )
            except (SQLAlchemyError, ImportError) as error:
                question, note = None, f"vectors cannot be compared: {type(error).__name__}"
            else:
                orders.insert(0, nearest)
        ids = fused(*orders)
        if wanted.sort is not None:
            ids = await _sorted(session, ids, wanted.sort)
        items = await _read(session, ids[wanted.offset : wanted.offset + limit])
    return FoundPage(
        items=items,
        total=len(ids),
        limit=limit,
        offset=wanted.offset,
        ranked_by="words" if question is None else "meaning and words",
        note=note,
    )


async def _asked(vectors: Vectors | None, typed: str) -> tuple[Question | None, str | None]:
    if vectors is None:
        return None, "this service keeps no vectors"
    try:
        return await vectors.asked(SOURCE.collection, typed), None
    except NoVectorSearch as error:
        return None, str(error)


async def _sorted(session: AsyncSession, ids: list[int], sort: Sort) -> list[int]:
    found = await session.scalars(
        select(Listing.id).where(Listing.id.in_(ids)).order_by(*listings.order(sort))
    )
    return [*found]


async def _read(session: AsyncSession, ids: list[int]) -> list[ListingOut]:
    found = await session.scalars(select(Listing).where(Listing.id.in_(ids)))
    by_id = {listing.id: ListingOut.model_validate(listing) for listing in found}
    return [by_id[id_] for id_ in ids]


def _text(row: Row[Any]) -> str:
    """What is embedded of a listing: all that is said of it, and nothing that only counts."""
    rooms = f"{row.bedrooms} bedrooms, " if row.bedrooms else ""
    lines = (
        row.title,
        f"{row.kind} for {row.purpose}, {rooms}{row.locality}, {row.city}",
        ", ".join(row.amenities),
        row.description,
    )
    return "\n".join(line for line in lines if line)[:_LONGEST_TEXT]


SOURCE = Source(
    collection=listings.COLLECTION,
    template="1",
    id=Listing.id,
    query=select(
        Listing.id,
        Listing.title,
        Listing.kind,
        Listing.purpose,
        Listing.bedrooms,
        Listing.locality,
        Listing.city,
        Listing.amenities,
        Listing.description,
    ).where(Listing.status == OFFERED),
    text=_text,
)
"""The listings that have vectors: those on offer."""
