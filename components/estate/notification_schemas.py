"""What notifications, devices and preferences take and answer.

In: JSON bodies. Out: checked models. Refused: unknown fields, numbers that are not E.164, zones that
are none, half of the quiet hours, quiet hours without an end, tokens with other than visible ASCII.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

NewsKind = Literal["visit", "post", "price"]
Way = Literal["push", "sms"]
Platform = Literal["android", "ios", "web"]
Fallback = Literal["never", "fallback", "always"]
Delivery = Literal["waiting", "claimed", "sending", "sent", "failed", "unknown", "skipped"]


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, LookupError):
        raise PydanticCustomError("zone", "there is no such time zone") from None
    return value


TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", examples=["22:00"])]
Zone = Annotated[str, Field(max_length=64), AfterValidator(_zone)]
Phone = Annotated[
    str, Field(pattern=r"^\+[1-9][0-9]{6,14}$", description="E.164", examples=["+919876543210"])
]


class DeviceIn(BaseModel):
    """A device that is to get push messages."""

    model_config = ConfigDict(extra="forbid", strict=True)

    token: Annotated[
        str, Field(min_length=8, max_length=4096, pattern=r"^[!-~]+$", description="FCM's token")
    ]
    platform: Platform


class DeviceOut(BaseModel):
    """A device; its token is not shown again."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    platform: Platform
    created_at: datetime


class DeviceList(BaseModel):
    """The devices of one user."""

    items: list[DeviceOut]


class RecipientSettings(BaseModel):
    """When and where a user may be reached."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "timezone": "Asia/Kolkata",
                    "quiet_from": "22:00",
                    "quiet_until": "07:00",
                    "digest_at": "08:00",
                    "phone": "+919876543210",
                }
            ]
        },
    )

    timezone: Zone = "Asia/Kolkata"
    quiet_from: TimeOfDay | None = None
    quiet_until: TimeOfDay | None = None
    digest_at: Annotated[TimeOfDay, Field(description="when digests are sent")] = "08:00"
    phone: Phone | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.quiet_from is None) != (self.quiet_until is None):
            raise PydanticCustomError("quiet", "quiet_from and quiet_until belong together")
        if self.quiet_from is not None and self.quiet_from == self.quiet_until:
            raise PydanticCustomError("quiet", "quiet hours must end some time")
        return self


class PreferenceIn(BaseModel):
    """How one kind of news is to come; over the channel it always does."""

    model_config = ConfigDict(extra="forbid", strict=True)

    push: bool = True
    sms: Annotated[
        Fallback, Field(description="`fallback` where no push message reaches a device")
    ] = "fallback"
    digest: Annotated[bool, Field(description="once a day, together")] = False


class Preferences(BaseModel):
    """All preferences of a user; posts come only to who wants them."""

    visit: PreferenceIn
    post: PreferenceIn
    price: PreferenceIn


class NotificationOut(BaseModel):
    """One piece of news."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    event: str
    kind: NewsKind
    way: Way
    title: str
    body: str
    link: str
    state: Delivery
    created_at: datetime
    ended_at: datetime | None


class NotificationList(BaseModel):
    """The latest news of a user, the newest first."""

    items: list[NotificationOut]


class SavedList(BaseModel):
    """IDs of the listings that a user saved."""

    items: list[int]


class News(BaseModel):
    """What happened, for a person to read."""

    event: str
    kind: NewsKind
    title: str
    body: str
    link: str

    def told(self) -> dict[str, Any]:
        """As the channel of the recipient has it."""
        return self.model_dump(mode="json")
