"""Rates as a manifest writes them.

In: `500/minute`, `10/second`, `1000/5 minutes`, or a list of such texts.
Out: `Rate` values, a quota and a period in whole seconds.
Refuses: anything else, a quota of 0 or over a thousand million, a period over 31 days, and two
rates with the same period, one of which could never matter.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from pydantic import AfterValidator, Field

Cost = Annotated[
    int, Field(ge=1, description="units a request takes", json_schema_extra={"looser": "lower"})
]
MAX_QUOTA = 1_000_000_000
MAX_PERIOD_SECONDS = 31 * 86_400

_RATE = re.compile(r"([1-9][0-9]{0,9}) ?/ ?(?:([1-9][0-9]{0,6}) ?)?(second|minute|hour|day)s?")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `quota` units in any window of `period_seconds`."""

    quota: int
    period_seconds: int

    def __str__(self) -> str:
        for unit, seconds in reversed(_SECONDS.items()):
            if self.period_seconds % seconds == 0:
                count = self.period_seconds // seconds
                return f"{self.quota}/{unit}" if count == 1 else f"{self.quota}/{count} {unit}s"
        raise AssertionError  # a second divides every period


def parse_rate(text: str) -> Rate:
    """Read one rate; raises ValueError that quotes the text."""
    if not isinstance(text, str):
        raise TypeError(f"a rate is a text such as `500/minute`, not {text!r}")
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError(
            f"`{text}` is no rate: write `500/minute`, `10/second` or `1000/5 minutes`"
        )
    quota, period = int(found[1]), int(found[2] or 1) * _SECONDS[found[3]]
    if quota > MAX_QUOTA:
        raise ValueError(f"`{text}`: the quota is at most {MAX_QUOTA}")
    if period > MAX_PERIOD_SECONDS:
        raise ValueError(f"`{text}`: the period is at most 31 days")
    return Rate(quota, period)


def parse_rates(limit: str | Sequence[str]) -> tuple[Rate, ...]:
    """Read one rate or several that hold together, the shortest period first; raises ValueError."""
    texts = [limit] if isinstance(limit, str) else list(limit)
    if not texts:
        raise ValueError("`limit` needs at least one rate")
    rates = sorted((parse_rate(text) for text in texts), key=lambda rate: rate.period_seconds)
    for shorter, longer in pairwise(rates):
        if shorter.period_seconds == longer.period_seconds:
            raise ValueError(f"`{shorter}` and `{longer}` have the same period")
    return tuple(rates)


def _checked(limit: str | list[str]) -> str | list[str]:
    parse_rates(limit)
    return limit


RateText = Annotated[str | list[str], AfterValidator(_checked)]
