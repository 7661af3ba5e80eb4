"""`assembler sql`: what is applied where, and a release job that applies it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.assembler.command import run
from tests.assembler.runtime.sql.replicas import ROOT, driven, entry, manifest

STATEMENTS = {"table": "CREATE TABLE t (a INTEGER)", "vacuum": "VACUUM"}


def sql(path: Path, *arguments: str) -> tuple[int, str, str]:
    done = run(
        "sql", path.name, *arguments, folder=path.parent, environment={"PYTHONPATH": str(ROOT)}
    )
    return done.status, done.out, done.err


def lite(folder: Path, startup: str) -> Path:
    return manifest(folder, f"sqlite+aiosqlite:///{folder}/test.db", startup)


def test_it_shows_what_is_pending_without_making_the_database(tmp_path: Path) -> None:
    path = lite(tmp_path, entry(STATEMENTS))
    status, out, _ = sql(path)
    assert status == 0
    assert out.splitlines() == [
        "manifest.yaml",
        "  schema: table   db  sqlite  in a transaction       pending",
        "    create-if-not-exists: `table` fails where it was created before",
        "      manifest.yaml:7:95  write `IF NOT EXISTS`",
        "  schema: vacuum  db  sqlite  outside a transaction  pending",
    ]
    assert not (tmp_path / "test.db").exists()


def test_it_applies_once_and_then_shows_what_is_applied(tmp_path: Path) -> None:
    path = lite(tmp_path, entry(STATEMENTS))
    status, out, _ = sql(path, "--apply")
    assert status == 0
    assert [line.split()[-1] for line in out.splitlines() if "schema:" in line] == ["ok", "ok"]
    status, out, _ = sql(path, "--apply", "--format", "json")
    facts = json.loads(out)["statements"]
    assert [(fact["outcome"], fact["detail"]) for fact in facts] == [
        ("skipped", "applied before")
    ] * 2
    status, out, _ = sql(path, "--format", "json")
    answer = json.loads(out)
    assert (status, answer["format"]) == (0, 1)
    table, vacuum = answer["statements"]
    assert table["state"] == vacuum["state"] == "applied"
    assert (table["transaction"], vacuum["transaction"]) == (True, False)
    assert table["applied_at"].startswith("20")
    assert [warning["rule"] for warning in table["warnings"]] == ["create-if-not-exists"]
    with closing(sqlite3.connect(tmp_path / "test.db")) as connection:
        assert connection.execute("SELECT count(*) FROM assembler_applied").fetchone() == (2,)


def test_a_failed_statement_is_status_1_whatever_its_on_error(tmp_path: Path) -> None:
    statements = {"bad": "DELETE FROM nowhere WHERE a", "good": "CREATE TABLE good (a)"}
    status, out, _ = sql(lite(tmp_path, entry(statements, on_error="warn")), "--apply")
    assert status == 1
    assert "no such table: nowhere" in out
    path = lite(tmp_path, entry({**statements, "later": "SELECT 1"}))
    status, out, err = sql(path, "--apply", "--format", "json")
    assert status == 1
    assert [fact["outcome"] for fact in json.loads(out)["statements"]] == [
        "failed",
        "not-run",
        "not-run",
    ]
    assert "error[startup-failed]: startup `schema: bad` failed: no such table: nowhere" in err


def test_a_database_that_cannot_be_reached_is_shown_as_unknown_and_not_applied_to(
    tmp_path: Path,
) -> None:
    url = "postgresql+asyncpg://ann:canary@127.0.0.1:1/x"
    path = manifest(tmp_path, url, entry({"a": "SELECT 1"}, timeout="400ms", on_error="warn"))
    status, out, err = sql(path)
    assert status == 0
    assert "unknown" in out
    assert err.startswith("note: database `db` cannot be reached: ConnectionRefusedError")
    status, out, err = sql(path, "--apply")
    assert (status, out) == (2, "")
    assert err.startswith("error: database `db` cannot be reached: ConnectionRefusedError")
    assert len(err.splitlines()) == 1
    assert "canary" not in err


def test_it_applies_to_a_real_postgresql(postgres: str, tmp_path: Path) -> None:
    statements = {
        "table": "CREATE TABLE IF NOT EXISTS t (a int)",
        "index": "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)",
    }
    foreign = entry({"x": "PRAGMA x"}, id="lite", dialect="sqlite")
    path = manifest(tmp_path, driven(postgres, "asyncpg"), entry(statements) + foreign)
    status, out, _ = sql(path, "--apply", "--format", "json")
    assert status == 0
    table, index, other = json.loads(out)["statements"]
    assert (table["state"], index["state"], other["state"]) == (
        "applied",
        "applied",
        "other-dialect",
    )
    assert (table["outcome"], index["outcome"], other["outcome"]) == ("ok", "ok", "skipped")
    assert sql(path, "--apply")[0] == 0  # the ledger is there now


def test_a_manifest_without_sql_says_so(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("manifest: 1\n")
    assert sql(tmp_path / "m.yaml")[:2] == (0, "m.yaml: no startup SQL\n")
