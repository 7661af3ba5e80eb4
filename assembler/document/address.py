"""`middleware.per-ip.with.limit` → the path of that value in a document.

In: a merged tree, and an address in which the entries of lists are named by their ids. Out: keys
and indices from the root; keys that are not there yet are taken as they stand, so that a value can
be put where none was. Refuses an id that no entry has.
"""

from collections.abc import Iterable

from assembler.diagnostics.errors import UsageError
from assembler.diagnostics.suggest import did_you_mean
from assembler.document.nodes import MappingNode, Node, NodePath, SequenceNode
from assembler.document.sections import entry_id, list_at


class UnknownEntry(UsageError):  # noqa: N818  # named for what an address has
    """An address names an entry that is not there; `help` may name the one that was meant."""

    def __init__(self, section: str, name: str, help: str | None) -> None:
        message = f"`{section}` has no entry that `{name}` names"
        super().__init__(f"{message}\n  = help: {help}" if help else message)
        self.message = message
        self.help = help


def path_of(root: MappingNode, address: str) -> NodePath:
    """Return the path that `address` names; raises `UnknownEntry` for one that is not there.

    Ids and keys may hold dots themselves: the longest one that is there wins.
    """
    path: NodePath = ()
    node: Node | None = root
    rest = address
    while rest:
        found = _step(node, path, rest)
        if found is None:
            section = address.removesuffix(rest).rstrip(".")
            raise UnknownEntry(section, *_meant(node, path, rest))
        name, step, node = found
        path = (*path, step)
        rest = rest[len(name) + 1 :]
    return path


def address_of(root: MappingNode, path: NodePath) -> str:
    """Return the address of a path, its entries named by their ids."""
    names: list[str] = []
    node: Node = root
    for index, segment in enumerate(path):
        here = path[:index]
        if isinstance(node, SequenceNode) and isinstance(segment, int):
            node = node.items[segment]
            names.append((list_at(here) and entry_id(here, node)) or str(segment))
        elif isinstance(node, MappingNode):
            node = node.members[str(segment)].value
            names.append(str(segment))
    return ".".join(names)


def stands(root: MappingNode, path: NodePath) -> bool:
    """Tell whether the document has a value at `path`."""
    node: Node = root
    for segment in path:
        if (
            isinstance(node, SequenceNode)
            and isinstance(segment, int)
            and segment < len(node.items)
        ):
            node = node.items[segment]
        elif isinstance(node, MappingNode) and segment in node.members:
            node = node.members[str(segment)].value
        else:
            return False
    return True


def _step(
    node: Node | None, path: NodePath, rest: str
) -> tuple[str, str | int, Node | None] | None:
    """Take one name off `rest`: the name, the key or index it stands for, and what is there."""
    if isinstance(node, SequenceNode):
        indices = _indices(node, path)
        name = _longest(indices, rest)
        return None if name is None else (name, indices[name], node.items[indices[name]])
    members = node.members if isinstance(node, MappingNode) else {}
    name = _longest(members, rest) or rest.partition(".")[0]
    return name, name, members[name].value if name in members else None


def _indices(node: SequenceNode, path: NodePath) -> dict[str, int]:
    """Return what each item is called: its id in a list of entries, else its index."""
    has_ids = list_at(path) is not None
    return {
        (has_ids and entry_id(path, item)) or str(index): index
        for index, item in enumerate(node.items)
    }


def _longest(names: Iterable[str], rest: str) -> str | None:
    known = [name for name in names if rest == name or rest.startswith(name + ".")]
    return max(known, key=len) if known else None


def _meant(node: Node | None, path: NodePath, rest: str) -> tuple[str, str | None]:
    """Return the part of `rest` that names no item, and the help where one name is certain."""
    items = node.items if isinstance(node, SequenceNode) else ()
    keys = {key for item in items if isinstance(item, MappingNode) for key in item.members}
    parts = rest.split(".")
    if list_at(path) is None:
        return parts[0], None
    ids = [name for item in items if (name := entry_id(path, item))]
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        remedy = did_you_mean(name, ids)
        if remedy:
            return name, remedy
    end = next((index for index, part in enumerate(parts) if index and part in keys), len(parts))
    return ".".join(parts[:end]), None
