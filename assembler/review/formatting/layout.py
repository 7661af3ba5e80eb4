"""A tree as it is written → its text in canonical style.

Two spaces for each level, lists below their key included; comments two spaces after a value; one
blank line at most, and one around each section of several lines. What is written with brackets
stays so while it fits in a line of 100 characters and has no comment inside, else it takes a line
for each entry.

A text that older readers take for something else (`no`, `010`, `1:30`) gets quotes, single quotes
become double ones where nothing needs escaping, and lines that go on are indented anew; no text is
broken or joined.

In: a `WrittenDocument`. Out: its text.
"""

import re
from collections.abc import Iterator

import yaml

from assembler.document.parser import plain_value
from assembler.review.formatting.written import (
    BLOCK_STYLES,
    WrittenCollection,
    WrittenDocument,
    WrittenEntry,
    WrittenScalar,
)

_RESOLVERS = yaml.SafeLoader.yaml_implicit_resolvers  # of YAML 1.1, as most other readers have them
_TRAILING = re.compile(r"(?<!\\)[ \t]+$")
_WIDTH = 100
_SIMPLE_KEY = 900  # YAML looks no further than 1024 characters for the colon of a key
_BLANK = "\N{NULL}"  # a blank line between entries, as long as nothing speaks against it
_KEPT = "\N{START OF HEADING}"  # a value whose trailing blank lines count ends here

# Neither stands in a manifest: its reader refuses control characters.


def text_of(document: WrittenDocument) -> str:
    """Return the text of a document; nothing for one that is empty."""
    marker = ["---"] if document.is_marked else []
    lines = [*_shown(document.head, 0), *marker, *_shown(document.top, 0)]
    root = document.root
    if isinstance(root, WrittenScalar):
        lines += filter(None, [_one_line(root)])
    elif not root.entries:
        lines += _entry(WrittenEntry(None, root, []), -2)
    else:
        lines += [f"&{root.anchor}"] if root.anchor else []
        lines += _sections(root)
    return "".join(f"{line}\n" for line in _spaced(lines))


def _sections(root: WrittenCollection) -> Iterator[str]:
    was_long = False
    for number, entry in enumerate(root.entries):
        lines = _entry(entry, 0)
        is_long = len(lines) - len(entry.head) > 1
        if number and (is_long or was_long):
            yield _BLANK
        yield from lines if number else _without_blank(lines)
        was_long = is_long
    yield from _shown(root.tail, 0)


def _spaced(lines: list[str]) -> Iterator[str]:
    """Turn marks into blank lines: none at the start or the end, no two, none that is a value's."""
    is_blank, is_kept, seen = False, False, False
    for line in lines:
        if line == _BLANK:
            is_blank = seen and not is_kept
        elif line == _KEPT:
            is_kept = True
        else:
            if is_blank:
                yield ""
            yield line
            is_blank, is_kept, seen = False, False, True


def _entry(entry: WrittenEntry, indent: int) -> list[str]:
    head = _shown(entry.head, indent)
    name = "-"
    if entry.key is not None:
        name = f"{_key_text(entry.key)}:"
        if len(name) > _SIMPLE_KEY:
            head.append(f"{' ' * indent}? {name[:-1]}")
            name = ":"
    if isinstance(entry.value, WrittenScalar):
        return [*head, *_leaf(entry.value, name, indent, entry.comment)]
    node = entry.value
    if not node.entries:
        head += _shown(node.tail, indent)
    text = _in_one_line(node)
    if text is not None:
        line = f"{' ' * indent}{name} {text}" if indent >= 0 else text
        if len(line) <= _WIDTH or not node.entries:
            return [*head, _commented(line, entry.comment)]
    inner = _block(node, indent + 2)
    if entry.key is None and not node.anchor:
        return [*head, *_compact(entry, inner, indent)]
    line = f"{' ' * indent}{name} {_with_anchor(node.anchor, '')}".rstrip(" ")
    return [*head, _commented(line, entry.comment), *inner]


def _leaf(leaf: WrittenScalar, name: str, indent: int, comment: str) -> list[str]:
    start = " " * indent + name
    text = _one_line(leaf)
    if text is not None:
        return [_commented(f"{start} {text}".rstrip(" "), comment)]
    first, *others = _lines_of(leaf, indent + 2, comment)
    return [f"{start} {first}", *others, *([_KEPT] if _keeps_blank_lines(leaf) else [])]


def _compact(entry: WrittenEntry, inner: list[str], indent: int) -> list[str]:
    """Put the dash before the first line of what an item holds, and its comments above."""
    above = _shown([entry.comment], indent) if entry.comment else []
    while inner[0] == _BLANK or inner[0].lstrip(" ").startswith("#"):
        line = inner.pop(0)
        above.append(line if line == _BLANK else " " * max(indent, 0) + line.lstrip(" "))
    if indent >= 0:
        inner[0] = f"{' ' * indent}- {inner[0][indent + 2 :]}"
    return [*above, *inner]


def _block(node: WrittenCollection, indent: int) -> list[str]:
    lines: list[str] = []
    for entry in node.entries:
        lines += _entry(entry, indent) if lines else _without_blank(_entry(entry, indent))
    return [*lines, *_shown(node.tail, indent)]


def _in_one_line(node: WrittenCollection) -> str | None:
    """Return what is written with brackets as one line; None where it cannot be."""
    if not node.entries:
        return _with_anchor(node.anchor, "{}" if node.is_mapping else "[]")
    if not node.is_flow or any(node.tail):
        return None
    parts = []
    for entry in node.entries:
        value = entry.value
        text = _one_line(value) if isinstance(value, WrittenScalar) else _in_one_line(value)
        key = f"{_key_text(entry.key)}: " if entry.key else ""
        if text is None or entry.comment or any(entry.head) or len(key) > _SIMPLE_KEY:
            return None
        parts.append(f"{key}{text or 'null'}")
    inside = ", ".join(parts)
    return _with_anchor(node.anchor, f"{{{inside}}}" if node.is_mapping else f"[{inside}]")


def _shown(lines: list[str], indent: int) -> list[str]:
    return [" " * indent + line if line else _BLANK for line in lines]


def _without_blank(lines: list[str]) -> list[str]:
    return lines[1:] if lines[0] == _BLANK else lines


def _one_line(leaf: WrittenScalar) -> str | None:
    """Return a scalar with its anchor as one line; None where it takes more."""
    if leaf.style in BLOCK_STYLES or "\n" in leaf.raw:
        return None
    return _with_anchor(leaf.anchor, leaf.raw if leaf.style == "*" else _quoted(leaf))


def _key_text(leaf: WrittenScalar) -> str:
    """Return a key as one line, whatever it was written as."""
    if leaf.style in BLOCK_STYLES or "\n" in leaf.raw:
        return _with_anchor(leaf.anchor, _in_double_quotes(leaf.value))
    return _with_anchor(leaf.anchor, _quoted(leaf))


def _with_anchor(anchor: str, text: str) -> str:
    """Put the anchor before what it names."""
    return f"&{anchor} {text}".rstrip(" ") if anchor else text


def _commented(text: str, comment: str) -> str:
    """Put a comment behind a line."""
    return f"{text}  {comment}" if comment else text


def _lines_of(leaf: WrittenScalar, indent: int, comment: str) -> list[str]:
    """Return a scalar of several lines: those after the first at `indent`, with its comment."""
    if leaf.style in BLOCK_STYLES:
        return _block_scalar(leaf, indent, comment)
    first, *others = [_TRAILING.sub("", line) for line in leaf.raw.split("\n")]
    rest = [line.lstrip(" \t") for line in others]
    padded = [" " * indent + line if line else "" for line in rest]
    padded[-1] = _commented(" " * indent + rest[-1], comment)
    return [_with_anchor(leaf.anchor, first), *padded]


def _keeps_blank_lines(leaf: WrittenScalar) -> bool:
    """Tell whether blank lines after a scalar are part of it."""
    return leaf.style in BLOCK_STYLES and "+" in _header(leaf)


def _quoted(leaf: WrittenScalar) -> str:
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


def _block_scalar(leaf: WrittenScalar, indent: int, comment: str) -> list[str]:
    text = re.search("(?m)^( *)[^ \n]", leaf.value)
    header = _header(leaf)
    if text is None:  # white space alone, which indentation could change
        return [_commented(_with_anchor(leaf.anchor, _in_double_quotes(leaf.value)), comment)]
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
    return [_commented(_with_anchor(leaf.anchor, opening), comment), *padded]


def _header(leaf: WrittenScalar) -> str:
    return leaf.raw.partition("\n")[0].partition("#")[0]
