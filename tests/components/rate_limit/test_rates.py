import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.rate_limit.rates import MAX_PERIOD_SECONDS, Rate, parse_rate, parse_rates


@pytest.mark.parametrize(
    ("text", "quota", "seconds"),
    [
        ("500/minute", 500, 60),
        ("10/second", 10, 1),
        ("1000/5 minutes", 1000, 300),
        ("1000 / 5 minutes", 1000, 300),
        ("3/hour", 3, 3600),
        ("1/31 days", 1, MAX_PERIOD_SECONDS),
    ],
)
def test_a_rate_is_read(text: str, quota: int, seconds: int) -> None:
    assert parse_rate(text) == Rate(quota, seconds)


@pytest.mark.parametrize(
    "text",
    ["", "5", "0/minute", "-1/minute", "5/0 minutes", "5/min", "05/minute", "5/minute ", "\u0665/minute",
     "1.5/second", "9999999999/day", "1/32 days", "5/ms", "5 per minute"],
)  # fmt: skip
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="`"):
        parse_rate(text)


@given(st.integers(1, 10**9), st.integers(1, MAX_PERIOD_SECONDS))
def test_a_rate_reads_what_it_writes(quota: int, seconds: int) -> None:
    rate = Rate(quota, seconds)
    assert parse_rate(str(rate)) == rate


@given(st.text(max_size=20))
def test_no_text_gives_anything_but_a_rate_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        parse_rate(text)


def test_several_rates_are_ordered_by_period_and_differ_in_it() -> None:
    assert parse_rates(["500/minute", "10/second"]) == (Rate(10, 1), Rate(500, 60))
    with pytest.raises(ValueError, match="same period"):
        parse_rates(["500/minute", "10/60 seconds"])
    with pytest.raises(ValueError, match="at least one"):
        parse_rates([])
