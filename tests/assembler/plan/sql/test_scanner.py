"""The scanner agrees with sqlglot's tokenizer about where statements end, and with the servers."""

import sqlite3
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlglot.dialects.postgres import Postgres
from sqlglot.tokenizer_core import TokenType

from assembler.plan.sql.kinds import (
    BuiltIndex,
    Reindexed,
    built_index,
    controls_transaction,
    reindexed,
    runs_alone,
)
from assembler.plan.sql.scanner import Unclosed, scan, statements


def texts(text: str, dialect: str = "postgresql") -> list[str]:
    """The statements of a text, as they are written from the first token to the last."""
    return [text[tokens[0].start : tokens[-1].end] for tokens in statements(text, dialect)]


TRIGGER = """CREATE TRIGGER t AFTER INSERT ON a BEGIN
UPDATE b SET c = CASE 1 WHEN 1 THEN 2 END; DELETE FROM d; END"""


@pytest.mark.parametrize(
    ("text", "dialect", "found"),
    [
        ("SELECT 1", "postgresql", ["SELECT 1"]),
        ("SELECT 1;", "postgresql", ["SELECT 1"]),
        (" ; ;; -- nothing\n /* ; */", "postgresql", []),
        ("-- nothing", "postgresql", []),
        ("", "sqlite", []),
        ("SELECT 1; SELECT 2", "postgresql", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT 2", "postgresql", ["SELECT ';'", "SELECT 2"]),
        ("SELECT 'it''s;'", "postgresql", ["SELECT 'it''s;'"]),
        (r"SELECT E'\';', 1", "postgresql", [r"SELECT E'\';', 1"]),
        (r"SELECT '\', 1; SELECT 2", "postgresql", [r"SELECT '\', 1", "SELECT 2"]),
        ('SELECT "a;""b"', "postgresql", ['SELECT "a;""b"']),
        ("DO $$ BEGIN x; END $$", "postgresql", ["DO $$ BEGIN x; END $$"]),
        ("DO $a$ $b$ ; $$ ; $a$; SELECT 1", "postgresql", ["DO $a$ $b$ ; $$ ; $a$", "SELECT 1"]),
        ("SELECT a$b$c; SELECT 2", "postgresql", ["SELECT a$b$c", "SELECT 2"]),
        ("SELECT $1; SELECT 2", "postgresql", ["SELECT $1", "SELECT 2"]),
        ("SELECT /* a /* ; */ ; */ 1", "postgresql", ["SELECT /* a /* ; */ ; */ 1"]),
        ("SELECT /* a /* ; */ 1; 2", "sqlite", ["SELECT /* a /* ; */ 1", "2"]),
        ("SELECT 1 -- ; '\n; SELECT 2", "postgresql", ["SELECT 1", "SELECT 2"]),
        ("SELECT [a;b], `c;`", "sqlite", ["SELECT [a;b], `c;`"]),
        ("SELECT arr[1]; SELECT 2", "postgresql", ["SELECT arr[1]", "SELECT 2"]),
        (r"SELECT 'a\';b' # ;", "mysql", [r"SELECT 'a\';b'"]),
        (
            f"{TRIGGER}; SELECT 1",
            "sqlite",
            [TRIGGER, "SELECT 1"],
        ),
        (
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END",
            "postgresql",
            ["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END"],
        ),
        (
            "CREATE PROCEDURE p() BEGIN IF a THEN SET b = 1; END IF; SET c = 2; END; SELECT 1",
            "mysql",
            [
                "CREATE PROCEDURE p() BEGIN IF a THEN SET b = 1; END IF; SET c = 2; END",
                "SELECT 1",
            ],
        ),
        (
            "CREATE RULE r AS ON INSERT TO a DO (SELECT 1; SELECT 2); SELECT 3",
            "postgresql",
            ["CREATE RULE r AS ON INSERT TO a DO (SELECT 1; SELECT 2)", "SELECT 3"],
        ),
        *(
            (f"{text}; SELECT 1", dialect, [text, "SELECT 1"])
            for dialect, text in (
                ("sqlite", "CREATE TRIGGER t AFTER INSERT ON a BEGIN UPDATE b SET end = 1; END"),
                (
                    "sqlite",
                    "CREATE TEMP TRIGGER t AFTER UPDATE OF begin, end ON a WHEN new.end > 1 BEGIN SELECT end FROM b; SELECT CASE end WHEN begin THEN 1 END; END",
                ),
                (
                    "sqlite",
                    "CREATE TRIGGER begin AFTER INSERT ON begin BEGIN SELECT begin, end FROM b; END",
                ),
                ("sqlite", "CREATE TABLE t (begin int, end int)"),
                (
                    "postgresql",
                    "CREATE TRIGGER t AFTER UPDATE OF begin ON a FOR EACH ROW WHEN (new.end > old.end) EXECUTE FUNCTION f()",
                ),
                (
                    "postgresql",
                    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT a.end AS end FROM a; SELECT CASE WHEN true THEN 1 END; END",
                ),
                ("postgresql", "CREATE OR REPLACE PROCEDURE p(begin int) BEGIN ATOMIC END"),
                ("postgresql", "CREATE FUNCTION begin() RETURNS int LANGUAGE sql RETURN 1"),
                (
                    "mysql",
                    "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW BEGIN SET NEW.end = 1; IF NEW.begin > 2 THEN BEGIN SELECT end, begin FROM b; END; END IF; END",
                ),
                (
                    "mysql",
                    "CREATE DEFINER=`a`@`b` PROCEDURE p() BEGIN DECLARE EXIT HANDLER FOR NOT FOUND BEGIN END; CASE a WHEN 1 THEN SET end = 2; END CASE; END",
                ),
                ("mysql", "CREATE TRIGGER t BEFORE INSERT ON a FOR EACH ROW SET NEW.begin = 1"),
            )
        ),
    ],
)
def test_statements_end_where_the_dialect_ends_them(
    text: str, dialect: str, found: list[str]
) -> None:
    assert texts(text, dialect) == found


@pytest.mark.parametrize(
    ("text", "what", "start"),
    [
        ("SELECT 'a", "a string never ends", 7),
        ('SELECT "a', "a quoted name never ends", 7),
        ("SELECT /* /* */", "a comment never ends", 7),
        ("DO $x$ BEGIN $$", "the dollar quote `$x$` never ends", 3),
        (r"SELECT E'a\'", "a string never ends", 8),
    ],
)
def test_what_never_ends_is_refused_at_its_start(text: str, what: str, start: int) -> None:
    with pytest.raises(Unclosed, match="never ends") as caught:
        statements(text, "postgresql")
    assert (str(caught.value), caught.value.start) == (what, start)


PARTS = st.sampled_from(
    [
        *("SELECT", "a", "a1", "_b", "é", "1", "2.5", "(", ")", ",", "=", "+", ".", ";", ";"),
        *("'x'", "'a;b'", "'it''s'", '"q"', '"a;b"', "$$ ; $$", "$t$ $$ ; ' $t$", "$$$$"),
        *("-- ; '\n", "/* ; ' */", "/* /* ; */ */", "E'a\\';'", " ", "\n", "\t"),
    ]
)


@given(st.lists(PARTS, max_size=12).map(" ".join))
def test_semicolons_and_strings_are_those_of_sqlglot(text: str) -> None:
    ours = list(scan(text, "postgresql"))
    theirs = Postgres().tokenize(text)
    semicolons = [token.start for token in theirs if token.token_type is TokenType.SEMICOLON]
    assert [token.start for token in ours if token.text == ";"] == semicolons
    words = [text[token.start : token.end + 1] for token in theirs if token.text == "SELECT"]
    assert [token.text for token in ours if token.keyword == "SELECT"] == words


@given(
    st.text(alphabet="ab;'\"$/*-\n\\eE_1 []`#", max_size=40),
    st.sampled_from(["postgresql", "sqlite", "mysql", ""]),
)
def test_any_text_is_scanned_whole_or_refused(text: str, dialect: str) -> None:
    try:
        tokens = list(scan(text, dialect))
    except Unclosed:
        return
    assert all(text[token.start : token.end] == token.text for token in tokens)
    assert all(one.end <= other.start for one, other in pairwise(tokens))


@given(
    st.lists(
        st.sampled_from(["'a;'", '"b;"', "[c;]", "`d;`", "-- ;\n", "/* ; */", ";", "1"]), max_size=8
    )
)
def test_sqlite_agrees_where_a_statement_is_complete(parts: list[str]) -> None:
    text = "SELECT " + " ".join(parts) + " ;"
    # every prefix that ends in a token `;` is complete to SQLite, and no other is
    for token in scan(text, "sqlite"):
        if ";" in token.text:
            assert sqlite3.complete_statement(text[: token.end]) == (token.text == ";")


@given(
    st.lists(
        st.sampled_from(
            ["SELECT end", "UPDATE b SET end = begin", "SELECT CASE end WHEN 1 THEN 2 END", "DELETE FROM end"]
        ),
        min_size=1,
        max_size=4,
    )
)  # fmt: skip
def test_sqlite_agrees_where_a_trigger_ends(body: list[str]) -> None:
    trigger = f"CREATE TRIGGER t AFTER INSERT ON a BEGIN {'; '.join(body)}; END"
    text = f"{trigger}; SELECT 1;"
    assert texts(text, "sqlite") == [trigger, "SELECT 1"]
    ends = [token.end for token in scan(text, "sqlite") if token.text == ";"]
    complete = [end for end in ends if sqlite3.complete_statement(text[:end])]
    assert complete == ends[-2:]


def test_a_text_is_split_in_a_time_that_grows_with_its_length() -> None:
    for text in (
        "CREATE " + "BEGIN " * 100_000,
        "CREATE FUNCTION f() " + "BEGIN x; END; " * 50_000,
    ):
        began = time.process_time()
        statements(text, "mysql")
        assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("text", "dialect", "alone"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", "postgresql", True),
        ("create unique index concurrently if not exists i on t (a)", "postgresql", True),
        ("CREATE INDEX i ON t (a) /* CONCURRENTLY */", "postgresql", False),
        ('CREATE INDEX "CONCURRENTLY" ON t (a)', "postgresql", False),
        ("DROP INDEX CONCURRENTLY IF EXISTS i", "postgresql", True),
        ("REINDEX TABLE CONCURRENTLY t", "postgresql", True),
        ("REINDEX (VERBOSE) DATABASE d", "postgresql", True),
        ("REINDEX TABLE t", "postgresql", True),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", "postgresql", True),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", "postgresql", False),
        ("-- note\nVACUUM ANALYZE t", "postgresql", True),
        ("CREATE DATABASE d", "postgresql", True),
        ("DROP TABLESPACE t", "postgresql", True),
        ("ALTER SYSTEM SET work_mem = '1MB'", "postgresql", True),
        ("CLUSTER", "postgresql", True),
        ("CLUSTER t USING i", "postgresql", True),  # refused if `t` is partitioned
        ("VACUUM (FULL) t", "postgresql", True),
        ("REINDEX SCHEMA s", "postgresql", True),
        ("DISCARD ALL", "postgresql", True),
        ("DISCARD TEMP", "postgresql", False),
        ("DO $$ BEGIN DELETE FROM t; COMMIT; END $$", "postgresql", True),
        ("DO $x$ BEGIN LOOP rollback; END LOOP; END $x$ LANGUAGE plpgsql", "postgresql", True),
        ("DO 'BEGIN PERFORM ''x''; COMMIT AND CHAIN; END'", "postgresql", True),
        ("DO $$ BEGIN RAISE 'COMMIT'; /* COMMIT; */ END $$", "postgresql", False),
        ("DO $$ BEGIN UPDATE t SET commit = 1; END $$", "postgresql", False),
        ("CREATE TABLE system (database int)", "postgresql", False),
        ("ALTER TYPE k ADD VALUE 'CONCURRENTLY'", "postgresql", False),
        ("DO $$ BEGIN EXECUTE 'VACUUM'; END $$", "postgresql", False),
        ("VACUUM", "sqlite", True),
        ("PRAGMA journal_mode = WAL", "sqlite", True),
        ("CREATE TABLE t (a)", "sqlite", False),
        ("VACUUM", "mysql", False),
    ],
)
def test_what_cannot_run_in_a_transaction(text: str, dialect: str, *, alone: bool) -> None:
    (tokens,) = statements(text, dialect)
    assert runs_alone(tokens, dialect) is alone


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", BuiltIndex("i", "t")),
        (
            'CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS "I""x" ON ONLY s."T" USING btree (a)',
            BuiltIndex('"I""x"', 's."T"'),
        ),
        ("CREATE INDEX CONCURRENTLY ON t (a)", None),
        ("CREATE INDEX i ON t (a)", None),
        ("DROP INDEX CONCURRENTLY i", None),
    ],
)
def test_the_index_that_is_built_and_its_table(text: str, index: BuiltIndex | None) -> None:
    (tokens,) = statements(text, "postgresql")
    assert built_index(tokens) == index


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("REINDEX INDEX CONCURRENTLY s.i", Reindexed("INDEX", "s.i")),
        ("REINDEX (VERBOSE, CONCURRENTLY) TABLE t", Reindexed("TABLE", "t")),
        ("REINDEX DATABASE CONCURRENTLY", Reindexed("DATABASE", "")),
        ("REINDEX TABLE t", None),
        ("DROP INDEX CONCURRENTLY i", None),
    ],
)
def test_what_is_indexed_anew(text: str, found: Reindexed | None) -> None:
    assert reindexed(statements(text, "postgresql")[0]) == found


@pytest.mark.parametrize("text", ["BEGIN", "commit", "ROLLBACK", "END", "PREPARE TRANSACTION 'x'"])
def test_transactions_are_not_the_manifests(text: str) -> None:
    assert controls_transaction(statements(text, "postgresql")[0])
    assert not controls_transaction(statements(f"SELECT '{text[:3]}'", "postgresql")[0])
