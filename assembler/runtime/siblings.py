"""Worker processes of one server that read the disk each → whether all read the same.

In: the digest of what this process read. Out: the digests that its living siblings read, where one
differs: an edit between the starts of two workers, or before the restart of one. Siblings have one
parent; a process number names nothing for long (HUP keeps it, containers repeat it), so the time of
the parent's start is part of the name, and each row is held by a lock while its process lives.
"""

import contextlib
import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from typing import IO

_TRIES = 5


class Siblings:
    """The rows of the workers of one parent: a folder, in it a locked file for each."""

    def __init__(self, digest: str, parent: int | None = None) -> None:
        self._digest = digest
        number = os.getppid() if parent is None else parent
        user = os.getuid() if hasattr(os, "getuid") else 0
        name = f"assembler-{user}-{number}-{_started(number)}"
        self._folder = Path(tempfile.gettempdir()) / name
        self._file: IO[str] | None = None

    def join(self) -> None:
        """Take a row; without locks, or a folder of our own, there is none."""
        for _ in range(_TRIES):
            try:
                self._file = self._row()
            except FileNotFoundError:  # the last of others left just now, and took the folder away
                continue
            except (ImportError, OSError):
                pass
            return

    def others(self) -> list[str]:
        """Return the digests of living siblings that read something else, each once."""
        if self._file is None:
            return []
        found = set()
        with contextlib.suppress(OSError):
            for row in self._folder.glob("[!.]*"):
                digest = row.name.rpartition("-")[2]
                if digest != self._digest and _is_held(row):
                    found.add(digest)
        return sorted(found)

    def leave(self) -> None:
        """Give the row back."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                self._place().unlink()
                self._folder.rmdir()  # the last one does
            file.close()

    def _place(self) -> Path:
        return self._folder / f"{os.getpid()}-{self._digest}"

    def _row(self) -> IO[str] | None:
        """Make the row of this process; others see it once it is locked, not to take it for a dead one's."""
        import fcntl  # noqa: PLC0415  # Windows has none

        self._folder.mkdir(mode=0o700, exist_ok=True)
        if self._folder.stat().st_uid != os.getuid():
            return None
        hidden = self._folder / f".{os.getpid()}"
        file = hidden.open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(self._place())
        except BaseException:
            file.close()
            raise
        return file


def is_worker() -> bool:
    """Tell whether a server's parent started this process together with others."""
    return multiprocessing.parent_process() is not None or "gunicorn.arbiter" in sys.modules


def _started(number: int) -> str:
    """Return when a process was started, in the words of the kernel; nothing where it does not tell."""
    try:
        fields = Path(f"/proc/{number}/stat").read_text("ascii", "replace").rpartition(")")[2]
        return fields.split()[19]
    except (OSError, IndexError):
        return ""


def _is_held(row: Path) -> bool:
    import fcntl  # noqa: PLC0415  # as above

    try:
        with row.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    with contextlib.suppress(OSError):
        row.unlink()  # its process was killed
    return False
