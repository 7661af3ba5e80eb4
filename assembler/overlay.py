"""A manifest and all that it extends → one document, every node still from its own file.

In: a path. Out: a `Mapping` without `extends` and without directives (`$remove`, `$replace`,
`$before`, `$after`), whose nodes' spans tell which file each value came from. A file without
`extends` is merged onto nothing, so one set of rules holds for every file.

Refuses cycles, bases that cannot be read, directives that name nothing or stand where no entry
is, and two entries of one id.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from assembler.entries import ENTRY_LISTS, SECTIONS, entry_id
from assembler.errors import (
    Diagnostic,
    File,
    ManifestError,
    Note,
    Span,
    UsageError,
    did_you_mean,
    raise_faults,
)
from assembler.source import Mapping, Member, Node, Scalar, Sequence, read, read_file, walk

_DIRECTIVES = ("$remove", "$replace", "$before", "$after")
_NAMING = ("id", "catch", "mount", "use", "prefix")  # what an entry may be called by
_NodePath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """The merged tree, the path it was read from, and every file that took part, base first."""

    root: Mapping
    path: Path
    files: tuple[Path, ...]


def load_document(path: Path, override: Mapping | None = None) -> Document:
    """Read `path` and its bases and merge them; `override` goes on top.

    Raises `ManifestError` with all faults of the texts, or else all of the merge.
    """
    chain = _read_chain(path)
    merger = _Merger()
    root = Mapping({}, chain[-1][1].span)
    for _, layer in chain:
        root = merger.mapping(root, layer, ())
    root = Mapping(root.members, chain[-1][1].span)
    if override is not None:
        root = merger.mapping(root, override, ())
    merger.finish(root)
    raise_faults(merger.faults)
    return Document(root, path, tuple(file for file, _ in chain))


def shown_name(path: Path) -> str:
    """Return `path` relative to the current folder where it lies below it, else as it is."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return os.path.relpath(path) if not path.is_absolute() else path.as_posix()


def _read_chain(path: Path) -> list[tuple[Path, Mapping]]:
    """Read the file, then its base, then that one's: base first in the result."""
    chain: list[tuple[Path, Mapping]] = []
    faults: list[Diagnostic] = []
    seen: dict[Path, Span | None] = {path.resolve(): None}
    following: Path | None = path
    named: Span | None = None
    while following is not None:
        here, following = following, None
        try:
            layer = _read_layer(here)
        except UsageError as error:
            if named is None:
                raise
            remedy = did_you_mean(here.name, _siblings(here))
            faults.append(Diagnostic("extends-not-found", str(error), named, help=remedy))
            break
        except ManifestError as error:
            faults += error.diagnostics
            break
        base = layer.get("extends")
        members = {key: member for key, member in layer.members.items() if key != "extends"}
        chain.insert(0, (here, Mapping(members, layer.span)))
        if isinstance(base, Scalar) and isinstance(base.value, str) and "${" in base.value:
            message = "`extends` takes no reference"
            remedy = "write the value out"
            faults.append(Diagnostic("misplaced-reference", message, base.span, help=remedy))
        elif isinstance(base, Scalar) and isinstance(base.value, str) and base.value:
            following, named = here.parent / base.value, base.span
            if following.resolve() in seen:
                faults.append(
                    Diagnostic(
                        "extends-cycle", f"`{base.value}` is already part of this chain", named
                    )
                )
                break
            seen[following.resolve()] = named
        elif base is not None:
            faults.append(
                Diagnostic("bad-value", "`extends` takes the path of one manifest", base.span)
            )
    raise_faults(faults)
    return chain


def _siblings(path: Path) -> list[str]:
    try:
        return [other.name for other in path.parent.iterdir() if other.is_file()]
    except OSError:
        return []


def _read_layer(path: Path) -> Mapping:
    file: File = read_file(path, shown_name(path))
    node = read(file)
    if isinstance(node, Scalar) and node.value is None:
        return Mapping({}, node.span)
    if isinstance(node, Mapping):
        return node
    fault = Diagnostic(
        "bad-value",
        "a manifest is a mapping of sections",
        node.span,
        help="start with `manifest: 1`",
    )
    raise ManifestError((fault,))


@dataclass(slots=True)
class _Merger:
    faults: list[Diagnostic] = field(default_factory=list)

    def mapping(self, base: Mapping, layer: Mapping, path: _NodePath) -> Mapping:
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
                self.remove(members, key, member, here)
            elif key not in members or is_whole:
                members[key] = Member(member.key, self.onto_nothing(value, here))
            else:
                old = members[key]
                merged = self.value(old.value, value, here)
                members[key] = old if merged is old.value else Member(member.key, merged)
        return Mapping(members, base.span if base.members else layer.span)

    def value(self, base: Node, layer: Node, path: _NodePath) -> Node:
        if isinstance(base, Mapping) and isinstance(layer, Mapping):
            return self.mapping(base, layer, path)
        if path in ENTRY_LISTS and isinstance(base, Sequence) and isinstance(layer, Sequence):
            return self.entries(base, layer, path)
        is_empty = isinstance(layer, Scalar) and layer.value is None
        if is_empty and not isinstance(base, Scalar) and _is_section(path):
            return base
        return self.onto_nothing(layer, path)

    def onto_nothing(self, layer: Node, path: _NodePath) -> Node:
        """Merge a new value onto nothing, so that directives inside it are judged as well."""
        if isinstance(layer, Mapping):
            empty = Mapping({}, layer.span)
            return self.without_directives(self.mapping(empty, layer, path), ("$replace",))
        if path in ENTRY_LISTS and isinstance(layer, Sequence):
            return self.entries(Sequence((), layer.span), layer, path)
        return layer

    def entries(self, base: Sequence, layer: Sequence, path: _NodePath) -> Sequence:
        """Merge two lists of entries by id; positions are taken after removals."""
        ids: dict[str, Node] = {}
        for index, item in enumerate(base.items):
            ids[entry_id(path, item) or f"#{index}"] = item
        added: dict[str, Node] = {}
        moves: list[tuple[str, Mapping]] = []
        for item in layer.items:
            if self.is_set(item, "$remove") and isinstance(item, Mapping):
                self.remove_entry(ids, item, path)
        for index, item in enumerate(layer.items):
            if self.is_set(item, "$remove"):
                continue
            name = entry_id(path, item) or f"#{len(ids)}.{index}"
            if name in added:
                self.duplicate(path, name, added[name], item)
                continue
            added[name] = item
            ids[name] = self.entry(ids.get(name), item, path)
            if isinstance(item, Mapping) and (
                "$before" in item.members or "$after" in item.members
            ):
                moves.append((name, item))
        return Sequence(tuple(self.moved(ids, moves)), layer.span)

    def entry(self, base: Node | None, item: Node, path: _NodePath) -> Node:
        here = (*path, "*")
        if (
            isinstance(base, Mapping)
            and isinstance(item, Mapping)
            and not self.is_set(item, "$replace")
        ):
            merged: Node = self.mapping(base, item, here)
        else:
            merged = self.onto_nothing(item, here)
        if isinstance(merged, Mapping):
            return self.without_directives(merged, ("$replace", "$before", "$after"))
        return merged

    def moved(self, ids: dict[str, Node], moves: list[tuple[str, Mapping]]) -> Iterable[Node]:
        """Put each moved entry beside its anchor; several `$after` one anchor keep their order.

        An anchor that is moved itself is placed first, wherever the overlay names it.
        """
        anchors = {name: found for name, item in moves if (found := self.anchor(ids, name, item))}
        order = [name for name in ids if name not in anchors]
        last: dict[str, str] = {}
        while anchors:
            ready = [name for name, (anchor, _) in anchors.items() if anchor not in anchors]
            for name in ready:
                anchor, word = anchors.pop(name)
                beside = last.get(anchor, anchor) if word == "$after" else anchor
                order.insert(order.index(beside) + (word == "$after"), name)
                if word == "$after":
                    last[anchor] = name
            if not ready:
                self.circle(anchors, dict(moves))
                break
        return (ids[name] for name in order)

    def anchor(
        self, ids: dict[str, Node], name: str, item: Mapping
    ) -> tuple[str, Literal["$before", "$after"]] | None:
        """Return the entry that `item` is placed beside; a fault gives None."""
        word: Literal["$before", "$after"] = "$before" if "$before" in item.members else "$after"
        node = item.members[word].value
        anchor = node.value if isinstance(node, Scalar) else None
        if "$before" in item.members and "$after" in item.members:
            both = "an entry takes `$before` or `$after`, not both"
            self.fault("misplaced-directive", both, item.members["$after"].key)
        elif anchor is None or isinstance(anchor, bool):
            self.fault("bad-value", f"`{word}` takes the id of an entry", node.span)
        elif str(anchor) == name:
            self.fault("unknown-id", f"`{name}` cannot be placed beside itself", node.span)
        elif str(anchor) not in ids:
            others = [known for known in ids if known != name]
            self.unknown(str(anchor), node.span, others, word)
        else:
            return str(anchor), word
        return None

    def circle(self, anchors: Iterable[str], items: dict[str, Mapping]) -> None:
        for name in anchors:
            directives = [items[name].get(word) for word in ("$before", "$after")]
            span = next(node.span for node in directives if node is not None)
            self.fault("unknown-id", f"the place of `{name}` depends on its own", span)

    def remove(self, members: dict[str, Member], key: str, member: Member, path: _NodePath) -> None:
        if key not in members:
            self.unknown(key, member.key, members, "$remove")
        else:
            del members[key]
        self.only_named(key, member.value, ("$remove",))

    def remove_entry(self, ids: dict[str, Node], item: Mapping, path: _NodePath) -> None:
        name = entry_id(path, item)
        if name is None:
            place = item.members["$remove"].key
            self.fault("unknown-id", "`$remove` needs the `id` of an entry", place)
        elif name not in ids:
            self.unknown(name, _naming(item), ids, "$remove")
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
        if not isinstance(node, Mapping) or directive not in node.members:
            return False
        value = node.members[directive].value
        if isinstance(value, Scalar) and isinstance(value.value, bool):
            return value.value
        fault = Diagnostic("bad-value", f"`{directive}` takes true or false", value.span)
        if fault not in self.faults:
            self.faults.append(fault)
        return False

    def without_directives(self, node: Mapping, names: tuple[str, ...]) -> Mapping:
        # `$remove: false` is a no-op that an author may leave in; it goes as well.
        drop = {name for name in (*names, "$remove") if name in node.members}
        if not drop:
            return node
        return Mapping({k: m for k, m in node.members.items() if k not in drop}, node.span)

    def finish(self, root: Mapping) -> None:
        """Refuse directives that no rule consumed."""
        for _, node in walk(root):
            if isinstance(node, Mapping):
                for name in _DIRECTIVES:
                    if name in node.members:
                        key = node.members[name].key
                        self.fault("misplaced-directive", f"`{name}` works on entries only", key)

    def duplicate(self, path: _NodePath, name: str, first: Node, second: Node) -> None:
        place = _naming(second)
        note = Note(_naming(first), "first here")
        self.faults.append(
            Diagnostic(
                "duplicate-id",
                f"two entries of `{path[-1]}` are called `{name}`",
                place,
                notes=(note,),
                help="give one of them an `id` of its own",
            )
        )

    def unknown(self, name: str, span: Span, known: Iterable[str], word: str) -> None:
        names = [candidate for candidate in known if not candidate.startswith("#")]
        self.faults.append(
            Diagnostic(
                "unknown-id",
                f"`{word}` names `{name}`, and there is none",
                span,
                help=did_you_mean(name, names),
            )
        )

    def fault(self, code: str, message: str, span: Span) -> None:
        self.faults.append(Diagnostic(code, message, span))


def _is_section(path: _NodePath) -> bool:
    return (
        path[-1] == "with"
        or path == ("scheduler", "jobs")
        or (len(path) == 1 and path[0] in SECTIONS)
    )


def _naming(entry: Node) -> Span:
    if isinstance(entry, Mapping):
        for key in _NAMING:
            node = entry.get(key)
            if node is not None:
                return node.span
    return entry.span
