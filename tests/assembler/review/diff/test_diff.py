"""The tables and small parts of a comparison; whole pairs stand in `tests/diffs`."""

import inspect
import re
from importlib import import_module
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import assembler.review.diff
from assembler.plan.allow_list import ImportList
from assembler.plan.static import SourceReader
from assembler.review.credentials import looks_secret, shown
from assembler.review.diff.knowledge import KNOWN
from assembler.review.diff.matching import longest_run
from assembler.review.diff.order import BY_ROLES, ORDERS
from assembler.review.diff.scalars import compare, read_rate
from assembler.review.diff.text import as_text
from assembler.review.finding import RULES, Comparison, Finding, Grade, Layer, as_dict


def test_every_rule_is_used_and_every_used_rule_is_in_the_table() -> None:
    folder = Path(assembler.review.diff.__file__).parent
    folders = (folder, folder.parent / "openapi")
    text = "".join(path.read_text("utf-8") for each in folders for path in each.glob("*.py"))
    prefixes = {rule.partition("-")[0] for rule in RULES}
    named = set(re.findall(r'"([a-z]+(?:-[a-z]+)+)"', text))
    assert {rule for rule in RULES if f'"{rule}"' not in text} == set()
    roles = {order.outer for order in ORDERS} | {order.inner for order in ORDERS}
    unknown = {name for name in named if name.partition("-")[0] in prefixes} - set(RULES) - roles
    assert unknown <= {"option-strings"}
    with pytest.raises(KeyError):
        Finding("m", Grade.review, "no-such-rule", "", "")


@pytest.mark.parametrize("path", KNOWN)
def test_the_options_of_the_table_are_in_the_signatures(path: str) -> None:
    module, _, name = path.rpartition(".")
    parameters = set(inspect.signature(getattr(import_module(module), name)).parameters)
    assert set(KNOWN[path]) <= parameters
    defined, options = SourceReader(ImportList(None, None)).options(path)
    assert defined == path
    assert set(KNOWN[path]) <= set(options or {})


@given(st.permutations(range(9)))
def test_the_longest_run_rises_and_none_is_longer(numbers: list[int]) -> None:
    run = sorted(longest_run(numbers))
    assert [numbers[place] for place in run] == sorted(numbers[place] for place in run)
    longer = combinations(numbers, len(run) + 1)
    assert not any(list(found) == sorted(found) for found in longer)


@pytest.mark.parametrize(
    ("looser", "old", "new", "grade"),
    [
        ("higher", "100/minute", "101/minute", "loosened"),
        ("higher", "100/minute", "6000/hour", "behaviour"),
        ("higher", "100 / minute", "100/60 seconds", "cosmetic"),
        ("lower", 5, 4, "loosened"),
        ("lower", "10s", "1m", "tightened"),
        ("higher", "60s", "1m", "cosmetic"),
        ("longer", "1h", "2h", "loosened"),
        ("higher", 10, None, "loosened"),
        ("higher", None, 10, "tightened"),
        ("true", False, True, "loosened"),
        ("false", False, True, "tightened"),
        ("order:a,b,c", "a", "c", "loosened"),
        ("order:a,b,c", "a", "x", None),
        ("shorter", "text", None, "loosened"),
        ("longer", None, "text", "loosened"),
        ("longer", None, ["*"], "loosened"),
        ("longer", ["*", "a"], None, "tightened"),
        ("longer", None, ["a"], None),
        (None, 1, 2, None),
        ("sideways", 1, 2, None),
    ],
)
def test_a_direction_grades_a_step(looser: str, old: object, new: object, grade: str) -> None:
    verdict = compare(looser, old, new)
    assert (verdict.grade.name if verdict else None) == grade


@given(st.text())
def test_any_text_is_a_rate_or_none(text: str) -> None:
    assert read_rate(text) is None or "/" in text


@pytest.mark.parametrize(
    "text",
    [
        "ghp_0123456789abcdefghij",
        "sk-proj-0123456789abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "Bearer abc",
        "eyJhbGciOiJIUzI1NiJ9.e30.x",
        "-----BEGIN PRIVATE KEY-----",
        "password=hunter2",
        "Zm9vYmFyMTIzNDU2Nzg5MA",
    ],
)
def test_texts_that_look_like_a_secret_are_not_shown(text: str) -> None:
    assert looks_secret(text)
    assert shown(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "https://app.example.com",
        "POST /api/v1/auth/*",
        "a rather long and plain description",
        "max-age=63072000; includeSubDomains",
        "starlette.middleware.cors.CORSMiddleware",
    ],
)
def test_texts_that_do_not_are_shown(text: str) -> None:
    assert shown(text) == f"`{text}`"


def test_no_two_orders_contradict() -> None:
    assert len(BY_ROLES) == len(ORDERS)
    assert [pair for pair in BY_ROLES if pair[::-1] in BY_ROLES] == []


def test_chains_line_up_and_colours_are_for_terminals() -> None:
    old = (
        Layer("m.a", "a", "x.A", 1, moved=True),
        Layer("m.b", "b", "x.B", 0),
        Layer("m.c", "c", "x.C"),
    )
    new = (Layer("m.b", "b", "x.B", 1), Layer("m.a", "a", "x.A", 0, moved=True))
    finding = Finding("m.yaml", Grade.loosened, "order-weakens", "a moved", "middleware.a")
    found = Comparison("m.yaml", "m.yaml", "m.yaml", (finding,), old, new)
    names = [tuple(layer and layer.id for layer in row) for row in found.rows]
    assert names == [("a", None), ("b", "b"), (None, "a"), ("c", None)]
    assert "\x1b[1;31mloosened" in as_text([found], color=True)
    assert "\x1b" not in as_text([found])
    assert as_dict([found])["worst"] == "loosened"
