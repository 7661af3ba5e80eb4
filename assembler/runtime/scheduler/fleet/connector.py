"""Procrastinate over an SQLAlchemy engine, patient while the database is away.

In: the engine that keeps the claims, so that there is one address, one password and one pool.
Out: a connector for Procrastinate. What it asks is asked again while the database does not
answer, since Procrastinate would end by it; a question that was heard twice leaves traces that the
sweep of the store puts in order. It gives up once the worker stops.
"""

import asyncio
import json
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from procrastinate.connector import BaseAsyncConnector, Notify
from procrastinate.exceptions import ConnectorException, NoResult
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

_NAMED = re.compile(r"%\((\w+)\)s")
_ANSWERS = ("22", "23", "42", "P0")  # SQLSTATEs of a database that is there, and says no
_RAISED = "P0001"  # by a function of Procrastinate
_PAUSE_SECONDS = 0.5
_LISTEN_SECONDS = 15.0  # between looks whether a silent connection is alive
_CHANNEL = re.compile(r"[\w.#-]{1,63}\Z", re.ASCII)


class EngineConnector(BaseAsyncConnector):
    """Asks over the engine's pool; listens on a connection of its own, outside the pool."""

    def __init__(
        self, engine: AsyncEngine, *, limit_seconds: float, stopping: asyncio.Event
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._limit_seconds = limit_seconds
        self._stopping = stopping
        self._told: set[asyncio.Task[None]] = set()

    async def open_async(self, pool: Any = None) -> None:
        """The engine is a resource: it is open."""

    async def close_async(self) -> None:
        """The engine is closed as a resource."""

    async def execute_query_async(self, query: str, **arguments: Any) -> None:
        """Execute it; a job that the sweep has taken out meanwhile has no end to be recorded."""
        try:
            await self._rows(query, arguments)
        except ConnectorException as error:
            if _state(error.__cause__) != _RAISED:
                raise

    async def execute_query_one_async(self, query: str, **arguments: Any) -> dict[str, Any]:
        """Return one row. Raises `NoResult` where there is none."""
        rows = await self._rows(query, arguments)
        if not rows:
            raise NoResult
        return rows[0]

    async def execute_query_all_async(self, query: str, **arguments: Any) -> list[dict[str, Any]]:
        """Return all rows."""
        return await self._rows(query, arguments)

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        """Tell of news for ever; without them, as behind PgBouncer, the queue is polled."""
        names = [name for name in channels if _CHANNEL.match(name)]
        while True:
            driver: Any = None
            try:
                async with self._engine.connect() as connection:
                    driver = (await connection.get_raw_connection()).driver_connection
                    await connection.run_sync(lambda inner: inner.detach())  # ours, not the pool's
                    await self._listen(driver, on_notification, names)
            except Exception:  # noqa: BLE001  # the queue is polled meanwhile
                await asyncio.sleep(_PAUSE_SECONDS)
            finally:
                if driver is not None:  # with psycopg a detached one would stay open
                    with suppress(Exception):
                        async with asyncio.timeout(self._limit_seconds):
                            await driver.close()

    async def _listen(self, driver: Any, on_notification: Notify, channels: list[str]) -> None:
        if hasattr(driver, "add_listener"):  # asyncpg

            def hear(_driver: Any, _process: int, channel: str, payload: str) -> None:
                task = asyncio.ensure_future(on_notification(channel=channel, payload=payload))
                self._told.add(task)  # the loop alone would forget it
                task.add_done_callback(self._told.discard)

            for channel in channels:
                await driver.add_listener(channel, hear)
            while True:
                await asyncio.sleep(_LISTEN_SECONDS)
                await driver.execute("SELECT 1", timeout=self._limit_seconds)
        for channel in channels:  # psycopg
            await driver.execute(f'LISTEN "{channel}"')
        while True:
            async for news in driver.notifies(timeout=_LISTEN_SECONDS):
                await on_notification(channel=news.channel, payload=news.payload)
            await driver.execute("SELECT 1")

    async def _rows(self, query: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        # in parentheses: SQLAlchemy would not know `:name::type` for a parameter
        statement = text(_NAMED.sub(r"(:\1)", query))
        while True:
            try:
                async with (
                    asyncio.timeout(self._limit_seconds),
                    self._engine.connect() as connection,
                ):
                    found = await connection.execute(statement, arguments)
                    rows = found.mappings().all() if found.returns_rows else []
                    return [_plain(dict(row)) for row in rows]
            except Exception as error:
                if self._stopping.is_set() or _state(error).startswith(_ANSWERS):
                    raise ConnectorException from error
                await asyncio.sleep(_PAUSE_SECONDS)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with its JSON read: drivers differ in who does that."""
    if isinstance(row.get("args"), str):
        row["args"] = json.loads(row["args"])
    return row


def _state(error: BaseException | None) -> str:
    original = error.orig if isinstance(error, DBAPIError) else None
    return str(getattr(original, "sqlstate", None) or "")
