"""The path of a manifest → the folders in which the files that it names may stand.

In: a manifest that somebody named or that a command found. Out: a `Project`, which tells of a path
why it may not be read or written. A manifest may be a stranger's: what `extends` and `file` name is
shown in messages, so it must be the project's own.

The project is the git work tree that the manifest stands in, else the folder of the next
`pyproject.toml`, else its own folder. Links are followed first: each file of a Kubernetes ConfigMap
is one. A manifest that is named may stand anywhere, and its own folder counts as well.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from assembler.diagnostics.errors import UsageError
from assembler.diagnostics.span import one_line

_SYSTEM = tuple(map(Path, ("/proc", "/sys", "/dev")))  # processes and devices, no files


@dataclass(frozen=True, slots=True)
class Project:
    """The folders of one manifest's files; their links are followed."""

    folders: tuple[Path, ...]

    def refusal(self, path: Path) -> str | None:
        """Return why `path` may not be read or written, as the end of a sentence, or None."""
        try:
            place = path.resolve()
        except (OSError, RuntimeError, ValueError):
            return None  # reading it tells why
        if is_of_the_system(place):
            return "it is no regular file"
        if any(place.is_relative_to(folder) for folder in self.folders):
            return None
        plain = Path(os.path.abspath(path))  # noqa: PTH100  # `resolve` would follow links
        is_link = any(plain.is_relative_to(folder) for folder in self.folders)
        return f"it {'is a link that leads' if is_link else 'lies'} outside the project"


def project_of(manifest: Path, *, is_named: bool = True) -> Project:
    """Return the project of a manifest; without `is_named` a command found it by itself."""
    place = Path(os.path.abspath(manifest))  # noqa: PTH100  # the project of a link is where it stands
    marked = (
        folder
        for mark in (".git", "pyproject.toml")
        for folder in place.parents
        if (folder / mark).exists()
    )
    top = next(marked, place.parent).resolve()
    own = Path(os.path.realpath(place)).parent  # takes a circle of links as it stands
    return Project((top, own) if is_named else (top,))


def found_manifest(path: Path) -> Path:
    """Return a manifest that nobody named; raises `UsageError` where it leads outside the project."""
    why = project_of(path, is_named=False).refusal(path)
    if why is not None:
        raise UsageError(f"cannot read `{one_line(path.as_posix())}`: {why}")
    return path


def is_of_the_system(place: Path) -> bool:
    """Tell whether a path whose links were followed is a process's or a device's."""
    return any(place.is_relative_to(folder) for folder in _SYSTEM)
