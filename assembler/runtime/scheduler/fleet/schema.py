"""Procrastinate's tables, in the database that keeps the claims.

In: a connection in a transaction. Out: the tables, made by the first of any number of processes
that are there at once. Refuses a database whose Procrastinate does not fit the installed library: its
migrations are a person's decision, as the library's own documents say.
"""

import json
import re
from functools import cache
from importlib import resources
from importlib.metadata import version
from typing import Any

from sqlalchemy import text

# Read from the catalog itself: `to_regclass` may answer from a cache that has not yet heard of what
# another session made, while this one waited for the lock.
_IS_THERE = text(
    """SELECT 1 FROM pg_catalog.pg_class
    WHERE relname = 'procrastinate_jobs' AND pg_catalog.pg_table_is_visible(oid)"""
)
_MISSING = text(
    """SELECT name FROM jsonb_array_elements_text(CAST(:names AS jsonb)) AS name
    WHERE NOT EXISTS (SELECT 1 FROM pg_catalog.pg_proc
        WHERE proname = name AND pg_catalog.pg_function_is_visible(oid))
    ORDER BY name LIMIT 1"""
)
_FUNCTION = re.compile(r"^CREATE FUNCTION (procrastinate_\w+)", re.MULTILINE)


class SchemaError(Exception):
    """The tables in the database are those of another version."""


async def is_there(connection: Any) -> bool:
    """Tell whether the database has the tables. Raises `SchemaError` where they do not fit."""
    if (await connection.execute(_IS_THERE)).scalar() is None:
        return False
    names = json.dumps(_FUNCTION.findall(_script()))
    missing = (await connection.execute(_MISSING, {"names": names})).scalar()
    if missing is not None:
        raise SchemaError(
            f"the tables of Procrastinate in the database do not fit the installed "
            f"{version('procrastinate')}: there is no function `{missing}`; apply its migrations"
        )
    return True


async def create(connection: Any) -> None:
    """Make the tables, under a lock that the caller's transaction holds."""
    driver = (await connection.get_raw_connection()).driver_connection
    await driver.execute(_script())  # many statements at once, which SQLAlchemy would prepare


@cache
def _script() -> str:
    return (resources.files("procrastinate") / "sql/schema.sql").read_text("utf-8")
