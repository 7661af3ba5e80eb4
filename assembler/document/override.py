"""Values that replace a manifest's, by path → the same document with them in place.

In: `{"resources.db.with.url": "…", "middleware.per-ip.with.limit": "5/minute"}`; an entry of a list
is named by its id. Out: a document in which those values stand, with places in a text of their
own, so that a fault in one is shown like any other. Refuses ids that no entry has, addresses that
are no names, values that YAML could not say, and two entries that get one id.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from assembler.diagnostics.errors import Diagnostic, UsageError, raise_faults
from assembler.diagnostics.span import File, Span
from assembler.document.address import UnknownEntry, path_of
from assembler.document.merge import Document, duplicate_id
from assembler.document.mounted import each
from assembler.document.nodes import (
    MappingNode,
    Member,
    Node,
    NodePath,
    ScalarNode,
    SequenceNode,
    locate,
)
from assembler.document.sections import (
    ENTRY_LISTS,
    INNER,
    entry_id,
    inside,
    whole_entry,
)


def override_document(document: Document, override: Mapping[str, Any]) -> Document:
    """Return `document` with each value of `override` at its path.

    Raises `ManifestError` for an entry that is not there (`unknown-id`) and for two of one id
    (`duplicate-id`), `UsageError` for an address that is no text or empty, and for a value that is
    not made of strings, numbers, booleans, None, lists and mappings with string keys.
    """
    shown = [_one_line(address) for address in override]
    pairs = zip(shown, override.values(), strict=True)
    lines = [f"{address}: {_json(address, value)}" for address, value in pairs]
    file = File("<override>", "\n".join(lines))
    root = document.root
    faults: list[Diagnostic] = []
    for number, (address, value) in enumerate(override.items(), start=1):
        width = len(shown[number - 1])
        key = Span(file, number, 1, number, width + 1)
        where = Span(file, number, width + 3, number, len(lines[number - 1]) + 1)
        try:
            path = path_of(root, address)
        except UnknownEntry as error:
            faults.append(Diagnostic("unknown-id", error.message, key, help=error.help))
            continue
        if path[-1] == INNER and not inside(path) and not isinstance(value, Mapping):
            message = "an override may change what a mounted manifest says, and not name another"
            faults.append(Diagnostic("bad-value", message, key))
            continue
        node = _whole(path, _node(value, where))
        root = cast("MappingNode", _put(root, path, Member(key, node)))
    changed = replace(document, root=root)
    faults += [fault for _, part in each(changed) for fault in _duplicates(part.root, file)]
    raise_faults(faults)
    return changed


def _one_line(address: Any) -> str:
    if not isinstance(address, str) or not address:
        raise UsageError(f"override `{address}` is no path: `section.id.with.option` is one")
    return address.replace("\n", "\\n").replace("\r", "\\r")


def _whole(path: NodePath, node: Node) -> Node:
    if isinstance(node, SequenceNode):
        return SequenceNode(tuple(whole_entry(path, item) for item in node.items), node.span)
    return whole_entry(path[:-1], node)


def _put(node: Node | None, path: NodePath, member: Member) -> Node:
    if not path:
        return member.value
    first, rest = path[0], path[1:]
    if isinstance(node, SequenceNode) and isinstance(first, int):
        items = list(node.items)
        items[first] = _put(items[first], rest, member)
        return SequenceNode(tuple(items), node.span)
    members = dict(node.members) if isinstance(node, MappingNode) else {}
    old = members.get(str(first))
    value = _put(old.value if old else None, rest, member)
    members[str(first)] = Member(old.key if old else member.key, value)
    return (
        node.having(members) if isinstance(node, MappingNode) else MappingNode(members, member.key)
    )


def _node(value: Any, span: Span) -> Node:
    if isinstance(value, Mapping):
        return MappingNode(
            {key: Member(span, _node(item, span)) for key, item in value.items()}, span
        )
    if isinstance(value, list | tuple):
        return SequenceNode(tuple(_node(item, span) for item in value), span)
    return ScalarNode(value, span)


def _duplicates(root: MappingNode, file: File) -> Iterator[Diagnostic]:
    for path in sorted(ENTRY_LISTS):
        section, _ = locate(root, path)
        first: dict[str, Node] = {}
        for entry in section.items if isinstance(section, SequenceNode) else ():
            name = entry_id(path, entry)
            if name is not None and first.setdefault(name, entry) is not entry:
                found = duplicate_id(path, name, first[name], entry)
                if found.notes[0].span.file is file:  # what the override says is to be changed
                    found = duplicate_id(path, name, entry, first[name])
                yield found


def _json(path: str, value: Any) -> str:
    try:
        _refuse_other_keys(value)  # which json would turn into strings
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        remedy = "objects replace resources: `build(plan, resources={…})`"
        raise UsageError(f"override `{path}` is no value that YAML could say; {remedy}") from error


def _refuse_other_keys(value: Any) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"key {key!r} is no string")
            _refuse_other_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_other_keys(item)
