"""IPAllowListMiddleware."""

import json
from typing import Any

import pytest

from components.middleware.ip_allow_list import IPAllowListMiddleware
from tests.components.middleware.exchange import exchange, http_scope, responding, websocket_scope

ALLOW = ["10.0.0.0/8", "198.51.100.7", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("10.1.2.3", 200),
        ("198.51.100.7", 200),
        ("::ffff:10.1.2.3", 200),
        ("::ffff:0a01:0203", 200),
        ("2001:db8::1", 200),
        ("198.51.100.8", 403),
        ("11.0.0.1", 403),
        ("::10.1.2.3", 403),
        ("2001:db9::1", 403),
        ("", 403),
        ("testclient", 403),
        ("10.1.2.3, 198.51.100.8", 403),
    ],
)
def test_addresses(host: str, status: int) -> None:
    app = IPAllowListMiddleware(responding(), allow=ALLOW)
    answer = exchange(app, http_scope(client=(host, 1)))
    assert answer.status == status
    if status == 403:
        assert json.loads(answer.body)["error"]["code"] == "address_not_allowed"


def test_headers_do_not_count() -> None:
    fields = [(b"x-forwarded-for", b"10.0.0.1"), (b"forwarded", b"for=10.0.0.1")]
    app = IPAllowListMiddleware(responding(), allow=["10.0.0.0/8"])
    assert exchange(app, http_scope(headers=fields)).status == 403


def test_connections_without_an_address() -> None:
    for allow, status in ((["10.0.0.0/8"], 403), (["unix"], 200)):
        app = IPAllowListMiddleware(responding(), allow=allow)
        assert exchange(app, http_scope(client=None)).status == status


@pytest.mark.parametrize(
    ("path", "status"),
    [("/admin", 403), ("/admin/", 403), ("/admin/x/y", 403), ("/administer", 200), ("/", 200)],
)
def test_only_the_given_paths_are_guarded(path: str, status: int) -> None:
    app = IPAllowListMiddleware(responding(), allow=["10.0.0.1"], paths=["/admin", "/admin/*"])
    assert exchange(app, http_scope(path)).status == status
    assert exchange(app, http_scope("/api" + path, root_path="/api")).status == status


def test_everything_is_guarded_by_itself() -> None:
    app = IPAllowListMiddleware(responding(), allow=["10.0.0.1"])
    for scope in (http_scope("/api", root_path="/api"), http_scope("*"), http_scope("")):
        assert exchange(app, scope).status == 403


def test_websockets_too_but_not_the_lifespan() -> None:
    app = IPAllowListMiddleware(responding(), allow=["10.0.0.1"])
    closed = exchange(app, websocket_scope()).messages
    assert [(item["type"], item["code"]) for item in closed] == [("websocket.close", 1008)]
    assert exchange(app, {"type": "lifespan"}).status == 200


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"allow": []}, ValueError),
        ({"allow": ["10.0.0.1/8"]}, ValueError),
        ({"allow": ["example.com"]}, ValueError),
        ({"allow": "*"}, TypeError),
        ({"allow": ["10.0.0.1"], "paths": "/a"}, TypeError),
        ({"allow": ["10.0.0.1"], "paths": ["a"]}, ValueError),
    ],
)
def test_refuses_what_is_no_list_of_networks(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"`allow`|`a`"):
        IPAllowListMiddleware(responding(), **options)
