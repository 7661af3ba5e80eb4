"""FastMCP: an MCP server that is mounted, with the lifespan that it cannot do without."""

from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

FILES = {
    "tools.py": """
from fastapi import APIRouter
from fastmcp import FastMCP

mcp = FastMCP("Shop")
router = APIRouter()


@mcp.tool
def price(sku: str) -> int:
    return len(sku)


@router.get("/health")
async def health():
    return "ok"
""",
    "main.py": """
from fastapi import FastAPI

from tools import mcp, router

mcp_app = mcp.http_app(path="/")
app = FastAPI(lifespan=mcp_app.lifespan)
app.include_router(router)
app.mount("/mcp", mcp_app)
""",
    "manifest.yaml": """
manifest: 1
routes:
  - {use: tools.router}
  - {mount: /mcp, use: tools.mcp.http_app, with: {path: /}}
""",
}
HEADERS = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


def asked(client: TestClient, method: str, params: dict[str, Any], **headers: str) -> Any:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    answer = client.post("/mcp/", json=body, headers={**HEADERS, **headers})
    assert answer.status_code == 200, answer.text
    return answer


def test_a_tool_is_listed_and_called(app: FastAPI) -> None:
    with TestClient(app, base_url="http://localhost") as client:
        hello: dict[str, Any] = {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"},
        }
        opened = asked(client, "initialize", hello)
        session = {"mcp-session-id": opened.headers.get("mcp-session-id", "")}
        client.post(
            "/mcp/",
            json={"jsonrpc": "2.0", "method": "notifications/initialized"},
            headers={**HEADERS, **session},
        )
        listed = asked(client, "tools/list", {}, **session)
        assert '"name":"price"' in listed.text.replace(": ", ":")
        called = asked(
            client, "tools/call", {"name": "price", "arguments": {"sku": "tea"}}, **session
        )
        assert '"text":"3"' in called.text.replace(": ", ":")
        assert client.get("/health").json() == "ok"


def test_it_starts_again(app: FastAPI) -> None:
    with TestClient(app) as client:
        assert client.get("/health").status_code == 200
