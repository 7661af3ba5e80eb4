"""Every error of an assembled application passes back through its whole stack."""

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import assembler

ORIGIN = "https://app.example"
KEY = {"X-API-Key": "the key"}
MANIFEST = f"""\
manifest: 1
middleware:
  - use: components.middleware.cors.CORSMiddleware
    with: {{allow_origins: ["{ORIGIN}"], allow_methods: ["*"], allow_headers: ["*"]}}
  - use: components.middleware.security_headers.SecurityHeadersMiddleware
  - use: components.middleware.request_id.RequestIDMiddleware
  - use: components.middleware.rate_limit.RateLimitMiddleware
    with:
      limit: 1000/minute
      routes: [{{match: GET /limited/fine, limit: 1/minute}}]
  - use: components.middleware.body_limit.BodyLimitMiddleware
    with: {{max_bytes: 1000}}
  - use: components.middleware.request_timeout.RequestTimeoutMiddleware
    with: {{timeout: 1s}}
  - use: components.middleware.ip_allow_list.IPAllowListMiddleware
    with: {{allow: [10.0.0.0/8], paths: [/internal/*]}}
  - use: components.middleware.api_key.APIKeyMiddleware
    with:
      keys: {{ci: {hashlib.sha256(b"the key").hexdigest()}}}
      exempt: [/open/*]
  - use: components.middleware.webhook_signature.WebhookSignatureMiddleware
    with: {{secrets: ["${{HOOK_SECRET}}"], paths: [POST /hooks/*], window: 1m}}
  - use: starlette.middleware.gzip.GZipMiddleware
  - use: starlette.middleware.trustedhost.TrustedHostMiddleware
    with: {{allowed_hosts: [testserver]}}
exception_handlers:
  - catch: 401
    use: components.errors.unauthorized
    with: {{challenges: {{/mcp: Bearer resource_metadata="https://x.example"}}}}
  - {{catch: 403, use: components.errors.forbidden}}
  - {{catch: components.errors.BaseAPIException, use: components.errors.api_exception}}
  - {{catch: starlette.exceptions.HTTPException, use: components.errors.http_exception}}
  - {{catch: fastapi.exceptions.RequestValidationError, use: components.errors.validation_error}}
  - {{catch: ValueError, use: components.errors.value_error, with: {{show_text: false}}}}
  - {{catch: OSError, use: components.errors.database_error, with: {{retry_after: 2s}}}}
  - {{catch: Exception, use: components.errors.unexpected, with: {{debug: false}}}}
routes:
  - {{id: main, use: tests.integration.failing.router}}
  - {{id: mcp, use: tests.integration.failing.router, prefix: /mcp}}
  - {{id: limited, use: tests.integration.failing.router, prefix: /limited}}
  - {{id: open, use: tests.integration.failing.router, prefix: /open}}
"""

CASES: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("GET", "/fine", {}, 401, "unauthorized"),
    ("GET", "/http/401", {"headers": KEY}, 401, "unauthorized"),
    ("GET", "/http/403", {"headers": KEY}, 403, "forbidden"),
    ("GET", "/internal/x", {"headers": KEY}, 403, "address_not_allowed"),
    ("POST", "/hooks/x", {"headers": KEY}, 403, "invalid_signature"),
    ("GET", "/nothing", {"headers": KEY}, 404, "not_found"),
    ("DELETE", "/fine", {"headers": KEY}, 405, "method_not_allowed"),
    ("GET", "/api/409", {"headers": KEY}, 409, "own_code"),
    ("GET", "/api/401", {"headers": KEY}, 401, "own_code"),
    ("POST", "/numbers", {"headers": KEY, "content": b"1" * 1001}, 413, "body_too_large"),
    ("POST", "/numbers", {"headers": KEY, "content": iter([b"1" * 1001])}, 413, "body_too_large"),
    ("POST", "/numbers", {"headers": KEY, "content": b"[NaN]"}, 422, "validation_error"),
    ("GET", "/value", {"headers": KEY}, 422, "invalid_value"),
    ("GET", "/limited/fine", {"headers": KEY}, 429, "rate_limited"),
    ("GET", "/bug", {"headers": KEY}, 500, "internal_server_error"),
    ("GET", "/database", {"headers": KEY}, 503, "database_unavailable"),
    ("GET", "/slow", {"headers": KEY}, 504, "timeout"),
]


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.setenv("HOOK_SECRET", "of the sender")
    path = tmp_path / "app.yaml"
    path.write_text(MANIFEST)
    return assembler.build(assembler.load(path))


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as made:
        yield made


@pytest.mark.parametrize(("method", "path", "options", "status", "code"), CASES)
def test_every_error_has_the_shape_and_all_headers(
    client: TestClient, method: str, path: str, options: dict[str, Any], status: int, code: str
) -> None:
    options = {**options, "headers": {"Origin": ORIGIN, **options.get("headers", {})}}
    if status == 429:
        assert client.request(method, path, **options).status_code == 200
    got = client.request(method, path, **options)
    assert got.status_code == status
    assert got.json()["error"]["code"] == code
    assert set(got.json()["error"]) == {"code", "message", "details"}
    assert "hunter2" not in got.text
    assert got.headers["access-control-allow-origin"] == ORIGIN
    assert got.headers["x-frame-options"] == "DENY"
    assert got.headers["x-request-id"]
    assert "Origin" in got.headers["vary"]
    if status == 500:
        assert got.json()["error"]["details"]["request_id"] == got.headers["x-request-id"]
    if status in (429, 503):
        assert int(got.headers["retry-after"]) >= 1
    if status == 405:
        assert got.headers["allow"] == "GET"


def test_problem_details_on_request(client: TestClient) -> None:
    for path in ("/nothing", "/bug", "/slow", "/internal/x"):
        got = client.get(path, headers={**KEY, "Accept": "application/problem+json"})
        assert got.headers["content-type"] == "application/problem+json"
        assert got.json()["status"] == got.status_code


def test_a_challenge_belongs_to_its_mount(client: TestClient) -> None:
    challenge = client.get("/mcp/http/401", headers=KEY).headers["www-authenticate"]
    assert challenge == 'Bearer resource_metadata="https://x.example"'
    assert "www-authenticate" not in client.get("/http/401", headers=KEY).headers


def test_the_500_is_logged_with_the_id_that_the_client_sees(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    got = client.get("/bug", headers=KEY)
    records = [record for record in caplog.records if record.name == "components.errors"]
    assert [record.__dict__["request_id"] for record in records] == [got.headers["x-request-id"]]
    assert records[0].levelno == logging.ERROR


def test_an_accepted_websocket_is_closed(client: TestClient) -> None:
    with (
        client.websocket_connect("/open/ws") as websocket,
        pytest.raises(WebSocketDisconnect) as closed,
    ):
        websocket.receive_text()
    assert (closed.value.code, closed.value.reason) == (1008, "not_yours")
