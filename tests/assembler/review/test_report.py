"""Diagnostics → what people, programs and code hosts read."""

import json
import re

import pytest
from fluidattacks_core.sarif import SarifLog
from hypothesis import given
from hypothesis import strategies as st

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.render import render
from assembler.diagnostics.span import File, Span
from assembler.review.report import (
    as_github,
    as_json,
    as_text,
    counted,
    distinct,
    result_of,
    sarif_of_check,
)

FILE = File("manifests/a b,c:é%.yaml", "one: 1\ntwo: 2\n")
ONE = Diagnostic("bad-value", "is wrong", Span(FILE, 1, 6, 1, 7), help="make it right")
TWO = Diagnostic("unknown-key", "no such key", Span(FILE, 1, 1, 2, 4))
WARNING = Diagnostic("static-unknown", "who knows", Span(FILE, 2, 1, 2, 4), severity="warning")
PLACELESS = Diagnostic("bad-settings", "nowhere", None)
ALL = [ONE, TWO, WARNING, PLACELESS]


@pytest.mark.parametrize("diagnostics", [[], [ONE], ALL])
def test_sarif_has_the_structure_of_2_1_0(diagnostics: list[Diagnostic]) -> None:
    text = sarif_of_check(diagnostics)
    SarifLog.model_validate_json(text)
    (run,) = json.loads(text)["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert [rules[result["ruleIndex"]] for result in run["results"]] == [
        item.code for item in diagnostics
    ]


def test_a_file_name_is_a_uri_in_sarif() -> None:
    log = json.loads(sarif_of_check([ONE]))
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "manifests/a%20b%2Cc%3A%C3%A9%25.yaml"
    assert place["region"] == {"startLine": 1, "startColumn": 6, "endLine": 1, "endColumn": 7}


def test_json_has_exactly_the_keys_of_the_contract() -> None:
    assert json.loads(as_json([ONE, PLACELESS])) == {
        "format": 1,
        "diagnostics": [
            {
                "code": "bad-value",
                "severity": "error",
                "message": "is wrong",
                "file": "manifests/a b,c:é%.yaml",
                "line": 1,
                "column": 6,
                "end_line": 1,
                "end_column": 7,
                "help": "make it right",
            },
            {
                "code": "bad-settings",
                "severity": "error",
                "message": "nowhere",
                **dict.fromkeys(("file", "line", "column", "end_line", "end_column", "help")),
            },
        ],
    }


def test_github_commands_escape_what_separates_their_parts() -> None:
    assert as_github(map(result_of, ALL)).splitlines() == [
        (
            "::error file=manifests/a b%2Cc%3Aé%25.yaml,line=1,endLine=1,col=6,endColumn=7,"
            "title=bad-value::is wrong%0Ahelp: make it right"
        ),
        (
            "::error file=manifests/a b%2Cc%3Aé%25.yaml,line=1,endLine=2,col=1,"
            "title=unknown-key::no such key"
        ),
        (
            "::warning file=manifests/a b%2Cc%3Aé%25.yaml,line=2,endLine=2,col=1,endColumn=4,"
            "title=static-unknown::who knows"
        ),
        "::error title=bad-settings::nowhere",
    ]


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_starts_a_command_of_its_own(message: str, name: str) -> None:
    item = Diagnostic("bad-value", message, Span(File(name, "x"), 1, 1, 1, 2), help=message)
    text = as_github(map(result_of, [item]))
    assert len(text.split("\n")) == 1
    assert "\r" not in text
    assert re.match(
        r"::error file=[^,]*,line=1,endLine=1,col=1,endColumn=2,title=bad-value::", text
    )
    for written in (as_json([item]), sarif_of_check([item]), as_text([item])):
        assert all(char.isprintable() or char == "\n" for char in written)


def test_text_ends_with_the_count() -> None:
    text = as_text([ONE, TWO, WARNING])
    assert text == "\n\n".join([*map(render, [ONE, TWO, WARNING]), "2 errors, 1 warning"])
    assert as_text([]) == ""


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([ONE], "1 error"),
        ([WARNING], "1 warning"),
        ([WARNING, WARNING], "2 warnings"),
        (ALL, "3 errors, 1 warning"),
    ],
)
def test_the_count_speaks_english(items: list[Diagnostic], text: str) -> None:
    assert counted(items) == text


def test_what_two_manifests_share_is_told_once() -> None:
    read_again = Span(File(FILE.name, FILE.text), 1, 6, 1, 7)
    again = Diagnostic("bad-value", "is wrong", read_again, help=ONE.help)
    assert [item.code for item in distinct([ONE, TWO, again])] == [ONE.code, TWO.code]


def test_a_message_is_no_link_and_no_template_in_sarif() -> None:
    hostile = Diagnostic("bad-value", "see [this](https://evil.example) {0} ${A}", None)
    (result,) = json.loads(sarif_of_check([hostile]))["runs"][0]["results"]
    assert result["message"] == {"text": "see [this] (https://evil.example) {{0}} ${A}"}
