"""Events of the YAML parser → one tree of nodes.

In: a text. Out: the tree of its one document, and every fault that the parser lets pass. The
structure is YAML 1.2's; of its scalars only `true`, `false`, `null`, `~`, nothing, decimal integers
and decimal floats are not strings.

Refuses duplicate keys, tags, keys that are not strings, the merge key, several documents, and trees
large enough to hurt: over 100 levels, 100 aliases or 100 000 nodes after aliases are expanded.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.span import File, Note, Span
from assembler.document.nodes import MappingNode, Member, Node, ScalarNode, SequenceNode

MAX_DEPTH = 100
MAX_ALIASES = 100
MAX_NODES = 100_000
_MAX_DIGITS = 400  # more than any float has; Python itself refuses to read 4301
_HARMFUL = {"too-deep", "too-many-aliases", "too-many-nodes"}

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)\Z")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?\Z")
_WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}
_LOADER: Any = getattr(yaml, "CLoader", yaml.Loader)


def plain_value(text: str) -> str | int | float | bool | None:
    """Return what a plain scalar means; raises `OverflowError` for a number no program can hold."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "-0123456789" or not _FLOAT.match(text):
        return text
    if len(text) > _MAX_DIGITS or float(text) in (float("inf"), float("-inf")):
        raise OverflowError(text)
    return int(text) if _INTEGER.match(text) else float(text)


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


class Composer:
    """One reading; a loop with a stack of its own, so no depth hurts.

    `run` raises `yaml.YAMLError` where the parser gives up, and leaves `root` and `faults`.
    """

    def __init__(self, file: File) -> None:
        self.file = file
        self.faults: list[Diagnostic] = []
        self.root: Node | None = None
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Node, int, int]] = {}
        self.aliases = 0
        self.documents = 0

    def run(self) -> None:
        parser = _LOADER(self.file.text)
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
            remedy = "use `extends` to share entries"
            self.fault("merge-key", "the merge key `<<` is not YAML 1.2", span, help=remedy)
        self.set_key(top, event.value, value, span)

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
        if top.size > MAX_NODES:
            self.fault("too-many-nodes", f"more than {MAX_NODES} values", node.span)
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
