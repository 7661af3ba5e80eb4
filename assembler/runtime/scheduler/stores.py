"""The object of a resource → the store of claims that it can be.

In: what `scheduler.store` names, or nothing. Out: a `Store`. An async SQLAlchemy engine is one; so
is a `redis.asyncio` client, or an object that has one as its attribute `redis`; so is any object
with the methods of a `Store`. An SQLite database in memory is the process's own. Refuses everything else.
"""

import sys
from typing import Any, cast

from assembler.runtime.scheduler.claims import Store
from assembler.runtime.scheduler.memory import MemoryStore


def store_of(value: Any) -> Store:
    """Return the store. Raises ValueError for an object that cannot keep claims."""
    if value is None:
        return MemoryStore()
    if _is_a(value, "sqlalchemy.ext.asyncio", "AsyncEngine"):
        if _is_in_memory(value.url):
            return MemoryStore()  # each process has a database of its own
        from assembler.runtime.scheduler.sql_store import SqlStore  # noqa: PLC0415  # heavy

        return SqlStore(value)
    for client in (value, getattr(value, "redis", None)):
        if any(_is_a(client, "redis.asyncio", name) for name in ("Redis", "RedisCluster")):
            from assembler.runtime.scheduler.redis_store import RedisStore  # noqa: PLC0415  # as above

            return RedisStore(client)
    if all(callable(getattr(value, name, None)) for name in ("claim", "heartbeat", "finish")):
        return cast("Store", value)
    kind = type(value).__name__
    raise ValueError(f"a {kind} keeps no claims: name a database engine or a Redis cache")


def _is_in_memory(url: Any) -> bool:
    if url.get_backend_name() != "sqlite":
        return False
    return not url.database or ":memory:" in url.database or "mode=memory" in str(url)


def _is_a(value: Any, module: str, name: str) -> bool:
    """Tell whether it is of a class of a library that is imported, if it is."""
    known = getattr(sys.modules.get(module), name, None)
    return known is not None and isinstance(value, known)
