"""Log lines -> the standard logging tree, a standard stream or a file.

In: entries, flat tuples `(level, write, time, …, *Who)` whose line is `write(entry)`. Out: a
`LogRecord` handed to its logger, or text. Entries wait in a `LineBuffer` until its timer fires, it
is full, one is more than INFO, the application shuts down, the process forks or ends. Refuses
unknown sinks. A stream that cannot be written loses lines, never requests, and the next write says
how many.
"""

import logging
import sys
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeGuard

from pydantic import AfterValidator

from components.access_log.buffer import LineBuffer
from components.access_log.line import Entry

_new_record = logging.LogRecord.__new__
_WRITERS = (logging.StreamHandler, logging.FileHandler)  # they alone: a class of these may do more
_OWN = frozenset({"emit", "handle", "format", "flush"})


def _kind(kind: str) -> str:
    if kind not in ("logging", "stdout", "stderr") and "/" not in kind:
        raise ValueError(
            f"`sink` is `logging`, `stdout`, `stderr` or a path with a slash, not {kind!r}"
        )
    return kind


SinkKind = Annotated[str, AfterValidator(_kind)]
"""The type of an option that says where lines go."""


class LogSink:
    """Where the lines of a middleware go.

    Args:
        kind: `logging`, `stdout`, `stderr`, or the path of a file (with a slash in it).
        logger: the logger's name, for `logging`.
        flush_interval: how long entries wait at most; None hands each on at once.
    """

    __slots__ = ("_buffer", "_write", "put", "takes")

    def __init__(self, kind: str, *, logger: str, flush_interval: timedelta | None) -> None:
        tree = logging.getLogger(logger) if kind == "logging" else None
        self._write = _writer(kind, tree)
        self._buffer = LineBuffer(self._write, flush_interval) if flush_interval else None
        # Each request calls these two: no method of ours stands before those that do the work.
        self.takes: Callable[[int], bool] = _always if tree is None else tree.isEnabledFor
        """Whether a line of this level would be kept, asked before its facts are taken."""
        self.put: Callable[[Entry], None] = self._buffer.add if self._buffer else self._put_through
        """Takes a line; what is more than INFO wants `flush` after it."""

    def flush(self) -> None:
        """Writes what waits."""
        if self._buffer is not None:
            self._buffer.flush()

    def _put_through(self, entry: Entry) -> None:
        self._write([entry])


def _always(level: int) -> bool:
    return True


def _writer(kind: str, logger: logging.Logger | None) -> Callable[[list[Entry]], None]:
    if logger is not None:
        return partial(_to_logger, logger)
    if kind in ("stdout", "stderr"):
        return _Lines(partial(_to_stream, kind))
    return _Lines(partial(_to_file, Path(_kind(kind))))


def _to_logger(logger: logging.Logger, entries: list[Entry]) -> None:
    factory = logging.getLogRecordFactory()
    records: list[logging.LogRecord] = []
    kept: dict[int, dict[str, Any]] = {}
    for entry in entries:
        level, write, now = entry[:3]
        common = kept.get(level)
        if common is None:
            # No walk up the stack for the caller, as there is none worth naming.
            record = factory(logger.name, level, __file__, 0, "", (), None, "request")
            common = record.__dict__.copy()  # as filters may write into the record
            common["request_id"] = common["trace_id"] = common["span_id"] = "-"
            # What the constructor finds out about process and thread holds for all of the batch.
            if factory is logging.LogRecord:
                kept[level] = common
        else:
            record = _new_record(logging.LogRecord)
        request_id, parent = entry[-4], entry[-1]
        values = record.__dict__ = common.copy()
        values["msg"] = write(entry)
        values["created"], values["msecs"] = now, now % 1 * 1000
        values["relativeCreated"] += (now - common["created"]) * 1000
        if request_id:
            values["request_id"] = request_id
        if parent:
            values["trace_id"], values["span_id"] = parent[3:35], parent[36:52]
        records.append(record)
    streams = _streams(logger)
    if streams is None:
        for record in records:
            logger.handle(record)
    else:
        for handler in streams:
            _to_handler(handler, records)


def _streams(logger: logging.Logger) -> "list[logging.StreamHandler[Any]] | None":
    """The handlers that take records of `logger`, where each only writes them to its stream.

    They take a batch as one text with one flush, which saves a quarter of what logging costs (3 µs a
    line). None where a filter or another kind of handler has its own mind about each record.
    """
    found: list[logging.StreamHandler[Any]] = []
    node: logging.Logger | None = logger
    if logger.disabled or logger.filters:
        return None
    while node is not None:
        for handler in node.handlers:
            if not _only_writes(handler):
                return None
            found.append(handler)
        node = node.parent if node.propagate else None
    return found or None  # without any, the handler of last resort


def _only_writes(handler: logging.Handler) -> TypeGuard["logging.StreamHandler[Any]"]:
    """Whether it is the standard one; a file that its first record opens is not yet one."""
    is_standard = type(handler) in _WRITERS and _OWN.isdisjoint(vars(handler))
    return is_standard and not handler.filters and getattr(handler, "stream", None) is not None


def _to_handler(handler: "logging.StreamHandler[Any]", records: list[logging.LogRecord]) -> None:
    """Do what `handle` does for each record, with one write."""
    texts = []
    with handler.lock or nullcontext():
        for record in records:
            if record.levelno >= handler.level:
                try:
                    texts.append(handler.format(record) + handler.terminator)
                except Exception:  # noqa: BLE001  # as `emit` does; a formatter may be anything
                    handler.handleError(record)
        if texts:
            try:
                handler.stream.write("".join(texts))
                handler.flush()
            except Exception:  # noqa: BLE001  # as `emit` does; a stream may be anything
                handler.handleError(records[-1])


class _Lines:
    """Writes entries as one text, and counts those that were lost."""

    __slots__ = ("_lost", "_write")

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._lost = 0

    def __call__(self, entries: list[Entry]) -> None:
        lines = [entry[1](entry) for entry in entries]
        if self._lost:
            lines.insert(0, f'{{"event":"lines-lost","lines":{self._lost}}}')
        try:
            self._write("\n".join(lines) + "\n")
        except (OSError, ValueError):  # a full disk, a broken pipe, a closed stream
            self._lost += len(entries)
        else:
            self._lost = 0


def _to_stream(name: str, text: str) -> None:
    # Looked up each time: servers and test runners replace the streams.
    stream = getattr(sys, name)
    stream.write(text)
    stream.flush()


def _to_file(path: Path, text: str) -> None:
    # Opened for each batch: a rotated file is left behind, and no fork shares the descriptor.
    with path.open("ab", buffering=0) as file:
        file.write(text.encode("ascii"))
