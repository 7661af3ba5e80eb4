"""What a user's assistant can do with the estate service.

In: a server, the database, widgets. Out: tools on that server: search, read and compare what is on
offer; book, list and cancel one's own visits. Refused, as errors that a model can act on: a listing that
is not on offer, which for a user is not there, other users' visits, times that are taken.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import AwareDatetime, BaseModel, Field, ValidationError
from sqlalchemy.ext.asyncio import AsyncEngine

from components.database import transaction
from components.estate import listings, visits
from components.estate.market import MarketPage, MarketSearch, Month, find
from components.estate.schemas import (
    OFFERED,
    Currency,
    Kind,
    ListingId,
    ListingOut,
    Page,
    PageSize,
    Place,
    Price,
    Purpose,
    Rooms,
    Search,
    Sort,
    Typed,
    VisitIn,
    VisitList,
    VisitOut,
)
from components.estate.search import FoundPage, ListingSearch, search
from components.estate.visits import VisitRefused
from components.mcp.server import answer, caller
from components.mcp.widgets import Widgets
from components.vectors import Vectors

_Form = TypeVar("_Form", bound=BaseModel)

READS = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)
_BOOKS = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
_CANCELS = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)


def add_user_tools(
    server: MCPServer[Any],
    db: AsyncEngine,
    widgets: Widgets,
    *,
    page_size: int,
    vectors: Vectors | None = None,
) -> None:
    """Register the tools; `page_size` is for a search that has no limit."""
    _add_search(server, db, widgets, page_size, vectors)
    _add_reading(server, db, widgets)
    _add_market(server, db)
    _add_visits(server, db)


def _add_search(
    server: MCPServer[Any],
    db: AsyncEngine,
    widgets: Widgets,
    page_size: int,
    vectors: Vectors | None,
) -> None:
    @server.tool(
        title="Search listings",
        annotations=READS,
        meta=widgets.meta("listing-cards", invoking="Searching listings", invoked="Found listings"),
    )
    async def search_listings(
        context: Context,
        q: Annotated[
            Typed | None,
            Field(description="what is sought, in any words: found by meaning and by words"),
        ] = None,
        city: Annotated[Place | None, Field(description="name of the city, in any case")] = None,
        kind: Kind | None = None,
        purpose: Purpose | None = None,
        currency: Currency | None = None,
        min_price: Price | None = None,
        max_price: Price | None = None,
        min_bedrooms: Annotated[
            Rooms | None, Field(description="this many bedrooms or more")
        ] = None,
        sort: Annotated[
            Sort | None,
            Field(
                description="`-` puts the largest or latest first; where absent the best match of "
                "`q` is first, or without it the latest"
            ),
        ] = None,
        limit: Annotated[PageSize | None, Field(description="listings in the answer")] = None,
        offset: Annotated[int, Field(ge=0, le=10**9, description="listings to skip")] = 0,
    ) -> Annotated[CallToolResult, FoundPage]:
        """Find properties on offer that pass every filter, a page at a time."""
        caller(context)
        filters: dict[str, Any] = {
            "city": city,
            "kind": kind,
            "purpose": purpose,
            "currency": currency,
            "min_price": min_price,
            "max_price": max_price,
            "min_bedrooms": min_bedrooms,
            "limit": limit,
            "offset": offset,
        }
        if q is not None:
            sought = _checked(ListingSearch, q=q, sort=sort, **filters)
            page = await search(db, vectors, sought, page_size=page_size)
        else:
            wanted = _checked(Search, status=OFFERED, sort=sort or "-created_at", **filters)
            async with transaction(db, write=False) as session:
                found = await listings.search(session, wanted, page_size=page_size)
            page = FoundPage(**dict(found))
        return answer(_page_text(page), page)


def _add_reading(server: MCPServer[Any], db: AsyncEngine, widgets: Widgets) -> None:
    @server.tool(title="Get a listing", annotations=READS)
    async def get_listing(
        context: Context, listing_id: ListingId
    ) -> Annotated[CallToolResult, ListingOut]:
        """All that is known of one property on offer."""
        caller(context)
        async with transaction(db, write=False) as session:
            listing = _found(await listings.read(session, listing_id, only_offered=True))
        return answer(listing_text(listing), listing)

    @server.tool(
        title="Find similar listings",
        annotations=READS,
        meta=widgets.meta("listing-cards", invoking="Comparing listings", invoked="Found listings"),
    )
    async def similar_listings(
        context: Context,
        listing_id: ListingId,
        limit: Annotated[int, Field(ge=1, le=20, description="listings in the answer")] = 5,
    ) -> Annotated[CallToolResult, Page]:
        """Properties on offer of the same kind: same city first, then near in price."""
        caller(context)
        async with transaction(db, write=False) as session:
            listing = _found(await listings.read(session, listing_id, only_offered=True))
            found = await listings.similar(session, listing, limit=limit)
        page = Page(items=found, total=len(found), limit=limit, offset=0)
        return answer(_page_text(page), page)


def _add_market(server: MCPServer[Any], db: AsyncEngine) -> None:
    @server.tool(title="Market data", annotations=READS)
    async def market_data(
        context: Context,
        city: Annotated[Place | None, Field(description="name of the city, in any case")] = None,
        kind: Kind | None = None,
        purpose: Purpose | None = None,
        month: Month | None = None,
        limit: Annotated[PageSize, Field(description="figures in the answer")] = 20,
        offset: Annotated[int, Field(ge=0, le=10**9, description="figures to skip")] = 0,
    ) -> Annotated[CallToolResult, MarketPage]:
        """What a square metre costs, as others publish it, with the source of each figure."""
        caller(context)
        wanted = _checked(
            MarketSearch,
            city=city,
            kind=kind,
            purpose=purpose,
            month=month,
            limit=limit,
            offset=offset,
        )
        async with transaction(db, write=False) as session:
            page = await find(session, wanted)
        return answer(_market_text(page), page)


def _add_visits(server: MCPServer[Any], db: AsyncEngine) -> None:
    @server.tool(title="Book a visit", annotations=_BOOKS)
    async def book_visit(
        context: Context,
        listing_id: ListingId,
        at: Annotated[AwareDatetime, Field(description="when, such as 2026-07-01T10:30:00+05:30")],
        note: Annotated[str, Field(max_length=500, description="what the agent should know")] = "",
    ) -> Annotated[CallToolResult, VisitOut]:
        """Book half an hour at a property on offer, for the user who is logged in."""
        visitor, now = caller(context).id, datetime.now(UTC)
        try:
            wanted = VisitIn(listing_id=listing_id, at=at, note=note)
            async with transaction(db, write=True) as session:
                visit = await visits.book(session, wanted, visitor=visitor, now=now)
        except ValidationError as error:
            raise ToolError(_faults(error)) from error
        except VisitRefused as error:
            raise ToolError(str(error)) from error
        if visit is None:
            raise ToolError("no such listing is on offer")
        return answer(f"Booked. {_visit_text(visit)}", visit)

    @server.tool(title="List my visits", annotations=READS)
    async def list_visits(
        context: Context,
        upcoming: Annotated[bool, Field(description="leave out what has passed")] = True,
    ) -> Annotated[CallToolResult, VisitList]:
        """The visits of the user who is logged in, the next one first."""
        visitor = caller(context).id
        since = datetime.now(UTC) if upcoming else None
        async with transaction(db, write=False) as session:
            found = await visits.of(session, visitor, since=since)
        text = "\n".join(map(_visit_text, found.items)) or "There are no visits."
        return answer(text, found)

    @server.tool(title="Cancel a visit", annotations=_CANCELS)
    async def cancel_visit(
        context: Context, visit_id: ListingId
    ) -> Annotated[CallToolResult, VisitOut]:
        """Cancel a visit of the user who is logged in."""
        visitor = caller(context).id
        async with transaction(db, write=True) as session:
            visit = await visits.cancel(session, visit_id, visitor=visitor)
        if visit is None:
            raise ToolError("no such visit")
        return answer(_visit_text(visit), visit)


def listing_text(listing: ListingOut) -> str:
    """A listing on one line, for a model to read."""
    month = " a month" if listing.purpose == "rent" else ""
    rooms = f", {listing.bedrooms} bedrooms" if listing.bedrooms else ""
    text = (
        f"{listing.id}: {listing.title} ({listing.kind}, {listing.status}): "
        f"{listing.price:,} {listing.currency}{month}, {listing.area_m2:g} m²{rooms}, "
        f"{listing.locality}, {listing.city}"
    )
    return " ".join(text.split())  # a title of two lines is not two listings


def _checked(form: type[_Form], **wanted: Any) -> _Form:
    try:
        return form(**wanted)
    except ValidationError as error:
        raise ToolError(_faults(error)) from error


def _faults(error: ValidationError) -> str:
    return "; ".join(str(fault["msg"]) for fault in error.errors(include_url=False))


def _found(listing: ListingOut | None) -> ListingOut:
    if listing is None:
        raise ToolError("no such listing is on offer")
    return listing


def _page_text(page: Page) -> str:
    if not page.items:
        return "No listing was found."
    count = f"{len(page.items)} of {page.total} listings"
    if isinstance(page, FoundPage) and page.note is not None:
        count = f"{count}, by words only: {page.note}"
    return "\n".join([count, *map(listing_text, page.items)])


def _market_text(page: MarketPage) -> str:
    if not page.items:
        return "No figures were found."
    lines = [
        f"{one.city}, {one.kind} for {one.purpose}, {one.month}: {one.price_per_m2:,.10g} "
        f"{one.currency} per m² ({one.url}, {one.fetched_at:%Y-%m-%d})"
        for one in page.items
    ]
    return "\n".join([f"{len(page.items)} of {page.total} figures", *lines])


def _visit_text(visit: VisitOut) -> str:
    when = visit.at.isoformat(timespec="minutes")
    return f"Visit {visit.id} ({visit.status}) to {visit.listing_title!r} at {when}"
