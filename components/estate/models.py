"""The tables of the estate service.

In: nothing. Out: `Base`, whose metadata creates the tables: listings, visits, posts, what is told of
them and to whom. Refused by the database: an unknown kind, purpose or status, a negative price, an
area of nothing, a visit to no listing, a post that is scheduled or published without a time, a second
notification of one event to one recipient in one way. Refused before it: a time without a zone.
"""

from datetime import UTC, datetime
from typing import Any, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Connection,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
    func,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from components.crawl.tables import add_tables as add_crawl_tables
from components.estate import full_text
from components.estate.notification_schemas import Delivery, Fallback, NewsKind, Platform, Way
from components.estate.post_schemas import PostStatus
from components.estate.schemas import Kind, Purpose, Status, VisitStatus
from components.vectors.tables import add_tables as add_vector_tables


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time, in UTC. SQLite would keep it as it is written and give it back naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    pass


add_vector_tables(Base.metadata)
add_crawl_tables(Base.metadata)


def _now() -> datetime:
    return datetime.now(UTC)


def _choice(values: Any, name: str) -> Enum:
    return Enum(*get_args(values), name=name, create_constraint=True)


_Id = BigInteger().with_variant(Integer, "sqlite")


class Listing(Base):
    """One property on offer. The price is in whole units of its currency."""

    __tablename__ = "listings"
    __table_args__ = (
        CheckConstraint("price >= 0", name="listing_price"),
        CheckConstraint("area_m2 > 0", name="listing_area"),
        # without it SQLite gives the id of a deleted listing to the next one
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str] = mapped_column(Text)
    kind: Mapped[Kind] = mapped_column(_choice(Kind, "listing_kind"))
    purpose: Mapped[Purpose] = mapped_column(_choice(Purpose, "listing_purpose"))
    status: Mapped[Status] = mapped_column(_choice(Status, "listing_status"))
    price: Mapped[int] = mapped_column(BigInteger)
    currency: Mapped[str] = mapped_column(String(3))
    bedrooms: Mapped[int | None]
    bathrooms: Mapped[int | None]
    area_m2: Mapped[float]
    floor_plan: Mapped[str | None] = mapped_column(Text)
    city: Mapped[str] = mapped_column(String(100))
    locality: Mapped[str] = mapped_column(String(100))
    latitude: Mapped[float | None]
    longitude: Mapped[float | None]
    amenities: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, onupdate=_now)


Index("listings_by_city", func.lower(Listing.city))
Index("listings_by_age", Listing.created_at, Listing.id)


@event.listens_for(Listing.__table__, "after_create")
def _index_words(_table: Table, connection: Connection, **_options: Any) -> None:
    full_text.prepare(connection)


class Visit(Base):
    """An appointment to see a listing. `visitor` is the ID of a user, who alone sees it."""

    __tablename__ = "visits"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    listing_id: Mapped[int] = mapped_column(ForeignKey("listings.id", ondelete="CASCADE"))
    visitor: Mapped[str] = mapped_column(String(255))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    note: Mapped[str] = mapped_column(Text)
    status: Mapped[VisitStatus] = mapped_column(_choice(VisitStatus, "visit_status"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


Index("visits_by_visitor", Visit.visitor, Visit.at)
Index("visits_by_listing", Visit.listing_id, Visit.at)


class Post(Base):
    """One article: a draft, scheduled for a time, or public since one."""

    __tablename__ = "posts"
    __table_args__ = (
        CheckConstraint("status <> 'scheduled' OR publish_at IS NOT NULL", name="post_scheduled"),
        CheckConstraint("(status = 'published') = (published_at IS NOT NULL)", name="post_public"),
        {"sqlite_autoincrement": True},  # as of listings
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(Text)
    status: Mapped[PostStatus] = mapped_column(_choice(PostStatus, "post_status"))
    publish_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    published_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, onupdate=_now)


Index("posts_by_due_time", Post.status, Post.publish_at)
Index("posts_by_age", Post.created_at, Post.id)


class SavedListing(Base):
    """A listing that a user wants to hear of."""

    __tablename__ = "saved_listings"

    owner: Mapped[str] = mapped_column(String(255), primary_key=True)
    listing_id: Mapped[int] = mapped_column(
        ForeignKey("listings.id", ondelete="CASCADE"), primary_key=True
    )
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


Index("saved_listings_by_listing", SavedListing.listing_id)


class Change(Base):
    """What is to be told on a channel; the row goes when that is done."""

    __tablename__ = "changes"
    __table_args__ = ({"sqlite_autoincrement": True},)  # an id is a key that is never used again

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    channel: Mapped[str] = mapped_column(String(200))
    body: Mapped[Any] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Device(Base):
    """Where a user's push messages go. A token belongs to who registered it last."""

    __tablename__ = "devices"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    owner: Mapped[str] = mapped_column(String(255))
    token: Mapped[str] = mapped_column(String(4096), unique=True)
    platform: Mapped[Platform] = mapped_column(_choice(Platform, "device_platform"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


Index("devices_by_owner", Device.owner)


class Recipient(Base):
    """When and where a user may be reached; minutes are of the day in the user's zone."""

    __tablename__ = "recipients"
    __table_args__ = (
        CheckConstraint(
            "(quiet_from IS NULL) = (quiet_until IS NULL)", name="recipient_quiet_hours"
        ),
    )

    owner: Mapped[str] = mapped_column(String(255), primary_key=True)
    timezone: Mapped[str] = mapped_column(String(64))
    quiet_from: Mapped[int | None]
    quiet_until: Mapped[int | None]
    digest_at: Mapped[int]
    phone: Mapped[str | None] = mapped_column(String(16))


class Preference(Base):
    """How a user wants to hear of one kind of news."""

    __tablename__ = "preferences"

    owner: Mapped[str] = mapped_column(String(255), primary_key=True)
    kind: Mapped[NewsKind] = mapped_column(_choice(NewsKind, "news_kind"), primary_key=True)
    push: Mapped[bool]
    sms: Mapped[Fallback] = mapped_column(_choice(Fallback, "sms_use"))
    digest: Mapped[bool]


Index("preferences_by_kind", Preference.kind)


class Notification(Base):
    """One piece of news for one user in one way: the outbox of push and text messages.

    `repeats` counts how often it may have gone out already when it was taken again.
    """

    __tablename__ = "notifications"
    __table_args__ = (
        UniqueConstraint("recipient", "event", "way", name="notification_once"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    recipient: Mapped[str] = mapped_column(String(255))
    event: Mapped[str] = mapped_column(String(200))
    way: Mapped[Way] = mapped_column(_choice(Way, "notification_way"))
    kind: Mapped[NewsKind] = mapped_column(_choice(NewsKind, "news_kind"))
    title: Mapped[str] = mapped_column(String(200))
    body: Mapped[str] = mapped_column(Text)
    link: Mapped[str] = mapped_column(String(200))
    digest: Mapped[bool]
    state: Mapped[Delivery] = mapped_column(_choice(Delivery, "delivery_state"))
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    attempts: Mapped[int]
    repeats: Mapped[int]
    reached: Mapped[list[int]] = mapped_column(JSON)
    lease: Mapped[str | None] = mapped_column(String(36))
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    error: Mapped[str | None] = mapped_column(String(400))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


Index("notifications_due", Notification.state, Notification.due_at, Notification.id)
Index("notifications_by_recipient", Notification.recipient, Notification.id)


class MarketFigure(Base):
    """What a square metre cost, by a source, in one month; and where that was read."""

    __tablename__ = "market_figures"
    __table_args__ = (
        UniqueConstraint(
            "source", "city", "kind", "purpose", "currency", "month", name="market_figure_once"
        ),
        CheckConstraint("price_per_m2 > 0", name="market_price"),
    )

    id: Mapped[int] = mapped_column(_Id, primary_key=True)
    source: Mapped[str] = mapped_column(String(100))
    city: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(20))
    purpose: Mapped[str] = mapped_column(String(10))
    month: Mapped[str] = mapped_column(String(7))
    currency: Mapped[str] = mapped_column(String(3))
    price_per_m2: Mapped[float]
    url: Mapped[str] = mapped_column(String(2000))
    fetched_at: Mapped[datetime] = mapped_column(UtcDateTime)
    content_hash: Mapped[str] = mapped_column(String(64))
    robots: Mapped[str] = mapped_column(String(100))


Index("market_figures_by_city", func.lower(MarketFigure.city), MarketFigure.month)
