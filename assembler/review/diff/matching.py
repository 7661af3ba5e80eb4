"""The entries of two lists → which are the same one, and which of those moved.

In: `Entry`s of both sides. Out: pairs, what is gone and what is new. An entry is known by its id;
what is left by its code and path, then by its code and options, then by either. What moved is what
does not belong to the longest run that keeps its order.
"""

import json
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assembler.document.nodes import (
    MappingNode,
    Member,
    Node,
    NodePath,
    ScalarNode,
    SequenceNode,
    as_written,
)
from assembler.document.sections import entry_id


@dataclass(frozen=True, slots=True)
class EntryNode:
    """One entry: its section, its id, its place in the list, its node."""

    section: str
    id: str
    index: int
    node: MappingNode

    @property
    def address(self) -> str:
        """What overlays, findings and reports call it."""
        return f"{self.section}.{self.id}"

    @property
    def use(self) -> str | None:
        """The import path of its code; SQL has none."""
        return self.text("use")

    @property
    def options(self) -> Node | None:
        """What stands under `with`."""
        return self.node.get("with")

    def text(self, key: str) -> str | None:
        """Return a text, or None where there is none."""
        node = self.node.get(key)
        is_text = isinstance(node, ScalarNode) and isinstance(node.value, str | int)
        return str(node.value) if is_text and isinstance(node, ScalarNode) else None


EntryPair = tuple[EntryNode, EntryNode]


@dataclass(frozen=True, slots=True)
class Matching:
    """Pairs in the order of the new side, with what only one side has."""

    pairs: tuple[EntryPair, ...]
    gone: tuple[EntryNode, ...]
    more: tuple[EntryNode, ...]
    moved: frozenset[int]  # places in `pairs`


def entries_at(root: MappingNode, path: NodePath) -> list[EntryNode]:
    """Return the entries of a section, a mapping or a list, in order."""
    section = ".".join(map(str, path))
    node: Node | None = root
    for key in path:
        node = node.get(str(key)) if isinstance(node, MappingNode) else None
    if isinstance(node, MappingNode):
        named = [(name, member.value) for name, member in node.members.items()]
    elif isinstance(node, SequenceNode):
        named = [(entry_id(path, item) or str(at), item) for at, item in enumerate(node.items)]
    else:
        named = []
    return [
        EntryNode(section, name, index, item)
        for index, (name, item) in enumerate(named)
        if isinstance(item, MappingNode)
    ]


def match(old: Sequence[EntryNode], new: Sequence[EntryNode]) -> Matching:
    """EntryPair the entries of both sides, each with at most one."""
    gone, more = list(old), list(new)
    pairs: list[EntryPair] = []
    for key in _KEYS:
        found = list(_paired(gone, more, key))
        if found:
            taken = {id(entry) for pair in found for entry in pair}
            gone = [entry for entry in gone if id(entry) not in taken]
            more = [entry for entry in more if id(entry) not in taken]
            pairs += found
    pairs.sort(key=lambda pair: pair[1].index)
    kept = longest_run([before.index for before, _ in pairs])
    moved = frozenset(range(len(pairs))) - kept
    return Matching(tuple(pairs), tuple(gone), tuple(more), moved)


def renamed(node: MappingNode, names: Mapping[str, str]) -> MappingNode:
    """Return a tree whose texts that stand in `names` are replaced."""
    tree: MappingNode = _renamed(node, names)
    return tree


def longest_run(numbers: Sequence[int]) -> frozenset[int]:
    """Return the places of a longest rising run of `numbers`."""
    ends: list[int] = []  # of runs of each length, the place of the smallest last number
    before: list[int | None] = []
    for place, number in enumerate(numbers):
        length = bisect_left(ends, number, key=numbers.__getitem__)
        before.append(ends[length - 1] if length else None)
        ends[length : length + 1] = [place]
    run: list[int] = []
    at = ends[-1] if ends else None
    while at is not None:
        run.append(at)
        at = before[at]
    return frozenset(run)


def _paired(
    old: Iterable[EntryNode], new: Iterable[EntryNode], key: Callable[[EntryNode], object]
) -> Iterable[EntryPair]:
    waiting: dict[object, list[EntryNode]] = {}
    for entry in old:
        name = key(entry)
        if name is not None:
            waiting.setdefault(name, []).append(entry)
    for entry in new:
        others = waiting.get(key(entry))
        if others:
            yield others.pop(0), entry


def _renamed(node: Any, names: Mapping[str, str]) -> Any:
    if isinstance(node, MappingNode):
        members = node.members.items()
        inside = {key: Member(item.key, _renamed(item.value, names)) for key, item in members}
        return node.having(inside)
    if isinstance(node, SequenceNode):
        return SequenceNode(tuple(_renamed(item, names) for item in node.items), node.span)
    is_named = isinstance(node.value, str) and node.value in names
    return ScalarNode(names[node.value], node.span) if is_named else node


def _path(entry: EntryNode) -> str | None:
    return entry.text("mount") or entry.text("path") or entry.text("prefix") or entry.text("catch")


def _options(entry: EntryNode) -> str:
    return "" if entry.options is None else json.dumps(as_written(entry.options), sort_keys=True)


def _by_use_and(extra: Callable[[EntryNode], str | None]) -> Callable[[EntryNode], object]:
    def key(entry: EntryNode) -> object:
        more = extra(entry)
        return None if entry.use is None or more is None else (entry.use, more)

    return key


def _by_name_and_options(entry: EntryNode) -> object:
    name = (entry.use or "").replace(":", ".").rpartition(".")[2]
    return (name, _options(entry)) if name and entry.options is not None else None


_KEYS: tuple[Callable[[EntryNode], object], ...] = (
    lambda entry: entry.id,
    _by_use_and(_path),
    _by_use_and(_options),
    lambda entry: entry.use,
    lambda entry: entry.text("manifest"),
    _path,
    _by_name_and_options,
)
