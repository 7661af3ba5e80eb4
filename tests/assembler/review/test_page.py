"""Comparisons → a page of HTML: what is in it, and what can never be."""

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given

import assembler.review
from assembler.review.finding import Comparison
from assembler.review.page import as_html
from assembler.review.stacks import as_svg, boxes_of
from tests.assembler.comparisons import ADDED, COSMETIC, LIMIT, MOVED, SAME, SETS, layer
from tests.assembler.hostile import COMPARISONS, FAILURES

STYLE = (Path(assembler.review.__file__).parent / "page.css").read_text("utf-8")
EMPTY = {"meta", "path", "rect", "circle"}
ELEMENTS = """
html head meta title style body header h1 h2 main section footer nav p ul ol li dl div dt dd b
span code a details summary figure svg g text tspan path rect circle
"""
ATTRIBUTES = """
lang charset http-equiv content name class id href tabindex role transform viewbox d x y dx rx
cx cy r width height aria-hidden aria-label aria-labelledby
"""


class Read(HTMLParser):
    """The elements of a page, each closed where it must be, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in EMPTY:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    @property
    def ids(self) -> list[str]:
        return [attributes["id"] for _, attributes in self.elements if "id" in attributes]

    @property
    def links(self) -> list[str]:
        return [attributes["href"] for _, attributes in self.elements if "href" in attributes]


@given(COMPARISONS, FAILURES)
def test_hostile_manifests_come_out_inert(
    comparisons: Sequence[Comparison], failures: list[str]
) -> None:
    html = as_html(comparisons, failures)
    read = Read(html)
    assert {tag for tag, _ in read.elements} <= set(ELEMENTS.split())
    assert {name for _, attributes in read.elements for name in attributes} <= set(
        ATTRIBUTES.split()
    )
    assert all(char.isprintable() or char == "\n" for char in html)
    assert len(set(read.ids)) == len(read.ids)
    assert all(link[0] == "#" and link[1:] in read.ids for link in read.links)
    assert len(re.findall(r'<li class="finding ', html)) == sum(
        len(one.findings) for one in comparisons
    )


@pytest.mark.parametrize("name", SETS)
def test_nothing_is_requested_and_the_policy_says_so(name: str) -> None:
    html = as_html(SETS[name])
    digest = b64encode(sha256(STYLE.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}';" in html
    assert not re.search(r"url\(|@import|src=|<script|<link|style=", html)


def test_every_finding_of_a_layer_points_at_its_box_and_the_box_at_it() -> None:
    html = as_html([MOVED])
    layers = {each.address for each in (*MOVED.old_chain, *MOVED.new_chain)}
    for number, finding in enumerate(MOVED.findings, 1):
        text = html[html.index(f'id="f{number}"') :].partition("</li>\n")[0]
        pointer = re.search(r'href="#(m0-(?:old|new)-\d)"', text)
        assert bool(pointer) == (finding.entry in layers)
        if pointer:
            box = html[html.index(f'id="{pointer[1]}"') :].partition("</g>")[0]
            assert f'href="#f{number}"' in box
            assert finding.entry.removeprefix("middleware.") in box


def test_the_state_of_a_box_is_told_in_words_and_signs() -> None:
    html = as_html([MOVED])
    for sign, word in {"↕": "moved", "+": "added", "−": "removed", "≠": "changed"}.items():  # noqa: RUF001  # its minus
        assert re.search(rf'class="sign"[^>]*>{re.escape(sign)}</text>\n.*\n.*>{word} · <', html)


def test_the_same_layers_are_joined() -> None:
    boxes = boxes_of(MOVED, "m", {})
    svg = as_svg(MOVED, "m", boxes)
    assert svg.count('class="join moved"') == 1
    assert svg.count('class="join ') == 5
    assert len({(box.x, box.y) for box in boxes}) == len(boxes) == 12


def test_more_findings_than_a_box_has_room_for_are_counted() -> None:
    chain = (layer(LIMIT, "cors", 0),)
    twin = Comparison("a", "a", "a", (MOVED.findings[1],) * 6, chain, chain)
    html = as_html([twin])
    assert ">+3</text>" in html
    assert '"#f4"' in html
    assert '"#f5"' not in html


def test_a_side_without_a_manifest_is_empty() -> None:
    html = as_html([ADDED])
    assert "no manifest" in html
    assert html.count("request ↓") == 1


def test_a_manifest_that_is_the_same_needs_no_picture() -> None:
    html = as_html([SAME])
    assert "Nothing differs." in html
    assert "<svg" not in html


def test_cosmetic_findings_are_folded_and_numbered_after_all_others() -> None:
    html = as_html([COSMETIC, MOVED])
    assert html.index('id="f6"') < html.index("<details>") < html.index('id="f7"')
    assert html.index("manifests/prod.yaml</code></h2>") < html.index("dev.yaml</code></h2>")


def test_long_names_keep_what_tells_them_apart() -> None:
    long = f"{'p' * 80}.{'m' * 30}.LastMiddleware"
    wide = "層" * 60
    one = Comparison("a", "a", "a", (), (), (layer(long, wide), layer(long)))
    svg = as_svg(one, "m", boxes_of(one, "m", {}))
    shown = re.findall(
        r'class="(?:id|use)" x[^>]*>(?:<tspan[^>]*>[^<]*</tspan>)?([^<]*)</text>', svg
    )
    assert shown[0] == "層" * 13 + "…"
    assert shown[1].endswith("LastMiddleware")
    assert shown[2] == "LastMiddleware"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_colours_have_the_contrast_that_wcag_aa_asks_for(scheme: str) -> None:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    names = dict(re.findall(r"--([\w-]+): (#\w{6});", light))
    if scheme == "dark":
        names |= dict(re.findall(r"--([\w-]+): (#\w{6});", dark))
    texts = (
        "ink muted link loosened review behaviour tightened cosmetic added removed moved changed"
    )
    for name in texts.split():
        for ground in ("paper", "card"):
            assert contrast(names[name], names[ground]) >= 4.5, (name, ground)
        assert contrast(names[name], names["on-strip"]) >= 4.5, name
    assert contrast(names["line"], names["paper"]) >= 3


def contrast(one: str, other: str) -> float:
    """Return the ratio of WCAG 2.2 for two colours."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def luminance(color: str) -> float:
    channels = (int(color[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
