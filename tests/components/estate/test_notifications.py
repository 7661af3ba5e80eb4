"""What users say of how they are to be told, by many requests at once."""

import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from components.database import engine, transaction
from components.estate import listings, notifications, seed
from components.estate.notification_schemas import DeviceIn, PreferenceIn, RecipientSettings
from components.estate.schemas import ListingIn

Change = Callable[[AsyncSession, int], Awaitable[object]]
_AT_ONCE = 8


async def _all_at_once(db: AsyncEngine, change: Change, *, count: int = _AT_ONCE) -> list[object]:
    async def one(number: int) -> object:
        async with transaction(db, write=True) as session:
            return await change(session, number)

    return await asyncio.gather(*map(one, range(count)))


def _device(token: str) -> DeviceIn:
    return DeviceIn(token=token, platform="android")


def test_what_is_said_many_times_at_once_is_kept_once(each_url: str) -> None:
    """An app says it at each start, from each screen, and again when an answer is late."""

    async def run() -> None:
        db = engine(url=each_url)
        await seed.prepare(db=db, listings=0, posts=0)
        wanted = PreferenceIn(sms="always")
        await _all_at_once(
            db, lambda session, _: notifications.set_preference(session, "ann", "price", wanted)
        )
        settings = RecipientSettings(timezone="UTC")
        await _all_at_once(
            db, lambda session, _: notifications.set_settings(session, "ann", settings)
        )
        await _all_at_once(
            db,
            lambda session, _: notifications.add_device(
                session, "ann", _device("the-token-of-ann")
            ),
        )
        await _all_at_once(
            db,
            lambda session, n: notifications.add_device(
                session, f"user-{n}", _device("shared-token")
            ),
        )
        await _all_at_once(
            db,
            lambda session, n: notifications.add_device(
                session, "zoe", _device(f"token-of-zoe-{n}")
            ),
            count=22,
        )
        async with transaction(db, write=False) as session:
            assert (await notifications.preferences_of(session, "ann")).price == wanted
            assert await notifications.settings_of(session, "ann") == settings
            assert len((await notifications.devices_of(session, "ann")).items) == 1
            assert len((await notifications.devices_of(session, "zoe")).items) == 20
            shared = [
                len((await notifications.devices_of(session, f"user-{n}")).items)
                for n in range(_AT_ONCE)
            ]
            assert sum(shared) == 1
        await db.dispose()

    asyncio.run(run())


def test_a_listing_that_is_deleted_meanwhile_is_not_saved(each_url: str) -> None:
    async def run() -> None:
        db = engine(url=each_url)
        await seed.prepare(db=db, listings=0, posts=0)
        offered = ListingIn(
            title="A plot", kind="plot", purpose="sale", status="active", price=1, area_m2=1,
            city="Pune", locality="Baner",
        )  # fmt: skip
        async with transaction(db, write=True) as session:
            id_ = (await listings.create(session, offered, currency="INR")).id

        async def change(session: AsyncSession, number: int) -> object:
            if number == _AT_ONCE // 3:
                return await listings.delete(session, id_)
            return await notifications.save_listing(session, f"user-{number % 4}", id_)

        assert set(await _all_at_once(db, change)) <= {True, False}
        async with transaction(db, write=False) as session:
            for number in range(4):
                assert (await notifications.saved_of(session, f"user-{number}")).items == []
        await db.dispose()

    asyncio.run(run())
