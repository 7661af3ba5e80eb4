"""A share page in a real browser: what a person sees, at any width, and what axe says of it."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from components.estate.share import share_router
from components.middleware.security_headers import SecurityHeadersMiddleware
from tests.components.estate.conftest import MakeApp
from tests.servers import free_port, serve


@pytest.fixture
def site(make_app: MakeApp) -> Iterator[str]:
    """The service on a real socket, with 40 listings and the headers of production."""
    port = free_port()
    app = make_app(listings=40)
    app.include_router(share_router(base_url=f"http://127.0.0.1:{port}"))
    app.add_middleware(SecurityHeadersMiddleware, csp="default-src 'none'")
    with serve(app, port=port) as url:
        yield url


def keep(page: Page, name: str) -> None:
    """Keep a picture where `WIDGET_PICTURES` says, for a person to look at."""
    folder = os.environ.get("WIDGET_PICTURES")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1000])
def test_a_person_sees_the_listing(site: str, browser: Browser, width: int, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800},
        color_scheme=scheme,  # type: ignore[arg-type]  # one of two words
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(f"{site}/share/listings/4")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    picture = page.get_by_role("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.complete && image.naturalWidth") == 1200
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    weight = page.locator(".price").evaluate("e => getComputedStyle(e).fontWeight")
    assert weight == "700"  # the policy lets the page's own style be
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    keep(page, f"share-{width}-{scheme}")
    context.close()
    assert [text for text in complaints if "Content Security" in text] == []


@pytest.mark.parametrize("field", ["title", "locality", "city", "description", "price"])
def test_the_longest_values_fit_on_the_narrowest_screen(
    site: str, browser: Browser, field: str
) -> None:
    long = {"title": "W" * 200, "description": "W" * 2000, "price": 10**15}
    listing = {
        "title": "A house",
        "kind": "house",
        "purpose": "rent",
        "status": "active",
        "price": 1,
        "area_m2": 80,
        "city": "Pune",
        "locality": "Baner",
        field: long.get(field, "W" * 100),
    }
    made = httpx2.post(f"{site}/api/v1/listings", json=listing, trust_env=False)
    context = browser.new_context(viewport={"width": 320, "height": 600})
    page = context.new_page()
    page.goto(f"{site}/share/listings/{made.json()['id']}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_what_is_not_there_is_said_to_a_person(site: str, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 320, "height": 600})
    page = context.new_page()
    answer = page.goto(f"{site}/share/listings/4711")
    assert answer is not None
    assert answer.status == 404
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such listing")
    assert Axe().run(page).violations_count == 0
    keep(page, "share-404")
    context.close()
