"""Objects of a running application → what a manifest can call them.

In: the modules that are loaded, and the composition root among them. Out: for an object its import path,
preferring where it is defined and never the root; for a value what YAML can say of it: literals, paths,
settings, collections of these; or why it cannot.

Values are written as `Value`: plain data with a tag, which a parent process reads as well.
"""

import ast
import enum
import functools
import inspect
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from assembler.diagnostics.exceptions import is_users
from assembler.plan.component import DATA

Value: TypeAlias = dict[str, Any]
"""`{"is": "literal", "value": …}`, `{"is": "list", "items": […]}`, `{"is": "mapping", "items": {…}}`,
`{"is": "path", "path": …, "form": "class" | "function" | "object"}`, `{"is": "settings"}`,
`{"is": "setting", "path": …}`, `{"is": "app"}`, `{"is": "unnamed", "what": …}`, or `{"is": "made", …}`
for what the module beside the manifest gives a name: `key` tells two of them apart, `code` makes it of
its `NAME`, `uses_old` tells whether it comes from the application as it was, `with` holds what it is
called with."""

NAME = "\x04"

_PLAIN = (bool, int, float, str, type(None))
_DEEPEST = 12
_MOST = 10_000  # values of one collection: a manifest has a hundred thousand at most


def literal(value: Any) -> Value:
    """Write a plain scalar."""
    return {"is": "literal", "value": value}


def listed(values: Any) -> Value:
    """Write a list of values that are written already."""
    return {"is": "list", "items": list(values)}


def mapping(values: Mapping[str, Value]) -> Value:
    """Write a mapping of values that are written already."""
    return {"is": "mapping", "items": dict(values)}


def unnamed(what: str) -> Value:
    """Write what has no name."""
    return {"is": "unnamed", "what": what}


def is_said(value: Value) -> bool:
    """Tell whether a manifest can say a value, all that it holds included."""
    return all(each["is"] not in {"unnamed", "app"} for each in parts(value))


def parts(value: Value) -> Iterator[Value]:
    """Yield a value and all that it holds."""
    yield value
    items = value.get("items", ())
    for each in items.values() if isinstance(items, dict) else items:
        yield from parts(each)


def made(key: str, name: str, code: str, value: Any, *, uses_old: bool) -> Value:
    """Write what the module beside the manifest gives a name."""
    form = form_of(value)
    definer = getattr(value, "__module__", None) if form != "object" else None
    return {
        "is": "made",
        "key": key,
        "name": name,
        "code": code,
        "form": form,
        "definer": definer,
        "uses_old": uses_old,
        "with": {},
    }


def form_of(value: Any) -> str:
    """Return what a path names: a class, a function or an object."""
    if inspect.isclass(value):
        return "class"
    is_function = inspect.isroutine(value) or isinstance(value, functools.partial)
    return "function" if is_function else "object"


class ImportPaths:
    """Import paths of objects, found by identity."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.settings: Any = None  # the object that `${settings}` stands for
        self.app: Any = None
        self.of_settings: dict[int, tuple[str, Any]] = {}  # the path of each object that it holds
        self._own: dict[int, list[tuple[str, str]]] | None = None
        self._kept: dict[int, Any] = {}  # so that no id is used twice
        self._bound: dict[str, frozenset[str]] = {}

    def path(self, value: Any) -> str | None:
        """Return the import path of an object, or None where no module has it by a name."""
        if isinstance(value, ModuleType):
            return None
        if inspect.isclass(value) or inspect.isroutine(value):
            found = self._defined(value)
            if found is not None:
                return found
        owned = self._owned(value)
        if owned is not None:
            return owned
        if inspect.ismethod(value):
            owner = self.path(value.__self__)
            if owner is not None and getattr(value.__self__, value.__name__, None) == value:
                joint = "." if ":" in owner or inspect.isclass(value.__self__) else ":"
                head, _, last = owner.rpartition(".")
                return (
                    f"{owner}.{value.__name__}"
                    if joint == "."
                    else f"{head}:{last}.{value.__name__}"
                )
        return None

    def value(self, value: Any, *, depth: int = 0) -> Value:
        """Write a value, as far as it can be said."""
        known = self._known(value)
        if known is not None:
            return known
        if not depth and (count := _count(value)) > _MOST:
            return unnamed(f"a collection of at least {count} values")
        if isinstance(value, enum.Enum):
            value = value.value if isinstance(value.value, str | int) else value
        if type(value) in _PLAIN:
            return self._scalar(value)
        if isinstance(value, str | int | float) and not isinstance(value, enum.Enum):
            return self._scalar(_base(value))
        return self._collection(value, depth)

    def _known(self, value: Any) -> Value | None:
        """Write what stands for itself: the settings, what they hold, the application."""
        if self.settings is not None and value is self.settings:
            return {"is": "settings"}
        if value is self.app and value is not None:
            return {"is": "app"}
        path, found = self.of_settings.get(id(value), ("", None))
        return {"is": "setting", "path": path} if path and found is value else None

    def _collection(self, value: Any, depth: int) -> Value:
        if depth > _DEEPEST:
            return unnamed("a value that is too deep")
        if type(value) in {list, tuple}:
            return listed(self.value(item, depth=depth + 1) for item in value)
        if type(value) in {set, frozenset} and all(type(item) is str for item in value):
            return listed(map(literal, sorted(value)))
        if type(value) is dict and all(isinstance(key, str) for key in value):
            return mapping(
                {str(key): self.value(item, depth=depth + 1) for key, item in value.items()}
            )
        return self.code(value)

    def code(self, value: Any) -> Value:
        """Write what only an import path can say."""
        path = self.path(value)
        if path is None or isinstance(value, DATA):  # data is no resource, whatever has it
            return unnamed(described(value))
        form = form_of(value)
        definer = getattr(value, "__module__", None) if form != "object" else None
        return {"is": "path", "path": path, "form": form, "definer": definer}

    def _scalar(self, value: Any) -> Value:
        if isinstance(value, float) and (value != value or value in (float("inf"), -float("inf"))):  # noqa: PLR0124  # NaN
            return unnamed("a number that YAML has no word for")
        return literal(value)

    def _defined(self, value: Any) -> str | None:
        """Return the path by which a class or function calls itself, where that leads to it."""
        module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        if not isinstance(module, str) or not isinstance(name, str) or "<" in name:
            return None
        if module == "builtins" or _found(sys.modules.get(module), name) is not value:
            return None
        if any(part.startswith("_") for part in module.split(".")):
            return self._public(value) or _joined(module, name)
        return _joined(module, name)

    def _public(self, value: Any) -> str | None:
        """Return a shorter path that leads to what lies in a private module."""
        top, called = value.__module__.partition(".")[0], value.__name__
        names = [
            f"{name}.{called}"
            for name, module in list(sys.modules.items())
            if (name == top or name.startswith(f"{top}."))
            and not any(part.startswith("_") for part in name.split("."))
            and vars(module).get(called) is value
        ]
        return min(names, key=lambda name: (len(name), name), default=None)

    def _owned(self, value: Any) -> str | None:
        """Return where a module of the user's own has an object: where it is bound, not imported."""
        found = self._index().get(id(value))
        if not found:
            return None
        module, name = min(found, key=self._rank)
        return _joined(module, name)

    def _rank(self, place: tuple[str, str]) -> tuple[bool, bool, bool, int, str]:
        module, name = place
        return (
            name not in self.bound_in(module),
            module == self.root,
            name.startswith("_"),
            len(module),
            name,
        )

    def places_of(self, value: Any) -> list[tuple[ModuleType, str]]:
        """Return the user's modules that have an object, each with its name there."""
        found = self._index().get(id(value), [])
        return [(sys.modules[module], name) for module, name in found]

    def _index(self) -> dict[int, list[tuple[str, str]]]:
        if self._own is None:
            self._own = {}
            for name, module in sorted(sys.modules.items()):
                if name == "__main__" or not is_own(module):
                    continue
                for attribute, value in list(vars(module).items()):
                    if type(value) in _PLAIN or isinstance(value, ModuleType):
                        continue
                    self._own.setdefault(id(value), []).append((name, attribute))
                    self._kept[id(value)] = value
        return self._own

    def bound_in(self, module: str) -> frozenset[str]:
        """Return the names that a module's own source binds, other than by an import."""
        if module not in self._bound:
            self._bound[module] = frozenset(_bound_names(sys.modules.get(module)))
        return self._bound[module]


def is_own(module: Any) -> bool:
    """Tell whether a module is the user's own."""
    file = getattr(module, "__file__", None)
    return isinstance(module, ModuleType) and isinstance(file, str) and is_users(file)


def described(value: Any) -> str:
    """Say in a word what an object without a name is."""
    name = getattr(value, "__qualname__", None)
    if inspect.isroutine(value) and isinstance(name, str):
        kind = "a lambda" if name.endswith("<lambda>") else f"the local function `{value.__name__}`"
        return kind if "<" in name else f"the function `{name}`"
    if inspect.isclass(value):
        return f"the local class `{value.__name__}`"
    return f"an object of `{type(value).__name__}`"


def is_exact(value: Any) -> bool:
    """Tell whether a value that stands in a manifest comes back of the same type, whoever reads it."""
    if isinstance(value, dict):
        return type(value) is dict and all(map(is_exact, value.values()))
    if isinstance(value, list | tuple | set | frozenset):
        return type(value) is list and all(map(is_exact, value))
    return type(value) in _PLAIN or not isinstance(value, (*_PLAIN[:4], enum.Enum))


def _count(value: Any) -> int:
    """Count what a collection holds at any depth, as far as it takes to know that it is too much."""
    waiting, count = [value], 0
    while waiting and count <= _MOST:
        each = waiting.pop()
        items = each.values() if type(each) is dict else each
        if type(each) in {list, tuple, set, frozenset, dict}:
            count += len(each)
            waiting += [item for item in items if type(item) not in _PLAIN][: _MOST + 1]
    return count


def _base(value: Any) -> Any:
    """Return the plain text or number that an object of a subclass is."""
    if isinstance(value, str):
        return str.__str__(value)
    return int(value) if isinstance(value, int) else float(value)


def _joined(module: str, name: str) -> str:
    """Write a path; with a colon where a dot would not say where the module ends."""
    return f"{module}:{name}" if "." in name else f"{module}.{name}"


def _found(module: Any, name: str) -> Any:
    value = module
    for part in name.split("."):
        value = getattr(value, part, None)
    return value


def _bound_names(module: Any) -> Iterator[str]:
    try:
        tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    except (OSError, ValueError, SyntaxError, AttributeError, TypeError):
        return
    for node in _top_level(tree.body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.With | ast.For):
            for each in ast.walk(node):
                if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
                    yield each.id


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when a module is imported, those of branches included."""
    for node in body:
        yield node
        for name in ("body", "orelse", "finalbody", "handlers"):
            if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
                yield from _top_level(getattr(node, name, []))
        if isinstance(node, ast.ExceptHandler):
            yield from _top_level(node.body)
