"""Startup SQL on SQLite, and on a dialect that has no recipe of its own."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from assembler.plan.load import load
from assembler.runtime.sql import applying
from assembler.runtime.sql.applying import Applier
from assembler.runtime.sql.plain import PlainSession
from assembler.runtime.sql.work import End, SqlError
from tests.assembler.runtime.sql.replicas import entry, manifest, outcomes, start_at_once, started

STATEMENTS = {
    "table": "CREATE TABLE IF NOT EXISTS t (a INTEGER, b TEXT)",
    "index": "CREATE INDEX IF NOT EXISTS t_a ON t (a)",
    "trigger": "CREATE TRIGGER IF NOT EXISTS g AFTER INSERT ON t BEGIN "
    "UPDATE t SET b = '100%'; DELETE FROM t WHERE a = 0; END",
    "row": "INSERT INTO t VALUES (1, ':x')",
    "mode": "PRAGMA journal_mode = WAL",
    "vacuum": "VACUUM",
}


def rows(folder: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "test.db")) as connection:
        return connection.execute(query).fetchall()


def at(folder: Path) -> str:
    return f"sqlite+aiosqlite:///{folder}/test.db"


def test_each_statement_is_applied_once_in_a_file(tmp_path: Path) -> None:
    path = manifest(tmp_path, at(tmp_path), entry(STATEMENTS))
    assert set(outcomes(started(path)).values()) == {"ok"}
    assert set(outcomes(started(path)).values()) == {"skipped"}
    assert rows(tmp_path, "SELECT * FROM t") == [(1, "100%")]
    assert [label for (label,) in rows(tmp_path, "SELECT label FROM assembler_applied")] == [
        *STATEMENTS
    ]


def test_a_database_in_memory_keeps_what_was_applied(tmp_path: Path) -> None:
    path = manifest(tmp_path, "sqlite+aiosqlite://", entry(STATEMENTS))
    assert set(outcomes(started(path)).values()) == {"ok"}


def test_four_processes_at_once_apply_each_statement_once(tmp_path: Path) -> None:
    statements = {
        label: run for label, run in STATEMENTS.items() if label not in {"vacuum", "mode"}
    }
    path = manifest(tmp_path, at(tmp_path), entry(statements))
    answers = start_at_once(path, 4)
    assert [answer["error"] for answer in answers] == [None] * 4
    steps = [step for answer in answers for step in answer["steps"] if step["label"]]
    assert sum(step["outcome"] == "ok" for step in steps) == len(statements)


def test_a_failed_statement_leaves_nothing_and_the_next_one_runs(tmp_path: Path) -> None:
    statements = {"bad": "INSERT INTO nowhere VALUES (1)", "good": "CREATE TABLE good (a)"}
    path = manifest(tmp_path, at(tmp_path), entry(statements, on_error="warn"))
    bad, good = started(path)
    assert (bad.outcome, bad.error) == ("warned", "no such table: nowhere")
    assert good.outcome == "ok"
    assert rows(tmp_path, "SELECT label FROM assembler_applied") == [("good",)]


def test_a_locked_file_is_tried_again_and_told_as_pending(tmp_path: Path) -> None:
    options = {"on_error": "warn", "lock_timeout": "50ms", "timeout": "1s"}
    path = manifest(tmp_path, at(tmp_path), entry({"a": "CREATE TABLE a (a)"}, **options))
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        (step,) = started(path)
        assert step.outcome == "warned"
        assert step.error is not None
        assert step.error.startswith("is pending: database is locked, tried ")
    assert outcomes(started(path)) == {"a": "ok"}


def test_a_statement_that_never_ends_is_interrupted(tmp_path: Path) -> None:
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x FROM c) SELECT count(*) FROM c"
    options = {"on_error": "warn", "statement_timeout": "200ms"}
    path = manifest(tmp_path, at(tmp_path), entry({"endless": endless, "a": "SELECT 1"}, **options))
    first, second = started(path)
    assert first.error == "ran longer than its `statement_timeout` of 200ms"
    assert second.outcome == "ok"


def test_an_engine_that_begins_transactions_itself_works_as_well(tmp_path: Path) -> None:
    async def applied() -> list[End]:
        engine = create_async_engine(at(tmp_path))
        event.listen(engine.sync_engine, "begin", lambda c: c.exec_driver_sql("BEGIN"))
        return await _applied(tmp_path, engine)

    assert [end.ending for end in asyncio.run(applied())] == ["applied", "applied"]


def test_another_dialect_applies_by_plain_transactions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "session_for", PlainSession)

    async def applied() -> list[End]:
        return await _applied(tmp_path, create_async_engine(at(tmp_path)))

    assert [end.ending for end in asyncio.run(applied())] == ["applied", "applied"]
    assert [end.ending for end in asyncio.run(applied())] == ["skipped", "skipped"]
    assert rows(tmp_path, "SELECT label FROM assembler_applied") == [("a",), ("b",)]
    with pytest.raises(SqlError, match="no such table: nowhere"):
        asyncio.run(_refused(tmp_path))


async def _applied(folder: Path, engine: AsyncEngine) -> list[End]:
    startup = entry({"a": "CREATE TABLE a (a)", "b": "INSERT INTO a VALUES ('50%')"})
    (step,) = load(manifest(folder, at(folder), startup)).sql
    applier = Applier(step, engine)
    try:
        return [await applier.apply(statement) for statement in step.statements]
    finally:
        await applier.close()
        await engine.dispose()


async def _refused(folder: Path) -> None:
    engine = create_async_engine(at(folder))
    (step,) = load(manifest(folder, at(folder), entry({"x": "DELETE FROM nowhere"}))).sql
    applier = Applier(step, engine)
    try:
        await applier.apply(step.statements[0])
    finally:
        await applier.close()
        await engine.dispose()
