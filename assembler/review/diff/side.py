"""One side of a comparison: a merged document, and where it was read from.

In: the path of a manifest, and a shelf: the disk, or a commit. Out: a `Side`. Raises what reading
and checking the shape of a manifest raise. Needs no environment and no code.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from assembler.diagnostics.errors import ManifestError, UsageError
from assembler.document.extends import DISK, Shelf
from assembler.document.merge import Document
from assembler.document.mounted import apart, each
from assembler.document.nodes import (
    MappingNode,
    Node,
    NodePath,
    ScalarNode,
    SequenceNode,
    as_written,
)
from assembler.plan.load import load_shape


@dataclass(frozen=True)
class Side:
    """A manifest as one side has it; `outer` is the one in which it is mounted."""

    document: Document
    shelf: Shelf
    outer: "Side | None" = None

    @property
    def name(self) -> str:
        """What findings call its file."""
        return self.shelf.name(self.document.path)

    @property
    def root(self) -> MappingNode:
        """The merged tree."""
        return self.document.root

    @cached_property
    def hash(self) -> str:
        """SHA-256 of what the manifest says: equal ones mean the same.

        The order of resources and the text of SQL files count as well, comments and quotes do not.
        """
        said: list[Any] = [as_written(self.root)]
        for _, part in each(self.document):
            resources = part.root.get("resources")
            order = list(resources.members) if isinstance(resources, MappingNode) else []
            said += [order, self._file_texts(part.root)]
        text = json.dumps(said, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The texts of the manifest and all that it extends, the base first."""
        return tuple(self.shelf.read(path).text for path in self.document.files)

    def node(self, path: NodePath) -> Node | None:
        """Return the node at a path of keys, or None."""
        node: Node | None = self.root
        for key in path:
            node = node.get(str(key)) if isinstance(node, MappingNode) else None
        return node

    def text(self, path: NodePath) -> str | None:
        """Return the text at a path, or None."""
        node = self.node(path)
        return node.value if isinstance(node, ScalarNode) and isinstance(node.value, str) else None

    def statement(self, node: MappingNode) -> str | None:
        """Return the text of a statement, None where its file cannot be read."""
        run, file = node.get("run"), node.get("file")
        if isinstance(run, ScalarNode):
            return str(run.value)
        if not isinstance(file, ScalarNode) or not isinstance(file.value, str):
            return None
        path = self._folders.get(file.span.file.name, self.document.path.parent) / file.value
        if self.shelf.refusal(self.document.project, path) is not None:
            return None
        try:
            return self.shelf.read(path).text
        except (UsageError, ManifestError):
            return None

    @cached_property
    def _folders(self) -> dict[str, Path]:
        return {self.shelf.name(path): path.parent for path in self.document.files}

    @property
    def outermost(self) -> "Side":
        """The manifest of the process, which has the scheduler of all."""
        return self if self.outer is None else self.outer.outermost

    def apart(self) -> "tuple[Side, dict[int, Side]]":
        """Return the manifest by itself, and those mounted in it by the indices of their routes."""
        document, found = apart(self.document)
        own = replace(self, document=document)
        return own, {index: Side(inner, self.shelf, own) for index, inner in found}

    def _file_texts(self, root: MappingNode) -> list[Any]:
        startup = root.get("startup")
        steps = startup.items if isinstance(startup, SequenceNode) else ()
        lists = [step.get("sql") for step in steps if isinstance(step, MappingNode)]
        return [
            self.statement(item)
            for node in lists
            if isinstance(node, SequenceNode)
            for item in node.items
            if isinstance(item, MappingNode) and "file" in item.members
        ]


def read_side(path: Path, shelf: Shelf = DISK) -> Side:
    """Read one side; raises `UsageError` or `ManifestError` where it is no valid manifest."""
    document, _ = load_shape(path, shelf=shelf)
    return Side(document, shelf)
