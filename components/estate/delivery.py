"""The outbox of notifications -> push and text messages, each by one of any number of processes.

In: rows that are due. Out: messages at the providers, and what became of each row: `sent`, `failed`,
`skipped` (nobody to send it to, or not wanted any more), `unknown` (a text message of which nobody can
say whether it went out), or `waiting` again. A row is claimed for the time of a lease, which is renewed
while it is worked at; the lease of a process that died ends, and another one takes its rows.

Neither provider knows idempotency keys. A push message whose sender died is sent again, under the
`collapse_key` that it had, so that a device shows it once; `repeats` counts that. A text message is
noted before it is sent, and where its sender died then it is not sent again: it ends as `unknown`.

While a provider is off, or refuses its credentials, its rows wait.
"""

import asyncio
import hashlib
import logging
import random
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import case, delete, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from components.clients.faults import (
    AuthenticationError,
    ClientError,
    LimitError,
    RequestError,
    UnavailableError,
)
from components.clients.fcm import OF_ONE_DEVICE
from components.database import transaction
from components.estate import notifications
from components.estate.models import Device, Notification, Recipient
from components.estate.notification_schemas import News, RecipientSettings

logger = logging.getLogger("components.estate")

_BATCH = 100
_AT_ONCE = 25
_FIRST_PAUSE = timedelta(seconds=5)
_LONGEST_PAUSE = timedelta(minutes=15)
_LONGEST_ERROR = 400
_LONGEST_PUSH_BYTES = 2500  # with title and data FCM takes 4096, and a digest has five lines
_DEAD = frozenset({"UNREGISTERED"})


class PushClient(Protocol):
    """`components.clients.fcm.FCMClient`, or what stands in for it."""

    @property
    def is_on(self) -> bool: ...
    async def send(self, message: dict[str, Any]) -> str: ...


class TextClient(Protocol):
    """`components.clients.sms.SMSClient`, or what stands in for it."""

    @property
    def is_on(self) -> bool: ...
    async def send(self, to: str, body: str) -> Any: ...


class CredentialsRefused(Exception):  # noqa: N818  # reads as what happened
    """A provider refuses our credentials: what waits for it waits on."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent as one message: a row, or the rows of a digest. All have one recipient and way."""

    rows: tuple[Notification, ...]
    profile: RecipientSettings
    devices: tuple[tuple[int, str], ...] = ()

    @property
    def first(self) -> Notification:
        """The oldest row."""
        return self.rows[0]

    @property
    def key(self) -> str:
        """The same whenever it is sent: by it a device tells that it has it already."""
        if not self.first.digest:
            return f"estate-{self.first.id}"
        who = hashlib.sha256(self.first.recipient.encode()).hexdigest()[:16]
        return f"estate-{who}-{int(self.first.due_at.timestamp())}"

    @property
    def title(self) -> str:
        """What stands above."""
        return self.first.title if len(self.rows) == 1 else f"{len(self.rows)} news for you"

    @property
    def body(self) -> str:
        """What it says; of a digest the first few."""
        if len(self.rows) == 1:
            return self.first.body
        lines = [f"{row.title}: {row.body}" for row in self.rows[:5]]
        more = len(self.rows) - 5
        return "\n".join([*lines, *([f"and {more} more"] if more > 0 else [])])


@dataclass(frozen=True, slots=True)
class End:
    """What became of a parcel."""

    state: str
    error: str | None = None
    reached: tuple[int, ...] = ()
    falls_back: bool = False


@dataclass(slots=True)
class Courier:
    """Delivers for one process. `lease` is how long the rows of one that died wait."""

    db: AsyncEngine
    push: PushClient | None
    sms: TextClient | None
    lease: timedelta = timedelta(seconds=60)
    give_up: timedelta = timedelta(days=2)
    batch: int = _BATCH
    now: Callable[[], datetime] | None = None
    counts: Counter[str] = field(default_factory=Counter)

    async def deliver(self, until: Callable[[], bool] = lambda: False) -> Counter[str]:
        """Deliver until nothing is due, or `until` says so; return what became of how many rows."""
        await self.reap()
        ways = [name for name in ("push", "sms") if self._is_on(name)]
        while ways and not until():
            lease = str(uuid.uuid4())
            parcels = await self.claim(lease, ways)
            if not parcels:
                break
            refused = await self._work(parcels, lease)
            ways = [name for name in ways if name not in refused]
        return self.counts

    async def reap(self) -> None:
        """Take back what processes that died had claimed."""
        async with transaction(self.db, write=True) as session:
            now = await self._time(session)
            is_late = Notification.lease_until < now
            unknown = await session.scalars(
                update(Notification)
                .where(is_late, Notification.state == "sending", Notification.way == "sms")
                .values(state="unknown", lease=None, lease_until=None, ended_at=now)
                .returning(Notification.id),
                execution_options={"synchronize_session": False},
            )
            again = await session.scalars(
                update(Notification)
                .where(is_late, Notification.state.in_(("claimed", "sending")))
                .values(
                    state="waiting",
                    lease=None,
                    lease_until=None,
                    repeats=Notification.repeats + case((Notification.way == "push", 1), else_=0),
                )
                .returning(Notification.id),
                execution_options={"synchronize_session": False},
            )
            counted = {"unknown": len(unknown.all()), "taken back": len(again.all())}
        for what, number in counted.items():
            if number:
                self.counts[what] += number
                logger.warning("notifications of a process that died: %d %s", number, what)

    async def claim(self, lease: str, ways: Sequence[str]) -> list[Parcel]:
        """Claim what is due for these ways, and put off what must not be told now."""
        while True:
            async with transaction(self.db, write=True) as session:
                now = await self._time(session)
                due = await self._due(session, ways, now)
                unwanted = await self._unwanted(session, due)
                for row in unwanted:
                    row.state, row.ended_at, row.error = "skipped", now, "not wanted any more"
                rows = [row for row in due if row not in unwanted]
                parcels = await self._parcels(session, rows, now)
                for row in rows:
                    if row.due_at <= now:
                        row.state, row.lease, row.lease_until = "claimed", lease, now + self.lease
                        row.attempts += 1
            if unwanted:
                self.counts["skipped"] += len(unwanted)
            if parcels or not due:  # what was left out or put off hides nothing that is due
                return parcels

    async def record(self, parcel: Parcel, lease: str, end: End) -> None:
        """Write down what became of a parcel, unless another process has its rows by now."""
        async with transaction(self.db, write=True) as session:
            now = await self._time(session)
            values: dict[str, Any] = {
                "state": end.state,
                "lease": None,
                "lease_until": None,
                "error": end.error[:_LONGEST_ERROR] if end.error else None,
                "reached": [*end.reached],
            }
            if end.state == "waiting":
                pause = min(_FIRST_PAUSE * 2 ** min(parcel.first.attempts, 12), _LONGEST_PAUSE)
                values["due_at"] = now + pause * (0.5 + random.random() / 2)  # noqa: S311  # no secret
            else:
                values["ended_at"] = now
            ids = [row.id for row in parcel.rows]
            ours = await session.scalars(
                update(Notification)
                .where(Notification.id.in_(ids), Notification.lease == lease)
                .values(**values)
                .returning(Notification.id),
                execution_options={"synchronize_session": False},
            )
            recorded = len(ours.all())
            if recorded and end.falls_back:
                await self._fall_back(session, parcel, now)
        self.counts[end.state] += recorded

    def _is_on(self, way: str) -> bool:
        client: Any = self.push if way == "push" else self.sms
        return client is not None and client.is_on

    async def _time(self, session: AsyncSession) -> datetime:
        """The time by which leases are judged: that of the database, which all processes share."""
        if self.now is not None:
            return self.now()
        if session.get_bind().dialect.name != "postgresql":
            return datetime.now(UTC)
        found: datetime | None = await session.scalar(select(func.clock_timestamp()))
        return found or datetime.now(UTC)

    async def _due(
        self, session: AsyncSession, ways: Sequence[str], now: datetime
    ) -> list[Notification]:
        """A batch of what is due, with the rest of the digests in it."""
        is_due = (
            Notification.state == "waiting",
            Notification.due_at <= now,
            Notification.way.in_(ways),
        )
        due = select(Notification.id).where(*is_due)
        due = due.order_by(Notification.due_at, Notification.id).limit(self.batch)
        found = await session.scalars(
            select(Notification)
            .where(Notification.id.in_(due.with_for_update(skip_locked=True)))
            .order_by(Notification.id)
        )
        rows = [*found]
        return rows + await self._rest_of_digests(session, rows, is_due)

    async def _rest_of_digests(
        self, session: AsyncSession, rows: list[Notification], is_due: tuple[Any, ...]
    ) -> list[Notification]:
        """What else is due for those whose digest is sent, so that they get one message."""
        owners = {row.recipient for row in rows if row.digest}
        if not owners:
            return []
        known = [row.id for row in rows]
        found = await session.scalars(
            select(Notification)
            .where(
                *is_due,
                Notification.digest,
                Notification.recipient.in_(owners),
                Notification.id.not_in(known),
            )
            .order_by(Notification.id)
            .limit(self.batch * 10)
            .with_for_update(skip_locked=True)
        )
        return [*found]

    async def _unwanted(
        self, session: AsyncSession, rows: list[Notification]
    ) -> list[Notification]:
        """What its recipient has said meanwhile not to want in this way."""
        found = []
        for kind in sorted({row.kind for row in rows}):
            owners = sorted({row.recipient for row in rows if row.kind == kind})
            wanted = await notifications.preferences_for(session, kind, owners)
            for row in rows:
                said = wanted.get(row.recipient) if row.kind == kind else None
                if said and (not said.push if row.way == "push" else said.sms == "never"):
                    found.append(row)
        return found

    async def _parcels(
        self, session: AsyncSession, rows: list[Notification], now: datetime
    ) -> list[Parcel]:
        owners = sorted({row.recipient for row in rows})
        profiles = {
            one.owner: notifications.profile_of(one)
            for one in await session.scalars(select(Recipient).where(Recipient.owner.in_(owners)))
        }
        devices: dict[str, list[tuple[int, str]]] = {}
        found = await session.scalars(
            select(Device).where(Device.owner.in_(owners)).order_by(Device.id)
        )
        for device in found:
            devices.setdefault(device.owner, []).append((device.id, device.token))
        heaps: dict[Any, list[Notification]] = {}
        for row in rows:
            profile = profiles.get(row.recipient, RecipientSettings())
            allowed = notifications.due_at(now, profile, digest=False)
            if allowed > now:  # it is late, and they sleep by now
                row.due_at = allowed
                continue
            heaps.setdefault((row.recipient, row.way) if row.digest else row.id, []).append(row)
        return [
            Parcel(
                tuple(heap),
                profiles.get(heap[0].recipient, RecipientSettings()),
                tuple(devices.get(heap[0].recipient, ())),
            )
            for heap in heaps.values()
        ]

    async def _work(self, parcels: list[Parcel], lease: str) -> set[str]:
        """Send and record all; return the ways whose provider refuses our credentials."""
        refused: set[str] = set()
        left = iter(parcels)

        async def work() -> None:
            for parcel in left:
                try:
                    end = await self._sent(parcel, lease)
                except CredentialsRefused as error:
                    refused.add(parcel.first.way)
                    end = End("waiting", str(error))
                await self.record(parcel, lease, end)

        beat = asyncio.create_task(self._renew(lease))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(_AT_ONCE, len(parcels))):
                    group.create_task(work())
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)
        return refused

    async def _renew(self, lease: str) -> None:
        """Keep the lease while there is work under it."""
        while True:
            await asyncio.sleep(self.lease.total_seconds() / 3)
            try:
                async with transaction(self.db, write=True) as session:
                    now = await self._time(session)
                    await session.execute(
                        update(Notification)
                        .where(Notification.lease == lease)
                        .values(lease_until=now + self.lease),
                        execution_options={"synchronize_session": False},
                    )
            except Exception as error:  # noqa: BLE001  # tried again while the lease lasts
                logger.warning("a lease was not renewed: %s", type(error).__name__)

    async def _sent(self, parcel: Parcel, lease: str) -> End:
        if datetime.now(UTC) - parcel.first.created_at > self.give_up and parcel.first.attempts > 1:
            return End("failed", f"not delivered in time: {parcel.first.error or ''}".rstrip(": "))
        if parcel.first.way == "push":
            return await self._pushed(parcel)
        return await self._texted(parcel, lease)

    async def _pushed(self, parcel: Parcel) -> End:
        assert self.push is not None  # noqa: S101  # only ways that are on are claimed
        if not parcel.devices:
            return End("skipped", "no device", falls_back=True)
        reached = set(parcel.first.reached)
        faults: list[ClientError] = []
        dead: list[str] = []
        for device, token in parcel.devices:
            if device in reached:
                continue
            try:
                await self.push.send(message_of(parcel, token))
            except ClientError as error:
                if isinstance(error, AuthenticationError) and error.code not in OF_ONE_DEVICE:
                    raise CredentialsRefused(str(error)) from error
                if error.code in _DEAD:
                    dead.append(token)
                else:
                    faults.append(error)
            else:
                reached.add(device)
        await self._forget_devices(dead)
        return _end_of_push(faults, tuple(sorted(reached)))

    async def _forget_devices(self, tokens: list[str]) -> None:
        if tokens:
            async with transaction(self.db, write=True) as session:
                await session.execute(delete(Device).where(Device.token.in_(tokens)))
            self.counts["devices forgotten"] += len(tokens)

    async def _texted(self, parcel: Parcel, lease: str) -> End:
        assert self.sms is not None  # noqa: S101  # only ways that are on are claimed
        phone = parcel.profile.phone
        if phone is None:
            return End("skipped", "no phone number")
        if not await self._note_sending(parcel, lease):
            return End("waiting")  # it is another's by now: what is recorded then is nothing
        text = f"{parcel.title}\n{parcel.body}"[:600]
        try:
            await self.sms.send(phone, text)
        except AuthenticationError as error:
            raise CredentialsRefused(str(error)) from error
        except ClientError as error:
            if error.maybe_done:
                return End("unknown", str(error))
            is_for_now = isinstance(error, LimitError | UnavailableError)
            return End("waiting" if is_for_now else "failed", str(error))
        except ValueError as error:
            return End("failed", str(error))
        return End("sent")

    async def _note_sending(self, parcel: Parcel, lease: str) -> bool:
        """Write down that a text message is about to go out; False where it is not ours any more."""
        async with transaction(self.db, write=True) as session:
            now = await self._time(session)
            ids = [row.id for row in parcel.rows]
            ours = await session.scalars(
                update(Notification)
                .where(
                    Notification.id.in_(ids),
                    Notification.lease == lease,
                    or_(Notification.lease_until >= now, Notification.lease_until.is_(None)),
                )
                .values(state="sending")
                .returning(Notification.id),
                execution_options={"synchronize_session": False},
            )
            return len(ours.all()) == len(ids)

    async def _fall_back(self, session: AsyncSession, parcel: Parcel, now: datetime) -> None:
        """Have a text message sent in place of a push message, where the recipient wants that."""
        if parcel.profile.phone is None:
            return
        preferences = await notifications.preferences_of(session, parcel.first.recipient)
        rows = []
        for one in parcel.rows:
            if getattr(preferences, one.kind).sms == "fallback":
                news = News(
                    event=one.event, kind=one.kind, title=one.title, body=one.body, link=one.link
                )
                rows.append(
                    notifications.row(news, one.recipient, "sms", now, now, digest=one.digest)
                )
        if rows:
            await notifications.keep(session, rows)


def message_of(parcel: Parcel, token: str) -> dict[str, Any]:
    """A push message as FCM takes it."""
    return {
        "token": token,
        "notification": {"title": parcel.title, "body": _shortened(parcel.body)},
        "data": {"link": parcel.first.link, "kind": parcel.first.kind, "key": parcel.key},
        "android": {"collapse_key": parcel.key, "notification": {"tag": parcel.key}},
        "apns": {"headers": {"apns-collapse-id": parcel.key}},
        "webpush": {"headers": {"Topic": parcel.key[:32]}},
    }


def _shortened(text: str) -> str:
    """As much of a text as a push message holds, whatever letters it is in."""
    if len(text.encode()) <= _LONGEST_PUSH_BYTES:
        return text
    return text.encode()[:_LONGEST_PUSH_BYTES].decode("utf-8", "ignore") + "…"


def _end_of_push(faults: list[ClientError], reached: tuple[int, ...]) -> End:
    """Judge what all devices together came to."""
    passing = [error for error in faults if not isinstance(error, RequestError)]
    if passing:
        return End("waiting", str(passing[0]), reached)
    if reached:
        return End("sent", str(faults[0]) if faults else None, reached)
    reason = str(faults[0]) if faults else "no device is left"
    return End("failed" if faults else "skipped", reason, falls_back=True)


def summary(counts: Counter[str]) -> str:
    """Counts in one line."""
    return ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
