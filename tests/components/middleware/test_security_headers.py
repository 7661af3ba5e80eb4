"""SecurityHeadersMiddleware."""

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from components.middleware.security_headers import SecurityHeadersMiddleware
from tests.components.middleware.exchange import (
    Answer,
    exchange,
    http_scope,
    responding,
    websocket_scope,
)

# https://owasp.org/www-project-secure-headers/, ci/headers_add.json of July 2026
OWASP = {
    "content-security-policy": "default-src 'self'; form-action 'self'; base-uri 'self'; "
    "object-src 'none'; frame-ancestors 'none'; upgrade-insecure-requests",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "x-content-type-options": "nosniff",
    "x-dns-prefetch-control": "off",
    "x-frame-options": "DENY",
    "x-permitted-cross-domain-policies": "none",
}


def secured(*, headers: Any = (), status: int = 200, scope: Any = None, **options: Any) -> Answer:
    app = SecurityHeadersMiddleware(responding(status, headers), **options)
    return exchange(app, scope or http_scope())


def test_sends_the_list_of_owasp_once_each() -> None:
    answer = secured()
    assert {name: answer.one(name) for name in OWASP} == OWASP
    assert "camera=()" in (answer.one("permissions-policy") or "")
    assert answer.one("origin-agent-cluster") == "?1"
    assert answer.one("x-xss-protection") is None
    assert answer.one("clear-site-data") is None


@pytest.mark.parametrize("status", [200, 304, 404, 500])
def test_sends_them_on_errors_too(status: int) -> None:
    assert secured(status=status).one("x-frame-options") == "DENY"


@pytest.mark.parametrize("name", [b"X-Frame-Options", b"x-frame-options"])
def test_what_the_route_set_is_not_doubled(name: bytes) -> None:
    answer = secured(headers=[(name, b"SAMEORIGIN"), (b"content-security-policy", b"x")])
    assert answer.one("x-frame-options") == "SAMEORIGIN"
    assert answer.one("content-security-policy") == "x"
    assert answer.one("referrer-policy") == "no-referrer"


def test_headers_may_be_any_iterable_or_missing() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        start = {"type": "http.response.start", "status": 200}
        await send(start if scope["path"] == "/none" else start | {"headers": iter([[b"a", b"b"]])})
        await send({"type": "http.response.body"})

    wrapped = SecurityHeadersMiddleware(app)
    assert exchange(wrapped, http_scope("/none")).one("x-frame-options") == "DENY"
    answer = exchange(wrapped, http_scope("/iterator"))
    assert (answer.one("a"), answer.one("x-frame-options")) == ("b", "DENY")


@pytest.mark.parametrize(
    ("scheme", "over_http", "sent"),
    [("https", False, True), ("http", False, False), ("http", True, True)],
)
def test_hsts_goes_over_https_only_unless_told(scheme: str, over_http: bool, sent: bool) -> None:
    answer = secured(scope=http_scope(scheme=scheme), hsts_over_http=over_http)
    assert (answer.one("strict-transport-security") is not None) is sent


def test_none_leaves_a_header_out() -> None:
    answer = secured(hsts=None, csp=None, frame_options=None, permissions_policy=None)
    for name in ("strict-transport-security", "content-security-policy", "x-frame-options"):
        assert answer.one(name) is None


def test_xss_protection_is_sent_where_asked_for() -> None:
    assert secured(xss_protection="0").one("x-xss-protection") == "0"


@pytest.mark.parametrize(
    ("path", "root_path", "docs"),
    [
        ("/docs", "", True),
        ("/docs/oauth2-redirect", "", True),
        ("/redoc", "", True),
        ("/docsx", "", False),
        ("/api/docs", "", False),
        ("/api/docs", "/api", True),
    ],
)
def test_docs_pages_have_their_own_policy(path: str, root_path: str, docs: bool) -> None:
    answer = secured(scope=http_scope(path, root_path=root_path), docs_csp="for docs")
    assert (answer.one("content-security-policy") == "for docs") is docs
    assert (answer.one("cross-origin-embedder-policy") is None) is docs


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_the_docs_policy_allows_all_that_fastapis_pages_load(page: str) -> None:
    app = FastAPI()
    app.add_middleware(SecurityHeadersMiddleware)
    answer = TestClient(app).get(page)
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
    )
    assert "'unsafe-inline'" in policy["script-src"]
    for attribute in ("src=", "href="):
        for piece in answer.text.split(attribute)[1:]:
            url = piece[1:].split(piece[0])[0]
            if url.startswith("https://"):
                assert any(
                    "/".join(url.split("/")[:3]) in policy[name]
                    for name in ("script-src", "style-src", "img-src")
                ), url


def test_the_policy_of_a_page_is_judged_before_a_mount_changes_the_scope() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["root_path"] = "/v1"
        await responding()(scope, receive, send)

    wrapped = SecurityHeadersMiddleware(app, docs_csp="for docs")
    assert exchange(wrapped, http_scope("/v1/docs")).one("content-security-policy") != "for docs"


def test_a_refused_websocket_has_them_and_an_accepted_one_does_not() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": scope["path"], "status": 403})

    wrapped = SecurityHeadersMiddleware(app)
    refused = exchange(wrapped, websocket_scope("websocket.http.response.start"))
    assert refused.one("x-content-type-options") == "nosniff"
    assert exchange(wrapped, websocket_scope("websocket.accept")).headers == []


@pytest.mark.parametrize(
    "options",
    [
        {"csp": "a\r\nSet-Cookie: x=1"},
        {"csp": ""},
        {"referrer_policy": "naïve ✓"},
        {"hsts": "includeSubDomains"},
        {"hsts": "max-age=soon"},
        {"docs_paths": ["docs"]},
        {"docs_paths": ["/do*cs"]},
    ],
)
def test_refuses_texts_that_are_no_header(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        SecurityHeadersMiddleware(responding(), **options)


def test_refuses_one_text_for_a_list_of_paths() -> None:
    with pytest.raises(TypeError):
        SecurityHeadersMiddleware(responding(), docs_paths="/docs")
