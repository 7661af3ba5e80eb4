"""Notifications on their way: claims, providers that fail, quiet hours, digests, fallback, crashes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.responses import JSONResponse, Response

from components.clients.fcm import FCMClient
from components.clients.sms import SMSClient
from components.database import engine, transaction
from components.estate import notifications, seed
from components.estate.delivery import Courier, End
from components.estate.models import Device, Notification, Preference, Recipient
from components.estate.notification_schemas import (
    DeviceIn,
    News,
    PreferenceIn,
    RecipientSettings,
)
from tests.components.clients.test_fcm import google_error
from tests.components.estate.providers import Providers, providing

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def providers() -> Iterator[Providers]:
    with providing() as made:
        yield made


class World:
    """A database with the service's tables, and a clock that the test sets."""

    def __init__(self, db: AsyncEngine, providers: Providers) -> None:
        self.db = db
        self.providers = providers
        self.time = datetime.now(UTC)
        self.push: FCMClient = providers.fcm()
        self.sms: SMSClient = providers.sms()
        self.clients: list[Any] = [self.push, self.sms]  # closed at the end

    def courier(self, **options: Any) -> Courier:
        given = {"push": self.push, "sms": self.sms, "now": lambda: self.time}
        self.clients += [options[name] for name in ("push", "sms") if options.get(name)]
        return Courier(self.db, **{**given, **options})

    async def deliver(self, **options: Any) -> Counter[str]:
        return await self.courier(**options).deliver()

    async def news(self, *recipients: str, event: str = "e", kind: Any = "visit") -> None:
        async with transaction(self.db, write=True) as session:
            told = News(event=event, kind=kind, title="Title", body=f"Body {event}", link="/x")
            await notifications.notify(session, told, recipients, now=self.time)

    async def user(
        self,
        name: str,
        *,
        devices: int = 1,
        phone: str | None = None,
        preference: PreferenceIn | None = None,
        **settings: Any,
    ) -> None:
        async with transaction(self.db, write=True) as session:
            for number in range(devices):
                wanted = DeviceIn(token=f"token-{name}-{number}", platform="android")
                await notifications.add_device(session, name, wanted)
            wanted_settings = RecipientSettings(phone=phone, **settings)
            await notifications.set_settings(session, name, wanted_settings)
            if preference is not None:
                await notifications.set_preference(session, name, "visit", preference)

    async def rows(self) -> list[Notification]:
        async with transaction(self.db, write=False) as session:
            return [*await session.scalars(select(Notification).order_by(Notification.id))]

    async def states(self) -> list[tuple[str, str]]:
        return [(row.way, row.state) for row in await self.rows()]


@asynccontextmanager
async def world(url: str, providers: Providers) -> Any:
    db = engine(url=url)
    await seed.prepare(db=db, listings=0, posts=0)
    made = World(db, providers)
    try:
        yield made
    finally:
        for client in made.clients:
            await client.aclose()
        await db.dispose()


Story = Callable[[World], Awaitable[None]]


@pytest.fixture(params=["sqlite", "postgres"])
def play(
    request: pytest.FixtureRequest, tmp_path: Path, providers: Providers
) -> Callable[[Story], None]:
    """Plays a story on each kind of database."""
    url = (
        f"sqlite+aiosqlite:///{tmp_path}/e.db"
        if request.param == "sqlite"
        else request.getfixturevalue("postgres")
    )

    def run(story: Story) -> None:
        async def whole() -> None:
            async with world(url, providers) as made:
                await story(made)

        asyncio.run(asyncio.wait_for(whole(), 60))

    return run


def test_a_push_message_reaches_each_device_once(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        await world.user("ann", devices=3)
        await world.news("ann")
        await world.news("ann")  # the same event again
        assert await world.deliver() == {"sent": 1}
        assert await world.deliver() == {}
        assert sorted(token for token, _ in world.providers.pushed) == [
            f"token-ann-{n}" for n in range(3)
        ]
        assert len({key for _, key in world.providers.pushed}) == 1
        (row,) = await world.rows()
        assert (row.state, row.attempts, row.repeats, row.lease) == ("sent", 1, 0, None)

    play(story)


def test_a_device_that_is_gone_is_forgotten_and_a_text_message_takes_its_place(
    play: Callable[[Story], None],
) -> None:
    async def story(world: World) -> None:
        await world.user("ann", devices=2, phone="+919876543210")
        await world.user("bob", devices=1)
        world.providers.dead = {"token-ann-0", "token-ann-1", "token-bob-0"}
        await world.news("ann", "bob", "nobody")
        await world.deliver()
        async with transaction(world.db, write=False) as session:
            assert (await session.scalars(select(Device))).all() == []
        assert [form["To"] for form in world.providers.texts] == ["+919876543210"]
        assert sorted(await world.states()) == [
            ("push", "skipped"),
            ("push", "skipped"),
            ("push", "skipped"),
            ("sms", "sent"),
        ]

    play(story)


@pytest.mark.parametrize("letter", ["क", "🏠"])
def test_a_digest_fits_into_a_push_message_in_any_letters(
    play: Callable[[Story], None], letter: str
) -> None:
    async def story(world: World) -> None:
        world.time = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
        digest = PreferenceIn(digest=True)
        await world.user("ann", timezone="UTC", digest_at="18:00", preference=digest)
        for number in range(6):
            await world.news("ann", event=letter * 199 + str(number))
        world.time = datetime(2026, 7, 1, 18, 0, tzinfo=UTC)
        assert await world.deliver() == {"sent": 6}
        (told,) = world.providers.pushes
        size = sum(len(text.encode()) for text in told["notification"].values())
        assert size + sum(len(text.encode()) for text in told["data"].values()) < 4000
        assert told["notification"]["body"].startswith(f"Title: Body {letter * 199}0")

    play(story)


def test_what_is_put_off_hides_nothing_that_is_due(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        world.time = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
        for number in range(5):
            name = f"asleep-{number}"
            await world.user(name, timezone="UTC", quiet_from="22:00", quiet_until="07:00")
            await world.news(name)
        await world.user("awake")
        await world.news("awake")
        world.time = datetime(2026, 7, 1, 23, 0, tzinfo=UTC)
        assert await world.deliver(batch=2) == {"sent": 1}

    play(story)


def test_what_is_not_wanted_any_more_is_not_sent(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        world.time = datetime(2026, 7, 1, 23, 0, tzinfo=UTC)
        both = PreferenceIn(push=True, sms="always")
        asleep: dict[str, Any] = {"timezone": "UTC", "quiet_from": "22:00", "quiet_until": "07:00"}
        for name in ("ann", "bob", "cid"):
            await world.user(name, phone="+15005550001", preference=both, **asleep)
            await world.news(name)
        async with transaction(world.db, write=True) as session:
            for name, said in (
                ("ann", PreferenceIn(push=False, sms="never")),
                ("bob", PreferenceIn(push=False, sms="always")),
            ):
                await notifications.set_preference(session, name, "visit", said)
        world.time = datetime(2026, 7, 2, 7, 0, tzinfo=UTC)
        assert await world.deliver(batch=2) == {"sent": 3, "skipped": 3}
        sent = [(row.recipient, row.way) for row in await world.rows() if row.state == "sent"]
        assert sorted(sent) == [("bob", "sms"), ("cid", "push"), ("cid", "sms")]
        assert [one["token"] for one in world.providers.pushes] == ["token-cid-0"]
        ended = {row.error for row in await world.rows() if row.state == "skipped"}
        assert ended == {"not wanted any more"}

    play(story)


@pytest.mark.parametrize("said", ["never", "fallback", "always"])
def test_text_messages_follow_the_preference(play: Callable[[Story], None], said: Any) -> None:
    async def story(world: World) -> None:
        wants = PreferenceIn(push=True, sms=said)
        await world.user("reached", phone="+919876543210", preference=wants)
        await world.user("lost", devices=0, phone="+919876543211", preference=wants)
        await world.user(
            "mute", phone="+919876543212", preference=PreferenceIn(push=False, sms=said)
        )
        await world.news("reached", "lost", "mute")
        await world.deliver()
        expected = {
            "never": [],
            "fallback": ["+919876543211", "+919876543212"],
            "always": ["+919876543210", "+919876543211", "+919876543212"],
        }
        assert sorted(form["To"] for form in world.providers.texts) == expected[said]
        assert {token for token, _ in world.providers.pushed} == {"token-reached-0"}

    play(story)


@pytest.mark.parametrize(
    ("fault", "push", "sms"),
    [
        (JSONResponse({}, 503), "waiting", "unknown"),
        (JSONResponse({}, 500), "waiting", "unknown"),
        (JSONResponse({}, 429, {"retry-after": "3600"}), "waiting", "waiting"),
        (google_error(400, "INVALID_ARGUMENT"), "failed", "failed"),
        (Response("rubbish", 200), "waiting", "unknown"),
    ],
    ids=["503", "500", "429", "400", "rubbish"],
)
def test_a_provider_that_fails_loses_nothing(
    tmp_path: Path, providers: Providers, fault: Response, push: str, sms: str
) -> None:
    async def story(world: World) -> None:
        always = PreferenceIn(push=True, sms="always")
        await world.user("ann", phone="+919876543210", preference=always)
        await world.news("ann")
        world.providers.faults = [fault, fault]
        counts = await world.deliver()
        assert dict(await world.states()) == {"push": push, "sms": sms}
        assert counts[push] >= 1
        assert world.providers.texts == []
        world.time += timedelta(hours=1)
        await world.deliver()
        # what waited went out, once; what may have gone out, or was refused, is not tried again
        assert len(world.providers.pushes) == (push == "waiting")
        assert len(world.providers.texts) == (sms == "waiting")

    play_on_sqlite(tmp_path, providers, story)


def play_on_sqlite(tmp_path: Path, providers: Providers, story: Story) -> None:
    async def whole() -> None:
        async with world(f"sqlite+aiosqlite:///{tmp_path}/e.db", providers) as made:
            await story(made)

    asyncio.run(asyncio.wait_for(whole(), 60))


def test_a_provider_that_is_not_there_is_waited_for(tmp_path: Path, providers: Providers) -> None:
    async def story(world: World) -> None:
        always = PreferenceIn(push=True, sms="always")
        await world.user("ann", phone="+919876543210", preference=always)
        await world.news("ann")
        nowhere = {"base_url": "http://127.0.0.1:9"}
        away = {"push": providers.fcm(**nowhere), "sms": providers.sms(**nowhere)}
        assert await world.deliver(**away) == {"waiting": 2}
        rows = await world.rows()
        assert all(row.due_at > world.time and row.error for row in rows)
        assert await world.deliver() == {}  # not before its time
        world.time += timedelta(minutes=20)
        assert await world.deliver() == {"sent": 2}

    play_on_sqlite(tmp_path, providers, story)


def test_a_slow_provider_leaves_a_text_message_unknown_and_a_push_message_waiting(
    tmp_path: Path, providers: Providers
) -> None:
    async def story(world: World) -> None:
        always = PreferenceIn(push=True, sms="always")
        await world.user("ann", phone="+919876543210", preference=always)
        await world.news("ann")
        providers.hold.set()
        short = timedelta(milliseconds=1500)
        slow = {"push": providers.fcm(deadline=short), "sms": providers.sms(deadline=short)}
        await world.deliver(**slow)
        providers.hold.clear()
        assert dict(await world.states()) == {"push": "waiting", "sms": "unknown"}

    play_on_sqlite(tmp_path, providers, story)


def test_credentials_that_are_refused_keep_all_waiting_and_readiness_hears_of_it(
    tmp_path: Path, providers: Providers
) -> None:
    async def story(world: World) -> None:
        always = PreferenceIn(push=True, sms="always")
        for n in range(30):
            await world.user(f"u{n}", phone=f"+9198765432{n:02d}", preference=always)
        await world.news(*(f"u{n}" for n in range(30)))
        assert await world.push.ping()
        providers.refuses = True
        counts = await world.deliver()
        assert set(counts) == {"waiting"}
        assert {state for _, state in await world.states()} == {"waiting"}
        assert not await world.push.ping()
        assert not await world.sms.ping()
        providers.refuses = False
        world.time += timedelta(hours=1)
        assert (await world.deliver())["sent"] == 60
        assert await world.push.ping()
        assert await world.sms.ping()

    play_on_sqlite(tmp_path, providers, story)


def test_without_credentials_all_waits(tmp_path: Path, providers: Providers) -> None:
    async def story(world: World) -> None:
        await world.user("ann")
        await world.news("ann")
        off = {"push": FCMClient(credentials=""), "sms": SMSClient()}
        assert await world.deliver(**off) == {}
        assert await world.states() == [("push", "waiting")]
        assert await world.deliver() == {"sent": 1}

    play_on_sqlite(tmp_path, providers, story)


def test_one_of_two_devices_that_fails_is_tried_again_alone(
    tmp_path: Path, providers: Providers
) -> None:
    async def story(world: World) -> None:
        await world.user("ann", devices=2)
        await world.news("ann")
        providers.faults = [JSONResponse({}, 503)]
        await world.deliver()
        assert [token for token, _ in providers.pushed] == ["token-ann-1"]
        world.time += timedelta(hours=1)
        await world.deliver()
        assert set(providers.pushed.values()) == {1}
        assert len(providers.pushed) == 2

    play_on_sqlite(tmp_path, providers, story)


def test_quiet_hours_are_those_of_the_recipient(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        world.time = datetime(2026, 7, 1, 18, 0, tzinfo=UTC)  # 23:30 in Kolkata, 14:00 in New York
        quiet: dict[str, Any] = {"quiet_from": "22:00", "quiet_until": "07:00"}
        await world.user("kolkata", timezone="Asia/Kolkata", **quiet)
        await world.user("newyork", timezone="America/New_York", **quiet)
        await world.news("kolkata", "newyork")
        assert await world.deliver() == {"sent": 1}
        world.time = datetime(2026, 7, 2, 1, 29, tzinfo=UTC)
        assert await world.deliver() == {}
        world.time = datetime(2026, 7, 2, 1, 30, tzinfo=UTC)
        assert await world.deliver() == {"sent": 1}

    play(story)


def test_what_is_late_is_not_told_in_the_quiet_hours(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        world.time = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
        await world.user("ann", timezone="UTC", quiet_from="22:00", quiet_until="07:00")
        await world.news("ann")
        world.time = datetime(2026, 7, 1, 23, 0, tzinfo=UTC)  # the provider was away till then
        assert await world.deliver() == {}
        world.time = datetime(2026, 7, 2, 7, 0, tzinfo=UTC)
        assert await world.deliver() == {"sent": 1}

    play(story)


@pytest.mark.parametrize(
    ("now", "zone", "quiet", "due"),
    [
        ("2026-03-29T00:30+00:00", "Europe/Berlin", ("01:00", "02:30"), "2026-03-29T01:30+00:00"),
        ("2026-10-25T00:30+00:00", "Europe/Berlin", ("02:00", "03:00"), "2026-10-25T02:00+00:00"),
        # 02:25 comes twice: at 00:25 and at 01:25 of UTC
        ("2026-10-25T00:20+00:00", "Europe/Berlin", ("22:00", "02:25"), "2026-10-25T00:25+00:00"),
        ("2026-10-25T01:05+00:00", "Europe/Berlin", ("22:00", "02:25"), "2026-10-25T01:25+00:00"),
        (
            "2026-11-01T06:20+00:00",
            "America/New_York",
            ("20:00", "01:25"),
            "2026-11-01T06:25+00:00",
        ),
        (
            "2026-04-04T15:05+00:00",
            "Australia/Lord_Howe",
            ("20:00", "01:55"),
            "2026-04-04T15:25+00:00",
        ),
        ("2026-11-01T05:05+00:00", "America/Havana", ("20:00", "00:25"), "2026-11-01T05:25+00:00"),
        ("2026-07-01T10:00+00:00", "UTC", ("09:00", "17:00"), "2026-07-01T17:00+00:00"),
        ("2026-07-01T17:00+00:00", "UTC", ("09:00", "17:00"), "2026-07-01T17:00+00:00"),
        ("2026-07-01T08:59+00:00", "UTC", ("09:00", "17:00"), "2026-07-01T08:59+00:00"),
        ("2026-07-01T23:00+00:00", "UTC", ("22:00", "07:00"), "2026-07-02T07:00+00:00"),
        ("2026-07-01T06:59+00:00", "UTC", ("22:00", "07:00"), "2026-07-01T07:00+00:00"),
    ],
)
def test_the_end_of_quiet_hours_is_by_the_recipients_clock(
    now: str, zone: str, quiet: tuple[str, str], due: str
) -> None:
    profile = RecipientSettings(timezone=zone, quiet_from=quiet[0], quiet_until=quiet[1])
    found = notifications.due_at(datetime.fromisoformat(now), profile, digest=False)
    assert found == datetime.fromisoformat(due)


def test_a_digest_is_one_message(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        world.time = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
        digest = PreferenceIn(digest=True)
        await world.user("ann", timezone="UTC", digest_at="18:00", preference=digest)
        await world.user("bob", timezone="UTC", digest_at="18:00", preference=digest)
        for n in range(7):
            await world.news("ann", event=f"e{n}")
        await world.news("bob", event="only")
        assert await world.deliver() == {}
        world.time = datetime(2026, 7, 1, 18, 0, tzinfo=UTC)
        assert await world.deliver(batch=3) == {"sent": 8}  # a batch cuts no digest
        told = {one["token"]: one["notification"] for one in world.providers.pushes}
        assert len(world.providers.pushes) == 2
        assert told["token-ann-0"]["title"] == "7 news for you"
        assert told["token-ann-0"]["body"].endswith("and 2 more")
        assert told["token-bob-0"]["title"] == "Title"
        assert {state for _, state in await world.states()} == {"sent"}

    play(story)


def test_a_lease_that_ends_is_taken_over_and_one_that_is_renewed_is_not(
    play: Callable[[Story], None],
) -> None:
    async def story(world: World) -> None:
        await world.user("ann")
        await world.user(
            "bob", devices=0, phone="+919876543210", preference=PreferenceIn(push=False)
        )
        await world.news("ann", "bob")
        dead = world.courier()
        parcels = await dead.claim("lease-of-the-dead", ["push", "sms"])
        assert len(parcels) == 2
        assert await world.deliver() == {}  # they are claimed
        world.time += timedelta(seconds=61)
        counts = await world.deliver()
        assert (counts["taken back"], counts["sent"]) == (2, 2)
        by_way = {row.way: row for row in await world.rows()}
        assert (by_way["push"].repeats, by_way["sms"].repeats) == (1, 0)  # no text had gone out
        # the dead one comes back to life, and records nothing
        await dead.record(parcels[0], "lease-of-the-dead", End("failed"))
        assert {state for _, state in await world.states()} == {"sent"}

    play(story)


def test_a_text_message_whose_sender_died_ends_as_unknown(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        await world.user(
            "bob", devices=0, phone="+919876543210", preference=PreferenceIn(push=False)
        )
        await world.news("bob")
        dead = world.courier()
        (parcel,) = await dead.claim("dead", ["sms"])
        assert await dead._note_sending(parcel, "dead")
        world.time += timedelta(seconds=61)
        assert (await world.deliver()) == {"unknown": 1}
        assert await world.states() == [("sms", "unknown")]
        assert world.providers.texts == []

    play(story)


def test_many_couriers_send_each_row_once(play: Callable[[Story], None]) -> None:
    async def story(world: World) -> None:
        names = [f"u{n}" for n in range(60)]  # SQLite lets nobody write by turns
        async with transaction(world.db, write=True) as session:
            for name in names:
                wanted = DeviceIn(token=f"token-{name}", platform="web")
                await notifications.add_device(session, name, wanted)
        await world.news(*names)
        counts = await asyncio.gather(*(world.deliver(batch=10) for _ in range(4)))
        assert sum(count["sent"] for count in counts) == 60
        assert len(world.providers.pushed) == 60
        assert set(world.providers.pushed.values()) == {1}

    play(story)


def test_what_cannot_be_delivered_for_days_is_given_up(
    tmp_path: Path, providers: Providers
) -> None:
    async def story(world: World) -> None:
        await world.user("ann")
        await world.news("ann")
        providers.faults = [JSONResponse({}, 503)]
        await world.deliver()
        async with transaction(world.db, write=True) as session:
            old = datetime.now(UTC) - timedelta(days=3)
            await session.execute(update(Notification).values(created_at=old))
        world.time += timedelta(days=3)
        assert await world.deliver() == {"failed": 1}
        (row,) = await world.rows()
        assert row.error is not None
        assert row.error.startswith("not delivered in time")

    play_on_sqlite(tmp_path, providers, story)


CRASHES = [
    "before commit",
    "after commit",
    "before claim",
    "after claim",
    "before send",
    "after send",
    "before record",
    "after record",
]


@pytest.mark.parametrize("where", CRASHES)
def test_a_process_that_is_killed_loses_nothing(
    where: str, postgres: str, providers: Providers
) -> None:
    """One push and one text message; the process is killed at one step, and another one goes on."""
    asyncio.run(_prepared(postgres))
    environment = {**os.environ, "WHERE": where, "URL": postgres, "PROVIDERS": providers.url}
    done = subprocess.run(
        [sys.executable, "-m", "tests.components.estate.crashing"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    states = asyncio.run(_gone_on(postgres, providers))
    pushes = sum(providers.pushed.values())
    if where == "before commit":  # then nothing has happened, and nobody is told
        assert states == {}
        assert pushes == len(providers.texts) == 0
        return
    assert states["push"] == "sent"
    repeated = where in {"after send", "before record"}
    assert pushes == 1 + repeated
    assert len(providers.pushed) == 1  # the same device, the same key
    may_have_gone_out = where in {"before send", "after send", "before record"}
    assert states["sms"] == ("unknown" if may_have_gone_out else "sent")
    assert len(providers.texts) == (0 if where == "before send" else 1)


async def _prepared(url: str) -> None:
    db = engine(url=url)
    await seed.prepare(db=db, listings=0, posts=0)
    async with transaction(db, write=True) as session:
        session.add(
            Device(owner="ann", token="token-ann", platform="ios", created_at=datetime.now(UTC))
        )
        session.add(Recipient(owner="ann", timezone="UTC", digest_at=0, phone="+919876543210"))
        session.add(Preference(owner="ann", kind="visit", push=True, sms="always", digest=False))
    await db.dispose()


async def _gone_on(url: str, providers: Providers) -> dict[str, str]:
    """What became of the rows when another process had delivered, after the lease."""
    db = engine(url=url)
    push, sms = providers.fcm(), providers.sms()
    later = datetime.now(UTC) + timedelta(minutes=2)
    await Courier(db, push, sms, now=lambda: later).deliver()
    async with transaction(db, write=False) as session:
        rows = (await session.scalars(select(Notification))).all()
    await push.aclose()
    await sms.aclose()
    await db.dispose()
    return {row.way: row.state for row in rows}


@pytest.mark.timeout(240)
def test_four_processes_that_are_killed_again_and_again_deliver_all(
    postgres: str, providers: Providers
) -> None:
    """Of the rows of processes that died some pushes are doubled: not more than were under way."""
    count = int(os.environ.get("DELIVERED_ROWS", "1000"))

    async def prepared() -> None:
        db = engine(url=postgres)
        await seed.prepare(db=db, listings=0, posts=0)
        names = [f"u{n}" for n in range(count)]
        async with transaction(db, write=True) as session:
            now = datetime.now(UTC)
            session.add_all(
                Device(owner=name, token=f"token-{name}", platform="web", created_at=now)
                for name in names
            )
            await session.flush()
            told = News(event="e", kind="visit", title="Title", body="Body", link="/x")
            await notifications.notify(session, told, names)
        await db.dispose()

    asyncio.run(prepared())
    environment = {**os.environ, "WHERE": "deliver", "URL": postgres, "PROVIDERS": providers.url}

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.components.estate.crashing"]
        return subprocess.Popen(command, cwd=ROOT, env=environment)

    async def left(db: AsyncEngine) -> int:
        async with transaction(db, write=False) as session:
            states = (await session.scalars(select(Notification.state))).all()
        return sum(state != "sent" for state in states)

    async def watch() -> tuple[int, int]:
        db = engine(url=postgres)
        processes = [start() for _ in range(4)]
        kills = 0
        try:
            async with asyncio.timeout(200 if count <= 2000 else 900):
                while remaining := await left(db):
                    await asyncio.sleep(0.25)
                    if kills < 8 and remaining < count * (1 - (kills + 1) / 10):
                        victim = processes.pop(0)
                        victim.kill()
                        await asyncio.to_thread(victim.wait, 30)
                        processes.append(start())
                        kills += 1
        finally:
            for process in processes:
                process.kill()
                process.wait(timeout=30)
        async with transaction(db, write=False) as session:
            repeats = sum((await session.scalars(select(Notification.repeats))).all())
        await db.dispose()
        return kills, repeats

    kills, repeats = asyncio.run(watch())
    doubled = sum(number - 1 for number in providers.pushed.values())
    print(json.dumps({"rows": count, "kills": kills, "doubled": doubled, "repeats": repeats}))
    assert len(providers.pushed) == count  # none lost
    assert kills >= 4
    assert doubled <= repeats  # each is counted
