"""Values that replace a manifest's: found by path, shown in a text of their own."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.diagnostics.errors import ManifestError, UsageError
from assembler.diagnostics.span import File
from assembler.document.merge import Document
from assembler.document.nodes import MappingNode, ScalarNode, locate
from assembler.document.override import override_document
from assembler.document.parser import read
from tests.assembler.trees import VALUES, plain

TEXT = """\
manifest: 1
resources:
  db: {use: a.b, with: {url: x, "dotted.key": 1}}
middleware:
  - {id: per-ip, use: a.b, with: {limit: 5}}
  - {use: a.b.c, with: {limit: 6}}
  - {id: a.b, use: a.b, with: {limit: 7}}
"""


def document(text: str = TEXT) -> Document:
    root = read(File("m.yaml", text))
    assert isinstance(root, MappingNode)
    return Document(root, Path("m.yaml"), (Path("m.yaml"),))


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("resources.db.with.url", ("resources", "db", "with", "url")),
        ("resources.db.with.dotted.key", ("resources", "db", "with", "dotted.key")),
        ("resources.db.with.size", ("resources", "db", "with", "size")),
        ("middleware.per-ip.with.limit", ("middleware", 0, "with", "limit")),
        ("middleware.a.b.c.with.limit", ("middleware", 1, "with", "limit")),
        ("middleware.a.b.with.limit", ("middleware", 2, "with", "limit")),
        ("middleware.per-ip.with", ("middleware", 0, "with")),
        ("app.openapi.docs", ("app", "openapi", "docs")),
    ],
)
@given(value=VALUES)
def test_a_value_is_put_at_its_address_and_nowhere_else(
    address: str, path: tuple[str | int, ...], value: Any
) -> None:
    before = document()
    after = override_document(before, {address: value})
    node, _ = locate(after.root, path)
    assert plain(node) == value
    assert override_document(after, {}).root == after.root
    assert plain(before.root) == plain(document().root)


@given(st.dictionaries(st.sampled_from(["app.a", "app.b", "app.c"]), VALUES))
def test_each_override_is_a_line_of_its_own(override: dict[str, Any]) -> None:
    root = override_document(document(), override).root
    for number, address in enumerate(override, start=1):
        node, key = locate(root, ("app", address[4:]))
        assert node.span.line == number
        assert key is not None
        assert node.span.file.name == "<override>"
        assert node.span.file.lines[number - 1].startswith(f"{address}: ")


@pytest.mark.parametrize(
    "value", [object(), {1, 2}, date(2027, 1, 31), float("nan"), b"x", [{1: "x"}]]
)
def test_a_value_that_yaml_cannot_say_is_a_usage_error(value: Any) -> None:
    with pytest.raises(UsageError, match=r"override `resources\.db` is no value"):
        override_document(document(), {"resources.db": value})


def test_ids_that_no_entry_has_are_told_together() -> None:
    with pytest.raises(ManifestError) as caught:
        override_document(document(), {"middleware.per-pi.use": "x", "middleware.other": {}})
    assert [fault.code for fault in caught.value.diagnostics] == ["unknown-id", "unknown-id"]


def test_a_tuple_is_a_list() -> None:
    root = override_document(document(), {"app.tags": ("a", "b")}).root
    assert plain(locate(root, ("app", "tags"))[0]) == ["a", "b"]
    assert isinstance(locate(root, ("app", "tags", 1))[0], ScalarNode)


@pytest.mark.parametrize("address", ["", 3, None, ("app", "title")])
def test_an_address_that_is_no_text_is_a_usage_error(address: Any) -> None:
    with pytest.raises(UsageError, match="is no path"):
        override_document(document(), {address: 1})


def test_an_address_of_two_lines_takes_one() -> None:
    override = {"app.a\nb": "x\ny", "app.title": "z"}
    root = override_document(document(), override).root
    node, _ = locate(root, ("app", "title"))
    assert node.span.file.lines[node.span.line - 1] == 'app.title: "z"'
    assert plain(locate(root, ("app", "a\nb"))[0]) == "x\ny"


@pytest.mark.parametrize(
    "override",
    [
        {"middleware.per-ip.id": "a.b"},
        {"middleware.a.b.id": "per-ip"},
        {"middleware": [{"use": "a.b"}, {"use": "a.b"}]},
    ],
)
def test_two_entries_of_one_id_are_refused(override: dict[str, Any]) -> None:
    with pytest.raises(ManifestError) as caught:
        override_document(document(), override)
    [fault] = caught.value.diagnostics
    assert fault.code == "duplicate-id"
    assert fault.span is not None
    assert fault.span.file.name == "<override>"
