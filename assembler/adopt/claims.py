"""What comments say of the order of layers → where it is not so, and what would change if it were.

In: the layers as they run, the outermost first, each with its place, and the sources that they stand in.
Out: one `OrderClaim` for each comment or docstring that calls a layer the outermost or the innermost which is
not. Nothing is put in another order for it: it is told beside what is written.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

_OUTERMOST = re.compile(
    r"\b(?:outer-?most|run(?:s)? (?:as the )?first|first (?:layer|to run))\b", re.IGNORECASE
)
_INNERMOST = re.compile(
    r"\b(?:inner-?most|run(?:s)? (?:as the )?last|last (?:layer|to run))\b", re.IGNORECASE
)
_NEAR = 3  # lines above a call in which a comment is about it


@dataclass(frozen=True, slots=True)
class OrderClaim:
    """A comment that says another order than the one that there is."""

    place: str
    layer: str
    says: str  # `outermost` or `innermost`
    number: int  # of the layer as it is, from outside, from 1
    count: int
    change: str  # what would change

    def text(self) -> str:
        """Say it in one line."""
        return f"{self.place}: `{self.layer}` is called the {self.says}, and is number {self.number} of {self.count} from outside; there {self.change}"


def claims(layers: Sequence[tuple[str, str]]) -> Iterator[OrderClaim]:
    """Yield what sources claim; a layer is its class's name and its place, `file:line`."""
    names = [name for name, _ in layers]
    files = dict.fromkeys(place.rpartition(":")[0] for _, place in layers)
    lines = ((file, *line) for file in files for line in _comments(Path(file)))
    ends = (("outermost", _OUTERMOST, 0), ("innermost", _INNERMOST, len(layers) - 1))
    for (file, line, text), (says, pattern, wanted) in product(lines, ends):
        at = _meant(text, line, file, layers) if pattern.search(text) else None
        if at is not None and at != wanted:
            change = _change(names, at, says)
            yield OrderClaim(f"{file}:{line}", names[at], says, at + 1, len(layers), change)


def _comments(path: Path) -> Iterator[tuple[int, str]]:
    """Yield comments and docstrings with their lines."""
    try:
        text = path.read_text("utf-8")
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
        tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError, tokenize.TokenError):
        return
    for token in tokens:
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            said = ast.get_docstring(node)
            if said is not None:
                for offset, line in enumerate(said.splitlines()):
                    yield first.lineno + offset, line


def _meant(text: str, line: int, file: str, layers: Sequence[tuple[str, str]]) -> int | None:
    """Return the layer that a comment is about: one that it names, else the next one below it."""
    words = set(re.findall(r"[a-z0-9]+", text.lower()))
    for at, (name, _) in enumerate(layers):
        bare = name.lower().removesuffix("middleware")
        if bare and (bare in words or name.lower() in words):
            return at
    below = {}
    for at, (_, place) in enumerate(layers):
        where, _, number = place.rpartition(":")
        if where == file and number.isdigit() and 0 <= int(number) - line <= _NEAR:
            below[int(number)] = at
    return below[min(below)] if below else None


def _change(names: Sequence[str], at: int, says: str) -> str:
    passed = names[:at] if says == "outermost" else names[at + 1 :]
    others = ", ".join(f"`{name}`" for name in passed)
    if says == "outermost":
        return f"what {others} answer by themselves (500s, 429s, preflights) would pass it, and it would see the request first"
    return f"it would no longer see what {others} answer by themselves (500s, 429s, preflights)"
