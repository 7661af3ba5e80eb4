"""Tables, and what goes in and out."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The tables."""


class Room(Base):
    """A room."""

    __tablename__ = "room"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    seats: Mapped[int]


class Booking(Base):
    """A room for some hours."""

    __tablename__ = "booking"

    id: Mapped[int] = mapped_column(primary_key=True)
    room_id: Mapped[int] = mapped_column(ForeignKey("room.id"))
    starts: Mapped[datetime]
    ends: Mapped[datetime]
    title: Mapped[str]


class RoomOut(BaseModel):
    """A room as it is shown."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    seats: int


class BookingIn(BaseModel):
    """A wish for a room."""

    room_id: int
    starts: datetime
    ends: datetime
    title: str = Field(min_length=1, max_length=80)

    @model_validator(mode="after")
    def _in_order(self) -> "BookingIn":
        if self.ends <= self.starts:
            raise ValueError("a booking ends after it starts")
        return self


class BookingOut(BookingIn):
    """A booking as it is shown."""

    model_config = ConfigDict(from_attributes=True)

    id: int
