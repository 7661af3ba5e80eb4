"""What was seen of two applications → where they differ.

In: the facts, answers and starts of the application that is written, of the same one in another run,
and of the one that a manifest makes. Out: differences, each with its part, its place and both sides;
the names of what was not compared. What changes from one run of the written application to the next
(a time, a random identifier) says nothing about the other one: it is compared by its presence alone,
and is told as not compared.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from typing import Any, Literal

from assembler.adopt.equality.inspection import inner_applications
from assembler.adopt.equality.values import shown, written

Part = Literal[
    "attributes", "state", "layers", "handlers", "routes", "openapi", "requests", "lifespan"
]
PARTS: tuple[Part, ...] = (
    *("attributes", "state", "layers", "handlers"),
    *("routes", "openapi", "requests", "lifespan"),
)
ABSENT = "nothing"
_MOST = 120  # characters of one side


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: `left` is what the written application has, `right` what the manifest makes."""

    part: Part
    place: str
    left: str
    right: str
    detail: Mapping[str, Any] = field(default_factory=dict, compare=False, hash=False, repr=False)
    """What the rules judge by: both sides as they were seen."""


@dataclass(slots=True)
class Compared:
    """The differences, how much was compared of each part, and what was not."""

    differences: list[Difference] = field(default_factory=list)
    counts: Counter[Part] = field(default_factory=Counter)
    uncompared: dict[str, None] = field(default_factory=dict)

    def add(
        self, part: Part, place: str, left: Any, right: Any, detail: Mapping[str, Any] | None = None
    ) -> None:
        """Note a difference; both sides are descriptions, or texts as they are to be shown."""
        self.differences.append(Difference(part, place, _side(left), _side(right), detail or {}))


def compare(
    left: Mapping[str, Any], again: Mapping[str, Any], right: Mapping[str, Any]
) -> Compared:
    """Compare two applications; `again` is the left one in another run, which tells what may vary.

    The probes are those of the left one.
    """
    compared = Compared()
    _applications(left["facts"], again["facts"], right["facts"], "", compared)
    answers = left["answers"], again["answers"], right["answers"]
    _requests(*answers, left["probes"], _known(left["facts"], right["facts"]), compared)
    _starts(left, again, right, compared)
    return compared


def layer_order(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[int] | None:
    """Return where each layer of the right application stands in the left one, if only that differs.

    Layers that are wrapped around an application as objects keep their places.
    """
    found = Compared()
    inner = [[each for each in side["layers"] if "options" in each] for side in (left, right)]
    _layers("", inner[0], inner[1], found)
    orders = (each.detail.get("order") for each in found.differences)
    return next((order for order in orders if order is not None), None)


class _Absent:
    def __str__(self) -> str:
        return ABSENT


_NOTHING = _Absent()


def _side(value: Any) -> str:
    is_text = isinstance(value, _Text | _Absent)
    text = str(value) if is_text else shown(value)
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"


# --- what the applications are made of


def _applications(left: Any, again: Any, right: Any, place: str, compared: Compared) -> None:
    where = f"`{place}`: " if place else ""
    if left["kind"] != right["kind"]:
        compared.add("attributes", f"{where}class", left["kind"], right["kind"])
    for part in ("attributes", "state"):
        _values(part, where, (left[part], again[part], right[part]), compared)
    _layers(where, left["layers"], right["layers"], compared)
    compared.counts["handlers"] += len(left["handlers"])
    for path, mine, theirs in differing(left["handlers"], right["handlers"]):
        is_around = bool(where) and str(mine).startswith("fastapi.exception_handlers.")
        place = ".".join([path[0].rpartition(".")[2], *map(str, path[1:])])
        detail = {"around": is_around and path[0] not in right["handlers"]}
        compared.add("handlers", f"{where}{place}", mine, theirs, detail)
    _routes(left, again, right, where, compared)
    if "openapi" in left and "openapi" in right:
        compared.counts["openapi"] += len(left["openapi"].get("paths", ()))
        for path, mine, theirs in differing(left["openapi"], right["openapi"]):
            compared.add("openapi", where + _pointer(path), mine, theirs)
        if right.get("openapi_extended"):
            sides = _Text("FastAPI's"), _Text("with what the layers, handlers and dependencies add")
            compared.add("openapi", f"{where}the document", *sides, {"extended": True})


def _values(part: Part, where: str, sides: tuple[Any, Any, Any], compared: Compared) -> None:
    left, again, right = sides
    compared.counts[part] += len(left)
    varying = {path for path, _, _ in differing(left, again)}
    for path, mine, theirs in differing(left, right):
        if any(path[: len(each)] == each for each in varying):
            compared.uncompared[f"{part} `{path[0]}`, which changes from run to run"] = None
        else:
            compared.add(part, f"{where}`{'.'.join(map(str, path))}`", mine, theirs)


def _layers(where: str, left: list[Any], right: list[Any], compared: Compared) -> None:
    compared.counts["layers"] += len(left)
    names = [_layer_key(each) for each in left], [_layer_key(each) for each in right]
    if names[0] != names[1] and sorted(names[0]) == sorted(names[1]):
        detail = {"order": [names[0].index(each) for each in names[1]], "where": where}
        orders = ["outermost first: " + ", ".join(map(_last, each)) for each in names]
        mine, theirs = map(_Text, orders)
        compared.add("layers", f"{where}order", mine, theirs, detail)
        _layer_pairs(where, left, [right[names[1].index(each)] for each in names[0]], compared)
        return
    matcher = SequenceMatcher(a=names[0], b=names[1], autojunk=False)
    for tag, first, last, begin, end in matcher.get_opcodes():
        if tag == "equal":
            _layer_pairs(where, left[first:last], right[begin:end], compared)
            continue
        for number in range(first, last):
            compared.add("layers", f"{where}layer {number + 1}", left[number]["layer"], _NOTHING)
        for number in range(begin, end):
            compared.add("layers", f"{where}layer {number + 1}", _NOTHING, right[number]["layer"])


def _layer_key(layer: Any) -> str:
    """Name a layer; of a function that stands in a general class the function tells."""
    dispatch = (layer.get("options") or {}).get("dispatch")
    return written(layer["layer"]) + (written(dispatch) if dispatch else "")


def _last(key: str) -> str:
    return re.sub(r"^.*[.\"](\w+)\"[^\"]*$", r"`\1`", key)


def _layer_pairs(where: str, left: list[Any], right: list[Any], compared: Compared) -> None:
    for mine, theirs in zip(left, right, strict=True):
        name = shown(mine["layer"]).strip("`").rpartition(".")[2]
        if "options" not in mine or "options" not in theirs:
            if mine != theirs:
                compared.uncompared[f"options of `{name}`, which is wrapped around the app"] = None
            continue
        for path, here, there in differing(mine["options"], theirs["options"]):
            place = f"{where}`{name}.{'.'.join(map(str, path))}`"
            compared.add("layers", place, here, there)


def _routes(left: Any, again: Any, right: Any, where: str, compared: Compared) -> None:
    mine, theirs = left["routes"], right["routes"]
    compared.counts["routes"] += len(mine)
    keys = _numbered(mine), _numbered(theirs)
    for key in keys[0]:
        if key not in keys[1]:
            compared.add(
                "routes", f"{where}{_route_name(keys[0][key])}", _Text("is there"), _NOTHING
            )
    for key in keys[1]:
        if key not in keys[0]:
            compared.add(
                "routes", f"{where}{_route_name(keys[1][key])}", _NOTHING, _Text("is there")
            )
    shared = [key for key in keys[0] if key in keys[1]]
    _order(where, shared, [key for key in keys[1] if key in keys[0]], keys[0], compared)
    repeated = _numbered(again["routes"])
    for key in shared:
        other = repeated.get(key, keys[0][key])
        _route(where, keys[0][key], other, keys[1][key], compared)
    for path, here, there in differing(left["frontends"], right["frontends"]):
        compared.add("routes", f"{where}frontend {_pointer(path)}", here, there)


def _numbered(routes: list[Any]) -> dict[str, Any]:
    """Name each route; one that stands there twice is told by its number."""
    found: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    for route in routes:
        key = written([route["kind"], route["methods"], route["path"], route.get("host")])
        counts[key] += 1
        found[f"{key} {counts[key]}"] = route
    return found


def _route_name(route: Any) -> str:
    methods = ", ".join(route["methods"]) or route["kind"]
    return f"`{methods} {route.get('host') or ''}{route['path']}`"


def _order(
    where: str, left: list[str], right: list[str], routes: Mapping[str, Any], compared: Compared
) -> None:
    """Tell the first route that is tried at another place."""
    for mine, theirs in zip(left, right, strict=True):
        if mine != theirs:
            detail = {"order": True}
            here, there = (f"{_route_name(routes[each])} comes first" for each in (mine, theirs))
            compared.add("routes", f"{where}order", _Text(here), _Text(there), detail)
            return


def _route(where: str, left: Any, again: Any, right: Any, compared: Compared) -> None:
    place = f"{where}{_route_name(left)}"
    if "application" in left and "application" in right:
        inner = left["application"]["place"]
        _applications(
            left["application"],
            again.get("application", left["application"]),
            right["application"],
            inner,
            compared,
        )
    sides = [
        {key: each.get(key) for key in ("name", "endpoint", "details", "app", "router")}
        | {"application": "application" in each}
        for each in (left, again, right)
    ]
    varying = {path for path, _, _ in differing(sides[0], sides[1])}
    for path, mine, theirs in differing(sides[0], sides[2]):
        if path not in varying:
            names = [str(each) for each in path if each != "details"]
            compared.add("routes", f"{place}: {'.'.join(names)}", mine, theirs)


def _pairs(left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in dict.fromkeys([*left, *right]):
        yield key, left.get(key, _NOTHING), right.get(key, _NOTHING)


def differing(
    left: Any, right: Any, path: tuple[Any, ...] = ()
) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Yield the smallest parts of two descriptions that are not the same, with the way there."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        if "secret" not in left and "secret" not in right:
            for key, mine, theirs in _pairs(left, right):
                yield from differing(mine, theirs, (*path, key))
            return
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (mine, theirs) in enumerate(zip(left, right, strict=True)):
            yield from differing(mine, theirs, (*path, index))
        return
    if left != right or isinstance(left, bool) is not isinstance(right, bool):
        yield path, left, right


def _pointer(path: Sequence[Any]) -> str:
    """Write a way into a document as a JSON pointer (RFC 6901)."""
    return "/" + "/".join(str(each).replace("~", "~0").replace("/", "~1") for each in path)


class _Text(str):
    """A text that is shown as it is."""

    __slots__ = ()


_EMPTY = _Text("an empty body")


# --- requests


def _requests(
    left: list[Any],
    again: list[Any],
    right: list[Any],
    probes: Sequence[Any],
    known: Mapping[str, Any],
    compared: Compared,
) -> None:
    varying = {
        name
        for first, second in zip(left, again, strict=True)
        for name in _different_headers(first, second)
    }
    for name in sorted(varying):
        compared.uncompared[f"values of the header `{name}`, which change from run to run"] = None
    for probe, mine, once_more, theirs in zip(probes, left, again, right, strict=True):
        compared.counts["requests"] += 1
        if probe.get("force") and not (mine.get("forced") and theirs.get("forced")):
            compared.counts["requests"] -= 1
            continue
        place = f"{probe['method']} {_short(probe['target'])} ({probe['label']})"
        detail = {
            "probe": probe,
            "left": mine,
            "right": theirs,
            "extended": probe["target"] in known["extended"],
            **known["apps"].get(probe["place"], {}),
        }
        if mine.get("stream"):
            compared.uncompared["what stands in answers that are streams"] = None
        if mine == theirs:
            continue
        for what, here, there in _answers(mine, once_more, theirs, varying, compared):
            compared.add("requests", f"{place}: {what}", here, there, {**detail, "what": what})


def _known(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the rules know of the applications: their handlers, and a root path around them."""
    apps = {}
    root = left["attributes"].get("root_path")
    for app in (left, *inner_applications(left)):
        is_below = bool(root) and app["place"] != ""
        apps[app["place"]] = {"handlers": [*app["handlers"]], "is_below_root_path": is_below}
    return {"apps": apps, "extended": set(_extended(right))}


def _extended(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths of OpenAPI documents to which the parts of a stack add something."""
    for app in (facts, *inner_applications(facts)):
        path = app["attributes"].get("openapi_url")
        if app.get("openapi_extended") and path:
            yield app["place"] + path


def _short(target: str) -> str:
    return target if len(target) <= 80 else f"{target[:79]}…"


def _different_headers(left: Any, right: Any) -> set[str]:
    sides = [Counter(map(tuple, each["headers"])) for each in (left, right)]
    both = (sides[0] - sides[1]) + (sides[1] - sides[0])
    return {name for name, _ in both}


def _answers(
    left: Any, again: Any, right: Any, varying: set[str], compared: Compared
) -> Iterator[tuple[str, Any, Any]]:
    if left["status"] != again["status"]:
        compared.uncompared["answers whose status changes from run to run"] = None
        return
    if left["status"] != right["status"]:
        yield "status", left["status"], right["status"]
    if left["raises"] != right["raises"] and left["raises"] == again["raises"]:
        yield "raises", left["raises"] or _NOTHING, right["raises"] or _NOTHING
    for name in sorted(_different_headers(left, right)):
        sides = [[v for n, v in each["headers"] if n == name] for each in (left, right)]
        if name not in varying or len(sides[0]) != len(sides[1]):
            mine, theirs = (_Text(", ".join(s)) if s else _NOTHING for s in sides)
            yield f"header `{name}`", mine, theirs
    if left["status"] is not None and right["status"] is not None:
        yield from _what_is_sent(left, again, right, compared)


def _what_is_sent(
    left: Any, again: Any, right: Any, compared: Compared
) -> Iterator[tuple[str, Any, Any]]:
    if left.get("stream") or right.get("stream"):
        if left.get("stream") != right.get("stream"):
            mine, theirs = (
                _Text("a stream" if e.get("stream") else "a body") for e in (left, right)
            )
            yield "body", mine, theirs
    elif left["body"] != again.get("body"):
        yield from _varying_bodies(left["body"], again.get("body", ""), right["body"], compared)
    elif (left["body"], left.get("hash")) != (right["body"], right.get("hash")):
        mine, theirs = _bodies(left["body"], right["body"])
        yield "body", mine, theirs


def _bodies(left: str, right: str) -> tuple[Any, Any]:
    """Return the first part of two bodies that is not the same."""
    if not left or not right:
        return left or _EMPTY, right or _EMPTY
    parsed = _parsed(left), _parsed(right)
    if None not in parsed:
        for path, mine, theirs in differing(*parsed):
            return _at(path, mine), _at(path, theirs)
    for number, (mine, theirs) in enumerate(zip(left, right, strict=False)):
        if mine != theirs:
            begin = max(0, number - 20)
            return left[begin : number + 60], right[begin : number + 60]
    return left[-80:], right[-80:]


def _at(path: Sequence[Any], value: Any) -> Any:
    return _Text(f"{_side(value)} at {_pointer(path)}" if path else _side(value))


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _varying_bodies(
    left: str, again: str, right: str, compared: Compared
) -> Iterator[tuple[str, Any, Any]]:
    sides = [_parsed(each) for each in (left, again, right)]
    if None in sides:
        compared.uncompared["bodies without JSON that change from run to run"] = None
        return
    compared.uncompared["values in bodies that change from run to run"] = None
    varying = {path for path, _, _ in differing(sides[0], sides[1])}
    for path, mine, theirs in differing(sides[0], sides[2]):
        if not any(path[: len(each)] == each for each in varying):
            yield "body", _at(path, mine), _at(path, theirs)
            return


# --- starts and stops


def _starts(left: Any, again: Any, right: Any, compared: Compared) -> None:
    mounted = {
        f"calls `{name}`" for app in inner_applications(right["facts"]) for name in app["lifespan"]
    }
    jobs = frozenset(f"calls `{each}`" for each in right["jobs"])
    meant = _Meant(frozenset(right["built"]), jobs, bool(right["loops"]))
    for number, name in enumerate(("first", "second")[: len(left["starts"])]):
        runs = [each["starts"][number] for each in (left, again, right)]
        meant = replace(meant, is_mounted=bool(mounted & _more(runs[0], runs[2])))
        for phase in ("start", "stop"):
            sides = [each[phase] for each in runs]
            place = f"{name} {phase}"
            raised = [each.get("raises") for each in sides]
            if not _is_same_failure(raised[0], raised[2]):
                mine, theirs = (_NOTHING if e is None else _Text(e) for e in raised[::2])
                compared.add("lifespan", f"{place}: raises", mine, theirs)
            _effects(place, [each["effects"] for each in sides], meant, compared)
        starts = [each["start"] for each in runs]
        states = starts[0]["state"], starts[1]["state"], starts[2]["state"]
        _values("state", f"after the {name} start: ", states, compared)
        for key in sorted(set(starts[0]["requests"]) - set(starts[2]["requests"])):
            place = f"{name} start: `request.state.{key}`"
            detail = {"mounted": key in starts[2]["mounted"]}
            compared.add("lifespan", place, _Text("is there"), _NOTHING, detail)


def _is_same_failure(left: str | None, right: str | None) -> bool:
    """Tell whether both steps fail alike: that of a manifest says its line as well."""
    return left == right or (left is not None and right is not None and left in right)


def _more(left: Any, right: Any) -> set[str]:
    """Return what the right start does and the left one does not, or less often."""
    effects = Counter(right["start"]["effects"])
    effects.subtract(left["start"]["effects"])
    return {line for line, count in effects.items() if count > 0}


@dataclass(frozen=True, slots=True)
class _Meant:
    """Effects that may be missing, since the build has them, and lifespans that ran nowhere before.

    With jobs in the manifest the clock of a scheduler that the application has is missing, too.
    """

    built: frozenset[str]
    jobs: frozenset[str]
    has_jobs: bool
    is_mounted: bool = False  # such a lifespan has begun


def _effects(place: str, sides: list[list[str]], meant: _Meant, compared: Compared) -> None:
    left, again, right = map(Counter, sides)
    compared.counts["lifespan"] += len(sides[0])
    varying = (left - again) + (again - left)
    for line in sorted(varying):
        compared.uncompared[f"how often a start {line}, which changes from run to run"] = None
    missing, more = left - right, right - left
    is_mounted = not missing and meant.is_mounted
    for line in (missing + more).keys() - varying.keys():
        detail = {
            "built": line in missing and line in meant.built,
            "mounted": is_mounted,
            "clock": line in missing and meant.has_jobs and line in _clocks(missing, meant.jobs),
        }
        compared.add("lifespan", f"{place} {line}", _times(left[line]), _times(right[line]), detail)
    if missing or more or sides[0] != sides[1]:
        return
    for mine, theirs in zip(sides[0], sides[2], strict=True):
        if mine != theirs:
            compared.add("lifespan", f"{place}: order", _Text(mine), _Text(theirs))
            return


def _clocks(lines: Iterable[str], jobs: frozenset[str]) -> set[str]:
    """Return the lines that tell of an APScheduler, and of the calls of functions that start or stop it.

    Of `repeat_every` those that tell of its loops, and of what is a job now.
    """
    found = {line for line in lines if " a scheduler in " in line or "repeat_every.<" in line}
    return found | jobs | {f"calls {line.partition(' a scheduler in ')[2]}" for line in found}


def _times(count: int) -> Any:
    return _NOTHING if not count else _Text("once" if count == 1 else f"{count} times")
