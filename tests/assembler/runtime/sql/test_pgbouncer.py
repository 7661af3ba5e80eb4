"""Startup SQL through PgBouncer, which gives each transaction another connection of the server."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.assembler.runtime.sql.replicas import (
    DRIVERS,
    driven,
    entry,
    manifest,
    outcomes,
    start_at_once,
    started,
)
from tests.assembler.runtime.sql.statements import THIRTEEN
from tests.servers import start_pgbouncer


@pytest.fixture
def pooled(postgres: str) -> Iterator[str]:
    """The URL of the test's database through a PgBouncer in transaction mode."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("pgbouncer is not installed: `apt-get install pgbouncer`")
        pytest.skip("pgbouncer is not installed: `apt-get install pgbouncer`")
    name = urlsplit(postgres).path
    with start_pgbouncer(postgres, default_pool_size="6") as url:
        yield url.removesuffix("/postgres") + name


@pytest.mark.parametrize("driver", DRIVERS)
def test_eight_replicas_at_once_apply_thirteen_statements_once_through_a_pooler(
    driver: str, pooled: str, postgres: str, tmp_path: Path
) -> None:
    path = manifest(tmp_path, driven(pooled, driver), entry(THIRTEEN), pooled=True)
    answers = start_at_once(path, 8)
    assert [answer["error"] for answer in answers] == [None] * 8
    steps = [step for answer in answers for step in answer["steps"] if step["label"]]
    assert sum(step["outcome"] == "ok" for step in steps) == 13
    assert sum(step["outcome"] == "skipped" for step in steps) == 13 * 7
    assert set(outcomes(started(path)).values()) == {"skipped"}
    with psycopg.connect(postgres) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' UNION ALL "
            "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
        ).fetchall()
    assert found == [(0,), (0,)]


def test_limits_do_not_stay_on_connections_that_others_get(pooled: str, tmp_path: Path) -> None:
    with psycopg.connect(pooled, autocommit=True) as connection:
        before = connection.execute("SHOW lock_timeout").fetchone()
        statements = {"table": "CREATE TABLE t ()", "vacuum": "VACUUM t"}
        started(manifest(tmp_path, driven(pooled, "psycopg"), entry(statements), pooled=True))
        for setting in ("lock_timeout", "statement_timeout"):
            assert connection.execute(f"SHOW {setting}").fetchone() == before == ("0",)
