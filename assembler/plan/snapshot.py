"""A manifest on disk → all texts that a plan of it is made of, in memory, with a digest.

In: a path, an environment. Out: a `Snapshot`: the bytes of the manifest, of all that it extends and
of its SQL files, and its import list. It is a shelf: a plan that is loaded from it reads no manifest
of the disk, so that processes which are started one after the other cannot differ. Python code and
`.env` files are no part of it. Refuses what reading and checking the shape refuse.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from assembler.diagnostics.errors import UsageError
from assembler.diagnostics.secrets import Secrets
from assembler.diagnostics.span import File, one_line
from assembler.document.extends import Recording, Shelf, absolute
from assembler.document.interpolation import Resolver
from assembler.document.merge import Document
from assembler.document.parser import decoded
from assembler.plan.allow_list import ImportList, read_import_list
from assembler.plan.load import Plan, digest_of, load, load_shape
from assembler.plan.sql.statement import SqlStep, read_sql

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
        return digest_of(self.path, self.files, self.imports)

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

    def document_and_sql(self) -> tuple[Document, list[SqlStep]]:
        """Return the merged manifest and its SQL; imports nothing and reads no variable."""
        document, manifest = load_shape(self.path, shelf=self)
        steps, _ = read_sql(manifest, document, Resolver(None, None, Secrets()), self)
        return document, steps

    def load(self) -> Plan:
        """Make the plan, with the variables of the snapshot. Raises as `load` does."""
        return load(self.path, environment=self.environment, shelf=self, imports=self.imports)


def take_snapshot(path: Path, environment: Mapping[str, str]) -> Snapshot:
    """Read the manifest at `path` and all that it names; runs no code of the manifest.

    Raises `UsageError` where there is no such file, `ManifestError` where text, shape or the syntax
    of references are wrong. SQL that cannot be read is told by whoever loads the plan.
    """
    shelf = Recording()
    document, manifest = load_shape(path, shelf=shelf)
    read_sql(manifest, document, Resolver(None, None, Secrets()), shelf)
    return Snapshot(path, shelf.files, read_import_list(path), dict(environment))
