"""Import path → `Target`, by reading source: no user code is imported or run.

In: the path that `use` names, and the list of what a manifest may import. Out: a `Target` without
its object, with the parameters and the types that the source shows. Refuses what `resolve` refuses,
in the same words, and a module whose text is not Python. What only a running process knows takes
any option, and `SourceReader.unknown` says why.

A type is taken over only from a list of types that are safe to name; all else is `typing.Any`, so
that this room never refuses an option which the running callable would take.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import datetime as dt
import decimal
import functools
import importlib
import importlib.machinery
import keyword
import os
import pathlib
import pkgutil
import re
import symtable
import sys
import types
import uuid
import warnings
from collections import abc
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Optional, TypeAlias, Union

from pydantic import Field, SecretStr

from assembler.errors import did_you_mean
from assembler.resolve import (
    _BEHIND,
    _NAMESPACE,
    ImportFault,
    ImportList,
    _failed,
    _hidden_by,
    make_current_folder_importable,
)
from assembler.signature import Form, Parameter, Signature, Target

if TYPE_CHECKING:
    import griffe  # at run time only where a source is read: an app that starts must not pay for it

    Scope: TypeAlias = griffe.Module | griffe.Class
    Found: TypeAlias = "griffe.Object | _Source | _Known | _Unknown"

_MADE = "is made at run time"
_DEEPEST = 20  # aliases of aliases

# What a hint may name, by the one path that `_known` reduces its other paths to.
_TYPES: dict[str, Any] = {
    **{
        f"builtins.{kind.__name__}": kind
        for kind in (int, float, str, bool, bytes, list, dict, tuple, set, frozenset, type)
    },
    **{
        f"collections.abc.{kind.__name__}": kind
        for kind in (
            abc.Sequence,
            abc.MutableSequence,
            abc.Mapping,
            abc.MutableMapping,
            abc.Iterable,
            abc.Collection,
            abc.Set,
        )
    },
    "collections.abc.Callable": abc.Callable,
    "datetime.timedelta": dt.timedelta,
    "datetime.datetime": dt.datetime,
    "datetime.date": dt.date,
    "datetime.time": dt.time,
    "decimal.Decimal": decimal.Decimal,
    "os.PathLike": os.PathLike,
    "pathlib.Path": pathlib.Path,
    "pydantic.SecretStr": SecretStr,
    "re.Pattern": re.Pattern,
    "uuid.UUID": uuid.UUID,
}
_FORMS = frozenset(
    f"typing.{name}"
    for name in ("Any", "Literal", "Annotated", "Optional", "Union", "ClassVar", "Final")
)
# Of these pydantic looks at no argument.
_BARE_ARGUMENTS = frozenset({"builtins.type", "collections.abc.Callable"})
_MODELS = frozenset({"pydantic.BaseModel", "pydantic_settings.BaseSettings"})
_ENUMS = frozenset({"enum.Enum", "enum.StrEnum", "enum.IntEnum"})
_NO_INIT = frozenset({"builtins.object", "abc.ABC", "typing.Generic"})
_DATACLASSES = frozenset({"dataclasses.dataclass", "pydantic.dataclasses.dataclass"})
_FIELDS = frozenset({"dataclasses.field", "pydantic.Field"})
_WRAPPING = frozenset(
    {
        "functools.cache",
        "functools.lru_cache",
        "contextlib.contextmanager",
        "contextlib.asynccontextmanager",
    }
)
_NEUTRAL = _WRAPPING | frozenset(
    {
        "builtins.staticmethod",
        "builtins.classmethod",
        "abc.abstractmethod",
        "typing.final",
        "typing.override",
        "typing.runtime_checkable",
        "functools.total_ordering",
    }
)
# Metadata that narrows what a type takes, or only describes it: without it, more is accepted.
_NARROWING = frozenset(
    {"pydantic.AfterValidator", "pydantic.StringConstraints", "pydantic.WithJsonSchema"}
)
_FACTS = frozenset(
    {"ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern"}
    | {"description", "json_schema_extra"}
)
_OTHERS = frozenset(
    {"dataclasses.InitVar", "dataclasses.KW_ONLY", "functools.partial"}
    | {"abc.ABCMeta", "typing.Protocol"}
)
_KNOWN = frozenset(
    {
        *_TYPES,
        *_FORMS,
        *_MODELS,
        *_ENUMS,
        *_NO_INIT,
        *_DATACLASSES,
        *_FIELDS,
        *_NEUTRAL,
        *_NARROWING,
        *_OTHERS,
    }
)
_SAME = {
    **{
        f"typing.{name.title()}": f"builtins.{name}"
        for name in ("list", "dict", "tuple", "set", "type")
    },
    **{
        f"typing.{path.rpartition('.')[2]}": path
        for path in _TYPES
        if path.startswith("collections.abc.")
    },
    "typing.FrozenSet": "builtins.frozenset",
    "typing.AbstractSet": "collections.abc.Set",
    "typing.Pattern": "re.Pattern",
    "pydantic.types.SecretStr": "pydantic.SecretStr",
    "pydantic.types.StringConstraints": "pydantic.StringConstraints",
    "pydantic.fields.Field": "pydantic.Field",
    "pydantic.main.BaseModel": "pydantic.BaseModel",
    "pydantic.functional_validators.AfterValidator": "pydantic.AfterValidator",
    "pydantic.json_schema.WithJsonSchema": "pydantic.WithJsonSchema",
    "pydantic_settings.main.BaseSettings": "pydantic_settings.BaseSettings",
}


@dataclass(frozen=True, slots=True)
class _Known:
    """A name of the tables above."""

    path: str


@dataclass(frozen=True, slots=True)
class _Unknown:
    """Something that exists, of which the source tells no more."""

    why: str
    module: str | None = None


class _Import(NamedTuple):
    module: str
    name: str | None


class _Binding(NamedTuple):
    """One place that gives a name its value, and what that depends on; see `_placed`."""

    value: Any  # griffe's object, or an `_Import`
    guarded: bool
    conditional: bool
    fallback: bool


class SourceReader:
    """Describes what import paths name, from source alone; each module is read once."""

    def __init__(self, imports: ImportList) -> None:
        self.unknown: dict[str, str] = {}
        self._imports = imports
        self._names = _Names()
        self._signatures = _Signatures(self._names)
        importlib.invalidate_caches()

    def target(self, path: str, *, leading: int = 0) -> Target:
        """Describe what `path` names; raises `ImportFault` as `resolve.import_object` does.

        `leading` is how many arguments the assembler passes by position.
        """
        make_current_folder_importable()
        module_path, colon, attributes = path.partition(":")
        self._imports.check(path, module_path)
        if colon:
            module, names = self._module(module_path), attributes.split(".")
        else:
            module, names = self._longest_module(path)
        value: Found = module
        for index, name in enumerate(names):
            if isinstance(value, _Source):
                self._imports.check(path, value.name)
            value = self._attribute(value, name, names[:index], module)
        for definer in self._definers(value):
            self._imports.check(path, _BEHIND.get(definer, definer))
        target, why = self._signatures.target(path, value, leading)
        if why is not None:
            self.unknown[path] = why
        return target

    def _module(self, name: str) -> _Source:
        """Return a module, having read its parents as an import would."""
        parts = name.split(".")
        for count in range(1, len(parts)):
            self._read(".".join(parts[:count]))
        return self._read(name)

    def _read(self, name: str) -> _Source:
        source = self._names.load(name)
        if source is None:
            raise self._not_found(name)
        _ = source.tree  # a text that is not Python fails here
        return source

    def _longest_module(self, path: str) -> tuple[_Source, list[str]]:
        """Take as many segments as are modules; an attribute wins over a submodule of its name."""
        first, *rest = path.split(".")
        module = self._module(first)
        while rest and module.folders is not None:
            found = self._names.lookup(module.tree, rest[0]) if module.tree is not None else None
            if found is not None and not isinstance(found, _Source):
                break
            name = f"{module.name}.{rest[0]}"
            if self._names.load(name) is None:
                if len(rest) > 1 and found is None and self._names.step(module, rest[0]) is None:
                    raise self._not_found(name)
                break
            module = self._read(name)
            del rest[0]
        return module, rest

    def _attribute(self, value: Found, name: str, before: list[str], module: _Source) -> Found:
        found = self._names.step(value, name)
        if found is None:
            owner = ".".join([module.name, *before])
            known = [known for known in self._names.members(value) if not known.startswith("_")]
            raise ImportFault(
                "attribute-not-found", f"`{owner}` has no `{name}`", help=did_you_mean(name, known)
            )
        return self._names.opened(found)

    def _definers(self, value: Found) -> Iterator[str]:
        """Yield the modules that define the function or class behind `value`."""
        if isinstance(value, _Source):
            yield value.name
        elif isinstance(value, _Unknown):
            if value.module is not None:
                yield value.module
        elif not isinstance(value, _Known):
            inner = self._names.partial(value)
            if inner is not None:
                yield from self._definers(inner)
            elif value.is_class or value.is_function:
                yield value.module.name

    def _not_found(self, name: str) -> ImportFault:
        message = f"no module named `{name}`"
        top, parent = (
            self._names.load(part) for part in (name.partition(".")[0], name.rpartition(".")[0])
        )
        if top is not None and top.file is not None:
            stand_in = types.ModuleType(top.name)
            stand_in.__file__ = top.file
            hidden = _hidden_by(name, stand_in)
            if hidden:
                return ImportFault("module-not-found", message, trace=(hidden,), help=_NAMESPACE)
        if parent is None:
            return ImportFault("module-not-found", message)
        siblings = [module.name for module in pkgutil.iter_modules(parent.folders or ())]
        meant = did_you_mean(name.rpartition(".")[2], siblings)
        if meant:
            meant = meant.replace("did you mean `", f"did you mean `{parent.name}.")
        return ImportFault("module-not-found", message, help=meant)


class _Source:
    """A module as it lies on disk; its text is parsed when it is first looked into."""

    def __init__(self, name: str, spec: importlib.machinery.ModuleSpec) -> None:
        folders = spec.submodule_search_locations
        self.name = name
        self.file = spec.origin if spec.has_location else None
        self.folders = None if folders is None else list(folders)
        self.bindings: dict[int, dict[str, list[_Binding]]] = {}
        self.wildcards: list[str] = []
        self.guarded_wildcards: list[str] = []
        self._spec = spec

    @functools.cached_property
    def code(self) -> str | None:
        """The text; None where there is none, as for a compiled module."""
        if self._spec.loader is None:
            return ""  # a namespace package
        get_source = getattr(self._spec.loader, "get_source", None)
        try:
            return get_source(self._spec.name) if get_source else None
        except (ImportError, SyntaxError) as error:  # the text is not in the encoding it claims
            raise _failed(self.name, error.__cause__ or error) from error

    @functools.cached_property
    def tree(self) -> griffe.Module | None:
        """The module as griffe sees it; raises `ImportFault` where it is not Python."""
        import griffe  # noqa: PLC0415  # see the top

        if self.code is None:
            return None
        file = pathlib.Path(self.file or self.name)
        try:
            with warnings.catch_warnings(action="ignore"):
                return griffe.visit(
                    self.name, file, self.code, extensions=griffe.Extensions(_recorder(self))
                )
        except (SyntaxError, ValueError) as error:
            raise _failed(self.name, error) from error

    def bound(self, owner: Scope) -> dict[str, list[_Binding]]:
        return self.bindings.get(id(owner), {})

    @functools.cached_property
    def assigned(self) -> frozenset[str]:
        """Every name that the module's text binds, also by loops, unpacking and `global`."""
        table = symtable.symtable(self.code or "", self.name, "exec")
        names = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned()}
        tables = list(table.get_children())
        while tables:
            inner = tables.pop()
            tables += inner.get_children()
            names |= {
                symbol.get_name()
                for symbol in inner.get_symbols()
                if symbol.is_declared_global() and symbol.is_assigned()
            }
        return frozenset(names)


def _recorder(source: _Source) -> griffe.Extension:
    """Return what notes all bindings of a name: griffe itself keeps the last one of each."""
    import griffe  # noqa: PLC0415  # see the top

    class Recorder(griffe.Extension):
        def on_instance(self, *, node: Any, obj: Any, agent: Any, **kwargs: Any) -> None:
            if _is_bound(obj, node, agent.current):
                _note(source, obj.parent, obj.name, obj, node)
            if isinstance(node, ast.AsyncFunctionDef) and _yields(node):
                obj.labels.add("generator")

        def on_attribute_node(self, *, node: Any, agent: Any, **kwargs: Any) -> None:
            # `X = other` under `except ImportError`: griffe passes over a second value of a name.
            if isinstance(node.parent, ast.If | ast.ExceptHandler) and node.value is not None:
                for target in getattr(node, "targets", ()):
                    if isinstance(target, ast.Name) and target.id in agent.current.members:
                        value = griffe.safe_get_expression(node.value, parent=agent.current)
                        again = griffe.Attribute(target.id, value=value, parent=agent.current)
                        _note(source, agent.current, target.id, again, node)

        def on_alias_instance(self, *, node: Any, alias: Any, agent: Any, **kwargs: Any) -> None:
            _note_import(source, agent.current, alias, node)

    return Recorder()


def _is_bound(obj: Any, node: Any, current: Any) -> bool:
    """Tell whether a statement binds a name of its module or class.

    Overloads and setters are no members; `self.x = …` in `__init__` is none of the class; an
    annotation without a value gives a module no name.
    """
    owner = obj.parent
    if owner is None or owner.members.get(obj.name) is not obj or current not in (owner, obj):
        return False
    return not (isinstance(node, ast.AnnAssign) and node.value is None and owner.is_module)


def _note(source: _Source, owner: Any, name: str, value: Any, node: Any) -> None:
    binding = _Binding(value, *_placed(node))
    source.bindings.setdefault(id(owner), {}).setdefault(name, []).append(binding)


def _note_import(source: _Source, owner: Any, alias: Any, node: Any) -> None:
    if isinstance(node, ast.Import):
        _note(source, owner, alias.name, _Import(alias.target_path, None), node)
        return
    module = _module_of(node, source)
    if alias.wildcard:
        guarded, *_ = _placed(node)
        (source.guarded_wildcards if guarded else source.wildcards).append(module)
        return
    names = {name.asname or name.name: name.name for name in node.names}
    _note(source, owner, alias.name, _Import(module, names[alias.name]), node)


def _module_of(node: ast.ImportFrom, source: _Source) -> str:
    """Make the module of a `from … import` absolute; griffe knows no package to start from."""
    package = source.name.split(".") if source.folders is not None else source.name.split(".")[:-1]
    outer = package[: len(package) + 1 - node.level] if node.level else []
    return ".".join([*outer, node.module] if node.module else outer)


def _placed(node: Any) -> tuple[bool, bool, bool]:
    """Tell whether a statement is guarded by TYPE_CHECKING, conditional, and under an `except`."""
    guarded = conditional = fallback = False
    parent = getattr(node, "parent", None)
    while parent is not None and not isinstance(parent, ast.Module | ast.ClassDef):
        conditional = True
        fallback = fallback or isinstance(parent, ast.ExceptHandler)
        if isinstance(parent, ast.If) and node in parent.body:
            guarded = guarded or ast.unparse(parent.test).endswith("TYPE_CHECKING")
        node, parent = parent, getattr(parent, "parent", None)
    return guarded, conditional, fallback


def _yields(function: ast.AsyncFunctionDef) -> bool:
    nodes: list[ast.AST] = list(function.body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Yield):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            nodes += ast.iter_child_nodes(node)
    return False


class _Names:
    """Finds what names stand for, across modules."""

    def __init__(self) -> None:
        self._loaded: dict[str, _Source | None] = {}
        self._active: set[tuple[int, str]] = set()
        self._opening = False

    def load(self, name: str) -> _Source | None:
        """Find a module without running anything, its parents included; None where there is none."""
        if name not in self._loaded:
            parent = self.load(name.rpartition(".")[0]) if "." in name else None
            spec = None
            if name and ("." not in name or (parent is not None and parent.folders is not None)):
                spec = _spec(name, parent.folders if parent is not None else None)
            self._loaded[name] = _Source(name, spec) if spec is not None else None
        return self._loaded[name]

    def step(self, value: Found, name: str) -> Found | None:
        """Return the attribute `name` of `value`; None where there is surely none."""
        if isinstance(value, _Source):
            known = _known(value.name, name)
            if known is not None and not self._opening:
                return known
            if value.tree is not None:
                found = self.lookup(value.tree, name)
                if found is not None:
                    return found
            return self.load(f"{value.name}.{name}") or self._late(value, name)
        if isinstance(value, _Known):
            return _Unknown(_MADE)
        if isinstance(value, _Unknown):
            return value
        return self._class_member(value, name) if value.is_class else _Unknown(_MADE)

    def lookup(self, owner: Any, name: str) -> Found | None:
        """Return what `name` is in a module or class body, imports and `*` included."""
        key = (id(owner), name)
        if key in self._active:  # names that lead in a circle
            return None
        self._active.add(key)
        try:
            source = self._source_of(owner)
            bindings = source.bound(owner).get(name, [])
            for binding in _live(bindings):
                found = self._bound(binding)
                if found is not None:
                    return found
            if any(not binding.guarded for binding in bindings):
                return _Unknown("comes from a module that cannot be read")
            return self._starred(source.wildcards, name) if owner.is_module else None
        finally:
            self._active.discard(key)

    def resolve(self, expression: Any, scope: Any) -> Found | None:
        """Return what a dotted name stands for in `scope`."""
        kind = _kind(expression)
        if kind == "ExprAttribute":
            first, *rest = expression.values
            value = self.resolve(first, scope)
            for part in rest:
                value = self.step(value, part.name) if value is not None else None
            return value
        if kind != "ExprName":
            return None
        while scope is not None:
            found = self.lookup(scope, expression.name)
            if found is not None:
                return found
            scope = scope.parent
        known = _known("builtins", expression.name)
        if known is None and hasattr(builtins, expression.name):
            return _Unknown("is built in", "builtins")
        return known

    def opened(self, found: Found) -> Found:
        """Return the source behind a known name."""
        if not isinstance(found, _Known):
            return found
        module, _, name = found.path.rpartition(".")
        source = self.load(module)
        self._opening = True
        try:
            inner = self.step(source, name) if source is not None else None
        finally:
            self._opening = False
        return _Unknown(_MADE, module) if inner is None or isinstance(inner, _Known) else inner

    def mro(self, cls: Any) -> list[Any]:
        """Return the class and its bases in the order of method resolution."""
        import griffe  # noqa: PLC0415  # see the top

        key = (id(cls), "")
        if key in self._active:
            return [_Unknown("inherits from itself")]
        self._active.add(key)
        try:
            lists = [self._base(base, cls.parent) for base in cls.bases]
        finally:
            self._active.discard(key)
        try:
            return [cls, *griffe.c3linear_merge(*lists, [bases[0] for bases in lists])]
        except ValueError:
            return [cls, _Unknown("has bases in an order that Python refuses")]

    def members(self, value: Found) -> set[str]:
        """Return the names that `dir` would show, as far as the source tells."""
        if isinstance(value, _Source):
            if value.tree is None:
                return set()
            own = value.bound(value.tree)
            names = {name for name, bindings in own.items() if any(_live(bindings))}
            for module in value.wildcards:
                starred = self.load(module)
                names |= self._exported(starred) if starred is not None else set()
            return names
        if isinstance(value, _Known | _Unknown) or not value.is_class:
            return set()
        classes = [base for base in self.mro(value) if not isinstance(base, _Known | _Unknown)]
        return {name for base in classes for name in self._source_of(base).bound(base)}

    def partial(self, value: Any) -> Found | None:
        """Return what a `functools.partial` wraps, and None where `value` is none."""
        call: Any = value.value if value.is_attribute else None
        if _kind(call) != "ExprCall" or not call.arguments:
            return None
        if self.resolve(call.function, value.parent) != _Known("functools.partial"):
            return None
        inner = self.resolve(call.arguments[0], value.parent)
        return self.opened(inner) if inner is not None else _Unknown(_MADE)

    def fields(self, cls: Any) -> Iterator[Any]:
        """Yield the attributes that a class body declares, in order."""
        for bindings in self._source_of(cls).bound(cls).values():
            value = bindings[-1].value
            if not isinstance(value, _Import) and value.is_attribute:
                yield value

    def _source_of(self, owner: Any) -> _Source:
        source = self.load(owner.module.name)
        if source is None:
            raise AssertionError("what was read has a source")  # pragma: no cover
        return source

    def _bound(self, binding: _Binding) -> Found | None:
        value = binding.value
        if isinstance(value, _Import):
            try:
                return self._imported(value)
            except ImportFault:
                if not binding.conditional:  # else it may be meant for another version of Python
                    raise
                return None
        if value.is_attribute and _kind(value.value) in {"ExprName", "ExprAttribute"}:
            found = self.resolve(value.value, value.parent)
            return value if found is None or isinstance(found, _Unknown) else found
        return value  # type: ignore[no-any-return]  # griffe's object

    def _imported(self, item: _Import) -> Found | None:
        if item.name is not None:
            known = _known(item.module, item.name)
            if known is not None and not self._opening:
                return known
        source = self.load(item.module)
        if source is None or item.name is None:
            return source
        return self.step(source, item.name)

    def _starred(self, modules: list[str], name: str) -> Found | None:
        for module in reversed(modules):
            starred = self.load(module)
            known = _known(module, name)
            if starred is not None and known is not None and not self._opening:
                return known
            if starred is not None and name in self._exported(starred):
                found = self.step(starred, name)
                if found is not None:
                    return found
        return None

    def _exported(self, source: _Source) -> set[str]:
        """Return the names that `from source import *` gives."""
        key = (id(source), "*")
        if source.tree is None or key in self._active:
            return set()
        self._active.add(key)
        try:
            exports = source.tree.exports
            if exports is not None and all(isinstance(name, str) for name in exports):
                return {str(name) for name in exports}
            return {name for name in self.members(source) if not name.startswith("_")}
        finally:
            self._active.discard(key)

    def _late(self, source: _Source, name: str) -> Found | None:
        """Tell whether running the module may give it a `name` that no statement of it shows."""
        if source.tree is None:
            return _Unknown("is in a compiled module", source.name)
        own = source.bound(source.tree)
        if "__getattr__" in own:
            for binding in own.get(name, []):
                found = self._bound(binding)
                if found is not None:
                    return found
            return self._starred(source.guarded_wildcards, name) or _Unknown(_MADE)
        starred = [self.load(module) for module in source.wildcards]
        if any(inner is None or inner.tree is None for inner in starred):
            module = next((inner.name for inner in starred if inner and inner.tree is None), None)
            return _Unknown("may come from `import *` of a module that cannot be read", module)
        text = source.code or ""
        dynamic = "globals()" in text or "sys.modules[" in text
        return _Unknown(_MADE) if dynamic or name in source.assigned else None

    def _class_member(self, cls: Any, name: str) -> Found | None:
        hidden = bool(cls.keywords) or any(
            not _is(self.resolve(_callee(item.value), cls.parent), _NEUTRAL | _DATACLASSES)
            for item in cls.decorators
        )
        for base in self.mro(cls):
            if isinstance(base, _Known | _Unknown):
                hidden = hidden or not isinstance(base, _Known) or base.path not in _NO_INIT
                continue
            found = self.lookup(base, name)
            if found is not None:
                return found
        return _Unknown(_MADE) if hidden or hasattr(object, name) else None

    def _base(self, expression: Any, scope: Any) -> list[Any]:
        if _kind(expression) == "ExprSubscript":
            expression = expression.left
        found = self.resolve(expression, scope)
        if isinstance(found, _Known):
            return [found]
        if found is None or isinstance(found, _Unknown | _Source) or not found.is_class:
            return [_Unknown(f"inherits from `{expression}`, whose source does not tell")]
        return self.mro(found)


def _spec(name: str, folders: list[str] | None) -> importlib.machinery.ModuleSpec | None:
    if name in sys.builtin_module_names:
        return importlib.machinery.BuiltinImporter.find_spec(name)
    # The last segment alone: by its whole name, a namespace package inside another one would look
    # for its parent in `sys.modules`, where it is not.
    spec = importlib.machinery.PathFinder.find_spec(name.rpartition(".")[2], folders)
    if spec is not None:
        return spec
    for finder in sys.meta_path:  # editable installs
        if finder is not importlib.machinery.PathFinder and hasattr(finder, "find_spec"):
            spec = finder.find_spec(name, folders, None)
            if spec is not None:
                return spec
    return None


def _known(module: str, name: str) -> _Known | None:
    path = f"typing.{name}" if module == "typing_extensions" else f"{module}.{name}"
    path = _SAME.get(path, path)
    return _Known(path) if path in _KNOWN else None


def _is(found: Found | None, paths: abc.Set[str]) -> bool:
    return isinstance(found, _Known) and found.path in paths


def _live(bindings: Iterable[_Binding]) -> Iterator[_Binding]:
    """Yield those that may hold at run time, the likeliest first."""
    live = [binding for binding in bindings if not binding.guarded]
    last = max((index for index, item in enumerate(live) if not item.conditional), default=-1)
    yield from sorted(live[last + 1 :], key=lambda binding: binding.fallback)
    yield from live[last : last + 1] if last >= 0 else ()


def _kind(expression: Any) -> str:
    """Name griffe's class: the classes themselves are there only where griffe was imported."""
    return type(expression).__name__


def _callee(expression: Any) -> Any:
    return expression.function if _kind(expression) == "ExprCall" else expression


class _Unreadable(Exception):  # noqa: N818  # it never leaves this room
    """What the source does not tell; the text says why."""


class _Item(NamedTuple):
    name: str
    kind: str  # as griffe and inspect describe it
    annotation: Any
    required: bool


_BY_POSITION = ("positional-only", "positional or keyword")
_BY_NAME = ("positional or keyword", "keyword-only")
_ANY_NAME = "variadic keyword"


class _Signatures:
    """Describes classes, functions and the rest as callables."""

    def __init__(self, names: _Names) -> None:
        self._names = names
        self._hints = _Hints(names)

    def target(self, path: str, value: Found, leading: int) -> tuple[Target, str | None]:
        """Return the target, and why its source tells too little, if it does."""
        name = path.replace(":", ".").rpartition(".")[2]
        form: Form = "instance"
        is_callable, is_async = True, False
        items, why, returns = None, None, None
        try:
            if isinstance(value, _Source):
                is_callable = False
            elif isinstance(value, _Known | _Unknown):
                why = value.why if isinstance(value, _Unknown) else _MADE
            elif value.is_class:
                form = "class"
                items = self._of_class(value)
            elif value.is_function:
                form = "function"
                is_async = self._is_async(value)
                items, returns = self._called(value), self._returns(value)
            else:
                form, is_callable, is_async, why = self._instance(value)
        except _Unreadable as error:
            why = str(error)
        signature = Signature(name, {}, open=True, returns=returns)
        if items is not None:
            signature = _signature(name, items, leading, returns)
            why = "takes `**kwargs`" if signature.open else None
        return Target(path, None, form, is_callable, is_async, signature), why

    def _is_async(self, function: Any) -> bool:
        """Tell whether calling it gives a coroutine: no decorator, not even `cache`, shows that."""
        plain = {
            _Known("builtins.staticmethod"),
            _Known("builtins.classmethod"),
            _Known("abc.abstractmethod"),
        }
        return {"async", "generator"} & function.labels == {"async"} and all(
            self._names.resolve(_callee(item.value), function.parent) in plain
            for item in function.decorators
        )

    def _instance(self, value: Any) -> tuple[Form, bool, bool, str | None]:
        inner = self._names.partial(value)
        if inner is not None:
            is_function = not isinstance(inner, _Source | _Known | _Unknown) and inner.is_function
            return "function", True, is_function and self._is_async(inner), _MADE
        if "property" in value.labels or isinstance(value.value, str):
            return "instance", False, False, None
        if _kind(value.value) in {"ExprDict", "ExprList", "ExprTuple", "ExprSet", "ExprJoinedStr"}:
            return "instance", False, False, None
        return (
            ("function" if _kind(value.value) == "ExprLambda" else "instance"),
            True,
            False,
            _MADE,
        )

    def _called(self, function: Any) -> list[_Item]:
        """Return the parameters of a function, or of a method as its class gives it."""
        items = self._of_function(function)
        if "classmethod" in function.labels:
            return items[1:]
        return items

    def _of_function(self, function: Any) -> list[_Item]:
        self._check_decorators(function, _NEUTRAL)
        return [
            _Item(
                item.name,
                item.kind.value,
                self._hints.of(item.annotation, function.parent),
                item.default is None,
            )
            for item in function.parameters
        ]

    def _returns(self, function: Any) -> Any:
        hint = self._hints.of(function.returns, function.parent)
        return None if hint is Any else type(None) if hint is None else hint

    def _check_decorators(self, value: Any, allowed: abc.Set[str]) -> None:
        for decorator in value.decorators:
            found = self._names.resolve(_callee(decorator.value), value.parent)
            if not _is(found, allowed):
                raise _Unreadable(f"is decorated with `{_callee(decorator.value)}`")

    def _of_class(self, cls: Any) -> list[_Item]:
        mro = self._names.mro(cls)
        for base in mro:
            if isinstance(base, _Known | _Unknown):
                continue
            self._check_class(base)
        if any(_is(base, _MODELS) for base in mro):
            return self._of_model(mro)
        for index, base in enumerate(mro):
            if isinstance(base, _Unknown):
                raise _Unreadable(base.why)
            if isinstance(base, _Known):
                if base.path not in _NO_INIT:
                    raise _Unreadable(f"inherits from `{base.path}`")
                continue
            init = self._own(base, "__new__") or self._own(base, "__init__")
            if init is not None:
                return self._of_function(init)[1:]
            call = self._dataclass(base)
            if call is not None and _keyword(call, "init") != "False":
                return self._of_dataclass(mro[index:])
        return []

    def _check_class(self, cls: Any) -> None:
        self._check_decorators(cls, _NEUTRAL | _DATACLASSES)
        metaclass = cls.keywords.get("metaclass")
        if metaclass and self._names.resolve(metaclass, cls.parent) != _Known("abc.ABCMeta"):
            raise _Unreadable(f"has the metaclass `{metaclass}`")

    def _own(self, cls: Any, name: str) -> Any:
        found = self._names.lookup(cls, name)
        if found is None:
            return None
        if isinstance(found, _Source | _Known | _Unknown) or not found.is_function:
            raise _Unreadable(f"has an `{name}` that {_MADE}")
        return found

    def _dataclass(self, cls: Any) -> Any:
        """Return the decorator that makes `cls` a dataclass, or None."""
        for decorator in cls.decorators:
            found = self._names.resolve(_callee(decorator.value), cls.parent)
            if _is(found, _DATACLASSES):
                return decorator.value
        return None

    def _of_dataclass(self, mro: list[Any]) -> list[_Item]:
        items: dict[str, _Item] = {}
        for base in reversed(mro):
            if isinstance(base, _Unknown):
                raise _Unreadable(base.why)
            call = None if isinstance(base, _Known) else self._dataclass(base)
            if call is None:
                continue
            kind = (
                "keyword-only" if _keyword(call, "kw_only") == "True" else "positional or keyword"
            )
            for attribute in self._names.fields(base):
                marker = self._names.resolve(_left(attribute.annotation), base)
                if marker == _Known("dataclasses.KW_ONLY"):
                    kind = "keyword-only"
                elif self._is_field(attribute, base):
                    calls = self._field_calls(attribute, base)
                    own = "keyword-only" if _says(calls, "kw_only", "True") else kind
                    items[attribute.name] = self._field(attribute, base, calls, own)
                    if _says(calls, "init", "False"):
                        del items[attribute.name]
        return sorted(items.values(), key=lambda item: item.kind == "keyword-only")

    def _is_field(self, attribute: Any, cls: Any) -> bool:
        if attribute.annotation is None or "instance-attribute" not in attribute.labels:
            return False
        return self._names.resolve(_left(attribute.annotation), cls) != _Known("typing.ClassVar")

    def _field_calls(self, attribute: Any, cls: Any) -> list[Any]:
        """Return the calls of `field` or `Field` that describe an attribute."""
        metadata = [attribute.value]
        if self._names.resolve(_left(attribute.annotation), cls) == _Known("typing.Annotated"):
            metadata += attribute.annotation.slice.elements[1:]
        return [item for item in metadata if _is(self._names.resolve(_callee(item), cls), _FIELDS)]

    def _field(self, attribute: Any, cls: Any, calls: list[Any], kind: str) -> _Item:
        required = attribute.value is None or attribute.value in calls
        for call in calls:
            given = [item for item in call.arguments if _kind(item) != "ExprKeyword"]
            default = given[0] if given else _keyword(call, "default")
            is_default = default is not None and default != "..."
            if is_default or _keyword(call, "default_factory") is not None:
                required = False
        annotation = attribute.annotation
        if self._names.resolve(_left(annotation), cls) == _Known("dataclasses.InitVar"):
            annotation = annotation.slice
        return _Item(attribute.name, kind, self._hints.of(annotation, cls), required)

    def _of_model(self, mro: list[Any]) -> list[_Item]:
        """Join the parameters of `__init__` and the fields as pydantic does for its signature."""
        items: dict[str, _Item] = {}
        extra = False
        for base in reversed(mro):
            if isinstance(base, _Unknown):
                raise _Unreadable(base.why)
            if not isinstance(base, _Known):
                extra = self._takes_extra(base, otherwise=extra)
                items |= self._model_fields(base)
        init = self._model_init(mro)
        named = {item.name: item for item in init if "variadic" not in item.kind}
        if all(item.kind != _ANY_NAME for item in init):
            return list(named.values())
        rest = [item for item in items.values() if item.name not in named]
        tail = [_Item("extra", _ANY_NAME, Any, required=False)] if extra else []
        return [*named.values(), *rest, *tail]

    def _model_fields(self, cls: Any) -> dict[str, _Item]:
        fields = {}
        for attribute in self._names.fields(cls):
            if attribute.name.startswith("_") or not self._is_field(attribute, cls):
                continue
            calls = self._field_calls(attribute, cls)
            item = self._field(attribute, cls, calls, "keyword-only")
            keys = ("alias", "validation_alias")
            aliases = [_keyword(call, key) for key in keys for call in calls]
            alias = next((alias for alias in aliases if alias not in (None, "None")), None)
            if alias is not None and not isinstance(alias, str):
                raise _Unreadable(f"has an alias of `{item.name}` that {_MADE}")
            name = ast.literal_eval(alias or "''")
            if name.isidentifier() and not keyword.iskeyword(
                name
            ):  # else pydantic keeps the field's
                item = item._replace(name=name)
            fields[attribute.name] = item
        return fields

    def _model_init(self, mro: list[Any]) -> list[_Item]:
        for base in mro:
            cls = base
            if base == _Known("pydantic_settings.BaseSettings"):
                cls = self._names.opened(base)
            if isinstance(cls, _Known | _Unknown | _Source):
                continue
            init = self._own(cls, "__init__")
            if init is not None:
                return self._of_function(init)[1:]
        return [_Item("data", _ANY_NAME, Any, required=False)]

    def _takes_extra(self, cls: Any, *, otherwise: bool) -> bool:
        said = dict(cls.keywords)
        for attribute in self._names.fields(cls):
            if attribute.name == "model_config":
                value = attribute.value
                pairs = (
                    zip(value.keys, value.values, strict=True) if _kind(value) == "ExprDict" else ()
                )
                said |= {str(key).strip("'\""): item for key, item in pairs}
                if _kind(value) == "ExprCall":
                    said |= {
                        item.name: item.value
                        for item in value.arguments
                        if _kind(item) == "ExprKeyword"
                    }
        if "alias_generator" in said:
            raise _Unreadable("has an alias generator")
        return str(said["extra"]).strip("'\"") == "allow" if "extra" in said else otherwise


def _signature(name: str, items: list[_Item], leading: int, returns: Any) -> Signature:
    """Keep what an option can give; as `signature_of` does."""
    skipped = [item.name for item in items if item.kind in _BY_POSITION][:leading]
    rest = [item for item in items if item.name not in skipped]
    named = {
        item.name: Parameter(item.name, item.annotation, item.required)
        for item in rest
        if item.kind in _BY_NAME
    }
    unnamed = [item.name for item in rest if item.kind == "positional-only" and item.required]
    is_open = any(item.kind == _ANY_NAME for item in rest)
    return Signature(name, named, is_open, returns, unnamed[0] if unnamed else None)


def _keyword(call: Any, name: str) -> Any:
    if _kind(call) != "ExprCall":
        return None
    given = (
        item.value for item in call.arguments if _kind(item) == "ExprKeyword" and item.name == name
    )
    return next(given, None)


def _says(calls: Iterable[Any], name: str, value: str) -> bool:
    return any(_keyword(call, name) == value for call in calls)


def _left(expression: Any) -> Any:
    return expression.left if _kind(expression) == "ExprSubscript" else expression


class _Hints:
    """Reads annotations as types; whatever is not surely understood is `Any`."""

    def __init__(self, names: _Names) -> None:
        self._names = names

    def of(self, expression: Any, scope: Any, depth: int = 0) -> Any:
        """Return the type that an expression of `scope` stands for."""
        if expression is None or depth > _DEEPEST:
            return Any
        try:
            if isinstance(expression, str):
                return self._text(expression, scope, depth)
            if _kind(expression) == "ExprBinOp" and expression.operator == "|":
                return self._union((expression.left, expression.right), scope, depth)
            if _kind(expression) == "ExprSubscript":
                return self._subscript(expression, scope, depth)
            return self._named(self._names.resolve(expression, scope), depth)
        except (_Unreadable, TypeError, ValueError, SyntaxError):
            return Any

    def _text(self, text: str, scope: Any, depth: int) -> Any:
        import griffe  # noqa: PLC0415  # see the top

        value = ast.literal_eval(text)
        if value is None:
            return None
        if not isinstance(value, str):
            return Any
        tree = ast.parse(value.strip(), mode="eval").body
        return self.of(griffe.get_expression(tree, parent=scope), scope, depth + 1)

    def _named(self, found: Found | None, depth: int) -> Any:
        if isinstance(found, _Known):
            return _TYPES.get(found.path, Any)
        if found is None or isinstance(found, _Source | _Unknown):
            return Any
        if found.is_class:
            return self._enum(found)
        if found.is_attribute or found.is_type_alias:
            return self.of(getattr(found, "value", None), found.parent, depth + 1)
        return Any

    def _enum(self, cls: Any) -> Any:
        """Give the values of an enum, which are what JSON and YAML write for its members."""
        bases = [self._names.resolve(base, cls.parent) for base in cls.bases]
        if not any(_is(base, _ENUMS) for base in bases) or self._names.lookup(cls, "_missing_"):
            return Any
        values = tuple(self._literal(item.value, cls) for item in self._names.fields(cls))
        return Literal[values] if values else Any

    def _union(self, expressions: Iterable[Any], scope: Any, depth: int) -> Any:
        arms = [self.of(item, scope, depth + 1) for item in expressions]
        return Any if Any in arms else Union[tuple(arms)]  # noqa: UP007  # built from a tuple

    def _subscript(self, expression: Any, scope: Any, depth: int) -> Any:
        found = self._names.resolve(expression.left, scope)
        path = found.path if isinstance(found, _Known) else ""
        inner = expression.slice
        items = inner.elements if _kind(inner) == "ExprTuple" else [inner]
        if path == "typing.Literal":
            return Literal[tuple(self._literal(item, scope) for item in items)]
        if path == "typing.Annotated":
            return self._annotated(items, scope, depth)
        if path == "typing.Union":
            return self._union(items, scope, depth)
        if path in {"typing.Optional", "typing.Final", "typing.ClassVar", "dataclasses.InitVar"}:
            hint = self.of(items[0], scope, depth + 1)
            return Optional[hint] if path == "typing.Optional" and hint is not Any else hint  # noqa: UP045  # built from a value
        origin = _TYPES.get(path)
        if origin is None:
            return Any
        if path in _BARE_ARGUMENTS:
            return origin
        return origin[
            tuple(... if item == "..." else self.of(item, scope, depth + 1) for item in items)
        ]

    def _annotated(self, items: list[Any], scope: Any, depth: int) -> Any:
        hint = self.of(items[0], scope, depth + 1)
        facts: dict[str, Any] = {}
        for item in items[1:]:
            call = self._call(item, scope)
            found = self._names.resolve(_callee(call), scope)
            path = found.path if isinstance(found, _Known) else ""
            if path == "pydantic.Field":
                facts.update(self._facts(call, scope))
            elif (
                not isinstance(item, str) and path not in _NARROWING and not self._describes(found)
            ):
                return Any  # a validator may take other values than the type does
        return Annotated[hint, Field(**facts)] if facts and hint is not Any else hint

    def _call(self, item: Any, scope: Any) -> Any:
        """Follow a name to the call that made it, such as `_Port = Field(ge=1)`."""
        if _kind(item) in {"ExprName", "ExprAttribute"}:
            found = self._names.resolve(item, scope)
            if (
                found is not None
                and not isinstance(found, _Source | _Known | _Unknown)
                and found.is_attribute
            ):
                return getattr(found, "value", item)
        return item

    def _describes(self, found: Found | None) -> bool:
        """Tell whether metadata is documentation, or a limit of `annotated_types`."""
        if found is None or isinstance(found, _Source | _Known | _Unknown):
            return False
        return found.module.name.partition(".")[0] in {
            "annotated_doc",
            "annotated_types",
            "typing_extensions",
        }

    def _facts(self, call: Any, scope: Any) -> Iterator[tuple[str, Any]]:
        for item in call.arguments:
            if _kind(item) == "ExprKeyword" and item.name in _FACTS:
                with contextlib.suppress(_Unreadable):
                    yield item.name, self._literal(item.value, scope)

    def _literal(self, expression: Any, scope: Any, depth: int = 0) -> Any:
        """Return the value of a literal, of a name for one, or of a `timedelta` of literals."""
        if depth > _DEEPEST:
            raise _Unreadable("too deep")
        if isinstance(expression, str):
            return ast.literal_eval(expression)
        kind = _kind(expression)
        if kind == "ExprUnaryOp" and expression.operator == "-":
            return -self._literal(expression.value, scope, depth + 1)
        if kind == "ExprCall" and self._names.resolve(expression.function, scope) == _Known(
            "datetime.timedelta"
        ):
            return self._timedelta(expression.arguments, scope, depth)
        if kind == "ExprDict":
            pairs = zip(expression.keys, expression.values, strict=True)
            return {
                self._literal(key, scope): self._literal(item, scope, depth + 1)
                for key, item in pairs
            }
        if kind in {"ExprName", "ExprAttribute"}:
            found = self._names.resolve(expression, scope)
            if (
                found is not None
                and not isinstance(found, _Source | _Known | _Unknown)
                and found.is_attribute
            ):
                return self._literal(getattr(found, "value", None), found.parent, depth + 1)
        raise _Unreadable("is no literal")

    def _timedelta(self, arguments: Iterable[Any], scope: Any, depth: int) -> dt.timedelta:
        given: list[Any] = []
        named: dict[str, Any] = {}
        for item in arguments:
            if _kind(item) == "ExprKeyword":
                named[item.name] = self._literal(item.value, scope, depth + 1)
            else:
                given.append(self._literal(item, scope, depth + 1))
        return dt.timedelta(*given, **named)
