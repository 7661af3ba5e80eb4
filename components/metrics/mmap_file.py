"""Numbers by their names, in a file that one process writes and others read meanwhile.

In: a path. Out: for each name a place in memory that is the file's; what is put there is seen by whoever
reads the file, at once and without a call of the system, and stays when the process is killed. Refused:
nothing; a file that another kind of program wrote is not to be given.

The file is of words of eight bytes: how many are used; then for each number the length of its name in
bytes, the name, padded, and the number. An entry is there before it is counted as used, and a number is
one word, so a reader never sees half of either.

`prometheus_client.mmap_dict` is such a file too, but each number that is put there is looked up by its
name and written with a time: 0.25 µs in place of 0.08, which makes the middleware a fifth slower
(`tests/benchmarks/metrics.py`), and what it reads of a file that is being made is an exception.
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

_WORD = 8
_FIRST_BYTES = 1 << 16
_INTEGER = struct.Struct("q")
_NUMBER = struct.Struct("d")


class MappedFile:
    """The file of this process; what it holds from before goes on."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._path = path
        self._places = {name: at for name, at, _ in _entries(path.read_bytes())}
        self._map(max(_FIRST_BYTES, path.stat().st_size))

    def place(self, name: str) -> "tuple[memoryview[float], int]":
        """Where the number of this name is: `view[at]`; 0.0 when it is new.

        The file may grow later: it is then mapped anew, and this view is still a view of it.
        """
        if name not in self._places:
            self._append(name)
        return self._numbers, self._places[name]

    def _append(self, name: str) -> None:
        text = name.encode()
        padded = text.ljust(-(-len(text) // _WORD) * _WORD)
        entry = _INTEGER.pack(len(text)) + padded + _NUMBER.pack(0.0)
        used = self._words[0] or 1
        start = used * _WORD
        while start + len(entry) > len(self._bytes):
            self._map(2 * len(self._bytes))
        self._bytes[start : start + len(entry)] = entry
        self._words[0] = used + len(entry) // _WORD
        self._places[name] = self._words[0] - 1

    def _map(self, size: int) -> None:
        with self._path.open("r+b") as file:
            file.truncate(size)
            self._bytes = memoryview(mmap.mmap(file.fileno(), size))
        self._words = self._bytes.cast("q")
        self._numbers = self._bytes.cast("d")


def read(path: Path) -> Iterator[tuple[str, float]]:
    """The names and numbers of a file; none while it is being made."""
    for name, _, value in _entries(path.read_bytes()):
        yield name, value


def _entries(data: bytes) -> Iterator[tuple[str, int, float]]:
    """Name, the number's place in words, and number of each entry."""
    end = min(_INTEGER.unpack_from(data)[0] * _WORD, len(data)) if len(data) >= _WORD else 0
    at = _WORD
    while at < end:
        (length,) = _INTEGER.unpack_from(data, at)
        name = data[at + _WORD : at + _WORD + length].decode()
        at += _WORD + -(-length // _WORD) * _WORD
        yield name, at // _WORD, _NUMBER.unpack_from(data, at)[0]
        at += _WORD
