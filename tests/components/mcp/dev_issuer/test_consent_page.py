"""The consent page in a real browser, with scripts switched off."""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.mcp_flow import pkce, register, request_of


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(java_script_enabled=False, viewport={"width": 900, "height": 800})
    yield context.new_page()
    context.close()


@pytest.fixture
def callback() -> Iterator[str]:
    """A host's page that sends its visitor on to another one, as hosts do."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/callback"):
                self.send_response(302)
                self.send_header("Location", "/done?" + urlsplit(self.path).query)
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"done")

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/callback"
    server.shutdown()
    thread.join(20)
    server.server_close()


def url_of(issuer: str, callback: str, name: str = "Inspector") -> str:
    with httpx2.Client(base_url=issuer, timeout=60) as client:
        known = register(client, client_name=name, redirect_uris=[callback])
    request = request_of(known["client_id"], pkce()[1], redirect_uri=callback)
    return f"{issuer}/authorize?" + urlencode({**request, "resource": f"{issuer}/mcp"})


def told(page: Page) -> dict[str, str]:
    page.wait_for_url("**/done?*")
    return dict(parse_qsl(urlsplit(page.url).query))


def test_a_person_approves_with_the_keyboard(
    issuer_url: str, callback: str, page: Page, tmp_path: Path
) -> None:
    page.goto(url_of(issuer_url, callback))
    expect(page).to_have_title("Inspector asks to log in")
    expect(page.get_by_role("heading", level=1)).to_have_text("Inspector asks to log in")
    expect(page.get_by_role("group", name="Log in as").get_by_role("radio")).to_have_count(2)
    expect(page.get_by_role("radio", name="Ada")).to_be_checked()
    picture = page.screenshot(path=os.environ.get("SCREENSHOT", tmp_path / "consent.png"))
    assert len(picture) > 5000
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Bob")).to_be_checked()
    page.keyboard.press("Enter")  # the first button of a form: approve
    answer = told(page)
    assert answer.keys() == {"code", "state", "iss"}
    assert answer["iss"] == issuer_url


def test_a_person_denies(issuer_url: str, callback: str, page: Page) -> None:
    page.goto(url_of(issuer_url, callback))
    page.get_by_role("button", name="Deny").click()
    assert told(page)["error"] == "access_denied"


def test_two_windows_do_not_disturb_each_other(issuer_url: str, callback: str, page: Page) -> None:
    other = page.context.new_page()
    page.goto(url_of(issuer_url, callback, "First"))
    other.goto(url_of(issuer_url, callback, "Second"))
    for window in (page, other):
        window.get_by_role("button", name="Approve").click()
        assert "code" in told(window)


def test_a_second_answer_is_told_so(issuer_url: str, callback: str, page: Page) -> None:
    page.goto(url_of(issuer_url, callback))
    ticket = page.locator("input[name=ticket]").get_attribute("value")
    page.get_by_role("button", name="Approve").click()
    told(page)
    assert ticket is not None
    answer = page.request.post(
        f"{issuer_url}/authorize/consent",
        form={"ticket": ticket, "user": "u-ada", "decision": "approve"},
        max_redirects=0,
    )
    assert answer.status == 400
    page.set_content(answer.text())
    expect(page.get_by_role("heading", level=1)).to_have_text("This login cannot go on")


def test_the_style_is_allowed_by_the_policy_and_nothing_is_complained_of(
    issuer_url: str, callback: str, browser: Browser
) -> None:
    context = browser.new_context(color_scheme="dark", viewport={"width": 360, "height": 640})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(url_of(issuer_url, callback, "A host with a very long name indeed " * 3))
    assert page.evaluate("getComputedStyle(document.querySelector('main')).borderRadius") == "12px"
    wide = page.evaluate("document.documentElement.scrollWidth > innerWidth")
    if "SCREENSHOT" in os.environ:
        page.screenshot(path=os.environ["SCREENSHOT"] + ".dark.png", full_page=True)
    context.close()
    assert not wide
    assert [text for text in complaints if "favicon" not in text] == []
