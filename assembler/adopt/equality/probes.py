"""What an application is made of → the requests that tell it from another one.

In: the facts of `inspection`. Out: probes as data, in an order that does not change: for every route
values that its schemas take and some that they refuse, `HEAD`, `OPTIONS`, a preflight, the slash at the
end, a method that it does not have; for every application among the routes what nobody answers, headers
that are too long, and an exception by force inside each layer and endpoint. `GET`, `HEAD` and `OPTIONS`
alone, unless writes are asked for.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any
from urllib.parse import quote, urlencode

Facts = Mapping[str, Any]

FORCED = "ForcedError"
BARE_MOUNT = "the bare path of a mount"
_MOST, _MANY_ROUTES = 3, 100
_SAFE = ("GET", "HEAD", "OPTIONS")
_FOREIGN = "https://elsewhere.example"
_HERE = "http://localhost"
_LONG = "x" * 65_536
_PARAMETER = re.compile(r"\{(\w+)(?::(\w+))?\}")
_CONVERTED = {"int": "1", "float": "1.5", "uuid": "6fa459ea-ee8a-4ca4-894e-db77e160355e"}
_PATH_TEXT = re.compile(r"[\x00-\x20/\\?#%\x7f]")


def _samples() -> Any:
    from assembler.adopt.equality.samples import Samples  # noqa: PLC0415  # brings Hypothesis

    return Samples()


@dataclass(slots=True)
class ProbeList:
    """The probes of one application and of those mounted in it."""

    replay_writes: bool = False
    headers: Sequence[tuple[str, str]] = ()
    samples: Any = field(default_factory=_samples)
    found: list[dict[str, Any]] = field(default_factory=list)
    most: int = 0  # requests with values for one method of a route

    def of(self, facts: Facts) -> list[dict[str, Any]]:
        """Return all probes for an application; fewer for each route where it has many."""
        self.most = _MOST if len(facts["routes"]) <= _MANY_ROUTES else _MOST - 1
        self._application(facts, _Around())
        return self.found

    def _application(self, facts: Facts, around: "_Around") -> None:
        around = around.within(facts)
        seen: set[str] = set()
        for route in facts["routes"]:
            if route["kind"] == "mount":
                self._mount(route, around)
            elif route["kind"] in {"route", "websocket"}:
                self._route(route, around, seen)
        for frontend in facts.get("frontends", ()):
            self._files(frontend["path"].rstrip("/"), around)
        self._strays(facts, around)
        self._forced(facts, around)

    def _mount(self, route: Facts, around: "_Around") -> None:
        path = route["path"]
        if route.get("host"):
            around = around.at_host(route["host"])
        if path:
            self._add("GET", around.prefix + _filled(path, {}), around, BARE_MOUNT)
        if "application" in route:
            self._application(route["application"], around.below(path))
        elif "router" in route:
            self._application({"routes": route["router"], "place": None}, around.below(path))
        else:
            self._files(path, around)

    def _files(self, path: str, around: "_Around") -> None:
        for name in ("/", "/index.html", "/nothing.txt"):
            target = around.prefix + _filled(path, {}) + name
            self._add("GET", target, around, "a file", {"Accept": "text/html"})

    def _route(self, route: Facts, around: "_Around", seen: set[str]) -> None:
        if route.get("host"):
            around = around.at_host(route["host"])
        path = around.prefix + route["path"]
        requests = list(islice(self._requests(route, path), self.most)) or [(path, {}, None)]
        plain = requests[0][0]
        if f"{around.host}{path}" not in seen:
            seen.add(f"{around.host}{path}")
            self._path(route, plain, around)
        for method in route["methods"]:
            if method == "HEAD" or (method not in _SAFE and not self.replay_writes):
                continue
            for number, (target, headers, body) in enumerate(requests):
                more = {"Origin": around.origin, "Accept-Encoding": "gzip"} if number == 1 else {}
                label = f"request {number + 1}"
                self._add(method, target, around, label, headers | more, body)
            self._refused(route, method, path, around)
            if "inputs" not in route:
                continue  # no endpoint of FastAPI's, such as a page of the documentation
            target, headers, body = requests[0]
            force = {"app": around.place, "raise": FORCED}
            headers |= {"Origin": around.origin}
            label = "an exception in the endpoint"
            self._add(method, target, around, label, headers, body, force)

    def _path(self, route: Facts, plain: str, around: "_Around") -> None:
        """Ask what holds for a path as such, whatever its methods are."""
        path, _, query = plain.partition("?")
        other = path.rstrip("/") if path.endswith("/") else f"{path}/"
        self._add("HEAD", plain, around, "HEAD")
        self._add("OPTIONS", plain, around, "OPTIONS")
        if "GET" not in route["methods"]:
            self._add("GET", plain, around, "a method that is not there")
        if path != "/" and other != around.prefix:  # which is the bare path of a mount
            target = f"{other or '/'}{'?' if query else ''}{query}"
            self._add("GET", target, around, "the other slash")
        for origin in (around.origin, _FOREIGN):
            method = next(iter(route["methods"]), "GET")
            headers = {"Origin": origin, "Access-Control-Request-Method": method}
            self._add("OPTIONS", plain, around, f"a preflight from {origin}", headers)

    def _refused(self, route: Facts, method: str, path: str, around: "_Around") -> None:
        """Send what the schemas refuse, where there is anything that they do."""
        inputs = route.get("inputs") or {}
        named = [each for each in inputs.get("path", ()) if not _is_text(each["schema"])]
        if named:
            values = {each["name"]: "not-a-value" for each in named}
            self._add(method, _filled(path, values), around, "a path that is refused")
        queried = [each for each in inputs.get("query", ()) if not _is_text(each["schema"])]
        if queried:
            query = urlencode({each["name"]: "not-a-value" for each in queried})
            target = f"{_filled(path, self._values(inputs.get('path', ()), 0))}?{query}"
            self._add(method, target, around, "a query that is refused")
        if "body" in inputs and method not in _SAFE:
            target = _filled(path, self._values(inputs.get("path", ()), 0))
            headers = {"Content-Type": "application/json"}
            for body in ("{", "{}", "[]", '"text"'):
                label = f"the body {body}"
                self._add(method, target, around, label, headers, body)

    def _requests(
        self, route: Facts, path: str
    ) -> Iterator[tuple[str, dict[str, str], str | None]]:
        """Yield targets, headers and bodies: first what is needed alone, then all there is."""
        inputs: Mapping[str, Any] = route.get("inputs") or {}
        texts = set()
        for number in range(3):
            of_place = {
                place: self._values(
                    (each for each in inputs.get(place, ()) if each["required"] or number), number
                )
                for place in ("path", "query", "header", "cookie")
            }
            query = urlencode(list(_pairs(of_place["query"])))
            target = _filled(path, of_place["path"]) + (f"?{query}" if query else "")
            headers = {name: _header(value) for name, value in _pairs(of_place["header"])}
            if of_place["cookie"]:
                pairs = _pairs(of_place["cookie"])
                headers["Cookie"] = "; ".join(f"{name}={quote(value)}" for name, value in pairs)
            body = None
            if "body" in inputs:
                headers["Content-Type"], body = self._body(inputs["body"], number)
            text = f"{target} {headers} {body}"
            if text not in texts:
                texts.add(text)
                yield target, headers, body

    def _body(self, body: Facts, number: int) -> tuple[str, str]:
        values = self.samples.of(body["schema"])
        value = values[number % len(values)]
        media: str = body["media"]
        if "form" in media and isinstance(value, Mapping):
            return "application/x-www-form-urlencoded", urlencode(list(_pairs(value)))
        return media, json.dumps(value, default=str)

    def _values(self, inputs: Any, number: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for each in inputs:
            values = self.samples.of(each["schema"])
            value = values[number % len(values)]
            if isinstance(value, Mapping):  # a model whose fields are parameters
                found.update(value)
            elif value is not None or each["required"]:
                found[each["name"]] = value
        return found

    def _strays(self, facts: Facts, around: "_Around") -> None:
        """Ask an application for what it does not have, and in ways that are unusual."""
        nowhere = f"{around.prefix}/nothing-is-here"
        label = "a path that nobody has"
        self._add("GET", nowhere, around, label)
        for origin in (around.origin, _FOREIGN):
            self._add("GET", nowhere, around, f"{label}, from {origin}", {"Origin": origin})
        some = _some_path(facts)
        target = nowhere if some is None else around.prefix + some
        self._add("GET", target, around, "an oversized header", {"X-Oversized": _LONG})
        self._add("GET", target, around, "a request of another host", {"Host": "other.example"})
        for odd, label in (
            (f"{target}%0A", "a control character at the end of a path"),
            (f"{around.prefix}/{target}", "a double slash"),
            (f"{target}/%2e%2e/nothing", "dots in a path"),
        ):
            self._add("GET", odd, around, label)

    def _forced(self, facts: Facts, around: "_Around") -> None:
        """Raise what the handlers are for in one endpoint, and inside every layer."""
        some = _some_path(facts)
        target = f"{around.prefix}/nothing-is-here" if some is None else around.prefix + some
        headers = {"Origin": around.origin}
        kinds = [FORCED, *(key for key in facts.get("handlers", {}) if _may_be_forced(key))]
        for kind in kinds[1:] if some is not None else ():
            force = {"app": around.place, "raise": kind}
            label = f"`{_short(kind)}` in an endpoint"
            self._add("GET", target, around, label, headers, None, force)
        layers = [each for each in facts.get("layers", ()) if "options" in each]
        for depth in range(len(layers)):
            for kind in kinds:
                force = {"app": around.place, "raise": kind, "layer": depth}
                label = f"`{_short(kind)}` inside layer {depth + 1}"
                self._add("GET", target, around, label, headers, None, force)

    def _add(
        self,
        method: str,
        target: str,
        around: "_Around",
        label: str,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
        force: Mapping[str, Any] | None = None,
    ) -> None:
        given = {"Host": around.host, "User-Agent": "assembler", **dict(self.headers)}
        given |= headers or {}
        probe: dict[str, Any] = {
            "method": method,
            "target": target or "/",
            "headers": list(given.items()),
            "label": f"{label}, at {around.named_host}" if around.named_host else label,
            "place": around.place,
        }
        if body is not None and method not in _SAFE:
            probe["body"] = body
            probe["headers"].append(("Content-Length", str(len(body.encode()))))
        if force is not None:
            probe["force"] = force
        self.found.append(probe)


@dataclass(frozen=True, slots=True)
class _Around:
    """Where an application stands: below which path, and what its layers ask of a request."""

    prefix: str = ""
    place: str = ""
    host: str = "localhost"
    origin: str = _HERE
    named_host: str = ""  # that the route asks for

    def within(self, facts: Facts) -> "_Around":
        """Return the same with what the layers of the application let pass."""
        options = [each.get("options") or {} for each in facts.get("layers", ())]
        hosts = [name for each in options for name in _texts(each.get("allowed_hosts"))]
        origins = [name for each in options for name in _texts(each.get("allow_origins"))]
        host = next((name for name in hosts if "*" not in name), self.host)
        origin = next((name for name in origins if "*" not in name), self.origin)
        place = facts.get("place")
        place = self.place if place is None else place
        return replace(self, place=place, host=host, origin=origin)

    def below(self, path: str) -> "_Around":
        """Return the place below a mount."""
        return replace(self, prefix=self.prefix + _filled(path, {}))

    def at_host(self, pattern: str) -> "_Around":
        """Return the same for requests to a host."""
        host = _filled(pattern, {})
        return replace(self, host=host, named_host=host)


def _texts(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _some_path(facts: Facts) -> str | None:
    """Return the path of the route that takes a plain `GET` with the fewest conditions."""
    best: tuple[int, str] | None = None
    for route in facts["routes"]:
        if route["kind"] != "route" or "GET" not in route["methods"] or "inputs" not in route:
            continue
        if "host" in route or "{" in route["path"]:
            continue
        inputs = route["inputs"]
        count = sum(each["required"] for place in inputs.values() for each in _listed(place))
        count = 2 * count + len(route["details"].get("dependencies", ()))
        if best is None or count < best[0]:
            best = (count, route["path"])
    return None if best is None else best[1]


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _may_be_forced(key: str) -> bool:
    return not key.endswith("WebSocketRequestValidationError")


def _short(kind: str) -> str:
    return kind.rpartition(".")[2]


def _is_text(schema: Facts) -> bool:
    """Tell whether a schema takes any text at all."""
    kinds = [schema, *schema.get("anyOf", ())]
    return any(
        each.get("type") == "string" and not {"format", "pattern", "enum", "const"} & each.keys()
        for each in kinds
    ) or not any("type" in each or "$ref" in each or "enum" in each for each in kinds)


def _filled(path: str, values: Mapping[str, Any]) -> str:
    """Return a path with values in the place of its parameters."""

    def value(match: re.Match[str]) -> str:
        name, convertor = match.groups()
        given = values.get(name)
        if given is None:
            given = _CONVERTED.get(convertor, "a/b" if convertor == "path" else "sample")
        text = _PATH_TEXT.sub("-", _text(given)) if convertor != "path" else _text(given)
        return quote(text or "sample", safe="/" if convertor == "path" else "")

    return _PARAMETER.sub(value, path)


def _pairs(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                yield name, _text(each)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _header(value: str) -> str:
    return "".join(each for each in value if 32 <= ord(each) < 127).strip() or "sample"
