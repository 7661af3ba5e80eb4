"""An `Adoption` → what a person at a terminal, or a program, reads of it.

In: an `Adoption`. Out: a summary that fits a screen: how many calls ended how, those that want a look
with their places and reasons, what to set, what to do next; or all of it as JSON, stable by `format: 1`.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from assembler.adopt.adoption import Adoption
from assembler.adopt.merge import AdoptedCall
from assembler.diagnostics.span import one_line
from assembler.document.dump import dump

_SHOWN = 8  # lines of each list on a screen
_KINDS = {
    "app": "application",
    "dependencies": "dependencies",
    "state": "state",
    "attribute": "attributes",
    "override": "overrides",
    "function": "functions",
    "share": "uses of the application by name",
    "layer": "layers",
    "handler": "handlers",
    "lifespan": "lifespan",
    "event": "events",
    "router": "routers",
    "endpoint": "endpoints",
    "websocket": "websockets",
    "route": "plain routes",
    "websocket route": "plain websockets",
    "mount": "mounts",
    "host": "hosts",
    "frontend": "frontends",
    "job": "jobs",
}
_OUTCOMES = ("written", "bridged", "refused")


def as_text(adoption: Adoption) -> str:
    """Return the summary."""
    return "\n".join(_lines(adoption))


def as_proposals(adoption: Adoption) -> str:
    """Return the lifespans piece by piece: the source, and beside it what could stand in its place."""
    return "\n".join(_proposals(adoption))


def _proposals(adoption: Adoption) -> Iterator[str]:
    number = 0
    for item in adoption.items:
        if item.pieces:
            yield ""
            yield f"  `{item.what}` stays whole until a piece of it stands in the manifest and is taken out of it"
        for piece in item.pieces:
            number += 1
            yield ""
            yield f"  {number:>2}  {piece['place']}  {one_line(piece['source'])}"
            yield from (f"        {line}" for line in _proposal(piece))


def _proposal(piece: Mapping[str, Any]) -> list[str]:
    if not piece["section"]:
        return [f"→ {piece['why']}"]
    entry, section = piece["entry"], piece["section"]
    data: dict[str, Any] = {section: [entry]}
    if section == "resources":
        data = {section: {piece["name"]: entry}}
    elif section == "state":
        data = {"app": {"state": entry}}
    more = {name: {"use": path, "owned": False} for name, path in piece["more"].items()}
    if more:
        data["resources"] = {**more, **data.get("resources", {})}
    lines = dump([data]).splitlines()
    head = [f"→ {piece['why']}"] if piece["why"] else []
    rest = [f"  {line}" if head or n else f"→ {line}" for n, line in enumerate(lines)]
    return [*head, *rest]


def as_json(adoption: Adoption) -> str:
    """Return all that is known of an adoption, for a program."""
    data = {
        "format": 1,
        "target": adoption.request.target,
        "files": [path.as_posix() for path in adoption.files],
        "counts": adoption.outcomes,
        "calls": [
            {
                "outcome": item.outcome,
                "kind": item.kind,
                "what": item.what,
                "place": item.place,
                "reason": item.note,
                "proposed": item.proposed,
                "pieces": item.pieces,
            }
            for item in adoption.items
        ],
        "variables": dict(adoption.needs),
        "accept": list(adoption.accepted),
        "notes": [note.text() for note in adoption.notes],
        "claims": list(adoption.claims),
        "remarks": list(adoption.remarks),
        "check": adoption.faults,
    }
    return json.dumps(data, indent=2, ensure_ascii=False)


def _lines(adoption: Adoption) -> Iterator[str]:
    counts = adoption.outcomes
    files = ", ".join(path.as_posix() for path in adoption.files)
    yield f"{one_line(adoption.request.target)} → {files}"
    yield ""
    said = ", ".join(f"{counts[name]} {name}" for name in _OUTCOMES)
    yield f"  {sum(counts.values())} calls: {said}"
    yield from _table(adoption.items)
    for name in ("refused", "bridged"):
        lines = [_told(item) for item in adoption.items if item.outcome == name]
        yield from _listed(name, lines)
    proposed = [item for item in adoption.items if item.proposed]
    yield from _listed("proposed", (f"{i.place}  {i.what}: {i.proposed}" for i in proposed))
    yield from _listed("claimed otherwise, and not put in order for it", adoption.claims)
    noted = [i for i in adoption.items if i.note and i.outcome == "written" and i.entry is not None]
    yield from _listed("noted", (_told(item) for item in noted))
    needs = (
        f"export {name}=…  # stood as a literal at {at}" for name, at in adoption.needs.items()
    )
    yield from _listed("set before it runs", needs)
    module = adoption.request.target.partition(":")[0]
    said_of = (f"`{one_line(module)}` {note.text()}" for note in adoption.notes)
    yield from _listed("noticed", [*adoption.remarks, *said_of])
    yield from _next(adoption)


def _table(items: Iterable[AdoptedCall]) -> Iterator[str]:
    counts: dict[str, dict[str, int]] = {}
    for item in items:
        row = counts.setdefault(_KINDS.get(item.kind, item.kind), dict.fromkeys(_OUTCOMES, 0))
        row[item.outcome] += 1
    width = max(map(len, counts), default=0)
    for kind, row in counts.items():
        said = ", ".join(f"{row[name]} {name}" for name in _OUTCOMES if row[name])
        yield f"    {kind.ljust(width)}  {said}"


def _told(item: AdoptedCall) -> str:
    reason = f": {item.note}" if item.note else ""
    return one_line(f"{item.place}  {item.what}{reason}")


def _listed(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if not found:
        return
    yield ""
    yield f"  {title}"
    yield from (f"    {line}" for line in found[:_SHOWN])
    if len(found) > _SHOWN:
        yield f"    and {len(found) - _SHOWN} more: `--format json` has all"


def _next(adoption: Adoption) -> Iterator[str]:
    path = adoption.request.output.as_posix()
    target = one_line(adoption.request.target)
    yield ""
    if adoption.faults:
        yield "  the manifest does not pass its check yet:"
        yield ""
        yield adoption.faults
        return
    yield "  next"
    factory = " --factory" if adoption.request.is_factory else ""
    rules = " ".join(f"--accept {rule}" for rule in adoption.accepted)
    yield f"    assembler equal {target} {path}{factory} --lifespan {rules}"
    yield f"    assembler explain {path}"
    yield f"    assembler serve {path}"
