"""What a manifest's text says, as a tree whose every node knows its file, line and column.

In: `ScalarNode`, `SequenceNode` and `MappingNode`, as the composer and the merge make them. Out: the node at a
path, or all of them in the order of the text. A path that the tree does not have is followed as far
as it goes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

from assembler.diagnostics.span import Span

NodePath = tuple[str | int, ...]  # keys and indices from the root


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A leaf: `value` is what the format reads it as."""

    value: str | int | float | bool | None
    span: Span


@dataclass(frozen=True, slots=True)
class SequenceNode:
    """A list of nodes, in order."""

    items: tuple["Node", ...]
    span: Span


class Member(NamedTuple):
    """One `key: value` of a mapping: where the key stands, and the value."""

    key: Span
    value: "Node"


@dataclass(frozen=True, slots=True)
class MappingNode:
    """Keys in the order of the text, each with its place and its value."""

    members: dict[str, Member]
    span: Span

    def get(self, key: str) -> "Node | None":
        """Return the value of `key`, or None where the mapping has no such key."""
        member = self.members.get(key)
        return member.value if member else None

    def having(self, members: dict[str, Member]) -> Self:
        """Return the same mapping with other members."""
        return replace(self, members=members)


@dataclass(frozen=True, slots=True)
class Included(MappingNode):
    """A manifest that a mount of another one names: `written` is what names its `file` there."""

    written: ScalarNode
    file: Path


Node = ScalarNode | SequenceNode | MappingNode


def locate(node: Node, path: tuple[str | int, ...]) -> tuple[Node, Span | None]:
    """Follow `path` as far as the tree has it; return the node there, and its key's place.

    Segments that the tree does not have are skipped: pydantic puts tags of unions and names of
    validators between those that stand in the text.
    """
    key: Span | None = None
    for segment in path:
        if isinstance(node, MappingNode) and segment in node.members:
            key, node = node.members[str(segment)]
        elif (
            isinstance(node, SequenceNode)
            and isinstance(segment, int)
            and segment < len(node.items)
        ):
            key, node = None, node.items[segment]
    return node, key


def walk(
    node: Node, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Node]]:
    """Yield every node below and with `node`, each with its path, parents first."""
    waiting = [(path, node)]
    while waiting:
        path, node = waiting.pop()
        yield path, node
        if isinstance(node, MappingNode):
            inside = [((*path, key), member.value) for key, member in node.members.items()]
            waiting += reversed(inside)
        elif isinstance(node, SequenceNode):
            inside = [((*path, index), item) for index, item in enumerate(node.items)]
            waiting += reversed(inside)


def is_leaf(node: Node) -> bool:
    """Tell whether nothing stands in it."""
    if isinstance(node, MappingNode):
        return not node.members
    return isinstance(node, ScalarNode) or not node.items


def as_written(node: Node) -> Any:
    """Return a node as plain data, its references as they stand in the text."""
    if isinstance(node, MappingNode):
        return {key: as_written(member.value) for key, member in node.members.items()}
    if isinstance(node, SequenceNode):
        return [as_written(item) for item in node.items]
    return node.value
