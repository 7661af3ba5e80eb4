"""Bookings."""

from datetime import timedelta

from fastapi import APIRouter, HTTPException, Response, status
from sqlalchemy import select

from app.dependencies import SessionDep, SettingsDep
from app.errors import RoomNotFoundError, RoomTakenError
from app.models import Booking, BookingIn, BookingOut, Room

router = APIRouter(tags=["bookings"])


@router.get("/bookings", response_model=list[BookingOut])
async def list_bookings(session: SessionDep) -> object:
    """List all bookings."""
    return (await session.scalars(select(Booking).order_by(Booking.starts))).all()


@router.post("/bookings", response_model=BookingOut, status_code=status.HTTP_201_CREATED)
async def book(wish: BookingIn, session: SessionDep, settings: SettingsDep) -> object:
    """Book a room, where it is free and for not too long."""
    if await session.get(Room, wish.room_id) is None:
        raise RoomNotFoundError(wish.room_id)
    if wish.ends - wish.starts > timedelta(hours=settings.longest_hours):
        raise HTTPException(400, f"at most {settings.longest_hours} hours")
    query = select(Booking).where(
        Booking.room_id == wish.room_id, Booking.starts < wish.ends, Booking.ends > wish.starts
    )
    other = (await session.scalars(query)).first()
    if other is not None:
        raise RoomTakenError(other.ends.isoformat())
    booking = Booking(**wish.model_dump())
    session.add(booking)
    await session.commit()
    return booking


@router.delete("/bookings/{number}", status_code=status.HTTP_204_NO_CONTENT)
async def cancel(number: int, session: SessionDep) -> Response:
    """Cancel a booking; one that is not there is cancelled already."""
    booking = await session.get(Booking, number)
    if booking is not None:
        await session.delete(booking)
        await session.commit()
    return Response(status_code=204)


@router.post("/bookings/collapse", include_in_schema=False)
async def collapse(session: SessionDep) -> None:
    """Fail as what nobody has thought of does."""
    raise RuntimeError("the calendar collapsed")
