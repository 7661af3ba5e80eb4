"""What the limiters ask of a store, and what they hear back.

In: a subject (a text that names one client) and a cost.
Out: a `Decision`, at once or to be awaited.
Any object with `counter` is a store; it is made without I/O.
"""

import os
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple, Protocol, runtime_checkable

from pydantic import Field

from components.rate_limit.rates import Rate
from components.rate_limit.windows import BUCKETS, buckets_of

OnStoreError = Literal["local", "allow", "deny"]
StoreErrorOption = Annotated[
    OnStoreError,
    Field(
        description="when the store is away: count here at this process's share of the limit, let "
        "all through, or refuse all with 503",
        json_schema_extra={"looser": "order:deny,local,allow"},
    ),
]
PolicyName = Annotated[
    str,
    Field(
        pattern="^[ -~]{1,200}$",
        description="the policy's name in fields and in a shared store's counts",
    ),
]


@dataclass(frozen=True, slots=True, eq=False)
class Limit:
    """One limit under one name. Two limits are never equal: a memory store counts each apart."""

    name: str
    rate: Rate

    @property
    def id(self) -> str:
        """The same in every process: a shared store counts by it."""
        buckets = buckets_of(self.rate)
        fine = "" if buckets == BUCKETS else f"/{buckets}"
        return f"{self.name};{self.rate.quota};{self.rate.period_seconds}{fine}"


class Decision(NamedTuple):
    """The answer for one hit.

    `limit` is the one that refused, or the one with the fewest units left; None where the store
    was away and the answer is `on_store_error`'s. `wait_ns` is the time until more units are
    free; for a refusal, until this hit would be admitted.
    """

    admitted: bool
    limit: Limit | None
    remaining: int
    wait_ns: int


class Counter(Protocol):
    """Counts hits under a fixed set of limits: all of them are charged, or none."""

    def hit(self, subject: str, cost: int = 1, /) -> Decision | Awaitable[Decision]: ...


@runtime_checkable
class Store(Protocol):
    """Where hits are counted."""

    def counter(self, limits: tuple[Limit, ...], *, on_error: OnStoreError) -> Counter:
        """Make a counter; counters that hold the same `Limit` share its counts."""
        ...


StoreOption = Annotated[
    Store | None, Field(description="where hits are counted; this process's memory if none")
]


def name_limits(name: str, rates: tuple[Rate, ...]) -> tuple[Limit, ...]:
    """Give each rate a name for fields and keys: the given one, or several made from it.

    Raises ValueError for a name that is not 1 to 200 characters of printable ASCII.
    """
    if not name.isascii() or not name.isprintable() or not 0 < len(name) <= 200:
        raise ValueError(f"`{name}` must be printable ASCII of at most 200 characters")
    if len(rates) == 1:
        return (Limit(name, rates[0]),)
    return tuple(Limit(f"{name} {rate}", rate) for rate in rates)


def process_share(share: int | None) -> int:
    """How many processes share a limit: as told, else WEB_CONCURRENCY, else 1. Raises ValueError."""
    if share is None:
        text = os.environ.get("WEB_CONCURRENCY", "")
        return max(int(text), 1) if text.isascii() and text.isdigit() else 1
    if share < 1:
        raise ValueError("`share` must be at least 1")
    return share
