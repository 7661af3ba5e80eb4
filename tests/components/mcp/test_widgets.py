"""Widgets from a folder: what hosts are told of them, and what they hold."""

from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server.apps import APP_MIME_TYPE, EXTENSION_ID
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import MCPServer

from components.mcp.http_transport import HttpTransport
from components.mcp.server import mcp_server
from components.mcp.widgets import Widgets

PAGE = """<!doctype html><title>A &amp; B</title>
<meta name="description" content="Shows things.">
<link rel="stylesheet" href="own.css"><script src="widget_bridge.js"></script>
<script src="own.js"></script>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "things.html").write_text(PAGE)
    (tmp_path / "own.css").write_text("p { color: red }\n")
    (tmp_path / "own.js").write_text("const own = '\\\\1';\n")
    return tmp_path


def server(widgets: Widgets) -> MCPServer[Any]:
    transport = HttpTransport(base_url="https://a.example")
    return mcp_server("test", transport=transport, extensions=[widgets])


def read(made: MCPServer[Any], uri: str) -> tuple[str, dict[str, Any]]:
    """The text of a resource, and what is said of it."""
    (content,) = anyio.run(made.read_resource, uri)
    assert isinstance(content, ReadResourceContents)
    assert isinstance(content.content, str)
    assert content.meta is not None
    return content.content, content.meta


def test_a_file_is_a_resource_that_holds_all_it_needs(folder: Path) -> None:
    made = server(Widgets(folder, authority="test"))
    (resource,) = anyio.run(made.list_resources)
    assert (resource.uri, resource.mime_type) == ("ui://test/things.html", APP_MIME_TYPE)
    assert (resource.title, resource.description) == ("A & B", "Shows things.")
    text, _ = read(made, resource.uri)
    assert "function widget(draw)" in text
    assert "p { color: red }" in text
    assert "const own = '\\\\1';" in text
    assert "src=" not in text
    assert "href=" not in text


def test_hosts_are_told_that_a_widget_asks_for_nothing(folder: Path) -> None:
    made = server(Widgets(folder, authority="test"))
    (resource,) = anyio.run(made.list_resources)
    for meta in (resource.meta, read(made, resource.uri)[1]):
        assert meta is not None
        assert meta["ui"]["csp"] == {"connectDomains": [], "resourceDomains": []}
        assert meta["openai/widgetCSP"] == {"connect_domains": [], "resource_domains": []}
        assert meta["openai/widgetDescription"] == "Shows things."


def test_a_tool_names_its_widget_for_both_kinds_of_host(folder: Path) -> None:
    widgets = Widgets(folder, authority="test")
    assert widgets.meta("things", invoking="Looking") == {
        "ui": {"resourceUri": "ui://test/things.html"},
        "openai/outputTemplate": "ui://test/things.html",
        "openai/toolInvocation/invoking": "Looking",
    }
    with pytest.raises(ValueError, match="no widget `thing`; there are: things"):
        widgets.meta("thing")
    assert EXTENSION_ID in server(widgets)._lowlevel_server.extensions


def test_a_server_has_the_widgets_that_it_names(folder: Path) -> None:
    (folder / "other.html").write_text("<title>Other</title>")
    assert len(anyio.run(server(Widgets(folder, authority="t")).list_resources)) == 2
    (resource,) = anyio.run(server(Widgets(folder, authority="t", names=["other"])).list_resources)
    assert resource.uri == "ui://t/other.html"


@pytest.mark.parametrize(
    ("name", "data", "text"),
    [
        ("things.html", b"\xff", "things.html cannot be read"),
        ("things.html", b"x" * (512 * 1024 + 1), "has more than 524288 bytes"),
        ("own.js", b"'</script>'", "would end its own `<script>`"),
        ("own.js", None, "own.js cannot be read"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    folder: Path, name: str, data: bytes | None, text: str
) -> None:
    file = folder / name
    file.unlink()
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(ValueError, match=text):
        Widgets(folder, authority="test")


def test_a_folder_without_widgets_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no widget in"):
        Widgets(tmp_path, authority="test")
    with pytest.raises(ValueError, match="cannot be read"):
        Widgets(tmp_path, authority="test", names=["things"])
