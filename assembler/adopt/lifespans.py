"""A lifespan's source → the resources, steps and hooks that could stand in its place.

In: the function of a lifespan, in the process that has imported it. Out: one `Piece` for each of its
statements, in order: what stands there, and beside it the entry that would do the same, or why it stays.
A loop over pairs of a label and a statement becomes startup SQL, a branch on a setting `enabled`. These are
proposals: the lifespan itself is written whole. Calls nothing of what it reads.
"""

import ast
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from assembler.adopt import expressions
from assembler.adopt.naming import ImportPaths, Value, is_said, listed, literal, mapping
from assembler.diagnostics.exceptions import short_path

_OPENERS = frozenset({"open", "connect", "start", "__aenter__"})
_CLOSERS = frozenset({"aclose", "close", "dispose", "shutdown", "disconnect", "stop"})
_LOGGERS = frozenset({"debug", "info", "warning", "error", "exception", "critical", "log", "print"})


@dataclass(slots=True)
class Piece:
    """One statement, and what could stand in its place."""

    place: str
    source: str
    section: str = ""
    entry: dict[str, Value] = field(default_factory=dict)
    why: str = ""
    name: str = ""  # the id of a resource

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "place": self.place,
            "source": self.source,
            "section": self.section,
            "entry": self.entry,
            "why": self.why,
            "name": self.name,
        }


def pieces(function: Any, names: ImportPaths) -> list[dict[str, Any]]:
    """Return the pieces of a lifespan, as plain data; none where its source cannot be read."""
    inner = inspect.unwrap(function)
    code = getattr(inner, "__code__", None)
    tree = None if code is None else expressions.parsed(code.co_filename)
    node = None if tree is None or code is None else _definition(tree, code)
    if node is None or code is None:
        return []
    reader = _LifespanReader(inner, names, short_path(code.co_filename))
    reader.read(node.body)
    return [piece.as_dict() for piece in reader.pieces]


def _definition(tree: ast.Module, code: Any) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == code.co_name:
            first = node.decorator_list[0].lineno if node.decorator_list else node.lineno
            if first == code.co_firstlineno:
                return node
    return None


class _LifespanReader:
    """Reads the statements of one lifespan, in order."""

    def __init__(self, function: Any, names: ImportPaths, file: str) -> None:
        self.names = names
        self.file = file
        self.globals: Mapping[str, Any] = function.__globals__
        cells = inspect.getclosurevars(function).nonlocals
        self.known: dict[str, Any] = {**self.globals, **cells}
        self.made: dict[str, Piece] = {}  # the resource of each local name
        self.settings: set[str] = set()  # local names of the settings
        self.parameters = set(function.__code__.co_varnames[: function.__code__.co_argcount])
        self.pieces: list[Piece] = []
        self.is_closing = False
        self.enabled: Value | None = None

    def read(self, body: list[ast.stmt]) -> None:
        """Read statements; those after the `yield` are of the end."""
        for node in body:
            if isinstance(node, ast.Try):
                self.read(node.body)
                self.is_closing = True
                self.read(node.finalbody)
            elif isinstance(node, ast.AsyncWith | ast.With):
                self.read_with(node)
            elif isinstance(node, ast.If):
                self.read_branch(node)
            elif isinstance(node, ast.For | ast.AsyncFor):
                self.read_loop(node)
            elif _is_docstring(node) or isinstance(node, ast.Pass):
                continue
            else:
                self.read_simple(node)

    def read_simple(self, node: ast.stmt) -> None:
        value = getattr(node, "value", None)
        if isinstance(node, ast.Expr) and isinstance(value, ast.Yield):
            self.is_closing = True
            self.read_yield(value)
            return
        if isinstance(value, ast.Await):
            value = value.value
        if isinstance(node, ast.Assign | ast.AnnAssign) and value is not None:
            self.read_assignment(node, value)
        elif isinstance(node, ast.Expr) and isinstance(value, ast.Call):
            self.read_call(node, value)
        else:
            self.stays(node, "it is no call")

    def read_yield(self, node: ast.Yield) -> None:
        if not isinstance(node.value, ast.Dict):
            return
        for key, value in zip(node.value.keys, node.value.values, strict=True):
            name = key.value if isinstance(key, ast.Constant) else None
            is_resource = isinstance(value, ast.Name) and value.id in self.made
            piece = self.piece(value)
            piece.source = f"yield {{{ast.unparse(key) if key else '**'}: {ast.unparse(value)}}}"
            if is_resource and isinstance(name, str) and isinstance(value, ast.Name):
                self.made[value.id].name = name
                piece.why = f"a resource stands on the state of requests: `request.state.{name}`"
            else:
                piece.why = "it stays: only resources stand on the state of requests"

    def read_assignment(self, node: ast.Assign | ast.AnnAssign, value: ast.expr) -> None:
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        if isinstance(target, ast.Name) and self.is_settings(value):
            self.settings.add(target.id)
            return
        if _is_state(target) and isinstance(target, ast.Attribute):
            said = self.value(value)
            if is_said(said):
                piece = self.piece(node, "state")
                piece.entry = {target.attr: said}
                return
            self.stays(node, "its value is known at the start only")
            return
        if isinstance(target, ast.Name) and isinstance(value, ast.Call):
            entry = self.call(value)
            if entry is not None:
                piece = self.piece(node, "resources")
                piece.entry, piece.name = entry, target.id
                self.made[target.id] = piece
                return
        self.stays(node, "what it makes has no name")

    def read_call(self, node: ast.Expr, call: ast.Call) -> None:
        function = call.func
        last = function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)
        if last in _LOGGERS:
            return
        owner = function.value if isinstance(function, ast.Attribute) else None
        if isinstance(owner, ast.Name) and owner.id in self.made and last in _CLOSERS:
            self.piece(node).why = f"the resource `{self.made[owner.id].name}` is closed by itself"
            return
        if owner is not None and self.is_object(owner) and last in _OPENERS | _CLOSERS:
            self.read_own_object(node, owner, last)
            return
        statements = self.sql_of(function)
        if statements is not None and not self.is_closing:
            piece = self.piece(node, "startup")
            piece.entry = statements
            return
        entry = self.call(call)
        if entry is None:
            self.stays(node, "its arguments, or what it calls, have no names")
            return
        piece = self.piece(node, "shutdown" if self.is_closing else "startup")
        piece.entry = entry

    def read_own_object(self, node: ast.Expr, owner: ast.expr, last: str) -> None:
        """Propose a resource for an object of a module that is opened here, or closed."""
        value = self.evaluated(owner)
        if hasattr(value, "add_job"):
            self.piece(
                node
            ).why = "its jobs are those of the manifest, whose clock starts by itself"
            return
        name = ast.unparse(owner).replace(".", "_")
        if last in _OPENERS and name not in self.made:
            piece = self.piece(node, "resources")
            piece.entry, piece.name = {"use": self.names.code(value)}, name
            self.made[name] = piece
            return
        if name in self.made:
            self.piece(node).why = f"the resource `{self.made[name].name}` is closed by itself"
            return
        piece = self.piece(node, "shutdown")
        code = self.names.code(getattr(value, last))
        piece.entry = {"use": code}
        if not is_said(code):
            piece.section, piece.why = "", "what it calls has no name"

    def read_with(self, node: ast.AsyncWith | ast.With) -> None:
        for item in node.items:
            call = item.context_expr
            entry = self.call(call) if isinstance(call, ast.Call) else None
            target = item.optional_vars
            piece = self.piece(call, "resources" if entry else "")
            piece.source = f"with {ast.unparse(item)}"
            if entry is None:
                piece.why = "it stays: what it enters has no name"
                continue
            piece.entry = entry
            piece.name = target.id if isinstance(target, ast.Name) else "context"
            if isinstance(target, ast.Name):
                self.made[target.id] = piece
        self.read(node.body)

    def read_branch(self, node: ast.If) -> None:
        said = self.value(node.test)
        if said["is"] != "setting" or node.orelse:
            self.stays(
                node,
                f"what stands below `if {ast.unparse(node.test)}` is no setting's alone: an overlay could have it",
            )
            return
        before, self.enabled = self.enabled, said
        self.read(node.body)
        self.enabled = before

    def read_loop(self, node: ast.For | ast.AsyncFor) -> None:
        entry = self.sql_loop(node, self.known)
        if entry is None:
            self.stays(node, "it is a loop")
        else:
            self.piece(node, "startup").entry = entry

    # --- what stands where

    def piece(self, node: ast.AST, section: str = "") -> Piece:
        source = ast.unparse(node).partition("\n")[0]
        piece = Piece(f"{self.file}:{getattr(node, 'lineno', 0)}", source, section)
        self.pieces.append(piece)
        return piece

    def stays(self, node: ast.stmt, why: str) -> None:
        self.piece(node).why = f"it stays: {why}"

    def evaluated(self, node: ast.expr) -> Any:
        from assembler.adopt.recording import UserPlace  # noqa: PLC0415  # beside its one use

        place = UserPlace(self.file, node.lineno, path=self.file, globals=self.known)
        try:
            return expressions.evaluated(node, place)
        except expressions.UnwrittenError:
            return None

    def is_object(self, node: ast.expr) -> bool:
        value = self.evaluated(node)
        return value is not None and not inspect.ismodule(value) and not inspect.isclass(value)

    def is_settings(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Call) and not node.args and not node.keywords:
            function = self.evaluated(node.func)
            cached = getattr(function, "cache_info", None)
            return cached is not None and function() is self.names.settings
        if isinstance(node, ast.Name) and node.id in self.settings:
            return True
        return self.names.settings is not None and self.evaluated(node) is self.names.settings

    def value(self, node: ast.expr) -> Value:
        """Write what an expression gives, as far as it is known before the start."""
        if isinstance(node, ast.Attribute) and self.is_settings(node.value):
            return {"is": "setting", "path": node.attr}
        if isinstance(node, ast.Name) and node.id in self.made:
            return {"is": "resource", "name": node.id}
        value = self.evaluated(node)
        if value is None and not (isinstance(node, ast.Constant) and node.value is None):
            return {"is": "unnamed", "what": ast.unparse(node)}
        return self.names.value(value)

    def call(self, node: ast.Call) -> dict[str, Value] | None:
        """Write a call as an entry, or None where it has no names."""
        function = self.evaluated(node.func)
        if function is None or any(each.arg is None for each in node.keywords):
            return None
        code = self.names.code(function)
        values = [*node.args, *(each.value for each in node.keywords)]
        is_app = [isinstance(v, ast.Name) and v.id in self.parameters for v in values]
        args = tuple(range(len(node.args)))
        names = expressions.by_name(
            function, args, {str(e.arg): len(args) + n for n, e in enumerate(node.keywords)}
        )
        if code["is"] != "path" or names is None:
            return None
        given = {name: self.value(values[at]) for name, at in names.items() if not is_app[at]}
        if not all(is_said(each) for each in given.values()):
            return None
        entry: dict[str, Value] = {"use": code}
        if self.enabled is not None:
            entry["enabled"] = self.enabled
        return {**entry, **({"with": mapping(given)} if given else {})}

    # --- SQL

    def sql_of(self, node: ast.expr) -> dict[str, Value] | None:
        """Return startup SQL where a function does no more than loop over labels and statements."""
        function = inspect.unwrap(self.evaluated(node) or int)
        code = getattr(function, "__code__", None)
        tree = None if code is None else expressions.parsed(code.co_filename)
        found = None if tree is None or code is None else _definition(tree, code)
        body = [] if found is None else [n for n in found.body if not _is_docstring(n)]
        if len(body) == 1 and isinstance(body[0], ast.For | ast.AsyncFor):
            return self.sql_loop(body[0], function.__globals__)
        return None

    def sql_loop(
        self, node: ast.For | ast.AsyncFor, known: Mapping[str, Any]
    ) -> dict[str, Value] | None:
        before, self.known = self.known, dict(known)
        try:
            pairs = self.evaluated(node.iter)
            engine = next((e for e in map(self.evaluated, _owners(node)) if _is_engine(e)), None)
        finally:
            self.known = before
        is_list = isinstance(pairs, list | tuple) and bool(pairs)
        if not is_list or not all(_is_pair(each) for each in pairs) or engine is None:
            return None
        code = self.names.code(engine)
        statements = [mapping({"label": literal(a), "run": literal(b)}) for a, b in pairs]
        return {"database": code, "sql": listed(statements)} if is_said(code) else None


def _owners(node: ast.AST) -> Iterator[ast.expr]:
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and each.attr in {"begin", "connect", "execute"}:
            yield each.value


def _is_engine(value: Any) -> bool:
    return value is not None and hasattr(value, "dialect") and hasattr(value, "begin")


def _is_pair(value: Any) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 2
        and all(isinstance(e, str) for e in value)
    )


def _is_state(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith(".state")


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
