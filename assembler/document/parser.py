"""Text → nodes that know their file, line and column.

In: the path of a manifest. Out: the tree of its one document, and every fault that the parser of
YAML lets pass. The structure is YAML 1.2's; of its scalars only `true`, `false`, `null`, `~`,
nothing, decimal integers and decimal floats are not strings.

Refuses, with all faults of one text at once, duplicate keys, tags, keys that are not strings, the
merge key, several documents, trees large enough to hurt (over 100 levels, 100 aliases or 100 000
nodes after aliases are expanded), text over 1 MiB, text that is not UTF-8, raw control characters
and line separators (libyaml takes U+2028 for a line break, so a comment could hide a key).
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from assembler.diagnostics.errors import Diagnostic, UsageError, raise_faults
from assembler.diagnostics.span import File, Note, Span, one_line
from assembler.document.nodes import MappingNode, Member, Node, ScalarNode, SequenceNode
from assembler.document.project import is_of_the_system

MAX_BYTES = 1024 * 1024
_SHOWN_FILES = 4
_MAX_FORBIDDEN = 20  # a binary file is not told byte by byte
_FORBIDDEN = re.compile(
    "[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
MAX_DEPTH = 100
MAX_ALIASES = 100
MAX_NODES = 100_000
_MAX_DIGITS = 400  # more than any float has; Python itself refuses to read 4301
_HARMFUL = {"too-deep", "too-many-aliases", "too-many-nodes"}

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
LOADER: Any = getattr(yaml, "CLoader", yaml.Loader)
"""libyaml's, where PyYAML has it."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a text may be: its bytes, and its values after aliases are expanded.

    `text_keys` takes every scalar key for the text that it shows, such as `200`.
    """

    mebibytes: int = MAX_BYTES >> 20
    nodes: int = MAX_NODES
    text_keys: bool = False


MANIFEST = Bounds()


def read_file(path: Path, name: str) -> File:
    """Read a manifest's text; messages will call it `name`.

    Raises `UsageError` where there is no readable file, `ManifestError` (`too-large`, `not-utf8`)
    where its bytes are not a text this format takes.
    """
    return decoded(read_bytes(path, name), name)


def read_bytes(path: Path, name: str, bounds: Bounds = MANIFEST) -> bytes:
    """Read no more of a file than tells that it is too large; raises `UsageError` as `read_file`."""
    try:
        if is_of_the_system(path.resolve()):  # `/proc/self/environ` calls itself a regular file
            raise UsageError(f"cannot read `{one_line(name)}`: it is no regular file")
        # A pipe without a writer would hold the open, and an endless device the read.
        with open(path, "rb", opener=_open_at_once) as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise UsageError(f"cannot read `{one_line(name)}`: it is no regular file")
            return stream.read((bounds.mebibytes << 20) + 1)
    except IsADirectoryError as error:
        raise UsageError(f"cannot read `{one_line(name)}`: {_folder(path, name)}") from error
    except (OSError, RuntimeError, ValueError) as error:  # ValueError: no file can have such a name
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot read `{one_line(name)}`: {reason}") from error


def _folder(path: Path, name: str) -> str:
    """Say what a folder holds that somebody may have meant: files in its `manifests`, or in it."""
    for inner in ("manifests/", ""):
        folder = path / inner
        try:
            if inner and folder.is_symlink():  # it may lead out of the project
                continue
            names = sorted(each.name for each in folder.iterdir() if each.is_file())
        except OSError:
            continue
        found = [each for each in names if each.endswith((".yaml", ".yml"))]
        if found:
            start = "" if name in {"", "."} else f"{name.rstrip('/')}/"
            shown = [f"`{one_line(f'{start}{inner}{each}')}`" for each in found[:_SHOWN_FILES]]
            more = f" and {len(found) - _SHOWN_FILES} more" if len(found) > _SHOWN_FILES else ""
            return f"it is a folder; name a file in it: {', '.join(shown)}{more}"
    return "it is a folder; name a file"


def decoded(raw: bytes, name: str, bounds: Bounds = MANIFEST) -> File:
    """Return the bytes of a manifest as a text, with or without a byte order mark.

    Raises `ManifestError` as `read_file` does.
    """
    if len(raw) > bounds.mebibytes << 20:
        place = Span(File(name, ""), 1, 1, 1, 1)
        raise_faults([Diagnostic("too-large", f"`{name}` is over {bounds.mebibytes} MiB", place)])
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


def read(file: File, bounds: Bounds = MANIFEST) -> Node:
    """Compose the one document of `file`; raises `ManifestError` with every fault of the text."""
    raise_faults(islice(_forbidden(file), _MAX_FORBIDDEN))
    composer = _Composer(file, bounds)
    try:
        composer.run()
    except yaml.YAMLError as error:
        composer.faults.append(_syntax(file, error))
    raise_faults(composer.faults)
    return composer.root or ScalarNode(None, Span(file, 1, 1, 1, 1))


def plain_value(text: str) -> str | int | float | bool | None:
    """Return what a plain scalar means; raises `OverflowError` for a number no program can hold."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-0123456789" or not _FLOAT.match(text):
        return text
    if len(text) > _MAX_DIGITS or float(text) in (float("inf"), float("-inf")):
        raise OverflowError(text)
    return int(text) if _INTEGER.match(text) else float(text)


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


@dataclass(slots=True)
class _Open:
    """A collection whose end has not been read yet."""

    start: Any
    anchor: str | None
    is_mapping: bool
    is_flow: bool
    members: dict[str, Member] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    key: str | None = None
    key_span: Span | None = None
    size: int = 1
    height: int = 0


class _Composer:
    """One reading; a loop with a stack of its own, so no depth hurts.

    `run` raises `yaml.YAMLError` where the parser gives up, and leaves `root` and `faults`.
    """

    def __init__(self, file: File, bounds: Bounds = MANIFEST) -> None:
        self.file = file
        self.bounds = bounds
        self.faults: list[Diagnostic] = []
        self.root: Node | None = None
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Node, int, int]] = {}
        self.aliases = 0
        self.documents = 0

    def run(self) -> None:
        parser = LOADER(self.file.text)
        try:
            self.compose(iter(parser.get_event, None))
        finally:
            parser.dispose()

    def compose(self, events: Iterator[Any]) -> None:
        for event in events:
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self.scalar(event)
            elif kind in (yaml.MappingStartEvent, yaml.SequenceStartEvent):
                self.open(event, is_mapping=kind is yaml.MappingStartEvent)
            elif kind in (yaml.MappingEndEvent, yaml.SequenceEndEvent):
                self.close(event)
            elif kind is yaml.AliasEvent:
                self.alias(event)
            elif kind is yaml.DocumentStartEvent:
                self.document(event)
            if self.faults and self.faults[-1].code in _HARMFUL:
                return  # going on would do the harm that the limit prevents

    def document(self, event: Any) -> None:
        self.documents += 1
        if self.documents == 2:
            self.fault("multiple-documents", "a second document starts here", self.span(event))
        if event.tags:
            self.fault("tag", "a `%TAG` directive declares tags", self.span(event))

    def scalar(self, event: Any) -> None:
        span = self.span(event)
        self.refuse_tag(event, span)
        is_plain = event.implicit[0] and not event.style
        value = self.plain(event.value, span) if is_plain else event.value
        top = self.stack[-1] if self.stack else None
        if top is None or not top.is_mapping or top.key is not None:
            self.add(ScalarNode(value, span), event.anchor, 1, 0)
            return
        if event.anchor is not None:
            self.anchors[event.anchor] = (ScalarNode(value, span), 1, 0)
        if is_plain and value == "<<":
            remedy = None if self.bounds.text_keys else "use `extends` to share entries"
            self.fault("merge-key", "the merge key `<<` is not YAML 1.2", span, help=remedy)
        self.set_key(top, event.value, event.value if self.bounds.text_keys else value, span)

    def plain(self, text: str, span: Span) -> str | int | float | bool | None:
        try:
            return plain_value(text)
        except OverflowError:
            remedy = "quote it if it is text"
            self.fault("number-out-of-range", "number too large", span, help=remedy)
            return 0

    def set_key(self, top: _Open, text: str, value: Any, span: Span) -> None:
        top.key, top.key_span = text, span
        if not isinstance(value, str):
            message = f"key `{text}` is not a string" if text else "a key is missing before the `:`"
            remedy = f'write it as "{text}"' if text else None
            self.fault("non-string-key", message, span, help=remedy)
        elif text in top.members:
            first = Note(top.members[text].key, "first here")
            self.fault("duplicate-key", f"duplicate key `{text}`", span, notes=(first,))

    def open(self, event: Any, *, is_mapping: bool) -> None:
        span = self.span(event)
        self.refuse_tag(event, span)
        top = self.stack[-1] if self.stack else None
        if top is not None and top.is_mapping and top.key is None:
            self.fault("non-string-key", "a key is a collection", span, help="use a string as key")
        self.stack.append(_Open(event.start_mark, event.anchor, is_mapping, event.flow_style))
        if len(self.stack) > MAX_DEPTH:
            self.fault("too-deep", f"nesting over {MAX_DEPTH} levels", span)

    def close(self, event: Any) -> None:
        done = self.stack.pop()
        line, column = done.start.line + 1, done.start.column + 1
        end = (event.end_mark.line + 1, event.end_mark.column + 1)
        if not done.is_flow:  # a block ends where the next token starts: take its last value's end
            end = (line, column + 1)
            values = [member.value for member in done.members.values()] or done.items
            for last in values[-1:]:
                end = max(end, (last.span.end_line, last.span.end_column))
        span = Span(self.file, line, column, *end)
        node: Node = (
            MappingNode(done.members, span)
            if done.is_mapping
            else SequenceNode(tuple(done.items), span)
        )
        self.add(node, done.anchor, done.size, done.height + 1)

    def alias(self, event: Any) -> None:
        span = self.span(event)
        self.aliases += 1
        if self.aliases > MAX_ALIASES:
            self.fault("too-many-aliases", f"more than {MAX_ALIASES} aliases", span)
            return
        if event.anchor not in self.anchors:
            self.fault("unknown-anchor", f"no anchor `&{event.anchor}` before this alias", span)
            target: tuple[Node, int, int] = (ScalarNode(None, span), 1, 0)
        else:
            target = self.anchors[event.anchor]
        node, size, height = target
        top = self.stack[-1] if self.stack else None
        if top is not None and top.is_mapping and top.key is None:
            self.fault("non-string-key", "a key is an alias", span, help="write the key out")
            top.key, top.key_span = "", None
            return
        if len(self.stack) + height > MAX_DEPTH:
            self.fault(
                "too-deep", f"nesting over {MAX_DEPTH} levels once the alias is expanded", span
            )
        self.add(node, None, size, height)

    def add(self, node: Node, anchor: str | None, size: int, height: int) -> None:
        if anchor is not None:
            self.anchors[anchor] = (node, size, height)
        if not self.stack:
            self.root = self.root or node
            return
        top = self.stack[-1]
        top.size += size
        top.height = max(top.height, height)
        if top.size > self.bounds.nodes:
            self.fault("too-many-nodes", f"more than {self.bounds.nodes} values", node.span)
        if not top.is_mapping:
            top.items.append(node)
            return
        if top.key is None:  # a collection that stood as a key: noted, and dropped with its value
            top.key, top.key_span = "", None
            return
        if top.key_span is not None:
            top.members.setdefault(top.key, Member(top.key_span, node))
        top.key = None

    def refuse_tag(self, event: Any, span: Span) -> None:
        if event.tag is not None:
            written = event.tag.replace("tag:yaml.org,2002:", "!!", 1)
            self.fault("tag", f"tag `{written}` on a value", span, help="remove the tag")

    def span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        return Span(self.file, start.line + 1, start.column + 1, end.line + 1, end.column + 1)

    def fault(
        self,
        code: str,
        message: str,
        span: Span,
        *,
        notes: tuple[Note, ...] = (),
        help: str | None = None,
    ) -> None:
        self.faults.append(Diagnostic(code, message, span, notes=notes, help=help))
