"""Comparisons → a comment in Markdown, read by the parser that GitHub runs."""

import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser

import cmarkgfm  # type: ignore[import-untyped]  # it has no stubs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assembler.review.comment import LONGEST_BYTES, as_markdown
from assembler.review.finding import Comparison, Finding, Grade
from assembler.review.markup import LONGEST, code, markdown
from tests.assembler.comparisons import COSMETIC, MOVED, SHARED
from tests.assembler.hostile import COMPARISONS, FAILURES, FRAGMENTS, TEXT

OURS = {"h2", "h3", "p", "br", "ul", "li", "code", "pre", "details", "summary"}


class Read(HTMLParser):
    """What a reader of the comment gets: its elements, its code, and the text outside of code."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[str] = []
        self.comments: list[str] = []
        self.code: list[str] = []
        self.prose = ""
        self._depth = 0
        html = cmarkgfm.github_flavored_markdown_to_html(
            text, cmarkgfm.cmark.Options.CMARK_OPT_UNSAFE
        )
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        if tag in {"code", "pre"}:
            self._depth += 1
            self.code.append("")

    def handle_endtag(self, tag: str) -> None:
        self._depth -= tag in {"code", "pre"}

    def handle_data(self, data: str) -> None:
        if self._depth:
            self.code[-1] += data
        else:
            self.prose += data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def inert(read: Read) -> None:
    assert not re.search(r"[@#$<>`\[\]\\|~*]|://|www\.|[0-9a-f]{7}|:\w+:|GH-\d", read.prose), (
        read.prose
    )


@given(TEXT)
@example("`a``b`")
@example("x `@a`` b")
@example("-")
@example("www`.`evil.example")
@example("9.")
@example("9.5 of 7) and 1.")
def test_a_sentence_is_nothing_but_words_and_code(text: str) -> None:
    read = Read(f"before {markdown(text)} after")
    assert set(read.elements) <= {"p", "code"}
    inert(read)


@pytest.mark.parametrize("text", FRAGMENTS)
def test_a_sentence_may_stand_at_the_start_of_a_line(text: str) -> None:
    read = Read(f"- {markdown(text)}\\\n  after\n")
    assert set(read.elements) <= {"ul", "li", "code", "br"}
    assert read.elements.count("li") == 1
    inert(read)


@given(TEXT)
@example(" ")
@example(" x ")
@example("` x `")
def test_a_value_is_one_span_of_code_and_stays_readable(text: str) -> None:
    read = Read(f"a {code(text)} b")
    assert read.elements == ["p", "code"]
    if text.isprintable() and text and len(text) <= LONGEST:
        assert read.code == [text]


def test_plain_words_stay_words() -> None:
    assert markdown("the rate limit `per-ip` now runs before (all) others: 5 of 7.") == (
        "the rate limit `per-ip` now runs before (all) others: 5 of 7&#46;"
    )


@given(COMPARISONS, FAILURES)
def test_hostile_manifests_come_out_inert(
    comparisons: Sequence[Comparison], failures: list[str]
) -> None:
    text = as_markdown(comparisons, failures)
    read = Read(text)
    assert set(read.elements) <= OURS
    assert read.comments == [" assembler-diff "]
    assert text.startswith("<!-- assembler-diff -->\n")
    assert read.elements.count("details") <= 1
    findings = {
        replace(one, manifest="", entry="") for each in comparisons for one in each.findings
    }
    lines = len(failures) + sum(1 + len(one.details) for one in findings)
    assert read.elements.count("li") == lines
    assert all(char.isprintable() or char == "\n" for char in text)
    inert(read)


@given(COMPARISONS, st.lists(TEXT.map(lambda text: text * 40), max_size=8))
def test_a_comment_is_never_longer_than_its_bound(
    comparisons: Sequence[Comparison], failures: list[str]
) -> None:
    assert len(as_markdown(comparisons, failures, limit_bytes=4096).encode()) <= 4096


@pytest.mark.parametrize("grade", [Grade.loosened, Grade.cosmetic])
def test_what_is_cut_is_said_and_what_is_open_is_closed(grade: Grade) -> None:
    found = tuple(
        Finding("a.yaml", grade, "option-changed", f"{'ö' * 400} number {index}", f"p.{index}")
        for index in range(1000)
    )
    text = as_markdown([Comparison("a.yaml", "a.yaml", "a.yaml", found)])
    assert 0.95 * LONGEST_BYTES < len(text.encode()) <= LONGEST_BYTES
    assert text.count("<details>") == text.count("</details>") == (grade is Grade.cosmetic)
    assert text.count("\n- ") == 1000 - int(re.findall(r"\*\*Cut:\*\* (\d+) of 1000", text)[0])


def test_the_worst_are_kept_where_not_all_fit() -> None:
    found = tuple(
        Finding("a.yaml", grade, "option-changed", f"{grade.name} {'x ' * 200}{index}", "p")
        for index in range(20)
        for grade in (Grade.behaviour, Grade.loosened)
    )
    text = as_markdown([Comparison("a.yaml", "a.yaml", "a.yaml", found)], limit_bytes=12_000)
    assert text.count("- loosened") == 20
    assert 0 < text.count("- behaviour") < 20


def test_the_worst_stand_first_and_the_cosmetic_are_folded() -> None:
    text = as_markdown([COSMETIC, MOVED])
    at = [
        text.index(word) for word in ("Loosened", "Review:", "Behaviour", "Tightened", "Cosmetic")
    ]
    assert at == sorted(at)
    assert text.index("<details>") < at[-1] < text.index("same-meaning") < text.index("</details>")


def test_both_chains_are_shown_where_the_order_changed() -> None:
    assert "per-ip (moved)" in as_markdown([MOVED])
    assert "outermost first" not in as_markdown(SHARED)


def test_manifests_that_share_a_finding_share_its_item() -> None:
    text = as_markdown(SHARED)
    assert text.count("option-loosened") == 1
    assert "in `manifests/dev.yaml`, `manifests/test.yaml`, `manifests/prod.yaml`" in text


@pytest.mark.parametrize("marker", ["", "a--b", "-->", "a b", "a\n", "-a", "é"])
def test_a_marker_that_could_end_the_hidden_line_is_refused(marker: str) -> None:
    with pytest.raises(ValueError, match="`marker` takes letters and digits"):
        as_markdown([], marker=marker)


def test_a_bound_too_small_to_say_a_cut_is_refused() -> None:
    with pytest.raises(ValueError, match="`limit_bytes` is at least 4096, not 100"):
        as_markdown([], limit_bytes=100)
