"""Plain data → pictures in which nothing but their own syntax is syntax."""

import re
from typing import Any

import pytest

from assembler.describe.picture import as_list, as_mermaid, as_text

HANDLER = {"id": "404", "catch": 404, "use": "own.answer"}


def facts(**changes: Any) -> dict[str, Any]:
    plain = {
        "manifest": "m.yaml",
        "request": "GET /x",
        "server": {"host": "127.0.0.1", "port": 8000, "workers": 1},
        "dispatch": "indexed",
        "resources": [],
        "middleware": [],
        "route": None,
        "shadowed": [],
        "answer": "404: no route has this path",
        "handlers": [HANDLER],
    }
    return plain | changes


HOSTILE = [
    '"];a-->b',
    "#quot;",
    "%%{init:{}}%%",
    "`x`",
    "\n end",
    "</script>",
    "\u202ex",
    "\x1b[2J",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_characters_are_text_in_a_flowchart(text: str) -> None:
    layer = {"id": text, "use": text, "options": {}}
    route = {"id": text, "path": text, "methods": [text], "endpoint": text, "dependencies": []}
    handler = {"id": text, "catch": text, "use": text}
    given = facts(
        request=text, middleware=[layer], shadowed=[route], answer=text, handlers=[handler]
    )
    for line in as_mermaid(given).splitlines():
        shape = r'\w+(\[".*"\]|\(\[".*"\]\)|\{\{[\w ]+\}\})'
        edge = r'\w+ (-->|-\.->|-\. (\w+|".*") \.->) \w+'
        assert re.fullmatch(rf"flowchart TD|  {shape}|  {edge}", line)
        for label in re.findall(r'"(.*)"', line):
            assert not re.search(r"[\"`<>\[\]%;]", re.sub(r"#\d+;", "", label))
            assert not any(
                int(code) < 32 or int(code) > 127 for code in re.findall(r"#(\d+);", label)
            )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_characters_are_visible_in_a_terminal(text: str) -> None:
    layer = {"id": text, "use": text, "options": {text: text}}
    route = {"id": text, "path": text, "methods": [text], "endpoint": text, "dependencies": [text]}
    plain = as_text(facts(request=text, middleware=[layer], answer=text))
    won = as_text(facts(route=route | {"parameters": {text: text}, "inside": text}))
    for shown in (plain, won, as_list([route, route])):
        assert all(char.isprintable() or char == "\n" for char in shown)
    assert as_list([route, route]).count("\n") == 1


def test_dispatch_that_is_fastapis_own_is_told_with_the_reason() -> None:
    text = as_text(facts(dispatch="FastAPI's own: the app's router has its own `app`"))
    assert "  ├─ routes are tried one by one: the app's router has its own `app`\n" in text
    assert "one by one" not in as_text(facts())


def test_a_socket_is_told_in_the_place_of_host_and_port() -> None:
    server = {"host": "127.0.0.1", "port": 8000, "workers": 2, "uds": "/run/app.sock"}
    assert "  uvicorn /run/app.sock, 2 workers\n" in as_text(facts(server=server))


def test_a_500_that_no_handler_answers_is_told() -> None:
    assert "Exception  a plain 500, logged" in as_text(facts())
    for catch in ("Exception", 500):
        handled = facts(handlers=[{"id": "x", "catch": catch, "use": "own.answer"}])
        assert "plain 500" not in as_text(handled)


def test_a_long_option_is_cut_and_a_short_one_is_whole() -> None:
    layer = {"id": "x", "use": "x", "options": {"long": "a" * 500, "short": ["b", None, True]}}
    lines = as_text(facts(middleware=[layer])).splitlines()
    assert max(map(len, lines)) < 120
    assert '  │    short: ["b", null, true]' in lines
