"""SQL text → tokens and statements, by the lexical rules of its dialect.

In: a text, and the name of its dialect. Out: tokens without comments, and the statements they make:
a `;` inside a string, a comment, a dollar quote, parentheses or the body of a function or trigger
ends none. Refuses, as `Unclosed`, a quote or comment that never ends. Knows words, no grammar.

Rules: PostgreSQL 18 "Lexical Structure" (comments nest, `E'…'` has escapes, `$tag$…$tag$`), SQLite
"Tokenizer" (`[name]`, a comment may end with the text), MySQL "Literal Values" (escapes, `#`).
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import zip_longest
from typing import Literal, NamedTuple

Kind = Literal["word", "name", "text", "number", "symbol"]

_LETTER = r"A-Za-z_\x80-\U0010ffff"
_WORD = rf"(?P<word>[{_LETTER}][{_LETTER}0-9$]*)"
_NO_ESCAPED = "(?![eE]')"  # with a quote behind it, E is the start of a string
_PLAIN = r"'(?:[^']|'')*'"
_ESCAPED = r"'(?:[^'\\]|''|\\.)*'"
_COMMON = rf"(?P<space>\s+|--[^\r\n]*)|(?P<comment>/\*)|{{text}}|{{name}}|{{before_word}}{_WORD}|(?P<number>\d[\w.]*)"
_NAME = r"""(?P<name>(?:[uU]&)?"(?:[^"]|"")*")"""
_FORMS = {
    "postgresql": _COMMON.format(
        text=rf"(?P<text>[eE]{_ESCAPED}|(?:[bBxXnN]|[uU]&)?{_PLAIN})"
        rf"|(?P<dollar>\$(?:[{_LETTER}][{_LETTER}0-9]*)?\$)",
        name=_NAME,
        before_word=_NO_ESCAPED,
    ),
    "sqlite": _COMMON.format(
        text=rf"(?P<text>[xX]?{_PLAIN})",
        name=r"""(?P<name>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])""",
        before_word="",
    ),
    "mysql": r"(?P<hash>#[^\r\n]*)|"
    + _COMMON.format(
        text=rf"""(?P<text>(?:[bBxXnN])?{_ESCAPED}|"(?:[^"\\]|""|\\.)*")""",
        name=r"(?P<name>`(?:[^`]|``)*`)",
        before_word="",
    ),
    "": _COMMON.format(text=rf"(?P<text>{_PLAIN})", name=_NAME, before_word=""),
}
_FORMS["mariadb"] = _FORMS["mysql"]
_OPENERS = {"": "'\"", "sqlite": "'\"`[", "mysql": "'\"`", "mariadb": "'\"`"}
_COMMENT = re.compile(r"/\*|\*/")
_BLOCKS = frozenset({"BEGIN", "END"})
_BODIES = frozenset({"FUNCTION", "PROCEDURE", "TRIGGER", "EVENT"})
_HEAD = 16  # tokens of a CREATE among which its kind stands, behind OR REPLACE or DEFINER = a@b
_OTHER_ENDS = frozenset({"IF", "LOOP", "WHILE", "REPEAT", "FOR", "CASE"})
_BEFORE_A_NAME = frozenset({"SELECT", "AS", "BY", "WHERE", "AND", "OR", "NOT", "ON", "OF"})
_AFTER_A_NAME = frozenset(
    {"FROM", "AS", "ASC", "DESC", "AND", "OR", "IS", "IN", "LIKE", "BETWEEN", "WHERE", "GROUP"}
    | {"ORDER", "LIMIT", "THEN", "ELSE", "WHEN"}
)


class Token(NamedTuple):
    """One token, and where it starts in the text; a word is an unquoted name or keyword."""

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where the text goes on."""
        return self.start + len(self.text)

    @property
    def keyword(self) -> str:
        """The word in capitals; nothing for any other token."""
        return self.text.upper() if self.kind == "word" else ""


class Unclosed(ValueError):  # noqa: N818  # reads as what is wrong
    """Something that starts at `start` never ends."""

    def __init__(self, what: str, start: int) -> None:
        super().__init__(f"{what} never ends")
        self.start = start


def scan(text: str, dialect: str = "") -> Iterator[Token]:
    """Yield the tokens of `text`; raises `Unclosed`."""
    pattern = _pattern(dialect if dialect in _FORMS else "")
    at = 0
    while at < len(text):
        match = pattern.match(text, at)
        kind = match.lastgroup if match else _opened(text, at, dialect)
        end = match.end() if match else at + 1
        if kind == "comment":
            end = _comment_end(text, at, dialect)
        elif kind == "dollar" and match:
            end = text.find(match[0], end) + len(match[0])
            if end < match.end() + len(match[0]):
                raise Unclosed(f"the dollar quote `{match[0]}`", at)
            yield Token("text", text[at:end], at)
        elif kind not in {"space", "hash"}:
            yield Token(kind, text[at:end], at)  # type: ignore[arg-type]  # the groups are the kinds
        at = end


def statements(text: str, dialect: str = "") -> list[list[Token]]:
    """Split `text` at each `;` that ends a statement; empty ones are left out."""
    found: list[list[Token]] = [[]]
    parentheses = blocks = 0
    tokens = list(scan(text, dialect))
    for token, following in zip_longest(tokens, tokens[1:]):
        here = found[-1]
        if token.kind == "symbol" and token.text in {"(", ")"}:
            parentheses = max(0, parentheses + (1 if token.text == "(" else -1))
        elif token.keyword in _BLOCKS and here and here[0].keyword == "CREATE":
            blocks = max(0, blocks + _block_step(token, here, following, blocks, dialect))
        if token.text == ";" and token.kind == "symbol" and not parentheses and not blocks:
            found.append([])
        else:
            here.append(token)
    return [tokens for tokens in found if tokens]


@cache
def _pattern(dialect: str) -> re.Pattern[str]:
    """Compiled when it is needed: all of them at the import took 18 ms of every start."""
    return re.compile(_FORMS[dialect], re.DOTALL)


def _opened(text: str, at: int, dialect: str) -> Kind:
    """Return the kind of a lone character; raises `Unclosed` where it opens a quote."""
    if dialect == "postgresql" and text[at] in "eE":
        raise Unclosed("a string", at + 1)
    if text[at] in _OPENERS.get(dialect, _OPENERS[""]):
        raise Unclosed("a string" if text[at] == "'" else "a quoted name", at)
    return "symbol"


def _comment_end(text: str, at: int, dialect: str) -> int:
    depth = 0
    nests = dialect in {"postgresql", ""}
    for mark in _COMMENT.finditer(text, at):
        if mark[0] == "*/":
            depth -= 1
        elif nests or not depth:
            depth += 1
        if not depth:
            return mark.end()
    if dialect == "sqlite":
        return len(text)
    raise Unclosed("a comment", at)


def _block_step(
    token: Token, before: list[Token], following: Token | None, blocks: int, dialect: str
) -> int:
    """Say whether `BEGIN` or `END` opens or closes a block of the body of a function or trigger.

    Both may be names of columns: an `END` that closes stands where a statement would begin, and so
    never ends a `CASE` of an expression; a `BEGIN` that opens has `ATOMIC` behind it in PostgreSQL,
    opens the one block of a trigger in SQLite, and has a statement behind it elsewhere.
    """
    last, after = before[-1], following.keyword if following else ""
    if token.keyword == "END":
        is_first = last.text == ";" or last.keyword in {"BEGIN", "ATOMIC"}
        return -1 if blocks and is_first and after not in _OTHER_ENDS else 0
    if blocks and dialect in {"postgresql", "sqlite"}:
        return 0
    if dialect == "postgresql":
        is_opened = after == "ATOMIC"
    else:
        is_name = last.text in {".", ","} or last.keyword in _BEFORE_A_NAME
        is_opened = bool(after) and after not in _AFTER_A_NAME and not is_name
    head = before[:_HEAD] if not blocks else ()
    return int(is_opened and (blocks > 0 or any(item.keyword in _BODIES for item in head)))
