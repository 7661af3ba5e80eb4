"""Environments side by side: which rows there are, how they are marked, what they never show."""

import html
import json
import re
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser

from assembler.plan.load import load_shape
from assembler.review.credentials import is_secret_place
from assembler.review.matrix import HIDDEN, Column, Matrix, matrix
from assembler.review.matrix.pages import as_dict, as_html, as_markdown, as_text
from tests.assembler.command import run, write

FORMS = (as_text, as_markdown, as_html, lambda table: json.dumps(as_dict(table)))


def table(folder: Path, *texts: str, whole: bool = False) -> Matrix:
    columns = []
    for number, text in enumerate(texts):
        file = folder / f"m{number}.yaml"
        file.write_text(f"manifest: 1\n{text}\n", "utf-8")
        document, _ = load_shape(file)
        columns.append(Column(f"m{number}", document, is_secret_place))
    return matrix(columns, whole=whole)


def rows(found: Matrix) -> list[tuple[str, str, str]]:
    return [(row.section, row.name, row.state) for row in found.rows]


def test_an_entry_that_one_environment_lacks_is_a_gap(tmp_path: Path) -> None:
    found = table(
        tmp_path, "resources: {a: {use: x.a}, b: {use: x.b}}", "resources: {a: {use: x.a}}"
    )
    assert rows(found) == [("resources", "a", "same"), ("resources", "b", "gap")]
    assert found.rows[1].cells == ("x.b", None)


def test_an_entry_that_names_other_code_differs(tmp_path: Path) -> None:
    found = table(tmp_path, "resources: {a: {use: x.a}}", "resources: {a: {use: x.b}}")
    assert rows(found) == [("resources", "a", "differs")]


def test_only_values_that_differ_are_rows_unless_all_are_asked_for(tmp_path: Path) -> None:
    texts = [f"middleware: [{{use: x.a, with: {{same: 1, other: {number}}}}}]" for number in (1, 2)]
    brief = [("middleware", "x.a", "same"), ("middleware", "with.other", "differs")]
    assert rows(table(tmp_path, *texts)) == brief
    whole = [brief[0], ("middleware", "with.same", "same"), brief[1]]
    assert rows(table(tmp_path, *texts, whole=True)) == whole


def test_values_of_an_entry_that_is_away_are_no_gaps_of_their_own(tmp_path: Path) -> None:
    found = table(tmp_path, "middleware: [{use: x.a, with: {one: 1}}]", "")
    assert rows(found) == [("middleware", "x.a", "gap")]


def test_another_order_of_what_all_have_is_a_row(tmp_path: Path) -> None:
    found = table(
        tmp_path,
        "middleware: [{id: a, use: x.a}, {id: b, use: x.b}, {id: c, use: x.c}]",
        "middleware: [{id: b, use: x.b}, {id: a, use: x.a}]",
    )
    assert rows(found)[0] == ("middleware", "order", "differs")
    assert found.rows[0].cells == ("a → b", "b → a")


def test_a_number_and_its_text_differ(tmp_path: Path) -> None:
    found = table(tmp_path, "server: {backlog: 5}", "server: {backlog: '5'}")
    assert found.rows[0].cells == ("5", '"5"')


def test_jobs_are_entries_and_the_scheduler_has_values(tmp_path: Path) -> None:
    jobs = "jobs: [{id: a, use: x.a, every: 5s}]"
    found = table(
        tmp_path, f"scheduler: {{{jobs}}}", f"scheduler: {{timezone: Asia/Kolkata, {jobs}}}"
    )
    assert rows(found) == [("scheduler", "timezone", "gap"), ("scheduler", "a", "same")]


def test_secrets_differ_without_being_shown(tmp_path: Path) -> None:
    template = (
        "resources: {a: {use: x.a, with: {password: canary%s, url: 'db://u:canary%s@h',"
        ' token: "${TOKEN:-canary%s}", pin: "${API_KEY:-canary%s}", secrets: [canary%s]}}}'
    )
    found = table(tmp_path, *(template % ((number,) * 5) for number in (1, 2)))
    assert [row.state for row in found.rows] == ["same", *["differs"] * 5]
    assert found.rows[1].cells == (HIDDEN, HIDDEN)
    for form in FORMS:
        assert "canary" not in form(found)


def test_names_and_forms_hide_what_diff_hides(tmp_path: Path) -> None:
    template = (
        "resources: {a: {use: x.a, with: {pepper: canary%s, cookie: 'a=canary%s', pin: 4711%s,"
        " headers: {Cookie: canary%s}, note: cAnAry0123456789abcdefgh%s}}}"
    )
    found = table(tmp_path, *(template % ((number,) * 5) for number in (1, 2)))
    assert [row.cells for row in found.rows[1:]] == [(HIDDEN, HIDDEN)] * 5
    template = "resources: {a: {use: x.a, with: {cookie: id%s, key: user%s, token_file: /run/%s}}}"
    found = table(tmp_path, *(template % ((number,) * 3) for number in (1, 2)))
    shown = [("id1", "id2"), ("user1", "user2"), ("/run/1", "/run/2")]
    assert [row.cells for row in found.rows[1:]] == shown


@pytest.mark.parametrize("bad", ["manifest: 1\nserverr: {}\n", "a: [", None])
def test_what_cannot_be_read_is_unknown_in_every_form(tmp_path: Path, bad: str | None) -> None:
    good = "manifest: 1\napp: {title: A}\n"
    write(tmp_path, {"a.yaml": good, "b.yaml": good, **({"bad.yaml": bad} if bad else {})})
    for form in ("text", "markdown", "html", "json"):
        done = run("matrix", "a.yaml", "b.yaml", "bad.yaml", "--format", form, folder=tmp_path)
        assert done.status == 2
        assert "unknown" in done.out
        assert "bad.yaml" in done.err
        if form == "json":
            assert json.loads(done.out)["worst"] == "unknown"
    done = run("matrix", "a.yaml", "b.yaml", "--format", "json", folder=tmp_path)
    assert (done.status, json.loads(done.out)["worst"]) == (0, None)


HOSTILE = st.sampled_from(
    [
        *("<script>alert(1)</script>", "</code><img src=x onerror=alert(1)>", "|", "`", "``` x"),
        *("@everyone", "\x1b[31m", "\u202e", "\n# head", "a\\|b", "--->", "&lt;", "\u2028", " "),
        *("https://evil.example", "![x](https://evil.example)", "\\", "\\`", "*", "]]>", "\x85"),
    ]
)
TEXT = st.lists(HOSTILE | st.text(max_size=4), min_size=1, max_size=4).map("".join)
OPTIONS = st.dictionaries(TEXT, TEXT | st.lists(TEXT, max_size=2), max_size=2)


class Read(HTMLParser):
    """The elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.attributes |= {name for name, _ in attrs}


@settings(max_examples=100, deadline=None)
@given(left=OPTIONS, right=OPTIONS, title=TEXT, name=TEXT)
def test_hostile_texts_come_out_inert(left: Any, right: Any, title: str, name: str) -> None:
    manifests = [
        {"app": {"title": title}, "resources": {"a": {"use": "x.a", "with": options}}}
        for options in (left, right)
    ]
    columns = []
    with tempfile.TemporaryDirectory() as folder:
        for number, manifest in enumerate(manifests):
            file = Path(folder) / f"{number}.yaml"
            file.write_text(json.dumps({"manifest": 1, **manifest}), "utf-8")
            try:
                document, _ = load_shape(file)
            except Exception:  # a text that is no reference
                return
            columns.append(Column(name, document, is_secret_place))
    found = matrix(columns, whole=True)
    for form in FORMS:
        assert all(char.isprintable() or char == "\n" for char in form(found))
    page = Read()
    page.feed(as_html(found))
    assert page.names <= {
        *("html", "head", "meta", "title", "style", "body", "main", "h1", "p", "ul", "li", "span"),
        *("div", "table", "thead", "tbody", "tr", "th", "td", "code"),
    }
    assert not {attribute for attribute in page.attributes if attribute.startswith("on")}
    for line in as_markdown(found).splitlines():
        assert not line or line[0] in "*#|"
        if line.startswith("|"):
            assert line.count("|") == 5
            outside = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", line)
            assert re.fullmatch(r"[|\s○≠—&nbsp;-]*", outside), line


def test_the_page_asks_for_nothing() -> None:
    page = as_html(Matrix(("a", "b"), ()))
    assert "default-src 'none'" in page
    assert "http" not in html.unescape(page).replace("http-equiv", "")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_not_wider_than_a_window(
    tmp_path: Path, scheme: Any, browser: Browser
) -> None:
    wide = f"resources: {{{'a' * 90}: {{use: x.{'b' * 200}, with: {{c: {'d' * 300}}}}}}}"
    found = table(tmp_path, wide, "resources: {a: {use: x.a}}\nserver: {port: 1}", whole=True)
    file = tmp_path / "page.html"
    file.write_text(as_html(found), "utf-8")
    viewport: Any = {"width": 1280, "height": 900}
    with browser.new_context(viewport=viewport, color_scheme=scheme) as context:
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        assert Axe().run(page).violations_count == 0
    assert asked == [file.as_uri()]
