"""Rules about several processes: what each keeps for itself, and what all take from one database.

In: a `Subject`. Out: sightings. A number that a variable gives is not judged, unless it has a
default. Sources: PostgreSQL's `max_connections` (100, of which 3 are reserved).
"""

from collections.abc import Iterator

from assembler.document.nodes import ScalarNode
from assembler.review.audit.item import ENGINE, MEMORY, Item
from assembler.review.audit.rule import PROD, SERVED, AuditRule, Sighting
from assembler.review.audit.subject import Subject

_CONNECTIONS = 97
_POOL, _OVERFLOW = 5, 10  # SQLAlchemy's own


def in_memory(subject: Subject, item: Item) -> bool:
    """Tell whether a limiter counts in the memory of its process."""
    name = item.resource("store")
    if name is None:
        return item.value("store") is None
    store = subject.resource(name)
    return store is not None and store.is_a(MEMORY)


def engines(subject: Subject) -> list[Item]:
    """Return the resources that are pools of connections to a database."""
    return [item for item in subject.resources if item.is_a(ENGINE) or item.has("pool_size")]


def is_sqlite(item: Item) -> bool:
    """Tell whether the manifest says that an engine is SQLite's."""
    return any(str(item.value(key)).startswith("sqlite") for key in ("url", "dsn"))


def connections(item: Item) -> int:
    """Return how many connections a pool may open, as far as that is written."""
    if str(item.value("pool")).lower() in {"none", "null"} and item.has("pool"):
        return 1  # each use opens one and closes it
    pool, overflow = item.value("pool_size", _POOL), item.value("max_overflow", _OVERFLOW)
    return sum(number for number in (pool, overflow) if isinstance(number, int))


def _limiter(subject: Subject) -> Iterator[Sighting]:
    for item in subject.each_layer("limiter"):
        if subject.workers > 1 and in_memory(subject, item):
            message = f"{subject.workers} workers, and {item.called} counts in each of them"
            yield Sighting(item.span, message)


def _caches(subject: Subject) -> Iterator[Sighting]:
    for item in subject.resources:
        if subject.workers > 1 and item.is_a(MEMORY):
            message = f"{subject.workers} workers, and {item.called} is another one in each of them"
            yield Sighting(item.span, message)


def _pools(subject: Subject) -> Iterator[Sighting]:
    """Add up the pools of one database: those whose address is the same text."""
    sums: dict[str, int] = {}
    last: dict[str, Item] = {}
    for item in (item for one in subject.everyone for item in engines(one)):
        if not is_sqlite(item):
            address = _address(item)
            sums[address] = sums.get(address, 0) + connections(item)
            last[address] = item
    for address, count in sums.items():
        total = count * subject.workers
        if total > _CONNECTIONS:
            item = last[address]
            message = f"the pools of one database may open {total} connections"
            yield Sighting(item.place("pool_size"), message)


def _sqlite(subject: Subject) -> Iterator[Sighting]:
    for item in engines(subject):
        if is_sqlite(item) and subject.workers > 1:
            message = f"{subject.workers} workers write to the one SQLite database of {item.called}"
            yield Sighting(item.place("url"), message)


def _lost(subject: Subject) -> Iterator[Sighting]:
    for item in engines(subject):
        url = str(item.value("url"))
        if is_sqlite(item) and (url.endswith(("://", ":memory:")) or "mode=memory" in url):
            yield Sighting(item.place("url"), f"the data of {item.called} ends with the process")


def _address(item: Item) -> str:
    node = item.options.get("url") or item.options.get("dsn")
    return str(node.value) if isinstance(node, ScalarNode) else item.id


RULES = (
    AuditRule(
        "limiter-in-memory",
        "high",
        "each process admits the whole limit, so the service admits a multiple of it",
        "give it a `store` that all share, such as Redis",
        _limiter,
    ),
    AuditRule(
        "cache-in-memory",
        "medium",
        "what one process has set or dropped, the others do not see",
        "use a cache that all share, or keep in it only what may differ",
        _caches,
        SERVED,
    ),
    AuditRule(
        "pools-exceed-database",
        "high",
        "PostgreSQL takes 100 connections by default and keeps 3 of them; the next are refused",
        "lower `pool_size`, `max_overflow` or `workers`, or put PgBouncer between",
        _pools,
        SERVED,
        of_process=True,
    ),
    AuditRule(
        "sqlite-with-workers",
        "medium",
        "SQLite lets one write at a time; the others wait or fail",
        "use PostgreSQL, or one worker",
        _sqlite,
        SERVED,
    ),
    AuditRule(
        "database-in-memory",
        "high",
        "a restart loses every row",
        "use a database that stays",
        _lost,
        PROD,
    ),
)
