"""Text of a manifest → the same text in a document, where it can be nothing but text.

In: any text, however hostile; what stands in backticks is code. Out: one line of GitHub's Markdown
or of HTML. Line breaks, control, bidirectional and other invisible characters are made visible, and
a very long text is cut.
"""

import html
import re
from collections.abc import Iterator
from operator import itemgetter

from assembler.diagnostics.span import one_line

LONGEST = 600  # characters of one text that are shown: the manifest has it whole

_PIECE = re.compile(r"`[^`]+`| +|[^ `]+|`")
_LETTERS = r"[^\W\d_]+"
# What no reader of Markdown takes for more than a word: no mention, link, shortcode or list.
_PLAIN = re.compile(
    rf"[(\"']*(?:{_LETTERS}(?:['-]{_LETTERS})*|\d{{1,6}}(?:[.,]\d{{1,6}})?%?|[→—…])?[.,;:!?)\"']*"
)
_STOPS = ".,;:!?"
_COMMIT = re.compile(r"[0-9a-fA-F]{7}")  # code hosts link what may be one
_NUMBERED = re.compile(r"(\d)([.)])(?!\d)")  # `1.` begins a list


def shown(text: str, longest: int = LONGEST) -> str:
    """Return `text` as one visible line of at most `longest` characters."""
    line = one_line(text[: longest + 1])
    return line if len(line) <= longest and len(text) <= longest else f"{line[:longest]}…"


def markdown(text: str) -> str:
    """Write a sentence as Markdown: its code, and each word that is not a plain one, as code."""
    written: list[str] = []
    for piece, is_code in filter(itemgetter(0), _pieces(shown(text))):
        if is_code and written and written[-1].endswith("`"):
            written.append(" ")  # or the two would be read as one
        written.append(code(piece) if is_code else piece)
    # A line of nothing would underline the one above it, and make it a heading.
    return "".join(written).strip(" ") or code("")


def code(text: str) -> str:
    """Write a value as a span of code in Markdown, whatever backticks it has."""
    line = shown(text) or " "
    fence = "`" * (longest_run(line) + 1)
    is_stripped = line[0] == line[-1] == " " and line.strip(" ")
    pad = " " if is_stripped or "`" in (line[0], line[-1]) else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def longest_run(text: str) -> int:
    """Count the backticks of the longest run: what fences them has one more."""
    return max(map(len, re.findall("`+", text)), default=0)


def html_text(text: str) -> str:
    """Write a value as HTML, for an element or an attribute in double quotes."""
    return html.escape(shown(text))


def html_sentence(text: str) -> str:
    """Write a sentence as HTML: what it has in backticks is code."""
    parts = re.split(r"`([^`]+)`", shown(text))
    return "".join(
        f"<code>{html.escape(part)}</code>" if index % 2 else html.escape(part)
        for index, part in enumerate(parts)
    )


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a sentence, each with whether it is code."""
    for found in _PIECE.finditer(text):
        piece = found[0]
        if len(piece) > 1 and piece[0] == "`":
            yield piece[1:-1], True
        elif piece[0] == " ":
            yield " ", False
        elif _PLAIN.fullmatch(piece) and not _COMMIT.search(piece):
            yield _NUMBERED.sub(_entity, piece), False
        else:
            core = piece.rstrip(_STOPS)
            yield core, True
            yield piece[len(core) :], False


def _entity(match: re.Match[str]) -> str:
    return f"{match[1]}&#{ord(match[2])};"
