"""The one table of the sections that hold entries, and what an entry is called.

In: the path of a section, and the node of one of its entries. Out: the facts of the section, and the
entry's id, by which overlays merge it and logs, diffs and reports name it. An entry without anything
to be called by has no id, and the shape check says what it lacks.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from assembler.document.nodes import MappingNode, Member, Node, NodePath, ScalarNode, SequenceNode


class EntrySection(NamedTuple):
    """One section: where it stands, what one of its entries is called, what their order does.

    `in_order` says what is done to the entries one after the other; it is empty where their order
    has no meaning. `is_mapping` where the keys are the ids: all others are lists. `is_short` where a
    text may stand for an entry that has it as its `use`, and no more. `is_of_process` where a process
    has the entries once, whatever manifest says them, and else each application for itself.
    """

    path: NodePath
    singular: str
    in_order: str
    is_mapping: bool = False
    is_short: bool = False
    is_of_process: bool = False

    @property
    def name(self) -> str:
        """The path as addresses and findings write it."""
        return ".".join(map(str, self.path))


_TABLE = (
    EntrySection(("resources",), "resource", "opened", is_mapping=True, is_of_process=True),
    EntrySection(("lifespan",), "lifespan", "entered", is_short=True, is_of_process=True),
    EntrySection(("middleware",), "layer", "passed"),
    EntrySection(("exception_handlers",), "handler", ""),
    EntrySection(("configure",), "function", "called"),
    EntrySection(("routes",), "route", "matched"),
    EntrySection(("finish",), "function", "called"),
    EntrySection(("startup",), "step of the start", "run", is_of_process=True),
    EntrySection(("scheduler", "jobs"), "job", "", is_of_process=True),
    EntrySection(("background",), "loop", "", is_of_process=True),
    EntrySection(("shutdown",), "step of the end", "run", is_of_process=True),
)
ENTRIES: Mapping[str, EntrySection] = MappingProxyType(
    {section.name: section for section in _TABLE}
)
ENTRY_LISTS = frozenset(section.path for section in _TABLE if not section.is_mapping)
ENTRY_PATHS = frozenset(section.path for section in _TABLE)
_SHORT = frozenset(section.path for section in _TABLE if section.is_short)
SCOPED = ("middleware", "exception_handlers")
"""The lists that a route may have of its own."""
# Those at the top, where no value means an empty one.
SECTIONS = frozenset({str(section.path[0]) for section in _TABLE}) | {
    "app",
    "logging",
    "server",
    "audit",
    "expect",
}


INNER = "manifest"
"""The key of a mount under which another manifest stands."""


def inside(path: NodePath) -> NodePath:
    """Return `path` as the innermost of the manifests says it that stand one in another."""
    while len(path) > 2 and path[2] == INNER and path[0] == "routes":
        path = path[3:]
    return path


def entry_id(path: NodePath, entry: Node) -> str | None:
    """Return the `id` of an entry of the list at `path`, or what stands for it.

    A handler is called by its `catch`, a mount by its path, an endpoint by
    its methods and path, a router by its `use` and prefix, SQL
    by its section's name, all others by their `use`.
    """
    if not isinstance(entry, MappingNode):
        return None
    given = _text(entry, "id")
    if given is not None:
        return given
    if path[-1] == "exception_handlers":
        return _text(entry, "catch")
    if inside(path) == ("routes",):
        prefix = _text(entry, "prefix")
        use = _text(entry, "use")
        return (
            _text(entry, "mount")
            or _endpoint(entry)
            or (f"{use} {prefix}" if use and prefix else use)
            or (f"frontend {prefix or '/'}" if "frontend" in entry.members else None)
        )
    return _text(entry, "use") or ("sql" if "sql" in entry.members else None)


def list_at(path: NodePath) -> NodePath | None:
    """Return the section whose entries the list at `path` has, a route's own included, or None."""
    path = inside(path)
    if path in ENTRY_LISTS:
        return path
    is_scoped = len(path) == 3 and path[0] == "routes" and path[2] in SCOPED
    return path[2:] if is_scoped else None


def whole_entry(path: NodePath, entry: Node) -> Node:
    """Return an entry of the list at `path`, where it is a text as the mapping that it stands for."""
    if inside(path) in _SHORT and isinstance(entry, ScalarNode) and isinstance(entry.value, str):
        return MappingNode({"use": Member(entry.span, entry)}, entry.span)
    return entry


def _endpoint(entry: MappingNode) -> str | None:
    """Return the methods and the path of a single endpoint."""
    path, methods = _text(entry, "path"), entry.get("methods")
    named = methods.items if isinstance(methods, SequenceNode) else ()
    texts = [item.value for item in named if isinstance(item, ScalarNode)]
    names = [text for text in texts if isinstance(text, str)] or ["GET"]
    return None if path is None else f"{','.join(names)} {path}"


def _text(entry: MappingNode, key: str) -> str | None:
    node = entry.get(key)
    if (
        isinstance(node, ScalarNode)
        and isinstance(node.value, str | int)
        and node.value is not True
    ):
        return str(node.value)
    return None
