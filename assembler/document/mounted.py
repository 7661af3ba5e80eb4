"""Mounts that name another manifest → that manifest's tree in their place, or each manifest alone.

In: one layer of a chain, and what reads a manifest by its path; or a merged document. Out: the layer
with a tree for each path under `manifest`, so that merge, overrides and `render` reach into it; or the
document apart: the outermost manifest by itself, and those that are mounted in it. Refuses one
manifest that is mounted twice.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.span import Note, Span
from assembler.document.nodes import (
    Included,
    MappingNode,
    Member,
    Node,
    NodePath,
    ScalarNode,
    SequenceNode,
)
from assembler.document.sections import INNER

if TYPE_CHECKING:
    from assembler.document.merge import Document

INLINE = "inline"
"""What stands for the file of a manifest that is written out under its mount."""

MOST_MOUNTED = 100
"""How many manifests may be mounted in one, at any depth."""

Read = Callable[[Path, ScalarNode], Node]


def include(layer: MappingNode, folder: Path, read: Read) -> MappingNode:
    """Return a layer with what `read` gives for each manifest that a mount of it names.

    `read` is called with the path, from `folder`, and the node that names it.
    """

    def with_inner(entry: Node) -> Node:
        member = entry.members.get(INNER) if isinstance(entry, MappingNode) else None
        if member is None or not isinstance(entry, MappingNode):
            return entry
        value: Node = member.value
        if isinstance(value, MappingNode):
            value = include(value, folder, read)
        elif isinstance(value, ScalarNode) and isinstance(value.value, str) and value.value:
            value = read(folder / value.value, value)
        if value is member.value:
            return entry
        return entry.having({**entry.members, INNER: Member(member.key, value)})

    routes = layer.members.get("routes")
    if routes is None or not isinstance(routes.value, SequenceNode):
        return layer
    items = tuple(map(with_inner, routes.value.items))
    if all(new is old for new, old in zip(items, routes.value.items, strict=True)):
        return layer
    there = Member(routes.key, replace(routes.value, items=items))
    return layer.having({**layer.members, "routes": there})


def check_mounted(root: MappingNode) -> Iterator[Diagnostic]:
    """Find manifests that are mounted again, and too many of them.

    What one opens and runs would be there twice.
    """
    first: dict[Path, Included] = {}
    waiting = [root]
    count = 0
    while waiting:
        for _, node in _inner(waiting.pop()):
            count += 1
            if count > MOST_MOUNTED:
                yield too_many(_first_line(node))
                return
            if not isinstance(node, Included) or first.setdefault(node.file, node) is node:
                waiting.append(node)
            else:
                message = f"`{node.written.value}` is mounted twice: all that it opens and runs would be there twice"
                note = Note(first[node.file].written.span, "first here")
                yield Diagnostic("duplicate-id", message, node.written.span, notes=(note,))


def too_many(span: Span) -> Diagnostic:
    """Say that more manifests are mounted than one process may be made of."""
    return Diagnostic("too-many-nodes", f"more than {MOST_MOUNTED} manifests are mounted", span)


def mounted_files(root: MappingNode) -> Iterator[Path]:
    """Yield the files of all manifests that are mounted in a tree."""
    for _, node in _inner(root):
        if isinstance(node, Included):
            yield node.file
        yield from mounted_files(node)


def apart(document: "Document") -> "tuple[Document, list[tuple[int, Document]]]":
    """Return the document without what is mounted in it, and what is, by the index of its route.

    Under `manifest` stands then the path that was written there.
    """
    found = [(index, replace(document, root=node)) for index, node in _inner(document.root)]
    if not found:
        return document, []
    routes = document.root.members["routes"]
    assert isinstance(routes.value, SequenceNode)  # noqa: S101  # where there are entries
    items = tuple(map(_named_only, routes.value.items))
    there = Member(routes.key, replace(routes.value, items=items))
    return replace(
        document, root=document.root.having({**document.root.members, "routes": there})
    ), found


def each(document: "Document") -> "Iterator[tuple[NodePath, Document]]":
    """Yield every manifest of a document by itself, with its path: the outermost one first."""
    waiting: list[tuple[NodePath, Document]] = [((), document)]
    while waiting:
        path, whole = waiting.pop(0)
        own, found = apart(whole)
        yield path, own
        waiting[:0] = [((*path, "routes", index, INNER), one) for index, one in found]


def _inner(root: MappingNode) -> Iterator[tuple[int, MappingNode]]:
    routes = root.get("routes")
    for index, entry in enumerate(routes.items if isinstance(routes, SequenceNode) else ()):
        node = entry.get(INNER) if isinstance(entry, MappingNode) else None
        if isinstance(node, MappingNode):
            yield index, node


def _first_line(node: MappingNode) -> Span:
    span = node.written.span if isinstance(node, Included) else node.span
    return (
        span
        if span.end_line == span.line
        else span._replace(end_line=span.line, end_column=len(span.file.lines[span.line - 1]) + 1)
    )


def _named_only(entry: Node) -> Node:
    member = entry.members.get(INNER) if isinstance(entry, MappingNode) else None
    if not isinstance(entry, MappingNode) or member is None:
        return entry
    node = member.value
    if not isinstance(node, MappingNode):
        return entry
    named = node.written if isinstance(node, Included) else ScalarNode(INLINE, member.key)
    return entry.having({**entry.members, INNER: Member(member.key, named)})
