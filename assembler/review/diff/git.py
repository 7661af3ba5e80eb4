"""A commit of a git repository → a shelf from which manifests are read.

In: a folder of the repository and the name of a commit. Out: blobs, with links followed inside the
commit; which files a folder of it has; the merge base with the default branch. Runs the command
`git`, which reads no file of the working tree for it. Raises `UsageError` where git refuses.
"""

import os
import subprocess
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from pathlib import Path

from assembler.diagnostics.errors import UsageError
from assembler.diagnostics.span import File, one_line
from assembler.document.extends import Shelf
from assembler.document.parser import decoded
from assembler.document.project import Project

_TIMEOUT_SECONDS = 60
_LINKS = frozenset(["120000", "160000"])  # the modes of a symbolic link and of a submodule
# A repository is only what `.git` says: a folder of the change may have all that a bare one has, with
# commands in its `config`. What watches the files, or waits for events, is run by no reading.
_QUIET = (
    *("-c", "safe.bareRepository=explicit"),
    *("-c", "core.fsmonitor=false"),
    *("-c", f"core.hooksPath={os.devnull}"),
    *("-c", "core.quotePath=false"),
)
# The change's own `.gitmodules` may ask to be silent of submodules; a user, to see one folder alone.
_DIFF = [
    "diff",
    "-z",
    "--raw",
    "--no-renames",
    "--no-ext-diff",
    "--no-relative",
    "--ignore-submodules=dirty",
]
_DEFAULTS = ("origin/HEAD", "origin/main", "origin/master", "main", "master")


class Repository:
    """The repository that a folder lies in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.top = Path(self.run("rev-parse", "--show-toplevel").decode().rstrip("\n"))

    def run(self, *arguments: str, given: bytes | None = None) -> bytes:
        """Run git and return what it prints; raises `UsageError` with its first line."""
        command = ["git", *_QUIET, *arguments]
        environment = os.environ | {
            "LC_ALL": "C",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
        }
        try:
            done = subprocess.run(  # noqa: S603  # git, with arguments that are no options
                command,
                cwd=self._folder,
                env=environment,
                input=b"" if given is None else given,
                capture_output=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except FileNotFoundError:
            raise UsageError("a comparison with a commit needs the command `git`") from None
        except subprocess.TimeoutExpired:
            raise UsageError(f"git took longer than {_TIMEOUT_SECONDS} s") from None
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it failed"]
            raise UsageError(f"git: {one_line(said[0].removeprefix('fatal: '))}")
        return done.stdout

    def commit(self, name: str) -> str:
        """Return the full hash of a commit; raises `UsageError` for an unknown one."""
        try:
            found = self.run(
                "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
            )
        except UsageError:
            raise UsageError(
                f"`{one_line(name)}` names no commit here; fetch it, or name another"
            ) from None
        return found.decode().strip()

    def merge_base(self) -> str:
        """Return where the working tree left the default branch; raises `UsageError`."""
        for name in _DEFAULTS:
            try:
                branch = self.commit(name)
            except UsageError:
                continue
            try:
                return self.run("merge-base", "HEAD", branch).decode().strip()
            except UsageError:
                message = f"HEAD and `{name}` have no common commit here; fetch more history, or give --base"
                raise UsageError(message) from None
        raise UsageError("there is no default branch to compare with; give --base")


class Commit(Shelf):
    """The files of one commit, by the paths they have in the working tree."""

    def __init__(self, repository: Repository, commit: str) -> None:
        self._repository = repository
        self._commit = commit
        self._read: dict[str, File] = {}

    def read(self, path: Path) -> File:
        inside = self._inside(path)
        name = self.name(path)
        if inside is None:
            raise UsageError(f"cannot read `{one_line(name)}`: it is outside the repository")
        if inside not in self._read:
            raw = self._blob(inside)
            if raw is None:
                raise UsageError(
                    f"cannot read `{one_line(name)}`: commit {self._commit[:12]} does not have it"
                )
            self._read[inside] = decoded(raw, name)
        return self._read[inside]

    def refusal(self, project: Project, path: Path) -> str | None:
        return None  # a commit has nothing that lies elsewhere

    def may_have(self, path: Path) -> bool:
        """Tell whether a path lies in the repository."""
        return self._inside(path) is not None

    def has(self, path: Path) -> bool:
        """Tell whether the commit has a file there."""
        return self._inside(path) in self._names

    def raw(self, path: Path) -> bytes | None:
        """Return the bytes of a file, None where the commit does not have it."""
        inside = self._inside(path)
        return None if inside is None else self._blob(inside)

    def resolved(self, path: Path) -> Path:
        return Path(os.path.normpath(Path.cwd() / path))

    def siblings(self, path: Path) -> list[str]:
        folder = self._inside(path.parent)
        names = (Path(name) for name in self._names)
        return [name.name for name in names if folder is not None and name.parent == Path(folder)]

    def earlier_tree(self) -> "CommitTree | None":
        """Return the modules as the commit has them; None where they all are as on disk.

        What git ignores is no part of a change.
        """
        run, top = self._repository.run, self._repository.top.resolve()
        told = run(*_DIFF, self._commit, "--")
        words = _names_in(told)
        states: dict[str, set[Path]] = {"A": set(), "D": set(), "M": set()}
        links = set()
        for head, name in zip(words[::2], words[1::2], strict=True):
            old_mode, new_mode, *_, state = head.lstrip(":").split(" ")
            states["M" if state not in "AD" else state].add(top / name)
            links |= set() if _LINKS.isdisjoint((old_mode, new_mode)) else {top / name}
        untracked = run(
            *("ls-files", "-z", "--others", "--exclude-standard", "--full-name"), "--", ":/"
        )
        new = {top / name for name in _names_in(untracked)}
        links |= {file for file in new if file.is_symlink()}
        kinds = (*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES)
        added, gone, changed = (
            frozenset(file for file in each if file.name.endswith(kinds))
            for each in (states["A"] | new, states["D"] - new, states["M"] | (states["D"] & new))
        )
        compiled = frozenset(
            file.parent.parent / file.name.partition(".")[0]
            for file in set().union(*states.values())  # what Python leaves untracked is its own
            if file.parent.name == "__pycache__" and file.name.endswith(".pyc")
        )
        tree = CommitTree(self, top, added, gone, changed, frozenset(links), compiled)
        return tree if added or gone or changed or links or compiled else None

    def module_text(self, inside: str) -> str | None:
        """Return the text of a source file, None where the commit does not have it."""
        raw = self._blob(inside)
        return None if raw is None else raw.decode("utf-8", "replace")

    @cached_property
    def _names(self) -> frozenset[str]:
        listed = self._repository.run(
            "ls-tree", "-r", "-z", "--name-only", "--full-tree", self._commit
        )
        return frozenset(_names_in(listed))

    def _inside(self, path: Path) -> str | None:
        """Return a path relative to the top of the repository, None where it lies outside."""
        top = self._repository.top
        for place in (self.resolved(path), _followed(path)):
            if place.is_relative_to(top):
                return place.relative_to(top).as_posix()
        return None

    def _blob(self, inside: str) -> bytes | None:
        if "\n" in inside:  # a question to `--batch` is one line
            try:
                return self._repository.run("cat-file", "blob", f"{self._commit}:{inside}")
            except UsageError:
                return None
        question = f"{self._commit}:{inside}\n".encode("utf-8", "surrogateescape")
        told = self._repository.run("cat-file", "--batch", "--follow-symlinks", given=question)
        head, _, rest = told.partition(b"\n")
        words = head.split(b" ")
        if len(words) != 3 or words[1] != b"blob":  # missing, dangling, a folder
            return None
        return rest[: int(words[2])]


@dataclass(frozen=True)
class CommitTree:
    """The modules of a working tree as a commit has them: what is told of no file is as on disk."""

    commit: Commit
    top: Path
    added: frozenset[Path]
    gone: frozenset[Path]
    changed: frozenset[Path]
    links: frozenset[Path]  # that are, were or became one, submodules among them
    compiled: frozenset[
        Path
    ]  # modules, without their endings, whose bytecode is part of the change

    def is_in_question(self, folder: Path, name: str) -> bool:
        place = self._placed(folder / name)
        return place in self._stems or self._is_by_link(place)

    def has_file(self, file: Path) -> bool:
        place = self._placed(file)
        if self._is_by_link(place):
            return self.commit.module_text(self._inside(place)) is not None
        return place in self.gone or (place not in self.added and place.is_file())

    def has_folder(self, folder: Path) -> bool:
        place = self._placed(folder)
        if self._is_by_link(place) or place in self._folders(self.gone | self.changed):
            return True
        return place.is_dir() and (place not in self._folders(self.added) or self._has_more(place))

    def text(self, file: Path) -> str | None:
        place = self._placed(file)
        is_other = place in self.gone or place in self.changed or self._is_by_link(place)
        return self.commit.module_text(self._inside(place)) if is_other else None

    def has_other_bytecode(self, file: Path) -> bool:
        return self._placed(file).with_suffix("") in self.compiled

    @cached_property
    def _stems(self) -> frozenset[Path]:
        """The places, without their endings, at which a module may be another one than before."""
        moved = self.added | self.gone
        files = {file.parent / file.name.partition(".")[0] for file in moved}
        return frozenset(files | self._folders(moved))

    def _folders(self, files: frozenset[Path]) -> set[Path]:
        found = {folder for file in files for folder in file.parents}
        return {folder for folder in found if folder.is_relative_to(self.top)} - {self.top}

    def _has_more(self, folder: Path) -> bool:
        """Tell whether a folder has a file that was there before."""
        return any(file.is_file() and file not in self.added for file in folder.rglob("*"))

    def _is_by_link(self, place: Path) -> bool:
        """Tell whether a path leads over a link of either side: what it leads to may have changed."""
        if not place.is_relative_to(self.top):
            return False
        return any(
            each in self.links or (each.is_symlink() and self.commit.has(each))
            for each in (place, *place.parents)
            if each.is_relative_to(self.top)
        )

    def _inside(self, place: Path) -> str:
        return place.relative_to(self.top).as_posix()

    def _placed(self, path: Path) -> Path:
        """Return a path below the top as git names it: links inside of it are not followed."""
        plain = Path(os.path.abspath(path))  # noqa: PTH100  # `resolve` would follow them
        if plain.is_relative_to(self.top):
            return plain
        for folder in plain.parents:  # the current folder may have been entered by a link
            if folder.resolve() == self.top:
                return self.top / plain.relative_to(folder)
        return plain


def _names_in(told: bytes) -> list[str]:
    """Split what git prints with `-z`."""
    return [name for name in told.decode("utf-8", "surrogateescape").split("\0") if name]


def _followed(path: Path) -> Path:
    """Follow links of folders on the way: the current folder may have been entered by one."""
    try:
        return path.parent.resolve() / path.name
    except (OSError, RuntimeError):
        return path
