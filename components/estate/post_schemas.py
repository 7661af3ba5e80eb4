"""What the posts take and answer.

In: JSON bodies and query parameters. Out: `PostIn`, `ScheduleIn` and `PostSearch`, checked;
`PostOut` and `PostPage`, ready to send. Refused: unknown fields of a body, text with NUL in it, a
time without an offset or outside what a database can hold.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from components.estate.schemas import Description, PageSize, Timestamp, Title

PostStatus = Literal["draft", "scheduled", "published"]

_EXAMPLE: dict[str, Any] = {
    "title": "Five homes with a view of the sea",
    "body": "From Worli to Fort Kochi: what you see when you draw the curtains.",
}
_TIMES = "2026-01-15T09:30:00Z"


# the same years, as far as a document can say it
_STORABLE = "^(197[1-9]|19[89][0-9]|[2-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])-"


def _storable(value: datetime) -> datetime:
    if not 1970 < value.year < 9999:  # in UTC it may be another year
        raise PydanticCustomError("year", "the year must be between 1971 and 9998")
    return value


Moment = Annotated[
    Timestamp, AfterValidator(_storable), Field(json_schema_extra={"pattern": _STORABLE})
]


class PostIn(BaseModel):
    """A post as it is written; it begins as a draft."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [_EXAMPLE]}
    )

    title: Title
    body: Description = ""


class ScheduleIn(BaseModel):
    """When a post is to be published: at the first run of the job from then on."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"publish_at": "2026-01-16T08:00:00+05:30"}]},
    )

    publish_at: Annotated[Moment, Field(description="a time with its offset")]


class PostOut(BaseModel):
    """A post as it is kept; `publish_at` is when it was to be published, `published_at` when it was."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "examples": [
                {
                    "id": 7,
                    **_EXAMPLE,
                    "status": "draft",
                    "publish_at": None,
                    "published_at": None,
                    "created_at": _TIMES,
                    "updated_at": _TIMES,
                }
            ]
        },
    )

    id: int
    title: str
    body: str
    status: PostStatus
    publish_at: datetime | None
    published_at: datetime | None
    created_at: datetime
    updated_at: datetime


class PostSearch(BaseModel):
    """Which posts; a filter that is absent lets everything pass."""

    status: PostStatus | None = None
    limit: Annotated[
        PageSize | None, Field(description="posts on the page; the service has a default")
    ] = None
    offset: Annotated[int, Field(ge=0, le=10**9, description="posts to skip")] = 0


class PostPage(BaseModel):
    """A part of the posts, the newest first: `items` from `offset` on, of `total`."""

    items: list[PostOut]
    total: int
    limit: int
    offset: int
