"""Drawing: the caret under the place, whatever stands before it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.diagnostics.errors import (
    Diagnostic,
    ManifestError,
    StartupError,
    UsageError,
    arranged,
    raise_faults,
)
from assembler.diagnostics.render import render
from assembler.diagnostics.span import File, Note, Span, printable
from assembler.diagnostics.suggest import MAX_TOLD, did_you_mean, suggestion


def fault(text: str, start: int, end: int, line: int = 1, message: str = "wrong") -> Diagnostic:
    span = Span(File("m.yaml", text), line, start, line, end)
    return Diagnostic("bad-value", message, span)


def test_a_code_that_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(KeyError, match="`nonsense` is not in the table of codes"):
        Diagnostic("nonsense", "x", None)


def test_the_errors_form_one_tree() -> None:
    assert issubclass(StartupError, ManifestError)
    assert not issubclass(UsageError, ManifestError)


def test_a_fault_without_a_place_has_its_message_and_help() -> None:
    assert render(Diagnostic("bad-value", "wrong", None, help="do right")) == (
        "error[bad-value]: wrong\n  = help: do right"
    )


@pytest.mark.parametrize(
    ("before", "columns"), [("ab", 2), ("\t", 1), ("物件", 4), ("e\u0301", 1), ("\u200b", 1)]
)
def test_the_caret_stands_under_the_place_in_terminal_columns(before: str, columns: int) -> None:
    shown = render(fault(f"{before}xyz end", len(before) + 1, len(before) + 4)).splitlines()
    assert shown[-1] == f"  | {' ' * columns}^^^"


def test_a_long_line_is_shown_around_its_caret() -> None:
    text = "a" * 5000 + "HERE" + "b" * 5000
    shown = render(fault(text, 5001, 5005)).splitlines()
    assert max(map(len, shown)) < 180
    source, caret = shown[-2], shown[-1]
    assert source[caret.index("^") : caret.rindex("^") + 1] == "HERE"
    assert source.endswith("b…")


def test_a_caret_past_the_end_of_the_line_still_shows() -> None:
    assert render(fault("ab", 9, 10)).splitlines()[-1] == "  |   ^"
    assert render(fault("ab", 1, 2, line=7)).splitlines()[-1] == "  | ^"


def test_a_span_of_several_lines_is_underlined_on_its_first() -> None:
    span = Span(File("m.yaml", "a: |\n  b\n  c\n"), 1, 4, 3, 4)
    assert render(Diagnostic("bad-value", "wrong", span)).splitlines()[-1] == "  |    ^"


def test_notes_of_the_same_file_and_of_another_are_drawn() -> None:
    here, there = File("m.yaml", "one\ntwo\nthree"), File("base.yaml", "four")
    shown = render(
        Diagnostic(
            "duplicate-id",
            "twice",
            Span(here, 3, 1, 3, 6),
            "again",
            notes=(
                Note(Span(here, 1, 1, 1, 4), "first"),
                Note(Span(there, 1, 1, 1, 5), "extended"),
            ),
            trace=("shop.py:1: x",),
        )
    )
    assert shown == (
        "error[duplicate-id]: twice\n"
        " --> m.yaml:3:1\n"
        "  |\n"
        "1 | one\n"
        "  | --- first\n"
        "3 | three\n"
        "  | ^^^^^ again\n"
        " ::: base.yaml:1:1\n"
        "  |\n"
        "1 | four\n"
        "  | ---- extended\n"
        "  = note: shop.py:1: x"
    )


def test_two_places_of_one_line_stand_under_it_together() -> None:
    file = File("m.yaml", "a: 1, a: 2")
    note = Note(Span(file, 1, 1, 1, 2), "first")
    shown = render(Diagnostic("duplicate-key", "twice", Span(file, 1, 7, 1, 8), notes=(note,)))
    assert shown.splitlines()[3:] == ["1 | a: 1, a: 2", "  | - first", "  |       ^"]


def test_color_changes_nothing_but_the_color() -> None:
    colored = render(fault("abc", 1, 2), color=True)
    assert "\x1b[1;31m" in colored
    plain = colored
    for code in ("\x1b[1;31m", "\x1b[1;34m", "\x1b[0m"):
        plain = plain.replace(code, "")
    assert plain == render(fault("abc", 1, 2))


def test_passwords_in_the_line_are_covered() -> None:
    text = "url: pg://u:canary@h, x: 1"
    shown = render(fault(text, 23, 24))
    assert "canary" not in shown
    assert shown.splitlines()[-1] == f"  | {' ' * 22}^"


@given(st.text(max_size=60), st.integers(1, 70), st.integers(0, 9), st.text(max_size=20))
def test_anything_can_be_drawn(text: str, column: int, width: int, message: str) -> None:
    lines = File("m.yaml", text).lines
    for number in range(1, len(lines) + 2):
        shown = render(fault(text, column, column + width, number, message))
        assert all(char.isprintable() or char == "\n" for char in shown)
        assert "^" in shown.rpartition("\n")[2]


@given(st.text())
def test_what_is_printed_is_printable(text: str) -> None:
    shown = printable(text)
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert shown == text or not text.isprintable()


def test_faults_are_sorted_by_file_line_and_column_and_told_once() -> None:
    text = "a b c\nd e f"
    file = File("m.yaml", text)
    spans = [Span(file, 2, 1, 2, 2), Span(file, 1, 3, 1, 4), Span(file, 1, 1, 1, 2)]
    found = [Diagnostic("bad-value", "x", span) for span in [*spans, spans[0]]]
    other = Diagnostic("bad-value", "x", Span(File("base.yaml", text), 9, 1, 9, 2))
    nowhere = Diagnostic("bad-value", "x", None)
    assert arranged([*found, other, nowhere]) == [nowhere, other, found[2], found[1], found[0]]


def test_only_errors_are_raised() -> None:
    raise_faults([])
    raise_faults([Diagnostic("static-unknown", "x", None, severity="warning")])
    with pytest.raises(ManifestError, match=r"error\[bad-value\]: x") as caught:
        raise_faults([Diagnostic("bad-value", "x", None)])
    assert len(caught.value.diagnostics) == 1


@pytest.mark.parametrize(
    ("wrong", "known", "meant"),
    [
        ("titel", ["title", "version"], "title"),
        ("Title", ["title"], "title"),
        ("allow-origins", ["allow_origins", "allow_methods"], "allow_origins"),
        ("x", ["y"], None),
        ("database", ["resources", "routes"], None),
        ("size1", ["size2", "size3"], None),
        ("", [], None),
    ],
)
def test_a_name_is_suggested_only_where_one_is_certain(
    wrong: str, known: list[str], meant: str | None
) -> None:
    assert suggestion(wrong, known) == meant
    assert did_you_mean(wrong, known) == (f"did you mean `{meant}`?" if meant else None)


def test_the_mapping_for_programs_has_the_documented_keys() -> None:
    found = Diagnostic("bad-value", "x\x1b", Span(File("m.yaml", "a"), 1, 1, 1, 2), help="y")
    assert json.loads(json.dumps(found.as_dict())) == {
        "code": "bad-value",
        "severity": "error",
        "message": "x\\u001b",
        "file": "m.yaml",
        "line": 1,
        "column": 1,
        "end_line": 1,
        "end_column": 2,
        "help": "y",
    }
    assert Diagnostic("bad-value", "x", None).as_dict()["file"] is None


def test_a_flood_of_faults_is_cut_with_a_count() -> None:
    found = [fault("x", 1, 2, line=number) for number in range(1, MAX_TOLD + 2)]
    with pytest.raises(ManifestError) as caught:
        raise_faults(found[:-1])
    assert caught.value.diagnostics == tuple(found[:-1])
    with pytest.raises(ManifestError) as caught:
        raise_faults(found)
    *told, last = caught.value.diagnostics
    assert told == found[: MAX_TOLD - 1]
    assert (last.code, last.message) == ("more-faults", "2 more faults are not told")
    assert last.span == found[MAX_TOLD - 1].span
