"""A module, or what a path stands for → what its source says of it for people.

Out: plain data: the docstring, the place, the sections of a manifest where it may stand, and the
packages that it imports. What may stand where is told by form: a layer is made with an app and
called with scope, receive and send; a resource has a pair that opens and closes it, or is returned
by a function; and so on. What the source does not tell stands nowhere.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assembler.plan.allow_list import ImportFault
from assembler.plan.component import CLOSERS, OPENERS
from assembler.plan.static.looseness import literal
from assembler.plan.static.module import Source
from assembler.plan.static.names import Found, Names, callee, kind, shown, subscripted
from assembler.plan.static.vocabulary import NEUTRAL

Page = dict[str, Any]

_ASGI = ["scope", "receive", "send"]
_ROUTERS = frozenset({"APIRouter"})
_APPS = frozenset({"FastAPI", "Starlette", "ASGIApp"})
_ERRORS = frozenset({"error", "exc", "exception", "err"})
_PAIRS = (("__aenter__", "__aexit__"), ("__enter__", "__exit__"))


class Documentation:
    """Reads what sources say for people."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def page(self, value: Found) -> Page:
        """Return what is said of a class, a function or a module."""
        item = shown(value)
        source = value if isinstance(value, Source) else self._source(item)
        tree = source.tree if source is not None else None
        shown_item = tree if isinstance(value, Source) else item
        return {
            "doc": _text(shown_item),
            "module_doc": _text(tree),
            "module": source.name if source is not None else None,
            "file": source.file if source is not None else None,
            "line": getattr(shown_item, "lineno", None),
            "sections": [] if item is None else list(dict.fromkeys(self._sections(item))),
            "role": self._role(item),
            "gives": [] if item is None else self._gives(item),
            "is_router": item is not None and self._is_router(item),
            "kind": "module" if item is None else item.kind.value,
            "imports": sorted(self._imports(source, item)) if source is not None else [],
        }

    def pages(self, source: Source) -> dict[str, Page]:
        """Return, by name, what a module defines itself and a manifest may name."""
        found: dict[str, Page] = {}
        for name in sorted(source.bound(source.tree)) if source.tree is not None else ():
            item = None if name.startswith("_") else shown(self._names.lookup(source.tree, name))
            defined = self._source(item)
            is_inner = defined and f"{defined.name}.".startswith(f"{source.name}.")
            if item is None or not is_inner or item.name != name:
                continue
            page = self.page(item)
            if page["sections"]:
                found[name] = page
        return found

    def _source(self, item: Any) -> Source | None:
        return None if item is None else self._names.load(item.module.path)

    def _role(self, item: Any) -> Any:
        said = shown(self._attribute(item, "layer_role")) if item and item.is_class else None
        role = literal(getattr(said, "value", None))
        return role if isinstance(role, str) else None

    def _is_router(self, item: Any) -> bool:
        """Tell whether a route of it is a router, where it is a route at all."""
        made = item.returns if item.is_function else None if item.is_class else callee(item.value)
        return _last(made) in _ROUTERS

    def _gives(self, item: Any) -> list[str]:
        """Tell where the class of what a call gives is defined, and its bases, as `place` says it."""
        made = shown(self._resolved(item.returns, item.parent)) if item.is_function else item
        bases = self._names.mro(made) if made is not None and made.is_class else []
        return [f"{base.module.path}:{base.lineno}" for base in filter(shown, bases)]

    def _attribute(self, cls: Any, name: str) -> Found | None:
        try:
            return self._names.step(cls, name)
        except ImportFault:
            return None

    def _method(self, cls: Any, name: str) -> Any:
        found = shown(self._attribute(cls, name))
        return found if found is not None and found.is_function else None

    def _sections(self, item: Any) -> Iterator[str]:
        if item.is_class:
            yield from self._of_class(item)
        elif item.is_function:
            yield from self._of_function(item)
        elif kind(item.value) == "ExprCall" and _last(callee(item.value)) in _ROUTERS | _APPS:
            yield "routes"

    def _of_class(self, cls: Any) -> Iterator[str]:
        if "typing.Protocol" in {self._resolved(base, cls.parent) for base in cls.bases}:
            return
        if self._is_opened(cls):
            yield "resources"
        call = self._method(cls, "__call__")
        taken = _names_of(call)[1:] if call is not None else []
        init = self._method(cls, "__init__")
        made = _names_of(init)[1:] if init is not None else []
        if taken == _ASGI:
            yield "middleware" if made[:1] == ["app"] else "routes"
        elif len(taken) == 2 and "async" in call.labels and taken[1] in _ERRORS:
            yield "exception_handlers"

    def _of_function(self, function: Any) -> Iterator[str]:
        if not all(self._is_neutral(each, function) for each in function.decorators):
            return
        placed = _placed(function)
        gives = _last(function.returns)
        if gives in _ROUTERS | _APPS:
            yield "routes"
        elif placed == ["app"]:
            yield "configure"
        elif len(placed) == 2 and _is_asked(placed[0]) and placed[1] in _ERRORS:
            yield "exception_handlers"
        elif not placed:
            yield from self._of_factory(function)

    def _of_factory(self, function: Any) -> Iterator[str]:
        """Tell what a function is that takes nothing but options: by what it gives, or what it does."""
        returned = shown(self._resolved(function.returns, function.parent))
        if returned is not None and returned.is_class and self._is_opened(returned):
            yield "resources"
        elif returned is not None and returned.is_class and self._is_app(returned):
            yield "routes"
        elif "job" in _names_of(function):
            yield "scheduler.jobs"
        elif _last(function.returns) == "Callable":
            return
        elif _is_async(function) or all(
            item.kind.value == "keyword-only" for item in function.parameters
        ):
            is_step = str(function.returns) == "None" or (function.parameters and _text(function))
            yield from ("startup",) if is_step else ()

    def _is_app(self, cls: Any) -> bool:
        return _names_of(self._method(cls, "__call__"))[1:] == _ASGI

    def _resolved(self, expression: Any, scope: Any) -> Found | None:
        try:
            return self._names.resolve(subscripted(expression), scope)
        except ImportFault:
            return None

    def _is_neutral(self, decorator: Any, function: Any) -> bool:
        return self._resolved(callee(decorator.value), function.parent) in NEUTRAL

    def _is_opened(self, cls: Any) -> bool:
        """Tell whether a resource of this class would be opened or closed, as the lifespan does it."""
        if any(self._method(cls, first) and self._method(cls, last) for first, last in _PAIRS):
            return True
        opened = any(_is_async(self._method(cls, name)) for name in OPENERS)
        closed = [method for name in CLOSERS if (method := self._method(cls, name)) is not None]
        return (opened and bool(closed)) or any(map(_is_async, closed))

    def _imports(self, source: Source, item: Any) -> set[str]:
        """Return the top packages that are imported with a module and by what stands in `item`."""
        seen: set[str] = set()
        found = self._at_top(source, seen)
        if item is None or not (item.is_class or item.is_function):
            return found
        return found | self._inside(source, item.name, seen)

    def _at_top(self, source: Source, seen: set[str]) -> set[str]:
        if source.name in seen or source.code is None or source.tree is None:
            return set()
        seen.add(source.name)
        return self._packages(source, _run_at_import(source.syntax.body), seen)

    def _inside(self, source: Source, name: str, seen: set[str]) -> set[str]:
        """Follow a function or class into what else of its module it names."""
        defined = {
            node.name: node
            for node in source.syntax.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        }
        found: set[str] = set()
        waiting, done = [name], {name}
        while waiting:
            nodes = list(ast.walk(defined[here])) if (here := waiting.pop()) in defined else []
            found |= self._packages(source, nodes, seen)
            named = {node.id for node in nodes if isinstance(node, ast.Name)} & defined.keys()
            waiting += named - done
            done |= named
        return found

    def _packages(self, source: Source, nodes: list[Any], seen: set[str]) -> set[str]:
        own = source.name.partition(".")[0]
        found: set[str] = set()
        for name in _imported(source, nodes):
            top = name.partition(".")[0]
            if top == own:
                for inner in (name, name.rpartition(".")[0]):
                    module = self._names.load(inner) if inner else None
                    if module is not None and module.tree is not None:
                        found |= self._at_top(module, seen)
                        break
            elif top not in sys.stdlib_module_names:
                found.add(top)
        return found


def _text(item: Any) -> str:
    docstring = getattr(item, "docstring", None)
    return "" if docstring is None else str(docstring.value).strip()


def _names_of(function: Any) -> list[str]:
    return [] if function is None else [item.name for item in function.parameters]


def _placed(function: Any) -> list[str]:
    """Return the parameters without a default that are given by position."""
    return [
        item.name
        for item in function.parameters
        if item.default is None and item.kind.value.startswith("positional")
    ]


def _is_asked(name: str) -> bool:
    return name.strip("_") in {"request", "req", "connection", "conn", "websocket", ""}


def _is_async(function: Any) -> bool:
    return function is not None and "async" in function.labels


def _last(expression: Any) -> str:
    return str(subscripted(expression) or "").rpartition(".")[2]


def _run_at_import(body: list[ast.stmt]) -> list[ast.AST]:
    """Return the statements that an import of the module runs; those for type checkers are not."""
    found: list[ast.AST] = []
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            found += _run_at_import(node.orelse)
        elif isinstance(node, ast.If | ast.Try):
            found += [each for each in ast.walk(node) if isinstance(each, ast.stmt)]
        else:
            found.append(node)
    return found


def _imported(source: Source, nodes: list[Any]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = source.name.split(".")
                depth = node.level - (source.folders is not None)
                base = ".".join([*parts[: len(parts) - depth], *([base] if base else [])])
            yield from (f"{base}.{each.name}" for each in node.names)


def modules_of(package: Source) -> Iterator[str]:
    """Yield the names of a package and of all modules below it that are not private."""
    yield package.name
    for folder in package.folders or ():
        root = Path(folder)
        for file in sorted(root.rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            inner = parts[:-1] if parts[-1] == "__init__" else parts
            if inner and all(part.isidentifier() and not part.startswith("_") for part in inner):
                yield ".".join([package.name, *inner])
