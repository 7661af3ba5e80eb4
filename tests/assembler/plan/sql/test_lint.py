"""Each rule finds what it is about, at its place, and nothing else; a start never parses."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assembler.plan.load import load
from assembler.plan.sql.lint import findings, lint
from assembler.plan.sql.rules import RULES
from tests.assembler.project import project

HEAD = "manifest: 1\nresources: {db: {use: shop.make}}\nstartup:\n  - id: a\n    database: ${resources.db}\n"
SHOP = {"shop.py": "def make(url=''): ...\n"}


def rules(folder: Path, *statements: str, dialect: str = "postgresql") -> list[str]:
    """The ids of the rules that the last statement breaks."""
    sql = [{"label": str(i), "run": run} for i, run in enumerate(statements)]
    text = f"{HEAD}    dialect: {dialect}\n    sql: {json.dumps(sql)}\n"
    with project(folder, {**SHOP, "m.yaml": text}):
        plan = load("m.yaml")
        last = plan.sql[0].statements[-1]
        return [found.rule for _, said, found in findings(plan.sql) if said is last]


FOUND = {
    "CREATE TABLE t (a int)": ["create-if-not-exists"],
    "CREATE TABLE IF NOT EXISTS t (a int)": [],
    "CREATE VIEW v AS SELECT 1": ["create-or-replace"],
    "CREATE OR REPLACE VIEW v AS SELECT 1": [],
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'": ["create-or-replace"],
    "CREATE TYPE k AS ENUM ('a')": ["create-once"],
    "DO $$ BEGIN CREATE TYPE k AS ENUM ('a'); END $$": [],
    "CREATE EXTENSION IF NOT EXISTS hstore": [],
    "CREATE INDEX IF NOT EXISTS i ON t (a)": ["index-blocks-writers"],
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a)": [],
    "ALTER TYPE k ADD VALUE 'b'": ["add-value-if-not-exists"],
    "ALTER TYPE k ADD VALUE IF NOT EXISTS 'b'": [],
    "ALTER TYPE k RENAME VALUE 'b' TO 'c'": ["rename-breaks-old"],
    "ALTER TABLE t ADD COLUMN a int": ["add-column-if-not-exists"],
    "ALTER TABLE t ADD COLUMN IF NOT EXISTS a int DEFAULT 3 NOT NULL": [],
    "ALTER TABLE t ADD COLUMN IF NOT EXISTS a int NOT NULL": ["not-null-without-default"],
    "ALTER TABLE t ADD COLUMN IF NOT EXISTS a timestamptz DEFAULT now()": [],
    "ALTER TABLE t ADD COLUMN IF NOT EXISTS a uuid DEFAULT gen_random_uuid()": [
        "default-rewrites-table"
    ],
    "ALTER TABLE t ADD COLUMN IF NOT EXISTS a bigserial": ["default-rewrites-table"],
    "ALTER TABLE t ALTER COLUMN a SET NOT NULL": ["set-not-null-scans"],
    "ALTER TABLE t ALTER COLUMN a TYPE bigint": ["type-rewrites-table"],
    "ALTER TABLE t ALTER a SET DATA TYPE bigint": ["type-rewrites-table"],
    "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0)": ["add-constraint-once", "constraint-scans"],
    "ALTER TABLE t ADD CONSTRAINT c CHECK (a > 0) NOT VALID": ["add-constraint-once"],
    "ALTER TABLE t VALIDATE CONSTRAINT c": [],
    "ALTER TABLE t DROP COLUMN IF EXISTS a": ["destroys-data"],
    "ALTER TABLE t DROP COLUMN a": ["drop-if-exists", "destroys-data"],
    "ALTER TABLE t RENAME COLUMN a TO b": ["rename-breaks-old"],
    "DROP TABLE t": ["drop-if-exists", "destroys-data"],
    "DROP INDEX IF EXISTS i": ["drop-index-blocks"],
    "DROP INDEX CONCURRENTLY IF EXISTS i": [],
    "TRUNCATE t": ["destroys-data"],
    "UPDATE t SET a = 1": ["changes-every-row"],
    "UPDATE t SET a = 1 WHERE b": [],
    "DELETE FROM t": ["changes-every-row"],
    "INSERT INTO t VALUES (1)": ["insert-on-conflict"],
    "INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING": [],
    "VACUUM (FULL) t": ["locks-whole-table"],
    "VACUUM t": [],
    "REINDEX TABLE t": ["locks-whole-table"],
    "REFRESH MATERIALIZED VIEW v": ["locks-whole-table"],
    "LOCK TABLE t": ["locks-whole-table"],
    "SET work_mem = '1MB'": ["setting-outlives"],
    "SET LOCAL work_mem = '1MB'": [],
    "COMMENT ON TABLE t IS 'DROP TABLE t'": [],
    "GRANT SELECT ON t TO reader": [],
    "SELEC 1": ["sql-unparsed"],
    "CREATE TABLE IF NOT EXISTS t (a int": ["sql-unparsed"],
}


@pytest.mark.parametrize("statement", FOUND)
def test_a_statement_breaks_exactly_these_rules(statement: str, tmp_path: Path) -> None:
    assert rules(tmp_path, statement) == FOUND[statement]


def test_every_rule_is_broken_by_one_of_these_statements() -> None:
    assert {rule.id for rule in RULES} <= {name for found in FOUND.values() for name in found}


def test_a_table_that_the_manifest_creates_itself_is_locked_by_nobody(tmp_path: Path) -> None:
    table = "CREATE TABLE IF NOT EXISTS t (a int)"
    assert rules(tmp_path, table, "CREATE INDEX IF NOT EXISTS i ON t (a)") == []
    assert rules(tmp_path, table, "CREATE INDEX IF NOT EXISTS i ON u (b)") != []


def test_sqlite_has_rules_of_its_own(tmp_path: Path) -> None:
    assert rules(
        tmp_path, "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END", dialect="sqlite"
    ) == ["create-if-not-exists"]
    assert rules(tmp_path, "ALTER TABLE t ADD COLUMN a INTEGER", dialect="sqlite") == []
    assert rules(tmp_path, "CREATE INDEX IF NOT EXISTS i ON t (a)", dialect="sqlite") == []


BLOCKS = """\
    sql:
      - label: literal
        run: |
          -- a note
          ALTER TYPE kind
            ADD VALUE 'it''s'
      - label: folded
        run: >-
          ALTER TYPE kind

          ADD VALUE 'b'
      - {label: single, run: 'ALTER TYPE kind ADD VALUE ''c'''}
      - {label: double, run: "ALTER TYPE \\"kind\\" ADD VALUE 'd'"}
      - label: plain
        run: ALTER TYPE kind
          ADD VALUE 'e'
      - {label: file, file: more/value.sql}
"""


def test_a_warning_stands_at_its_line_in_the_manifest_or_the_file(tmp_path: Path) -> None:
    files = {
        **SHOP,
        "m.yaml": HEAD + BLOCKS,
        "more/value.sql": "\r\n-- é\r\n  ALTER TYPE kind ADD VALUE 'f'",
    }
    with project(tmp_path, files):
        found = [item.span for item in lint(load("m.yaml").sql)]
        places = [(span.file.name, span.line, span.column) for span in found if span]
    lines = (HEAD + BLOCKS).split("\n")
    assert places[-1] == ("more/value.sql", 3, 19)
    expected = [i for i, line in enumerate(lines, 1) if "ADD VALUE" in line]
    assert [line for _, line, _ in places[:-1]] == expected
    assert all(lines[line - 1][column - 1 :].startswith("ADD") for _, line, column in places[:-1])


def test_check_warns_and_succeeds_and_a_start_parses_nothing(tmp_path: Path) -> None:
    files = {**SHOP, "m.yaml": HEAD + "    sql: [{label: x, run: DROP TABLE t}]\n"}
    with project(tmp_path, files):
        code = (
            "import sys; from assembler.plan.load import load; load('m.yaml');"
            "assert not {'sqlglot', 'sqlalchemy'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
        done = subprocess.run(
            [sys.executable, "-m", "assembler", "check", "m.yaml", "--format", "json"],
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
    codes = [item["code"] for item in json.loads(done.stdout)["diagnostics"]]
    assert codes == ["sql-not-repeatable", "sql-dangerous"]


def test_the_dialect_is_that_of_the_url_where_the_step_names_none(tmp_path: Path) -> None:
    head = HEAD.replace("{use: shop.make}", "{use: shop.make, with: {url: 'sqlite+aiosqlite://'}}")
    with project(
        tmp_path, {**SHOP, "m.yaml": head + "    sql: [{label: x, run: 'SELECT [a;b]'}]\n"}
    ):
        assert load("m.yaml").sql[0].dialect == "sqlite"


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("SELECT " + "(" * 20_000 + "1" + ")" * 20_000, 20),
        ("SELECT " + "(" * 20_000, 20),
        ("SELECT " + "ARRAY[" * 30 + "1" + "]" * 30, 85),
        ("SELECT " + "CAST(" * 30 + "1" + " AS int)" * 30, 72),
        ("SELECT " + "NOT " * 20_000 + "1", 1),
        ("SELECT " + "- " * 20_000 + "1", 1),
    ],
)
def test_what_is_nested_too_deeply_for_the_parser_is_told_at_its_place(
    text: str, column: int, tmp_path: Path
) -> None:
    manifest = f"{HEAD}    sql: [{{label: deep, file: deep.sql}}]\n"
    with project(tmp_path, {**SHOP, "m.yaml": manifest, "deep.sql": text}):
        (found,) = lint(load("m.yaml", static=True).sql)
    assert found.message == "`deep` cannot be parsed: it is nested too deeply"
    assert found.span is not None
    assert (found.span.file.name, found.span.line, found.span.column) == ("deep.sql", 1, column)


@pytest.mark.parametrize(
    "texts",
    [
        ["SELECT " + "ARRAY[" * 12 + "1" + "]" * 12] * 2000,
        ["SELECT " + ", ".join(["ARRAY[" * 10 + "1" + "]" * 10] * 3000)],
        ["SELECT " + ", ".join(["DATE(" * 6 + "1" + ")" * 6] * 6000)],
        ["INSERT INTO t VALUES " + ",".join(["(1,'abc')"] * 40_000)],
        ["SELECT 1" + ";" * 200_000],
    ],
    ids=["statements", "columns", "functions", "rows", "semicolons"],
)
def test_no_text_keeps_the_parser_for_long(texts: list[str], tmp_path: Path) -> None:
    sql = [{"label": str(i), "run": run} for i, run in enumerate(texts)]
    with project(tmp_path, {**SHOP, "m.yaml": f"{HEAD}    sql: {json.dumps(sql)}\n"}):
        steps = load("m.yaml", static=True).sql
    began = time.process_time()
    list(lint(steps))
    assert time.process_time() - began < 10  # a third of it on a machine that does no more
