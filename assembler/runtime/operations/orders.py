"""What an operator wants done → rows that every process of a service reads and carries out.

In: an order by its kind, its target and who gives it. Out: an `Order` with the store's time. A row is
both: what is to be done, and the record of who wanted it when. Orders that stand (a pause, a level of a
logger) hold until another one of their kind and target ends them, or their time is over. Refuses
nothing: what a target means is for those who carry orders out.
"""

import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Protocol

Kind = Literal["run", "retry", "pause", "resume", "level", "open"]
KINDS: tuple[Kind, ...] = ("run", "retry", "pause", "resume", "level", "open")
STANDING: dict[Kind, tuple[Kind, ...]] = {
    "pause": ("pause",),
    "resume": ("pause",),
    "level": ("level",),
}
"""Which standing orders one of that kind ends, where they have the same target."""

KEPT_MS = 90 * 86_400_000  # an order that does not stand is forgotten then
RECENT_MS = 60_000  # within which an order is carried out by whoever reads it
_KEPT_HERE = 1000


@dataclass(frozen=True, slots=True)
class Order:
    """One order; `lasts_ms` is how long it stands, None where that has no end.

    `target` is a job, the ID of a run, a logger or a lazy mount; `value` is the level of a logger.
    """

    id: str
    kind: Kind
    target: str
    actor: str
    value: str | None = None
    lasts_ms: int | None = None
    at_ms: int = 0  # by the store's clock, once it is there
    stands: bool = False

    @property
    def until_ms(self) -> int | None:
        """When it ends by itself."""
        return None if self.lasts_ms is None else self.at_ms + self.lasts_ms

    def holds(self, now_ms: int) -> bool:
        """Tell whether it stands at that time."""
        return self.stands and (self.until_ms is None or self.until_ms > now_ms)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def new_order(
    kind: Kind, target: str, actor: str, value: str | None = None, lasts_ms: int | None = None
) -> Order:
    """Return an order with an ID of its own."""
    return Order(uuid.uuid4().hex, kind, target, actor, value, lasts_ms, stands=is_standing(kind))


def is_standing(kind: Kind) -> bool:
    """Tell whether orders of that kind hold on."""
    return kind in {"pause", "level"}


class OrderStore(Protocol):
    """Where orders are kept; what cannot be reached raises."""

    async def give(self, service: str, order: Order) -> Order:
        """Keep it, and end those that stood in its place; return it with the store's time."""

    async def orders(self, service: str, limit: int) -> list[Order]:
        """Return the last ones, the latest first."""

    async def open_orders(self, service: str) -> tuple[int, list[Order]]:
        """Return the store's time, and the orders that stand or are recent, the oldest first."""


class MemoryOrders:
    """Orders of this process alone, which end with it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._orders: deque[Order] = deque(maxlen=_KEPT_HERE)

    async def give(self, service: str, order: Order) -> Order:
        """Keep it, and end those that stood in its place."""
        given = replace(order, at_ms=int(self._clock() * 1000))
        ended = STANDING.get(order.kind, ())
        for place, other in enumerate(self._orders):
            if other.stands and other.kind in ended and other.target == order.target:
                self._orders[place] = replace(other, stands=False)
        self._orders.append(given)
        return given

    async def orders(self, service: str, limit: int) -> list[Order]:
        """Return the last ones, the latest first."""
        return list(self._orders)[::-1][:limit]

    async def open_orders(self, service: str) -> tuple[int, list[Order]]:
        """Return the time, and the orders that stand or are recent."""
        now = int(self._clock() * 1000)
        found = [each for each in self._orders if each.holds(now) or each.at_ms > now - RECENT_MS]
        return now, found
