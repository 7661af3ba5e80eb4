"""Keys are fetched once for many, again when they age or rotate, and never more often than agreed."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from components.mcp.keys import KeySet, KeysUnavailable, UnknownKey
from tests.components.mcp.issuer import KeyServer, ec_key, rsa_key, start_key_server
from tests.servers import free_port

SECOND = timedelta(seconds=1)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def with_keys(story: Callable[[KeySet, KeyServer, Clock], Awaitable[None]], **options: Any) -> None:
    """Run `story` with a set of which `ec-1` is published, fresh for 10 minutes."""
    with start_key_server(ec_key()) as server:
        clock = Clock()
        usual = {"ttl": 600 * SECOND, "refresh_interval": 10 * SECOND, "deadline": 5 * SECOND}
        keys = KeySet(server.url, **{**usual, **options}, clock=clock)
        asyncio.run(_told(story, keys, server, clock))


async def _told(story: Any, keys: KeySet, server: KeyServer, clock: Clock) -> None:
    await story(keys, server, clock)
    await keys.aclose()


async def settled(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # what is waited for happens in another thread
            await asyncio.sleep(0.005)


def test_one_fetch_serves_all_who_wait_and_all_who_come_later() -> None:
    async def story(keys: KeySet, server: KeyServer, clock: Clock) -> None:
        await asyncio.gather(*(keys.key("ec-1", "ES256") for _ in range(50)))
        clock.now += 599
        await keys.key("ec-1", "ES256")
        assert server.asked == 1
        assert server.headers[0]["Accept"] == "application/json"

    with_keys(story)


def test_a_rotated_key_is_found_by_its_unknown_kid() -> None:
    async def story(keys: KeySet, server: KeyServer, clock: Clock) -> None:
        await keys.key("ec-1", "ES256")
        server.keys = [ec_key("ec-2").jwk(), rsa_key().jwk()]
        clock.now += 10
        assert (await keys.key("ec-2", "ES256")).key_id == "ec-2"
        assert (await keys.key("rsa-1", "RS256")).key_id == "rsa-1"
        assert server.asked == 2
        with pytest.raises(UnknownKey):  # and the old one has gone
            await keys.key("ec-1", "ES256")

    with_keys(story)


def test_made_up_kids_cause_a_fetch_per_interval_and_no_more() -> None:
    async def story(keys: KeySet, server: KeyServer, clock: Clock) -> None:
        await keys.key("ec-1", "ES256")
        for second in range(40):
            clock.now = 1000.0 + second
            for number in range(5):
                with pytest.raises(UnknownKey):
                    await keys.key(f"made up {second} {number}", "ES256")
        assert server.asked == 4
        await keys.key("ec-1", "ES256")

    with_keys(story)


def test_keys_that_have_aged_are_used_while_new_ones_are_fetched() -> None:
    async def story(keys: KeySet, server: KeyServer, clock: Clock) -> None:
        await keys.key("ec-1", "ES256")
        server.gate.clear()
        clock.now += 600
        async with asyncio.timeout(15):
            await keys.key("ec-1", "ES256")
        await settled(lambda: server.asked == 2)
        server.gate.set()

    with_keys(story, deadline=60 * SECOND)


def test_while_the_set_is_away_nobody_is_called_a_liar() -> None:
    async def story(keys: KeySet, server: KeyServer, clock: Clock) -> None:
        server.status = 500
        for _ in range(3):
            with pytest.raises(KeysUnavailable) as caught:
                await keys.key("ec-1", "ES256")
            assert caught.value.seconds == 10
        assert server.asked == 1
        clock.now += 9.5
        with pytest.raises(KeysUnavailable) as caught:
            await keys.key("ec-1", "ES256")
        assert (caught.value.seconds, server.asked) == (1, 1)
        server.status = 200
        clock.now += 0.5
        await keys.key("ec-1", "ES256")

    with_keys(story)


def test_known_keys_outlive_an_outage_by_an_hour_and_unknown_ones_are_not_judged() -> None:
    async def story(keys: KeySet, server: KeyServer, clock: Clock) -> None:
        await keys.key("ec-1", "ES256")
        server.status = 503
        for minute in range(11, 69):
            clock.now = 1000.0 + 60 * minute
            await keys.key("ec-1", "ES256")
            asked = server.asked
            await settled(lambda asked=asked: server.asked >= asked)  # type: ignore[misc]  # bound at once
        clock.now += 20
        with pytest.raises(KeysUnavailable):
            await keys.key("ec-2", "ES256")
        clock.now = 1000.0 + 600 + 3600
        with pytest.raises(KeysUnavailable):
            await keys.key("ec-1", "ES256")

    with_keys(story)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"keys": {}}', b'{"keys": 5}', b"x" * 300_000, b"[" * 100_000],
)
def test_an_answer_that_is_no_key_set_is_as_none(body: bytes) -> None:
    async def story(keys: KeySet, server: KeyServer, clock: Clock) -> None:
        server.body = body
        with pytest.raises(KeysUnavailable):
            await keys.key("ec-1", "ES256")

    with_keys(story)


def test_a_redirect_is_not_followed() -> None:
    async def story(keys: KeySet, server: KeyServer, clock: Clock) -> None:
        server.status = 302
        with pytest.raises(KeysUnavailable):
            await keys.key("ec-1", "ES256")
        assert server.asked == 1

    with_keys(story)


def test_a_server_that_does_not_answer_is_given_up_at_the_deadline() -> None:
    async def story(keys: KeySet, server: KeyServer, clock: Clock) -> None:
        server.gate.clear()
        with pytest.raises(KeysUnavailable):
            await keys.key("ec-1", "ES256")
        server.gate.set()

    with_keys(story, deadline=timedelta(milliseconds=200))


def test_a_port_where_nobody_listens_is_an_outage() -> None:
    async def story() -> None:
        keys = KeySet(
            f"http://127.0.0.1:{free_port()}/",
            ttl=SECOND,
            refresh_interval=SECOND,
            deadline=5 * SECOND,
        )
        with pytest.raises(KeysUnavailable):
            await keys.key("ec-1", "ES256")
        await keys.aclose()

    asyncio.run(story())


def test_a_request_that_goes_away_does_not_end_the_fetch_for_others() -> None:
    async def story(keys: KeySet, server: KeyServer, clock: Clock) -> None:
        server.gate.clear()
        first = asyncio.create_task(keys.key("ec-1", "ES256"))
        await settled(lambda: server.asked == 1)
        second = asyncio.create_task(keys.key("ec-1", "ES256"))
        first.cancel()
        await asyncio.wait({first})
        server.gate.set()
        assert (await second).key_id == "ec-1"
        assert server.asked == 1

    with_keys(story)


def test_closing_ends_a_fetch_that_runs() -> None:
    async def story(keys: KeySet, server: KeyServer, clock: Clock) -> None:
        server.gate.clear()
        waiting = asyncio.create_task(keys.key("ec-1", "ES256"))
        await settled(lambda: server.asked == 1)
        async with asyncio.timeout(15):
            await keys.aclose()
            with pytest.raises(KeysUnavailable):
                await waiting
        server.gate.set()

    with_keys(story, deadline=60 * SECOND)
