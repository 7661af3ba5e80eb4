"""The trip of a request, as plain data → a picture of it.

In: what `assembler.describe.explain` found. Out: text for a terminal, or a Mermaid flowchart for documents.
Characters that could deceive a terminal or a renderer are made visible.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from assembler.diagnostics.span import printable
from assembler.document.sections import ENTRIES

_WIDE = 100  # an option's value is cut there: the manifest has it whole
_DRAWN_ABOVE = {"middleware", "routes"}
Facts = dict[str, Any]


def as_text(facts: Facts) -> str:
    """Draw an explanation for a terminal."""
    return "\n".join(printable(line).replace("\n", " ") for line in _drawn(facts))


def as_list(routes: list[Facts]) -> str:
    """Draw routes as aligned lines: methods, path, endpoint, entry."""
    rows = [(",".join(one["methods"]), one["path"], one["endpoint"], one["id"]) for one in routes]
    return "\n".join(_aligned(rows))


def as_mermaid(facts: Facts) -> str:
    """Draw an explanation as a Mermaid flowchart."""
    return "\n".join(["flowchart TD", *(f"  {line}" for line in _charted(facts))])


def _drawn(facts: Facts) -> Iterator[str]:
    yield f"{facts['manifest']}  {facts.get('request', '')}".rstrip()
    yield ""
    yield f"  {_server(facts['server'])}"
    yield from _drawn_layers(facts, "  ")
    within = _within(facts)
    yield from (line for one in within for line in _drawn_inside(one))
    yield "  │"
    if facts["dispatch"] != "indexed":
        yield f"  ├─ routes are tried one by one: {facts['dispatch'].partition(': ')[2]}"
        yield "  │"
    yield from _drawn_routes(facts)
    yield ""
    yield "  what is raised on the way is answered by"
    inside = [(one, each["manifest"]) for each in reversed(within) for one in each["handlers"]]
    rows = [(*_caught(one), f"in {named}") for one, named in inside]
    rows += [(*_caught(one), "") for one in facts["handlers"]]
    if not any(one["catch"] in ("Exception", 500) for one in facts["handlers"]):
        rows.append(("Exception", "a plain 500, logged", ""))
    yield from (f"    {line}" for line in _aligned(rows))
    layers = (*facts["middleware"], *(layer for one in within for layer in one["middleware"]))
    if passed := [one for one in layers if one.get("passed_by")]:
        yield ""
        yield "  a 500 for what is raised inside them has nothing that these layers add"
        yield from (f"    {_named(layer)}" for layer in passed)
    for section in (str(one.path[-1]) for one in ENTRIES.values()):
        if section not in _DRAWN_ABOVE and facts.get(section):
            yield ""
            yield f"  {section}"
            yield from (f"    {_named(entry)}" for entry in facts[section])
    if facts.get("switched_off"):
        yield ""
        yield "  switched off by `enabled`"
        yield from (f"    {_named(entry)}" for entry in facts["switched_off"])


def _drawn_inside(mounted: Facts) -> Iterator[str]:
    """Draw a manifest that is mounted, with its layers inside of it."""
    yield "  │"
    yield f"  ├─ {mounted['mount']}: {mounted['manifest']}"
    yield from _drawn_layers(mounted, "  │  ")


def _drawn_layers(facts: Facts, edge: str) -> Iterator[str]:
    for layer in facts["middleware"]:
        yield f"{edge}│"
        yield f"{edge}├─ {_named(layer)}"
        yield from (f"{edge}│    {line}" for line in _options(layer["options"]))


def _drawn_routes(facts: Facts) -> Iterator[str]:
    if "routes" in facts:
        lines = list(_aligned([(_title(one), one["endpoint"]) for one in facts["routes"]]))
        above: Facts = {}
        for line, route in zip(lines, facts["routes"], strict=True):
            is_last = route is facts["routes"][-1]
            yield f"  {'╰' if is_last else '├'}─▶ {line}"
            if route["id"] != above.get("id"):
                edge = " " if is_last else "│"
                yield from (f"  {edge}     {more}" for more in _aligned(list(_scope(route))))
            above = route
        if not lines:
            yield "  ╰─▶ no routes"
    elif facts["route"]:
        route = facts["route"]
        yield f"  ╰─▶ {_title(route)}  {route['endpoint']}"
        yield from (f"        {line}" for line in _aligned(list(_details(route, facts))))
    else:
        yield f"  ╰─▶ {facts['answer']}"


def _details(route: Facts, facts: Facts) -> Iterator[tuple[str, str]]:
    yield "entry", route["id"]
    for name, value in route["parameters"].items():
        yield "where", f"{name} = {json.dumps(value, ensure_ascii=False)}"
    if "inside" in route:
        yield "inside", route["inside"]
    yield from _scope(route)
    for name in route["dependencies"]:
        yield "after", name
    for other in facts["shadowed"]:
        yield "shadows", f"{_title(other)}  {other['endpoint']}"


def _within(facts: Facts) -> list[Facts]:
    """Return the manifests that a request comes through, the outermost first."""
    found: list[Facts] = facts.get("within") or (facts.get("route") or {}).get("within", [])
    return found


def _scope(route: Facts) -> Iterator[tuple[str, str]]:
    """Yield what a route has of its own: its host, its layers from outside in, its handlers."""
    route = route.get("inner", route)
    if "host" in route:
        yield "host", route["host"]
    for layer in route.get("middleware", ()):
        yield "through", _named(layer)
    for handler in route.get("handlers", ()):
        yield "raised", f"{handler['catch']}  {handler['use']}"


def _charted(facts: Facts) -> Iterator[str]:
    yield f"request([{_label(facts.get('request', 'request'))}])"
    yield f"server[{_label(_server(facts['server']))}]"
    yield "request --> server"
    last = "server"
    for index, layer in enumerate(facts["middleware"]):
        yield f"layer{index}[{_label(_named(layer))}]"
        yield f"{last} --> layer{index}"
        last = f"layer{index}"
    for index, route in enumerate(facts.get("routes") or filter(None, [facts["route"]])):
        yield f"route{index}[{_label(_title(route) + '  ' + route['endpoint'])}]"
        inner = last
        around = (layer for one in route.get("within", ()) for layer in one["middleware"])
        for place, layer in enumerate((*around, *_own_layers(route))):
            yield f"scoped{index}_{place}[{_label(_named(layer))}]"
            yield f"{inner} --> scoped{index}_{place}"
            inner = f"scoped{index}_{place}"
        yield f"{inner} --> route{index}"
    if facts.get("answer"):
        yield f"answer[{_label(facts['answer'])}]"
        yield f"{last} --> answer"
    for index, route in enumerate(facts["shadowed"]):
        yield f"shadowed{index}[{_label(_title(route) + '  ' + route['endpoint'])}]"
        yield f"{last} -. shadowed .-> shadowed{index}"
    handlers = [one for one in facts["handlers"] if one.get("added_by") != "fastapi"]
    if handlers:
        yield "raised{{what is raised on the way}}"
        yield f"{last} -.-> raised"
    for index, handler in enumerate(handlers):
        yield f"handler{index}[{_label(handler['use'])}]"
        yield f"raised -. {_label(str(handler['catch']))} .-> handler{index}"


def _own_layers(route: Facts) -> list[Facts]:
    found: list[Facts] = route.get("inner", route).get("middleware", [])
    return found


def _server(server: Facts) -> str:
    workers = "" if server["workers"] in (1, None) else f", {server['workers']} workers"
    socket = server.get("uds")
    return f"uvicorn {socket or '{host}:{port}'.format_map(server)}{workers}"


def _named(entry: Facts) -> str:
    by = " (added by code)" if "added_by" in entry else ""
    return (
        f"{entry['use']}{by}" if entry["id"] == entry["use"] else f"{entry['id']}: {entry['use']}"
    )


def _caught(handler: Facts) -> tuple[str, str]:
    if handler.get("added_by") == "fastapi":
        return str(handler["catch"]).rpartition(".")[2], "FastAPI's own"
    by = " (added by code)" if "added_by" in handler else ""
    return str(handler["catch"]), f"{handler['use']}{by}"


def _options(options: Facts) -> Iterator[str]:
    for name, value in options.items():
        text = json.dumps(value, ensure_ascii=False)
        room = _WIDE - len(name)
        yield f"{name}: {text if len(text) <= room else text[:room] + '…'}"


def _title(route: Facts) -> str:
    return f"{','.join(route['methods'])} {route['path']}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield one line for each row, its cells below one another."""
    shown = [[printable(cell).replace("\n", " ") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _label(text: str) -> str:
    """Quote a label: as entities, all that a renderer could take for syntax stays text."""
    line = printable(text).replace("\n", " ")
    inert = (char if char.isalnum() or char in " ./:_-,{}" else f"#{ord(char)};" for char in line)
    return f'"{"".join(inert)}"'
