"""What happened -> who is told, in which way, and when.

In: a session whose transaction the caller began, and the news. Out: rows of the outbox, one for each
recipient, event and way, and a word on each recipient's channel. News that a recipient has already
are not kept again.

When: at once, or after the quiet hours of the recipient's zone, or at the time of the digest. A time of
day that a change of the clock leaves out is taken as the moment after it; of one that comes twice, quiet
hours end at either, and a digest has the first.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import delete, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from components.estate import outbox
from components.estate.events import channel_of
from components.estate.models import (
    Device,
    Listing,
    Notification,
    Post,
    Preference,
    Recipient,
    SavedListing,
)
from components.estate.notification_schemas import (
    DeviceIn,
    DeviceList,
    DeviceOut,
    News,
    NewsKind,
    NotificationList,
    NotificationOut,
    PreferenceIn,
    Preferences,
    RecipientSettings,
    SavedList,
)
from components.estate.schemas import OFFERED

_MOST = 200
_MOST_DEVICES = 20  # of a user; the oldest goes
_AT_ONCE = 500
_LOCKS_OF_OWNERS = 0x6F776E6572  # "owner"
_LOCKS_OF_TOKENS = 0x746F6B656E  # "token"
_DEFAULTS: dict[NewsKind, PreferenceIn] = {
    "visit": PreferenceIn(),
    "price": PreferenceIn(),
    "post": PreferenceIn(push=False, sms="never"),
}


async def visit_booked(
    session: AsyncSession, visitor: str, visit_id: int, title: str, at: datetime
) -> None:
    """Tell a visitor that a visit is booked."""
    zone = ZoneInfo((await settings_of(session, visitor)).timezone)
    when = at.astimezone(zone).strftime("%d %b %Y, %H:%M")
    news = News(
        event=f"visit-{visit_id}-booked",
        kind="visit",
        title="Your visit is booked",
        body=f"{title}: {when}",
        link=f"/api/v1/visits#{visit_id}",
    )
    await notify(session, news, [visitor])


async def post_published(session: AsyncSession, post: Post) -> None:
    """Tell those who want to hear of posts."""
    wanted = or_(Preference.push, Preference.sms == "always")
    readers = await session.scalars(
        select(Preference.owner).where(Preference.kind == "post", wanted).order_by(Preference.owner)
    )
    news = News(
        event=f"post-{post.id}-published",
        kind="post",
        title="A new post",
        body=post.title,
        link=f"/api/v1/posts/{post.id}",
    )
    await notify(session, news, readers.all())


async def price_dropped(session: AsyncSession, listing: Listing, old_price: int) -> None:
    """Tell those who saved a listing that it costs less."""
    owners = await session.scalars(
        select(SavedListing.owner)
        .where(SavedListing.listing_id == listing.id)
        .order_by(SavedListing.owner)
    )
    stamp = int(listing.updated_at.timestamp() * 1_000_000)
    news = News(
        event=f"listing-{listing.id}-price-{stamp}",
        kind="price",
        title="A saved listing costs less",
        body=f"{listing.title}: {listing.price:,} {listing.currency}, was {old_price:,}",
        link=f"/share/listings/{listing.id}",
    )
    await notify(session, news, owners.all())


async def notify(
    session: AsyncSession, news: News, recipients: Sequence[str], *, now: datetime | None = None
) -> None:
    """Keep one piece of news for each recipient, in the ways that they want."""
    now = now or datetime.now(UTC)
    for first in range(0, len(recipients), _AT_ONCE):
        batch = recipients[first : first + _AT_ONCE]
        preferences = await preferences_for(session, news.kind, batch)
        profiles = await _profiles(session, batch)
        rows = []
        for recipient in batch:
            wanted = preferences.get(recipient, _DEFAULTS[news.kind])
            profile = profiles.get(recipient, RecipientSettings())
            due = due_at(now, profile, digest=wanted.digest)
            ways = ["push"] if wanted.push else []
            if wanted.sms == "always" or (wanted.sms == "fallback" and not wanted.push):
                ways.append("sms")
            if "sms" in ways and profile.phone is None:
                ways.remove("sms")
            rows += [row(news, recipient, way, due, now, digest=wanted.digest) for way in ways]
            outbox.note(session, channel_of(recipient), news.told())
        if rows:
            await keep(session, rows)


def row(
    news: News, recipient: str, way: str, due: datetime, now: datetime, *, digest: bool
) -> dict[str, Any]:
    """The values of a row of the outbox."""
    return {
        "recipient": recipient,
        "event": news.event,
        "way": way,
        "kind": news.kind,
        "title": news.title[:200],
        "body": news.body,
        "link": news.link,
        "digest": digest,
        "state": "waiting",
        "due_at": due,
        "attempts": 0,
        "repeats": 0,
        "reached": [],
        "created_at": now,
    }


async def keep(session: AsyncSession, rows: list[dict[str, Any]]) -> None:
    """Insert rows of the outbox, but for those that are there."""
    is_postgres = session.get_bind().dialect.name == "postgresql"
    insert: Any = postgresql.insert if is_postgres else sqlite.insert
    statement = insert(Notification).on_conflict_do_nothing(
        index_elements=["recipient", "event", "way"]
    )
    await session.execute(statement, rows)


def due_at(now: datetime, profile: RecipientSettings, *, digest: bool) -> datetime:
    """The first moment from `now` on at which a recipient may be told."""
    zone = ZoneInfo(profile.timezone)
    due = _next(now, profile.digest_at, zone, folds=1) if digest else now
    if profile.quiet_from is None or profile.quiet_until is None:
        return due
    minute = due.astimezone(zone).strftime("%H:%M")
    begin, end = profile.quiet_from, profile.quiet_until
    is_quiet = begin <= minute < end if begin < end else minute >= begin or minute < end
    return _next(due, end, zone, folds=2) if is_quiet else due


def _next(now: datetime, at: str, zone: ZoneInfo, *, folds: int) -> datetime:
    """The next time from `now` on at which clocks show `at`, for the first or second time that day."""
    wanted = time.fromisoformat(at)
    day = now.astimezone(zone).date()
    for ahead in range(3):
        for moment in _moments(day + timedelta(days=ahead), wanted, zone)[:folds]:
            if moment >= now:
                return moment
    return now  # unreachable: one of three days has it


def _moments(day: date, wanted: time, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """When clocks show it that day: twice the same, but where they are set back."""
    local = datetime.combine(day, wanted, zone)
    # of a time that does not exist, UTC and back gives the moment after the change
    first, second = (local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
    return first, max(first, second)


async def latest(session: AsyncSession, owner: str) -> NotificationList:
    """The latest news of a user, at most 200."""
    found = await session.scalars(
        select(Notification)
        .where(Notification.recipient == owner)
        .order_by(Notification.id.desc())
        .limit(_MOST)
    )
    return NotificationList(items=[NotificationOut.model_validate(one) for one in found])


async def add_device(session: AsyncSession, owner: str, wanted: DeviceIn) -> DeviceOut:
    """Register a device; a token that is known goes to this user."""
    await _in_turn(session, wanted.token, _LOCKS_OF_TOKENS)
    await _in_turn(session, owner, _LOCKS_OF_OWNERS)
    await session.execute(delete(Device).where(Device.token == wanted.token))
    oldest = await session.scalars(
        select(Device.id)
        .where(Device.owner == owner)
        .order_by(Device.id.desc())
        .offset(_MOST_DEVICES - 1)
    )
    await session.execute(delete(Device).where(Device.id.in_(oldest.all())))
    device = Device(
        owner=owner, token=wanted.token, platform=wanted.platform, created_at=datetime.now(UTC)
    )
    session.add(device)
    await session.flush()
    return DeviceOut.model_validate(device)


async def devices_of(session: AsyncSession, owner: str) -> DeviceList:
    """The devices of a user."""
    found = await session.scalars(select(Device).where(Device.owner == owner).order_by(Device.id))
    return DeviceList(items=[DeviceOut.model_validate(one) for one in found])


async def remove_device(session: AsyncSession, owner: str, device_id: int) -> bool:
    """True where the user had that device."""
    gone = await session.execute(
        delete(Device).where(Device.id == device_id, Device.owner == owner).returning(Device.id)
    )
    return gone.one_or_none() is not None


async def settings_of(session: AsyncSession, owner: str) -> RecipientSettings:
    """When and where a user may be reached."""
    return (await _profiles(session, [owner])).get(owner, RecipientSettings())


async def set_settings(session: AsyncSession, owner: str, wanted: RecipientSettings) -> None:
    """Remember when and where a user may be reached."""
    await _in_turn(session, owner, _LOCKS_OF_OWNERS)
    await session.merge(
        Recipient(
            owner=owner,
            timezone=wanted.timezone,
            quiet_from=_minutes(wanted.quiet_from),
            quiet_until=_minutes(wanted.quiet_until),
            digest_at=_minutes(wanted.digest_at) or 0,
            phone=wanted.phone,
        )
    )
    await session.flush()


async def preferences_of(session: AsyncSession, owner: str) -> Preferences:
    """How a user wants to hear of each kind of news."""
    rows = await session.scalars(select(Preference).where(Preference.owner == owner))
    said = _DEFAULTS | {one.kind: _preference(one) for one in rows}
    return Preferences(visit=said["visit"], post=said["post"], price=said["price"])


async def preferences_for(
    session: AsyncSession, kind: NewsKind, owners: Sequence[str]
) -> dict[str, PreferenceIn]:
    """How each of many wants to hear of one kind of news, as far as they said."""
    found = await session.scalars(
        select(Preference).where(Preference.kind == kind, Preference.owner.in_(owners))
    )
    return {one.owner: _preference(one) for one in found}


async def set_preference(
    session: AsyncSession, owner: str, kind: NewsKind, wanted: PreferenceIn
) -> None:
    """Remember how a user wants to hear of one kind of news."""
    await _in_turn(session, owner, _LOCKS_OF_OWNERS)
    await session.merge(Preference(owner=owner, kind=kind, **wanted.model_dump()))
    await session.flush()


async def save_listing(session: AsyncSession, owner: str, listing_id: int) -> bool:
    """Remember that a user wants to hear of a listing; False where no such one is on offer."""
    await _in_turn(session, owner, _LOCKS_OF_OWNERS)
    # it may change meanwhile, and not be deleted
    held = {"read": True, "key_share": True}
    listing = await session.get(Listing, listing_id, with_for_update=held)
    if listing is None or listing.status != OFFERED:
        return False
    if await session.get(SavedListing, (owner, listing_id)) is None:
        session.add(SavedListing(owner=owner, listing_id=listing_id, created_at=datetime.now(UTC)))
        await session.flush()
    return True


async def forget_listing(session: AsyncSession, owner: str, listing_id: int) -> None:
    """Forget it; one that was not saved stays so."""
    await session.execute(
        delete(SavedListing).where(
            SavedListing.owner == owner, SavedListing.listing_id == listing_id
        )
    )


async def saved_of(session: AsyncSession, owner: str) -> SavedList:
    """The listings that a user saved, the latest first, at most 200."""
    found = await session.scalars(
        select(SavedListing.listing_id)
        .where(SavedListing.owner == owner)
        .order_by(SavedListing.created_at.desc(), SavedListing.listing_id)
        .limit(_MOST)
    )
    return SavedList(items=[*found])


async def _in_turn(session: AsyncSession, name: str, kind: int) -> None:
    """Let those who write about the same one follow each other: what is not there yet has no lock."""
    if (
        session.get_bind().dialect.name == "postgresql"
    ):  # elsewhere one transaction writes at a time
        key = func.hashtextextended(name, kind)
        await session.execute(select(func.pg_advisory_xact_lock(key)))


async def _profiles(session: AsyncSession, owners: Sequence[str]) -> dict[str, RecipientSettings]:
    found = await session.scalars(select(Recipient).where(Recipient.owner.in_(owners)))
    return {one.owner: profile_of(one) for one in found}


def profile_of(one: Recipient) -> RecipientSettings:
    """A row as a user sees it; a zone that this machine does not know any more is UTC."""
    try:
        zone = ZoneInfo(one.timezone).key
    except (ValueError, OSError, LookupError):
        zone = "UTC"
    return RecipientSettings(
        timezone=zone,
        quiet_from=_clock(one.quiet_from),
        quiet_until=_clock(one.quiet_until),
        digest_at=_clock(one.digest_at) or "08:00",
        phone=one.phone,
    )


def _preference(one: Preference) -> PreferenceIn:
    return PreferenceIn(push=one.push, sms=one.sms, digest=one.digest)


def _minutes(clock: str | None) -> int | None:
    return None if clock is None else int(clock[:2]) * 60 + int(clock[3:])


def _clock(minutes: int | None) -> str | None:
    return None if minutes is None else f"{minutes // 60:02d}:{minutes % 60:02d}"
