"""Numbers that grow, in this process or over all workers of a server.

In: keys, which are tuples of text, and amounts. Out: the sums over all processes. A key that begins with
`live` is about now: what a dead worker said of it is left out, while all that it counted stays counted.
Refuses nothing: where no folder can be shared, a worker counts for itself, and says so once.

Each worker writes into a mapped file of its own (the form is that of Prometheus' client), so nothing
waits for anything, and a worker that is killed loses nothing.
"""

import json
import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from weakref import finalize

from prometheus_client import mmap_dict

from components.metric_folder import is_alive, run_folder

Key = tuple[str, ...]
MappedFile: Any = mmap_dict.MmapedDict  # which has no type hints

_log = logging.getLogger("components.metrics")
_numbers = count()
_PAST = "past.db"
_HEAD_BYTES = 8


class Cell:
    """One number of this process."""

    __slots__ = ("_file", "_key", "value")

    def __init__(self, value: float, key: str, file: Any) -> None:
        self.value = value
        self._key = key
        self._file = file
        if file is not None:
            file.write_value(key, value, 0.0)

    def add(self, amount: float) -> None:
        """Add to the number."""
        self.value = value = self.value + amount
        if self._file is not None:
            self._file.write_value(self._key, value, 0.0)


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
        self._file: Any = None
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
            text = json.dumps(key)
            before = 0.0
            if self._file is not None and key[0] != "live":
                before = self._file.read_value(text)[0]  # of a worker that had the same number
            self._cells[key] = Cell(before, text, self._file)
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
            self._file = MappedFile(str(folder / f"{os.getpid()}.db"))
            finalize(self, self._file.close).atexit = False  # requests may still end then
            self._folder = folder
        except OSError as error:
            _log.warning("metrics are this worker's alone: no folder can be shared (%s)", error)


def _sums(paths: Iterable[Path]) -> dict[Key, float]:
    sums: defaultdict[Key, float] = defaultdict(float)
    for path in paths:
        is_now = _is_of_living(path)
        for text, value in _read(path):
            key = tuple(json.loads(text))
            if is_now or key[0] != "live":
                sums[key] += value
    return dict(sums)


def _read(path: Path) -> Iterator[tuple[str, float]]:
    if path.stat().st_size >= _HEAD_BYTES:  # it is empty while a worker is about to fill it
        for text, value, *_ in MappedFile.read_all_values_from_file(str(path)):
            yield text, value


def _is_of_living(path: Path) -> bool:
    return path.stem.isdecimal() and is_alive(int(path.stem))


def _gather_dead(folder: Path) -> None:
    """Put what dead workers counted into one file: a server may restart its workers for ever."""
    with _locked(folder, alone=True):
        dead = [path for path in folder.glob("*.db") if not _is_of_living(path)]
        past = folder / _PAST
        if not dead or dead == [past]:
            return
        sums = {key: value for key, value in _sums(dead).items() if key[0] != "live"}
        fresh = folder / f"{_PAST}.new"
        fresh.unlink(missing_ok=True)
        file = MappedFile(str(fresh))
        for key, value in sums.items():
            file.write_value(json.dumps(key), value, 0.0)
        file.close()
        for path in dead:
            path.unlink()
        fresh.rename(past)


@contextmanager
def _locked(folder: Path, *, alone: bool) -> Iterator[None]:
    """Keep readers and the one who moves files apart; each holds it for milliseconds."""
    import fcntl  # noqa: PLC0415  # only where several processes share a folder, which is on Unix

    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)
