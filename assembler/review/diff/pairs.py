"""What the command was given → the manifests to compare, each with its old and new place.

In: two paths, or a commit and any number of paths. Out: `Pair`s, and the comparison of each. A
changed base brings every manifest beside it that extends it. Raises `UsageError` where there is
nothing to compare, and `ManifestError` where a side is no valid manifest.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from assembler.diagnostics.errors import ManifestError, UsageError
from assembler.document.extends import DISK, Shelf, shown_name
from assembler.document.merge import load_document
from assembler.document.mounted import mounted_files
from assembler.document.project import found_manifest
from assembler.plan.snapshot import Snapshot
from assembler.review.diff.comparison import compare_sides, with_rename
from assembler.review.diff.git import Commit, Repository
from assembler.review.diff.imports import PlacedList, compare_imports, compare_lists
from assembler.review.diff.knowledge import Knowledge
from assembler.review.diff.side import read_side
from assembler.review.finding import Comparison

_SUFFIXES = frozenset({".yaml", ".yml"})
_ALIKE = 0.5  # of the lines of a manifest that went and one that came: it was renamed


@dataclass(frozen=True, slots=True)
class PathPair:
    """One manifest: its path on each side, None where that side does not have it."""

    old: Path | None
    new: Path | None
    is_renamed: bool = False

    @property
    def name(self) -> str:
        """What findings call it."""
        path = self.new or self.old
        return "" if path is None else shown_name(path)


class Review:
    """Compares manifests, one by one: a fault of one does not keep the others from being told."""

    def __init__(self, now: datetime, old: Shelf = DISK) -> None:
        self._now = now
        self._old = old
        self._knowledge = Knowledge(old.earlier_tree if isinstance(old, Commit) else None)

    def compare(self, pair: PathPair) -> Comparison:
        """Compare one pair; raises `UsageError` or `ManifestError` where a side cannot be read."""
        old = None if pair.old is None else read_side(pair.old, self._old)
        new = None if pair.new is None else read_side(pair.new)
        found = compare_sides(pair.name, old, new, self._knowledge, self._now)
        if isinstance(self._old, Commit) and pair.old is not None and pair.new is not None:
            widened = compare_imports(pair.name, pair.old, pair.new, self._old)
            found = replace(found, findings=(*found.findings, *widened))
        return with_rename(found) if pair.is_renamed else found


def compare_shelves(name: str, old: Snapshot, new: Snapshot, now: datetime) -> Comparison:
    """Compare two states of one manifest, each on a shelf of its own, with its import list.

    Raises as `Review.compare` does.
    """
    before, after = (read_side(shelf.path, shelf) for shelf in (old, new))
    found = compare_sides(name, before, after, Knowledge(None), now)
    lists = (PlacedList(old.imports, None), PlacedList(new.imports, None))
    widened = compare_lists(name, *lists)
    return replace(found, findings=(*found.findings, *widened))


def since(commit: str | None, files: Sequence[Path]) -> tuple[Commit, list[PathPair]]:
    """Return the manifests that may differ from a commit, or from where this branch began.

    Without `files`, all in `manifests/` on either side. Raises `UsageError` where there is none.
    """
    repository = Repository(Path.cwd())
    base = repository.merge_base() if commit is None else repository.commit(commit)
    shelf = Commit(repository, base)
    paths = list(dict.fromkeys(files)) or _all_manifests(shelf)
    if not paths:
        raise UsageError("there is no manifest in `manifests/`: name one")
    for path in paths:
        if not shelf.may_have(path):
            raise UsageError(f"cannot compare `{shown_name(path)}`: it is outside the repository")
        if not path.is_file() and not shelf.has(path):
            message = f"cannot read `{shown_name(path)}`: neither the commit nor the disk has it"
            raise UsageError(message)
    if files:
        paths += [path for path in _extending(paths) if path not in paths]
    paths = _not_mounted(paths, shelf)
    pairs = [
        PathPair(path if shelf.has(path) else None, path if path.is_file() else None)
        for path in paths
    ]
    return shelf, list(_with_renames(pairs, shelf))


def _not_mounted(paths: list[Path], base: Commit) -> list[Path]:
    """Leave out what another one of `paths` mounts, on each side that has it: that one tells of it."""
    before, now = _mounted_on(base, paths), _mounted_on(DISK, paths)
    return [
        path
        for path in paths
        if (base.has(path) and base.resolved(path) not in before)
        or (path.is_file() and DISK.resolved(path) not in now)
        or not (base.has(path) or path.is_file())
    ]


def _mounted_on(shelf: Shelf, paths: Sequence[Path]) -> set[Path]:
    found: set[Path] = set()
    for path in paths:
        with suppress(ManifestError, UsageError):  # comparing it tells
            found.update(mounted_files(load_document(path, shelf).root))
    return found


def _all_manifests(shelf: Commit) -> list[Path]:
    folder = Path("manifests")
    on_disk = {
        found_manifest(path) for path in folder.glob("*") if _is_manifest(path) and path.is_file()
    }
    before = {folder / name for name in shelf.siblings(folder / "any") if _is_manifest(Path(name))}
    return sorted(on_disk | before)


def _is_manifest(path: Path) -> bool:
    """Tell it by the name; `prod.expect.yaml` holds expectations alone."""
    return path.suffix in _SUFFIXES and not path.stem.endswith(".expect")


def _extending(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the manifests beside the given ones that extend or mount one of them."""
    wanted = {DISK.resolved(path) for path in paths}
    for folder in dict.fromkeys(path.parent for path in paths):
        for path in sorted(folder.glob("*")):
            if not _is_manifest(path) or DISK.resolved(path) in wanted:
                continue
            found_manifest(path)
            try:
                chain = list(load_document(path).files)
            except UsageError:
                continue
            except ManifestError:  # this change may have broken it: comparing it tells
                raw = path.read_bytes()
                chain = list(paths) if any(file.name.encode() in raw for file in paths) else []
            if any(DISK.resolved(file) in wanted for file in chain):
                yield path


def _with_renames(pairs: Sequence[PathPair], shelf: Commit) -> Iterator[PathPair]:
    """Join a manifest that went and one that came where most of their lines are the same."""
    gone = [pair.old for pair in pairs if pair.old is not None and pair.new is None]
    for pair in pairs:
        if pair.old is not None or pair.new is None:
            continue
        scores = {path: _likeness(shelf.read(path).text, pair.new) for path in gone}
        best = max(scores, key=lambda path: scores[path], default=None)
        if best is not None and scores[best] >= _ALIKE:
            gone.remove(best)
            yield PathPair(best, pair.new, is_renamed=True)
        else:
            yield pair
    yield from (pair for pair in pairs if pair.old is not None and (pair.new or pair.old in gone))


def _likeness(old: str, path: Path) -> float:
    """Return how many of the lines of both are the same, in whatever order, from 0 to 1."""
    before, after = (Counter(text.splitlines()) for text in (old, DISK.read(path).text))
    return 2 * (before & after).total() / max(before.total() + after.total(), 1)
