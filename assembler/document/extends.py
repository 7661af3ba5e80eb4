"""A manifest and all that it extends → their trees, the last base first.

In: a path. Out: the path and the tree of each file, without `extends`. Refuses cycles, bases that
cannot be read or lie outside the project, an `extends` that is no path, and a manifest that is no
mapping.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from assembler.diagnostics.errors import Diagnostic, ManifestError, UsageError, raise_faults
from assembler.diagnostics.span import File, Span, one_line
from assembler.diagnostics.suggest import did_you_mean
from assembler.document.nodes import MappingNode, Node, ScalarNode, as_written
from assembler.document.parser import decoded, read, read_bytes, read_file
from assembler.document.project import Project, project_of


class Shelf:
    """Where manifests are read from: the disk. A review also has one for a commit of git."""

    def read(self, path: Path) -> File:
        """Read one manifest; raises `UsageError` where there is none."""
        return read_file(path, self.name(path))

    def refusal(self, project: Project, path: Path) -> str | None:
        """Return why a manifest of `project` may not have `path` read, or None."""
        return project.refusal(path)

    def name(self, path: Path) -> str:
        """Return what messages call a file."""
        return shown_name(path)

    def resolved(self, path: Path) -> Path:
        """Follow the links of `path`; what cannot be followed stays, and reading it tells why."""
        return _resolved(path)

    def siblings(self, path: Path) -> list[str]:
        """Name the files beside `path`, for help with a name that is not there."""
        try:
            return [other.name for other in path.parent.iterdir() if other.is_file()]
        except OSError:
            return []


DISK = Shelf()


class Recording(Shelf):
    """The disk, which remembers what was read of it; `files` has bytes, or why there are none."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | str] = {}

    def read(self, path: Path) -> File:
        """Read one manifest, and keep its bytes."""
        name = self.name(path)
        key = str(absolute(path))
        try:
            raw = self.files[key] = read_bytes(path, name)
        except UsageError as error:
            self.files[key] = str(error)
            raise
        return decoded(raw, name)


def absolute(path: Path) -> Path:
    """Return `path` from the root, with its links as they are."""
    return Path(os.path.abspath(path))  # noqa: PTH100  # `resolve` would follow them


def digest(path: Path, files: Mapping[str, bytes | str], *more: str) -> str:
    """Return the SHA-256 of files and of `more`, in hexadecimal.

    Files count by where they lie beside the manifest at `path`, so that checkouts elsewhere agree.
    """
    folder = absolute(path).parent
    names = {Path(os.path.relpath(file, folder)).as_posix(): file for file in files}
    found = hashlib.sha256(repr(more).encode("utf-8", "surrogatepass"))
    for name, file in sorted(names.items()):
        text = files[file]
        raw = text if isinstance(text, bytes) else b""
        called = name.encode("utf-8", "surrogateescape")
        found.update(b"%d:%s%d:%s" % (len(called), called, len(raw), raw))
    return found.hexdigest()


def read_chain(
    path: Path, shelf: Shelf = DISK, project: Project | None = None
) -> list[tuple[Path, MappingNode]]:
    """Read the file, then its base, then that one's: base first in the result.

    The files lie in `project`, or in that of `path` itself.
    Raises `UsageError` where `path` cannot be read, `ManifestError` with every other fault.
    """
    chain: list[tuple[Path, MappingNode]] = []
    faults: list[Diagnostic] = []
    seen: set[Path] = set()
    project = project or project_of(path)
    here: Path | None = path
    named: Span | None = None
    while here is not None:
        seen.add(shelf.resolved(here))
        try:
            layer = _read_named(here, named, shelf)
        except ManifestError as error:
            faults += error.diagnostics
            break
        members = {key: member for key, member in layer.members.items() if key != "extends"}
        chain.insert(0, (here, MappingNode(members, layer.span)))
        base = layer.get("extends")
        named = base.span if base else None
        here = None if base is None else _base(here, base, faults)
        why = None if here is None else shelf.refusal(project, here)
        if base is not None and why is not None:
            message = f"cannot read `{as_written(base)}`: {why}"
            faults.append(Diagnostic("outside-project", message, base.span))
            break
        if base is not None and here is not None and shelf.resolved(here) in seen:
            message = f"`{as_written(base)}` is already part of this chain"
            faults.append(Diagnostic("extends-cycle", message, base.span))
            here = None
    raise_faults(faults)
    return chain


def read_layer(file: File) -> MappingNode:
    """Read one file of a chain; an empty one is a mapping without keys. Raises `ManifestError`."""
    node = read(file)
    if isinstance(node, ScalarNode) and node.value is None:
        return MappingNode({}, node.span)
    if isinstance(node, MappingNode):
        return node
    message, remedy = "a manifest is a mapping of sections", "start with `manifest: 1`"
    raise ManifestError((Diagnostic("bad-value", message, node.span, help=remedy),))


def shown_name(path: Path) -> str:
    """Return `path` relative to the current folder where it lies below it, else as it is."""
    try:
        return _resolved(path).relative_to(Path.cwd()).as_posix()
    except ValueError:
        return os.path.relpath(path) if not path.is_absolute() else path.as_posix()


def _read_named(path: Path, named: Span | None, shelf: Shelf) -> MappingNode:
    """Read what `extends` names at `named`, or, where that is None, who called; raises their errors."""
    try:
        return read_layer(shelf.read(path))
    except UsageError as error:
        if named is not None:
            remedy = did_you_mean(path.name, shelf.siblings(path))
            fault = Diagnostic("extends-not-found", str(error), named, help=remedy)
            raise ManifestError((fault,)) from error
        is_missing = isinstance(error.__cause__, FileNotFoundError | NotADirectoryError)
        meant = _meant(path, shelf) if is_missing else None
        if meant is None:
            raise
        raise UsageError(f"{error}; {meant}") from error


def _meant(path: Path, shelf: Shelf) -> str | None:
    """Ask for the manifest that was surely meant: in another folder, or of a like name."""
    folders = dict.fromkeys([path.parent, Path("manifests"), Path()])
    found = [
        folder / name
        for folder in folders
        for name in shelf.siblings(folder / "any")
        if name.endswith((".yaml", ".yml"))
    ]
    same = [each for each in found if each.name == path.name]
    if len(same) == 1:
        return f"did you mean `{one_line(shelf.name(same[0]))}`?"
    return did_you_mean(shelf.name(path), [one_line(shelf.name(each)) for each in found])


def _base(path: Path, base: Node, faults: list[Diagnostic]) -> Path | None:
    """Return the file that `base`, the `extends` of `path`, names; None after a fault."""
    if not (isinstance(base, ScalarNode) and isinstance(base.value, str) and base.value):
        message = "`extends` takes the path of one manifest"
        faults.append(Diagnostic("bad-value", message, base.span))
        return None
    if "${" in base.value:
        message, remedy = "`extends` takes no reference", "write the value out"
        faults.append(Diagnostic("misplaced-reference", message, base.span, help=remedy))
        return None
    return path.parent / base.value


def _resolved(path: Path) -> Path:
    """Follow the links of `path`; what cannot be followed stays, and reading it tells why."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # a circle of links; a name that no file can have
        return path
