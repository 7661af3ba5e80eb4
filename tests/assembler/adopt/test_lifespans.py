"""A lifespan's source gives proposals, one for each statement."""

import importlib
from pathlib import Path

from assembler.adopt.lifespans import pieces
from assembler.adopt.naming import ImportPaths
from tests.assembler.command import in_folder

TEXT = '''
from contextlib import asynccontextmanager
from functools import lru_cache


class Settings:
    url = "memory://"
    seeds = True


@lru_cache
def get_settings() -> Settings:
    return Settings()


class Pool:
    def __init__(self, url: str, size: int = 1) -> None: ...
    async def connect(self) -> None: ...
    async def close(self) -> None: ...


class Engine:
    dialect = "of a test"
    def begin(self) -> None: ...


engine = Engine()
bus = Pool("bus")
STATEMENTS = [("one", "SELECT 1"), ("two", "SELECT 2")]


async def seed(count: int) -> None: ...
async def warm(app) -> None: ...
def goodbye() -> None: ...


async def migrate() -> None:
    """Bring the tables up to date."""
    for label, sql in STATEMENTS:
        async with engine.begin() as connection:
            await connection.execute(sql)


@asynccontextmanager
async def lifespan(app):
    """Open all."""
    settings = get_settings()
    pool = Pool(settings.url, size=3)
    await bus.connect()
    if settings.seeds:
        await seed(5)
    await warm(app)
    await migrate()
    print("up")
    app.state.word = "here"
    app.state.count = len(STATEMENTS)
    try:
        yield {"pool": pool}
    finally:
        goodbye()
        await pool.close()
        await bus.close()
'''


def test_each_statement_has_an_entry_beside_it_or_says_why_it_stays(tmp_path: Path) -> None:
    (tmp_path / "own_life.py").write_text(TEXT)
    with in_folder(tmp_path):
        module = importlib.import_module("own_life")
        names = ImportPaths("own_life")
        names.settings = module.get_settings()
        found = pieces(module.lifespan, names)
    told = [(each["source"], each["section"], each["name"]) for each in found]
    assert told == [
        ("pool = Pool(settings.url, size=3)", "resources", "pool"),
        ("await bus.connect()", "resources", "bus"),
        ("await seed(5)", "startup", ""),
        ("await warm(app)", "startup", ""),
        ("await migrate()", "startup", ""),
        ("app.state.word = 'here'", "state", ""),
        ("app.state.count = len(STATEMENTS)", "", ""),
        ("yield {'pool': pool}", "", ""),
        ("goodbye()", "shutdown", ""),
        ("await pool.close()", "", ""),
        ("await bus.close()", "", ""),
    ]
    by_source = {each["source"]: each for each in found}
    pool = by_source["pool = Pool(settings.url, size=3)"]["entry"]
    assert pool["use"]["path"] == "own_life.Pool"
    assert pool["with"]["items"] == {
        "url": {"is": "setting", "path": "url"},
        "size": {"is": "literal", "value": 3},
    }
    seed = by_source["await seed(5)"]["entry"]
    assert seed["enabled"] == {"is": "setting", "path": "seeds"}
    assert seed["with"]["items"] == {"count": {"is": "literal", "value": 5}}
    assert by_source["await warm(app)"]["entry"].keys() == {"use"}  # the application is given
    sql = by_source["await migrate()"]["entry"]
    assert sql["database"]["path"] == "own_life.engine"
    assert [each["items"]["run"]["value"] for each in sql["sql"]["items"]] == [
        "SELECT 1",
        "SELECT 2",
    ]
    whys = {each["source"]: each["why"] for each in found if each["why"]}
    assert whys == {
        "app.state.count = len(STATEMENTS)": "it stays: its value is known at the start only",
        "yield {'pool': pool}": "a resource stands on the state of requests: `request.state.pool`",
        "await pool.close()": "the resource `pool` is closed by itself",
        "await bus.close()": "the resource `bus` is closed by itself",
    }
