"""The widgets of the estate service in a real browser, in a frame of a host that is written here."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, FrameLocator, Page, expect

from components.estate import seed
from components.mcp.widgets import Widgets

FOLDER = Path(seed.__file__).with_name("widgets")

# A host: it loads the widget without an origin, lets it ask for nothing, and answers as hosts do.
HOST = """<!doctype html><title>Host</title><script>
window.said = [];
window.addEventListener("message", (event) => {
  const { id, method } = event.data;
  window.said.push(event.data);
  const frame = document.querySelector("iframe").contentWindow;
  if (method === "ui/initialize") {
    const result = { protocolVersion: "2026-01-26", hostInfo: { name: "h", version: "1" },
      hostCapabilities: {}, hostContext: { theme: window.theme } };
    frame.postMessage({ jsonrpc: "2.0", id, result }, "*");
  } else if (method === "ui/notifications/initialized") {
    const params = window.result;
    frame.postMessage({ jsonrpc: "2.0", method: "ui/notifications/tool-result", params }, "*");
  }
});
window.show = (html, result, theme) => {
  window.result = result;
  window.theme = theme;
  const frame = document.createElement("iframe");
  frame.sandbox = "allow-scripts";
  frame.style = "width: 760px; height: 640px; border: 0";
  const policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'";
  frame.srcdoc = html.replace("<head>",
    `<head><meta http-equiv="Content-Security-Policy" content="${policy}">`);
  document.body.replaceChildren(frame);
};
</script><body></body>"""

ROWS: list[dict[str, Any]] = [
    {**row, "id": number, "created_at": "", "updated_at": ""}
    for number, row in enumerate(seed.generate(6, seed=7), 1)
]
PAGE = {"items": ROWS, "total": 42, "limit": 6, "offset": 0}
COUNTS = {
    "listings": 300,
    "by_status": {"active": 240, "draft": 24, "sold": 27, "withdrawn": 9},
    "offered_by_kind": {"apartment": 115, "house": 34, "villa": 22, "plot": 21, "office": 20},
    "offered_by_city": {"Mumbai": 30, "Pune": 22, "London": 17, "Dubai": 12},
    "visits_by_status": {"booked": 7, "cancelled": 2},
    "upcoming_visits": 5,
}


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 800, "height": 680}, locale="en-GB")
    made = context.new_page()
    faults: list[str] = []
    made.on("pageerror", lambda error: faults.append(str(error)))
    made.on("console", lambda message: faults.append(message.text))
    requests: list[str] = []
    made.on("request", lambda request: requests.append(request.url))
    made.set_content(HOST)
    yield made
    context.close()
    assert faults == []
    assert [url for url in requests if not url.startswith("about:")] == []


def html(name: str) -> str:
    (binding,) = Widgets(FOLDER, authority="estate", names=[name]).resources()
    text: str = binding.resource.text  # type: ignore[attr-defined]  # a TextResource
    return text


def show(page: Page, name: str, result: Any, theme: str = "light") -> FrameLocator:
    page.evaluate("([h, r, t]) => window.show(h, r, t)", [html(name), result, theme])
    return page.frame_locator("iframe")


def picture(page: Page, name: str) -> None:
    """Keep a screenshot where `WIDGET_PICTURES` says, for a person to look at."""
    folder = os.environ.get("WIDGET_PICTURES")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_listings_are_cards(page: Page, theme: str) -> None:
    frame = show(page, "listing-cards", {"structuredContent": PAGE}, theme)
    expect(frame.get_by_role("status")).to_have_text("6 of 42 listings")
    cards = frame.locator("#cards > li")
    expect(cards).to_have_count(6)
    for row, card in zip(ROWS, cards.all(), strict=True):
        expect(card.get_by_role("heading", level=2)).to_have_text(row["title"])
        expect(card).to_contain_text(row["city"])
    picture(page, f"cards-{theme}")
    page.wait_for_function("window.said.some((m) => m.method === 'ui/notifications/size-changed')")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_counts_are_bars_with_numbers(page: Page, theme: str) -> None:
    frame = show(page, "dashboard", {"structuredContent": COUNTS}, theme)
    expect(frame.get_by_role("status")).to_have_text("300 listings, 5 visits to come")
    table = frame.get_by_role("table", name="Listings by status")
    expect(table.get_by_role("row")).to_have_count(4)
    expect(table.get_by_role("row").first).to_contain_text("240")
    widths = [bar.bounding_box() for bar in table.locator(".bar").all()]
    assert widths[0] is not None
    assert widths[1] is not None
    assert 8 < widths[0]["width"] / widths[1]["width"] < 12
    picture(page, f"dashboard-{theme}")


def test_what_a_listing_says_is_text(page: Page) -> None:
    evil = {**ROWS[0], "title": "<img src=x onerror=alert(1)>", "amenities": ["</script><b>x"]}
    answer = {"structuredContent": {**PAGE, "items": [evil], "total": 1}}
    frame = show(page, "listing-cards", answer)
    expect(frame.get_by_role("heading", level=2)).to_have_text(evil["title"])
    expect(frame.get_by_role("status")).to_have_text("1 listing")
    expect(frame.locator("img, b")).to_have_count(0)


@pytest.mark.parametrize("name", ["listing-cards", "dashboard"])
def test_an_error_is_told(page: Page, name: str) -> None:
    failed = {"isError": True, "content": [{"type": "text", "text": "no such listing"}]}
    expect(show(page, name, failed).get_by_role("status")).to_have_text("no such listing")


def test_chatgpt_gives_its_data_otherwise(page: Page) -> None:
    given = json.dumps({"toolOutput": PAGE, "theme": "dark"})
    widget = html("listing-cards").replace("<head>", f"<head><script>openai = {given}</script>")
    page.set_content(widget)
    expect(page.get_by_role("status")).to_have_text("6 of 42 listings")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.evaluate(
        "() => { openai.toolOutput = {items: [], total: 0};"
        " window.dispatchEvent(new Event('openai:set_globals')); }"
    )
    expect(page.get_by_role("status")).to_have_text("No listing was found")
