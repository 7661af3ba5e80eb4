"""The table of codes is complete: every code is used, documented, and shown by a case or a test."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from assembler.diagnostics.codes import CODES

SOURCES = Path(__file__).parents[3] / "assembler"
TESTS = Path(__file__).parents[1]
CASES = TESTS.parent / "cases"
CALLS = {"Diagnostic", "ImportFault", "fault"}
# What no case can show: a text of a mebibyte, and what happens after the plan.
ELSEWHERE = {
    "more-faults",
    "too-large",
    "json-syntax",
    "static-unknown",
    "build-failed",
    "startup-failed",
    "startup-timeout",
    "unmet-expectation",
    "not-exported",
    "sql-unparsed",
    "sql-not-repeatable",
    "sql-dangerous",
}


def trees() -> Iterator[ast.Module]:
    for path in SOURCES.rglob("*.py"):
        if path.name != "codes.py":
            yield ast.parse(path.read_text("utf-8"))


def codes_of_calls() -> set[str]:
    found = set()
    for tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args:
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                first = node.args[0]
                if name in CALLS and isinstance(first, ast.Constant):
                    found.add(str(first.value))
    return found


def test_every_code_that_is_raised_is_in_the_table() -> None:
    assert codes_of_calls() <= set(CODES)
    assert len(codes_of_calls()) > 30


def test_every_code_of_the_table_is_used() -> None:
    strings = {
        node.value
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(CODES) - strings == set()


def test_every_code_is_shown_by_a_case_or_a_test() -> None:
    expected = "".join(path.read_text("utf-8").partition("----\n")[2] for path in CASES.iterdir())
    in_cases = set(re.findall(r"^(?:error|warning)\[([\w-]+)\]", expected, re.MULTILINE))
    assert set(CODES) - in_cases <= ELSEWHERE
    others = "".join(
        path.read_text("utf-8")
        for path in TESTS.parent.rglob("*.py")
        if path.name != "test_codes.py"
    )
    assert [code for code in sorted(ELSEWHERE & set(CODES)) if code not in others] == []


def test_every_code_is_stable_words_with_an_explanation() -> None:
    for code, meaning in CODES.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)
        assert meaning
        assert not meaning.endswith(".")


def test_ten_faults_of_one_stage_are_told_together() -> None:
    for stage in ("text", "shape", "overlay", "references", "imports", "options"):
        last = (CASES / f"{stage}-ten-faults.case").read_text("utf-8").splitlines()[-1]
        assert int(last.removesuffix(" errors")) >= 10
