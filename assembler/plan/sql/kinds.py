"""The tokens of a statement → how it has to be run.

In: tokens of one statement, its dialect. Out: whether it can run inside a transaction, whether it
controls one itself, and which index it builds beside its readers and writers. Refuses nothing.

Lists: the notes "cannot be executed inside a transaction block" of the commands of PostgreSQL 18,
and https://sqlite.org/lang.html.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from assembler.plan.sql.scanner import Token

_CONTROL = frozenset(
    {"BEGIN", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "START"}
)
_ALONE = frozenset(
    {
        *(("CREATE", kind) for kind in ("DATABASE", "TABLESPACE", "SUBSCRIPTION")),
        *(("DROP", kind) for kind in ("DATABASE", "TABLESPACE", "SUBSCRIPTION")),
        *(("ALTER", kind) for kind in ("SYSTEM", "DATABASE", "SUBSCRIPTION")),
        *(("REINDEX", kind) for kind in ("DATABASE", "SYSTEM", "SCHEMA")),
    }
)
_ALONE_IN_SQLITE = frozenset({"VACUUM", "PRAGMA", "ATTACH", "DETACH"})


@dataclass(frozen=True, slots=True)
class BuiltIndex:
    """An index that is built concurrently, and its table, both as they are written."""

    name: str
    table: str


def keywords(tokens: Sequence[Token]) -> list[str]:
    """Return the words of a statement in capitals, without names in quotes."""
    return [token.keyword for token in tokens if token.kind == "word"]


def controls_transaction(tokens: Sequence[Token]) -> bool:
    """Tell whether the statement begins or ends a transaction."""
    words = keywords(tokens[:2])
    return bool(words) and (words[0] in _CONTROL or words == ["PREPARE", "TRANSACTION"])


def runs_alone(tokens: Sequence[Token], dialect: str) -> bool:
    """Tell whether the statement is refused inside a transaction."""
    words = keywords(tokens) or [""]
    if dialect == "sqlite":
        return words[0] in _ALONE_IN_SQLITE
    if dialect != "postgresql":
        return False
    if words[0] == "VACUUM" or is_concurrent(tokens):
        return True
    if words[0] == "CLUSTER":
        return words[1:] in ([], ["VERBOSE"])
    first = _after_parentheses(tokens) if words[0] == "REINDEX" else words[1:2]
    return any((words[0], word) in _ALONE for word in first)


def is_concurrent(tokens: Sequence[Token]) -> bool:
    """Tell whether it works beside readers and writers; `REFRESH … CONCURRENTLY` is no such one."""
    words = keywords(tokens) or [""]
    if "CONCURRENTLY" not in words:
        return False
    return words[0] in {"REINDEX", "ALTER"} or (
        words[0] in {"CREATE", "DROP"} and "INDEX" in words[1:3]
    )


def built_index(tokens: Sequence[Token]) -> BuiltIndex | None:
    """Return the index of a `CREATE INDEX CONCURRENTLY`, where it has a name."""
    if not is_concurrent(tokens) or tokens[0].keyword != "CREATE":
        return None
    at = next(i for i, token in enumerate(tokens) if token.keyword == "CONCURRENTLY") + 1
    if [token.keyword for token in tokens[at : at + 3]] == ["IF", "NOT", "EXISTS"]:
        at += 3
    name, at = _dotted(tokens, at)
    if not name or at >= len(tokens) or tokens[at].keyword != "ON":
        return None
    at += 2 if at + 1 < len(tokens) and tokens[at + 1].keyword == "ONLY" else 1
    table, _ = _dotted(tokens, at)
    return BuiltIndex(name, table) if table else None


def _dotted(tokens: Sequence[Token], at: int) -> tuple[str, int]:
    """Read `schema.name` as it is written; return it, and where the tokens go on."""
    text = ""
    while at < len(tokens) and tokens[at].kind in {"word", "name"}:
        if tokens[at].keyword == "ON" and not text:
            break
        text += tokens[at].text
        at += 1
        if at >= len(tokens) or tokens[at].text != ".":
            break
        text += "."
        at += 1
    return text, at


def _after_parentheses(tokens: Sequence[Token]) -> list[str]:
    closing = [index for index, token in enumerate(tokens) if token.text == ")"]
    has_options = len(tokens) > 1 and tokens[1].text == "("
    start = closing[0] + 1 if has_options and closing else 1
    return [token.keyword for token in tokens[start : start + 1]]
