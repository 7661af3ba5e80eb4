"""An entry of a document → what it is called, and its options as far as they are known.

In: a node of the merged tree. Out: an `Item`. An option that a reference gives is `Unknown`, unless
the reference has a default: then that is what counts.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from assembler.diagnostics.span import Span
from assembler.document.interpolation import Reference, parse
from assembler.document.nodes import MappingNode, Node, NodePath, ScalarNode, SequenceNode, locate
from assembler.document.parser import plain_value
from assembler.document.provenance import Unknown
from assembler.manifest.duration import parse_duration
from assembler.manifest.section import resource_id

# What an entry that is no layer is for shows in the name of what it names, if anywhere.
PROBE = re.compile(
    r"(?<![a-z])(health\w*|readiness|readyz|liveness|livez|probes?)(?![a-z])", re.IGNORECASE
)
MEMORY = re.compile(r"memory|in_?process|local_?cache|lru", re.IGNORECASE)
ENGINE = re.compile(r"engine|create_pool", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Item:
    """One entry, or a section with options of its own: `options` is where they stand."""

    section: str
    path: NodePath
    node: MappingNode
    options: MappingNode
    span: Span  # of `use`, or of the section's key
    id: str = ""
    use: str = ""
    front: str = ""  # the path under which its manifest is mounted

    def seen_by(self, layer: "Item", path: str) -> str:
        """Return a path of this entry as a layer reads it: below the mount of the layer's manifest."""
        return f"{self.front}{path}".removeprefix(layer.front)

    @property
    def name(self) -> str:
        """The last part of `use`: of a class or factory, its name."""
        return self.use.replace(":", ".").rpartition(".")[2]

    @property
    def called(self) -> str:
        """The id as a message shows it: one without dots, or else the name."""
        name = f"`{self.id if '.' not in self.id else self.name}`"
        return f"the handler of {name}" if self.section == "exception_handlers" else name

    @property
    def dependencies(self) -> list[str]:
        """The paths of what runs before the routes of an entry."""
        node = self.node.get("dependencies")
        found = (
            item.get("use") if isinstance(item, MappingNode) else item
            for item in (node.items if isinstance(node, SequenceNode) else ())
        )
        return [str(use.value) for use in found if isinstance(use, ScalarNode)]

    def is_a(self, kind: re.Pattern[str]) -> bool:
        """Tell whether the name says that it is of a kind."""
        return kind.search(self.name) is not None

    def has(self, *keys: str) -> bool:
        """Tell whether the option is given, null included."""
        return locate(self.options, keys)[1] is not None

    def value(self, key: str, default: Any = None) -> Any:
        """Return an option as far as it is known without variables."""
        node = self.options.get(key)
        return default if node is None else judged(node)

    def flag(self, key: str) -> bool:
        """Tell whether an option is surely true."""
        return self.value(key) is True

    def texts(self, key: str) -> list[str]:
        """Return the texts of a list, or of the commas of one text; those that are known."""
        value = self.value(key)
        if isinstance(value, str) and not isinstance(value, Unknown):
            return [part.strip() for part in value.split(",")]
        found = value if isinstance(value, list) else []
        return [item for item in found if isinstance(item, str) and not isinstance(item, Unknown)]

    def place(self, key: str) -> Span:
        """Return where the value of an option stands, or else `use`."""
        node = self.options.get(key)
        return self.span if node is None else first_line(node.span)

    def resource(self, key: str) -> str | None:
        """Return the id of the resource that an option names."""
        node = self.options.get(key)
        return resource_id(node.value) if isinstance(node, ScalarNode) else None


def item_of(section: str, path: NodePath, node: Node, name: str, front: str = "") -> Item:
    """Return the entry at a path; `name` is its id, `front` where its manifest is mounted."""
    entry = node if isinstance(node, MappingNode) else MappingNode({}, node.span)
    options = entry.get("with")
    use = entry.get("use")
    return Item(
        section,
        path,
        entry,
        options if isinstance(options, MappingNode) else MappingNode({}, entry.span),
        first_line((use or entry).span),
        name,
        str(use.value) if isinstance(use, ScalarNode) else "",
        front,
    )


def texts_of(node: Node) -> Iterator[str]:
    """Yield every text at and below a node."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, MappingNode):
            waiting += [member.value for member in node.members.values()]
        elif isinstance(node, SequenceNode):
            waiting += node.items
        elif isinstance(node.value, str):
            yield node.value


def judged(node: Node) -> Any:
    """Return a node's data; of a reference its default, or `Unknown`."""
    if isinstance(node, MappingNode):
        return {key: judged(member.value) for key, member in node.members.items()}
    if isinstance(node, SequenceNode):
        return [judged(item) for item in node.items]
    if not isinstance(node.value, str) or "$" not in node.value:
        return node.value
    parts = parse(node.value)
    if all(isinstance(part, str) for part in parts):
        return "".join(str(part) for part in parts)
    (first, *rest) = parts
    if not rest and isinstance(first, Reference) and first.operator == "-":
        try:
            return plain_value(first.argument)
        except OverflowError:
            return first.argument
    return Unknown(node.value)


def seconds_of(value: Any, default: float) -> float:
    """Return a duration in seconds, or the default where none is known."""
    if isinstance(value, str):
        with suppress(ValueError):
            return parse_duration(value).total_seconds()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else default


def first_line(span: Span) -> Span:
    """Return the part of a span that lies on its first line."""
    if span.end_line == span.line:
        return span
    width = len(span.file.lines[span.line - 1]) + 1
    return span._replace(end_line=span.line, end_column=max(width, span.column + 1))
