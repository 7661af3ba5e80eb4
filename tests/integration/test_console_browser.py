"""The console in a real browser: at any width, in light and dark, by keyboard, and without scripts."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

import assembler
from tests.integration.test_console import MANIFEST, TOKEN
from tests.servers import serve

PAGES = (
    "",
    "/explain",
    "/runs?job=flaky",
    "/limits",
    "/start",
    "/options",
    "/loggers?q=assembler",
    "/orders",
)
JUDGED_NARROW = ("", "/runs?job=flaky", "/loggers?q=assembler")  # the rules are the same for all


@contextlib.contextmanager
def served(folder: Path, text: str) -> Iterator[str]:
    """The service on a real socket; gives the address of its console."""
    path = folder / "shop.yaml"
    path.write_text(text, "utf-8")
    with serve(assembler.build(assembler.load(path))) as url:
        yield f"{url}/_assembly"


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("console")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORE_URL", f"sqlite+aiosqlite:///{folder}/store.db")
        patch.setenv("CANARY", "canary-5up3r-s3cret")
        patch.setenv("FILES", str(folder))
        patch.setenv("TOKEN", TOKEN)
        both = MANIFEST.replace("limit: 5/minute", "limit: 500/minute").replace(
            "scheduler:",
            "  - {id: closed, use: components.console.router, prefix: /closed, "
            'with: {token: "${TOKEN}"}}\nscheduler:',
        )
        with served(folder, both) as address:
            yield address


def opened(browser: Browser, width: int, scheme: Any = "light", **options: Any) -> Page:
    viewport: Any = {"width": width, "height": 900}
    page = browser.new_context(viewport=viewport, color_scheme=scheme, **options).new_page()
    page.set_default_timeout(60_000)
    return page


def keep(page: Page, name: str) -> None:
    """Keep a picture where `CONSOLE_PICTURES` says, for a person to look at."""
    folder = os.environ.get("CONSOLE_PICTURES")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (320, "dark")])
def test_every_page_is_readable_at_any_width(
    console: str, browser: Browser, width: int, scheme: str
) -> None:
    page = opened(browser, width, scheme)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    for path in PAGES:
        page.goto(console + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        if width > 1000 or path in JUDGED_NARROW:
            found = Axe().run(page)
            assert found.violations_count == 0, found.generate_report()
        keep(page, f"{path.strip('/').partition('?')[0] or 'overview'}-{width}-{scheme}")
    assert complaints == []
    page.context.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (320, "light")])
def test_the_first_page_is_readable_in_the_other_colours(
    console: str, browser: Browser, width: int, scheme: str
) -> None:
    page = opened(browser, width, scheme)
    for path in ("", "/explain"):
        page.goto(console + path)
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        keep(page, f"{path.strip('/') or 'overview'}-{width}-{scheme}")
    page.context.close()


def test_an_operator_without_a_mouse_runs_a_job_and_sees_it_run(
    console: str, browser: Browser
) -> None:
    page = opened(browser, 1280)
    page.goto(console)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the page")).to_be_focused()
    button = page.get_by_role("button", name="Run count")
    for _ in range(60):
        page.keyboard.press("Tab")
        if button.evaluate("it => it === document.activeElement"):
            break
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_contain_text("Ordered.")
    row = page.get_by_role("row").filter(has_text="count")
    expect(row.get_by_text("ok", exact=True)).to_be_visible(timeout=60_000)  # without asking anew
    expect(page.locator("#fresh")).to_have_text("live")
    page.context.close()


def test_the_focus_stays_while_the_page_is_kept_fresh(console: str, browser: Browser) -> None:
    page = opened(browser, 1280)
    page.goto(console)
    expect(page.locator("#fresh")).to_have_text("live", timeout=60_000)
    button = page.get_by_role("button", name="Pause flaky")
    button.focus()
    page.evaluate("document.querySelector('#live').firstElementChild.dataset.old = 'yes'")
    expect(page.locator("[data-old]")).to_have_count(0, timeout=60_000)
    expect(page.get_by_role("button", name="Pause flaky")).to_be_focused()
    page.context.close()


def test_without_scripts_it_is_the_same(console: str, browser: Browser) -> None:
    page = opened(browser, 320, java_script_enabled=False)
    page.goto(console)
    page.get_by_role("link", name="Requests").click()
    page.get_by_label("Search routes").fill("things")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("rowheader")).to_have_count(1)
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("button", name="Pause count").click()
    expect(page.get_by_text("paused", exact=True)).to_be_visible()
    page.get_by_role("button", name="Resume count").click()
    expect(page.get_by_text("paused", exact=True)).to_have_count(0)
    page.get_by_role("link", name="Loggers").click()
    page.get_by_label("Level of assembler.job", exact=True).select_option("ERROR")
    page.get_by_role("button", name="Change assembler.job", exact=True).click()
    expect(page.get_by_text("for 5 min")).to_be_visible()
    page.get_by_role("link", name="Orders").click()
    expect(page.get_by_role("row").filter(has_text="local")).not_to_have_count(0)
    page.context.close()


def test_an_operator_logs_in_and_out(console: str, browser: Browser) -> None:
    closed = console.replace("/_assembly", "/closed")
    page = opened(browser, 320, "dark")
    answer = page.goto(closed)
    assert answer is not None
    assert answer.status == 404
    page.goto(f"{closed}/login")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    keep(page, "login-320-dark")
    assert page.get_by_role("button").evaluate("it => getComputedStyle(it).fontWeight") == "600"
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("That is not the token.")
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("button", name="Log in")).to_be_visible()
    answer = page.goto(closed)
    assert answer is not None
    assert answer.status == 404
    page.context.close()
