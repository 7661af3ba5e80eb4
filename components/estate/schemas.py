"""What the estate service takes and answers.

In: JSON bodies and query parameters. Out: `ListingIn`, `ListingPatch` and `Search`, checked;
`ListingOut` and `Page`, ready to send; the same of visits. Refused: unknown fields of a body,
numbers that a database cannot hold, text with NUL in it, a type that is not the one asked for, half
a position, a least above its most.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

Kind = Literal["apartment", "house", "villa", "plot", "office", "shop", "warehouse"]
Purpose = Literal["sale", "rent"]
Status = Literal["draft", "active", "sold", "rented", "withdrawn"]
VisitStatus = Literal["booked", "cancelled"]

OFFERED: Status = "active"
"""The status of what everybody may see."""

# PostgreSQL has no NUL in its texts and fails at the statement
_WITHOUT_NUL = r"^[^\x00]*$"


def _text(minimum: int, maximum: int) -> StringConstraints:
    return StringConstraints(
        strip_whitespace=True, min_length=minimum, max_length=maximum, pattern=_WITHOUT_NUL
    )


Title = Annotated[str, _text(3, 200)]
Description = Annotated[str, _text(0, 10_000)]
Place = Annotated[str, _text(1, 100)]
Typed = Annotated[str, _text(1, 200)]
Amenities = Annotated[list[Annotated[str, _text(1, 60)]], Field(max_length=50)]
Price = Annotated[int, Field(ge=0, le=10**15, description="whole units of the currency")]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$", description="ISO 4217 code")]
Rooms = Annotated[int, Field(ge=0, le=1000)]
Area = Annotated[float, Field(gt=0, le=10**9, allow_inf_nan=False, description="square metres")]
Latitude = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
Longitude = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
ListingId = Annotated[int, Field(ge=1, le=2**53 - 1)]  # what every reader of JSON holds exactly
PageSize = Annotated[int, Field(ge=1, le=100)]
Sort = Literal["price", "-price", "created_at", "-created_at", "area", "-area"]

_T = TypeVar("_T")


def _not_null(value: _T | None) -> _T:
    if value is None:
        raise PydanticCustomError("null", "null is no value of this field")
    return value


# may be left out, and then is None; a null that is sent is refused
Given = Annotated[_T | SkipJsonSchema[None], AfterValidator(_not_null)]


def _number_only(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "a number is needed")
    return value


# in JSON 2.0 is a whole number, and neither true nor "2" is one
Number = Annotated[_T, Field(strict=False), BeforeValidator(_number_only)]


def _text_only(value: Any) -> Any:
    if not isinstance(value, str | datetime):
        raise PydanticCustomError("time", "a time is a text such as 2026-07-01T10:30:00+05:30")
    return value


# in JSON a time is a text: a number would be taken for seconds since 1970
Timestamp = Annotated[AwareDatetime, BeforeValidator(_text_only), Field(strict=False)]

_EXAMPLE: dict[str, Any] = {
    "title": "3-bedroom apartment in Bandra West",
    "description": "Bright corner apartment on the ninth floor, five minutes from the sea.",
    "kind": "apartment",
    "purpose": "sale",
    "status": "active",
    "price": 48_500_000,
    "currency": "INR",
    "bedrooms": 3,
    "bathrooms": 2,
    "area_m2": 118.5,
    "floor_plan": "Living room 31 m², kitchen 11 m², bedrooms 16, 14 and 12 m².",
    "city": "Mumbai",
    "locality": "Bandra West",
    "latitude": 19.0596,
    "longitude": 72.8295,
    "amenities": ["lift", "covered parking", "power backup"],
}

_TOGETHER: dict[str, Any] = {"latitude": ["longitude"], "longitude": ["latitude"]}


class _Position(BaseModel):
    latitude: Latitude | None = None
    longitude: Longitude | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        given = self.model_fields_set & {"latitude", "longitude"}
        if len(given) == 1 or (self.latitude is None) != (self.longitude is None):
            raise PydanticCustomError("position", "latitude and longitude belong together")
        return self


class ListingIn(_Position):
    """A listing as it is offered. Without `currency` it takes the service's own."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [_EXAMPLE], "dependentRequired": _TOGETHER},
    )

    title: Title
    description: Description = ""
    kind: Kind
    purpose: Purpose
    status: Status = "draft"
    price: Number[Price]
    currency: Currency | None = None
    bedrooms: Number[Rooms] | None = None
    bathrooms: Number[Rooms] | None = None
    area_m2: Area
    floor_plan: Description | None = None
    city: Place
    locality: Place
    amenities: Amenities = []


class ListingPatch(_Position):
    """The fields to change. Null empties a field that may be empty, and is refused elsewhere."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"price": 47_000_000, "status": "sold"}],
            "dependentRequired": _TOGETHER,
        },
    )

    title: Given[Title] = None
    description: Given[Description] = None
    kind: Given[Kind] = None
    purpose: Given[Purpose] = None
    status: Given[Status] = None
    price: Given[Number[Price]] = None
    currency: Given[Currency] = None
    bedrooms: Number[Rooms] | None = None
    bathrooms: Number[Rooms] | None = None
    area_m2: Given[Area] = None
    floor_plan: Description | None = None
    city: Given[Place] = None
    locality: Given[Place] = None
    amenities: Given[Amenities] = None


class ListingOut(BaseModel):
    """A listing as it is kept."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": 42,
                    **_EXAMPLE,
                    "created_at": "2026-01-15T09:30:00Z",
                    "updated_at": "2026-01-15T09:30:00Z",
                }
            ]
        },
    )

    id: int
    title: str
    description: str
    kind: Kind
    purpose: Purpose
    status: Status
    price: int
    currency: str
    bedrooms: int | None
    bathrooms: int | None
    area_m2: float
    floor_plan: str | None
    city: str
    locality: str
    latitude: float | None
    longitude: float | None
    amenities: list[str]
    created_at: datetime
    updated_at: datetime


class Filters(BaseModel):
    """Which listings, and which part of them; a filter that is absent lets everything pass."""

    city: Annotated[Place | None, Field(description="name of the city, in any case")] = None
    kind: Kind | None = None
    purpose: Purpose | None = None
    currency: Currency | None = None
    min_price: Price | None = None
    max_price: Price | None = None
    min_bedrooms: Annotated[Rooms | None, Field(description="this many bedrooms or more")] = None
    limit: Annotated[
        PageSize | None, Field(description="listings on the page; the service has a default")
    ] = None
    offset: Annotated[int, Field(ge=0, le=10**9, description="listings to skip")] = 0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if (
            self.min_price is not None
            and self.max_price is not None
            and self.min_price > self.max_price
        ):
            raise PydanticCustomError("price_range", "min_price is greater than max_price")
        return self


class Search(Filters):
    """What to look for, by words that must occur."""

    q: Annotated[
        str | None,
        Field(
            max_length=100,
            pattern=_WITHOUT_NUL,
            description="words that all occur in title, description, locality or city",
        ),
    ] = None
    status: Status | None = None
    sort: Annotated[Sort, Field(description="`-` puts the largest or latest first")] = "-created_at"


class Page(BaseModel):
    """A part of what was found: `items` from `offset` on, of `total`."""

    items: list[ListingOut]
    total: int
    limit: int
    offset: int


class VisitIn(BaseModel):
    """A visit as it is wished for."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"listing_id": 42, "at": "2026-07-01T10:30:00+05:30"}]},
    )

    listing_id: Number[ListingId]
    at: Annotated[Timestamp, Field(description="when, with its offset from UTC")]
    note: Annotated[str, _text(0, 500), Field(description="what the agent should know")] = ""


class VisitOut(BaseModel):
    """A visit as it is kept."""

    id: int
    listing_id: int
    listing_title: str
    at: datetime
    note: str
    status: VisitStatus


class VisitList(BaseModel):
    """The visits of one user, the next one first."""

    items: list[VisitOut]
