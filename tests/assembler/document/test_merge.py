"""Merging: nothing changes nothing, twice is once, order stays, and every value knows its file."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.diagnostics.errors import ManifestError, UsageError
from assembler.document.extends import shown_name
from assembler.document.merge import Document, load_document
from tests.assembler.trees import SCALARS, VALUES, plain, scalars, text_at

KEYS = st.sampled_from(["a", "b", "c", "d.e", "handlers"])
MAPPINGS = st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=3) | SCALARS, max_size=4)
IDS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6)


@st.composite
def manifests(draw: st.DrawFn) -> dict[str, Any]:
    """Data of a manifest, as far as the merge looks at it."""
    document: dict[str, Any] = {}
    for section in draw(st.sets(st.sampled_from(["middleware", "startup", "shutdown"]))):
        document[section] = [{"id": name, "with": draw(MAPPINGS)} for name in draw(IDS)]
    for section in draw(st.sets(st.sampled_from(["logging", "resources", "app"]))):
        document[section] = draw(MAPPINGS)
    if draw(st.booleans()):
        document["scheduler"] = {"jobs": [{"id": name, "with": {}} for name in draw(IDS)]}
    return document


def merged(*layers: dict[str, Any]) -> Document:
    """Write the layers, base first, each extending the one before, and load the last."""
    with tempfile.TemporaryDirectory() as folder:
        for number, layer in enumerate(layers):
            base = {"extends": f"{number - 1}.yaml"} if number else {}
            text = json.dumps({**base, **layer}, ensure_ascii=False, indent=1)
            (Path(folder) / f"{number}.yaml").write_text(text, "utf-8")
        return load_document(Path(folder) / f"{len(layers) - 1}.yaml")


def data(*layers: dict[str, Any]) -> Any:
    return plain(merged(*layers).root)


@given(manifests())
@settings(max_examples=40)
def test_merging_nothing_changes_nothing(base: dict[str, Any]) -> None:
    assert json.dumps(data(base, {})) == json.dumps(data(base)) == json.dumps(base)


@given(manifests())
@settings(max_examples=40)
def test_empty_sections_change_nothing(base: dict[str, Any]) -> None:
    assert data(base, dict.fromkeys(base)) == data(base)


@given(manifests(), manifests())
@settings(max_examples=40)
def test_merging_an_overlay_twice_is_merging_it_once(
    base: dict[str, Any], layer: dict[str, Any]
) -> None:
    assert json.dumps(data(base, layer, layer)) == json.dumps(data(base, layer))


@given(manifests(), manifests())
@settings(max_examples=40)
def test_entries_keep_the_order_of_the_base_and_new_ones_follow(
    base: dict[str, Any], layer: dict[str, Any]
) -> None:
    result = data(base, layer)
    assert list(result) == [*base, *(key for key in layer if key not in base)]
    for section in ("middleware", "startup", "shutdown"):
        old = [entry["id"] for entry in base.get(section, [])]
        new = [entry["id"] for entry in layer.get(section, [])]
        found = [entry["id"] for entry in result.get(section, [])]
        assert found == [*old, *(name for name in new if name not in old)]


@given(manifests(), st.data())
@settings(max_examples=40)
def test_what_is_removed_is_gone_and_the_rest_stays(
    base: dict[str, Any], choices: st.DataObject
) -> None:
    entries = base.get("middleware", [])
    gone = choices.draw(st.sets(st.sampled_from([e["id"] for e in entries]))) if entries else set()
    keys = [*base.get("resources", {})]
    lost = choices.draw(st.sets(st.sampled_from(keys))) if keys else set()
    layer: dict[str, Any] = {"middleware": [{"id": name, "$remove": True} for name in gone]}
    layer["resources"] = {key: {"$remove": True} for key in lost}
    result = data(base, layer)
    assert result["middleware"] == [entry for entry in entries if entry["id"] not in gone]
    assert result["resources"] == {
        key: value for key, value in base.get("resources", {}).items() if key not in lost
    }


@given(manifests(), manifests())
@settings(max_examples=40)
def test_replaced_entries_are_those_of_the_overlay(
    base: dict[str, Any], layer: dict[str, Any]
) -> None:
    whole = [{**entry, "$replace": True} for entry in layer.get("middleware", [])]
    found = {e["id"]: e for e in data(base, {"middleware": whole})["middleware"]}
    for entry in layer.get("middleware", []):
        assert found[entry["id"]] == entry


@given(manifests(), manifests())
@settings(max_examples=40)
def test_every_value_stands_where_its_span_says(
    base: dict[str, Any], layer: dict[str, Any]
) -> None:
    names = set()
    for leaf in scalars(merged(base, layer).root):
        assert json.loads(text_at(leaf)) == leaf.value
        names.add(Path(leaf.span.file.name).name)
    assert names <= {"0.yaml", "1.yaml"}


@given(st.lists(st.sampled_from("abcd"), unique=True, min_size=2), st.data())
@settings(max_examples=40)
def test_a_placed_entry_stands_beside_its_anchor(ids: list[str], choices: st.DataObject) -> None:
    anchor = choices.draw(st.sampled_from(ids))
    word = choices.draw(st.sampled_from(["$before", "$after"]))
    name = choices.draw(st.sampled_from([*[name for name in ids if name != anchor], "new"]))
    base = {"middleware": [{"id": name} for name in ids]}
    entries = data(base, {"middleware": [{"id": name, word: anchor}]})["middleware"]
    order = [entry["id"] for entry in entries]
    assert order.index(name) - order.index(anchor) == (-1 if word == "$before" else 1)
    assert [other for other in order if other != name] == [other for other in ids if other != name]
    assert all(list(entry) == ["id"] for entry in entries)


def test_the_files_of_a_chain_are_told_base_first() -> None:
    assert [path.name for path in merged({}, {}, {}).files] == ["0.yaml", "1.yaml", "2.yaml"]


def test_a_manifest_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load_document(tmp_path / "missing.yaml")


def test_a_base_that_is_not_there_is_a_fault_of_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("extends: missing.yaml")
    with pytest.raises(ManifestError, match="extends-not-found"):
        load_document(tmp_path / "m.yaml")


def test_names_are_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    assert shown_name(tmp_path / "in" / "m.yaml") == "m.yaml"
    assert shown_name(Path("../m.yaml")) == "../m.yaml"
    assert shown_name(tmp_path / "m.yaml") == (tmp_path / "m.yaml").as_posix()


def test_a_circle_of_links_is_a_base_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("b.yaml")
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    (tmp_path / "m.yaml").write_text("manifest: 1\nextends: a.yaml\n")
    with pytest.raises(ManifestError) as caught:
        load_document(tmp_path / "m.yaml")
    [fault] = caught.value.diagnostics
    assert (fault.code, fault.span and fault.span.line) == ("extends-not-found", 2)
    with pytest.raises(UsageError, match="cannot read"):
        load_document(tmp_path / "a.yaml")
