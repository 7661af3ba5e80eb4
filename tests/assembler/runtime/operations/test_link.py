"""Tables that another process brings up are seen by each process at once."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from assembler.runtime.operations.link import StoreLink


class Store:
    """A store whose tables are of that version; this process may not bring them up."""

    kind = "sqlite"

    def __init__(self, version: int, engine: object = object()) -> None:
        self.engine = engine
        self.have = version
        self.asked = 0

    async def version(self) -> tuple[int, int]:
        """Return the version of the tables, and the one that is wanted."""
        self.asked += 1
        return self.have, 2


def test_tables_that_another_process_brought_up_are_current_at_the_next_look() -> None:
    async def go() -> None:
        store = Store(1)
        link = StoreLink(store, str)
        await link.look()
        assert link.is_behind
        store.have = 2
        await link.look()
        assert not link.is_behind

    asyncio.run(go())


def test_current_tables_are_not_looked_at_again() -> None:
    async def go() -> None:
        store = Store(2)
        link = StoreLink(store, str)
        for _ in range(3):
            await link.look()
            await link.bring_up()
        assert store.asked == 1

    asyncio.run(go())


def test_what_kept_them_behind_is_told_until_another_process_brings_them_up(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    database = tmp_path / "runs.db"
    database.touch()
    engine = create_async_engine(f"sqlite+aiosqlite:///file:{database}?mode=ro&uri=true")

    async def go() -> None:
        store = Store(1, engine)
        link = StoreLink(store, str)
        await link.bring_up()
        told = link.state()
        assert told is not None
        assert told["error"]
        await link.look()
        assert link.state() == told
        store.have = 2
        await link.bring_up()
        assert link.state() == {"version": 2, "wanted": 2, "error": None, "sql": None}
        await engine.dispose()

    asyncio.run(go())
    assert "stay so" in caplog.text
