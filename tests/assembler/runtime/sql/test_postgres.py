"""Startup SQL on a real PostgreSQL: once over all replicas, whatever locks and dies meanwhile."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.assembler.runtime.sql.replicas import (
    DRIVERS,
    Replica,
    driven,
    entry,
    manifest,
    outcomes,
    start_at_once,
    started,
)
from tests.assembler.runtime.sql.statements import THIRTEEN

LEDGER = "SELECT label FROM assembler_applied ORDER BY applied_at"


def rows(url: str, query: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query).fetchall()


def run(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@contextmanager
def transaction(url: str, *statements: str) -> Iterator[psycopg.Connection]:
    """An open transaction that has run the statements."""
    with psycopg.connect(url) as connection:
        for statement in statements:
            connection.execute(statement)
        yield connection
        connection.rollback()


def wait_until(url: str, query: str) -> None:
    """Wait until a query gives a row that says true."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if rows(url, query)[0][0]:
            return
        time.sleep(0.02)
    raise AssertionError(query)


@pytest.mark.parametrize("driver", DRIVERS)
def test_each_statement_is_applied_once_and_skipped_at_the_next_start(
    driver: str, postgres: str, tmp_path: Path
) -> None:
    path = manifest(tmp_path, driven(postgres, driver), entry(THIRTEEN))
    assert set(outcomes(started(path)).values()) == {"ok"}
    assert [label for (label,) in rows(postgres, LEDGER)] == list(THIRTEEN)
    again = started(path)
    assert {(step.outcome, step.detail) for step in again} == {("skipped", "applied before")}
    assert rows(postgres, "SELECT kind::text, town FROM listing") == [("floor_plan", "100%")]
    assert rows(postgres, "SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]


@pytest.mark.parametrize("driver", DRIVERS)
def test_eight_replicas_at_once_apply_thirteen_statements_once(
    driver: str, postgres: str, tmp_path: Path
) -> None:
    path = manifest(tmp_path, driven(postgres, driver), entry(THIRTEEN))
    answers = start_at_once(path, 8)
    assert [answer["error"] for answer in answers] == [None] * 8
    for label in THIRTEEN:
        found = [
            step["outcome"]
            for answer in answers
            for step in answer["steps"]
            if step["label"] == label
        ]
        assert sorted(found) == ["ok", *["skipped"] * 7], label
    assert len(rows(postgres, LEDGER)) == 13
    assert max(answer["seconds"] for answer in answers) < 20  # 5 on a machine that does no more


def test_a_start_with_nothing_to_do_waits_for_no_lock(postgres: str, tmp_path: Path) -> None:
    path = manifest(tmp_path, driven(postgres, "asyncpg"), entry(THIRTEEN))
    started(path)
    held = ("LOCK TABLE listing", "LOCK TABLE assembler_applied IN EXCLUSIVE MODE")
    advisory = "SELECT pg_advisory_xact_lock(4716238115093702531)"
    with transaction(postgres, *held, advisory):
        assert set(outcomes(started(path)).values()) == {"skipped"}


def test_a_failing_statement_warns_and_the_following_ones_run(
    postgres: str, tmp_path: Path
) -> None:
    statements = {"a": "CREATE TABLE a ()", "b": "CREATE TABLE a()", "c": "CREATE TABLE c ()"}
    path = manifest(tmp_path, driven(postgres, "asyncpg"), entry(statements, on_error="warn"))
    first, second, third = started(path)
    assert (first.outcome, second.outcome, third.outcome) == ("ok", "warned", "ok")
    assert second.error == 'relation "a" already exists (42P07)'
    assert outcomes(started(path)) == {"a": "skipped", "b": "warned", "c": "skipped"}


def test_a_failing_statement_degrades_or_ends_the_start(postgres: str, tmp_path: Path) -> None:
    statements = {"a": "SELECT 1", "b": "SELECT\n  1/0", "c": "SELECT nothing FROM nowhere"}
    url = driven(postgres, "asyncpg")
    path = manifest(tmp_path, url, entry(statements, on_error="degrade"))
    assert outcomes(started(path)) == {"a": "ok", "b": "degraded", "c": "degraded"}
    path = manifest(tmp_path, url, entry(statements))
    with pytest.raises(Exception, match="startup `schema: b` failed: division by zero") as caught:
        started(path)
    assert "manifest.yaml:7:" in str(caught.value)


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_error_names_the_line_of_the_file_that_the_server_complains_of(
    driver: str, postgres: str, tmp_path: Path
) -> None:
    (tmp_path / "view.sql").write_text("-- a view\nCREATE VIEW v AS\n  SELECT id\n  FROM nowhere\n")
    sql = '  - {id: a, database: "${resources.db}", on_error: warn, sql: [{label: v, file: view.sql}]}\n'
    (step,) = started(manifest(tmp_path, driven(postgres, driver), sql))
    assert step.error is not None
    assert step.error.startswith('relation "nowhere" does not exist (42P01) at ')
    assert step.error.endswith("view.sql:4:8")


def test_a_long_transaction_keeps_readers_waiting_only_for_the_lock_timeout(
    postgres: str, tmp_path: Path
) -> None:
    run(postgres, "CREATE TABLE listing (id int)")
    statements = {
        "blocked": "ALTER TABLE listing ADD COLUMN IF NOT EXISTS price int",
        "free": "CREATE TABLE other ()",
    }
    options = {"on_error": "warn", "lock_timeout": "300ms", "timeout": "3s"}
    path = manifest(tmp_path, driven(postgres, "asyncpg"), entry(statements, **options))
    stalls: list[float] = []
    over = threading.Event()

    def read() -> None:
        with psycopg.connect(postgres, autocommit=True) as connection:
            while not over.is_set():
                began = time.monotonic()
                connection.execute("SELECT count(*) FROM listing").fetchone()
                stalls.append(time.monotonic() - began)
                time.sleep(0.005)

    reader = threading.Thread(target=read)
    with transaction(postgres, "SELECT * FROM listing"):
        reader.start()
        begun = time.monotonic()
        blocked, free = started(path)
        took = time.monotonic() - begun
        over.set()
        reader.join(20)
    assert blocked.outcome == "warned"
    assert blocked.error is not None
    assert blocked.error.startswith("is pending: canceling statement due to lock timeout (55P03)")
    assert free.outcome == "ok"
    # for one try at a time, with others let through in between, and not for the whole step
    assert 0.1 < max(stalls) < 0.8 * took
    assert outcomes(started(path)) == {"blocked": "ok", "free": "skipped"}


def test_a_lock_that_is_freed_in_time_costs_a_try(postgres: str, tmp_path: Path) -> None:
    run(postgres, "CREATE TABLE listing (id int)")
    statements = {"a": "ALTER TABLE listing ADD COLUMN price int"}
    path = manifest(tmp_path, driven(postgres, "asyncpg"), entry(statements, lock_timeout="100ms"))
    waits = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"
    with Replica(path) as replica:
        assert replica.is_ready()
        with transaction(postgres, "SELECT * FROM listing"):
            replica.go()
            wait_until(postgres, waits)
            wait_until(postgres, waits.replace("> 0", "= 0"))
        (step,) = [step for step in replica.result()["steps"] if step["label"]]
    assert step["outcome"] == "ok"
    assert step["detail"].startswith("after ")


MADE_BY_TWO = {
    "CREATE TABLE IF NOT EXISTS made (x int)": "pg_type",
    "CREATE OR REPLACE FUNCTION listings() RETURNS int LANGUAGE sql AS 'SELECT 2'": "pg_proc",
    "CREATE SCHEMA IF NOT EXISTS made": "pg_namespace",
}


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("statement", MADE_BY_TWO, ids=MADE_BY_TWO.get)
def test_what_another_makes_at_the_same_moment_is_tried_again(
    statement: str, driver: str, postgres: str, tmp_path: Path
) -> None:
    """Somebody who knows nothing of our lock: `IF NOT EXISTS` fails by an index of the catalogue."""
    run(postgres, "CREATE FUNCTION listings() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    path = manifest(tmp_path, driven(postgres, driver), entry({"a": statement}, lock_timeout="20s"))
    waits = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"
    with ThreadPoolExecutor(1) as pool:
        with transaction(postgres, statement) as other:
            steps = pool.submit(started, path)
            wait_until(postgres, waits)
            other.commit()
        [step] = steps.result(60)
    assert step.outcome == "ok"
    assert str(step.detail).startswith("after ")


@pytest.mark.parametrize("driver", DRIVERS)
def test_an_invalid_index_is_dropped_and_built_again(
    driver: str, postgres: str, tmp_path: Path
) -> None:
    run(postgres, "CREATE TABLE t (a int)", "INSERT INTO t VALUES (1), (1)")
    index = "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS t_a ON t (a)"
    path = manifest(tmp_path, driven(postgres, driver), entry({"index": index}, on_error="warn"))
    (step,) = started(path)
    assert step.error == 'could not create unique index "t_a" (23505)'
    assert rows(postgres, "SELECT indisvalid FROM pg_index WHERE indrelid = 't'::regclass") == [
        (False,)
    ]
    run(postgres, "DELETE FROM t")
    (step,) = started(path)
    assert (step.outcome, step.detail) == ("ok", "an invalid `t_a` was dropped and built again")
    assert rows(postgres, "SELECT indisvalid FROM pg_index WHERE indrelid = 't'::regclass") == [
        (True,)
    ]


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_a_failed_reindex_left_is_dropped_before_the_next(
    driver: str, postgres: str, tmp_path: Path
) -> None:
    run(
        postgres,
        "CREATE TABLE t (a int)",
        "CREATE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1'",
        "CREATE INDEX t_a ON t (f(a))",
        "INSERT INTO t VALUES (0)",
        "CREATE OR REPLACE FUNCTION f(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 1 / $1'",
    )
    statements = {"again": "REINDEX INDEX CONCURRENTLY t_a"}
    path = manifest(tmp_path, driven(postgres, driver), entry(statements, on_error="warn"))
    (step,) = started(path)
    assert step.error == "division by zero (22012)"
    invalid = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
    assert rows(postgres, invalid) == [("t_a_ccnew",)]
    run(postgres, "DELETE FROM t")
    (step,) = started(path)
    assert (step.outcome, step.detail) == (
        "ok",
        "an invalid `t_a_ccnew` was dropped and built again",
    )
    assert rows(postgres, invalid) == []


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_takes_every_table_does_not_lock_itself_out(
    driver: str, postgres: str, tmp_path: Path
) -> None:
    run(postgres, "CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'")
    statements = {
        "table": "CREATE TABLE t (a int) PARTITION BY LIST (a)",
        "index": "CREATE INDEX t_a ON t (a)",
        **{
            text: text
            for text in (
                *("VACUUM FULL", "VACUUM (FULL) assembler_applied", "VACUUM FULL pg_class"),
                *("REINDEX SCHEMA public", "REINDEX DATABASE", "REINDEX TABLE t", "CLUSTER"),
                *("REINDEX TABLE CONCURRENTLY assembler_applied", "DISCARD ALL"),
                "DO $$ BEGIN CREATE TABLE u (); COMMIT; CREATE TABLE v (); END $$",
            )
        },
    }
    sql: list[dict[str, Any]] = [{"label": key, "run": run} for key, run in statements.items()]
    sql.append({"label": "call", "run": "CALL p()", "transaction": False})
    said = {"id": "schema", "database": "${resources.db}", "on_error": "warn", "sql": sql}
    path = manifest(tmp_path, driven(postgres, driver), f"  - {json.dumps(said)}\n")
    assert {step.label: step.error for step in started(path) if step.error} == {}
    assert rows(postgres, "SELECT count(*) FROM assembler_applied") == [(len(sql),)]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("limit", ["60s", "2m", "1h", "8784h", "1500ms"])
def test_limits_of_any_size_are_what_the_server_takes(
    limit: str, driver: str, postgres: str, tmp_path: Path
) -> None:
    statements = {
        "inside": "CREATE TABLE t AS SELECT current_setting('statement_timeout') AS a",
        "alone": "VACUUM t",
    }
    options = {"statement_timeout": limit, "lock_timeout": limit}
    path = manifest(tmp_path, driven(postgres, driver), entry(statements, **options))
    assert set(outcomes(started(path)).values()) == {"ok"}
    told = {"60s": "1min", "2m": "2min", "1h": "1h", "8784h": "2147483647ms", "1500ms": "1500ms"}
    assert rows(postgres, "SELECT a FROM t") == [(told[limit],)]


def test_a_process_that_is_killed_leaves_its_statement_to_the_next(
    postgres: str, tmp_path: Path
) -> None:
    statements = {
        "first": "CREATE TABLE first ()",
        "slow": "DO $$ BEGIN CREATE TABLE slow (); PERFORM pg_sleep(2); END $$",
    }
    path = manifest(tmp_path, driven(postgres, "asyncpg"), entry(statements))
    sleeping = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    with Replica(path) as replica:
        assert replica.is_ready()
        replica.go()
        wait_until(postgres, sleeping)
        replica.process.kill()
    assert rows(postgres, "SELECT to_regclass('slow')") == [(None,)]
    assert outcomes(started(path)) == {"first": "skipped", "slow": "ok"}
    assert rows(postgres, LEDGER) == [("first",), ("slow",)]


def test_a_process_that_is_killed_while_it_builds_an_index_leaves_no_invalid_one(
    postgres: str, tmp_path: Path
) -> None:
    run(postgres, "CREATE TABLE t (a int)")
    statements = {"index": "CREATE INDEX CONCURRENTLY IF NOT EXISTS t_a ON t (a)"}
    path = manifest(tmp_path, driven(postgres, "asyncpg"), entry(statements))
    building = "SELECT count(*) > 0 FROM pg_stat_progress_create_index"
    with Replica(path) as replica, Replica(path) as other:
        assert replica.is_ready()
        assert other.is_ready()
        with transaction(postgres, "INSERT INTO t VALUES (1)"):  # which the build waits for
            replica.go()
            wait_until(postgres, building)
            replica.process.kill()
            wait_until(postgres, "SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory'")
            other.go()  # it meets the build, whose server goes on, and keeps no transaction open
            looks = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'ROLLBACK%'"
            wait_until(postgres, f"{looks} AND datname = current_database() AND state = 'idle'")
            wait_until(postgres, building)
        answer = other.result()
    (step,) = [step for step in answer["steps"] if step["label"]]
    assert step["outcome"] == "ok", step["error"]
    assert rows(postgres, "SELECT indisvalid FROM pg_index WHERE indrelid = 't'::regclass") == [
        (True,)
    ]


def test_always_runs_at_every_start_and_another_dialect_never(
    postgres: str, tmp_path: Path
) -> None:
    run(postgres, "CREATE TABLE t (a int)")
    always = entry({"grow": "INSERT INTO t VALUES (1)"}, always=True)
    foreign = entry({"foreign": "PRAGMA nonsense"}, dialect="sqlite", id="lite")
    path = manifest(tmp_path, driven(postgres, "asyncpg"), always + foreign)
    started(path)
    grow, foreign_step = started(path)
    assert grow.outcome == "ok"
    assert (foreign_step.outcome, foreign_step.detail) == ("skipped", "for sqlite, not postgresql")
    assert rows(postgres, "SELECT count(*) FROM t") == [(2,)]


def test_settings_of_a_statement_do_not_reach_the_pool(postgres: str, tmp_path: Path) -> None:
    statements = {
        "path": "SET search_path = pg_catalog",
        "table": "CREATE TABLE public.t ()",
        "vacuum": "VACUUM public.t",
    }
    path = manifest(tmp_path, driven(postgres, "asyncpg"), entry(statements))
    assert set(outcomes(started(path)).values()) == {"ok"}
    assert set(outcomes(started(path)).values()) == {"skipped"}
    assert rows(postgres, "SELECT count(*) FROM public.assembler_applied") == [(3,)]


def test_a_step_that_used_up_its_time_says_so_of_the_statements_that_were_not_tried(
    postgres: str, tmp_path: Path
) -> None:
    statements = {"slow": "SELECT pg_sleep(30)", "late": "SELECT 1"}
    options = {"on_error": "warn", "timeout": "500ms"}
    path = manifest(tmp_path, driven(postgres, "asyncpg"), entry(statements, **options))
    slow, late = started(path)
    assert slow.outcome == "warned"
    assert late.error == "was not tried: the step's timeout of 500ms was used up before"
    wait_until(postgres, "SELECT count(*) = 0 FROM pg_stat_activity WHERE wait_event = 'PgSleep'")


def test_a_statement_timeout_cancels_on_the_server(postgres: str, tmp_path: Path) -> None:
    statements = {"slow": "SELECT pg_sleep(30)"}
    options = {"on_error": "warn", "statement_timeout": "200ms", "timeout": "4s"}
    path = manifest(tmp_path, driven(postgres, "asyncpg"), entry(statements, **options))
    (step,) = started(path)
    assert step.error is not None
    assert "canceling statement due to statement timeout (57014)" in step.error


def test_a_database_that_is_away_is_told_of_once_per_statement_without_waiting_again(
    tmp_path: Path,
) -> None:
    statements = {"a": "SELECT 1", "b": "SELECT 2"}
    url = "postgresql+asyncpg://u:canary@127.0.0.1:1/x"
    path = manifest(tmp_path, url, entry(statements, on_error="warn", timeout="1s"))
    first, second = started(path)
    assert first.error is not None
    assert second.error is not None
    assert first.error.startswith("the database is away: ConnectionRefusedError")
    assert second.error.startswith("was not tried: ConnectionRefusedError")
    assert "canary" not in first.error + second.error
