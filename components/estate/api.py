"""The listings over HTTP.

In: requests whose lifespan state carries an `AsyncEngine` as `db`. Out: `router`, and
`listings_router` that makes it with other defaults. Refused: what the schemas refuse, as
FastAPI's 422, and an id that names no listing, as 404. Who may write is for the gate before it
(`components.mcp.gate`) to say, and is asked here again: a request that has passed none, or lacks what
its rules want, changes nothing (401, 403) and sees only what is on offer.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import RedirectResponse

from components.database import transaction
from components.estate import listings
from components.estate.outbox import telling_transaction
from components.estate.schemas import (
    Currency,
    ListingId,
    ListingIn,
    ListingOut,
    ListingPatch,
    Page,
    PageSize,
    Search,
)
from components.mcp.principal import Principal
from components.mcp.protected import Protected


async def to_console() -> RedirectResponse:
    """Where a developer begins: the console, in the manifest of development alone."""
    return RedirectResponse("/_assembly", 307)


def listings_router(
    *,
    currency: Annotated[
        Currency, Field(description="currency of a listing that names none")
    ] = "INR",
    page_size: Annotated[
        PageSize, Field(description="listings on a page when the request does not say")
    ] = 20,
) -> APIRouter:
    """The routes `/listings` and `/listings/{listing_id}`."""
    made = APIRouter(tags=["listings"])

    @made.get("/listings", summary="Search listings")
    async def search_listings(
        session: Reading, search: Annotated[Search, Query()], only_offered: OnlyOffered
    ) -> Page:
        """The listings that pass every filter, sorted, a page at a time."""
        return await listings.search(
            session, search, page_size=page_size, only_offered=only_offered
        )

    @made.post(
        "/listings",
        summary="Create a listing",
        status_code=201,
        responses={
            201: {
                "headers": {
                    "Location": {"description": "The new listing", "schema": {"type": "string"}}
                }
            }
        },
    )
    async def create_listing(
        offered: ListingIn, session: Changing, request: Request, response: Response
    ) -> ListingOut:
        """Offer a property. Its status is `draft` unless given."""
        created = await listings.create(session, offered, currency=currency)
        # a path of its own, since a host would be taken from a header that anyone can forge
        response.headers["Location"] = f"{request.url.path.rstrip('/')}/{created.id}"
        return created

    made.include_router(_one_listing)
    return made


async def reading(request: Request) -> AsyncIterator[AsyncSession]:
    async with transaction(request.state.db, write=False) as session:
        yield session


async def writing(request: Request) -> AsyncIterator[AsyncSession]:
    async with _telling(request) as session:
        yield session


async def changing(request: Request) -> AsyncIterator[AsyncSession]:
    """As `writing`, for who has all that the rules of the mount want."""
    principal, lacking = _judged(request)
    if principal is None:
        raise HTTPException(401, "log in to change this")
    if lacking is not None:
        raise HTTPException(403, lacking)
    async with _telling(request) as session:
        yield session


def _telling(request: Request) -> AbstractAsyncContextManager[AsyncSession]:
    return telling_transaction(request.state.db, getattr(request.state, "outbox", None))


# the scope "function" ends the transaction before the answer is sent: a commit that fails is a
# 500, and who has read "201" finds the listing
Reading = Annotated[AsyncSession, Depends(reading, scope="function")]
Writing = Annotated[AsyncSession, Depends(writing, scope="function")]
Changing = Annotated[AsyncSession, Depends(changing, scope="function")]


def _judged(request: Request) -> tuple[Principal | None, str | None]:
    """Who asks, by the word of a gate, and what they lack."""
    rules: Protected | None = getattr(request.state, "protected", None)
    principal: Principal | None = getattr(request.state, "principal", None)
    if rules is None or principal is None:
        return None, None
    return principal, rules.lacking(principal)


def _only_offered(request: Request) -> bool:
    principal, lacking = _judged(request)
    return principal is None or lacking is not None


OnlyOffered = Annotated[bool, Depends(_only_offered)]

_one_listing = APIRouter(responses={404: {"description": "No such listing"}})


@_one_listing.get("/listings/{listing_id}", summary="Read a listing")
async def read_listing(
    listing_id: ListingId, session: Reading, only_offered: OnlyOffered
) -> ListingOut:
    return _found(await listings.read(session, listing_id, only_offered=only_offered))


@_one_listing.get("/listings/{listing_id}/similar", summary="Find similar listings")
async def similar_listings(
    listing_id: ListingId, session: Reading, only_offered: OnlyOffered, limit: PageSize = 5
) -> list[ListingOut]:
    """What is on offer of the same kind: same city first, then near in price."""
    listing = _found(await listings.read(session, listing_id, only_offered=only_offered))
    return await listings.similar(session, listing, limit=limit)


@_one_listing.patch("/listings/{listing_id}", summary="Change a listing")
async def update_listing(
    listing_id: ListingId, changes: ListingPatch, session: Changing
) -> ListingOut:
    """Change the given fields; the others stay as they are."""
    return _found(await listings.update(session, listing_id, changes))


@_one_listing.delete("/listings/{listing_id}", summary="Delete a listing", status_code=204)
async def delete_listing(listing_id: ListingId, session: Changing) -> None:
    if not await listings.delete(session, listing_id):
        raise _missing()


def _found(listing: ListingOut | None) -> ListingOut:
    if listing is None:
        raise _missing()
    return listing


def _missing() -> HTTPException:
    return HTTPException(status_code=404, detail="no such listing")


router = listings_router()
