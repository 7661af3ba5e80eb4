"""Nothing that differs is passed over, whatever it is; and no document, however hostile, takes long."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.document.dump import dump
from assembler.review.finding import Grade
from assembler.review.openapi.changes import ANNOTATIONS
from assembler.review.openapi.document import document_of
from tests.assembler.review.openapi.documents import compared

ORDER = {
    "type": "object",
    "required": ["id"],
    "additionalProperties": False,
    "minProperties": 1,
    "properties": {
        "id": {"type": "integer", "minimum": 1, "exclusiveMaximum": 9, "format": "int32"},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 3},
        "state": {"enum": ["new", "paid"], "default": "new", "deprecated": True},
        "next": {"anyOf": [{"$ref": "#/components/schemas/Order"}, {"type": "null"}]},
        "sum": {"allOf": [{"type": "number"}, {"multipleOf": 0.5}], "not": {"const": 3}},
        "how": {
            "oneOf": [{"$ref": "#/components/schemas/Card"}, {"type": "string", "pattern": "^x"}],
            "discriminator": {"propertyName": "kind"},
        },
        "pair": {
            "prefixItems": [{"type": "string"}],
            "uniqueItems": True,
            "contains": {"const": 1},
        },
        "more": {"patternProperties": {"^x": {"type": "string"}}, "if": {"minLength": 1}},
        "map": {"additionalProperties": {"type": "integer", "readOnly": True}},
    },
}
SCHEMA = {"$ref": "#/components/schemas/Order"}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Shop", "version": "1"},
    "servers": [{"url": "/v1", "variables": {"a": {"default": "b"}}}],
    "security": [{"login": ["read"]}],
    "paths": {
        "/orders/{id}": {
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
            ],
            "post": {
                "operationId": "pay",
                "parameters": [
                    {"$ref": "#/components/parameters/Limit"},
                    {"name": "q", "in": "query", "content": {"text/plain": {"schema": {"minLength": 2}}}},
                ],
                "requestBody": {"required": True, "content": {"application/json": {"schema": SCHEMA}}},
                "responses": {
                    "200": {
                        "description": "Fine",
                        "headers": {"ETag": {"required": True, "schema": {"type": "string"}}},
                        "content": {"application/json": {"schema": SCHEMA}},
                        "links": {"self": {"operationId": "pay"}},
                    },
                    "default": {"$ref": "#/components/responses/Fault"},
                },
                "callbacks": {"done": {"{$url}": {"post": {"responses": {"204": {"description": ""}}}}}},
                "security": [{"login": ["read", "write"]}, {"key": []}],
                "x-cost": {"a": [1, 2]},
            },
        }
    },
    "webhooks": {"paid": {"put": {"requestBody": {"content": {"text/plain": {}}}}}},
    "components": {
        "parameters": {
            "Limit": {"name": "limit", "in": "query", "style": "form", "schema": {"maximum": 100}}
        },
        "responses": {"Fault": {"description": "", "content": {"a/b": {"schema": {"type": "string"}}}}},
        "schemas": {"Order": ORDER, "Card": {"type": "object", "properties": {"no": {"type": "string"}}}},
        "securitySchemes": {
            "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
            "login": {
                "type": "oauth2",
                "flows": {"authorizationCode": {"tokenUrl": "/t", "scopes": {"read": "r", "write": "w"}}},
            },
        },
    },
}  # fmt: skip
WORDS = ANNOTATIONS | {"info", "openapi"}


def paths_of(
    value: Any, at: tuple[str | int, ...] = (), words: frozenset[str] = WORDS
) -> Iterator[tuple[str | int, ...]]:
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inside in items:
        if key not in words:
            yield (*at, key)
            yield from paths_of(inside, (*at, key), words)


SAID = {"style", "read", "write", "204"}  # what is the default, or has a text alone
PATHS = list(paths_of(DOCUMENT))
OTHERS: list[Any] = [None, True, 7, "other", [], {}, {"$ref": "#/nowhere"}, ["x"], {"x": {}}]


def changed(path: tuple[str | int, ...], other: Any) -> dict[str, Any]:
    made: dict[str, Any] = copy.deepcopy(DOCUMENT)
    owner: Any = made
    for key in path[:-1]:
        owner = owner[key]
    if other is ...:
        del owner[path[-1]]
    else:
        owner[path[-1]] = other
    return made


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.sampled_from(PATHS), st.sampled_from([..., *OTHERS]))
def test_whatever_differs_is_told(path: tuple[str | int, ...], other: Any) -> None:
    new = changed(path, other)
    sides = [json.dumps(side) for side in (DOCUMENT, new)]
    if sides[0] == sides[1]:
        return
    for old, now in (sides, sides[::-1]):
        found = compared(old, now, "json")
        assert found.findings
        assert found.worst is not Grade.cosmetic or path[-1] in SAID


def test_json_and_yaml_of_one_document_are_the_same() -> None:
    text = dump([DOCUMENT])
    first = document_of(text.encode(), "a.yaml")
    second = document_of(json.dumps(DOCUMENT, indent=2).encode(), "b.json")
    assert first.data == second.data == DOCUMENT
    assert yaml.safe_load(text) == DOCUMENT


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=50, deadline=None, derandomize=True)
@given(VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_the_place_of_a_part_of_json_is_where_it_is_written(
    value: Any, indent: int | str | None, is_ascii: bool
) -> None:
    data = {"openapi": "3.1.0", "x": value}
    text = json.dumps(data, indent=indent, ensure_ascii=is_ascii)
    paths = [("x", *path) for path in paths_of(value, words=frozenset())]
    places = document_of(text.encode("utf-8", "surrogatepass"), "a.json").places(paths)
    lines = text.replace("\r\n", "\n").split("\n")
    for path in paths:
        line = "\n".join([lines[places[path].line - 1], *lines[places[path].line :]])
        written, _ = json.JSONDecoder().raw_decode(line, places[path].column - 1)
        expected: Any = path[-1] if isinstance(path[-1], str) else data
        for step in path if expected is data else ():
            expected = expected[step]
        assert written == expected
