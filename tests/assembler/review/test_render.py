"""A merged document → YAML that means the same, and where each of its values came from."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.diagnostics.secrets import redact
from assembler.diagnostics.span import File
from assembler.document.merge import Document, load_document
from assembler.document.nodes import MappingNode, as_written
from assembler.document.parser import read
from assembler.manifest import Manifest
from assembler.plan.load import load_shape
from assembler.review.render import as_json, as_yaml, origins
from tests.assembler.command import PROJECT

TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.sampled_from(
        [
            "010",
            "no",
            "~",
            "",
            "1e3",
            "1:30",
            "- a",
            "a: b",
            "#",
            " lead",
            "trail ",
            "\n",
            "a\n",
            "\na",
            "a\n\n b\n",
            "\t",
            "<<",
            "=",
            "%a",
            "`",
            "@",
            "*",
            "!x",
            "&a",
            "?",
            "|",
            "'",
            '"',
            "\\",
            "...",
            "---",
            "\u202egnp",
            "\u2028",
            "\ufeff",
            "\x85",
            "\U000e0001",
            "9" * 500,
            "0x1f",
            "null",
            "true",
            "${A:-b}",
            "$$",
            "word " * 60,
            "long " * 30 + "\u200b",
        ]
    ),
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**30), 10**30),
        st.floats(allow_nan=False, allow_infinity=False),
        TEXT,
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=12,
)
SECTIONS = st.dictionaries(st.sampled_from(list(Manifest.model_fields)), VALUES, max_size=5)


def document_of(text: str) -> Document:
    root = read(File("made.yaml", text))
    assert isinstance(root, MappingNode)
    return Document(root, Path("made.yaml"), ())


@given(SECTIONS)
@settings(max_examples=300, deadline=None)
def test_what_is_written_reads_back_as_the_same_values_and_the_same_bytes(
    data: dict[str, Any],
) -> None:
    document = document_of(_quoted(data))
    text = as_yaml(document)
    again = document_of(text)
    shown = json.loads(as_json(document))
    assert as_written(again.root) == shown == _redacted(data)
    assert as_yaml(again) == text
    assert all(char.isprintable() or char == "\n" for char in text)


def _quoted(data: Any) -> str:
    """JSON that YAML reads: its escapes have no surrogate pairs."""
    text = json.dumps(data, ensure_ascii=False)
    return re.sub(r"[^\x20-\x7e]", lambda match: f"\\U{ord(match[0]):08x}", text)


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    if isinstance(value, dict):
        return {key: _redacted(item) for key, item in value.items()}
    return value


def test_sections_stand_in_the_order_of_the_format_whatever_the_files_say(tmp_path: Path) -> None:
    names = [name for name in Manifest.model_fields if name not in {"manifest", "extends"}]
    lines = [f"{name}:" for name in reversed(names)]
    (tmp_path / "m.yaml").write_text("\n".join([*lines, "manifest: 1", ""]))
    text = as_yaml(load_document(tmp_path / "m.yaml"))
    assert re.findall(r"(?m)^(\w+):", text) == ["manifest", *names]


def test_the_same_manifest_gives_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    first, _ = load_shape(PROJECT / "manifests/prod.yaml")
    second, _ = load_shape(PROJECT / "manifests/prod.yaml")
    assert as_yaml(first) == as_yaml(second)
    rendered = tmp_path / "rendered.yaml"
    rendered.write_text(as_yaml(first), "utf-8")
    assert as_yaml(load_shape(rendered)[0]) == as_yaml(first)


def test_references_stay_as_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "db://canary")
    document, _ = load_shape(PROJECT / "manifests/prod.yaml")
    text = as_yaml(document)
    assert "url: ${DATABASE_URL:-db://localhost/shop}" in text
    assert "canary" not in text + "".join(origins(document, ()))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:canary@db/shop",
        "redis://:canary@cache:6379/0",
        "https://x.example/hook?token=canary&page=2",
        "https://x.example/?api_key=canary",
    ],
)
def test_credentials_in_a_literal_url_are_covered(url: str) -> None:
    document = document_of(json.dumps({"resources": {"db": {"with": {"url": url}}}}))
    shown = [as_yaml(document), as_json(document), *origins(document, ())]
    assert len(shown) == 3
    assert all("canary" not in text and "******" in text for text in shown)


def test_origins_name_the_file_of_each_merged_value() -> None:
    document, _ = load_shape(PROJECT / "manifests/prod.yaml")
    places = {line.partition(" = ")[0]: line.rpartition("# ")[2] for line in origins(document, ())}
    assert places["resources.shelf.use"].endswith("manifests/base.yaml:5:10")
    assert places["resources.shelf.with.size"].endswith("manifests/prod.yaml:7:63")


def test_origins_of_empty_collections_are_told_as_well() -> None:
    document = document_of("server: {}\nmiddleware: []\n")
    assert list(origins(document, ())) == [
        "middleware = []  # made.yaml:2:13",
        "server = {}  # made.yaml:1:9",
    ]
