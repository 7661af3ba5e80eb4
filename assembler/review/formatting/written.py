"""A text → its tree as it is written: style, anchors, quotes, and each comment at its entry.

A comment on the line of a value belongs to that entry, one on a line of its own to the entry below
it, and one that is indented deeper than what follows to the end of the collection that it closes.
Round-trip loaders hang a comment on the token before it instead, so a key that moves leaves its own
comment behind and takes another's along.

In: a text that `source.read` takes, its line ends `\\n`. Out: a `Document`. Refuses nothing.
"""

from dataclasses import dataclass, field
from typing import Any

import yaml

from assembler.review.formatting.comments import BLOCK_STYLES, Comment, comments

_LOADER: Any = getattr(yaml, "CLoader", yaml.Loader)
_ENDS = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


@dataclass(slots=True)
class Leaf:
    """A scalar or an alias: `raw` is its text without anchor, `value` what the text says."""

    raw: str
    value: str
    style: str  # `'`, `"`, `|`, `>`, `*` for an alias, or nothing
    anchor: str = ""


@dataclass(slots=True)
class Entry:
    """One `key: value` or one item; `head` are the lines above it, blank ones as empty texts."""

    key: Leaf | None
    value: "Leaf | Collection"
    head: list[str]
    comment: str = ""


@dataclass(slots=True)
class Collection:
    """A mapping or a list; `tail` are the comments after its last entry."""

    is_mapping: bool
    is_flow: bool
    anchor: str
    entries: list[Entry] = field(default_factory=list)
    tail: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Document:
    """The root, whether `---` stands before it, and the comments of the whole file.

    `head` stands before the `---`, `top` before the first key whichever that is, and `comments` are
    all, in order.
    """

    root: "Leaf | Collection"
    is_marked: bool
    head: list[str]
    top: list[str]
    comments: list[str]


def read_written(text: str) -> Document:
    """Read the one document of `text`."""
    return _Reader(text).document()


class _Reader:
    """One pass over the events, with the comments that the gaps between the tokens hold."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.split("\n")
        tokens = _all(_LOADER(text), "get_token")
        self.scalars = (token for token in tokens if type(token) is yaml.ScalarToken)
        self.dashes = (token for token in tokens if type(token) is yaml.BlockEntryToken)
        self.comments = list(comments(text, tokens))
        self.next_comment = 0
        self.events: list[Any] = _all(_LOADER(text), "get_event")
        self.position = 0

    def document(self) -> Document:
        self.take()  # the start of the stream
        start = self.take()
        kind: Any = type(start)
        if kind is not yaml.DocumentStartEvent:  # nothing but comments, if that
            return self.made(Leaf("", "", ""), is_marked=False, head=[])
        head = self.head(start.end_mark.index) if start.explicit else []
        return self.made(self.value(self.take(), -1), is_marked=start.explicit, head=head)

    def made(self, root: Leaf | Collection, *, is_marked: bool, head: list[str]) -> Document:
        top = self.head(len(self.text) + 1)
        if isinstance(root, Collection) and root.entries:
            root.is_flow = False  # the sections of a manifest stand in lines of their own
            root.tail += top
            top, root.entries[0].head = _of_the_file(root.entries[0])
        return Document(root, is_marked, head, top, [comment.text for comment in self.comments])

    def take(self) -> Any:
        event = self.events[self.position]
        self.position += 1
        return event

    def peek(self) -> Any:
        return self.events[self.position]

    def value(self, event: Any, parent_column: int) -> Leaf | Collection:
        anchor = event.anchor or ""
        if type(event) is yaml.AliasEvent:
            return Leaf(f"*{anchor}", "", "*")
        if type(event) is yaml.ScalarEvent:
            if not event.value and not event.style:
                return Leaf("", "", "", anchor)
            token = next(self.scalars)
            raw = self.text[token.start_mark.index : token.end_mark.index]
            return Leaf(raw, event.value, event.style or "", anchor)
        return self.collection(event, anchor, parent_column)

    def collection(self, event: Any, anchor: str, parent_column: int) -> Collection:
        is_mapping = type(event) is yaml.MappingStartEvent
        made = Collection(is_mapping, event.flow_style, anchor)
        while not isinstance(self.peek(), _ENDS):
            made.entries.append(self.member(parent_column) if is_mapping else self.item(made))
        end = self.take()
        if made.is_flow:
            made.tail = self.head(end.start_mark.index)
        else:
            made.tail = self.tail(end.start_mark.index, max(parent_column, self.following_column()))
        return made

    def member(self, parent_column: int) -> Entry:
        event = self.take()
        head = self.head(event.start_mark.index, event.start_mark.line)
        key = self.value(event, parent_column)
        assert isinstance(key, Leaf)  # noqa: S101  # the reader of manifests takes no other key
        entry = Entry(key, key, head)
        start = self.take()
        lines = {event.end_mark.line, start.start_mark.line}
        self.note_inline(entry, lines)
        if not _opens(start):
            entry.head += self.head(start.start_mark.index)
        entry.value = self.value(start, event.start_mark.column)
        self.note_inline(entry, {self.last_line()})
        return entry

    def item(self, made: Collection) -> Entry:
        start = self.take()
        mark = start.start_mark if made.is_flow else next(self.dashes).start_mark
        head = self.head(mark.index, mark.line)
        if not made.is_flow or _opens(start):
            head += self.head(start.start_mark.index)
        entry = Entry(None, Leaf("", "", ""), head)
        if _opens(start):
            self.note_inline(entry, {start.start_mark.line})
        entry.value = self.value(start, mark.column)
        self.note_inline(entry, {self.last_line()})
        return entry

    def last_line(self) -> int:
        """Return the line on which a comment would belong to what was read last."""
        event = self.events[self.position - 1]
        is_block = getattr(event, "style", None) in BLOCK_STYLES
        return int(event.start_mark.line if is_block else event.end_mark.line)

    def note_inline(self, entry: Entry, lines: set[int]) -> None:
        """Give `entry` the comments that end one of `lines`, up to the next event."""
        limit = self.peek().start_mark.index
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


def _of_the_file(first: Entry) -> tuple[list[str], list[str]]:
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
