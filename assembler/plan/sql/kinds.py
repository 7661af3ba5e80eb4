"""The tokens of a statement → how it has to be run.

In: tokens of one statement, its dialect. Out: whether it can run inside a transaction, whether it
controls one itself, which indexes it builds beside their readers and writers, and why it can never
be applied at all.

Lists: the notes "cannot be executed inside a transaction block" of the commands of PostgreSQL 18,
and https://sqlite.org/lang.html.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from assembler.plan.sql.scanner import Token, Unclosed, scan

_CONTROL = frozenset(
    {"BEGIN", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE", "START"}
)
_ALONE = frozenset(
    {
        *(("CREATE", kind) for kind in ("DATABASE", "TABLESPACE", "SUBSCRIPTION")),
        *(("DROP", kind) for kind in ("DATABASE", "TABLESPACE", "SUBSCRIPTION")),
        *(("ALTER", kind) for kind in ("SYSTEM", "DATABASE", "SUBSCRIPTION")),
        ("DISCARD", "ALL"),
    }
)
# Of a partitioned table, or without one, these are refused inside a transaction: words do not tell.
_ALONE_WHATEVER_FOLLOWS = frozenset({"VACUUM", "REINDEX", "CLUSTER", "REPACK"})
_ALONE_IN_SQLITE = frozenset({"VACUUM", "PRAGMA", "ATTACH", "DETACH"})


@dataclass(frozen=True, slots=True)
class BuiltIndex:
    """An index that is built concurrently, and its table, both as they are written."""

    name: str
    table: str


@dataclass(frozen=True, slots=True)
class Reindexed:
    """What is indexed anew concurrently: `INDEX`, `TABLE`, `SCHEMA`, …, and its name as written."""

    kind: str
    name: str


def keywords(tokens: Sequence[Token]) -> list[str]:
    """Return the words of a statement in capitals, without names in quotes."""
    return [token.keyword for token in tokens if token.kind == "word"]


def controls_transaction(tokens: Sequence[Token]) -> bool:
    """Tell whether the statement begins or ends a transaction."""
    words = keywords(tokens[:2])
    return bool(words) and (words[0] in _CONTROL or words == ["PREPARE", "TRANSACTION"])


def runs_alone(tokens: Sequence[Token], dialect: str) -> bool:
    """Tell whether the statement is refused inside a transaction, or ends one in its own body."""
    words = keywords(tokens) or [""]
    if dialect == "sqlite":
        return words[0] in _ALONE_IN_SQLITE
    if dialect != "postgresql":
        return False
    if words[0] in _ALONE_WHATEVER_FOLLOWS or is_concurrent(tokens):
        return True
    return tuple(words[:2]) in _ALONE or (words[0] == "DO" and any(map(_commits, tokens)))


def never_applied(tokens: Sequence[Token], dialect: str) -> tuple[Token, str, str] | None:
    """Return where, why and what to write instead, of what no try could apply as it is meant."""
    if dialect != "postgresql":
        return None
    words = [token.keyword for token in tokens]
    if words[:1] == ["COPY"]:
        for at in range(1, len(words) - 1):
            if (words[at], words[at + 1]) in {("FROM", "STDIN"), ("TO", "STDOUT")}:
                message = f"`{tokens[at + 1].text}` is the stream of a client, and there is none"
                return tokens[at + 1], message, "write `INSERT`, or name a file of the server"
    if words[:1] == ["CREATE"] and is_concurrent(tokens):
        at = words.index("CONCURRENTLY")
        if words[at + 1 : at + 2] == ["ON"]:
            message = "an index without a name: a build that fails leaves it invalid, and unknown"
            remedy = "write `CREATE INDEX CONCURRENTLY IF NOT EXISTS name ON …`"
            return tokens[at], message, remedy
    return None


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


def reindexed(tokens: Sequence[Token]) -> Reindexed | None:
    """Return what a `REINDEX … CONCURRENTLY` is about."""
    if not is_concurrent(tokens) or tokens[0].keyword != "REINDEX":
        return None
    at = 1
    if tokens[1].text == "(":
        at = next((i for i, token in enumerate(tokens) if token.text == ")"), 1) + 1
    rest = [token for token in tokens[at:] if token.keyword != "CONCURRENTLY"]
    name, _ = _dotted(rest, 1)
    return Reindexed(rest[0].keyword, name) if rest else None


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


def _commits(token: Token) -> bool:
    """Tell whether the body of a `DO` has a statement that ends the transaction around it."""
    if token.kind != "text":
        return False
    quote = token.text[: token.text.index(token.text[0], 1) + 1] if token.text[0] == "$" else "'"
    body = token.text[token.text.find(quote) + len(quote) : -len(quote)]
    try:
        words = [item.keyword or item.text for item in scan(body.replace("''", "'"), "postgresql")]
    except Unclosed:  # the server will say so
        return False
    starts = {";", "BEGIN", "THEN", "ELSE", "LOOP"}
    return any(
        word in {"COMMIT", "ROLLBACK"} and (not at or words[at - 1] in starts)
        for at, word in enumerate(words)
    )
