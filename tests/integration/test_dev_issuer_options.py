"""The issuer in a manifest: a login through the assembled application, and where it will not start."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

import assembler
from assembler.diagnostics.errors import ManifestError
from assembler.diagnostics.render import render
from tests.assembler.project import project
from tests.mcp_flow import log_in

LIST = '[tool.assembler]\nimports = ["components"]\n'
MANIFEST = """\
manifest: 1
middleware:
  - use: components.middleware.security_headers.SecurityHeadersMiddleware
  - {use: components.middleware.cors.CORSMiddleware, with: {allow_origins: ["*"]}}
  - {use: components.middleware.trailing_slash.StripTrailingSlashMiddleware}
routes:
  - id: issuer
    use: components.mcp.dev_issuer.server.authorization_server
    with:
      base_url: ${PUBLIC_BASE_URL}
      access_token_lifetime: 5m
      users:
        - {id: u-ada, email: ada@example.com, role: admin, app_metadata: {team: 7}}
        - {id: u-bob, email: bob@example.com}
"""


def built(folder: Path, url: str, more: str = "") -> FastAPI:
    files = {"manifest.yaml": MANIFEST + more, "pyproject.toml": LIST}
    with project(folder, files), pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBLIC_BASE_URL", url)
        return assembler.build(assembler.load("manifest.yaml"))


def test_one_logs_in_through_the_whole_stack(tmp_path: Path) -> None:
    app = built(tmp_path, "http://localhost:8000")
    assert app.state.assembly.dispatch == "indexed"
    client = TestClient(app, base_url="http://localhost:8000")
    assert log_in(client, user="u-ada")["expires_in"] == 300
    page = client.get("/authorize")
    # what the page says of itself stays, though a layer has defaults for every page
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["cross-origin-opener-policy"] == "unsafe-none"
    assert page.headers["referrer-policy"] == "same-origin"


def test_a_manifest_of_a_public_service_does_not_start_with_it(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        built(tmp_path, "https://api.example.com")
    (fault,) = caught.value.diagnostics
    assert fault.code == "build-failed"
    message, place = render(fault).splitlines()[:2]
    assert message == (
        "error[build-failed]: `authorization_server` could not be made: ValueError: here anyone logs "
        "in as anyone, without a password, and `${PUBLIC_BASE_URL}` is not this machine: use a real "
        "issuer, or say `anyone_may_log_in_as_anyone: true`"
    )
    assert place == " --> manifest.yaml:8:10"
    built(tmp_path, "https://api.example.com", "      anyone_may_log_in_as_anyone: true\n")


@pytest.mark.parametrize(
    ("more", "code", "line", "column"),
    [
        ("        - {id: u-eve, email: eve@example.com, rolle: admin}\n", "unknown-option", 15, 47),
        ("        - {id: u-eve}\n", "missing-option", 15, 11),
        ("      access_token_lifetimes: 5m\n", "unknown-option", 15, 7),
        ("      refresh_token_lifetime: 10ms\n", "bad-value", 15, 31),
        ("      scopes: []\n", "bad-value", 15, 15),
    ],
)
def test_a_bad_option_is_a_fault_at_its_place(
    more: str, code: str, line: int, column: int, tmp_path: Path
) -> None:
    with pytest.raises(ManifestError) as caught:
        built(tmp_path, "http://localhost:8000", more)
    (fault,) = caught.value.diagnostics
    assert fault.span is not None
    assert (fault.code, fault.span.line, fault.span.column) == (code, line, column)
