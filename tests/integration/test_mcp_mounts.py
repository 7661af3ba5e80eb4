"""The MCP servers of a manifest, with all that stands around them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.testclient import TestClient

import assembler
from tests.components.mcp.issuer import SECRET, token
from tests.integration.production import variables
from tests.integration.serving import until
from tests.integration.test_mcp_conformance import MANIFEST as STREAMING
from tests.servers import free_port, wait_for_port

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    "PUBLIC_BASE_URL": "https://a.example",
    "SUPABASE_URL": "https://project.example",
    "SUPABASE_JWT_SECRET": SECRET,
}
MEMORY = {"resources.db.with.url": "sqlite+aiosqlite://"}
ACCESS = "components.access"
JOBS = """\
manifest: 1
extends: base.yaml
scheduler:
  jobs:
    - {id: note, use: tests.integration.test_mcp_mounts.note, every: 1h}
"""
noted: list[str] = []


async def note() -> None:
    """Tell that it ran."""
    noted.append("ran")


def headers(role: str | None = None, **more: str) -> dict[str, str]:
    claims: dict[str, Any] = {} if role is None else {"app_metadata": {"role": role}}
    bearer = {"Authorization": f"Bearer {token(**claims)}"}
    return {**bearer, "Accept": "application/json, text/event-stream", **more}


def call(
    client: TestClient, path: str, name: str, role: str | None = None, **arguments: Any
) -> Any:
    params = {"name": name, "arguments": arguments}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    answer = client.post(path, json=body, headers=headers(role))
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """The shipped base manifest, with a job."""
    manifest = tmp_path / "manifest.yaml"
    shutil.copy(ROOT / "manifests/base.yaml", manifest.parent)  # `extends` stays in the project
    manifest.write_text(JOBS)
    app = assembler.build(assembler.load(manifest, MEMORY, environment=ENVIRONMENT))
    with TestClient(app, base_url="https://a.example") as made:
        yield made


def test_an_administrator_runs_a_job_of_the_manifest(client: TestClient) -> None:
    noted.clear()
    done = call(client, "/mcp-admin", "run_job", "admin", job="note")
    assert done["structuredContent"]["outcome"] == "ok"
    assert noted == ["ran"]
    refused = call(client, "/mcp-admin", "run_job", "admin", job="x")["content"][0]["text"]
    assert {"note", "publish-posts"} <= set(refused.partition("there are: ")[2].split(", "))


def test_both_spellings_of_a_mount_answer_alike(client: TestClient) -> None:
    found = [call(client, path, "search_listings", limit=1) for path in ("/mcp", "/mcp/")]
    assert found[0] == found[1]
    for path in ("/mcp", "/mcp/"):
        for method in ("GET", "DELETE"):
            answer = client.request(method, path, headers=headers(), follow_redirects=False)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
            assert client.request(method, path, follow_redirects=False).status_code == 401


def test_the_log_shows_the_path_of_the_mount(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    def said() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == ACCESS]

    with caplog.at_level("INFO", logger=ACCESS):
        client.post("/mcp", json={}, headers=headers(Host="b.example"))
        call(client, "/mcp/", "search_listings", limit=1)
        client.get("/nothing")
        # lines wait a moment, and go together
        until(lambda: len(said()) >= 3, "three lines")
    lines = [json.loads(line) for line in said()]
    assert [(line["path"], line["status"]) for line in lines] == [
        ("/mcp", 421),
        ("/mcp", 200),
        ("/nothing", 404),
    ]


def test_refusals_have_the_shape_and_the_headers_of_the_service(client: TestClient) -> None:
    for more, status in (({"Host": "b.example"}, 421), ({"Origin": "https://b.example"}, 403)):
        answer = client.post("/mcp", json={}, headers=headers(**more))
        assert answer.status_code == status
        assert answer.json()["error"]["code"]
        assert "x-request-id" in answer.headers
    content = b"x" * (4 * 1024 * 1024 + 1)
    assert client.post("/mcp", content=content, headers=headers()).status_code == 413


def test_hosts_in_browsers_may_send_and_read_what_they_need() -> None:
    path = ROOT / "manifests/dev.yaml"
    with TestClient(assembler.build(assembler.load(path, MEMORY))) as client:
        wanted = "authorization, content-type, mcp-protocol-version, mcp-method, mcp-name"
        preflight = {
            "Origin": "http://localhost:6274",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": wanted,
        }
        answer = client.options("/mcp", headers=preflight)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-headers"] == wanted
        refused = client.post("/mcp", headers={"Origin": "http://localhost:6274"})
        assert refused.status_code == 401
        exposed = refused.headers["access-control-expose-headers"].split(", ")
        assert {"WWW-Authenticate", "Mcp-Session-Id"} <= set(exposed)


@pytest.mark.parametrize("name", ["base.yaml", "dev.yaml", "prod.yaml"])
def test_a_shipped_manifest_loads_nothing_heavy_before_a_token_comes(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    given = {"ESTATE_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/estate.db"}
    if name == "prod.yaml":
        redis = request.getfixturevalue("redis")
        given = variables(request.getfixturevalue("postgres"), REDIS_URL=redis)
    elif name == "base.yaml":
        given |= ENVIRONMENT
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.cold_traffic", f"manifests/{name}"],
        cwd=ROOT,
        env={**os.environ, **given},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])  # after the access log
    assert facts["statuses"]["/mcp"] == 401
    assert facts["statuses"]["/api/v1/listings"] == 200
    assert facts["loaded"] == []


def test_a_stream_that_is_open_does_not_keep_the_service_from_stopping(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(STREAMING)
    port = free_port()
    given = {
        "ASSEMBLY": str(manifest),
        "URL": f"http://127.0.0.1:{port}",
        "SECRET": SECRET,
        "TOKEN": token(),
        "PYTHONWARNINGS": "ignore",
    }
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "assembler:app", "--port", str(port)),
            *("--timeout-graceful-shutdown", "2", "--log-level", "warning"),
        ],
        cwd=ROOT,
        env={**os.environ, **given},
    )
    try:
        wait_for_port(port, process)
        opened = threading.Event()
        listener = threading.Thread(target=_listen, args=(port, opened))
        listener.start()
        assert opened.wait(60)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        listener.join(60)
        assert time.monotonic() - began < 30
        assert not listener.is_alive()
    finally:
        process.kill()
        process.wait(20)


def _listen(port: int, opened: threading.Event) -> None:
    """Subscribe to changes, and wait for them until the end."""
    version = "2026-07-28"
    meta = {
        "io.modelcontextprotocol/protocolVersion": version,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    method = "subscriptions/listen"
    params = {"_meta": meta, "notifications": {"toolsListChanged": True}}
    said = {"Accept": "application/json, text/event-stream", "Mcp-Method": method}
    said["MCP-Protocol-Version"] = version
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    url = f"http://127.0.0.1:{port}/mcp"
    try:
        with httpx2.stream("POST", url, json=body, headers=said, timeout=60) as answer:
            for line in answer.iter_lines():
                if "acknowledged" in line:
                    opened.set()
    except httpx2.HTTPError:
        return
