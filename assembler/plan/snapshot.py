"""A manifest on disk → all texts that a plan of it is made of, in memory, with a digest.

In: a path, an environment. Out: a `Snapshot`: the bytes of the manifest, of all that it extends and
of its SQL files, and its import list. It is a shelf: a plan that is loaded from it reads no manifest
of the disk, so that processes which are started one after the other cannot differ. Python code and
`.env` files are no part of it. Refuses what reading and checking the shape refuse.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from assembler.diagnostics.errors import AssemblerError, UsageError
from assembler.diagnostics.secrets import Secrets
from assembler.diagnostics.span import File, one_line
from assembler.document.extends import Recording, Shelf, absolute
from assembler.document.interpolation import Resolver, is_sql
from assembler.document.merge import Document, load_document
from assembler.document.nodes import ScalarNode, walk
from assembler.document.parser import decoded
from assembler.plan.allow_list import ImportList, read_import_list

if TYPE_CHECKING:
    from assembler.plan.load import Plan
    from assembler.plan.sql.statement import SqlStep

_SHORT = 12  # characters of a digest that people are shown


@dataclass(frozen=True)
class Snapshot(Shelf):
    """One manifest as it was at one moment; `files` has its bytes, or why there are none, by path."""

    path: Path
    files: Mapping[str, bytes | str] = field(repr=False)
    imports: ImportList
    environment: Mapping[str, str] = field(repr=False)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all texts and the import list, in hexadecimal; no variable is part of it."""
        return self.imports.digest(self.path, self.files)

    @property
    def short(self) -> str:
        """The digest as people are shown it."""
        return self.digest[:_SHORT]

    def read(self, path: Path) -> File:
        """Read one file as it was; raises what reading it raised then."""
        found = self.files.get(str(absolute(path)))
        name = self.name(path)
        if isinstance(found, bytes):
            return decoded(found, name)
        raise UsageError(found or f"cannot read `{one_line(name)}`: it is no part of the snapshot")

    def resolved(self, path: Path) -> Path:
        """Follow no link: one that leads elsewhere by now does not change what was read."""
        return absolute(path)

    def document_and_sql(self) -> "tuple[Document, list[SqlStep]]":
        """Return the merged manifest and its SQL; imports nothing and reads no variable."""
        from assembler.plan.load import read_document, shapes_of  # noqa: PLC0415  # who takes one needs no models

        document = read_document(self.path, shelf=self)
        parts = shapes_of(document)
        from assembler.plan.sql.statement import read_sql  # noqa: PLC0415  # as above

        resolver = Resolver(None, None, Secrets())
        read = (read_sql(manifest, part, resolver, self)[0] for _, part, manifest in parts)
        return document, [step for steps in read for step in steps]

    def load(self) -> "Plan":
        """Make the plan, with the variables of the snapshot. Raises as `load` does."""
        from assembler.plan.load import load  # noqa: PLC0415  # as above

        return load(self.path, environment=self.environment, shelf=self, imports=self.imports)


def take_snapshot(path: Path, environment: Mapping[str, str]) -> Snapshot:
    """Read the manifest at `path` and all that it names; runs no code, and judges no more than text.

    Raises `UsageError` where there is no such file, `ManifestError` where a text is wrong. What is
    wrong beyond that, and SQL that cannot be read, is told by whoever loads the plan.
    """
    shelf = Recording()
    document = load_document(path, shelf)
    for file in _sql_files(document, shelf):
        with suppress(AssemblerError):
            shelf.read(file)
    return Snapshot(path, shelf.files, read_import_list(path), dict(environment))


def _sql_files(document: Document, shelf: Shelf) -> Iterator[Path]:
    """Yield the files that statements of SQL name, each from beside the manifest that says so."""
    folders = {shelf.name(path): path.parent for path in document.files}
    for path, node in walk(document.root):
        if not (isinstance(node, ScalarNode) and is_sql(path) and path[-1] == "file"):
            continue
        if isinstance(node.value, str):
            yield folders.get(node.span.file.name, document.path.parent) / node.value
