"""The pages and the data of a console, over operations that a test makes up."""

import gzip
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

import components.console
from components.console import router
from components.console.views import STATES, VIEWS
from tests.components.console.site import Site

PAGES = ("", "/explain", "/runs", "/limits", "/start", "/options", "/loggers", "/orders")
STATIC = Path(components.console.__file__).parent / "static"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_forbids_what_is_not_its_own_and_is_not_kept(page: str) -> None:
    response = Site(actions=True).client().get(f"/_assembly{page}")
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert response.headers["cache-control"] == "no-store"
    parts = _Parts()
    parts.feed(response.text)
    assert parts.inline == []
    assert all(url.startswith(("/_assembly", "#", "/docs")) for url in parts.urls), parts.urls


class _Parts(HTMLParser):
    """What of a page a policy would forbid, and where it leads."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in said):
            self.inline.append(tag)
        self.inline += [name for name in said if name == "style" or name.startswith("on")]
        self.urls += [said[name] or "" for name in ("href", "src", "action") if name in said]


def test_texts_of_others_are_texts() -> None:
    client = Site(actions=True).client()
    for path in ("", "/runs", "/runs?q=<b>"):
        page = client.get(f"/_assembly{path}").text
        assert "<b>" not in page
        assert "<i>" not in page
    assert "&lt;b&gt;job&lt;/b&gt;" in client.get("/_assembly").text
    assert "Shop &amp; Co" in client.get("/_assembly").text


@pytest.mark.parametrize("name", VIEWS)
def test_each_page_is_data_as_well(name: str) -> None:
    response = Site().client().get(f"/_assembly/api/{name}")
    told = response.json()
    assert response.status_code == 200
    assert told["format"] == 1
    assert told["store"]["kind"] == "postgresql"
    assert response.headers["cache-control"] == "no-store"


def test_routes_are_found_by_words_and_come_in_pages() -> None:
    site = Site()
    site.operations.routes = 250
    client = site.client()

    def told(query: str) -> Any:
        return client.get(f"/_assembly/api/explain?{query}").json()

    assert (told("")["found"], told("")["pages"], len(told("")["routes"])) == (250, 3, 100)
    assert told("page=3")["routes"][0]["path"] == "/things/200"
    assert told("page=99")["page"] == 3
    assert told("q=get+things/24")["found"] == 11
    assert told("q=nothing")["routes"] == []
    page = client.get("/_assembly/explain?q=things&page=2").text
    assert "page 2 of 3" in page
    assert 'value="things"' in page


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("state=odd", "state"),
        ("period=2y", "period"),
        ("since=yesterday", "since"),
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=%C2%B2", "limit"),
    ],
)
def test_a_parameter_that_says_nothing_is_refused(query: str, word: str) -> None:
    client = Site().client()
    response = client.get(f"/_assembly/api/runs?{query}")
    assert response.status_code == 422
    assert f"`{word}`" in response.json()["error"]
    page = client.get(f"/_assembly/runs?{query}")
    assert page.status_code == 422
    assert f"`{word}`" in page.text


def test_runs_are_asked_for_by_state() -> None:
    client = Site().client()
    for state in ("failures", *STATES):
        told = client.get(f"/_assembly/api/runs?state={state}&period=24h&limit=5").json()
        assert told["state"] == state
        assert ("timeout" in told["runs"][0]["error"]) == (state in {"failures", "timeout"})
    since = "2027-03-28T09:00:00+01:00"  # the `+` is a space in a query that nobody quoted
    assert client.get(f"/_assembly/api/runs?since={since}").status_code == 200
    unknown = client.get("/_assembly/api/runs?job=nobody")
    assert (unknown.status_code, unknown.json()["error"]) == (404, "no job is called `nobody`")


def test_a_store_that_is_away_is_told() -> None:
    site = Site(actions=True)
    site.operations.is_away = True
    client = site.client()
    page = client.get("/_assembly/runs")
    assert page.status_code == 200
    assert "The store does not answer" in page.text
    assert "The store does not answer" in client.get("/_assembly").text
    told = client.get("/_assembly/api/runs")
    assert (told.status_code, told.json()["error"]) == (503, "no answer within 2 s")
    headers = {"origin": "http://127.0.0.1:8000"}
    order = {"kind": "run", "target": "x"}
    assert client.post("/_assembly/api/orders", json=order, headers=headers).status_code == 503
    page = client.post("/_assembly/orders", data=order, headers=headers)
    assert page.status_code == 422
    assert "Not ordered" in page.text


def test_orders_are_taken_where_they_are_wanted() -> None:
    headers = {"origin": "http://127.0.0.1:8000"}
    order = {"kind": "run", "target": "job", "minutes": "5", "back": "runs", "job": "a b&c"}
    for path in ("/orders", "/api/orders"):
        assert Site().client().post(f"/_assembly{path}", headers=headers).status_code == 404
    assert "<button" not in Site().client().get("/_assembly").text
    site = Site(actions=True)
    client = site.client()
    assert 'aria-label="Run &lt;b&gt;job&lt;/b&gt;"' in client.get("/_assembly").text
    response = client.post("/_assembly/orders", data=order, headers=headers)
    assert response.status_code == 303
    where = response.headers["location"]
    assert where == f"/_assembly/runs?ordered={'0' * 32}&job=a+b%26c"
    assert "Ordered." in client.get(f"/_assembly?ordered={'0' * 32}").text
    told = client.post("/_assembly/api/orders", json=order, headers=headers)
    assert (told.status_code, told.json()["order"]["target"]) == (202, "job")
    wrongs: tuple[Any, ...] = ({"kind": "odd", "target": "x"}, [], "text", None, {})
    for wrong in wrongs:
        refused = client.post("/_assembly/api/orders", json=wrong, headers=headers)
        assert refused.status_code == 422
    assert client.post("/_assembly/api/orders", content=b"{", headers=headers).status_code == 422
    assert len(site.operations.orders_given) == 2
    large = client.post("/_assembly/orders", content=b"x" * 20_000, headers=headers)
    assert large.status_code == 413


def test_a_button_that_is_pressed_twice_gives_one_order() -> None:
    headers = {"origin": "http://127.0.0.1:8000"}
    site = Site(actions=True)
    client = site.client()
    given = site.operations.orders_given

    def press(once: str, **more: str) -> tuple[int, str | None]:
        form = {"kind": "run", "target": "job", "back": "overview", "once": once, **more}
        found = client.post("/_assembly/orders", data=form, headers=headers)
        return found.status_code, found.headers.get("location")

    pages = [client.get("/_assembly").text for _ in range(2)]
    found = [set(re.findall(r'name="once" value="([^"]+)"', page)) for page in pages]
    [first], [second] = found  # one for all forms of a page, another one for the next page
    assert first != second
    assert press(first) == press(first)
    assert len(given) == 1
    press(first, target="other")
    press(second)
    assert len(given) == 3
    assert press("x", kind="odd")[0] == 422
    site.operations.is_away = True
    refused = press("y")
    site.operations.is_away = False
    assert (refused[0], press("y")[0], press("y")[0]) == (422, 303, 303)
    assert len(given) == 4
    press("")
    press("")
    assert len(given) == 6  # a form of somebody's own says nothing of it


def test_a_stream_tells_what_has_changed() -> None:
    site = Site()
    client = site.client()
    assert client.get("/_assembly/live?of=options").status_code == 404
    site.app.state.assembly.state = "draining"  # so that it ends by itself
    response = client.get("/_assembly/live?of=overview")
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.startswith("retry: ")


def test_the_assets_are_small() -> None:
    files = [path for path in STATIC.iterdir() if path.suffix in {".css", ".js", ".svg"}]
    assert len(files) >= 3
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) <= 40 * 1024


def test_scripts_and_styles_name_their_contents() -> None:
    client = Site().client()
    page = client.get("/_assembly").text
    for url in re.findall(r'"(/_assembly/static/[^"]+)"', page):
        response = client.get(url)
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
    assert client.get("/_assembly/static/pages.py").status_code == 404


def test_an_application_that_nobody_assembled_has_no_console() -> None:
    app = FastAPI()
    app.include_router(router(), prefix="/_assembly")
    client = TestClient(app, "http://localhost", client=("127.0.0.1", 5000))
    assert client.get("/_assembly").status_code == 404


def test_a_console_is_in_no_schema() -> None:
    assert list(Site().client().get("/openapi.json").json()["paths"]) == []


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components.console, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"fastapi-assembler\[pages\]"):
        router()
