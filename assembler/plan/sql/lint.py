"""The statements of a plan → warnings, each at its place in the manifest or in the SQL file.

In: the steps of a plan. Out: for each statement the rules that it breaks, and whether sqlglot can
parse it. For `check` and `sql` alone: no start pays for this.

sqlglot's time may double with each level of brackets, and it ends in a RecursionError at some
forty: `fits` tells beforehand, so that no text, whoever wrote it, keeps a command for long.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from assembler.diagnostics.errors import Diagnostic
from assembler.plan.sql.kinds import keywords
from assembler.plan.sql.rules import RULES, Severity, SqlRule, StatementFacts
from assembler.plan.sql.scanner import Token, Unclosed, statements
from assembler.plan.sql.statement import SqlStatement, SqlStep

_COMMANDS = frozenset(
    [
        "ALTER",
        "ANALYZE",
        "ATTACH",
        "CALL",
        "CHECKPOINT",
        "CLUSTER",
        "COMMENT",
        "COPY",
        "CREATE",
        "DEALLOCATE",
        "DELETE",
        "DETACH",
        "DISCARD",
        "DO",
        "DROP",
        "EXECUTE",
        "EXPLAIN",
        "GRANT",
        "IMPORT",
        "INSERT",
        "LISTEN",
        "LOAD",
        "LOCK",
        "MERGE",
        "NOTIFY",
        "PRAGMA",
        "REASSIGN",
        "REFRESH",
        "REINDEX",
        "REPLACE",
        "RESET",
        "REVOKE",
        "SECURITY",
        "SELECT",
        "SET",
        "SHOW",
        "TABLE",
        "TRUNCATE",
        "UNLISTEN",
        "UPDATE",
        "USE",
        "VACUUM",
        "VALUES",
        "WITH",
    ]
)
_LONGEST = 100_000  # characters that one command has parsed: a second of sqlglot's time
_DEAREST = 20_000  # the sum of 2 ** depth over all brackets that it has parsed: three seconds
_DEEPEST = 12  # levels
_NESTED = "it is nested too deeply"
PARSED = {"postgresql": "postgres", "sqlite": "sqlite", "mysql": "mysql", "mariadb": "mysql"}
"""What sqlglot calls the dialects that it reads."""


@dataclass(frozen=True, slots=True)
class SqlFinding:
    """A statement that breaks a rule, or that could not be parsed (`rule` is `sql-unparsed`)."""

    rule: str
    severity: Severity
    diagnostic: Diagnostic


def lint(steps: Iterable[SqlStep]) -> Iterator[Diagnostic]:
    """Yield the warnings of all statements, in their order."""
    for _, _, finding in findings(steps):
        yield finding.diagnostic


def findings(steps: Iterable[SqlStep]) -> Iterator[tuple[SqlStep, SqlStatement, SqlFinding]]:
    """Yield what is found, with the statement."""
    created: set[str] = set()
    budget = ParserBudget()
    for step in steps:
        for statement in step.statements:
            for finding in _findings(statement, step.dialect, created, budget):
                yield step, statement, finding


class ParserBudget:
    """How much more text sqlglot may be given; `too_deep` is where the last one went too deep."""

    def __init__(self) -> None:
        self._characters = _LONGEST
        self._brackets = _DEAREST
        self.too_deep: Token | None = None

    def fits(self, text: str, tokens: Iterable[Token]) -> bool:
        """Tell whether a statement may be parsed, and take it off; `tokens` are those of `text`."""
        self.too_deep = None
        depth = brackets = 0
        for token in tokens:
            if token.kind == "symbol" and token.text in "([{":
                depth += 1
                brackets += 2**depth
            elif token.kind == "symbol" and token.text in ")]}":
                depth = max(0, depth - 1)
            if depth > _DEEPEST:
                self.too_deep = token
                return False
        if len(text) > self._characters or brackets > self._brackets:
            return False
        self._characters -= len(text)
        self._brackets -= brackets
        return True


def _findings(
    statement: SqlStatement, dialect: str, created: set[str], budget: ParserBudget
) -> Iterator[SqlFinding]:
    try:
        (tokens,) = statements(statement.text, dialect)
    except (Unclosed, ValueError):  # refused when it was read, by the rules of this dialect
        return
    words = [token.keyword for token in tokens]
    facts = StatementFacts(tokens, words, dialect, is_new_table=bool(created & _names(tokens)))
    for rule in RULES:
        at = rule.find(facts) if dialect in rule.dialects else None
        if at is not None:
            yield _finding(rule, statement, tokens[at])
    if words[:1] == ["CREATE"] and "TABLE" in words[1:4]:
        created |= _names(tokens[: words.index("TABLE") + 5])
    unparsed = _unparsed(statement, tokens, dialect, budget)
    if unparsed:
        yield SqlFinding("sql-unparsed", "low", unparsed)


def _finding(rule: SqlRule, statement: SqlStatement, token: Token) -> SqlFinding:
    message = f"`{statement.label}` {rule.sentence}"
    place = statement.source.place(token.start, token.end)
    diagnostic = Diagnostic(rule.code, message, place, rule.id, help=rule.fix, severity="warning")
    return SqlFinding(rule.id, rule.severity, diagnostic)


def _names(tokens: Iterable[Token]) -> set[str]:
    """Return the names of tables as far as words tell: what is no keyword of theirs."""
    keys = {"CREATE", "TABLE", "IF", "NOT", "EXISTS", "ONLY", "ON", "INDEX", "UNIQUE", "ALTER"}
    return {
        token.text.strip('"').lower()
        for token in tokens
        if token.kind in {"word", "name"} and token.keyword not in keys
    }


def _unparsed(
    statement: SqlStatement, tokens: list[Token], dialect: str, budget: ParserBudget
) -> Diagnostic | None:
    """Let sqlglot read the statement; it passes what it only knows the command of."""
    if not budget.fits(statement.text, tokens):
        at = budget.too_deep
        return None if at is None else _told(statement, _NESTED, at.start, at.end)
    try:
        import sqlglot  # noqa: PLC0415  # an extra, and only `check` and `sql` need it
        from sqlglot import errors  # noqa: PLC0415  # as above
    except ImportError:
        return None
    logger = logging.getLogger("sqlglot")
    level, logger.level = logger.level, logging.ERROR  # it warns of commands that it only passes
    try:
        if (keywords(tokens) or [""])[0] in _COMMANDS:
            sqlglot.parse_one(statement.text, dialect=PARSED.get(dialect))
            return None
        message, start, end = "this is no command", tokens[0].start, tokens[0].end
    except errors.ParseError as error:
        fault = error.errors[0] if error.errors else {}
        message, start, end = _reading(statement.text, fault)
    except errors.SqlglotError as error:
        message, start, end = str(error).partition("\n")[0], 0, len(statement.text)
    except RecursionError:  # of operators: brackets were counted
        message, start, end = _NESTED, tokens[0].start, tokens[0].end
    finally:
        logger.level = level
    return _told(statement, message, start, end)


def _told(statement: SqlStatement, message: str, start: int, end: int) -> Diagnostic:
    place = statement.source.place(start, end)
    told = f"`{statement.label}` cannot be parsed: {message}"
    return Diagnostic("sql-unparsed", told, place, severity="warning")


def _reading(text: str, fault: dict[str, object]) -> tuple[str, int, int]:
    """Return what the parser says, and the stretch of the text that it stumbled over."""
    lines = text.splitlines(keepends=True)
    line, column = int(str(fault.get("line") or 1)), int(str(fault.get("col") or 1))
    end = min(sum(map(len, lines[: line - 1])) + column, len(text))
    length = len(str(fault.get("highlight") or " "))
    description = str(fault.get("description") or "unknown syntax").rstrip(".")
    return description[:1].lower() + description[1:], max(end - length, 0), end
