"""Hosts that nobody here wrote log in to the shipped manifest and use both of its MCP servers.

401, metadata, registration, PKCE, token, tools, widget: with the official SDKs of Python and
TypeScript, and with the inspector's command line.
"""

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.components.mcp.dev_issuer.test_clients import Person, Storage, provider
from tests.mcp_flow import agree, log_in
from tests.node import environment, node, node_tools
from tests.servers import free_port, start_uvicorn

HTML = "text/html;profile=mcp-app"
ADMIN, BUYER = "8d9a3f52-admin", "41c7be06-buyer"

pytestmark = pytest.mark.timeout(400)


@dataclass(frozen=True)
class Visit:
    """Who goes where, and what they ask for."""

    path: str
    user: str
    tool: str
    arguments: dict[str, Any]
    key: str
    tools: frozenset[str]

    @property
    def widget(self) -> str:
        return "ui://estate-admin/dashboard.html" if "admin" in self.path else CARDS


CARDS = "ui://estate/listing-cards.html"
VISITS = [
    Visit(
        "/mcp",
        BUYER,
        "search_listings",
        {"purpose": "rent", "limit": 3},
        "items",
        frozenset(
            [
                "search_listings",
                "get_listing",
                "similar_listings",
                "market_data",
                "book_visit",
                "list_visits",
                "cancel_visit",
            ]
        ),
    ),
    Visit(
        "/mcp-admin",
        ADMIN,
        "show_dashboard",
        {},
        "by_status",
        frozenset(["create_listing", "update_listing", "show_dashboard", "run_job"]),
    ),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The shipped `dev.yaml`, served."""
    database = tmp_path_factory.mktemp("estate") / "estate.db"
    port = free_port()
    variables = {
        "ASSEMBLY": "manifests/dev.yaml",
        "PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
        "ESTATE_DATABASE_URL": f"sqlite+aiosqlite:///{database}",
    }
    with start_uvicorn("assembler:app", environment=variables, port=port):
        yield f"http://127.0.0.1:{port}"


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("visit", VISITS, ids=lambda visit: visit.path)
async def test_the_python_sdk(url: str, visit: Visit, mode: Any) -> None:
    storage = Storage()
    auth = provider(url, storage, Person(url, user=visit.user), path=visit.path)
    async with httpx2.AsyncClient(auth=auth, timeout=60) as http:
        transport = streamable_http_client(url + visit.path, http_client=http)
        async with Client(transport, mode=mode) as client:
            tools = (await client.list_tools()).tools
            assert {tool.name for tool in tools} == visit.tools
            answer = await client.call_tool(visit.tool, visit.arguments)
            assert not answer.is_error
            assert answer.structured_content is not None
            assert answer.structured_content[visit.key]
            page = (await client.read_resource(visit.widget)).contents[0]
            assert page.mime_type == HTML
    assert storage.tokens is not None


@pytest.mark.parametrize("visit", VISITS, ids=lambda visit: visit.path)
def test_the_typescript_sdk(url: str, visit: Visit, tmp_path: Path) -> None:
    # It must stand where its imports are; others may run their own copy at this moment.
    script = node_tools() / f"{os.getpid()}-{tmp_path.name}.mjs"
    shutil.copy(Path(__file__).with_name("mcp_client.mjs"), script)
    arguments = [url + visit.path, visit.user, visit.tool, json.dumps(visit.arguments)]
    try:
        done = subprocess.run(
            [node(), str(script), *arguments],
            env=environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        script.unlink()
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["steps"] == ["register", "authorize", "unauthorized", "token"]
    assert {tool["name"] for tool in facts["tools"]} == visit.tools
    assert facts["answer"]["structuredContent"][visit.key]
    assert facts["answer"]["content"][0]["text"]
    assert facts["widget"]["mimeType"] == HTML
    assert facts["widget"]["text"].startswith("<!doctype html>")
    assert {found["uri"] for found in facts["resources"]} == {visit.widget}


@pytest.mark.parametrize("visit", VISITS, ids=lambda visit: visit.path)
def test_the_inspector(url: str, visit: Visit, tmp_path: Path) -> None:
    call = ["--tool-name", visit.tool, "--tool-args-json", json.dumps(visit.arguments)]
    answer = inspect(url, visit, tmp_path, "--method", "tools/call", *call)
    assert answer["structuredContent"][visit.key]
    tools = inspect(url, visit, tmp_path, "--method", "tools/list")["tools"]
    assert {tool["name"] for tool in tools} == visit.tools
    read = inspect(url, visit, tmp_path, "--method", "resources/read", "--uri", visit.widget)
    assert read["contents"][0]["mimeType"] == HTML
    app = inspect(
        url, visit, tmp_path, "--app-info", "--advertise-apps", "--method", "tools/call", *call
    )
    assert app["appInfo"]["resourceUri"] == visit.widget


def inspect(url: str, visit: Visit, home: Path, *arguments: str) -> Any:
    """What the inspector prints; a person logs in when it asks for that."""
    program = node_tools() / "node_modules/@modelcontextprotocol/inspector/clients/launcher"
    callback = f"http://127.0.0.1:{free_port()}/oauth/callback"
    master, terminal = os.openpty()  # without one it asks nobody to log in
    process = subprocess.Popen(
        [
            *(node(), str(program / "build/index.js"), "--cli", url + visit.path),
            *("--transport", "http", "--callback-url", callback, "--format", "json", *arguments),
        ],
        env={**environment(home), "MCP_AUTO_OPEN_ENABLED": "false"},
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said: list[str] = []
    with process:
        person = threading.Thread(target=_log_in, args=(process, url, callback, visit.user, said))
        person.start()
        assert process.stdout is not None
        output = process.stdout.read()
        person.join(20)
    os.close(master)
    os.close(terminal)
    assert process.returncode == 0, "".join(said)
    result = json.loads(output)
    return result.get("result", result)


def _log_in(
    process: "subprocess.Popen[str]", url: str, callback: str, user: str, said: list[str]
) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        found = re.search(rf"{re.escape(url)}/authorize\?\S+", line)
        if found:
            with httpx2.Client(base_url=url, timeout=60) as browser:
                told = agree(browser, found[0], user=user)
            httpx2.get(callback, params=told, timeout=60)


def test_a_buyer_is_no_administrator(url: str) -> None:
    with httpx2.Client(base_url=url, timeout=60) as client:
        tokens = log_in(client, user=BUYER, resource=f"{url}/mcp-admin")
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        answer = client.post("/mcp-admin", headers=bearer, json={})
        assert answer.status_code == 403
        assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]


def test_a_visit_that_is_booked_by_a_host_stands_in_the_rest_api(url: str) -> None:
    with httpx2.Client(base_url=url, timeout=60) as client:
        assert client.get("/api/v1/visits").status_code == 401
        tokens = log_in(client, user=BUYER)
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}

        def call(name: str, **arguments: Any) -> Any:
            params = {"name": name, "arguments": arguments}
            body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
            headers = {**bearer, "Accept": "application/json, text/event-stream"}
            answer = client.post("/mcp/", json=body, headers=headers)
            assert answer.status_code == 200, answer.text
            return answer.json()["result"]

        listing = call("search_listings", limit=1)["structuredContent"]["items"][0]["id"]
        visit = call("book_visit", listing_id=listing, at=_tomorrow())["structuredContent"]
        seen = client.get("/api/v1/visits", headers=bearer).json()["items"]
        assert visit in seen
        cancelled = client.post(f"/api/v1/visits/{visit['id']}/cancel", headers=bearer)
        assert cancelled.json()["status"] == "cancelled"


def _tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).isoformat()
