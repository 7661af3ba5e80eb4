"""Who sees the console: nobody but this machine, or who has the token; to others it is not there."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from components.console.access import COOKIE, SESSION_SECONDS
from tests.components.console.site import TOKEN, Site

PATHS = (
    *("", "/", "/explain", "/runs", "/limits", "/start", "/options", "/loggers", "/orders"),
    *("/static/console.css", "/live?of=overview", "/api/overview", "/api/nothing", "/nothing"),
)
BEARER = {"authorization": f"Bearer {TOKEN}"}
OWN = {"origin": "https://shop.example", "sec-fetch-site": "same-origin"}


def see(client: TestClient, path: str, **headers: str) -> int:
    return client.get(f"/_assembly{path}", headers=headers).status_code


@pytest.mark.parametrize(
    "base",
    ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000", "http://shop.localhost:80"],
)
def test_without_a_token_this_machine_sees_it(base: str) -> None:
    assert see(Site().client(base=base), "") == 200


@pytest.mark.parametrize(
    ("peer", "headers"),
    [
        ("10.0.0.7", {}),
        ("testclient", {}),
        ("127.0.0.1", {"host": "shop.example"}),  # a name of a stranger that leads here
        ("127.0.0.1", {"host": "intranet"}),
        ("127.0.0.1", {"host": "10.0.0.7:8000"}),
        ("127.0.0.1", {"host": "localhost.shop.example"}),
        ("127.0.0.1", {"host": "evil@localhost"}),
        ("127.0.0.1", {"host": ""}),
        ("127.0.0.1", {"host": "127.0.0.1.shop.example"}),
        ("127.0.0.1", {"x-forwarded-for": "127.0.0.1"}),
        ("127.0.0.1", {"forwarded": "for=127.0.0.1"}),
        ("127.0.0.1", {"via": "1.1 proxy"}),
        ("127.0.0.1", {"x-real-ip": "127.0.0.1"}),
        ("127.0.0.1", {"cf-connecting-ip": "127.0.0.1"}),
        ("127.0.0.1", {"origin": "https://shop.example"}),  # a page that CORS lets read
        ("127.0.0.1", {"origin": "null"}),
        ("127.0.0.1", {"origin": "http://["}),  # what no browser sends
        ("127.0.0.1", {"origin": "https://[v1.x]"}),
        ("127.0.0.1", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}),
        ("127.0.0.1", {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}),
        (
            "127.0.0.1",
            {
                "sec-fetch-site": "cross-site",
                "sec-fetch-mode": "navigate",
                "sec-fetch-dest": "iframe",
            },
        ),
    ],
)
@pytest.mark.parametrize("path", ["", "/api/overview", "/static/console.css", "/login"])
def test_without_a_token_it_is_not_there_for_others(
    peer: str, headers: dict[str, str], path: str
) -> None:
    client = Site().client(peer=peer)
    response = client.get(f"/_assembly{path}", headers=headers)
    assert response.status_code == 404
    assert response.json() == client.get("/what-is-not-there").json()


def test_a_link_of_another_page_leads_there() -> None:
    headers = {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    assert see(Site().client(), "", **headers) == 200


@pytest.fixture(scope="module")
def closed() -> TestClient:
    """A console that asks for a token: this machine needs it, too."""
    return Site(token=TOKEN, actions=True).client()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_with_a_token_nothing_is_there_without_it(
    path: str, method: str, closed: TestClient
) -> None:
    client = closed
    for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": f"{COOKIE}=1.2.3"}):
        response = client.request(method, f"/_assembly{path}", headers=headers)
        assert response.status_code == 404, (method, path)
        assert response.json() == {"detail": "Not Found"}


def test_a_script_sends_the_token() -> None:
    site = Site(token=TOKEN)
    client = site.client(peer="10.0.0.7", base="https://shop.example")
    assert see(client, "/api/overview", **BEARER) == 200
    assert see(client, "", **BEARER) == 200
    assert see(client, "/api/overview", authorization=f"Basic {TOKEN}") == 404


def log_in(client: TestClient, token: str = TOKEN, **headers: str) -> Any:
    form = {"name": "Ann  Example", "token": token}
    return client.post("/_assembly/login", data=form, headers={**OWN, **headers})


def test_a_login_sets_a_cookie_for_eight_hours() -> None:
    client = Site(token=TOKEN).client(peer="10.0.0.7", base="https://shop.example")
    form = client.get("/_assembly/login")
    assert form.status_code == 200
    style = form.text.partition('rel="stylesheet" href="')[2].partition('"')[0]
    assert client.get(style).headers["content-type"].startswith("text/css")
    response = log_in(client)
    assert (response.status_code, response.headers["location"]) == (303, "/_assembly")
    fields = response.headers["set-cookie"].split("; ")
    assert fields[1:] == [
        f"Max-Age={SESSION_SECONDS}",
        *("Path=/_assembly", "HttpOnly", "Secure", "SameSite=Strict"),
    ]
    assert SESSION_SECONDS == 8 * 3600
    assert TOKEN not in response.headers["set-cookie"]
    page = client.get("/_assembly")
    assert page.status_code == 200
    assert "Ann Example" in page.text
    ended = client.post("/_assembly/logout", headers=OWN)
    assert (ended.status_code, ended.headers["location"]) == (303, "/_assembly/login")
    assert see(client, "") == 404


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[:-1] + ("0" if value[-1] != "0" else "1"),
        lambda value: "9" + value,  # longer
        lambda value: value.replace(".", ".QWxp", 1),  # another name
        lambda value: "",
        lambda value: "....",
    ],
)
def test_a_cookie_of_somebodys_own_is_none(change: Any) -> None:
    client = Site(token=TOKEN).client(base="https://shop.example")
    log_in(client)
    value = client.cookies[COOKIE]
    client.cookies.clear()
    assert see(client, "", cookie=f"{COOKIE}={value}") == 200
    assert see(client, "", cookie=f"{COOKIE}={change(value)}") == 404
    assert see(Site(token="another-long-token!").client(), "", cookie=f"{COOKIE}={value}") == 404


def test_a_password_of_a_proxy_does_not_keep_an_operator_out() -> None:
    client = Site(token=TOKEN).client(base="https://shop.example")
    log_in(client)
    assert see(client, "", authorization="Basic YTpi") == 200


def test_a_session_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Site(token=TOKEN).client(base="https://shop.example")
    log_in(client)
    value = client.cookies[COOKIE]
    until, _, rest = value.partition(".")
    assert see(client, "", cookie=f"{COOKIE}={int(until) - SESSION_SECONDS - 1}.{rest}") == 404


def test_wrong_tokens_are_limited_by_address() -> None:
    site = Site(token=TOKEN)
    client = site.client(peer="10.0.0.7", base="https://shop.example")
    for _ in range(10):
        response = log_in(client, "wrong")
        assert response.status_code == 403
        assert "That is not the token." in response.text
    response = log_in(client)
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) > 0
    assert see(client, "/api/overview", **BEARER) == 200
    other = site.client(peer="10.0.0.8", base="https://shop.example")
    assert log_in(other).status_code == 303


def test_bad_bearers_count_as_well() -> None:
    client = Site(token=TOKEN).client(peer="10.0.0.7", base="https://shop.example")
    for _ in range(10):
        assert see(client, "", authorization="Bearer wrong") == 404
    assert log_in(client).status_code == 429


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://shop.example:444"},
    ],
)
def test_a_change_of_another_site_is_refused(headers: dict[str, str]) -> None:
    site = Site(token=TOKEN, actions=True)
    client = site.client(base="https://shop.example")
    log_in(client)
    for path in ("/orders", "/api/orders", "/logout"):
        response = client.post(f"/_assembly{path}", headers={**OWN, **headers})
        assert response.status_code in {403, 404}
    assert log_in(client, **headers).status_code == 403
    assert site.operations.orders_given == []


def test_a_form_says_where_it_is_from() -> None:
    site = Site(actions=True)
    client = site.client()
    order = {"kind": "run", "target": "job"}
    assert client.post("/_assembly/orders", data=order).status_code == 403
    origin = {"origin": "http://127.0.0.1:8000"}
    assert client.post("/_assembly/orders", data=order, headers=origin).status_code == 303
    site_alone = {"sec-fetch-site": "same-origin"}
    assert client.post("/_assembly/orders", data=order, headers=site_alone).status_code == 303
    assert [each["actor"] for each in site.operations.orders_given] == ["local", "local"]


def test_an_operator_names_nobody_else() -> None:
    site = Site(token=TOKEN, actions=True)
    client = site.client(base="https://shop.example")
    log_in(client)
    order = {"kind": "run", "target": "job", "actor": "Bob"}
    client.post("/_assembly/orders", data=order, headers=OWN)
    script = site.client(base="https://shop.example")
    script.post("/_assembly/api/orders", json=order, headers=BEARER)
    assert [each["actor"] for each in site.operations.orders_given] == ["Ann Example", "token"]


@pytest.mark.parametrize("token", ["", "   ", "schlüssel-mit-umlaut", "a\nb"])
def test_a_token_that_cannot_be_sent_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        Site(token=token)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"5", b"[]", b"null", b"\xff", b"[" * 9000, b'{"kind": {}}'),
        b'{"kind": "run", "target": "\\ud800"}',  # what no answer could say again
        b'{"kind": "run", "target": "job", "actor": "\\udfff"}',
    ],
)
def test_what_is_no_order_is_refused(body: bytes) -> None:
    site = Site(token=TOKEN, actions=True)
    client = site.client(base="https://shop.example")
    response = client.post("/_assembly/api/orders", content=body, headers=BEARER)
    assert response.status_code == 422
    assert response.json()["error"]
    assert site.operations.orders_given == []
