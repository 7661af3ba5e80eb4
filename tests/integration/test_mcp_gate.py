"""A manifest puts a gate before lazy MCP servers: nothing is loaded for who has no token."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import assembler
from tests.components.mcp.issuer import SECRET, USER, token

ROOT = Path(__file__).parents[2]
MANIFEST = """\
manifest: 1
resources:
  oauth:
    use: components.mcp.resource_server.ResourceServer
    with:
      base_url: "${PUBLIC_BASE_URL}"
      issuer: "${SUPABASE_URL}/auth/v1"
      secret: "${SUPABASE_JWT_SECRET:-}"
      scopes_implied: [mcp:read, mcp:write]
      mounts:
        /mcp: {name: Estate}
        /mcp-admin: {name: Estate admin, roles: [admin]}
middleware:
  - use: components.middleware.cors.CORSMiddleware
    with:
      allow_origins: ["https://app.example"]
      expose_headers: [WWW-Authenticate, Mcp-Session-Id]
      public: ["/.well-known/*"]
  - use: components.mcp.gate.BearerGate
    with: {resource_server: "${resources.oauth}"}
exception_handlers:
  - {catch: 401, use: components.errors.unauthorized}
  - {catch: 403, use: components.errors.forbidden}
  - {catch: starlette.exceptions.HTTPException, use: components.errors.http_exception}
routes:
  - use: components.mcp.well_known.router
    with: {resource_server: "${resources.oauth}"}
  - {mount: /mcp, use: tests.integration.heavy_mcp.app, lazy: true}
  - {mount: /mcp-admin, use: tests.integration.heavy_mcp.app, lazy: true, with: {name: admin}}
"""
ENVIRONMENT = {
    "PUBLIC_BASE_URL": "https://a.example",
    "SUPABASE_URL": "https://project.example",
    "SUPABASE_JWT_SECRET": SECRET,
}
INNER = "/.well-known/oauth-protected-resource"


def written(folder: Path, text: str = MANIFEST) -> Path:
    path = folder / "manifest.yaml"
    path.write_text(text, "utf-8")
    return path


def in_a_fresh_process(manifest: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.cold_start", str(manifest), token(scope=None)],
        cwd=ROOT,
        env={**os.environ, **ENVIRONMENT},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def test_who_has_no_token_loads_nothing_and_who_has_builds_once(tmp_path: Path) -> None:
    facts = in_a_fresh_process(written(tmp_path))
    assert facts["cold"] == 401
    assert facts["after_traffic"] == []
    assert facts["first"] == [200]
    assert USER in facts["said"]
    assert facts["after_token"] == ["mcp", "mcp_types", "jwt"]
    user, admin = facts["lazy"]
    assert (user["id"], user["builds"], user["failures"]) == ("/mcp", 1, 0)
    assert (admin["id"], admin["builds"]) == ("/mcp-admin", 0)
    # The promises of a quiet machine are 10 and 100 ms; on a busy one the build takes longer as well.
    assert facts["cold_ms"] < user["milliseconds"] / 2
    assert facts["lag_ms"] < user["milliseconds"]


def test_the_whole_trip_is_by_the_letter(tmp_path: Path) -> None:
    plan = assembler.load(written(tmp_path), environment=ENVIRONMENT)
    inspector = {"Origin": "https://inspector.example"}
    with TestClient(assembler.build(plan), base_url="https://a.example") as http:
        for path in ("/mcp", "/mcp/"):
            answer = http.post(path, follow_redirects=False)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == (
                f'Bearer resource_metadata="https://a.example{INNER}/mcp",'
                ' scope="mcp:read mcp:write"'
            )
            assert answer.json()["error"]["code"] == "unauthorized"
        document = http.get(f"{INNER}/mcp-admin", headers=inspector)
        assert document.json()["authorization_servers"] == ["https://project.example/auth/v1"]
        assert document.headers["access-control-allow-origin"] == "*"
        asks = {"Access-Control-Request-Method": "GET"}
        more = {"Access-Control-Request-Headers": "mcp-protocol-version"}
        preflight = http.options(f"{INNER}/mcp", headers={**inspector, **asks, **more})
        assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (
            200,
            "*",
        )
        user = {"Authorization": f"Bearer {token(scope=None)}"}
        refused = http.post("/mcp-admin", headers=user)
        assert refused.status_code == 403
        assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
        assert refused.json()["error"]["code"] == "forbidden"
        lazy = http.app.state.assembly.lazy  # type: ignore[attr-defined]  # a FastAPI application
        assert [state.builds for state in lazy.values()] == [0, 0]


@pytest.mark.parametrize(
    ("wrong", "right", "fault"),
    [
        ("{roles: [admin]", "{rolse: [admin]", "unknown-option 12"),
        ("scopes_implied: [mcp:read, mcp:write]", "leeway: 1h", "bad-value 9"),
        ("[mcp:read, mcp:write]", "mcp:read", "bad-value 9"),
        ("${PUBLIC_BASE_URL}", "a.example", "build-failed 4"),
        ("${SUPABASE_JWT_SECRET:-}", "short", "build-failed 4"),
    ],
)
def test_a_mistake_is_told_at_its_line(tmp_path: Path, wrong: str, right: str, fault: str) -> None:
    text = MANIFEST.replace("name: Estate admin, roles: [admin]", "roles: [admin]")
    assert wrong in text
    with pytest.raises(assembler.ManifestError) as caught:
        assembler.build(
            assembler.load(written(tmp_path, text.replace(wrong, right)), environment=ENVIRONMENT)
        )
    found = [
        f"{item.code} {item.span.line if item.span else 0}" for item in caught.value.diagnostics
    ]
    assert found[0] == fault
