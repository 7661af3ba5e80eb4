"""Rooms."""

from fastapi import APIRouter
from sqlalchemy import select

from app.dependencies import SessionDep
from app.errors import RoomNotFoundError
from app.models import Room, RoomOut

router = APIRouter(prefix="/rooms", tags=["rooms"])


@router.get("", response_model=list[RoomOut])
async def list_rooms(session: SessionDep, seats: int = 0) -> object:
    """List the rooms that have so many seats."""
    return (await session.scalars(select(Room).where(Room.seats >= seats).order_by(Room.id))).all()


@router.get("/{number}", response_model=RoomOut, responses={404: {"description": "No such room"}})
async def read_room(number: int, session: SessionDep) -> object:
    """Return one room."""
    room = await session.get(Room, number)
    if room is None:
        raise RoomNotFoundError(number)
    return room
