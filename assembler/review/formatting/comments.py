"""The tokens of a text → the comments that stand between them.

In: a text, its line ends `\\n`, and its tokens. Out: each comment with its place, in order. Refuses
nothing.
"""

import re
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

BLOCK_STYLES = frozenset({"|", ">"})


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment; `index`, `line` and `column` count from 0."""

    index: int
    line: int
    column: int
    text: str
    stands_alone: bool


def comments(text: str, tokens: list[Any]) -> Iterator[Comment]:
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
