"""Local functions and routers → code of a module, that makes the same ones.

In: a function that another function has made, or a router with such functions, as objects, and the calls
that were recorded on it. Out: a `Value` whose code stands in the module beside the manifest: the function
as it is written, without the decorators that composed the application; what it takes from around it is
imported, or becomes a parameter that the entry gives under `with`. Refuses, as an `UnliftedError` with the
reason, what would be another thing there: code that uses the application itself, an object that was made
in the same function, a variable that is assigned anew.
"""

import ast
import builtins
import contextlib
import functools
import gc
import importlib.util
import inspect
import symtable
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from assembler.adopt import expressions
from assembler.adopt.assembly_module import TABLE
from assembler.adopt.naming import NAME, ImportPaths, Value, described, form_of, is_said
from assembler.adopt.recording import Call, Composition, UserPlace
from assembler.diagnostics.exceptions import is_users, short_path
from assembler.review.credentials import holds_secret, looks_secret

if TYPE_CHECKING:
    import libcst

_TYPES = (str, int, float, bool)
_PLACE = "lifted_name_"  # stands for the name in code, until there is one
_METHODS = {
    "endpoint": "add_api_route",
    "websocket": "add_api_websocket_route",
    "router": "include_router",
    "route": "add_route",
    "websocket route": "add_websocket_route",
}


class UnliftedError(Exception):
    """Why something stays where it is, as the end of a sentence."""


@dataclass(slots=True)
class _Group:
    """Functions that stand together, in order, with what they take from elsewhere."""

    functions: dict[str, "libcst.FunctionDef"] = field(default_factory=dict)
    objects: dict[str, Any] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)  # `module:name` by the name in the code
    parameters: dict[str, tuple[Value, Any]] = field(default_factory=dict)


class Lifter:
    """Lifts functions and routers of one application."""

    def __init__(self, names: ImportPaths, recording: Composition) -> None:
        self.names = names
        self.recording = recording
        self.imports: dict[str, str] = {}  # of all that was lifted, `module:name` by the name
        self.taken: dict[str, Any] = {}  # functions by their names

    def function(self, function: Any, place: UserPlace, *, takes: str = "") -> Value:
        """Lift a function; with `takes` what gives it is called with that first, as a lifespan is."""
        group = _Group()
        name = self.add(function, place, group)
        if not group.parameters:
            return self.at_the_top(group)[-1]
        self.reserve(group)
        result = f"{name}({takes})" if takes else name
        code = _maker(list(group.functions.values()), [f"return {result}"], group, takes=takes)
        return _made(function, f"make_{name}", code, form="function", group=group)

    def router(self, router: Any, place: UserPlace, called: str = "router") -> Value:
        """Lift a router with all that was put on it; `called` is a name for it."""
        calls = self.routes_of(router)
        created = next((c for c in self.recording.of(router) if c.kind == "new router"), None)
        if created is None:
            raise UnliftedError("nobody has seen it being made")
        return self.routes(router, created.arguments, calls, place, called)

    def routes(
        self,
        router: Any,
        given: Mapping[str, Any],
        calls: list[Call],
        place: UserPlace,
        called: str,
    ) -> Value:
        """Lift routes as a router of these arguments, with the calls that were made on it."""
        group = _Group()
        write = functools.partial(self.written, place=place, group=group)
        lines = [expressions.call_text(self.names, "APIRouter", given, write)]
        for call in calls:
            method = _METHODS[call.kind]
            arguments = expressions.without_defaults(method, call.arguments)
            lines.append(expressions.call_text(self.names, method, arguments, write))
        if None in lines:
            raise UnliftedError("it says what no code can")
        first, *rest = map(str, lines)
        first = first.replace("APIRouter", expressions.marked("fastapi.APIRouter"), 1)
        if not group.parameters:
            needs = self.at_the_top(group)
            code = "\n".join([f"{_PLACE} = {first}", *(f"{_PLACE}.{line}" for line in rest)])
            return _made(router, called, code, form="object", needs=needs)
        self.reserve(group)
        last = [f"router = {first}", *(f"router.{line}" for line in rest), "return router"]
        code = _maker(list(group.functions.values()), last, group)
        return _made(router, f"make_{called}", code, form="function", group=group)

    def at_the_top(self, group: _Group) -> list[Value]:
        """Return the functions of a group as those of a module, which has each of them once."""
        self.reserve(group)
        found: list[Value] = []
        for name, node in group.functions.items():
            function = group.objects[name]
            known = self.taken.setdefault(name, function)
            if known is not function:
                raise UnliftedError(f"there is another function `{name}`")
            value = _made(function, name, code_of(node), is_exact=True, needs=list(found))
            value["imports"] = dict(group.imports)
            value["origins"] = {name: origin_name(function)}
            found.append(value)
        return found

    def reserve(self, group: _Group) -> None:
        """Keep the names under which the code of a group has what it imports."""
        for name, path in group.imports.items():
            if self.imports.get(name, path) != path or name in self.taken:
                raise UnliftedError(f"`{name}` stands for another thing elsewhere")
        if any(name in self.imports for name in group.functions):
            raise UnliftedError("its name stands for another thing elsewhere")
        self.imports |= group.imports

    def routes_of(self, router: Any) -> list[Call]:
        """Return the calls that put something on a router; raises where another way did."""
        calls = [call for call in self.recording.of(router) if call.kind in _METHODS]
        added = {id(route) for call in calls for route in call.added}
        if any(id(route) not in added for route in router.routes):
            raise UnliftedError("it has routes that no call has added")
        return calls

    def written(self, value: Any, *, place: UserPlace, group: _Group) -> str:
        """Return the name by which code of the group has an object without a path."""
        if not is_local(value):
            raise expressions.UnwrittenError
        return self.add(value, place, group)

    def add(self, function: Any, place: UserPlace, group: _Group) -> str:
        """Add a function, and all local functions that it uses; return its name."""
        inner = inspect.unwrap(function)
        node = definition_of(inner)
        name = node.name.value
        if name in group.functions:
            return name
        scope = _Scope(self.names, inner, place)
        node = _undecorated(node, scope)
        code = code_of(node)
        _refuse_secrets(code)
        free, rebound = free_names(code)
        if rebound:
            raise UnliftedError(f"`{rebound[0]}` is assigned anew in it")
        for each in free:
            if each != name:
                self.resolve(each, scope, group)
        group.functions[name] = node
        group.objects[name] = inner
        return name

    def resolve(self, name: str, scope: "_Scope", group: _Group) -> None:
        """Find what a name of lifted code stands for, and where the module has it from."""
        found = scope.find(name)
        if found is None:
            return
        value, is_global = found
        if value is self.names.app:
            raise UnliftedError("it uses the application itself")
        path = self.import_of(name, value, scope, is_global=is_global)
        if path is not None:
            known = group.imports.setdefault(name, path)
            if known != path:
                raise UnliftedError(f"`{name}` is not the same everywhere")
        elif is_local(value):
            if self.add(value, scope.place, group) != name:
                raise UnliftedError(f"`{name}` is another name of a function")
        else:
            self.give(name, value, group)

    def import_of(self, name: str, value: Any, scope: "_Scope", *, is_global: bool) -> str | None:
        if isinstance(value, types.ModuleType):
            return f":{value.__name__}"
        found = self.names.code(value)
        if found["is"] == "path":
            path = str(found["path"])
            module, colon, rest = path.partition(":")
            if not colon:
                module, _, rest = path.rpartition(".")
            if "." not in rest:
                return f"{module}:{rest}"
        if is_global:
            if name in scope.rebound:
                raise UnliftedError(f"`{name}` is assigned anew by a function")
            return f"{scope.module}:{name}"
        return None

    def give(self, name: str, value: Any, group: _Group) -> None:
        """Have the entry give a value of the factory's own as an option."""
        written = self.names.value(value)
        # A list or a mapping may be shared by functions, and changed by one of them.
        is_fixed = isinstance(value, tuple) or written["is"] in {"literal", "settings", "setting"}
        if not is_said(written) or not is_fixed:
            raise UnliftedError(f"`{name}` is {described(value)}, made in the same function")
        group.parameters[name] = written, value


def is_local(value: Any) -> bool:
    """Tell whether a function stands in another one; a lambda has no lines of its own."""
    inner = inspect.unwrap(value) if callable(value) else value
    name = getattr(inner, "__qualname__", "")
    return inspect.isfunction(inner) and "<locals>" in name and "<lambda>" not in name


class _Scope:
    """What the names in a function stand for."""

    def __init__(self, names: ImportPaths, function: Any, place: UserPlace) -> None:
        self.place = place
        self.module = function.__module__
        self.globals = function.__globals__
        self.names = names
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        self.cells = dict(_filled(cells))
        of_same = place.path == function.__code__.co_filename
        self.locals = dict(place.locals) if of_same else {}
        self.rebound = _rebound_in(function.__code__.co_filename)

    def find(self, name: str) -> tuple[Any, bool] | None:
        """Return a value, and whether the module has it; None for what Python has itself."""
        if name in self.cells:
            return self.cells[name], False
        if name in self.locals:
            return self.locals[name], False
        if name in self.globals:
            return self.globals[name], True
        if hasattr(builtins, name):
            return None
        raise UnliftedError(f"nothing tells what `{name}` is")


def _filled(cells: Any) -> Iterator[tuple[str, Any]]:
    for name, cell in cells:
        try:
            yield name, cell.cell_contents
        except ValueError:  # it is not assigned yet
            raise UnliftedError(f"`{name}` has no value yet") from None


# --- source


@functools.lru_cache(maxsize=64)
def _definitions(path: str) -> "dict[int, libcst.FunctionDef]":
    """Return the functions of a file by the line on which they begin, decorators included."""
    import libcst  # noqa: PLC0415  # the extra `adopt`
    from libcst.metadata import MetadataWrapper, PositionProvider  # noqa: PLC0415  # as above

    wrapper = MetadataWrapper(libcst.parse_module(Path(path).read_bytes()), unsafe_skip_copy=True)
    places = wrapper.resolve(PositionProvider)
    found = {}
    for node, where in places.items():
        if isinstance(node, libcst.FunctionDef):
            first = node.decorators[0] if node.decorators else None
            line = places[first].start.line if first is not None else where.start.line
            found[line] = node
    return found


def definition_of(function: Any) -> "libcst.FunctionDef":
    """Return the definition of a function in its source."""
    code = function.__code__
    try:
        found = _definitions(code.co_filename).get(code.co_firstlineno)
    except ImportError:
        raise UnliftedError("the extra `adopt` is not installed") from None
    except Exception as error:  # a file may be anything by now
        raise UnliftedError("its source cannot be read") from error
    if found is None or found.name.value != code.co_name:
        raise UnliftedError("its source is not where it was")
    return found


def _undecorated(node: "libcst.FunctionDef", scope: _Scope) -> "libcst.FunctionDef":
    """Leave out the decorators that composed the application; those inside of them stay."""
    kept: list[Any] = []
    for decorator in reversed(node.decorators):
        if not _composes(decorator, scope):
            kept.insert(0, decorator)
    outer = [d for d in node.decorators if d not in kept]
    first_kept = min((node.decorators.index(d) for d in kept), default=len(node.decorators))
    if any(node.decorators.index(d) > first_kept for d in outer):
        raise UnliftedError("a decorator stands around the one that registers it")
    return node.with_changes(decorators=kept, leading_lines=[])


def _composes(decorator: Any, scope: _Scope) -> bool:
    import libcst  # noqa: PLC0415  # as above
    from starlette.applications import Starlette  # noqa: PLC0415  # the process alone needs it
    from starlette.routing import Router  # noqa: PLC0415  # as above

    node = decorator.decorator
    while isinstance(node, libcst.Call | libcst.Attribute):
        node = node.func if isinstance(node, libcst.Call) else node.value
    if not isinstance(node, libcst.Name):
        return False
    try:
        found = scope.find(node.value)
    except UnliftedError:
        return False
    return found is not None and isinstance(found[0], Starlette | Router)


def code_of(node: "libcst.CSTNode") -> str:
    """Return the code of a node, as at the top of a module."""
    import libcst  # noqa: PLC0415  # as above

    return libcst.Module([]).code_for_node(node).strip("\n")


def free_names(code: str) -> tuple[list[str], list[str]]:
    """Return the names that code takes from around it, and those of them that it assigns anew."""
    free: dict[str, None] = {}
    rebound: dict[str, None] = {}

    def visit(table: symtable.SymbolTable, *, is_top: bool) -> None:
        for symbol in table.get_symbols():
            is_free = symbol.is_global() or (is_top and not symbol.is_assigned())
            if is_free and (symbol.is_referenced() or symbol.is_declared_global()):
                free[symbol.get_name()] = None
            if symbol.is_assigned() and (symbol.is_declared_global() or symbol.is_nonlocal()):
                rebound[symbol.get_name()] = None
        for child in table.get_children():
            visit(child, is_top=False)

    try:
        visit(symtable.symtable(code, "lifted", "exec"), is_top=True)
    except SyntaxError as error:  # `nonlocal` of a variable that is not there any more
        raise UnliftedError("it assigns a variable of the function around it") from error
    return list(free), list(rebound)


@functools.lru_cache(maxsize=64)
def _rebound_in(path: str) -> frozenset[str]:
    """Return the names of a module that its functions assign."""
    tree = expressions.parsed(path)
    nodes = () if tree is None else ast.walk(tree)
    return frozenset(name for node in nodes if isinstance(node, ast.Global) for name in node.names)


def _refuse_secrets(code: str) -> None:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if (looks_secret(text) and " " not in text) or holds_secret(text):
                raise UnliftedError("a text in it looks like a credential")
            if expressions.is_of_this_machine(text):
                raise UnliftedError("a path in it is one of this machine")


# --- code that makes it


def _maker(
    functions: "list[libcst.FunctionDef]", last: list[str], group: _Group, *, takes: str = ""
) -> str:
    """Return a function that makes the functions and returns what the last lines say."""
    import libcst  # noqa: PLC0415  # as above

    parameters = ", ".join(
        f"{name}{_annotation(value)}" for name, (_, value) in group.parameters.items()
    )
    head = f"def {_PLACE}({takes}{', ' if takes else ''}*, {parameters}):"
    shell = libcst.parse_statement(f"{head}\n    pass\n")
    assert isinstance(shell, libcst.FunctionDef)  # noqa: S101  # it was written as one
    apart = [libcst.EmptyLine(indent=False)]
    inner = [f.with_changes(leading_lines=apart if n else []) for n, f in enumerate(functions)]
    text = code_of(shell.with_changes(body=libcst.IndentedBlock(inner))) if inner else head
    rest = "\n".join(f"    {line}" for line in last)
    return f"{text}\n\n{rest}" if inner else f"{text}\n{rest}"


def origins_in(group: _Group, before: str) -> dict[str, str]:
    """Return where each function of a group stood, by its new name."""
    return {f"{before}{name}": origin_name(each) for name, each in group.objects.items()}


def origin_name(function: Any) -> str:
    """Return the full name of a function, and after it those that it has from around it."""
    name = f"{function.__module__}.{function.__qualname__}"
    return " ".join([name, *function.__code__.co_freevars])


def origin_of(function: Any) -> tuple[str, dict[str, Any]] | None:
    """Return where a lifted function stood, if what stands there still says the same.

    With it comes what the function has now from its module, and had from around it there. The source
    of both is compared, without decorators; no code is run.
    """
    own = vars(sys.modules.get(function.__module__, builtins))
    table = own.get(TABLE)
    said = table.get(function.__qualname__) if isinstance(table, dict) else None
    if not isinstance(said, str):
        return None
    origin, *names = said.split(" ")
    mine = _written_at(function.__code__.co_filename, function.__qualname__)
    if mine is None or mine != _written_there(origin):
        return None
    return origin, {name: own[name] for name in names if name in own}


def _written_there(origin: str) -> str | None:
    parts = origin.split(".")
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        try:
            found = importlib.util.find_spec(
                name
            )  # runs nothing but packages that are there already
        except (ImportError, ValueError, AttributeError):
            continue
        if found is not None and found.origin:
            return _written_at(found.origin, ".".join(parts[length:]))
    return None


def uses_of(app: Any, names: ImportPaths) -> Iterator[tuple[str, int, str]]:
    """Yield the place and name of each function that has the application from around it."""
    for module, name in names.places_of(app):
        tree = expressions.parsed(str(module.__file__))
        for node in () if tree is None else ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                code = ast.unparse(ast.Module([_bare(node)], []))
                with contextlib.suppress(UnliftedError):
                    if name in free_names(code)[0]:
                        yield short_path(str(module.__file__)), node.lineno, node.name
    for function in _holders(app):
        held = function.__code__
        if is_users(held.co_filename):
            yield short_path(held.co_filename), held.co_firstlineno, held.co_name


def _holders(value: Any) -> Iterator[FunctionType]:
    """Yield the functions that hold an object in a cell."""
    for cell in gc.get_referrers(value):
        for cells in gc.get_referrers(cell) if isinstance(cell, types.CellType) else ():
            if isinstance(cells, tuple):
                yield from (f for f in gc.get_referrers(cells) if isinstance(f, FunctionType))


def _bare(node: Any) -> Any:
    """Return a function without its decorators, which ran when it was defined."""
    return type(node)(**{**dict(ast.iter_fields(node)), "decorator_list": []}, lineno=node.lineno)


def _written_at(file: str, name: str) -> str | None:
    """Return what the source of a function says, found by its qualified name."""
    body: Any = expressions.parsed(file)
    for part in name.replace(".<locals>", "").split("."):
        inside = () if body is None else ast.walk(body)
        kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
        body = next((n for n in inside if isinstance(n, kinds) and n.name == part), None)
    if not isinstance(body, ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    return " ".join(map(ast.dump, [body.args, *body.body]))


def _annotation(value: Any) -> str:
    if type(value) in _TYPES:
        return f": {type(value).__name__}"
    if isinstance(value, tuple):
        return ": tuple[str, ...]" if all(isinstance(each, str) for each in value) else ""
    return ""


def _made(
    value: Any,
    name: str,
    code: str,
    *,
    form: str | None = None,
    needs: "list[Value] | None" = None,
    group: _Group | None = None,
    is_exact: bool = False,
) -> Value:
    imports = {} if group is None else dict(group.imports)
    parameters = {} if group is None else group.parameters
    origins = {} if group is None else origins_in(group, f"{NAME}.<locals>.")
    return {
        "is": "made",
        "key": f"lifted {id(value)} {name}",
        "name": name,
        "code": code.replace(_PLACE, NAME),
        "form": form or form_of(value),
        "definer": None,
        "uses_old": False,
        "imports": imports,
        "needs": needs or [],
        "is_exact": is_exact,
        "origins": origins,
        "with": {key: written for key, (written, _) in parameters.items()},
    }
