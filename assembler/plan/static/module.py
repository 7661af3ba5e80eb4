"""The name of a module → its `Source`: its place, its text, its tree, and all bindings of a name.

Imports nothing, no parent either. Refuses, as `resolve` does, a text that is not Python.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import operator
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from assembler.document.project import project_of
from assembler.plan.allow_list import ImportFault
from assembler.plan.importer import search_path, unreadable

if TYPE_CHECKING:
    import griffe  # at run time only where a source is read: an app that starts must not pay for it


_COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


_COMPOUND = (ast.Subscript, ast.BinOp)  # hints that may hold a call


class EarlierTree(Protocol):
    """The files of a project as they once were; whatever is not in question is as it is on disk."""

    def is_in_question(self, folder: Path, name: str) -> bool:
        """Tell whether a module or package `name` of `folder` may have been another one."""

    def has_file(self, file: Path) -> bool:
        """Tell whether the file was there."""

    def has_folder(self, folder: Path) -> bool:
        """Tell whether the folder was there."""

    def text(self, file: Path) -> str | None:
        """Return the text that the file had, None where it is that on disk."""

    def has_other_bytecode(self, file: Path) -> bool:
        """Tell whether what runs in place of the file's text may have been something else."""


class Import(NamedTuple):
    """`import module`, or `from module import name`."""

    module: str
    name: str | None


class Binding(NamedTuple):
    """A value of a name: whether it is under TYPE_CHECKING, and under any condition or `try`."""

    value: Any  # griffe's object, or an `Import`
    guarded: bool
    conditional: bool


class Source:
    """A module as it lies on disk; its text is parsed when it is first looked into."""

    def __init__(self, name: str, spec: ModuleSpec, text: str | None = None) -> None:
        folders = spec.submodule_search_locations
        self.name = name
        self.file = spec.origin if spec.has_location else None
        self.folders = None if folders is None else list(folders)
        self.wildcards: list[str] = []  # filled, as the bindings are, when the tree is read
        self.functions: dict[
            int, tuple[Any, ast.AST]
        ] = {}  # the objects too, so that no other one gets their number
        self._bindings: dict[int, dict[str, list[Binding]]] = {}
        self._spec = spec
        self._text = text  # what stands in the place of the one on disk

    @functools.cached_property
    def code(self) -> str | None:
        """The text; None where there is none, as for a compiled module. Raises `ImportFault`."""
        if self._text is not None:
            return self._text
        if self._spec.loader is None:
            return ""  # a namespace package
        why = _refusal(self.file)
        if why is not None:
            raise ImportFault("import-failed", f"the source of `{self.name}` is not read: {why}")
        _ = self._hash  # before the text: one that changes in between is then read anew next time
        get_source = getattr(self._spec.loader, "get_source", None)
        try:
            return get_source(self._spec.name) if get_source else None
        except (ImportError, SyntaxError) as error:  # the text is not in the encoding it claims
            raise unreadable(self.name, error.__cause__ or error) from error

    @property
    def fingerprint(self) -> tuple[str | None, str]:
        """The file, and a hash of what stands in it, or of the folders of a namespace package."""
        if self.file is None:
            return None, repr(self.folders)
        said = self._hash or hashlib.sha256((self.code or "").encode("utf-8", "surrogatepass"))
        return self.file, said.hexdigest()

    @functools.cached_property
    def _hash(self) -> Any:
        """Hash the file, where it is what is read; None where something else is."""
        file = Path(self.file or "")
        is_read = self._text is None and file.suffix in SOURCE_SUFFIXES and file.is_file()
        return hashlib.sha256(file.read_bytes()) if is_read else None

    @functools.cached_property
    def tree(self) -> griffe.Module | None:
        """The module as griffe sees it; raises `ImportFault` where it is not Python."""
        import griffe  # noqa: PLC0415  # see the top

        if self.code is None:
            return None
        *outer, name = self.name.split(".")
        parent: Any = None
        for part in outer:  # without them griffe would misread `from .. import name`
            parent = griffe.Module(part, parent=parent)
        extensions, file = griffe.Extensions(_recorder(self)), Path(self.file or name)
        try:
            with warnings.catch_warnings(action="ignore"):
                return griffe.visit(name, file, self.code, extensions=extensions, parent=parent)
        except (SyntaxError, ValueError) as error:
            raise unreadable(self.name, error) from error

    @functools.cached_property
    def syntax(self) -> ast.Module:
        """The text as Python's own parser reads it."""
        with warnings.catch_warnings(action="ignore"):
            return ast.parse(self.code or "")

    @functools.cached_property
    def assigned(self) -> set[str]:
        """Every name that the text assigns anywhere, also by loops, unpacking and in functions."""
        with warnings.catch_warnings(action="ignore"):
            nodes = list(ast.walk(ast.parse(self.code or "")))
        stored = [node for node in nodes if isinstance(node, ast.Name)]
        names = {node.id for node in stored if isinstance(node.ctx, ast.Store)}
        return names.union(*(node.names for node in nodes if isinstance(node, ast.Global)))

    def bound(self, owner: griffe.Object | None) -> dict[str, list[Binding]]:
        """Return the bindings of the module or of a class body in it, in order."""
        return self._bindings.get(id(owner), {})

    def may_bind(self, name: str) -> bool:
        """Tell whether the text has the name, or a `*` that may give it: most need no visit then."""
        text = self.code
        return text is None or name in text or re.search(r"import[\s\\]*\*", text) is not None

    def has_yield(self, function: griffe.Object) -> bool:
        """Tell whether a call of a function in this module gives a generator."""
        _, node = self.functions.get(id(function), (None, None))
        return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _yields(node)

    def note(self, owner: Any, name: str, value: Any, node: Any) -> None:
        """Add a binding, unless it stands where this Python never comes."""
        placed = _placed(node)
        if placed is not None:
            names = self._bindings.setdefault(id(owner), {})
            names.setdefault(name, []).append(Binding(value, *placed))

    def note_import(self, owner: Any, alias: Any, node: Any) -> None:
        """Add what an import statement binds."""
        path = alias.target_path
        module, _, name = path.rpartition(".")
        if not alias.wildcard:
            value = Import(path, None) if isinstance(node, ast.Import) else Import(module, name)
            self.note(owner, alias.name, value, node)
        elif _placed(node) not in {None, (True, True)}:
            self.wildcards.append(path)


def find(name: str, folders: list[str] | None, earlier: EarlierTree | None) -> Source | None:
    """Find a module in the folders of its parent, or where an import would look.

    The path of the process stays as it is: the current folder, on it, would give its modules to
    every library that imports something late. With `earlier`, find the module as it was then.
    """
    # The last segment alone: by its whole name, a namespace package inside another one would look
    # for its parent in `sys.modules`, where it is not.
    places = search_path() if folders is None else folders
    spec = _spec(name.rpartition(".")[2], places, earlier)
    for finder in sys.meta_path:  # builtin modules and editable installs
        if spec is None and finder is not PathFinder and hasattr(finder, "find_spec"):
            spec = finder.find_spec(name, folders, None)
    if spec is None:
        return None
    file = spec.origin if spec.has_location else None
    if earlier is None or file is None:
        return Source(name, spec)
    return Source(name, spec, earlier.text(Path(file))) if earlier.has_file(Path(file)) else None


def _spec(name: str, places: list[str], earlier: EarlierTree | None) -> ModuleSpec | None:
    """Look into each folder in turn, as `PathFinder` does; namespace packages are the last resort."""
    if earlier is None or not any(earlier.is_in_question(Path(each), name) for each in places):
        return PathFinder.find_spec(name, places)
    portions: list[str] = []
    for place in places:
        folder = Path(place)
        spec = (
            _earlier_spec(name, folder, earlier)
            if earlier.is_in_question(folder, name)
            else PathFinder.find_spec(name, [place])
        )
        if spec is not None and spec.origin is not None:
            return spec
        portions += (spec.submodule_search_locations or []) if spec is not None else []
    if not portions:
        return None
    namespace = ModuleSpec(name, None, is_package=True)
    namespace.submodule_search_locations = portions
    return namespace


def _earlier_spec(name: str, folder: Path, earlier: EarlierTree) -> ModuleSpec | None:
    """Return what `folder` had of that name: a package wins over a module, and that over a folder."""
    package = folder / name
    endings = (*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES)
    for file in (
        *(package / f"__init__{end}" for end in endings),
        *(folder / f"{name}{end}" for end in endings),
    ):
        if earlier.has_file(file):
            inside = [str(package)] if file.parent == package else None
            return spec_from_file_location(name, file, submodule_search_locations=inside)
    if not earlier.has_folder(package):
        return None
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(package)]
    return spec


def _refusal(file: str | None) -> str | None:
    """Return why the file of a module may not be read, or None.

    What the checkout has may be a stranger's: a link out of it would show others' files in messages.
    What stands in another folder of the path was installed, by links perhaps.
    """
    here = Path.cwd()
    if file is None or not Path(file).is_relative_to(here):
        return None
    installed = (Path(each) for each in search_path() if each and Path(each) != here)
    if any(Path(file).is_relative_to(each) and not here.is_relative_to(each) for each in installed):
        return None
    return project_of(here / "manifest", is_named=False).refusal(Path(file))


def _recorder(source: Source) -> griffe.Extension:
    """Return what notes all bindings during a visit: griffe itself keeps the last of each name."""
    import griffe  # noqa: PLC0415  # see the top

    class BindingRecorder(griffe.Extension):
        def on_function_node(self, *, node: Any, agent: Any, **kwargs: Any) -> None:
            _keep_texts(ast.iter_child_nodes(node.args))

        def on_class_node(self, *, node: Any, agent: Any, **kwargs: Any) -> None:
            _keep_texts(node.body)

        def on_instance(self, *, node: Any, obj: Any, agent: Any, **kwargs: Any) -> None:
            if _is_bound(obj, node, agent.current):
                source.note(obj.parent, obj.name, obj, node)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                source.functions[id(obj)] = (obj, node)
                if node.name == "__init__":
                    node.body = []  # griffe would walk it for what is set on `self`

        def on_attribute_node(self, *, node: Any, agent: Any, **kwargs: Any) -> None:
            if isinstance(node.parent, ast.If | ast.ExceptHandler) and node.value is not None:
                _note_again(source, node, agent.current)

        def on_alias_instance(self, *, node: Any, alias: Any, agent: Any, **kwargs: Any) -> None:
            source.note_import(agent.current, alias, node)

    return BindingRecorder()


def _note_again(source: Source, node: Any, current: Any) -> None:
    """Note `X = other` under `except ImportError`: griffe passes over a second value of a name."""
    import griffe  # noqa: PLC0415  # see the top

    for target in getattr(node, "targets", ()):
        if isinstance(target, ast.Name) and target.id in current.members:
            value = griffe.safe_get_expression(node.value, parent=current)
            again = griffe.Attribute(target.id, value=value, parent=current)
            source.note(current, target.id, again, node)


class _PlainText:
    """A text that griffe does not take for a type."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return repr(self._text)


def _keep_texts(nodes: Iterable[ast.AST]) -> None:
    """Keep the texts in the calls of `size: Annotated[int, Field(title="size")]` as texts.

    Griffe reads any text of an annotation as a type, also what is given to a call.
    """
    hints = [each.annotation for each in nodes if isinstance(each, ast.arg | ast.AnnAssign)]
    parts = [node for hint in hints if isinstance(hint, _COMPOUND) for node in ast.walk(hint)]
    calls = [node for node in parts if isinstance(node, ast.Call)]
    for node in (inner for call in calls for inner in ast.walk(call)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = _PlainText(node.value)  # type: ignore[assignment]  # griffe asks for its `repr`


def _is_bound(obj: Any, node: Any, current: Any) -> bool:
    """Tell whether a statement binds a name of its module or class.

    Overloads and setters are no members; `self.x = …` in `__init__` is none of the class; an
    annotation without a value gives a module no name.
    """
    owner = obj.parent
    if owner is None or owner.members.get(obj.name) is not obj or current not in (owner, obj):
        return False
    return not (isinstance(node, ast.AnnAssign) and node.value is None and owner.is_module)


def _placed(node: Any) -> tuple[bool, bool] | None:
    """Tell whether a statement is guarded by TYPE_CHECKING, and whether it is conditional.

    None stands for an arm that never runs here, of a test of the version or the platform.
    """
    guarded = conditional = False
    parent = getattr(node, "parent", None)
    while parent is not None and not isinstance(parent, ast.Module | ast.ClassDef):
        holds = _holds(parent.test) if isinstance(parent, ast.If) else None
        if holds is None:
            conditional = True
        elif holds != (node in parent.body):
            if "TYPE_CHECKING" not in ast.unparse(parent.test):
                return None
            guarded = conditional = True
        node, parent = parent, getattr(parent, "parent", None)
    return guarded, conditional


def _holds(test: ast.expr) -> bool | None:
    """Evaluate what Python itself decides; None where a run alone tells."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        inner = _holds(test.operand)
        return None if inner is None else not inner
    text = ast.unparse(test)
    if re.fullmatch(r"(\w+\.)?TYPE_CHECKING", text):
        return False
    known = re.fullmatch(r"sys\.(version_info|platform) (<|<=|==|!=|>=|>) (.+)", text)
    if known is None or not isinstance(test, ast.Compare):
        return None
    try:
        other = ast.literal_eval(test.comparators[0])
        mine = tuple(sys.version_info) if known[1] == "version_info" else sys.platform
        return bool(_COMPARISONS[known[2]](mine, other))
    except (ValueError, TypeError):
        return None


def _yields(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    nodes: list[ast.AST] = list(function.body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            nodes += ast.iter_child_nodes(node)
    return False
