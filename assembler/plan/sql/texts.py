"""A text of SQL inside a manifest, or in a file of its own → the place of each of its characters.

In: the node that holds the text. Out: a `SqlText`, which tells the span of a stretch of the text.
Block, plain and quoted scalars are followed character by character past what YAML adds (indents,
folds, doubled quotes); where that does not come out even, the place is the first line of the node.
"""

from dataclasses import dataclass

from assembler.diagnostics.span import File, Span
from assembler.document.nodes import ScalarNode


@dataclass(frozen=True, slots=True)
class SqlText:
    """A text, and where it stands: `span` is that of its node, None where it is a whole file."""

    text: str
    file: File
    span: Span | None = None

    def place(self, start: int, end: int | None = None) -> Span:
        """Return the place of the characters from `start` to `end`, on their first line."""
        stop = start + 1 if end is None else max(end, start + 1)
        found = self._in_file(start) if self.span is None else self._in_node(start)
        if found is None:
            return first_line(self.span) if self.span else Span(self.file, 1, 1, 1, 1)
        line, column = found
        line_end = self.text.find("\n", start)
        length = (stop if line_end < 0 else min(stop, line_end)) - start
        width = len(self.file.lines[line - 1]) + 1
        return Span(self.file, line, column, line, max(min(column + length, width), column + 1))

    def _in_file(self, at: int) -> tuple[int, int]:
        before = self.text[:at].replace("\r\n", "\n").replace("\r", "\n")
        return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1

    def _in_node(self, at: int) -> tuple[int, int] | None:
        """Count the characters before `at` that are no space: the manifest has the same ones."""
        assert self.span is not None  # noqa: S101  # the caller looked
        left = sum(not char.isspace() for char in self.text[:at])
        for line, column, char in _characters(self.span):
            if not left:
                return (line, column) if char == self.text[at : at + 1] else None
            left -= 1
        return None


def source_of(node: ScalarNode) -> SqlText:
    """Return the text of a scalar."""
    return SqlText(str(node.value), node.span.file, node.span)


def first_line(span: Span) -> Span:
    """Return the part of `span` that lies on its first line."""
    if span.end_line == span.line:
        return span
    end = len(span.file.lines[span.line - 1]) + 1
    return span._replace(end_line=span.line, end_column=end)


def _characters(span: Span) -> list[tuple[int, int, str]]:
    """List line, column and character of what a scalar shows, spaces left out."""
    lines = span.file.lines
    found = []
    for line in range(span.line, min(span.end_line, len(lines)) + 1):
        low = span.column - 1 if line == span.line else 0
        high = span.end_column - 1 if line == span.end_line else len(lines[line - 1])
        text = lines[line - 1][low:high]
        found += [(line, low + i + 1, char) for i, char in enumerate(text) if not char.isspace()]
    if found and found[0][2] in "|>":
        return [item for item in found if item[0] > span.line]
    if found and found[0][2] in "'\"":
        return _unquoted(found[1:-1], found[0][2])
    return found


def _unquoted(found: list[tuple[int, int, str]], quote: str) -> list[tuple[int, int, str]]:
    """Drop the first of two quotes, or the backslash before one; other escapes end the match."""
    mark = "\\" if quote == '"' else "'"
    kept: list[tuple[int, int, str]] = []
    at = 0
    while at < len(found):
        is_pair = found[at][2] == mark and at + 1 < len(found) and found[at + 1][2] in {quote, mark}
        at += is_pair
        kept.append(found[at])
        at += 1
    return kept
