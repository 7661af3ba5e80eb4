"""Clients find out where to log in: documents at the root, readable from everywhere."""

from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.testclient import TestClient

from components.mcp.protected import Mount
from components.mcp.resource_server import ResourceServer
from components.mcp.well_known import router
from tests.components.mcp.issuer import SECRET

WELL_KNOWN = "/.well-known/oauth-protected-resource"


def client(**options: Any) -> TestClient:
    usual: dict[str, Any] = {
        "base_url": "https://a.example",
        "issuer": "https://project.example/auth/v1",
        "mounts": {
            "/mcp": Mount(name="Estate"),
            "/mcp-admin": Mount(advertised=("mcp:read", "mcp:admin"), roles=("admin",)),
        },
        "secret": SecretStr(SECRET),
    }
    app = FastAPI()
    app.include_router(router(resource_server=ResourceServer(**{**usual, **options})))
    return TestClient(app, follow_redirects=False)


def test_each_mount_has_its_document_at_its_own_url() -> None:
    http = client()
    assert http.get(f"{WELL_KNOWN}/mcp").json() == {
        "resource": "https://a.example/mcp",
        "authorization_servers": ["https://project.example/auth/v1"],
        "scopes_supported": ["mcp:read", "mcp:write"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Estate",
    }
    assert http.get(f"{WELL_KNOWN}/mcp-admin").json() == {
        "resource": "https://a.example/mcp-admin",
        "authorization_servers": ["https://project.example/auth/v1"],
        "scopes_supported": ["mcp:read", "mcp:admin"],
        "bearer_methods_supported": ["header"],
    }
    assert http.get(f"{WELL_KNOWN}/mcpfoo").status_code == 404


def test_the_root_document_is_that_of_the_whole() -> None:
    assert client().get(WELL_KNOWN).json() == {
        "resource": "https://a.example",
        "authorization_servers": ["https://project.example/auth/v1"],
        "scopes_supported": ["mcp:admin", "mcp:read", "mcp:write"],
        "bearer_methods_supported": ["header"],
    }


def test_scopes_that_nobody_is_told_of_are_left_out() -> None:
    http = client(scopes_advertised=[], mounts={"/mcp": Mount()})
    for path in (WELL_KNOWN, f"{WELL_KNOWN}/mcp"):
        assert "scopes_supported" not in http.get(path).json()


@pytest.mark.parametrize(
    "issuer",
    [
        "https://project.example/auth/v1/",
        "https://Project.Example:443/Auth",
        "http://127.0.0.1:8000",
        "https://project.example/%7Euser",
    ],
)
def test_the_issuer_stands_byte_for_byte_as_the_manifest_says_it(issuer: str) -> None:
    text = client(issuer=issuer, jwks_url="https://k.example", secret=None).get(WELL_KNOWN).text
    assert f'"authorization_servers":["{issuer}"]' in text


def test_a_public_url_with_a_path_is_inserted_whole() -> None:
    http = client(base_url="https://a.example/api/")
    assert http.get(f"{WELL_KNOWN}/api/mcp").json()["resource"] == "https://a.example/api/mcp"
    assert http.get(f"{WELL_KNOWN}/mcp").status_code == 404


@pytest.mark.parametrize("path", [WELL_KNOWN, f"{WELL_KNOWN}/mcp", f"{WELL_KNOWN}/mcp-admin"])
def test_every_origin_may_read_a_document(path: str) -> None:
    http = client()
    for method in ("GET", "HEAD"):
        answer = http.request(method, path, headers={"Origin": "https://inspector.example"})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "public, max-age=300"
    preflight = http.options(path, headers={"Origin": "https://inspector.example"})
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-methods"] == "GET, OPTIONS"
    assert preflight.headers["access-control-allow-headers"] == "*, Authorization"
    assert http.post(path).status_code == 405


def test_an_application_that_issues_no_tokens_says_nothing_as_an_issuer() -> None:
    for path in ("oauth-authorization-server", "oauth-authorization-server/mcp", "jwks.json"):
        assert client().get(f"/.well-known/{path}").status_code == 404
