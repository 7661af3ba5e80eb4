"""A commit of a git repository → a shelf from which manifests are read.

In: a folder of the repository and the name of a commit. Out: blobs, with links followed inside the
commit; which files a folder of it has; the merge base with the default branch. Runs the command
`git`, which reads no file of the working tree for it. Raises `UsageError` where git refuses.
"""

import os
import subprocess
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from assembler.diagnostics.errors import UsageError
from assembler.diagnostics.span import File, one_line
from assembler.document.extends import Shelf
from assembler.document.parser import decoded

_TIMEOUT_SECONDS = 60
_DEFAULTS = ("origin/HEAD", "origin/main", "origin/master", "main", "master")


class Repository:
    """The repository that a folder lies in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.top = Path(self.run("rev-parse", "--show-toplevel").decode().rstrip("\n"))

    def run(self, *arguments: str, given: bytes | None = None) -> bytes:
        """Run git and return what it prints; raises `UsageError` with its first line."""
        command = ["git", "-c", "core.quotePath=false", *arguments]
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
        """Return where the working tree left the default branch."""
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

    def may_have(self, path: Path) -> bool:
        """Tell whether a path lies in the repository."""
        return self._inside(path) is not None

    def has(self, path: Path) -> bool:
        """Tell whether the commit has a file there."""
        return self._inside(path) in self._names

    def resolved(self, path: Path) -> Path:
        return Path(os.path.normpath(Path.cwd() / path))

    def siblings(self, path: Path) -> list[str]:
        folder = self._inside(path.parent)
        names = (Path(name) for name in self._names)
        return [name.name for name in names if folder is not None and name.parent == Path(folder)]

    def earlier_sources(self) -> Callable[[Path], str | None] | None:
        """Return what gives the text that a Python file has here, where it has another on disk.

        None where they all have the same; a new file has no earlier text.
        """
        told = self._repository.run(
            *("diff", "-z", "--name-only", "--diff-filter=MT", "--no-ext-diff"),
            *(self._commit, "--", ":(top)*.py"),
        )
        top = self._repository.top.resolve()
        names = {top / name for name in told.decode("utf-8", "surrogateescape").split("\0") if name}

        def earlier(file: Path) -> str | None:
            path = file.resolve()
            raw = self._blob(path.relative_to(top).as_posix()) if path in names else None
            return None if raw is None else raw.decode("utf-8", "replace")

        return earlier if names else None

    @cached_property
    def _names(self) -> frozenset[str]:
        listed = self._repository.run(
            "ls-tree", "-r", "-z", "--name-only", "--full-tree", self._commit
        )
        return frozenset(
            name for name in listed.decode("utf-8", "surrogateescape").split("\0") if name
        )

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


def _followed(path: Path) -> Path:
    """Follow links of folders on the way: the current folder may have been entered by one."""
    try:
        return path.parent.resolve() / path.name
    except (OSError, RuntimeError):
        return path
