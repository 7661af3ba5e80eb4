"""The import lists of both sides of a manifest → what it may import now that it might not before.

In: the path of a manifest on each side, and the commit that has the old one. Out: findings at the
pyproject.toml that says so. The list of a change is the change's own: whoever widens it, or puts a
nearer pyproject.toml between, loosens what holds every `use` of the manifest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from assembler.document.extends import shown_name
from assembler.plan.allow_list import ImportList, parse_import_list
from assembler.review.diff.git import Commit
from assembler.review.finding import Finding, Grade, Place

_NAME = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class PlacedList:
    """An import list, the path of the file that has it, and the line where it begins."""

    imports: ImportList
    file: Path | None
    line: int = 1

    @property
    def place(self) -> Place | None:
        """Where a finding points."""
        if self.file is None:
            return None
        return Place(shown_name(self.file), self.line, 1, self.line, 1)


def compare_imports(manifest: str, old: Path, new: Path, base: Commit) -> Iterator[Finding]:
    """Compare the list that held for `old` in the commit with the one that holds for `new` now.

    Raises `UsageError` where a pyproject.toml cannot be read.
    """
    yield from compare_lists(manifest, _list_of(old, base), _list_of(new, None))


def compare_lists(manifest: str, before: PlacedList, after: PlacedList) -> Iterator[Finding]:
    """Compare what a manifest might import with what it may."""
    told = partial(Finding, manifest, path="imports", old=before.place, new=after.place)
    gained = [name for name in after.imports.packages or () if not before.imports.allows(name)]
    lost = [name for name in before.imports.packages or () if not after.imports.allows(name)]
    if after.imports.widens(before.imports):
        message = f"the manifest may now import {_named(gained)}"
        yield told(grade=Grade.loosened, rule="imports-widened", message=message)
    elif _is_nearer(before, after):
        message = "a nearer pyproject.toml now says what the manifest may import"
        yield told(grade=Grade.loosened, rule="imports-widened", message=message)
    if before.imports.widens(after.imports):
        message = f"the manifest may no longer import {_named(lost)}"
        yield told(grade=Grade.tightened, rule="imports-narrowed", message=message)


def import_list_of(manifest: Path, base: Commit) -> ImportList:
    """Return the list that holds for a manifest in a commit; raises `UsageError` as reading does."""
    return _list_of(manifest, base).imports


def _named(names: list[str]) -> str:
    if not names:
        return "what no list names"
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(f"`{name}`" for name in names[:5]) + more


def _is_nearer(before: PlacedList, after: PlacedList) -> bool:
    """Tell whether another file says it than the one that said it before."""
    if before.imports.packages is None or before.file is None or after.file is None:
        return False
    return len(after.file.parts) > len(before.file.parts)


def _list_of(manifest: Path, base: Commit | None) -> PlacedList:
    path = manifest.resolve() if base is None else base.resolved(manifest)
    for folder in path.parents:
        file = folder / _NAME
        text = _text(file, base)
        if text is not None:
            lines = text.decode("utf-8", "replace").splitlines()
            line = next((at for at, one in enumerate(lines, 1) if one.startswith("imports")), 1)
            return PlacedList(parse_import_list(text, _NAME), file, line)
    return PlacedList(ImportList(None, None), None)


def _text(file: Path, base: Commit | None) -> bytes | None:
    """Read a file as the commit has it; what is no part of the repository is the same on both sides."""
    if base is not None and base.may_have(file):
        return base.raw(file)
    return file.read_bytes() if file.is_file() else None
