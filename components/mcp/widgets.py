"""A folder of HTML files -> widgets that MCP hosts show beside a tool's answer.

In: `*.html` files. Out: the extension `io.modelcontextprotocol/ui` (MCP Apps) with a `ui://` resource
each, and the metadata by which a tool names its widget: `ui.resourceUri` for all hosts, and
`openai/outputTemplate` for ChatGPT. A file's `<title>` and description tell people and models what
it shows. A host gives a widget the structured content of the answer; the text is for hosts
without widgets, so a tool gives both.

A host shows a widget in a frame without any origin, from which nothing may be asked for. So a file
holds all that it needs: `<script src="x.js">` and `<link rel="stylesheet" href="x.css">` are put in
from the same folder, and `widget_bridge.js`, with which a widget speaks to its host, from here.
Refuses files that are missing, too large or not UTF-8.
"""

import re
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from mcp.server.apps import APP_MIME_TYPE, Apps
from mcp.server.mcpserver.resources import TextResource

BRIDGE = "widget_bridge.js"

_LARGEST_BYTES = 512 * 1024
_SCRIPT = re.compile(r'<script src="([\w.-]+\.js)"></script>')
_STYLE = re.compile(r'<link rel="stylesheet" href="([\w.-]+\.css)" ?/?>')
_NO_DOMAINS: dict[str, list[str]] = {"connectDomains": [], "resourceDomains": []}


class Widgets(Apps):
    """The widgets of a server: those that `names` says, or all of the folder.

    Raises:
        ValueError: a widget is not there or cannot be read.
    """

    def __init__(self, folder: Path, *, authority: str, names: Sequence[str] = ()) -> None:
        super().__init__()
        self._uris: dict[str, str] = {}
        for name in names or sorted(file.stem for file in folder.glob("*.html")):
            self._uris[name] = uri = f"ui://{authority}/{name}.html"
            self.add_resource(_resource(uri, folder / f"{name}.html"))
        if not self._uris:
            raise ValueError(f"there is no widget in {folder}")

    def meta(self, name: str, *, invoking: str = "", invoked: str = "") -> dict[str, Any]:
        """The `_meta` of a tool whose answers the widget `name` shows.

        ChatGPT shows `invoking` while the tool runs, and `invoked` after that.
        """
        if name not in self._uris:
            raise ValueError(f"there is no widget `{name}`; there are: {', '.join(self._uris)}")
        uri = self._uris[name]
        status = {
            "openai/toolInvocation/invoking": invoking,
            "openai/toolInvocation/invoked": invoked,
        }
        return {
            "ui": {"resourceUri": uri},
            "openai/outputTemplate": uri,
            **{key: text for key, text in status.items() if text},
        }


def _resource(uri: str, file: Path) -> TextResource:
    html = _SCRIPT.sub(_put_in(file.parent, "script"), _text(file))
    html = _STYLE.sub(_put_in(file.parent, "style"), html)
    about = _About()
    about.feed(html)
    return TextResource(
        uri=uri,
        name=file.stem,
        title=about.title.strip() or None,
        description=about.description or None,
        mime_type=APP_MIME_TYPE,
        text=html,
        meta={
            "ui": {"csp": _NO_DOMAINS, "prefersBorder": True},
            "openai/widgetDescription": about.description or about.title.strip(),
            "openai/widgetCSP": {"connect_domains": [], "resource_domains": []},
            "openai/widgetPrefersBorder": True,
        },
    )


def _put_in(folder: Path, tag: str) -> Callable[[re.Match[str]], str]:
    def put_in(found: re.Match[str]) -> str:
        name = found[1]
        own = folder / name
        text = _text(Path(__file__).with_name(BRIDGE) if name == BRIDGE else own)
        if f"</{tag}" in text.lower():
            raise ValueError(f"{own} would end its own `<{tag}>`")
        return f"<{tag}>\n{text}</{tag}>"

    return put_in


def _text(file: Path) -> str:
    try:
        data = file.read_bytes()
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    if len(data) > _LARGEST_BYTES:
        raise ValueError(f"{file} has more than {_LARGEST_BYTES} bytes")
    return text


class _About(HTMLParser):
    """The title and the description of a document."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.description = ""
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title"
        given = dict(attrs)
        if tag == "meta" and given.get("name") == "description":
            self.description = given.get("content") or ""

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
