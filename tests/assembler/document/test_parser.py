"""The reader: what it takes, what it refuses, and that no text makes it do anything else."""

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from assembler.diagnostics.errors import Diagnostic, ManifestError, UsageError
from assembler.diagnostics.render import render
from assembler.diagnostics.span import File, Span
from assembler.document.nodes import MappingNode, Node, ScalarNode, locate, walk
from assembler.document.parser import (
    MAX_ALIASES,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_NODES,
    plain_value,
    read,
    read_file,
)
from tests.assembler.trees import VALUES, plain, scalars, text_at

FRAGMENTS = st.sampled_from(
    [
        *(
            "a: ",
            "b",
            "- ",
            "\n",
            "  ",
            "    ",
            ": ",
            ", ",
            "{",
            "}",
            "[",
            "]",
            "'",
            '"',
            "#",
            " #",
        ),
        *("&x ", "*x", "!", "!!str ", "|\n", ">-\n", "? ", "---\n", "...\n", "%YAML 1.2\n", "\t"),
        *(
            "<<: ",
            "true",
            "null",
            "~",
            "1",
            "-0.5",
            "010",
            "1e999",
            "\\u0041",
            "\\ud800",
            "é",
            "物",
        ),
        *("\r\n", "\r", "\u2028", "\x00", "\x85", "\ufeff", "no", ".inf", "1:30", "2024-01-31"),
    ]
)


def faults(text: str | bytes, folder: Path) -> list[str]:
    path = folder / "m.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ManifestError) as caught:
        read(read_file(path, "m.yaml"))
    assert all(render(fault) for fault in caught.value.diagnostics)
    return [fault.code for fault in caught.value.diagnostics]


def read_or_refuse(text: str) -> Node | None:
    try:
        return read(File("m.yaml", text))
    except ManifestError as error:
        for fault in error.diagnostics:
            check_place(fault)
        return None


def check_place(fault: Diagnostic) -> None:
    span = fault.span
    assert span is not None
    assert 1 <= span.line <= span.end_line <= len(span.file.lines) + 1
    assert span.column >= 1
    assert (span.line, span.column) <= (span.end_line, span.end_column)
    assert render(fault)


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read `missing\.yaml`: No such file"):
        read_file(tmp_path / "missing.yaml", "missing.yaml")


def test_a_folder_is_told_with_what_it_holds(tmp_path: Path) -> None:
    def said(name: str) -> str:
        with pytest.raises(UsageError) as caught:
            read_file(tmp_path, name)
        return str(caught.value)

    assert said("here") == "cannot read `here`: it is a folder; name a file"
    for name in ("b.yml", "a.yaml", "a.txt"):
        (tmp_path / name).touch()
    assert said("here/") == (
        "cannot read `here/`: it is a folder; name a file in it: `here/a.yaml`, `here/b.yml`"
    )
    (tmp_path / "manifests").mkdir()
    for number in range(6):
        (tmp_path / f"manifests/{number}.yaml").touch()
    assert said(".") == (
        "cannot read `.`: it is a folder; name a file in it: `manifests/0.yaml`, "
        "`manifests/1.yaml`, `manifests/2.yaml`, `manifests/3.yaml` and 2 more"
    )


def test_a_link_to_a_folder_elsewhere_is_not_looked_into(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/secret-plan.yaml").touch()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/manifests").symlink_to(tmp_path / "out")
    with pytest.raises(UsageError, match=r"it is a folder; name a file\Z"):
        read_file(tmp_path / "in", "in")


def test_a_file_of_one_mebibyte_is_read_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    text = b"a: " + b"x" * (MAX_BYTES - 4) + b"\n"
    path.write_bytes(text)
    assert len(plain(read(read_file(path, "m.yaml")))["a"]) == MAX_BYTES - 4
    assert faults(text + b"\n", tmp_path) == ["too-large"]


def test_a_binary_file_is_refused_without_telling_every_byte(tmp_path: Path) -> None:
    assert set(faults(b"\x00" * 100_000, tmp_path)) == {"bad-character"}
    assert len(faults(b"\x00" * 100_000, tmp_path)) == 20


@pytest.mark.parametrize("text", [b"\xff", b"a: \xed\xa0\x80", b"a: \xf8\x88\x80\x80\x80", b"\xc3"])
def test_bytes_that_are_not_utf8_are_refused(text: bytes, tmp_path: Path) -> None:
    assert faults(text, tmp_path) == ["not-utf8"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_do_not_change_what_is_read_or_where(newline: str, tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + newline.join(["a:", "  - 1", "  - x", ""]).encode())
    root = read(read_file(path, "m.yaml"))
    assert plain(root) == {"a": [1, "x"]}
    assert [text_at(leaf) for leaf in scalars(root)] == ["1", "x"]
    assert [leaf.span.line for leaf in scalars(root)] == [2, 3]


@pytest.mark.parametrize(
    "piece",
    [
        *("[", "{", "? ", "- ", "'", '"', "&a ", "!x ", "a: ", "a:\n", "[a,", "- - ", "---\n"),
        *("- *a\n", "\t", "1", "<<: \n", "- !x\n", "\x00", "#", "|", "%", "x", "\r"),
    ],
)
def test_a_mebibyte_of_one_piece_is_read_or_refused(piece: str, tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(piece * ((MAX_BYTES // 4) // len(piece)), "utf-8", newline="")
    try:
        read(read_file(path, "m.yaml"))
    except ManifestError as error:
        assert error.diagnostics  # noqa: PT017  # both outcomes are right


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda n: "[" * n + "]" * n, "too-deep"),
        (lambda n: "a: &a 1\nb: [" + "*a," * n + "]", "too-many-aliases"),
    ],
)
def test_a_limit_admits_its_number_and_refuses_one_more(
    make: Callable[[int], str], code: str, tmp_path: Path
) -> None:
    limit = {"too-deep": MAX_DEPTH, "too-many-aliases": MAX_ALIASES}[code]
    assert plain(read(File("m.yaml", make(limit)))) is not None
    assert faults(make(limit + 1), tmp_path) == [code]


def test_values_are_counted_after_aliases_are_expanded(tmp_path: Path) -> None:
    items = "a: &a [" + "1," * 1000 + "]\n"
    small = MAX_NODES // 1001 - 3
    root = read(File("m.yaml", items + "b: [" + "*a," * small + "]"))
    assert len(plain(root)["b"]) == small
    assert faults(items + "b: [" + "*a," * 100 + "]", tmp_path) == ["too-many-nodes"]


def test_an_alias_gives_the_node_of_its_anchor() -> None:
    root = read(File("m.yaml", "a: &a {x: 1}\nb: *a\n"))
    assert isinstance(root, MappingNode)
    assert root.get("a") is root.get("b")


def test_locate_skips_what_the_tree_does_not_have() -> None:
    root = read(File("m.yaml", "a: {b: [1, 2]}\n"))
    node, key = locate(root, ("a", "function-before[check]", "b", 1, 5, "c"))
    assert plain(node) == 2
    assert key is None
    node, key = locate(root, ("a", "b"))
    assert plain(node) == [1, 2]
    assert key is not None
    assert (key.line, key.column) == (1, 5)


def test_walk_gives_every_node_with_its_path() -> None:
    root = read(File("m.yaml", "a: [1, {b: 2}]\n"))
    assert [path for path, _ in walk(root)] == [
        (),
        ("a",),
        ("a", 0),
        ("a", 1),
        ("a", 1, "b"),
    ]


@given(st.text(max_size=200))
@example("a: \ud800")
@example("a: \x00\x1f")
def test_any_text_is_read_or_refused(text: str) -> None:
    read_or_refuse(text)


@given(st.lists(FRAGMENTS, max_size=25).map("".join))
def test_any_mix_of_pieces_of_yaml_is_read_or_refused(text: str) -> None:
    read_or_refuse(text)


@given(st.binary(max_size=200))
@settings(max_examples=60)
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(raw)
    try:
        read(read_file(path, "bytes.yaml"))
    except ManifestError as error:
        for fault in error.diagnostics:
            check_place(fault)


@given(st.integers(0, 400), st.sampled_from(["[", "{a: ", "- ", "? "]), st.booleans())
@settings(max_examples=40)
def test_any_depth_is_read_or_refused(depth: int, opening: str, closed: bool) -> None:
    closing = {"[": "]", "{a: ": "}"}.get(opening, "")
    root = read_or_refuse(opening * depth + (closing * depth if closed else ""))
    assert root is None or depth <= MAX_DEPTH


@given(st.lists(st.integers(2, 12), min_size=1, max_size=7))
@settings(max_examples=40)
def test_alias_bombs_are_refused_by_their_expanded_size(widths: list[int]) -> None:
    lines, name, size = ["a0: &a0 x"], "a0", 1
    total, aliases = 1, 0
    for number, width in enumerate(widths, start=1):
        lines.append(f"a{number}: &a{number} [{', '.join([f'*{name}'] * width)}]")
        name, size, aliases = f"a{number}", size * width + 1, aliases + width
        total += size
    root = read_or_refuse("\n".join(lines))
    assert (root is not None) == (total + 1 <= MAX_NODES and aliases <= MAX_ALIASES)


@given(VALUES, st.booleans())
def test_json_is_read_as_it_is(value: Any, ascii_only: bool) -> None:
    text = json.dumps({"value": value}, ensure_ascii=ascii_only)
    if not re.search(r"\\ud[89ab]", text):  # half a character is none in YAML
        assert plain(read(File("m.yaml", text))) == {"value": value}


@given(VALUES, st.sampled_from([None, True, False]), st.integers(2, 8))
def test_dumped_yaml_is_read_as_it_is(value: Any, flow: bool | None, indent: int) -> None:
    text = dumped({"value": value}, default_flow_style=flow, indent=indent, sort_keys=False)
    assert same(plain(read(File("m.yaml", text))), {"value": value})


@given(st.lists(FRAGMENTS, max_size=16).map("".join))
@settings(max_examples=300)
@example("a: 010\nb: no\n- c")
@example("a: |\n  x\n\n  y\nb: [1, 2, {c: d}]")
def test_what_is_read_has_the_structure_that_yaml_composes(text: str) -> None:
    root = read_or_refuse(text)
    if root is None:
        return
    composed = yaml.compose(text, Loader=yaml.CSafeLoader)
    assert plain(root) == (None if composed is None else reference(composed))


@given(VALUES, st.booleans())
def test_every_span_covers_its_own_text(value: Any, flow: bool) -> None:
    text = dumped({"value": value}, default_flow_style=flow, allow_unicode=True, width=1000)
    root = read(File("m.yaml", text))
    for _, node in walk(root):
        span = node.span
        assert 1 <= span.line <= span.end_line <= len(span.file.lines)
        assert (span.line, span.column) <= (span.end_line, span.end_column)
        assert span.end_column <= len(span.file.lines[span.end_line - 1]) + 1
    for leaf in scalars(root):
        if leaf.span.line == leaf.span.end_line:
            assert same(plain(read(File("m.yaml", text_at(leaf)))), leaf.value)


@given(st.text("0123456789.eE+-_xob:", max_size=8))
def test_a_plain_scalar_is_a_number_only_where_json_has_one(text: str) -> None:
    try:
        value = plain_value(text)
    except OverflowError:
        value = math.inf
    try:
        expected = json.loads(text)
    except ValueError:
        expected = text or None
    assert same(value, expected)


class Dumper(yaml.SafeDumper):
    """PyYAML's, which leaves strings plain that are numbers in YAML 1.2, such as `0E0`."""


def quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    is_number = re.fullmatch(r"-?[0-9.]+([eE][-+]?[0-9]+)?", text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if is_number else None)


Dumper.add_representer(str, quoted)


def dumped(value: Any, **options: Any) -> str:
    return str(yaml.dump(value, Dumper=Dumper, **options))


def same(ours: Any, expected: Any) -> bool:
    return json.dumps(ours) == json.dumps(expected)


def reference(node: Any) -> Any:
    """The format's reading of a node that PyYAML composed."""
    if isinstance(node, yaml.MappingNode):
        return {key.value: reference(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [reference(item) for item in node.value]
    return node.value if node.style else plain_value(node.value)


def test_a_scalar_holds_what_it_reads_as() -> None:
    root = read(File("m.yaml", "a: 1"))
    assert isinstance(root, MappingNode)
    node = root.get("a")
    assert isinstance(node, ScalarNode)
    assert (node.value, root.get("b")) == (1, None)


@pytest.mark.parametrize("name", ["pipe", "/dev/zero", "/dev/stdin"])
def test_refuses_what_is_no_regular_file_at_once(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read_end, write_end = os.pipe()
    try:
        path = Path(f"/dev/fd/{read_end}") if name == "/dev/stdin" else tmp_path / name
        with pytest.raises(UsageError, match="no regular file"):
            read_file(path, name)
    finally:
        os.close(read_end)
        os.close(write_end)


def test_a_name_with_a_line_break_forges_no_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        read_file(tmp_path / "none", "a\nb: ok")
    assert "\n" not in str(raised.value)
    assert Span(File("a\nb", ""), 1, 1, 1, 1).place == "a\\u000ab:1:1"
