"""Documents are read with the place of each part, whatever they are written in, and in bounds."""

import json
from typing import Any

import pytest

from assembler.diagnostics.errors import ManifestError
from assembler.review.openapi.document import BOUNDS, document_of, pointer, resolved
from tests.assembler.review.openapi.documents import compared

HEAD = '{"openapi": "3.1.0", "paths": {}'


def faults(raw: str | bytes, name: str = "a.json") -> list[tuple[str, str]]:
    with pytest.raises(ManifestError) as caught:
        document_of(raw if isinstance(raw, bytes) else raw.encode(), name)
    told = caught.value.diagnostics
    return [(each.code, f"{each.span.line}:{each.span.column}") for each in told if each.span]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"openapi": "3.1.0",\n "paths": {"/a": }}', ("json-syntax", "2:18")),
        ('{"openapi": "3.1.0"', ("json-syntax", "1:20")),
        ('{"openapi": "3.1.0", "a": NaN}', ("number-out-of-range", "1:1")),
        ('{"openapi": "3.1.0", "a": 1e999}', ("number-out-of-range", "1:1")),
        ('{"openapi": "3.1.0", "a": %s}' % ("9" * 9000), ("number-out-of-range", "1:1")),
        ('{"openapi": "3.1.0",\n "a": {"b": 1, "b": 2}}', ("duplicate-key", "2:16")),
        ('{"a": {"b": 1}, "c": {"b": 1},\r\n "a": 2}', ("duplicate-key", "2:2")),
        ('{"swagger": "2.0"}', ("bad-value", "1:1")),
        ('{"openapi": 3.1}', ("bad-value", "1:1")),
        ('{"openapi": "4.0.0"}', ("bad-value", "1:1")),
        ("[]", ("bad-value", "1:1")),
        ("", ("json-syntax", "1:1")),
        ("[1", ("json-syntax", "1:3")),
        ("null\nx", ("json-syntax", "2:1")),
        ("openapi: 3.1.0\npaths: {}", ("json-syntax", "1:1")),
        (HEAD + ', "a": ' + "[" * 100 + "]" * 100 + "}", ("too-deep", "1:1")),
        (HEAD + ', "a": ' + "[" * 100_000, ("too-deep", "1:1")),
        (HEAD + ', "a": [' + "1," * BOUNDS.nodes + "1]}", ("too-many-nodes", "1:1")),
    ],
    ids=range(18),
)  # fmt: skip
def test_json_that_is_no_document_is_refused_at_its_place(
    text: str, expected: tuple[str, str]
) -> None:
    assert faults(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("openapi: 3.1.0\npaths: {a: [}", ("yaml-syntax", "2:13")),
        ("swagger: '2.0'", ("bad-value", "1:1")),
        ("openapi: 3.1", ("bad-value", "1:10")),
        ("openapi: 3.1.0\nopenapi: 3.1.0", ("duplicate-key", "2:1")),
        ("openapi: 3.1.0\npaths: {200: a, '200': b}", ("duplicate-key", "2:17")),
        ("openapi: 3.1.0\npaths: {<<: {}}", ("merge-key", "2:9")),
        ("openapi: 3.1.0\npaths: !!python/name:os.system x", ("tag", "2:8")),
        ("openapi: 3.1.0\n---\nopenapi: 3.1.0", ("multiple-documents", "2:1")),
    ],
    ids=range(8),
)
def test_yaml_that_is_no_document_is_refused_at_its_place(
    text: str, expected: tuple[str, str]
) -> None:
    assert faults(text, "a.yaml")[0] == expected


@pytest.mark.parametrize(
    ("name", "code"),
    [("a.json", "json"), ("a.JSON", "json"), ("a.yaml", "yaml"), ("a.YML", "yaml"), ("a", "yaml")],
)
def test_the_name_says_which_of_the_two_it_is(name: str, code: str) -> None:
    assert faults("[1, {", name)[0][0] == f"{code}-syntax"
    assert faults('{"a": [}', name)[0][0] == f"{'json' if name == 'a' else code}-syntax"


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["openapi: 3.1.0", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * 9)}]" for at in range(1, 9)]
    assert faults("\n".join(lines), "a.yaml")[0][0] == "too-many-nodes"


def test_a_document_of_over_sixteen_mebibytes_is_refused() -> None:
    assert faults(b" " * ((16 << 20) + 1)) == [("too-large", "1:1")]


def test_keys_of_yaml_are_the_text_that_they_show() -> None:
    text = "openapi: 3.1.0\npaths: {/a: {get: {responses: {200: {}, null: {}, true: {}}}}}"
    assert list(document_of(text.encode(), "a.yml").data["paths"]["/a"]["get"]["responses"]) == [
        *("200", "null", "true")
    ]


def test_a_text_that_begins_with_a_brace_may_be_yaml_by_its_name() -> None:
    assert document_of(b"{openapi: 3.1.0}", "a.yaml").data == {"openapi": "3.1.0"}
    assert document_of(b'\xef\xbb\xbf\n\t{"openapi": "3.1.0"}', "a").data == {"openapi": "3.1.0"}


TRICKY: dict[str, Any] = {
    "openapi": "3.1.0",
    "a": [[], {}, [1, {"b": '} ] , : \\ " \u2028 \U0001f600', "c\n/~": [True, None, -1.5e3]}]],
    "": {"": {"x": "y"}},
}


@pytest.mark.parametrize("indent", [None, 1, "\t"])
@pytest.mark.parametrize("is_ascii", [True, False])
def test_each_part_of_json_has_its_place(indent: Any, is_ascii: bool) -> None:
    text = json.dumps(TRICKY, indent=indent, ensure_ascii=is_ascii)
    document = document_of(text.encode(), "a.json")
    keys = [("openapi",), ("a",), ("a", 2, 1, "b"), ("a", 2, 1, "c\n/~"), ("",), ("", "", "x")]
    items: list[tuple[str | int, ...]] = [("a", 0), ("a", 1), ("a", 2, 0), ("a", 2, 1, "c\n/~", 2)]
    begun = [json.dumps(path[-1], ensure_ascii=is_ascii) for path in keys] + [
        "[",
        "{",
        "1",
        "-1500",
    ]
    places = document.places([*keys, *items])
    lines = text.split("\n")
    for path, start in zip([*keys, *items], begun, strict=True):
        place = places[path]
        assert lines[place.line - 1][place.column - 1 :].startswith(start)
    missing = document.places([("a", 2, 7), ("b", "c")])
    assert missing["a", 2, 7] == document.places([("a", 2)])["a", 2]
    assert missing["b", "c"].line == 1


def test_a_reference_is_a_pointer_in_the_document() -> None:
    for path in [("", "", "x"), ("a", 2, 1, "c\n/~", 1)]:
        found = resolved(TRICKY, pointer(path))
        assert found is not None
        assert found[1] == path
    for reference in ("other.yaml#/a", "#/a/9", "#/a/01", "#/a/²", "#a", "#/a/" + "9" * 9000):
        assert resolved(TRICKY, reference) is None
    assert resolved({"a b": {"c": 1}}, "#/a%20b/c") == (1, ("a b", "c"))


def document(schemas: dict[str, Any], use: Any) -> str:
    body = {"content": {"application/json": {"schema": use}}}
    paths = {
        "/a": {"post": {"requestBody": body, "responses": {"200": {**body, "description": ""}}}}
    }
    return json.dumps({"openapi": "3.1.0", "paths": paths, "components": {"schemas": schemas}})


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def chains(last: Any) -> list[tuple[dict[str, Any], Any]]:
    """Schemas that lead far, around in circles, or to themselves in ever more ways."""
    many = 1000
    return [
        ({**{f"A{at}": ref(f"A{at + 1}") for at in range(many)}, f"A{many}": last}, ref("A0")),
        ({**{f"A{at}": {"items": ref(f"A{at + 1}")} for at in range(many)}, f"A{many}": last}, ref("A0")),
        ({"A": ref("B"), "B": ref("A"), "C": last}, {"anyOf": [ref("A"), ref("C")]}),
        ({"A": {"allOf": [ref("A"), ref("C")]}, "C": last}, ref("A")),
        (
            {**{f"A{at}": {"allOf": [ref(f"A{at + 1}")] * 2} for at in range(60)}, "A60": last},
            ref("A0"),
        ),
        (
            {**{f"A{at}": {"anyOf": [ref(f"A{at + 1}")] * 2} for at in range(60)}, "A60": last},
            ref("A0"),
        ),
        ({"A": {"properties": {"a": ref("A"), "c": ref("C")}}, "C": last}, ref("A")),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", range(7))
def test_references_end_however_they_lead(kind: int) -> None:
    old, new = (document(*chains(last)[kind]) for last in ({"maximum": 5}, {"maximum": 4}))
    found = compared(old, new, "json")
    assert found.worst is not None
    assert found.worst.word == "breaks-callers"
    assert compared(old, old, "json").findings == ()
