"""A name in a scope, or an attribute of a value → what it stands for, across modules.

Out: griffe's object, a `Source` for a module, a `Known` or an `Opaque`; None where there is surely
nothing of that name. Follows imports, `*`, aliases and base classes. Refuses a module on the way
whose text is not Python.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from assembler.plan.allow_list import ImportFault
from assembler.plan.static.module import Binding, EarlierTree, Import, Source, find
from assembler.plan.static.vocabulary import MADE, NO_INIT, TWICE, Known, Opaque, known

if TYPE_CHECKING:
    import griffe

Found: TypeAlias = "griffe.Object | Source | Known | Opaque"
_Result = TypeVar("_Result")


class Names:
    """Finds what names stand for; each module is read once."""

    def __init__(self, earlier: EarlierTree | None) -> None:
        self._earlier = earlier
        self._loaded: dict[str, Source | None] = {}
        self._active: set[Hashable] = set()
        self._used: set[str] = set()
        self._fingerprints: dict[str, tuple[str | None, str] | None] = {}

    def once(self, key: Hashable, work: Callable[[], _Result], otherwise: _Result) -> _Result:
        """Do `work`, unless that is what is being done: names may lead in a circle."""
        if key in self._active:
            return otherwise
        self._active.add(key)
        try:
            return work()
        finally:
            self._active.discard(key)

    def load(self, name: str) -> Source | None:
        """Find a module without running anything, its parents included; None where there is none."""
        self._used.add(name)
        if name not in self._loaded:
            parent = self.load(name.rpartition(".")[0]) if "." in name else None
            folders = parent.folders if parent is not None else None
            reachable = name and ("." not in name or folders is not None)
            self._loaded[name] = find(name, folders, self._earlier) if reachable else None
        return self._loaded[name]

    def used_by(self, work: Callable[[], _Result]) -> tuple[_Result, set[str]]:
        """Do `work`; return what it gave, and the names of all modules that it looked for."""
        self._used = set()
        return work(), self._used

    def fingerprint(self, name: str) -> tuple[str | None, str] | None:
        """Return the file of a module and the hash of what it says; None where there is none."""
        if name not in self._fingerprints:
            source = self.load(name)
            self._fingerprints[name] = None if source is None else source.fingerprint
        return self._fingerprints[name]

    def step(self, value: Found, name: str) -> Found | None:
        """Return the attribute `name` of `value`."""
        if isinstance(value, Source):
            return (
                known(value.name, name)
                or (self.lookup(value.tree, name) if value.tree is not None else None)
                or self.load(f"{value.name}.{name}")
                or self._late(value, name)
            )
        if isinstance(value, Opaque):
            return value
        if isinstance(value, Known) or not value.is_class:
            return Opaque(MADE)
        return self._class_member(value, name)

    def lookup(self, owner: Any, name: str) -> Found | None:
        """Return what `name` is in a module or class body, imports and `*` included."""
        return self.once((id(owner), name), lambda: self._lookup(owner, name), None)

    def resolve(self, expression: Any, scope: Any) -> Found | None:
        """Return what a dotted name stands for in `scope`."""
        if kind(expression) == "ExprAttribute":
            first, *rest = expression.values
            value = self.resolve(first, scope)
            for part in rest:
                value = self.step(value, part.name) if value is not None else None
            return value
        if kind(expression) != "ExprName":
            return None
        name = expression.name
        while scope is not None:
            found = self.lookup(scope, name)
            if found is not None:
                return found
            scope = None if scope.is_module else scope.parent
        exists = Opaque("is built in", "builtins") if hasattr(builtins, name) else None
        return known("builtins", name) or exists

    def imported(self, expression: Any, scope: Any) -> str | None:
        """Return the path of a dotted name whose first part a single import binds, and nothing else."""
        parts = expression.values if kind(expression) == "ExprAttribute" else [expression]
        if any(kind(part) != "ExprName" for part in parts):
            return None
        bindings: list[Binding] = []
        while scope is not None and not bindings:
            bindings = self._source_of(scope).bound(scope).get(parts[0].name, [])
            scope = None if scope.is_module else scope.parent
        value = bindings[0].value if len(bindings) == 1 else None
        if not isinstance(value, Import):
            return None
        names = (value.module, value.name, *(part.name for part in parts[1:]))
        return ".".join(filter(None, names))

    def mro(self, cls: Any) -> list[Any]:
        """Return the class and its bases in the order of method resolution."""
        import griffe  # noqa: PLC0415  # here it was read already

        circle: list[list[Any]] = [[Opaque("inherits from itself")]]
        lists = self.once(
            id(cls), lambda: [self._base(base, cls.parent) for base in cls.bases], circle
        )
        try:
            return [cls, *griffe.c3linear_merge(*lists, [bases[0] for bases in lists])]
        except ValueError:
            return [cls, Opaque("has bases in an order that Python refuses")]

    def members(self, value: Found) -> set[str]:
        """Return the names that `dir` would show, as far as the source tells."""
        if isinstance(value, Source):
            names = {name for name, items in value.bound(value.tree).items() if any(_live(items))}
            starred = [source for module in value.wildcards if (source := self.load(module))]
            return names.union(*(self._exported(source) for source in starred))
        cls = shown(value)
        if cls is None or not cls.is_class:
            return set()
        classes = [base for base in self.mro(cls) if shown(base)]
        return {name for base in classes for name in self._source_of(base).bound(base)}

    def wrapped(self, value: Any) -> Found | None:
        """Return what a `functools.partial` calls, and None where `value` is none."""
        given, _ = arguments(value.value) if value.is_attribute else ([], {})
        if not given or self.resolve(callee(value.value), value.parent) != "functools.partial":
            return None
        return self.resolve(given[0], value.parent)

    def fields(self, cls: Any) -> Iterator[Any]:
        """Yield the attributes that a class body declares, in order."""
        for bindings in self._source_of(cls).bound(cls).values():
            value = bindings[-1].value
            if not isinstance(value, Import) and value.is_attribute:
                yield value

    def _lookup(self, owner: Any, name: str) -> Found | None:
        source = self._source_of(owner)
        bindings = source.bound(owner).get(name, [])
        found = [value for item in _live(bindings) if (value := self._bound(item)) is not None]
        if found:
            # Of an `if` or a `try`, only a run tells which arm holds.
            return found[0] if len({_identity(each) for each in found}) == 1 else Opaque(TWICE)
        if any(not binding.guarded for binding in bindings):
            return Opaque("comes from a module that cannot be read")
        return self._starred(source, name) if owner.is_module else None

    def _source_of(self, owner: Any) -> Source:
        source = self.load(owner.module.path)
        assert source is not None  # noqa: S101  # what was read has a source
        return source

    def _first(self, bindings: Iterable[Binding]) -> Found | None:
        found = (self._bound(binding) for binding in bindings)
        return next((value for value in found if value is not None), None)

    def _bound(self, binding: Binding) -> Found | None:
        value = binding.value
        if isinstance(value, Import):
            try:
                source = self.load(value.module)
                return self.step(source, value.name) if source and value.name else source
            except ImportFault:
                if not binding.conditional:  # else it may be meant for another version of Python
                    raise
                return None
        found = self.resolve(value.value, value.parent) if value.is_attribute else None
        return value if found is None or isinstance(found, Opaque) else found

    def _starred(self, source: Source, name: str) -> Found | None:
        for module in reversed(source.wildcards):
            starred = self.load(module)
            if starred is None or not (known(module, name) or starred.may_bind(name)):
                continue
            if known(module, name) or name in self._exported(starred):
                found = self.step(starred, name)
                if found is not None:
                    return found
        return None

    def _exported(self, source: Source) -> set[str]:
        """Return the names that `from source import *` gives."""
        exports = source.tree.exports if source.tree is not None else []
        if exports is not None and all(isinstance(name, str) for name in exports):
            return {str(name) for name in exports}
        members: set[str] = self.once(id(source), lambda: self.members(source), set())
        return {name for name in members if not name.startswith("_")}

    def _late(self, source: Source, name: str) -> Found | None:
        """Tell whether running the module may give it a `name` that no statement of it shows."""
        if source.tree is None:
            return Opaque("is in a compiled module", source.name)
        own = source.bound(source.tree)
        guarded = [item for item in own.get(name, []) if item.guarded]
        if guarded or "__getattr__" in own:
            key = (source.name, name)
            return self.once(key, lambda: self._first(guarded), None) or Opaque(MADE)
        for module in source.wildcards:
            starred = self.load(module)
            if starred is None or starred.tree is None:
                return Opaque("may come from `import *` of a module that cannot be read", module)
        text = source.code or ""
        is_dynamic = "globals()" in text or "sys.modules[" in text
        return Opaque(MADE) if is_dynamic or name in source.assigned else None

    def _class_member(self, cls: Any, name: str) -> Found | None:
        mro = self.mro(cls)
        for base in filter(shown, mro):
            found = self.lookup(base, name)
            if found is not None:
                return found
        is_told = not (cls.keywords or cls.decorators or hasattr(object, name))
        is_told = is_told and all(shown(base) or base in NO_INIT for base in mro)
        return None if is_told else Opaque(MADE)

    def _base(self, expression: Any, scope: Any) -> list[Any]:
        found = self.resolve(subscripted(expression), scope)
        if isinstance(found, Known):
            return [found]
        cls = shown(found)
        if cls is None or not cls.is_class:
            text = subscripted(expression)
            return [Opaque(f"inherits from `{text}`, whose source does not tell")]
        return self.mro(cls)


def shown(found: Found | None) -> Any:
    """Return griffe's object, or None where there is none."""
    return None if isinstance(found, Source | Known | Opaque) else found


def kind(expression: Any) -> str:
    """Name griffe's class: the classes themselves are there only where griffe was imported."""
    return type(expression).__name__


def callee(expression: Any) -> Any:
    """Return what a call calls, and all else as it is."""
    return expression.function if kind(expression) == "ExprCall" else expression


def subscripted(expression: Any) -> Any:
    """Return `X` of `X[…]`, and all else as it is."""
    return expression.left if kind(expression) == "ExprSubscript" else expression


def arguments(call: Any) -> tuple[list[Any], dict[str, Any]]:
    """Split a call's arguments by position and by name; all else has none."""
    given = call.arguments if kind(call) == "ExprCall" else []
    named = [item for item in given if kind(item) == "ExprKeyword"]
    unnamed = [item for item in given if kind(item) != "ExprKeyword"]
    return unnamed, {item.name: item.value for item in named}


def _identity(found: Found) -> Hashable:
    """Tell two findings apart: of what is well known and of modules, by their names."""
    return (
        found.name
        if isinstance(found, Source)
        else found
        if isinstance(found, Known)
        else id(found)
    )


def _live(bindings: Iterable[Binding]) -> Iterator[Binding]:
    """Yield those that may hold at run time."""
    live = [binding for binding in bindings if not binding.guarded]
    last = max((index for index, item in enumerate(live) if not item.conditional), default=-1)
    yield from live[last + 1 :]
    yield from live[last : last + 1] if last >= 0 else ()
