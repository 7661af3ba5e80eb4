"""What a command has to say → standard output, standard error and a status.

In: text. Out: results on standard output, all else on standard error. Characters
that could deceive a terminal are made visible, whichever command they come through.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from enum import StrEnum
from typing import Any, TextIO

from assembler.diagnostics.span import one_line, printable

INVALID = 1
USAGE = 2


class ListFormat(StrEnum):
    """How a command prints a list, or what it knows of one thing."""

    text = "text"
    json = "json"


def show(text: str) -> None:
    """Print a result, which is inert already."""
    _write(sys.stdout, text)


def complain(text: str) -> None:
    """Print a message that is no result."""
    warn(printable(text))


def warn(diagnostics: str) -> None:
    """Print rendered diagnostics, which are inert already, where no result is."""
    with suppress(OSError):  # it cannot be told, and the status tells as well
        _write(sys.stderr, diagnostics)


def drop_unwritten() -> None:
    """Let go what a full disk or a reader who has left did not take.

    Python would try once more as it ends, say so, and end with status 120.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or no file
            try:
                stream.flush()
            except OSError:
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)


def named(path: Any) -> str:
    """Return the name of a file as messages show it."""
    return one_line(str(path))


@contextmanager
def results_apart() -> Iterator[None]:
    """While others' code runs, let all that it prints, by whatever way, go to standard error."""
    _flush()
    with ExitStack() as stack:
        with suppress(OSError):  # one of the two is closed
            kept = os.dup(1)
            stack.callback(os.close, kept)
            os.dup2(2, 1)
            stack.callback(os.dup2, kept, 1)
            stack.callback(_flush)  # what stands in a buffer belongs there too
        with redirect_stdout(sys.stderr):
            yield


def wants_color(stream: TextIO | None) -> bool:
    """Tell whether `stream` is a terminal whose user has not declined colours (no-color.org)."""
    declined = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream is not None and stream.isatty() and not declined


def _flush() -> None:
    for stream in (sys.stdout, sys.__stdout__):
        with suppress(OSError, ValueError):  # its reader has left, or it is closed
            if stream is not None:
                stream.flush()


def _write(stream: TextIO | None, text: str) -> None:
    if stream is not None:  # closed by the caller
        stream.write(text + "\n")
        stream.flush()  # a reader who has left is noticed here, not when Python ends
