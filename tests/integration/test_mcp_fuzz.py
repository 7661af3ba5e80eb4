"""Whatever is sent to an MCP server, it answers, and never with a 500 or a traceback."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

import assembler
from tests.components.mcp.issuer import token
from tests.integration.test_mcp_mounts import ENVIRONMENT, MEMORY

ROOT = Path(__file__).resolve().parents[2]
MODERN = "2026-07-28"
TOKEN = token(app_metadata={"role": "admin"})
# The same draws in each run, whatever modules a first request imports meanwhile: hypothesis takes
# constants of the sources that are loaded.
STEADY = settings(derandomize=True, database=None)
UNLIMITED = {"middleware.per-user.with.limit": "1000000/second"}
METHODS = [
    *("initialize", "ping", "server/discover", "tools/list", "tools/call", "resources/list"),
    *("resources/read", "resources/templates/list", "prompts/list", "prompts/get"),
    *("completion/complete", "logging/setLevel", "subscriptions/listen", "tasks/get"),
    *("notifications/initialized", "notifications/cancelled", "", "x/y"),
]
TOOLS = [
    *("search_listings", "get_listing", "similar_listings", "book_visit", "list_visits"),
    *("create_listing", "update_listing", "show_dashboard", "run_job", "nothing", ""),
]
NAMES = ["q", "city", "kind", "limit", "offset", "listing_id", "at", "note", "listing", "changes"]
META = [
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/clientInfo",
    "progressToken",
]
HEADERS = [
    *("mcp-protocol-version", "mcp-method", "mcp-name", "mcp-session-id", "last-event-id"),
    *("accept", "content-type", "mcp-param-x", "content-encoding", "origin"),
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        [
            "2026-12-01T10:00:00Z",
            "ui://estate/listing-cards.html",
            MODERN,
            2**63,
            -1,
            "\ud800",
            "a\x00b",
        ]
    ),
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=3)
    return st.one_of(inner, lists, st.dictionaries(st.text(max_size=8), inner, max_size=3))


# Written out: `st.recursive` counts its leaves outside of what is drawn.
values = nested(nested(scalars))
metas = st.dictionaries(st.sampled_from(META), values | st.just(MODERN), max_size=4)
params = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(TOOLS) | values,
        "arguments": st.dictionaries(st.sampled_from(NAMES), values, max_size=4) | values,
        "uri": scalars,
        "cursor": scalars,
        "_meta": metas | values,
        "requestState": scalars,
        "inputResponses": values,
        "protocolVersion": scalars,
        "capabilities": values,
        "clientInfo": values,
    },
)
messages = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0") | scalars, "method": st.sampled_from(METHODS) | scalars},
    optional={"id": scalars, "params": params | values, "result": values, "error": values},
)
bodies = st.one_of(
    messages.map(lambda message: json.dumps(message).encode()),
    st.lists(messages, max_size=3).map(lambda batch: json.dumps(batch).encode()),
    values.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=60),
    st.sampled_from(
        [b"[" * 100_000, b'{"a":' * 5000, b"9" * 5000, b'"\\ud800"', b"\xef\xbb\xbf{}"]
    ),
)
printable = st.text(st.characters(codec="latin-1", exclude_characters="\r\n\x00"), max_size=20)
headers = st.dictionaries(
    st.sampled_from(HEADERS),
    printable | st.sampled_from([MODERN, "2025-11-25", "tools/call", "*/*", "application/json"]),
    max_size=4,
)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    path = ROOT / "manifests/base.yaml"
    app = assembler.build(assembler.load(path, MEMORY | UNLIMITED, environment=ENVIRONMENT))
    with TestClient(app, base_url="https://a.example") as made:
        yield made


@settings(STEADY, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(["/mcp", "/mcp-admin/"]), body=bodies, more=headers)
@example(path="/mcp", body=b"[" * 100_000, more={})
@example(path="/mcp", body=b"[" * 100_000, more={"mcp-protocol-version": MODERN})
@example(path="/mcp", body=b"\xff", more={"mcp-protocol-version": MODERN})
@example(path="/mcp", body=b"{}", more={"mcp-protocol-version": "\xff", "accept": ""})
def test_it_answers_whatever_comes(
    client: TestClient,
    caplog: pytest.LogCaptureFixture,
    path: str,
    body: bytes,
    more: dict[str, str],
) -> None:
    caplog.clear()
    usual = {
        "authorization": f"Bearer {TOKEN}",
        "accept": "application/json, text/event-stream",
        "content-type": "application/json",
    }
    said = [(name.encode(), text.encode("latin-1")) for name, text in {**usual, **more}.items()]
    answer = client.post(path, content=body, headers=said)
    assert answer.status_code < 500, (answer.status_code, answer.text)
    assert "Traceback" not in answer.text
    assert 'File "' not in answer.text
    crashes = [record for record in caplog.records if record.exc_info]
    assert crashes == [], [record.getMessage() for record in crashes]
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@example(tool="search_listings", arguments={"q": "\ud800"}, is_modern=True)
@example(tool="search_listings", arguments={"city": "\ud800"}, is_modern=False)
@example(tool="get_listing", arguments={"listing_id": 2**63 - 1}, is_modern=True)
@example(tool="run_job", arguments={"job": "\ud800"}, is_modern=True)
@settings(STEADY, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tool=st.sampled_from(TOOLS[:-2]),
    arguments=st.dictionaries(st.sampled_from(NAMES), values),
    is_modern=st.booleans(),
)
def test_a_tool_is_wrong_about_nothing_that_it_is_given(
    client: TestClient,
    caplog: pytest.LogCaptureFixture,
    tool: str,
    arguments: dict[str, Any],
    is_modern: bool,
) -> None:
    caplog.clear()
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    said = {
        "authorization": f"Bearer {TOKEN}",
        "accept": "application/json",
        "content-type": "application/json",
    }
    if is_modern:
        params["_meta"] = {META[0]: MODERN, META[1]: {}}
        said |= {"mcp-protocol-version": MODERN, "mcp-method": "tools/call", "mcp-name": tool}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    path = "/mcp-admin" if TOOLS.index(tool) > 4 else "/mcp"
    answer = client.post(path, content=json.dumps(body).encode(), headers=said)
    assert answer.status_code in {200, 400}, answer.text
    assert not [record for record in caplog.records if record.exc_info], caplog.text
