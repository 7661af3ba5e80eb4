"""The page in a real browser: it loads from nowhere else, logs in at the dev issuer, and tries out."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.servers import free_port, start_uvicorn

PATIENCE = 45_000  # milliseconds: the machine may be busy


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The service of `manifests/dev.yaml`; gives its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    database = tmp_path_factory.mktemp("docs") / "estate.db"
    environment = {
        "ASSEMBLY": "manifests/dev.yaml",
        "PUBLIC_BASE_URL": url,
        "DATABASE_URL": f"sqlite+aiosqlite:///{database}",
    }
    with start_uvicorn("assembler:app", environment=environment, port=port):
        yield url


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1200, "height": 900})
    made.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    yield made
    made.close()


def watched(context: BrowserContext) -> tuple[list[str], list[str]]:
    """The hosts that are asked, and what the console complains of, both as they come."""
    hosts: list[str] = []
    complaints: list[str] = []
    context.on("request", lambda request: hosts.append(urlsplit(request.url).netloc))
    context.on(
        "console",
        lambda message: complaints.append(message.text) if is_complaint(message) else None,
    )
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    return hosts, complaints


def is_complaint(message: ConsoleMessage) -> bool:
    """Whether something was refused or failed; what a browser advises besides is its own affair."""
    return message.type == "error" or "Content Security Policy" in message.text


def opened(page: Page, service: str) -> None:
    page.goto(f"{service}/api/v1/docs")
    expect(page.get_by_role("heading", name="Estate API")).to_be_visible()


def asked(context: BrowserContext, page: Page) -> Page:
    """The issuer's question, in the window that `Authorize` opens."""
    with context.expect_page() as popup:
        page.get_by_role("button", name="Apply given OAuth2 credentials").click()
    expect(popup.value.get_by_role("heading", level=1)).to_contain_text("Estate API: documentation")
    return popup.value


def test_an_administrator_logs_in_by_clicking_and_creates_a_listing(
    service: str, context: BrowserContext, tmp_path: Path
) -> None:
    hosts, complaints = watched(context)
    page = context.new_page()
    opened(page, service)
    page.screenshot(path=os.environ.get("DOCS_SCREENSHOTS", str(tmp_path)) + "/page.png")
    page.get_by_role("button", name="Authorize").first.click()
    dialog = page.locator(".dialog-ux")
    expect(dialog.get_by_label("client_id")).to_have_value(f"{service}/api/v1/docs/client.json")
    page.screenshot(path=os.environ.get("DOCS_SCREENSHOTS", str(tmp_path)) + "/dialog.png")
    consent = asked(context, page)
    consent.get_by_role("radio", name="An administrator").check()
    consent.screenshot(path=os.environ.get("DOCS_SCREENSHOTS", str(tmp_path)) + "/consent.png")
    with consent.expect_event("close"):
        consent.get_by_role("button", name="Approve").click()
    expect(dialog.get_by_role("button", name="Remove authorization")).to_be_visible()
    page.screenshot(path=os.environ.get("DOCS_SCREENSHOTS", str(tmp_path)) + "/authorized.png")
    dialog.get_by_role("button", name="Close", exact=True).click()
    operation = page.locator("#operations-listings-create_listing_api_v1_listings_post")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response .response-col_status")
    expect(answer).to_contain_text("201")
    answer.scroll_into_view_if_needed()
    page.screenshot(path=os.environ.get("DOCS_SCREENSHOTS", str(tmp_path)) + "/created.png")
    assert set(hosts) == {urlsplit(service).netloc}
    assert complaints == []


def test_a_login_that_is_denied_is_told_on_the_page(service: str, context: BrowserContext) -> None:
    _, complaints = watched(context)
    page = context.new_page()
    opened(page, service)
    page.get_by_role("button", name="Authorize").first.click()
    consent = asked(context, page)
    with consent.expect_event("close"):
        consent.get_by_role("button", name="Deny").click()
    expect(page.locator(".dialog-ux .errors")).to_contain_text("access_denied: the user said no")
    assert complaints == []


def test_under_another_name_the_page_says_where_logins_work(
    service: str, context: BrowserContext
) -> None:
    page = context.new_page()
    opened(page, service)
    expect(page.locator("#elsewhere")).to_be_hidden()
    opened(page, service.replace("127.0.0.1", "localhost"))
    link = page.get_by_role("link", name=f"{service}/api/v1/docs")
    expect(link).to_be_visible()
    link.click()
    expect(page).to_have_url(f"{service}/api/v1/docs")
