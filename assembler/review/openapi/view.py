"""One schema, with what it refers to and all that its `allOf` joins → one mapping of keywords.

In: a schema of a document and its path. Out: a `View`, each of whose values keeps its own path; the
limits, types and values that it leaves. Parts that cannot be joined are kept beside one another, and a
keyword of a wrong type under a name of its own, so that none is lost.
Source: JSON Schema 2020-12; of OpenAPI 3.0 `nullable` and boolean exclusive limits are read too.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from assembler.document.nodes import NodePath
from assembler.review.diff.change import ABSENT
from assembler.review.openapi.changes import ANNOTATIONS, canonical, same
from assembler.review.openapi.document import resolved

Placed = tuple[Any, NodePath]


class Bound(NamedTuple):
    """A limit: the keyword that says it, its verb now and before, its words, and which way it is tighter."""

    keyword: str
    verbs: tuple[str, str]
    words: str
    is_upper: bool


_IS, _HAS = ("is", "was"), ("has", "had")
BOUNDS = (
    Bound("maximum", _IS, "at most {}", True),
    Bound("minimum", _IS, "at least {}", False),
    Bound("maxLength", _IS, "at most {} characters long", True),
    Bound("minLength", _IS, "at least {} characters long", False),
    Bound("maxItems", _HAS, "at most {} items", True),
    Bound("minItems", _HAS, "at least {} items", False),
    Bound("maxProperties", _HAS, "at most {} properties", True),
    Bound("minProperties", _HAS, "at least {} properties", False),
    Bound("maxContains", _HAS, "at most {} items of the kind", True),
    Bound("minContains", _HAS, "at least {} items of the kind", False),
)
_NOUGHT = frozenset({"minLength", "minItems", "minProperties"})  # 0 is no limit
EXCLUSIVE = {"maximum": "exclusiveMaximum", "minimum": "exclusiveMinimum"}
_KINDS: Mapping[str, Any] = {
    **dict.fromkeys(("properties", "patternProperties"), dict),
    **dict.fromkeys(("required", "enum", "anyOf", "oneOf", "allOf", "prefixItems"), list),
    **dict.fromkeys(("pattern", "format"), str),
    **dict.fromkeys(("nullable", "deprecated", "uniqueItems"), bool),
    **{bound.keyword: int | float for bound in BOUNDS},
    **dict.fromkeys(EXCLUSIVE.values(), int | float),  # a boolean is one, as in OpenAPI 3.0
    "multipleOf": int | float,
    "type": str | list,
}


@dataclass(slots=True)
class View:
    """One schema with what it refers to and all of its `allOf` in one mapping, each value placed."""

    words: dict[str, Placed] = field(default_factory=dict)
    properties: dict[str, Placed] = field(default_factory=dict)
    required: dict[str, None] = field(default_factory=dict)

    def get(self, key: str) -> Any:
        """Return the value of a keyword, `ABSENT` without one."""
        return self.words.get(key, (ABSENT, ()))[0]

    @property
    def types(self) -> frozenset[str] | None:
        """The types that a value may have, None for all; an integer is a number."""
        given = self.get("type")
        if given is ABSENT:
            return None
        names = {str(name) for name in (given if isinstance(given, list) else [given])}
        names |= {"integer"} if "number" in names else set()
        names |= {"null"} if self.get("nullable") is True else set()
        return frozenset(names)

    @property
    def values(self) -> dict[str, Any] | None:
        """The values that `enum` and `const` leave, by their texts; None for all."""
        given = self.get("enum")
        const = self.get("const")
        listed = None if given is ABSENT else list(given)
        if const is not ABSENT:
            listed = [const] if listed is None else [one for one in listed if same(one, const)]
        return None if listed is None else {canonical(value): value for value in listed}


class Limit(NamedTuple):
    """A limit; a greater one is tighter, and one that excludes its own value too."""

    tightness: float
    is_exclusive: bool
    value: float


def limit_of(view: View, bound: Bound) -> Limit | None:
    """Return the tighter one of a limit and the exclusive one, which may be a flag (OpenAPI 3.0)."""
    value, other = view.get(bound.keyword), view.get(EXCLUSIVE.get(bound.keyword, ""))
    given = [(value, other is True), (other, True)]
    sign = -1 if bound.is_upper else 1
    limits = [Limit(sign * each, beyond, each) for each, beyond in given if is_number(each)]
    found = max(limits, default=None)
    return None if found and found.value == 0 and bound.keyword in _NOUGHT else found


def followed_plainly(data: Mapping[str, Any], value: Any, at: NodePath) -> Placed:
    seen = set()
    while isinstance(value, dict) and isinstance(value.get("$ref"), str):
        found = resolved(data, value["$ref"])
        if found is None or found[1] in seen or value.keys() - {"$ref"} - ANNOTATIONS:
            break
        value, at = found
        seen.add(at)
    return value, at


def has_reference(value: Any) -> bool:
    """Whether a schema leads elsewhere, where things may differ though it does not."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if "$ref" in one:
                return True
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return False


def view_of(data: Mapping[str, Any], schema: Any, at: NodePath) -> View:
    """Put a schema, what it refers to and its `allOf` together."""
    view, waiting, seen = View(), deque([(schema, at)]), {at}
    while waiting:
        part, place = waiting.popleft()
        if part is False:
            part = {"not": {}}
        if not isinstance(part, dict):
            if part is not True:
                view.words.setdefault("(no schema)", (part, place))
            continue
        for key, value in part.items():
            found = resolved(data, value) if key == "$ref" and isinstance(value, str) else None
            if found is not None:
                if found[1] not in seen:
                    seen.add(found[1])
                    waiting.append(found)
            elif key == "allOf" and isinstance(value, list):
                waiting += [(one, (*place, key, index)) for index, one in enumerate(value)]
            else:
                _merge(view, key, value, (*place, key))
    return view


def _merge(view: View, key: str, value: Any, place: NodePath) -> None:
    """Add a keyword to what other parts of a schema say; what cannot be joined is kept beside."""
    if not isinstance(value, _KINDS.get(key, object)):
        key += " of a wrong type"
    if key == "properties":
        for name, schema in value.items():
            known = view.properties.get(name)
            if known is not None and not same(known[0], schema):
                view.properties[name] = ({"allOf": [known[0], schema]}, known[1])
            else:
                view.properties[name] = (schema, (*place, name))
        return
    if key == "required":
        view.required.update(dict.fromkeys(map(str, value)))
        view.words.setdefault(key, (value, place))
        return
    known = view.words.get(key)
    if known is None:
        view.words[key] = (value, place)
    elif not same(known[0], value) and key not in ANNOTATIONS:
        limits = [each for each in (known[0], value) if is_number(each)]
        bound = next(
            (one for one in BOUNDS if key in (one.keyword, EXCLUSIVE.get(one.keyword))), None
        )
        if bound is not None and len(limits) == 2:
            view.words[key] = ((min if bound.is_upper else max)(limits), place)
        else:
            view.words[f"{key} in `allOf`"] = (value, place)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
