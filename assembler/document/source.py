"""Text → nodes that know their file, line and column.

In: the path of a manifest. Out: the tree of its one document, as `composer` reads it.

Refuses, with all faults of one text at once, what the composer does, and text over 1 MiB, text that
is not UTF-8, raw control characters and line separators (libyaml takes U+2028 for a line break, so
a comment could hide a key).
"""

import os
import re
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from assembler.diagnostics.errors import Diagnostic, UsageError, raise_faults
from assembler.diagnostics.span import File, Note, Span, one_line
from assembler.document.nodes import Node, ScalarNode
from assembler.document.parser import Composer

MAX_BYTES = 1024 * 1024
_MAX_FORBIDDEN = 20  # a binary file is not told byte by byte
_FORBIDDEN = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def read_file(path: Path, name: str) -> File:
    """Read a manifest's text; messages will call it `name`.

    Raises `UsageError` where there is no readable file, `ManifestError` (`too-large`, `not-utf8`)
    where its bytes are not a text this format takes.
    """
    try:
        # A pipe without a writer would hold the open, and an endless device the read.
        with open(path, "rb", opener=_open_at_once) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise UsageError(f"cannot read `{one_line(name)}`: it is no regular file")
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: no file can have such a name
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read `{one_line(name)}`: {reason}") from error
    return decoded(raw, name)


def decoded(raw: bytes, name: str) -> File:
    """Return the bytes of a manifest as a text, with or without a byte order mark.

    Raises `ManifestError` as `read_file` does.
    """
    if len(raw) > MAX_BYTES:
        place = Span(File(name, ""), 1, 1, 1, 1)
        raise_faults([Diagnostic("too-large", f"`{name}` is over 1 MiB", place)])
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    try:
        file = File(name, raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        before = File(name, raw[: error.start].decode("utf-8") + "\N{REPLACEMENT CHARACTER}")
        place = _at(before, len(before.text) - 1, 1)
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        fault = Diagnostic("not-utf8", message, place, help="save the file as UTF-8")
        raise_faults([fault])
        raise AssertionError from error  # pragma: no cover
    return file


def read(file: File) -> Node:
    """Compose the one document of `file`; raises `ManifestError` with every fault of the text."""
    raise_faults(islice(_forbidden(file), _MAX_FORBIDDEN))
    composer = Composer(file)
    try:
        composer.run()
    except yaml.YAMLError as error:
        composer.faults.append(_syntax(file, error))
    raise_faults(composer.faults)
    return composer.root or ScalarNode(None, Span(file, 1, 1, 1, 1))


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # Windows has no such flag


def _forbidden(file: File) -> Iterator[Diagnostic]:
    for match in _FORBIDDEN.finditer(file.text):
        char = f"\\u{ord(match[0]):04x}"
        yield Diagnostic(
            "bad-character",
            f"character `{char}` may not stand in a manifest",
            _at(file, match.start(), 1),
            help=f'remove it, or write it as "{char}" in double quotes',
        )


def _at(file: File, offset: int, length: int) -> Span:
    before = file.text[:offset].replace("\r\n", "\n").replace("\r", "\n")
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    return Span(file, line, column, line, column + length)


def _syntax(file: File, error: Any) -> Diagnostic:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    span = Span(file, line, column, line, column + 1)
    problem = (error.problem or str(error)).strip()
    before = file.lines[line - 1][:column] if line <= len(file.lines) else ""
    if "\\t" in problem or before.lstrip(" ").startswith("\t"):
        return Diagnostic("yaml-syntax", "a tab cannot indent", span, help="indent with spaces")
    notes: tuple[Note, ...] = ()
    if error.context and error.context_mark and error.context_mark.line + 1 != line:
        at = error.context_mark
        place = Span(file, at.line + 1, at.column + 1, at.line + 1, at.column + 2)
        notes = (Note(place, error.context),)
    return Diagnostic("yaml-syntax", problem, span, notes=notes, help=_remedy(problem, before))


def _remedy(problem: str, before: str) -> str | None:
    if "mapping values" in problem and ":" in before[:-1]:
        return "quote a value that has `: ` in it"
    if "mapping values" in problem:
        return "indent the keys of one mapping alike"
    if "alphabetic or numeric" in problem:
        return "quote a value that starts with `*` or `&`"
    if "block end" in problem or "'-' indicator" in problem:
        return "indent the keys of one entry alike, and entries below their section"
    if "',' or '}'" in problem or "',' or ']'" in problem:
        return "close the bracket, and quote a value that has `: ` or `, ` in it"
    if "end of stream" in problem:
        return "close the quote"
    if "cannot start any token" in problem:
        return "quote a value that starts with this character"
    return None
