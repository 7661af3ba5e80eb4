"""A text → its tree as it is written: style, anchors, quotes, and each comment at its entry.

A comment on the line of a value belongs to that entry, one on a line of its own to the entry below
it, and one that is indented deeper than what follows to the end of the collection that it closes.
Round-trip loaders hang a comment on the token before it instead, so a key that moves leaves its own
comment behind and takes another's along.

In: a text that the reader of manifests takes, its line ends `\n`. Out: a `WrittenDocument`.
"""

import re
from bisect import bisect, bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import yaml

from assembler.document.nodes import NodePath
from assembler.document.parser import LOADER

BLOCK_STYLES = frozenset({"|", ">"})
_ENDS = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment; `index`, `line` and `column` count from 0."""

    index: int
    line: int
    column: int
    text: str
    stands_alone: bool


@dataclass(slots=True)
class WrittenScalar:
    """A scalar or an alias: `raw` is its text without anchor, `value` what the text says."""

    raw: str
    value: str
    style: str  # `'`, `"`, `|`, `>`, `*` for an alias, or nothing
    anchor: str = ""


@dataclass(slots=True)
class WrittenEntry:
    """One `key: value` or one item; `head` are the lines above it, blank ones as empty texts."""

    key: WrittenScalar | None
    value: "WrittenScalar | WrittenCollection"
    head: list[str]
    comment: str = ""


@dataclass(slots=True)
class WrittenCollection:
    """A mapping or a list; `tail` are the comments after its last entry."""

    is_mapping: bool
    is_flow: bool
    anchor: str
    entries: list[WrittenEntry] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)


@dataclass(slots=True)
class WrittenDocument:
    """The root, whether `---` stands before it, and the comments of the whole file.

    `head` stands before the `---`, `top` before the first key whichever that is, and `comments` are
    all, in order.
    """

    root: "WrittenScalar | WrittenCollection"
    is_marked: bool
    head: list[str]
    top: list[str]
    comments: list[str]


def comment_owners(text: str) -> list[tuple[NodePath, str]]:
    """Return each comment with the path of what it is about, by columns and lines alone.

    It is a second reading, by which `formatted` judges the first: what ends a line is about the key
    or dash before it, a line of its own about the next one, or about what it closes where it is
    indented deeper than the next. Those of the file have an empty path.
    """
    tokens = _all(LOADER(text), "get_token")
    places = _Places(text, tokens)
    return [(places.owner(comment), comment.text) for comment in _comments(text, tokens)]


class _Places:
    """Where the keys and items of a text stand, and how many brackets are open where."""

    def __init__(self, text: str, tokens: list[Any]) -> None:
        self.ends: dict[int, NodePath] = {}  # of collections between brackets
        self.starts = list(_starts(text, tokens, self.ends))
        self.indices = [index for index, _, _ in self.starts]
        self.columns = {path: column for _, column, path in self.starts}
        self.in_brackets = set(self.ends.values())
        self.tokens = [token.start_mark.index for token in tokens]
        self.depths = list(accumulate(map(_flow_depth, tokens)))
        self.passed = -1

    def owner(self, comment: Comment) -> NodePath:
        after = bisect(self.indices, comment.index)
        depth = self.depth_at(comment.index)
        if not comment.stands_alone:
            found = next(
                (at for at in range(after - 1, -1, -1) if self.depth_at(self.indices[at]) <= depth),
                None,
            )
            return () if found is None else self.starts[found][2]
        _, column, following = self.starts[after] if after < len(self.starts) else (0, 0, ())
        if depth:  # between brackets columns say nothing
            return self.ends.get(self.tokens[bisect(self.tokens, comment.index)], following)
        if not after or column >= comment.column or self.passed == after:
            self.passed = after  # what comes behind a line about the next key is about it as well
            return following if after else ()
        last = self.starts[after - 1][2]
        for size in range(len(last) - 1, 0, -1):
            path = last[:size]
            is_closed = following[:size] != path and path not in self.in_brackets
            if is_closed and self.columns[path] < comment.column:
                return path
        return following

    def depth_at(self, index: int) -> int:
        return self.depths[bisect_left(self.tokens, index) - 1]


def _flow_depth(token: Any) -> int:
    is_end = isinstance(token, yaml.FlowMappingEndToken | yaml.FlowSequenceEndToken)
    return isinstance(token, yaml.FlowMappingStartToken | yaml.FlowSequenceStartToken) - is_end


def read_written(text: str) -> WrittenDocument:
    """Read the one document of `text`."""
    return _EventReader(text).document()


class _EventReader:
    """One pass over the events, with the comments that the gaps between the tokens hold."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.split("\n")
        tokens = _all(LOADER(text), "get_token")
        self.scalars = (token for token in tokens if type(token) is yaml.ScalarToken)
        self.dashes = [token.start_mark for token in tokens if type(token) is yaml.BlockEntryToken]
        self.next_dash = 0
        self.comments = list(_comments(text, tokens))
        self.next_comment = 0
        self.events: list[Any] = _all(LOADER(text), "get_event")
        self.position = 0
        self.was_flow = False  # of the collection that ended last

    def document(self) -> WrittenDocument:
        self.take()  # the start of the stream
        start = self.take()
        kind: Any = type(start)
        if kind is not yaml.DocumentStartEvent:  # nothing but comments, if that
            return self.made(WrittenScalar("", "", ""), is_marked=False, head=[])
        head = self.head(start.end_mark.index) if start.explicit else []
        return self.made(self.value(self.take(), -1), is_marked=start.explicit, head=head)

    def made(
        self, root: WrittenScalar | WrittenCollection, *, is_marked: bool, head: list[str]
    ) -> WrittenDocument:
        top = self.head(len(self.text) + 1)
        if isinstance(root, WrittenCollection) and root.entries:
            root.is_flow = False  # the sections of a manifest stand in lines of their own
            root.tail += top
            top, root.entries[0].head = _of_the_file(root.entries[0])
        return WrittenDocument(
            root, is_marked, head, top, [comment.text for comment in self.comments]
        )

    def take(self) -> Any:
        event = self.events[self.position]
        self.position += 1
        return event

    def peek(self) -> Any:
        return self.events[self.position]

    def value(self, event: Any, parent_column: int) -> WrittenScalar | WrittenCollection:
        anchor = event.anchor or ""
        if type(event) is yaml.AliasEvent:
            return WrittenScalar(f"*{anchor}", "", "*")
        if type(event) is yaml.ScalarEvent:
            if not event.value and not event.style:
                return WrittenScalar("", "", "", anchor)
            token = next(self.scalars)
            raw = self.text[token.start_mark.index : token.end_mark.index]
            return WrittenScalar(raw, event.value, event.style or "", anchor)
        return self.collection(event, anchor, parent_column)

    def collection(self, event: Any, anchor: str, parent_column: int) -> WrittenCollection:
        is_mapping = type(event) is yaml.MappingStartEvent
        made = WrittenCollection(is_mapping, event.flow_style, anchor)
        while not isinstance(self.peek(), _ENDS):
            made.entries.append(self.member(parent_column) if is_mapping else self.item(made))
        end = self.take()
        self.was_flow = made.is_flow
        if made.is_flow:
            made.tail = self.head(end.start_mark.index)
        else:
            made.tail = self.tail(end.start_mark.index, max(parent_column, self.following_column()))
        return made

    def member(self, parent_column: int) -> WrittenEntry:
        event = self.take()
        head = self.head(event.start_mark.index, event.start_mark.line)
        key = self.value(event, parent_column)
        assert isinstance(key, WrittenScalar)  # noqa: S101  # the reader of manifests takes no other key
        entry = WrittenEntry(key, key, head)
        start = self.take()
        lines = {event.end_mark.line, start.start_mark.line}
        self.note_inline(entry, lines, self.first_of(start))
        if not _opens(start):
            entry.head += self.head(start.start_mark.index)
        entry.value = self.value(start, event.start_mark.column)
        self.note_inline(entry, {self.last_line()})
        return entry

    def item(self, made: WrittenCollection) -> WrittenEntry:
        start = self.take()
        mark = start.start_mark
        if not made.is_flow:
            mark = self.dashes[self.next_dash]
            self.next_dash += 1
        head = self.head(mark.index, mark.line)
        if not made.is_flow or _opens(start):
            head += self.head(start.start_mark.index)
        entry = WrittenEntry(None, WrittenScalar("", "", ""), head)
        if _opens(start):
            self.note_inline(entry, {start.start_mark.line}, self.first_of(start))
        entry.value = self.value(start, mark.column)
        self.note_inline(entry, {self.last_line()})
        return entry

    def first_of(self, start: Any) -> int:
        """Return where what is in a collection begins: for a block of items, at the first dash."""
        is_block = type(start) is yaml.SequenceStartEvent and not start.flow_style
        mark = self.dashes[self.next_dash] if is_block else self.peek().start_mark
        return int(mark.index)

    def last_line(self) -> int:
        """Return the line on which a comment would belong to what was read last; -1 for none.

        A block of entries ends where the next token stands, which is not its own.
        """
        event = self.events[self.position - 1]
        if isinstance(event, _ENDS) and not self.was_flow:
            return -1
        is_block = getattr(event, "style", None) in BLOCK_STYLES
        return int(event.start_mark.line if is_block else event.end_mark.line)

    def note_inline(self, entry: WrittenEntry, lines: set[int], limit: int | None = None) -> None:
        """Give `entry` the comments that end one of `lines`, up to `limit` or the next event."""
        limit = self.peek().start_mark.index if limit is None else limit
        while (comment := self.waiting(limit)) and not comment.stands_alone:
            if comment.line not in lines:
                return
            self.next_comment += 1
            if entry.comment:
                entry.head.append(comment.text)
            else:
                entry.comment = comment.text

    def waiting(self, limit: int) -> Comment | None:
        if self.next_comment < len(self.comments):
            comment = self.comments[self.next_comment]
            return comment if comment.index < limit else None
        return None

    def head(self, limit: int, line: int | None = None) -> list[str]:
        """Take the comments before `limit`, and the blank lines around them and before `line`."""
        found: list[str] = []
        while comment := self.waiting(limit):
            self.next_comment += 1
            found += self.with_blank(comment.line if comment.stands_alone else 0, comment.text)
        return found if line is None else found + self.with_blank(line, "")[:-1]

    def with_blank(self, line: int, text: str) -> list[str]:
        is_apart = line > 0 and not self.lines[line - 1].strip(" \t")
        return ["", text] if is_apart else [text]

    def tail(self, limit: int, column: int) -> list[str]:
        """Take the comments before `limit` that are indented deeper than `column`."""
        found: list[str] = []
        while (comment := self.waiting(limit)) and comment.column > column:
            self.next_comment += 1
            found += self.with_blank(comment.line, comment.text)
        return found

    def following_column(self) -> int:
        """Return where the next key or dash stands; -1 at the end of the document."""
        index = self.position
        while isinstance(self.events[index], _ENDS):
            index += 1
        event = self.events[index]
        if type(event) is yaml.DocumentEndEvent:
            return -1
        mark = self.events[self.position - 1].end_mark
        return int(mark.column)


def _of_the_file(first: WrittenEntry) -> tuple[list[str], list[str]]:
    """Split the comments above the first key: those of the file, and those of the key.

    A blank line divides them. Without one they are the file's where the first key says nothing that
    needs a comment; else only the line by which editors find the schema.
    """
    lines = first.head
    blanks = [index for index, line in enumerate(lines) if not line and index]
    if blanks:
        return lines[: blanks[-1] + 1], lines[blanks[-1] + 1 :]
    if first.key is not None and first.key.value in {"manifest", "extends"}:
        return lines, []
    return [line for line in lines if _is_modeline(line)], [
        line for line in lines if not _is_modeline(line)
    ]


def _is_modeline(line: str) -> bool:
    return line.startswith("# yaml-language-server:")


def _opens(event: Any) -> bool:
    return isinstance(event, yaml.CollectionStartEvent)


def _all(loader: Any, method: str) -> list[Any]:
    try:
        return list(iter(getattr(loader, method), None))
    finally:
        loader.dispose()


def _comments(text: str, tokens: list[Any]) -> Iterator[Comment]:
    """Find the comments: between tokens stand only they and white space."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    for gap, end in _gaps(text, tokens):
        for match in re.compile("#.*").finditer(text, gap, end):
            at = match.start()
            line = bisect(starts, at) - 1
            first = starts[line]
            stands_alone = not text[first:at].strip(" \t")
            yield Comment(at, line, at - first, match[0].rstrip(" \t"), stands_alone)


def _gaps(text: str, tokens: list[Any]) -> Iterator[tuple[int, int]]:
    end = 0
    for token in tokens:
        start = token.start_mark.index
        yield end, start
        end = token.end_mark.index
        if type(token) is yaml.ScalarToken and token.style in BLOCK_STYLES:
            yield start, _line_end(text, start)  # the header of a block may end in a comment


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end


def _starts(
    text: str, tokens: list[Any], ends: dict[int, NodePath]
) -> Iterator[tuple[int, int, NodePath]]:
    """Yield the index and column of every key and item, with its path, in order.

    `ends` receives the path of every collection between brackets, by the index of its end.
    """
    dashes = (token.start_mark for token in tokens if type(token) is yaml.BlockEntryToken)
    waiting: list[_Opened] = []
    for event in _all(LOADER(text), "get_event"):
        if isinstance(event, _ENDS):
            done, at = waiting.pop(), event.start_mark
            if done.is_flow and at is not None:
                ends[at.index] = done.path
        if not isinstance(event, yaml.NodeEvent):
            continue
        path: NodePath = ()
        if waiting:
            top = waiting[-1]
            is_key = top.is_mapping and not top.has_key
            path = top.step(getattr(event, "value", ""))
            if is_key or not top.is_mapping:
                is_dashed = not (top.is_mapping or top.is_flow)
                mark: Any = next(dashes) if is_dashed else event.start_mark
                yield mark.index, mark.column, path
        if isinstance(event, yaml.CollectionStartEvent):
            is_mapping = type(event) is yaml.MappingStartEvent
            waiting.append(_Opened(path, is_mapping, bool(event.flow_style)))


@dataclass(slots=True)
class _Opened:
    """A collection that is being walked through, and where in it the walk stands."""

    path: NodePath
    is_mapping: bool
    is_flow: bool
    count: int = 0
    has_key: bool = False
    key: str = ""

    def step(self, value: str) -> NodePath:
        """Take a key, the value of the last one, or an item; return its path."""
        if not self.is_mapping:
            self.count += 1
            return (*self.path, self.count - 1)
        if not self.has_key:
            self.key = value
        self.has_key = not self.has_key
        return (*self.path, self.key)
