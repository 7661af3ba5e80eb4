"""Path templates in order → for a path, the numbers of those that may match it, in order.

Only literal segments are compared; whatever a template leaves open is taken as a match, so the
answer may hold too much, never too little. Trailing slashes are left out of account, so that
one answer serves a path and the path that FastAPI would redirect it to. A route whose pattern is
not the one that its path gives is `ANYWHERE`: it may match every path.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.routing import PARAM_REGEX

# The patterns of Starlette's own convertors that take no slash. All others may take anything.
_SLASHLESS = frozenset(
    {
        "[^/]+",
        "[0-9]+",
        r"[0-9]+(\.[0-9]+)?",
        "[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}",
    }
)
_PART, _REST = "\x00", "\x01"  # a parameter within one segment, one that may cross a slash


@dataclass(frozen=True, slots=True)
class Template:
    """The segments of a path: a text, or None for any; when open, anything may follow them."""

    segments: tuple[str | None, ...]
    is_open: bool


ANYWHERE = Template((), is_open=True)


def read_template(path: str, pattern: re.Pattern[str], convertors: Mapping[str, Any]) -> Template:
    """The template that `path` spells, if `pattern` is what Starlette compiles from it."""
    expected, marked, end = "^", "", 0
    for parameter in PARAM_REGEX.finditer(path):
        literal, name = path[end : parameter.start()], parameter[1]
        regex = convertors[name].regex if name in convertors else ""
        expected += f"{re.escape(literal)}(?P<{name}>{regex})"
        marked += literal + (_PART if regex in _SLASHLESS else _REST)
        end = parameter.end()
    expected += re.escape(path[end:]) + "$"
    marked += path[end:]
    is_known = (pattern.pattern, pattern.flags) == (expected, re.UNICODE)
    if not is_known or not path.startswith("/") or _PART in path or _REST in path:
        return ANYWHERE
    head, rest, _ = marked.partition(_REST)
    if rest:
        head = head.rpartition("/")[0]
    segments = (None if _PART in segment else segment for segment in _split(head))
    return Template(tuple(segments), is_open=bool(rest))


class SegmentTree:
    """Numbered templates by their segments. Filled once, then only read, from any thread."""

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, number: int, template: Template) -> None:
        node = self._root
        for segment in template.segments:
            if segment is None:
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.literal.setdefault(segment, _Node())
        (node.open if template.is_open else node.closed).append(number)

    def find(self, path: str) -> list[int]:
        """The numbers of all templates that may match `path`, in ascending order."""
        found: list[int] = []
        _collect(self._root, _split(path), 0, found)
        bare = path.rstrip("/")
        if bare.endswith("\n"):  # the `$` of a pattern also matches before a last newline
            _collect(self._root, _split(bare[:-1]), 0, found)
        return sorted(set(found)) if len(found) > 1 else found


@dataclass(slots=True)
class _Node:
    literal: dict[str, "_Node"] = field(default_factory=dict)
    any: "_Node | None" = None
    open: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)


def _collect(node: _Node, segments: list[str], start: int, found: list[int]) -> None:
    for depth in range(start, len(segments)):
        found += node.open
        below = node.literal.get(segments[depth])
        if node.any is not None:
            if below is not None:
                _collect(below, segments, depth + 1, found)
            below = node.any
        if below is None:
            return
        node = below
    found += node.open
    found += node.closed


def _split(path: str) -> list[str]:
    return path.rstrip("/").split("/")[1:]
