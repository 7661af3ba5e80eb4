"""Search of listings by meaning and words together.

In: what was typed, filters, a sort order or none. Out: a page of what is on offer, the best match first
unless another order is asked for, and by what it was ranked. Where nothing can tell the meaning, words
alone do, and the page says so and why. Found are at most 200 by meaning and 500 by words, joined by
reciprocal ranks; every one passes every filter.
"""

from typing import Annotated, Any, Literal

from pydantic import Field
from sqlalchemy import Row, Select, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from components.database import transaction
from components.estate import full_text, listings
from components.estate.models import Listing
from components.estate.schemas import OFFERED, Filters, ListingOut, Page, Sort, Typed
from components.vectors import NoVectorSearch, Source, Vectors, fused

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
    limit = wanted.limit or page_size
    if vectors is None:
        return await _by_words(db, wanted, limit, "this service keeps no vectors")
    try:
        question = await vectors.asked(SOURCE.collection, wanted.q)
    except NoVectorSearch as error:
        return await _by_words(db, wanted, limit, str(error))
    try:
        async with transaction(db, write=False) as session:
            eligible = _eligible(wanted)
            by_meaning = await vectors.nearest(session, question, eligible, limit=_MOST_BY_MEANING)
            by_words = await full_text.ranked(session, wanted.q, eligible, limit=_MOST_BY_WORDS)
            found = await _page(session, fused(by_meaning, by_words), wanted, limit)
    except (SQLAlchemyError, ImportError) as error:  # the words may be there all the same
        note = f"vectors cannot be compared: {type(error).__name__}"
        return await _by_words(db, wanted, limit, note)
    return found


async def _by_words(db: AsyncEngine, wanted: ListingSearch, limit: int, note: str) -> FoundPage:
    async with transaction(db, write=False) as session:
        ids = await full_text.ranked(session, wanted.q, _eligible(wanted), limit=_MOST_BY_WORDS)
        found = await _page(session, ids, wanted, limit)
    return found.model_copy(update={"ranked_by": "words", "note": note})


def _eligible(wanted: ListingSearch) -> Select[Any]:
    """The ids of what is on offer and passes every filter."""
    return select(Listing.id).where(Listing.status == OFFERED, *listings.filters(wanted))


async def _page(
    session: AsyncSession, ids: list[int], wanted: ListingSearch, limit: int
) -> FoundPage:
    if wanted.sort is not None:
        ids = await _sorted(session, ids, wanted.sort)
    return FoundPage(
        items=await _read(session, ids[wanted.offset : wanted.offset + limit]),
        total=len(ids),
        limit=limit,
        offset=wanted.offset,
        ranked_by="meaning and words",
    )


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
