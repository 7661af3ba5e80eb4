"""The SQL of a manifest → steps of statements that are ready to run.

In: the manifest and its document, merged. Out: for each startup entry with `sql` a `SqlStep`; its
statements carry their text, its hash and its place, in the manifest or in the file that it names.
Refuses a file that cannot be read or lies outside the project, and a text that is not exactly one
statement: each statement is a transaction of its own, so neither several nor one that begins or
ends a transaction can be one.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from assembler.diagnostics.errors import Diagnostic, ManifestError, UsageError
from assembler.diagnostics.span import Span
from assembler.diagnostics.suggest import did_you_mean
from assembler.document.extends import DISK, Shelf
from assembler.document.interpolation import Resolver
from assembler.document.merge import Document
from assembler.document.nodes import MappingNode, ScalarNode, locate
from assembler.document.project import Project
from assembler.document.provenance import revealed
from assembler.manifest import Manifest
from assembler.manifest import step as models
from assembler.manifest.section import resource_id
from assembler.plan.signature import may_be
from assembler.plan.sql.kinds import controls_transaction, never_applied, runs_alone
from assembler.plan.sql.scanner import Token, Unclosed, statements
from assembler.plan.sql.texts import SqlText, first_line, source_of

_SCHEME = re.compile(r"([a-z][a-z0-9]*)(?:\+[a-z0-9_]+)?:")
_GUESS = "postgresql"  # the dialect by which a text is read whose engine is not known yet


@dataclass(frozen=True, slots=True)
class SqlStatement:
    """One statement: `hash` is the SHA-256 of its text, `span` the place of its beginning."""

    label: str
    text: str
    hash: str
    span: Span
    transaction: bool  # what the manifest says; `runs_alone` knows more
    source: SqlText = field(repr=False)

    def runs_alone(self, tokens: Sequence[Token], dialect: str) -> bool:
        """Tell whether it has to run outside a transaction; `tokens` are its own."""
        return not self.transaction or runs_alone(tokens, dialect)


@dataclass(frozen=True, slots=True)
class SqlStep:
    """One startup entry with SQL: its options, its statements, and the id of its engine."""

    entry: models.Startup
    database: str
    statements: tuple[SqlStatement, ...]
    span: Span  # of `database`
    dialect: str  # the entry's, or else what the URL of the engine says


def read_sql(
    manifest: Manifest,
    document: Document,
    resolver: Resolver,
    shelf: Shelf = DISK,
    *,
    above: Sequence[tuple[MappingNode, Resolver]] = (),
) -> tuple[list[SqlStep], list[Diagnostic]]:
    """Read every statement of the manifest; return the steps, and what is refused.

    `above` are the manifests in which it is mounted, the nearest first: a database may be theirs.
    """
    around = [(document.root, resolver), *above]
    files = {shelf.name(path): path for path in document.files}
    project = document.project
    steps: list[SqlStep] = []
    faults: list[Diagnostic] = []
    for number, entry in enumerate(manifest.startup):
        node, _ = locate(document.root, ("startup", number))
        database = node.get("database") if isinstance(node, MappingNode) else None
        if entry.sql is None or not isinstance(database, ScalarNode):
            continue
        name = resource_id(database.value) or ""
        dialect = entry.dialect or _dialect_of(around, name)
        found = []
        for index, said in enumerate(entry.sql):
            inside, _ = locate(node, ("sql", index))
            key = "file" if said.run is None else "run"
            text = inside.get(key) if isinstance(inside, MappingNode) else None
            if not isinstance(text, ScalarNode):
                continue
            folder = files.get(text.span.file.name, document.path).parent
            reader = _StatementReader(text, folder, shelf, project)
            statement = reader.read(said, dialect)
            faults += reader.faults
            found += [statement] if statement else []
        steps.append(SqlStep(entry, name, tuple(found), database.span, dialect))
    return steps, faults


def check_engines(
    steps: Iterable[SqlStep], declared: Mapping[str, type | None]
) -> Iterator[Diagnostic]:
    """Find databases whose factory declares to return something that is no async engine."""
    for step in steps:
        kind = declared.get(step.database)
        if kind is not None and not may_be(kind, "sqlalchemy", "AsyncEngine"):
            yield no_engine(step, kind)


def is_engine(kind: type) -> bool:
    """Tell whether a class is SQLAlchemy's async engine or made from it, without importing it."""
    return any(
        each.__name__ == "AsyncEngine" and each.__module__.startswith("sqlalchemy.")
        for each in kind.__mro__
    )


def no_engine(step: SqlStep, kind: type) -> Diagnostic:
    """Say that the resource of a step is no engine."""
    message = (
        f"`database` takes an async engine of SQLAlchemy, and `{step.database}` "
        f"is a `{kind.__name__}`"
    )
    return Diagnostic("bad-value", message, step.span)


def hash_of(text: str) -> str:
    """Hash a statement's text, whatever its line ends, the space around it and its final `;`."""
    plain = text.replace("\r\n", "\n").strip().rstrip(";").rstrip()
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


def _dialect_of(around: Iterable[tuple[MappingNode, Resolver]], resource: str) -> str:
    """Guess the dialect of an engine by its option `url`, as far as that is known by now."""
    known = (pair for pair in around if locate(pair[0], ("resources", resource))[1] is not None)
    root, resolver = next(known, (None, None))
    if root is None or resolver is None:
        return _GUESS
    node, _ = locate(root, ("resources", resource, "with", "url"))
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
        return _GUESS
    value = resolver.data(node, ("resources", resource, "with", "url"))
    scheme = _SCHEME.match(str(revealed(getattr(value, "value", value))))
    name = scheme[1] if scheme else _GUESS
    return "postgresql" if name == "postgres" else name


class _StatementReader:
    """Reads one statement; `faults` is what is wrong with it."""

    def __init__(self, node: ScalarNode, folder: Path, shelf: Shelf, project: Project) -> None:
        self.node = node
        self.folder = folder
        self.shelf = shelf
        self.project = project
        self.faults: list[Diagnostic] = []

    def read(self, said: models.Statement, dialect: str) -> SqlStatement | None:
        source = self.file() if said.run is None else source_of(self.node)
        if source is None:
            return None
        self.faults += self.refused(source, dialect)
        if self.faults:
            return None
        text = source.text
        start = len(text) - len(text.lstrip())
        place = source.place(start, len(text))
        return SqlStatement(said.label, text, hash_of(text), place, said.transaction, source)

    def file(self) -> SqlText | None:
        path = self.folder / str(self.node.value)
        why = self.shelf.refusal(self.project, path)
        if why is not None:
            message = f"cannot read `{self.node.value}`: {why}"
            self.faults.append(Diagnostic("outside-project", message, first_line(self.node.span)))
            return None
        try:
            file = self.shelf.read(path)
        except UsageError as error:
            names = self.shelf.siblings(path)
            remedy = did_you_mean(path.name, names)
            fault = Diagnostic("sql-not-found", str(error), first_line(self.node.span), help=remedy)
            self.faults.append(fault)
            return None
        except ManifestError as error:
            self.faults += error.diagnostics
            return None
        return SqlText(file.text, file)

    def refused(self, source: SqlText, dialect: str) -> Iterator[Diagnostic]:
        try:
            found = statements(source.text, dialect)
        except Unclosed as error:
            yield Diagnostic("sql-refused", f"{error}", source.place(error.start))
            return
        if not found:
            yield Diagnostic("sql-refused", "there is no statement here", source.place(0))
        elif len(found) > 1:
            second = found[1][0]
            message = f"{len(found)} statements in one text: each is a transaction of its own"
            remedy = "write each as an entry of `sql`, with a `label`"
            place = source.place(second.start, second.end)
            yield Diagnostic("sql-refused", message, place, "the second", help=remedy)
        else:
            yield from self.unfit(found[0], source, dialect)

    def unfit(self, tokens: list[Token], source: SqlText, dialect: str) -> Iterator[Diagnostic]:
        """Find what one statement asks for that a transaction of its own cannot be."""
        if controls_transaction(tokens):
            token = tokens[0]
            message = f"`{token.text}` would control the transaction that each statement has"
            place = source.place(token.start, token.end)
            yield Diagnostic("sql-refused", message, place, help="leave it out")
        refusal = never_applied(tokens, dialect)
        if refusal is not None:
            token, message, remedy = refusal
            place = source.place(token.start, token.end)
            yield Diagnostic("sql-refused", message, place, help=remedy)
