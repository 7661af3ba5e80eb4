"""An MCP server as an application: mounted, stateless, shared by replicas, quiet."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Any

import pytest
from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, InputRequiredResult
from pydantic import BaseModel, SecretStr
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from components.mcp.http_transport import HttpTransport
from components.mcp.principal import Principal
from components.mcp.server import answer, caller, http_app, mcp_server, request_of

BASE = "https://a.example"
KEY, OTHER = SecretStr("k" * 32), SecretStr("o" * 32)
ASK = {"method": "elicitation/create", "params": {"message": "?", "requestedSchema": {}}}
ASK["params"]["requestedSchema"] = {"type": "object", "properties": {"ok": {"type": "boolean"}}}  # type: ignore[index]  # a mapping
MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
}


class Wanted:
    """Asks for a resource, as a mark of anybody's may: by its attribute."""

    def __init__(self, resource_id: str) -> None:
        self.resource_id = resource_id


Shop = Annotated[str, Wanted("shop")]


class Count(BaseModel):
    count: int


def app(transport: HttpTransport) -> ASGIApp:
    server = mcp_server("test", transport=transport)

    @server.tool()
    def count(context: Context) -> Annotated[CallToolResult, Count]:
        return answer("There is one.", Count(count=1))

    @server.tool()
    def whoami(context: Context) -> str:
        return f"{caller(context).id} at {request_of(context).url.path}"

    @server.tool()
    def confirm(context: Context) -> str | InputRequiredResult:
        if context.request_state == "asked":
            return "confirmed"
        return InputRequiredResult.model_validate(
            {"inputRequests": {"ok": ASK}, "requestState": "asked"}
        )

    @server.tool()
    def crash() -> str:
        raise RuntimeError("secret-detail")

    @server.tool()
    def shop_of(place: str, shop: Shop) -> str:
        return f"{shop} in {place}"

    @server.tool()
    async def shop_for(shop: Shop, context: Context) -> str:
        return f"{shop} for {caller(context).id}"

    @server.tool()
    async def lost(lost: Annotated[str, Wanted("nobody")]) -> str:
        return lost

    return http_app(server, transport=transport)


@contextmanager
def replica(user: str | None = "ada", **options: Any) -> Iterator[TestClient]:
    """A process with the server at `/mcp`; a gate says who `user` is."""
    inner = app(HttpTransport(**{"base_url": BASE, **options}))

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, str]]:
        async with inner.lifespan_context(inner):  # type: ignore[attr-defined]  # a Router
            yield {"shop": "Books"}

    outer = Starlette(routes=[Mount("/mcp", app=inner)], lifespan=lifespan)

    async def gated(scope: Scope, receive: Receive, send: Send) -> None:
        if user is not None and scope["type"] == "http":
            principal = Principal(id=user, issuer="i", scopes=frozenset())
            scope.setdefault("state", {})["principal"] = principal
        await outer(scope, receive, send)

    with TestClient(gated, base_url=BASE) as client:
        yield client


def call(client: TestClient, name: str, *, path: str = "/mcp/", **more: Any) -> Any:
    params = {"name": name, "arguments": {}, **more}
    headers = {"Accept": "application/json, text/event-stream"}
    if "_meta" in more:
        headers |= {
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/call",
            "Mcp-Name": name,
        }
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    answered = client.post(path, json=body, headers=headers)
    assert answered.headers["content-type"] == "application/json"
    return answered.json()


def test_an_answer_has_a_text_and_its_content() -> None:
    with replica() as client:
        result = call(client, "count")["result"]
    assert result["content"] == [{"type": "text", "text": "There is one."}]
    assert result["structuredContent"] == {"count": 1}


def test_tools_are_given_resources_that_no_model_sees() -> None:
    with replica("ada") as client:
        given = call(client, "shop_of", arguments={"place": "Pune"})
        assert given["result"]["content"][0]["text"] == "Books in Pune"
        assert call(client, "shop_for")["result"]["content"][0]["text"] == "Books for ada"
        lost = call(client, "lost")["result"]
        assert lost["isError"]
        assert "this service has no resource `nobody`" in lost["content"][0]["text"]
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
        headers = {"Accept": "application/json, text/event-stream"}
        listed = client.post("/mcp/", json=body, headers=headers).json()["result"]["tools"]
    shown = {tool["name"]: sorted(tool["inputSchema"]["properties"]) for tool in listed}
    assert (shown["shop_of"], shown["shop_for"], shown["lost"]) == (["place"], [], [])


def test_a_tool_sees_whose_token_it_is() -> None:
    with replica("ada") as client:
        assert call(client, "whoami")["result"]["content"][0]["text"] == "ada at /mcp/"


def test_without_a_gate_a_tool_that_asks_says_so() -> None:
    with replica(None, anonymous=True) as client:
        result = call(client, "whoami")["result"]
        assert result["isError"]
        assert result["content"][0]["text"].endswith("nobody is logged in")
        assert not call(client, "count")["result"]["isError"]
    with replica(None) as client:
        assert client.post("/mcp/", json={}).status_code == 403


def test_a_crash_of_a_tool_tells_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    with replica() as client:
        result = call(client, "crash")
    assert result["result"]["isError"]
    assert "secret-detail" not in str(result)
    assert "secret-detail" in caplog.text


def test_a_call_in_two_rounds_may_end_at_another_replica() -> None:
    with replica(state_keys=[KEY]) as first, replica(state_keys=[OTHER, KEY]) as second:
        asked = call(first, "confirm", _meta=MODERN)["result"]
        assert asked["requestState"] != "asked"
        more = {
            "_meta": MODERN,
            "requestState": asked["requestState"],
            "inputResponses": {"ok": {"action": "accept", "content": {"ok": True}}},
        }
        assert call(second, "confirm", **more)["result"]["content"][0]["text"] == "confirmed"
        assert call(first, "confirm", **more)["result"]["content"][0]["text"] == "confirmed"


@pytest.mark.parametrize(
    ("user", "options"),
    [("bob", {"state_keys": [KEY]}), ("ada", {"state_keys": [OTHER]}), ("ada", {})],
)
def test_a_state_is_for_its_user_and_its_keys(user: str, options: dict[str, Any]) -> None:
    with replica("ada", state_keys=[KEY]) as first, replica(user, **options) as second:
        asked = call(first, "confirm", _meta=MODERN)["result"]
        answers = {"ok": {"action": "accept", "content": {"ok": True}}}
        state = asked["requestState"]
        told = call(second, "confirm", _meta=MODERN, requestState=state, inputResponses=answers)
        assert told["error"]["message"] == "Invalid or expired requestState"


def test_it_answers_at_its_root_alone() -> None:
    with replica() as client:
        assert client.post("/mcp/inner", json={}).status_code == 404
        assert client.post("/mcp/mcp", json={}).status_code == 404


def test_json_is_the_answer_unless_streams_are_wanted() -> None:
    headers = {"Accept": "application/json, text/event-stream"}
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    with replica() as client:
        assert client.post("/mcp/", json=body, headers=headers).json()["result"] == {}
    with replica(streams=True) as client:
        answered = client.post("/mcp/", json=body, headers=headers)
        assert answered.headers["content-type"].startswith("text/event-stream")


def test_the_sdk_leaves_logging_as_it_is() -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    for handler in before:
        root.removeHandler(handler)
    try:
        mcp_server("test", transport=HttpTransport(base_url=BASE))
        assert root.handlers == []
        assert root.level == level
    finally:
        for handler in before:
            root.addHandler(handler)
