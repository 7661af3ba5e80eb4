"""Where something stands in a text: files, spans, notes at a span.

In: a text and its name, lines and columns from 1. Out: values that say the place, and texts of others
made fit to print.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class File:
    """A text as it was read, with the name that messages use for it."""

    __slots__ = ("lines", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text
        self.lines: Sequence[str] = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


class Span(NamedTuple):
    """A stretch of a file: lines and columns from 1, in characters; the end is exclusive."""

    file: File
    line: int
    column: int
    end_line: int
    end_column: int

    @property
    def place(self) -> str:
        """`file:line:column`, as editors and terminals link it."""
        return f"{one_line(self.file.name)}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Note:
    """A second place that explains a diagnostic, underlined with `-`."""

    span: Span
    label: str


def place_order(span: Span | None) -> tuple[str, int, int]:
    """Sort by file, line and column; what has no place comes first."""
    return (span.file.name, span.line, span.column) if span else ("", 0, 0)


def printable(text: str) -> str:
    """Make control, bidirectional and other invisible characters visible as `\\uXXXX`."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else f"\\u{ord(char):04x}" for char in text
    )


def one_line(text: str) -> str:
    """Make line breaks visible as well: in a file's name they could forge a line of output."""
    return printable(text).replace("\n", "\\u000a")
