"""Facts about a fault → one message with a place, and the exceptions that carry them.

    AssemblerError
    ├── UsageError          the command or call itself is wrong: a file that does not exist
    └── ManifestError       the manifest is wrong: holds the `Diagnostic`s of one stage
        └── StartupError    the manifest was right, and a step of the start failed

In: a `File`, a `Span` in it, a code of `assembler.codes`, the words. Out: the text of the style
guide with a caret, or a mapping for `--format json`. Refuses a code that is not in the table.
"""

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol

from assembler.codes import CODES
from assembler.redaction import redact

MAX_TOLD = 200  # diagnostics of one stage: nobody reads more, and a text of 1 MiB can have 100 000
_NEAR = 2048  # columns around a caret that are looked through for passwords
_WINDOW = 160  # columns of a very long line that are shown around its caret
_COLORS = {
    **dict.fromkeys(("error", "high"), "\x1b[1;31m"),
    **dict.fromkeys(("warning", "medium"), "\x1b[1;33m"),
    **dict.fromkeys(("frame", "low"), "\x1b[1;34m"),
    "": "\x1b[0m",
}


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


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault. `label` stands at the caret; `trace` are lines that are shown as notes."""

    code: str
    message: str
    span: Span | None
    label: str = ""
    notes: tuple[Note, ...] = ()
    trace: tuple[str, ...] = ()
    help: str | None = None
    severity: Literal["error", "warning"] = "error"

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise KeyError(f"`{self.code}` is not in the table of codes")

    def scrubbed(self, scrub: Callable[[str], str]) -> "Diagnostic":
        """Return the same fault, its words without the secrets that `scrub` takes out of a text."""
        return replace(
            self,
            message=scrub(self.message),
            trace=tuple(map(scrub, self.trace)),
            help=self.help and scrub(self.help),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the keys of `check --format json`; without a place they are null."""
        span = self.span
        return {
            "code": self.code,
            "severity": self.severity,
            "message": printable(self.message),
            "file": printable(span.file.name) if span else None,
            "line": span.line if span else None,
            "column": span.column if span else None,
            "end_line": span.end_line if span else None,
            "end_column": span.end_column if span else None,
            "help": printable(self.help) if self.help else None,
        }


class Told(Protocol):
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


class AssemblerError(Exception):
    """Everything this package raises on purpose."""


class UsageError(AssemblerError):
    """The call cannot be carried out as given; nothing was read or built."""


class ManifestError(AssemblerError):
    """One stage found faults; `diagnostics` holds them, sorted by place."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__(diagnostics)
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        return "\n\n".join(render(diagnostic) for diagnostic in self.diagnostics)


class StartupError(ManifestError):
    """A step with `on_error: fail` failed; what had been started was stopped again."""


def raise_faults(faults: Iterable[Diagnostic]) -> None:
    """Raise a `ManifestError` with the errors of `faults`; do nothing where there is none.

    Beyond `MAX_TOLD`, the last one says how many more there are, at the place of the next.
    """
    errors = arranged(fault for fault in faults if fault.severity == "error")
    if len(errors) > MAX_TOLD:
        untold = errors[MAX_TOLD - 1 :]
        message = f"{len(untold)} more faults are not told"
        errors[MAX_TOLD - 1 :] = [Diagnostic("more-faults", message, untold[0].span)]
    if errors:
        raise ManifestError(tuple(errors))


def arranged(faults: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Sort by file, line and column, and drop what was found twice (aliases share nodes)."""
    unique = dict.fromkeys(faults)
    return sorted(unique, key=lambda fault: _order(fault.span))


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


def render(diagnostic: Told, *, color: bool = False) -> str:
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


def _order(span: Span | None) -> tuple[str, int, int]:
    return (span.file.name, span.line, span.column) if span else ("", 0, 0)


def _excerpt(
    main: Span, shown: list[Note], width: int, tint: _Tint, severity: str
) -> Iterable[str]:
    here = [note for note in shown if note.span.file is main.file]
    there = [note for note in shown if note.span.file is not main.file]
    yield f"{' ' * width} {tint('frame', '|')}"
    above = ""
    for note in sorted(here, key=lambda note: _order(note.span)):
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
