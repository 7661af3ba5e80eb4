"""The module that composed an application → the same module without what the manifest says now.

In: the module's source, the manifest, the module of bridges, all other sources of the project. Out: the
text that is left: what others import from it, and what that needs; in place of the application the one
that the manifest makes. Statements that compose the application go, and decorators that did; others that
only act, such as one that sets up logging, stay. Refuses, as a `UsageError`, a module whose application
the bridges still take parts from. Runs nothing.
"""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assembler.diagnostics.errors import UsageError
from assembler.diagnostics.span import one_line

if TYPE_CHECKING:
    import libcst

_SKIPPED = frozenset({"node_modules", "site-packages", "__pycache__", "build", "dist"})
_BRIDGE = re.compile(r"^old\b|^from .* import .*\bas old\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class OldModule:
    """A module that composed an application, and how the application is called there."""

    path: Path
    name: str
    application: str
    is_factory: bool


def reduced(module: OldModule, manifest: Path, bridges: Path | None, folder: Path) -> str:
    """Return the source that is left; raises `UsageError` where it cannot be reduced yet."""
    import libcst  # noqa: PLC0415  # the extra `adopt`

    if bridges is not None and bridges.is_file():
        text = bridges.read_text("utf-8")
        if _BRIDGE.search(text):
            raise UsageError(
                f"`{one_line(bridges.as_posix())}` takes parts from `{module.name}` as `old`: give them a name first"
            )
    source = module.path.read_text("utf-8")
    others = [path for path in _sources(folder) if path.resolve() != module.path.resolve()]
    wanted = set(_named_in_manifest(manifest, module.name))
    for path in others:
        wanted |= set(_imported_by(path, module.name, folder))
    tree = libcst.parse_module(source)
    kept = _Reduction(tree, module, wanted).kept()
    return _with_application(tree.with_changes(body=kept), module, manifest, wanted)


def _sources(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).parts[:-1]
        if not any(part in _SKIPPED or part.startswith(".") for part in parts):
            yield path


def _named_in_manifest(manifest: Path, module: str) -> Iterator[str]:
    text = manifest.read_text("utf-8")
    for match in re.finditer(rf"\b{re.escape(module)}[.:](\w+)", text):
        yield match[1]


def _imported_by(path: Path, module: str, folder: Path) -> Iterator[str]:
    """Yield the names that another source takes from the module."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError):
        return
    package = ".".join(path.relative_to(folder).with_suffix("").parts[:-1])
    parent, _, last = module.rpartition(".")
    as_whole = {module}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom):
            continue
        source = _absolute(node, package)
        for alias in node.names:
            if source == module:
                yield alias.name
            elif source == parent and alias.name == last:
                as_whole.add(alias.asname or alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in as_whole:
            yield node.attr


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    base = parts[: len(parts) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


class _Reduction:
    """Which statements of a module stay."""

    def __init__(self, tree: "libcst.Module", module: OldModule, wanted: set[str]) -> None:
        self.tree = tree
        self.module = module
        self.wanted = wanted - {module.application}
        self.statements = [_Statement(each) for each in tree.body]

    def kept(self) -> list[Any]:
        """Return the statements that stay, in order, without decorators that composed."""
        gone = {self.module.application}
        stays = [not (each.binds & gone or each.uses & gone) for each in self.statements]
        for index, each in enumerate(self.statements):
            if each.is_definition:
                stays[index] = False
        needed = set(self.wanted)
        while True:
            before = len(needed)
            for index, each in enumerate(self.statements):
                if each.is_definition and each.binds & needed and not each.binds & gone:
                    stays[index] = True
                if stays[index] and not each.is_import:
                    needed |= each.uses
            if len(needed) == before:
                break
        return [
            each.left(needed, gone)
            for each, is_left in zip(self.statements, stays, strict=True)
            if is_left and each.left(needed, gone) is not None
        ]


class _Statement:
    """One statement at the top of a module: what it binds, and what it uses."""

    def __init__(self, node: Any) -> None:
        import libcst  # noqa: PLC0415  # the extra `adopt`

        self.node = node
        code = libcst.Module([node]).code
        self.tree = ast.parse(code).body
        self.is_import = all(isinstance(e, ast.Import | ast.ImportFrom) for e in self.tree)
        inner = self.tree[0] if self.tree else None
        self.is_definition = isinstance(
            inner,
            ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign,
        )
        self.binds = set(_bound(self.tree))
        self.uses = set(_used(self.tree))

    def left(self, needed: set[str], gone: set[str]) -> Any:
        """Return what is left of the statement, or None."""
        if self.is_import:
            return self._left_of_import(needed)
        if isinstance(self.tree[0], ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            kept = [
                each
                for each in self.node.decorators
                if not set(_used(ast.parse(_code(each.decorator)).body)) & gone
            ]
            return self.node.with_changes(decorators=kept)
        return self.node

    def _left_of_import(self, needed: set[str]) -> Any:
        names = self.binds & needed
        statement = self.tree[0]
        is_future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        if is_future or names == self.binds or "*" in self.binds:
            return self.node
        if not names:
            return None
        line = self.node.body[0]
        kept = [each for each in line.names if _import_name(each) in names]
        kept[-1] = kept[-1].with_changes(comma=_no_comma())
        plain = line.with_changes(names=kept, lpar=None, rpar=None)
        return self.node.with_changes(body=[plain, *self.node.body[1:]])


def _import_name(alias: Any) -> str:
    if alias.asname is not None:
        return _code(alias.asname.name)
    return _code(alias.name).partition(".")[0]


def _no_comma() -> Any:
    import libcst  # noqa: PLC0415  # the extra `adopt`

    return libcst.MaybeSentinel.DEFAULT


def _code(node: Any) -> str:
    import libcst  # noqa: PLC0415  # the extra `adopt`

    return libcst.Module([]).code_for_node(node)


def _bound(body: Iterable[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (a.asname or a.name.partition(".")[0] for a in node.names)
        else:
            for each in ast.walk(node):
                if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                    yield each.id


def _used(body: Iterable[ast.stmt]) -> Iterator[str]:
    """Yield the names that statements read; decorators are left out, as they may go."""
    for node in body:
        inner: list[ast.AST] = [node]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            skipped = {id(each) for each in node.decorator_list if _is_call_of(each)}
            inner = [each for each in ast.iter_child_nodes(node) if id(each) not in skipped]
        for each in inner:
            for name in ast.walk(each):
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load):
                    yield name.id


def _is_call_of(node: ast.expr) -> bool:
    """Tell whether a decorator is a call of a method, as `@app.get(…)` is."""
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)


def _with_application(
    tree: "libcst.Module", module: OldModule, manifest: Path, wanted: set[str]
) -> str:
    """Put the application of the manifest where others import it from."""
    text = tree.code.strip("\n")
    if module.application not in wanted and not module.is_factory:
        return f"{text}\n" if text else ""
    made = f'assembler.build(assembler.load("{manifest.as_posix()}"))'
    name = module.application
    last = (
        f"def {name}() -> FastAPI:\n    return {made}" if module.is_factory else f"{name} = {made}"
    )
    lines = text.split("\n")
    at = _after_imports(text)
    lines[at:at] = ["import assembler"] + (
        ["from fastapi import FastAPI"]
        if module.is_factory and "import FastAPI" not in text
        else []
    )
    gap = "\n\n\n" if lines else ""
    return "\n".join(lines).strip("\n") + f"{gap}{last}\n"


def _after_imports(text: str) -> int:
    """Return the line at which another import may stand."""
    last = 0
    body = ast.parse(text).body
    for index, node in enumerate(body):
        is_doc = index == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_doc or isinstance(node, ast.Import | ast.ImportFrom):
            last = node.end_lineno or last
    return last
