"""Which lists of a manifest hold entries, and what an entry is called.

In: the path of a list, and the node of one of its entries. Out: the entry's id, by which overlays
merge it and logs, diffs and reports name it. Refuses nothing: an entry without anything to be
called by has no id, and the shape check says what it lacks.
"""

from assembler.document.nodes import MappingNode, Node, NodePath, ScalarNode

ENTRY_LISTS: frozenset[NodePath] = frozenset(
    {
        ("middleware",),
        ("exception_handlers",),
        ("configure",),
        ("routes",),
        ("startup",),
        ("scheduler", "jobs"),
        ("shutdown",),
    }
)
SECTIONS: frozenset[str] = frozenset(
    {"app", "logging", "resources", "scheduler", "server", "audit", "expect"}
    | {path[0] for path in ENTRY_LISTS if isinstance(path[0], str) and len(path) == 1}
)


def entry_id(path: NodePath, entry: Node) -> str | None:
    """Return the `id` of an entry of the list at `path`, or what stands for it.

    A handler is called by its `catch`, a mount by its path, a router by its `use` and prefix, SQL
    by its section's name, all others by their `use`.
    """
    if not isinstance(entry, MappingNode):
        return None
    given = _text(entry, "id")
    if given is not None:
        return given
    if path == ("exception_handlers",):
        return _text(entry, "catch")
    if path == ("routes",):
        prefix = _text(entry, "prefix")
        use = _text(entry, "use")
        return _text(entry, "mount") or (f"{use} {prefix}" if use and prefix else use)
    return _text(entry, "use") or ("sql" if "sql" in entry.members else None)


def _text(entry: MappingNode, key: str) -> str | None:
    node = entry.get(key)
    if (
        isinstance(node, ScalarNode)
        and isinstance(node.value, str | int)
        and node.value is not True
    ):
        return str(node.value)
    return None
