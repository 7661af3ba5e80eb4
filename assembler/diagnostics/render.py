"""A fault → its text, as the style guide draws it.

In: a `Diagnostic`, or a finding of a review that has the same facts. Out: the message, the lines of
the manifest with a caret under the fault, its notes and its remedy. Passwords in the lines are taken
out, control characters shown, very long lines cut to a window.
"""

import unicodedata
from collections.abc import Iterable
from typing import Any, Protocol

from assembler.diagnostics.secrets import redact
from assembler.diagnostics.span import Note, Span, place_order, printable

_NEAR = 2048  # columns around a caret that are looked through for passwords
_WINDOW = 160  # columns of a very long line that are shown around its caret
_COLORS = {
    **dict.fromkeys(("error", "high"), "\x1b[1;31m"),
    **dict.fromkeys(("warning", "medium"), "\x1b[1;33m"),
    **dict.fromkeys(("frame", "low"), "\x1b[1;34m"),
    "": "\x1b[0m",
}


class Drawable(Protocol):
    """What can be drawn: a `Diagnostic`, or a finding of a review that has a table of its own."""

    @property
    def code(self) -> str: ...
    @property
    def severity(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def span(self) -> Span | None: ...
    @property
    def label(self) -> str: ...
    @property
    def notes(self) -> tuple[Note, ...]: ...
    @property
    def trace(self) -> tuple[str, ...]: ...
    @property
    def help(self) -> str | None: ...
    def as_dict(self) -> dict[str, Any]: ...


def render(diagnostic: Drawable, *, color: bool = False) -> str:
    """Return the text of one diagnostic as the style guide draws it, without a final newline."""
    tint = _Tint(color)
    head = tint(diagnostic.severity, f"{diagnostic.severity}[{diagnostic.code}]")
    lines = [f"{head}: {printable(diagnostic.message)}"]
    span = diagnostic.span
    width = 1
    if span is not None:
        shown = [*diagnostic.notes, Note(span, diagnostic.label)]
        width = len(str(max(note.span.line for note in shown)))
        lines.append(f"{' ' * width}{tint('frame', '-->')} {span.place}")
        lines += _excerpt(span, shown, width, tint, diagnostic.severity)
    bar = tint("frame", "=")
    lines += [f"{' ' * width} {bar} note: {printable(text)}" for text in diagnostic.trace]
    if diagnostic.help:
        lines.append(f"{' ' * width} {bar} help: {printable(diagnostic.help)}")
    return "\n".join(lines)


class _Tint:
    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, kind: str, text: str) -> str:
        return f"{_COLORS[kind]}{text}{_COLORS['']}" if self.color else text


def _excerpt(
    main: Span, shown: list[Note], width: int, tint: _Tint, severity: str
) -> Iterable[str]:
    here = [note for note in shown if note.span.file is main.file]
    there = [note for note in shown if note.span.file is not main.file]
    yield f"{' ' * width} {tint('frame', '|')}"
    above = ""
    for note in sorted(here, key=lambda note: place_order(note.span)):
        mark = "^" if note.span is main else "-"
        source, *underlines = _underlined(note, mark, width, tint, severity)
        if source != above:  # two places of one line stand under it together
            yield source
        yield from underlines
        above = source
    for note in there:
        yield f"{' ' * width}{tint('frame', ':::')} {note.span.place}"
        yield f"{' ' * width} {tint('frame', '|')}"
        yield from _underlined(note, "-", width, tint, severity)


def _underlined(note: Note, mark: str, width: int, tint: _Tint, severity: str) -> Iterable[str]:
    span = note.span
    line = span.file.lines[span.line - 1] if span.line <= len(span.file.lines) else ""
    low, high = max(0, span.column - _NEAR), span.column + _NEAR
    source = line[:low] + redact(line[low:high]) + line[high:]
    start = min(span.column - 1, len(source))
    end = span.end_column - 1 if span.end_line == span.line else len(source.rstrip())
    end = max(min(end, len(source)), start)
    first = max(0, start - _WINDOW // 2) if len(source) > _WINDOW else 0
    last = min(len(source), first + _WINDOW)
    before = _visible(source[first:start])
    within = _visible(source[start : min(end, last)])
    after = _visible(source[min(end, last) : last])
    dots = "…" if first else "", "…" if last < len(source) else ""
    text = f"{dots[0]}{before}{within}{after}{dots[1]}".rstrip()
    pad = " " * (_columns(before) + len(dots[0]))
    carets = mark * max(1, _columns(within))
    label = f" {printable(note.label)}" if note.label else ""
    kind = severity if mark == "^" else "frame"
    yield f"{tint('frame', f'{span.line:>{width}} |')} {text}".rstrip()
    yield f"{' ' * width} {tint('frame', '|')} {pad}{tint(kind, carets + label)}"


def _visible(text: str) -> str:
    return "".join(
        char if char.isprintable() else " " if char == "\t" else "\N{REPLACEMENT CHARACTER}"
        for char in text
    )


def _columns(text: str) -> int:
    """Count terminal cells: wide East Asian characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
