"""A JSON schema → values that it takes, and one that it refuses, the same at every run.

In: a schema as pydantic writes it. Out: a few values, the plainest first, drawn from strategies of
Hypothesis without its database and without chance. A keyword that no strategy is known for gives
values that may be refused: a refusal is an answer that can be compared as well.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException

Schema = Mapping[str, Any]

_DEPTH = 6
_PRINTABLE = st.characters(
    min_codepoint=32, max_codepoint=0x2FFF, blacklist_categories=("Cs", "Cc")
)
_ASCII = st.characters(min_codepoint=32, max_codepoint=126)
_FORMATS: Mapping[str, Sequence[str]] = {
    "uuid": ("00000000-0000-4000-8000-000000000001", "6fa459ea-ee8a-4ca4-894e-db77e160355e"),
    "date": ("2024-02-29", "1999-12-31"),
    "date-time": ("2024-02-29T12:30:00Z", "1999-12-31T23:59:59.5+05:30"),
    "time": ("12:30:00", "23:59:59.5"),
    "duration": ("P1DT2H", "PT0.5S"),
    "email": ("a@example.com", "first.last@sub.example.org"),
    "uri": ("https://example.com/", "http://localhost:8000/a?b=c"),
    "ipv4": ("192.0.2.1", "10.0.0.1"),
    "ipv6": ("2001:db8::1", "::1"),
    "ipvanyaddress": ("192.0.2.1", "2001:db8::1"),
    "binary": ("bytes", ""),
    "password": ("password-of-a-sample", "p"),
    "json-string": ('{"a": 1}', "[]"),
}


class Samples:
    """Draws values; what was drawn for one schema is kept for the next of the same text."""

    def __init__(self, count: int = 3) -> None:
        self._count = count
        self._kept: dict[str, list[Any]] = {}

    def of(self, schema: Schema) -> list[Any]:
        """Return up to `count` different values, at least one."""
        text = json.dumps(schema, sort_keys=True, default=str)
        if text not in self._kept:
            self._kept[text] = self._drawn(schema)
        return self._kept[text]

    def _drawn(self, schema: Schema) -> list[Any]:
        given_ = [*_stated(schema)]
        found: dict[str, Any] = {_key(value): value for value in given_}
        if len(found) < self._count:
            for value in _drawn(schema, self._count * 2):
                found.setdefault(_key(value), value)
        return list(found.values())[: self._count] or ["sample"]


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _stated(schema: Schema) -> list[Any]:
    """Return what a schema itself says of values: examples, a default."""
    stated = list(schema.get("examples") or ())
    if schema.get("default") is not None:
        stated.append(schema["default"])
    return stated


def _drawn(schema: Schema, count: int) -> list[Any]:
    """Draw values; none of a schema that contradicts itself."""
    found: list[Any] = []

    @seed(0)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy_of(schema))
    def draw(value: Any) -> None:
        found.append(value)

    with suppress(HypothesisException):  # nothing is like that
        draw()
    return found


def strategy_of(schema: Schema, root: Schema | None = None, depth: int = _DEPTH) -> Any:
    """Return a strategy for what `schema` takes; references are looked up in `root`."""
    root = schema if root is None else root
    if "$ref" in schema:
        named = _referred(schema["$ref"], root)
        return strategy_of(named, root, depth - 1) if depth > 0 else st.none()
    if "const" in schema:
        return st.just(schema["const"])
    if schema.get("enum"):
        return st.sampled_from(list(schema["enum"]))
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return st.one_of([strategy_of(each, root, depth) for each in schema[key]])
    if schema.get("allOf"):
        joined: dict[str, Any] = {}
        for each in schema["allOf"]:
            joined.update(_referred(each["$ref"], root) if "$ref" in each else each)
        return strategy_of(joined, root, depth)
    kind = schema.get("type")
    if isinstance(kind, list):
        return st.one_of([strategy_of({**schema, "type": each}, root, depth) for each in kind])
    make = _KINDS.get(str(kind))
    return st.just("sample") if make is None else make(schema, root, depth)


def _referred(reference: str, root: Schema) -> Schema:
    found: Any = root
    for part in reference.removeprefix("#/").split("/"):
        found = found.get(part, {}) if isinstance(found, Mapping) else {}
    return found if isinstance(found, Mapping) else {}


def _integers(schema: Schema, root: Schema, depth: int) -> Any:
    low, high = _bounds(schema, 1)
    step = int(schema.get("multipleOf") or 1) or 1
    first = -(-low // step) if low is not None else None
    last = high // step if high is not None else None
    if first is None and last is None:
        first, last = 1, 1000  # as most identifiers are
    if first is not None and last is not None and first > last:
        return st.just(first * step)
    return st.integers(first, last).map(lambda number: number * step)


def _bounds(schema: Schema, gap: int) -> tuple[int | None, int | None]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if schema.get("exclusiveMinimum") is not None:
        low = schema["exclusiveMinimum"] + gap
    if schema.get("exclusiveMaximum") is not None:
        high = schema["exclusiveMaximum"] - gap
    return None if low is None else int(low), None if high is None else int(high)


def _numbers(schema: Schema, root: Schema, depth: int) -> Any:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None:
        low = 0 if high is None or high > 0 else high - 1000
    high = low + 1000 if high is None else high
    return st.integers(0, 8).map(lambda part: low + (high - low) * (part + 1) / 10)


def _strings(schema: Schema, root: Schema, depth: int) -> Any:
    if schema.get("format") in _FORMATS:
        return st.sampled_from(_FORMATS[schema["format"]])
    least, most = schema.get("minLength") or 0, schema.get("maxLength")
    if "pattern" in schema:
        try:
            pattern = re.compile(schema["pattern"], re.ASCII)
        except re.error:
            return st.just("sample")
        whole = not schema["pattern"].startswith("^")
        matching = st.from_regex(pattern, fullmatch=whole, alphabet=_ASCII)
        return matching.filter(
            lambda text: least <= len(text) <= (most or 10_000) and text.isprintable()
        )
    most = max(least, 12) if most is None else min(most, max(least, 12))
    return st.text(_PRINTABLE, min_size=max(least, min(1, most)), max_size=most)


def _arrays(schema: Schema, root: Schema, depth: int) -> Any:
    least = schema.get("minItems") or 0
    most = min(schema.get("maxItems") or least + 2, least + 2)
    if "prefixItems" in schema:
        return st.tuples(*[strategy_of(each, root, depth - 1) for each in schema["prefixItems"]])
    if depth <= 0:
        return st.just([])
    items = strategy_of(schema.get("items") or {}, root, depth - 1)
    return st.lists(items, min_size=least, max_size=most)


def _objects(schema: Schema, root: Schema, depth: int) -> Any:
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    needed = set(schema.get("required") or ())
    if depth <= 0:
        properties = {name: each for name, each in properties.items() if name in needed}
    fixed: dict[str, Any] = {}
    free: dict[str, Any] = {}
    for name, each in properties.items():
        strategies = fixed if name in needed else free
        strategies[name] = strategy_of(each, root, depth - 1)
    return st.fixed_dictionaries(fixed, optional=free)


_KINDS: Mapping[str, Callable[[Schema, Schema, int], Any]] = {
    "integer": _integers,
    "number": _numbers,
    "string": _strings,
    "array": _arrays,
    "object": _objects,
    "boolean": lambda schema, root, depth: st.booleans(),
    "null": lambda schema, root, depth: st.none(),
}
