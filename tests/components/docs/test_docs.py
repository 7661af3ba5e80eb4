"""The page says where all stands, whatever prefix and proxy it stands behind, and asks nobody else."""

import gzip
import re
import sys
from importlib.metadata import version
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from components.docs import router

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
FILES = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
OWN = ("start.js", "redirect.js", "page.css")


def client(
    prefix: str = "/api", openapi_url: str | None = "/api/openapi.json", **options: Any
) -> TestClient:
    app = FastAPI(title="A <b> shop", docs_url=None, redoc_url=None, openapi_url=openapi_url)
    app.include_router(router(**options), prefix=prefix)
    return TestClient(app, base_url="https://shop.example")


def facts(page: str) -> dict[str, str]:
    return dict(re.findall(r' data-(\w+)="([^"]*)"', page))


def test_the_page_loads_files_of_its_own_alone() -> None:
    with client() as http:
        answer = http.get("/api/docs")
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["cache-control"] == "no-store"
        assert "<title>A &lt;b&gt; shop</title>" in answer.text
        linked = re.findall(r'<(?:script src|link [^>]*href)="([^"]*)"', answer.text)
        assert sorted(linked) == sorted(
            f"/api/docs/{name}" for name in (*FILES, "page.css", "start.js")
        )
        assert not re.search(r"<style|style=|<script>|\son\w+=", answer.text)
        for path in linked:
            assert http.get(path).status_code == 200
        assert http.get("/api/openapi.json").json()["paths"] == {}  # the page is no part of it
        assert http.head("/api/docs").text == ""


def test_what_the_issuer_is_told_is_what_the_page_says() -> None:
    with client(scopes=["read", "write"]) as http:
        said = facts(http.get("/api/docs").text)
        told = http.get("/api/docs/client.json").json()
    assert said == {
        "document": "/api/openapi.json",
        "client": "https://shop.example/api/docs/client.json",
        "redirect": "https://shop.example/api/docs/oauth2-redirect",
        "page": "https://shop.example/api/docs",
        "scopes": "read write",
    }
    assert told == {
        "client_id": said["client"],
        "client_name": "A <b> shop: documentation",
        "client_uri": said["page"],
        "redirect_uris": [said["redirect"]],
        "grant_types": ["authorization_code"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    }


@pytest.mark.parametrize(
    ("root", "base", "public"),
    [
        ("", "https://api.example/", "https://api.example"),
        ("/shop", None, "https://shop.example/shop"),
        ("/shop", "https://api.example/shop", "https://api.example/shop"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "/api"])
def test_the_page_knows_where_a_proxy_has_put_it(
    root: str, base: str | None, public: str, prefix: str
) -> None:
    with client(prefix, base_url=base, path="/a/b", document="/doc") as http:
        seen = TestClient(http.app, base_url="https://shop.example", root_path=root)
        said = facts(seen.get(f"{prefix}/a/b").text)
        told = seen.get(f"{prefix}/a/b/client.json").json()
        assert f'src="{root}{prefix}/a/b/start.js"' in seen.get(f"{prefix}/a/b").text
        assert (
            f'src="{root}{prefix}/a/b/redirect.js"'
            in seen.get(f"{prefix}/a/b/oauth2-redirect").text
        )
    assert said["document"] == f"{root}/doc"
    assert said["client"] == told["client_id"] == f"{public}{prefix}/a/b/client.json"
    assert told["redirect_uris"] == [said["redirect"]] == [f"{public}{prefix}/a/b/oauth2-redirect"]


def test_an_issuer_that_reads_no_documents_knows_the_page_by_a_name_of_its_own() -> None:
    with client(client_id="docs page") as http:
        assert facts(http.get("/api/docs").text)["client"] == "docs page"


def test_origins_that_the_page_may_ask_are_in_its_policy() -> None:
    with client(connect_to=["https://login.example", "http://[::1]:9"]) as http:
        policy = http.get("/api/docs").headers["content-security-policy"]
    assert "connect-src 'self' https://login.example http://[::1]:9; " in policy


def test_the_redirect_page_has_no_script_in_it() -> None:
    with client() as http:
        answer = http.get("/api/docs/oauth2-redirect?code=<x>&state=1")
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "<x>" not in answer.text
    assert re.findall(r"<script[^>]*>", answer.text) == ['<script src="/api/docs/redirect.js">']


def test_files_are_compressed_and_are_not_sent_twice() -> None:
    with client() as http:
        for name in (*FILES, *OWN):
            plain = http.get(f"/api/docs/{name}", headers={"accept-encoding": "identity"})
            packed = http.get(f"/api/docs/{name}", headers={"accept-encoding": "gzip"})
            assert plain.content == packed.content
            assert plain.headers["vary"] == "Accept-Encoding"
            assert plain.headers["x-content-type-options"] == "nosniff"
            known = {"if-none-match": f'"x", W/{packed.headers["etag"]}', "accept-encoding": "gzip"}
            again = http.get(f"/api/docs/{name}", headers=known)
            assert (again.status_code, again.content) == (304, b"")
            assert "content-type" not in again.headers
        assert packed.headers["content-type"] == "text/css; charset=utf-8"
        bundle = http.get("/api/docs/swagger-ui-bundle.js", headers={"accept-encoding": "gzip"})
        assert bundle.headers["content-encoding"] == "gzip"
        assert len(gzip.compress(bundle.content)) < len(bundle.content) / 2
        release = re.search(rb'PACKAGE_VERSION:"(\d+)\.(\d+)', bundle.content)
        assert release is not None
        assert (5, 24) <= (int(release[1]), int(release[2])) < (6, 0)


def test_without_a_document_there_is_no_page() -> None:
    with client(openapi_url=None) as http:
        answer = http.get("/api/docs")
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "the application gives no OpenAPI document",
    )


def test_a_missing_package_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert version("fastapi-swagger")
    monkeypatch.setitem(sys.modules, "fastapi_swagger", None)
    with pytest.raises(ModuleNotFoundError, match=r"install fastapi-assembler\[docs\]"):
        router()
