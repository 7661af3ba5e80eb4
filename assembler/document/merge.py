"""A manifest and all that it extends → one document, every node still from its own file.

In: a path. Out: a `Mapping` without `extends` and without directives (`$remove`, `$replace`,
`$before`, `$after`), whose nodes' spans tell which file each value came from. A file without
`extends` is merged onto nothing, so one set of rules holds for every file.

Refuses what the chain does, directives that name nothing or stand where no entry is, places beside
entries that are not there, beside itself or in a circle, and two entries of one id.
"""

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from assembler.diagnostics.errors import Diagnostic, ManifestError, UsageError, raise_faults
from assembler.diagnostics.span import Note, Span
from assembler.diagnostics.suggest import did_you_mean
from assembler.document.extends import DISK, Shelf, read_chain
from assembler.document.mounted import MOST_MOUNTED, check_mounted, include, too_many
from assembler.document.nodes import (
    Included,
    MappingNode,
    Member,
    Node,
    NodePath,
    ScalarNode,
    SequenceNode,
    as_written,
)
from assembler.document.project import Project, project_of
from assembler.document.sections import (
    ENTRY_PATHS,
    SECTIONS,
    entry_id,
    inside,
    list_at,
    whole_entry,
)

_Word = Literal["$before", "$after"]
_DIRECTIVES = ("$remove", "$replace", "$before", "$after")
_NAMING = ("id", "catch", "mount", "use", "prefix")  # what an entry may be called by


@dataclass(frozen=True, slots=True)
class Document:
    """The merged tree, the path it was read from, and every file that took part, base first.

    Manifests that are mounted in it stand in the tree, and their files before its own.
    """

    root: MappingNode
    path: Path
    files: tuple[Path, ...]

    @property
    def project(self) -> Project:
        """Where the files that the manifest names may stand."""
        return project_of(self.path)

    @property
    def hash(self) -> str:
        """SHA-256 of what the document says, whatever its comments, quotes and order of keys."""
        text = json.dumps(as_written(self.root), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def load_document(path: Path, shelf: Shelf = DISK) -> Document:
    """Read `path`, its bases and what is mounted in them from `shelf`, and merge them.

    Raises `ManifestError` with all faults of the texts, or else all of the merge.
    """
    reader = _Reader(shelf, project_of(path))
    root = reader.outermost(path)
    return Document(root, path, tuple(reader.files))


def duplicate_id(path: NodePath, name: str, first: Node, second: Node) -> Diagnostic:
    """Say that two entries of the list at `path` are called `name`."""
    return Diagnostic(
        "duplicate-id",
        f"two entries of `{path[-1]}` are called `{name}`",
        _naming(second),
        notes=(Note(_naming(first), "first here"),),
        help="give one of them an `id` of its own",
    )


class _Reader:
    """Reads one manifest with all that it extends and mounts; each file once."""

    def __init__(self, shelf: Shelf, project: Project) -> None:
        self.shelf = shelf
        self.project = project
        self.files: dict[Path, None] = {}
        self.faults: list[Diagnostic] = []
        self._open: list[Path] = []  # the manifests that are being read, each mounted in the last
        self._known: dict[Path, MappingNode | None] = {}

    def outermost(self, path: Path) -> MappingNode:
        """Return the merged tree of the manifest that somebody named."""
        self._open.append(self.shelf.resolved(path))
        root = self.merged(path)
        raise_faults(self.faults)
        assert root is not None  # noqa: S101  # without faults there is one
        raise_faults(check_mounted(root))
        return root

    def merged(self, path: Path) -> MappingNode | None:
        """Merge one manifest; None where one that is mounted in it could not be read."""
        chain = read_chain(path, self.shelf, self.project)
        before = len(self.faults)
        layers = [include(layer, file.parent, self.inner) for file, layer in chain]
        self.files.update(dict.fromkeys(file for file, _ in chain))
        if len(self.faults) > before:
            return None
        merger = _Merger()
        root = MappingNode({}, layers[-1].span)
        for layer in layers:
            root = merger.mapping(root, layer, ())
        root = MappingNode(root.members, layers[-1].span)
        merger.finish(root)
        raise_faults(merger.faults)
        return root

    def inner(self, path: Path, node: ScalarNode) -> Node:
        """Return the tree of a manifest that is mounted, or its path again after a fault."""
        file = self.shelf.resolved(path)
        if self._is_refused(path, node):
            return node
        if file not in self._known:
            if len(self._open) > MOST_MOUNTED:
                self.faults.append(too_many(node.span))
                return node
            self._open.append(file)
            self._known[file] = None
            try:
                self._known[file] = self.merged(path)
            except UsageError as error:
                said = error.__cause__ if isinstance(error.__cause__, UsageError) else error
                remedy = did_you_mean(path.name, self.shelf.siblings(path))
                fault = Diagnostic("extends-not-found", str(said), node.span, help=remedy)
                self.faults.append(fault)
            except ManifestError as error:
                self.faults += error.diagnostics
            self._open.pop()
        root = self._known[file]
        return node if root is None else Included(root.members, root.span, node, file)

    def _is_refused(self, path: Path, node: ScalarNode) -> bool:
        if "${" in str(node.value):
            message, remedy = "`manifest` takes no reference", "write the value out"
            self.faults.append(Diagnostic("misplaced-reference", message, node.span, help=remedy))
            return True
        why = self.shelf.refusal(self.project, path)
        if why is not None:
            message = f"cannot read `{node.value}`: {why}"
            self.faults.append(Diagnostic("outside-project", message, node.span))
            return True
        if self.shelf.resolved(path) in self._open:
            message = f"`{node.value}` is mounted in itself"
            self.faults.append(Diagnostic("extends-cycle", message, node.span))
            return True
        return False


@dataclass(slots=True)
class _Merger:
    faults: list[Diagnostic] = field(default_factory=list)

    def mapping(self, base: MappingNode, layer: MappingNode, path: NodePath) -> MappingNode:
        """Merge `layer` over `base` key by key; a null section changes nothing."""
        members = dict(base.members)
        for key, member in layer.members.items():
            if key in _DIRECTIVES:
                members[key] = member  # consumed by whoever owns this mapping, else refused later
                continue
            here = (*path, key)
            value = member.value
            is_whole = self.is_set(value, "$replace")
            if self.is_set(value, "$remove"):
                self.remove(members, key, member)
            elif key not in members or is_whole:
                fresh = self.onto_nothing(value, here)
                members[key] = member if fresh is value else Member(member.key, fresh)
            else:
                old = members[key]
                merged = self.value(old.value, value, here)
                members[key] = old if merged is old.value else Member(member.key, merged)
        if isinstance(base, Included):
            return base.having(members)
        return MappingNode(members, base.span if base.members else layer.span)

    def value(self, base: Node, layer: Node, path: NodePath) -> Node:
        if isinstance(layer, Included):
            return layer  # another manifest, not a change of the one that is there
        if isinstance(base, MappingNode) and isinstance(layer, MappingNode):
            return self.mapping(base, layer, path)
        if list_at(path) and isinstance(base, SequenceNode) and isinstance(layer, SequenceNode):
            return self.entries(base, layer, path)
        is_empty = isinstance(layer, ScalarNode) and layer.value is None
        if is_empty and not isinstance(base, ScalarNode) and _is_section(path):
            return base
        return self.onto_nothing(layer, path)

    def onto_nothing(self, layer: Node, path: NodePath) -> Node:
        """Merge a new value onto nothing, so that directives inside it are judged as well."""
        if isinstance(layer, Included):
            return layer  # it was merged where it was read
        if isinstance(layer, MappingNode):
            merged = self.mapping(MappingNode({}, layer.span), layer, path)
            if all(merged.members.get(key) is member for key, member in layer.members.items()):
                merged = layer  # nothing below changed: one tree in memory instead of two
            return self.without_directives(merged, ("$replace",))
        if list_at(path) and isinstance(layer, SequenceNode):
            return self.entries(SequenceNode((), layer.span), layer, path)
        return layer

    def entries(self, base: SequenceNode, layer: SequenceNode, path: NodePath) -> SequenceNode:
        """Merge two lists of entries by id; positions are taken after removals."""
        items = [whole_entry(path, item) for item in layer.items]
        ids: dict[str, Node] = {}
        for index, item in enumerate(base.items):
            ids[entry_id(path, item) or f"#{index}"] = item
        added: dict[str, Node] = {}
        moves: dict[str, MappingNode] = {}
        for item in items:
            if self.is_set(item, "$remove") and isinstance(item, MappingNode):
                self.remove_entry(ids, item, path)
        for index, item in enumerate(items):
            if self.is_set(item, "$remove"):
                continue
            name = entry_id(path, item) or f"#{len(ids)}.{index}"
            if name in added:
                self.duplicate(path, name, added[name], item)
                continue
            added[name] = item
            ids[name] = self.entry(ids.get(name), item, path)
            if isinstance(item, MappingNode) and _is_placed(item):
                moves[name] = item
        order = _placed(ids, moves, self.faults) if moves else ids
        return SequenceNode(tuple(ids[name] for name in order), layer.span)

    def entry(self, base: Node | None, item: Node, path: NodePath) -> Node:
        here = (*path, "*")
        is_whole = self.is_set(item, "$replace")
        if isinstance(base, MappingNode) and isinstance(item, MappingNode) and not is_whole:
            merged: Node = self.mapping(base, item, here)
        else:
            merged = self.onto_nothing(item, here)
        if isinstance(merged, MappingNode):
            return self.without_directives(merged, ("$replace", "$before", "$after"))
        return merged

    def remove(self, members: dict[str, Member], key: str, member: Member) -> None:
        if key not in members:
            self.faults.append(
                _unknown_id(key, member.key, members, "$remove", told=len(self.faults))
            )
        else:
            del members[key]
        self.only_named(key, member.value, ("$remove",))

    def remove_entry(self, ids: dict[str, Node], item: MappingNode, path: NodePath) -> None:
        name = entry_id(path, item)
        if name is None:
            place = item.members["$remove"].key
            self.fault("unknown-id", "`$remove` needs the `id` of an entry", place)
        elif name not in ids:
            self.faults.append(
                _unknown_id(name, _naming(item), ids, "$remove", told=len(self.faults))
            )
        else:
            del ids[name]
        self.only_named(name or "", item, ("$remove", *_NAMING))

    def only_named(self, name: str, node: Node, allowed: tuple[str, ...]) -> None:
        for key, member in getattr(node, "members", {}).items():
            if key not in allowed:
                message = f"`$remove` takes `{name}` out: `{key}` has no effect"
                self.fault("misplaced-directive", message, member.key)
                return

    def is_set(self, node: Node, directive: str) -> bool:
        """Tell whether `node` carries `directive: true`; anything but a boolean is a fault."""
        if not isinstance(node, MappingNode) or directive not in node.members:
            return False
        value = node.members[directive].value
        if isinstance(value, ScalarNode) and isinstance(value.value, bool):
            return value.value
        fault = Diagnostic("bad-value", f"`{directive}` takes true or false", value.span)
        if fault not in self.faults:
            self.faults.append(fault)
        return False

    def without_directives(self, node: MappingNode, names: tuple[str, ...]) -> MappingNode:
        # `$remove: false` is a no-op that an author may leave in; it goes as well.
        drop = {name for name in (*names, "$remove") if name in node.members}
        if not drop:
            return node
        return MappingNode({k: m for k, m in node.members.items() if k not in drop}, node.span)

    def finish(self, root: MappingNode) -> None:
        """Refuse directives that no rule consumed.

        Each part is looked at once: manifests that are mounted twice, in others that are as well,
        would otherwise be walked a million times before they are refused.
        """
        waiting: list[Node] = [root]
        seen: set[int] = set()
        while waiting:
            node = waiting.pop()
            if id(node) in seen or isinstance(node, ScalarNode):
                continue
            seen.add(id(node))
            if isinstance(node, SequenceNode):
                waiting += node.items
                continue
            waiting += (member.value for member in node.members.values())
            for name in _DIRECTIVES:
                if name in node.members:
                    message = f"`{name}` works on entries only"
                    self.fault("misplaced-directive", message, node.members[name].key)

    def duplicate(self, path: NodePath, name: str, first: Node, second: Node) -> None:
        self.faults.append(duplicate_id(path, name, first, second))

    def fault(self, code: str, message: str, span: Span) -> None:
        self.faults.append(Diagnostic(code, message, span))


def _is_section(path: NodePath) -> bool:
    is_list = list_at(path) is not None
    path = inside(path)
    return (
        is_list
        or path[-1:] == ("with",)
        or path in ENTRY_PATHS
        or (len(path) == 1 and path[0] in SECTIONS)
    )


def _naming(entry: Node) -> Span:
    if isinstance(entry, MappingNode):
        for key in _NAMING:
            node = entry.get(key)
            if node is not None:
                return node.span
    return entry.span


class _Position(NamedTuple):
    anchor: str
    word: _Word
    span: Span


def _is_placed(entry: MappingNode) -> bool:
    """Tell whether `entry` says where it stands."""
    return "$before" in entry.members or "$after" in entry.members


def _placed(
    ids: Collection[str], moves: dict[str, MappingNode], faults: list[Diagnostic]
) -> list[str]:
    """Put each moved entry beside its anchor; several `$after` one anchor keep their order.

    An anchor that is moved itself is placed first, wherever the overlay names it.
    """
    places = {
        name: place for name, item in moves.items() if (place := _place(ids, name, item, faults))
    }
    beside: dict[tuple[str, _Word], list[str]] = {}
    for name, place in places.items():
        beside.setdefault((place.anchor, place.word), []).append(name)
    order: list[str] = []
    waiting = [(name, False) for name in reversed(list(ids)) if name not in places]
    while waiting:  # a loop, for a chain of places may be as long as the list
        name, is_reached = waiting.pop()
        if is_reached:
            order.append(name)
            continue
        waiting += [(other, False) for other in reversed(beside.get((name, "$after"), ()))]
        waiting.append((name, True))
        waiting += [(other, False) for other in reversed(beside.get((name, "$before"), ()))]
    for name in places.keys() - set(order):
        message = f"the place of `{name}` depends on its own"
        faults.append(Diagnostic("unknown-id", message, places[name].span))
    return order


def _unknown_id(name: str, span: Span, known: Iterable[str], word: str, *, told: int) -> Diagnostic:
    """Say that the directive `word` names an entry that is not there."""
    names = (candidate for candidate in known if not candidate.startswith("#"))
    message = f"`{word}` names `{name}`, and there is none"
    return Diagnostic("unknown-id", message, span, help=did_you_mean(name, names, told=told))


def _place(
    ids: Collection[str], name: str, item: MappingNode, faults: list[Diagnostic]
) -> _Position | None:
    """Return what `item` is placed beside; a fault gives None."""
    word: _Word = "$before" if "$before" in item.members else "$after"
    node = item.members[word].value
    anchor = node.value if isinstance(node, ScalarNode) else None
    if "$before" in item.members and "$after" in item.members:
        both = "an entry takes `$before` or `$after`, not both"
        faults.append(Diagnostic("misplaced-directive", both, item.members["$after"].key))
    elif anchor is None or isinstance(anchor, bool):
        message = f"`{word}` takes the id of an entry"
        faults.append(Diagnostic("bad-value", message, node.span))
    elif str(anchor) == name:
        message = f"`{name}` cannot be placed beside itself"
        faults.append(Diagnostic("unknown-id", message, node.span))
    elif str(anchor) not in ids:
        others = (known for known in ids if known != name)
        faults.append(_unknown_id(str(anchor), node.span, others, word, told=len(faults)))
    else:
        return _Position(str(anchor), word, node.span)
    return None
