"""Search by meaning over HTTP.

In: requests whose lifespan state carries an `AsyncEngine` as `db`, and as `vectors` what compares
meanings, if there is any. Out: `search_router`; it stands before the router of listings, whose path of
one listing would take its own. Refused: what the schemas refuse, as 422.
"""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from components.estate.schemas import PageSize
from components.estate.search import FoundPage, ListingSearch, search


def search_router(
    *,
    page_size: Annotated[
        PageSize, Field(description="listings on a page when the request does not say")
    ] = 20,
) -> APIRouter:
    """The route `/listings/search`."""
    made = APIRouter(tags=["listings"])

    @made.get("/listings/search", summary="Search listings by meaning")
    async def search_by_meaning(
        request: Request, wanted: Annotated[ListingSearch, Query()]
    ) -> FoundPage:
        """What is on offer and passes every filter, the best match of `q` first, a page at a time."""
        vectors = getattr(request.state, "vectors", None)
        return await search(request.state.db, vectors, wanted, page_size=page_size)

    return made
