"""A scalar as it is written → its lines in canonical style.

In: a `Leaf` and where it stands. Out: its lines, of which the first follows the key. A text that
older readers take for something else (`no`, `010`, `1:30`) gets quotes, single quotes become double
ones where nothing needs escaping, and lines that go on are indented anew; no text is broken or
joined. Refuses nothing.
"""

import re

import yaml

from assembler.document.parser import plain_value
from assembler.review.formatting.comments import BLOCK_STYLES
from assembler.review.formatting.written import Leaf

_RESOLVERS = yaml.SafeLoader.yaml_implicit_resolvers  # of YAML 1.1, as most other readers have them
_TRAILING = re.compile(r"(?<!\\)[ \t]+$")


def one_line(leaf: Leaf) -> str | None:
    """Return a scalar with its anchor as one line; None where it takes more."""
    if leaf.style in BLOCK_STYLES or "\n" in leaf.raw:
        return None
    return with_anchor(leaf.anchor, leaf.raw if leaf.style == "*" else _quoted(leaf))


def key_text(leaf: Leaf) -> str:
    """Return a key as one line, whatever it was written as."""
    if leaf.style in BLOCK_STYLES or "\n" in leaf.raw:
        return with_anchor(leaf.anchor, _in_double_quotes(leaf.value))
    return with_anchor(leaf.anchor, _quoted(leaf))


def with_anchor(anchor: str, text: str) -> str:
    """Put the anchor before what it names."""
    return f"&{anchor} {text}".rstrip(" ") if anchor else text


def commented(text: str, comment: str) -> str:
    """Put a comment behind a line."""
    return f"{text}  {comment}" if comment else text


def lines_of(leaf: Leaf, indent: int, comment: str) -> list[str]:
    """Return a scalar of several lines: those after the first at `indent`, with its comment."""
    if leaf.style in BLOCK_STYLES:
        return _block(leaf, indent, comment)
    first, *others = [_TRAILING.sub("", line) for line in leaf.raw.split("\n")]
    rest = [line.lstrip(" \t") for line in others]
    padded = [" " * indent + line if line else "" for line in rest]
    padded[-1] = commented(" " * indent + rest[-1], comment)
    return [with_anchor(leaf.anchor, first), *padded]


def keeps_blank_lines(leaf: Leaf) -> bool:
    """Tell whether blank lines after a scalar are part of it."""
    return leaf.style in BLOCK_STYLES and "+" in _header(leaf)


def _quoted(leaf: Leaf) -> str:
    if leaf.style == "'" and leaf.value.isprintable() and not set(leaf.value) & {'"', "\\"}:
        return f'"{leaf.value}"'
    if leaf.style or not leaf.raw:
        return leaf.raw
    is_text = isinstance(plain_value(leaf.raw), str)
    return _in_double_quotes(leaf.raw) if is_text and _reads_otherwise(leaf.raw) else leaf.raw


def _reads_otherwise(text: str) -> bool:
    known = _RESOLVERS.get(text[0], [])
    return any(pattern.match(text) for _, pattern in known)


def _in_double_quotes(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    shown = "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped)
    return f'"{shown}"'


def _block(leaf: Leaf, indent: int, comment: str) -> list[str]:
    text = re.search("(?m)^( *)[^ \n]", leaf.value)
    header = _header(leaf)
    if text is None:  # white space alone, which indentation could change
        return [commented(with_anchor(leaf.anchor, _in_double_quotes(leaf.value)), comment)]
    raw = leaf.raw.split("\n")[1:]
    first = next(line for line in raw if line.strip(" "))
    cut = len(first) - len(first.lstrip(" ")) - len(text[1])
    content = [line[cut:] for line in raw]
    while not content[-1]:
        content.pop()
    if "+" in header:
        content += [""] * (len(leaf.value) - len(leaf.value.rstrip("\n")) - 1)
    starts_with_space = next(line for line in content if line).startswith(" ")
    chomping = re.sub("[^-+]", "", header)
    opening = f"{leaf.style}{2 if starts_with_space else ''}{chomping}"
    padded = [" " * indent + line if line else "" for line in content]
    return [commented(with_anchor(leaf.anchor, opening), comment), *padded]


def _header(leaf: Leaf) -> str:
    return leaf.raw.partition("\n")[0].partition("#")[0]
