"""Retries: when the next try is, and when there is none."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.clients.retry import Attempts, retry_after_seconds

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Clock:
    """Time that passes only while one waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    async def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def attempts(clock: Clock, retries: int, deadline: float, spread: float = 1.0) -> Attempts:
    return Attempts(
        retries=retries,
        deadline=timedelta(seconds=deadline),
        clock=lambda: clock.now,
        wait=clock.wait,
        spread=lambda: spread,
    )


def spent(tries: Attempts, retry_after: str | None = None) -> int:
    async def run() -> int:
        count = 0
        while await tries.again(retry_after):
            count += 1
        return count

    return asyncio.run(run())


def test_waits_double_up_to_a_bound() -> None:
    clock = Clock()
    assert spent(attempts(clock, 8, 1000)) == 8
    assert clock.waits == [0.5, 1, 2, 4, 8, 16, 20, 20]


def test_waits_are_spread_over_their_upper_half() -> None:
    clock = Clock()
    spent(attempts(clock, 1, 10, spread=0.0))
    assert clock.waits == [0.25]


def test_a_wait_that_would_pass_the_deadline_is_not_begun() -> None:
    clock = Clock()
    assert spent(attempts(clock, 9, 4)) == 3
    assert clock.now == 3.5


def test_a_longer_retry_after_holds_and_a_shorter_one_does_not() -> None:
    clock = Clock()
    assert spent(attempts(clock, 1, 60), "7") == 1
    assert spent(attempts(clock, 1, 60), "0") == 1
    assert clock.waits == [7, 0.5]
    assert spent(attempts(clock, 1, 60), "61") == 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("1.5", 1.5),
        ("9" * 400, 1e9),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30.0),
        ("Mon, 23 Nov 2026 12:00:30 -0000", 30.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("-1", None),
        ("soon", None),
        ("", None),
        ("inf", None),
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2020 00:00:00 +99999999999999", None),
        ("Mon, 01 Jan 2020 25:00:00 GMT", None),
        (None, None),
    ],
)
def test_what_retry_after_says(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value, NOW) == seconds


@given(st.text(max_size=40))
def test_no_text_of_retry_after_raises(text: str) -> None:
    seconds = retry_after_seconds(text, NOW)
    assert seconds is None or seconds >= 0
