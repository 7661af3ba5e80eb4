"""A tree as it is written → its text in canonical style.

Two spaces for each level, lists below their key included; comments two spaces after a value; one
blank line at most, and one around each section of several lines. What is written with brackets
stays so while it fits in a line of 100 characters and has no comment inside, else it takes a line
for each entry.

In: a `Document`. Out: its text. Refuses nothing.
"""

from collections.abc import Iterator

from assembler.review.formatting.scalars import (
    commented,
    keeps_blank_lines,
    key_text,
    lines_of,
    one_line,
    with_anchor,
)
from assembler.review.formatting.written import Collection, Document, Entry, Leaf

_WIDTH = 100
_SIMPLE_KEY = 900  # YAML looks no further than 1024 characters for the colon of a key
_BLANK = "\N{NULL}"  # a blank line between entries, as long as nothing speaks against it
_KEPT = "\N{START OF HEADING}"  # a value whose trailing blank lines count ends here

# Neither stands in a manifest: its reader refuses control characters.


def text_of(document: Document) -> str:
    """Return the text of a document; nothing for one that is empty."""
    marker = ["---"] if document.is_marked else []
    lines = [*_shown(document.head, 0), *marker, *_shown(document.top, 0)]
    root = document.root
    if isinstance(root, Leaf):
        lines += filter(None, [one_line(root)])
    elif not root.entries:
        lines += _entry(Entry(None, root, []), -2)
    else:
        lines += [f"&{root.anchor}"] if root.anchor else []
        lines += _sections(root)
    return "".join(f"{line}\n" for line in _spaced(lines))


def _sections(root: Collection) -> Iterator[str]:
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


def _entry(entry: Entry, indent: int) -> list[str]:
    head = _shown(entry.head, indent)
    name = "-"
    if entry.key is not None:
        name = f"{key_text(entry.key)}:"
        if len(name) > _SIMPLE_KEY:
            head.append(f"{' ' * indent}? {name[:-1]}")
            name = ":"
    if isinstance(entry.value, Leaf):
        return [*head, *_leaf(entry.value, name, indent, entry.comment)]
    node = entry.value
    if not node.entries:
        head += _shown(node.tail, indent)
    text = _in_one_line(node)
    if text is not None:
        line = f"{' ' * indent}{name} {text}" if indent >= 0 else text
        if len(line) <= _WIDTH or not node.entries:
            return [*head, commented(line, entry.comment)]
    inner = _block(node, indent + 2)
    if entry.key is None and not node.anchor:
        return [*head, *_compact(entry, inner, indent)]
    line = f"{' ' * indent}{name} {with_anchor(node.anchor, '')}".rstrip(" ")
    return [*head, commented(line, entry.comment), *inner]


def _leaf(leaf: Leaf, name: str, indent: int, comment: str) -> list[str]:
    start = " " * indent + name
    text = one_line(leaf)
    if text is not None:
        return [commented(f"{start} {text}".rstrip(" "), comment)]
    first, *others = lines_of(leaf, indent + 2, comment)
    return [f"{start} {first}", *others, *([_KEPT] if keeps_blank_lines(leaf) else [])]


def _compact(entry: Entry, inner: list[str], indent: int) -> list[str]:
    """Put the dash before the first line of what an item holds, and its comments above."""
    above = _shown([entry.comment], indent) if entry.comment else []
    while inner[0] == _BLANK or inner[0].lstrip(" ").startswith("#"):
        line = inner.pop(0)
        above.append(line if line == _BLANK else " " * max(indent, 0) + line.lstrip(" "))
    if indent >= 0:
        inner[0] = f"{' ' * indent}- {inner[0][indent + 2 :]}"
    return [*above, *inner]


def _block(node: Collection, indent: int) -> list[str]:
    lines: list[str] = []
    for entry in node.entries:
        lines += _entry(entry, indent) if lines else _without_blank(_entry(entry, indent))
    return [*lines, *_shown(node.tail, indent)]


def _in_one_line(node: Collection) -> str | None:
    """Return what is written with brackets as one line; None where it cannot be."""
    if not node.entries:
        return with_anchor(node.anchor, "{}" if node.is_mapping else "[]")
    if not node.is_flow or any(node.tail):
        return None
    parts = []
    for entry in node.entries:
        value = entry.value
        text = one_line(value) if isinstance(value, Leaf) else _in_one_line(value)
        key = f"{key_text(entry.key)}: " if entry.key else ""
        if text is None or entry.comment or any(entry.head) or len(key) > _SIMPLE_KEY:
            return None
        parts.append(f"{key}{text or 'null'}")
    inside = ", ".join(parts)
    return with_anchor(node.anchor, f"{{{inside}}}" if node.is_mapping else f"[{inside}]")


def _shown(lines: list[str], indent: int) -> list[str]:
    return [" " * indent + line if line else _BLANK for line in lines]


def _without_blank(lines: list[str]) -> list[str]:
    return lines[1:] if lines[0] == _BLANK else lines
