"""The page of a review in a real browser: accessible, inside its width, and asking for nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page

from assembler.review.finding import Comparison
from assembler.review.page import as_html
from tests.assembler.comparisons import ADDED, MOVED, SETS, layer

WIDE = Comparison(
    "manifests/" + "a-very-long-name-" * 12 + ".yaml",
    "old.yaml",
    "manifests/" + "a-very-long-name-" * 12 + ".yaml",
    MOVED.findings,
    (),
    tuple(layer(f"package.{'module' * 20}.Layer{index}", "x" * 90) for index in range(40)),
)
PAGES = {**SETS, "wide": [WIDE, ADDED], "none": []}


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme=request.param
    )
    yield context.new_page()
    context.close()


def opened(page: Page, name: str, folder: Path) -> list[str]:
    """Open a page from a file; return what the browser complained of or asked for."""
    file = folder / "page.html"
    file.write_text(
        as_html(PAGES[name], ["`a.yaml` cannot be compared"] if name == "failed" else ()), "utf-8"
    )
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("request", lambda request: heard.append(request.url))
    page.goto(file.as_uri())
    heard.remove(file.as_uri())
    return heard


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_accessible_and_needs_nothing_from_outside(
    page: Page, name: str, tmp_path: Path
) -> None:
    assert opened(page, name, tmp_path) == []
    for width in (1280, 800, 400):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.set_viewport_size({"width": 1280, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.evaluate(AXE_SCRIPT)
    found = page.evaluate("axe.run()")
    told = [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]]
    assert told == []


def test_a_finding_leads_to_its_box_and_back(page: Page, tmp_path: Path) -> None:
    opened(page, "moved", tmp_path)
    page.locator("#f1 a.point").click()
    assert page.evaluate("document.querySelector(':target .id').textContent") == "per-ip"
    box = page.locator(":target .frame").bounding_box()
    assert box is not None
    assert box["y"] > 0
    assert box["y"] + box["height"] < 900
    page.locator(":target a").click()
    assert page.evaluate("document.querySelector(':target').id") == "f1"


def test_a_folded_finding_opens_where_a_box_leads_to_it(page: Page, tmp_path: Path) -> None:
    opened(page, "moved", tmp_path)
    assert not page.locator("#f7").is_visible()
    page.locator("a[href='#f7']").click()
    assert page.locator("#f7").is_visible()


def test_texts_stay_inside_their_boxes(page: Page, tmp_path: Path) -> None:
    opened(page, "wide", tmp_path)
    widths = page.evaluate(
        "[...document.querySelectorAll('.box')].flatMap(box => [...box.querySelectorAll('.id,.use')]"
        ".map(text => text.getBBox().x + text.getBBox().width))"
    )
    assert widths
    assert max(widths) <= 276


def test_a_printed_page_is_light_and_shows_what_is_folded(page: Page, tmp_path: Path) -> None:
    opened(page, "moved", tmp_path)
    page.emulate_media(media="print")
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(255, 255, 255)"
    assert page.locator("#f7").is_visible()
