"""Values that replace a manifest's, by path → the same document with them in place.

In: `{"resources.db.with.url": "…", "middleware.per-ip.with.limit": "5/minute"}`; an entry of a list
is named by its id. Out: a document in which those values stand, with places in a text of their
own, so that a fault in one is shown like any other. Refuses ids that no entry has, and values that
YAML could not say.
"""

import json
from collections.abc import Mapping as MappingType
from dataclasses import replace
from typing import Any

from assembler.entries import ENTRY_LISTS, Path, entry_id
from assembler.errors import Diagnostic, File, Span, UsageError, did_you_mean, raise_faults
from assembler.overlay import Document
from assembler.source import Mapping, Member, Node, Scalar, Sequence


def override_document(document: Document, override: MappingType[str, Any]) -> Document:
    """Return `document` with each value of `override` at its path.

    Raises `ManifestError` (`unknown-id`) for an entry that is not there, `UsageError` for a value
    that is not made of strings, numbers, booleans, None, lists and mappings with string keys.
    """
    lines = [f"{path}: {_json(path, value)}" for path, value in override.items()]
    file = File("<override>", "\n".join(lines))
    root: Mapping = document.root
    faults: list[Diagnostic] = []
    for number, (path, value) in enumerate(override.items(), start=1):
        line = lines[number - 1]
        key = Span(file, number, 1, number, len(path) + 1)
        where = Span(file, number, len(path) + 3, number, len(line) + 1)
        root = _put_key(root, path, (), Member(key, _node(value, where)), faults)
    raise_faults(faults)
    return replace(document, root=root)


def _put(node: Node, rest: str, path: Path, member: Member, faults: list[Diagnostic]) -> Node:
    into = _put_entry if path in ENTRY_LISTS else _put_key
    return into(node, rest, path, member, faults)


def _put_key(
    node: Node, rest: str, path: Path, member: Member, faults: list[Diagnostic]
) -> Mapping:
    members = dict(node.members) if isinstance(node, Mapping) else {}
    # A key may hold dots itself: the longest one that is there wins, else the first segment.
    known = [key for key in members if rest == key or rest.startswith(key + ".")]
    key = max(known, key=len) if known else rest.partition(".")[0]
    remaining = rest[len(key) + 1 :]
    if not remaining:
        members[key] = member if key not in members else members[key]._replace(value=member.value)
    else:
        old = members.get(key) or Member(member.key, Mapping({}, member.key))
        members[key] = old._replace(value=_put(old.value, remaining, (*path, key), member, faults))
    return Mapping(members, node.span)


def _put_entry(node: Node, rest: str, path: Path, member: Member, faults: list[Diagnostic]) -> Node:
    items = list(node.items) if isinstance(node, Sequence) else []
    ids = {name: index for index, item in enumerate(items) if (name := entry_id(path, item))}
    known = [name for name in ids if rest == name or rest.startswith(name + ".")]
    if not known:
        section = ".".join(str(segment) for segment in path)
        message = f"`{section}` has no entry that `{rest}` names"
        remedy = did_you_mean(rest.partition(".")[0], ids)
        faults.append(Diagnostic("unknown-id", message, member.key, help=remedy))
        return node
    name = max(known, key=len)
    remaining = rest[len(name) + 1 :]
    index = ids[name]
    items[index] = (
        _put(items[index], remaining, (*path, index), member, faults) if remaining else member.value
    )
    return Sequence(tuple(items), node.span)


def _node(value: Any, span: Span) -> Node:
    if isinstance(value, MappingType):
        return Mapping({key: Member(span, _node(item, span)) for key, item in value.items()}, span)
    if isinstance(value, list | tuple):
        return Sequence(tuple(_node(item, span) for item in value), span)
    return Scalar(value, span)


def _json(path: str, value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        remedy = "objects replace resources: `build(plan, resources={…})`"
        raise UsageError(f"override `{path}` is no value that YAML could say; {remedy}") from error
