"""Numbers that grow, in this process or over all workers of a server.

In: keys, which are tuples of text, and amounts. Out: the sums over all processes. A key that begins with
`live` is about now: what a dead worker said of it is left out, while all that it counted stays counted.
Where no folder can be shared, a worker counts for itself, and says so once.

Each worker has a mapped file of its own, so nothing waits for anything, and a worker that is killed
loses nothing.
"""

import json
import logging
import os
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from components.metrics import mmap_file
from components.metrics.run_directory import is_alive, run_folder

Key = tuple[str, ...]

_log = logging.getLogger("components.metrics")
_numbers = count()
_PAST = "past.db"


class Cell:
    """One number of this process."""

    __slots__ = ("_at", "_memory")

    def __init__(self, memory: "memoryview[float] | array[float]", at: int) -> None:
        self._memory = memory
        self._at = at

    def add(self, amount: float) -> None:
        """Add to the number."""
        self._memory[self._at] += amount

    @property
    def value(self) -> float:
        """The number."""
        return self._memory[self._at]


class Values:
    """The numbers of one application; the folder is sought, and files opened, at the first one.

    So a server may load the application before it forks, as long as it answers no request there.
    Several applications in one process do not meet, as each is counted up.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._number = next(_numbers)
        self._cells: dict[Key, Cell] = {}
        self._folder: Path | None = None
        self._file: mmap_file.MappedFile | None = None
        self._is_open = False

    @property
    def is_shared(self) -> bool:
        """Whether other processes are counted with this one."""
        self._open()
        return self._folder is not None

    def cell(self, key: Key) -> Cell:
        """The number with this key; 0 when it is new."""
        if key not in self._cells:
            self._open()
            if self._file is None:
                self._cells[key] = Cell(array("d", [0.0]), 0)
            else:
                # the file may be that of a dead worker, which had the same process number
                memory, at = self._file.place(json.dumps(key))
                if key[0] == "live":
                    memory[at] = 0.0
                self._cells[key] = Cell(memory, at)
        return self._cells[key]

    def sums(self) -> dict[Key, float]:
        """The numbers now, over all processes."""
        self._open()
        if self._folder is None:
            return {key: cell.value for key, cell in self._cells.items()}
        with _locked(self._folder, alone=False):
            return _sums(self._folder.glob("*.db"))

    def _open(self) -> None:
        if self._is_open:
            return
        self._is_open = True
        try:
            run = run_folder(self._directory)
            if run is None:
                return
            folder = run / str(self._number)
            folder.mkdir(exist_ok=True)
            _gather_dead(folder)
            self._file = mmap_file.MappedFile(folder / f"{os.getpid()}.db")
            self._folder = folder
        except OSError as error:
            _log.warning("metrics are this worker's alone: no folder can be shared (%s)", error)


def _sums(paths: Iterable[Path]) -> dict[Key, float]:
    sums: defaultdict[Key, float] = defaultdict(float)
    for path in paths:
        is_now = _is_of_living(path)
        for text, value in mmap_file.read(path):
            key = tuple(json.loads(text))
            if is_now or key[0] != "live":
                sums[key] += value
    return dict(sums)


def _is_of_living(path: Path) -> bool:
    return path.stem.isdecimal() and is_alive(int(path.stem))


def _gather_dead(folder: Path) -> None:
    """Put what dead workers counted into one file: a server may restart its workers for ever."""
    with _locked(folder, alone=True):
        past = folder / _PAST
        dead = [path for path in folder.glob("*.db") if not _is_of_living(path)]
        if not dead or dead == [past]:
            return
        fresh = folder / f"{_PAST}.new"
        fresh.unlink(missing_ok=True)
        file = mmap_file.MappedFile(fresh)
        for key, value in _sums(dead).items():
            memory, at = file.place(json.dumps(key))
            memory[at] = value
        for path in dead:
            path.unlink()
        fresh.rename(past)


@contextmanager
def _locked(folder: Path, *, alone: bool) -> Iterator[None]:
    """Keep readers and the one who moves files apart; each holds it for milliseconds."""
    import fcntl  # noqa: PLC0415  # Unix alone has it, and nothing else shares a folder

    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)
