"""The visits of who asks, over HTTP.

In: requests whose lifespan state carries an `AsyncEngine` as `db`, and which a gate let pass
(`components.mcp.gate`), so that their principal is known. Out: `router`. Refused: what the schemas
refuse, as FastAPI's 422; a listing or visit that is not there, or not theirs, as 404; a time that
is taken, as 409; a request that has passed no gate, as 401.
"""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request

from components.estate import visits
from components.estate.api import Reading, Writing
from components.estate.schemas import ListingId, VisitIn, VisitList, VisitOut
from components.estate.visits import VisitRefused
from components.mcp.principal import principal_of

router = APIRouter(prefix="/visits", tags=["visits"])


def _visitor(request: Request) -> str:
    try:
        return principal_of(request).id
    except PermissionError as error:
        raise HTTPException(401, "log in to see or book visits") from error


Visitor = Annotated[str, Depends(_visitor)]


@router.get("", summary="List your visits")
async def list_visits(session: Reading, visitor: Visitor) -> VisitList:
    return await visits.of(session, visitor)


@router.post(
    "",
    summary="Book a visit",
    status_code=201,
    responses={
        404: {"description": "No such listing is on offer"},
        409: {"description": "Not possible"},
    },
)
async def book_visit(wanted: VisitIn, session: Writing, visitor: Visitor) -> VisitOut:
    """Half an hour at a listing that is on offer."""
    try:
        booked = await visits.book(session, wanted, visitor=visitor, now=datetime.now(UTC))
    except VisitRefused as error:
        raise HTTPException(409, str(error)) from error
    if booked is None:
        raise HTTPException(404, "no such listing is on offer")
    return booked


@router.post(
    "/{visit_id}/cancel",
    summary="Cancel a visit",
    responses={404: {"description": "No such visit"}},
)
async def cancel_visit(visit_id: ListingId, session: Writing, visitor: Visitor) -> VisitOut:
    cancelled = await visits.cancel(session, visit_id, visitor=visitor)
    if cancelled is None:
        raise HTTPException(404, "no such visit")
    return cancelled
