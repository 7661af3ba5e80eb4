"""Import path → `Target`, by reading source: no user code is imported or run.

In: the path that `use` names, and the list of what a manifest may import. Out: a `Target` without
its object, with the parameters and the types that the source shows. Refuses what `importer` refuses,
in the same words, and a module whose text is not Python. What only a running process knows takes
any option, and `SourceReader.unknown` says why.

The modules in the order to read them: vocabulary, module, names, hints, signatures, looseness, documentation, cache.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from assembler.diagnostics.suggest import did_you_mean
from assembler.plan.allow_list import ImportFault, ImportList
from assembler.plan.importer import BEHIND, module_not_found, names_class
from assembler.plan.injection import resources_of_source
from assembler.plan.signature import Target
from assembler.plan.static import cache
from assembler.plan.static.documentation import Documentation, Page, modules_of
from assembler.plan.static.looseness import UNTOLD, Looseness, OptionFacts, literal
from assembler.plan.static.module import EarlierTree, Import, Source
from assembler.plan.static.names import Found, Names, arguments, callee, kind, shown
from assembler.plan.static.signatures import Signatures
from assembler.plan.static.vocabulary import Known, Opaque

_Answer = TypeVar("_Answer")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class SourceReader:
    """Describes what import paths name, from source alone; each module is read once.

    With `earlier`, modules are found and read as they were in an earlier state of the project.
    """

    def __init__(self, imports: ImportList, earlier: EarlierTree | None = None) -> None:
        self.unknown: dict[str, str] = {}
        self._imports = imports
        self._names = Names(earlier)
        self._signatures = Signatures(self._names)
        self._looseness = Looseness(self._names)
        self._documentation = Documentation(self._names)
        importlib.invalidate_caches()

    def target(self, path: str, *, leading: int = 0) -> Target:
        """Describe what `path` names; raises `ImportFault` as `resolve.import_object` does.

        `leading` is how many arguments the assembler passes by position.
        """
        target, why = self._told(
            lambda: self._signatures.target(path, self._found(path), leading),
            *("target", path, leading),
        )
        if why is not None:
            self.unknown[path] = why
        return target

    def options(self, path: str) -> tuple[str, Mapping[str, OptionFacts] | None]:
        """Tell where what `path` names is really defined, and the facts of its options.

        Raises `ImportFault` as `target` does.
        """
        return self._told(lambda: self._options(path), "options", path)

    def _options(self, path: str) -> tuple[str, Mapping[str, OptionFacts] | None]:
        value = self._found(path)
        item = shown(value)
        defined = item.path if item is not None and (item.is_class or item.is_function) else path
        return defined, self._looseness.options(value)

    def lineage(self, path: str, attribute: str) -> tuple[tuple[str, ...], object]:
        """Return where a class and those that it inherits from are defined, and what it says.

        The second is the literal value of a class attribute, None where its source shows none.
        An object that is made of a class in its module is told by that class, a function by the one
        that it declares to return. Raises `ImportFault` as `target` does.
        """
        return self._told(lambda: self._lineage(path, attribute), "lineage", path, attribute)

    def _lineage(self, path: str, attribute: str) -> tuple[tuple[str, ...], object]:
        item = shown(self._found(path))
        if item is not None and item.is_function:
            item = shown(self._names.resolve(item.returns, item.parent))
        if item is not None and item.is_attribute and kind(item.value) == "ExprCall":
            item = shown(self._names.resolve(callee(item.value), item.parent))
        if item is None or not item.is_class:
            return (), None
        classes = [base for base in self._names.mro(item) if shown(base) is not None]
        found = (self._names.lookup(base, attribute) for base in classes)
        said = next((value for each in found if (value := shown(each)) is not None), None)
        text = getattr(said, "value", None)
        return tuple(base.path for base in classes), None if text is None else literal(text)

    def page(self, path: str) -> Page:
        """Return what the source says for people of what `path` names, a module too.

        Raises `ImportFault` as `target` does.
        """
        return self._told(lambda: self._documentation.page(self._found(path)), "page", path)

    def pages(self, package: str) -> dict[str, Page]:
        """Return what is said of all that a package or module defines and a manifest may name.

        A module that cannot be read is passed over.
        """
        found: dict[str, Page] = {}
        source = self._names.load(package)
        for name in dict.fromkeys(modules_of(source)) if source is not None else ():
            with suppress(ImportFault):
                here = self._told(partial(self._pages, name), "pages", name)
                found |= {f"{name}.{key}": page for key, page in here.items()}
        faces: dict[tuple[object, object], str] = {}  # a package's own name for what is inside it
        for path, page in found.items():
            place = (page["file"], page["line"])
            faces[place] = min(faces.get(place, path), path, key=lambda name: name.count("."))
        return {path: page for path, page in found.items() if path in faces.values()}

    def _pages(self, name: str) -> dict[str, Page]:
        source = self._names.load(name)
        return {} if source is None else self._documentation.pages(source)

    def posted_paths(self, path: str) -> tuple[str, ...]:
        """Return the paths of the POST routes that the module of a router writes as decorators of it.

        Raises `ImportFault` as `target` does.
        """
        return self._told(lambda: self._posted_paths(path), "posted paths", path)

    def _posted_paths(self, path: str) -> tuple[str, ...]:
        item = shown(self._found(path))
        if item is None or not item.is_attribute:
            return ()
        source = self._names.load(item.module.path)
        return () if source is None else tuple(_posted(source.code or "", item))

    def asked_resources(self, path: str) -> tuple[tuple[str, str], ...]:
        """Return what the functions ask for that the module of a router decorates with it.

        Each is the name of a function and the id of a resource. Raises `ImportFault` as `target` does.
        """
        found = self._told(lambda: self._asked_resources(path), "asked resources", path)
        return tuple((name, id_) for name, _, id_ in (one.partition(" ") for one in found))

    def _asked_resources(self, path: str) -> tuple[str, ...]:
        item = shown(self._found(path))
        source = self._names.load(item.module.path) if item and item.is_attribute else None
        if item is None or source is None or source.tree is None:
            return ()
        found: dict[str, None] = {}
        for name in sorted(self._names.members(source)):
            if _comes_from_elsewhere(source, name):  # another package knows no router of this one
                continue
            function = shown(self._names.lookup(source.tree, name))
            if function is not None and function.is_function and _is_route_of(item, function):
                needs = resources_of_source(self._signatures.routed(name, function))
                found |= dict.fromkeys(f"{name} {need.id}" for need in needs)
        return tuple(found)

    def modules(self, path: str) -> tuple[Source, ...]:
        """Return the modules that `path` names, its packages too, and those that define what it is.

        Of a class these are the modules of its bases too; of what only a run of its module makes, all
        that this imports or names. Where a text cannot be read, those that `path` names.
        """
        names = self._told(lambda: self._modules(path), "modules", path)
        sources = (self._names.load(name) for name in names)
        return tuple(source for source in sources if source is not None)

    def _modules(self, path: str) -> tuple[str, ...]:
        module_path, colon, _ = path.partition(":")
        try:
            value = self._found(path)
            named = self._module(module_path) if colon else self._longest_module(path)[0]
            item = shown(value)
            bases = self._names.mro(item) if item and item.is_class else []
        except ImportFault:
            return tuple(_packages(path.replace(":", ".")))
        behind = [*self._definers(value), *(base.module.path for base in bases if shown(base))]
        if isinstance(value, Opaque) or (item and item.is_attribute):
            behind += self._named_in(named)
        return tuple(dict.fromkeys([*_packages(named.name), *behind]))

    def _named_in(self, source: Source) -> Iterator[str]:
        """Yield the modules that the text of one imports anywhere, or names for its own package."""
        package = source.name if source.folders is not None else source.name.rpartition(".")[0]
        for node in ast.walk(source.syntax):
            names: list[str] = []
            if isinstance(node, ast.ImportFrom):
                start = package.split(".")[: 1 - node.level or None] if node.level else []
                module = ".".join([*start, *filter(None, [node.module])])
                names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value.lstrip(".")
                is_own = text.startswith(f"{package.partition('.')[0]}.")
                names = [text if is_own else f"{package}.{text}"] if _DOTTED.fullmatch(text) else []
            yield from filter(self._names.load, names)

    def _told(self, work: Callable[[], _Answer], *question: object) -> _Answer:
        """Answer a question, by what an earlier process was told where the source still says so."""
        answers = cache.current()
        if answers is None:
            return work()
        asked = json.dumps([*question, self._imports.packages])
        found: _Answer = answers.get(asked, self._names.fingerprint)
        if found is UNTOLD:
            found, used = self._names.used_by(work)
            answers.put(asked, {name: self._names.fingerprint(name) for name in used}, found)
        return found

    def _found(self, path: str) -> Found:
        """Follow `path`, refusing what the import list does not have."""
        module_path, colon, attributes = path.partition(":")
        self._imports.check(path, module_path)
        if colon:
            module, names = self._module(module_path), attributes.split(".")
        else:
            module, names = self._longest_module(path)
        value: Found = module
        for index, name in enumerate(names):
            if isinstance(value, Source):
                self._imports.check(path, value.name)
            value = self._attribute(value, name, ".".join([module.name, *names[:index]]))
        for definer in self._definers(value):
            self._imports.check(path, BEHIND.get(definer, definer))
        return value

    def _module(self, name: str) -> Source:
        """Return a module, having read its parents as an import would."""
        parent = self._module(name.rpartition(".")[0]) if "." in name else None
        source = self._names.load(name)
        if source is None:
            top = self._names.load(name.partition(".")[0])
            file, folders = top.file if top else None, parent.folders if parent else None
            raise module_not_found(name, file, folders or ())
        _ = source.tree  # a text that is not Python fails here
        return source

    def _longest_module(self, path: str) -> tuple[Source, list[str]]:
        """Take as many segments as are modules; an attribute wins over a submodule of its name."""
        first, *rest = path.split(".")
        module = self._module(first)
        while rest and module.folders is not None:
            found = self._names.lookup(module.tree, rest[0]) if module.tree is not None else None
            if found is not None and not isinstance(found, Source):
                break
            name = f"{module.name}.{rest[0]}"
            if self._names.load(name) is None:
                is_module = len(rest) > 1 and not names_class(rest[0])
                if is_module and self._names.step(module, rest[0]) is None:
                    self._module(name)  # raises
                break
            module = self._module(name)
            del rest[0]
        return module, rest

    def _attribute(self, value: Found, name: str, owner: str) -> Found:
        found = self._names.step(value, name)
        if found is None:
            known = [known for known in self._names.members(value) if not known.startswith("_")]
            raise ImportFault(
                "attribute-not-found", f"`{owner}` has no `{name}`", help=did_you_mean(name, known)
            )
        return found

    def _definers(self, value: Found | None) -> Iterator[str]:
        """Yield the modules that define the function or class behind `value`."""
        item = shown(value)
        if isinstance(value, Source):
            yield value.name
        elif isinstance(value, Known):
            yield value.rpartition(".")[0]
        elif isinstance(value, Opaque):
            yield from [value.module] if value.module else []
        elif item and (item.is_class or item.is_function):
            yield item.module.path
        elif item:
            yield from self._definers(self._names.wrapped(item))


def _packages(name: str) -> list[str]:
    """Return the packages on the way to a dotted name, and the name."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _comes_from_elsewhere(source: Source, name: str) -> bool:
    """Tell whether a name is nothing but an import from another top package."""
    own = source.name.partition(".")[0]
    bindings = source.bound(source.tree).get(name, [])
    imported = [item.value.module for item in bindings if isinstance(item.value, Import)]
    outer = [module for module in imported if module.partition(".")[0] != own]
    return bool(bindings) and len(outer) == len(bindings)


def _is_route_of(router: Any, function: Any) -> bool:
    """Tell whether one of the decorators of a function is a method of `router`."""
    made = (callee(decorator.value) for decorator in function.decorators)
    return any(
        kind(one) == "ExprAttribute" and str(one.values[0]) == router.name and len(one.values) == 2
        for one in made
    )


def _posted(code: str, router: Any) -> Iterator[str]:
    """Yield the paths of `@router.post("/login")`, below the prefix that the router was made with."""
    prefix = literal(arguments(router.value)[1].get("prefix"))
    with warnings.catch_warnings(action="ignore"):
        nodes = list(ast.walk(ast.parse(code)))
    for node in nodes:
        for call in getattr(node, "decorator_list", ()):
            match call:
                case ast.Call(
                    func=ast.Attribute(
                        value=ast.Name(id=name), attr="post" | "api_route" | "route"
                    ),
                    args=[ast.Constant(value=str(path)), *_],
                ) if name == router.name:
                    yield f"{prefix if isinstance(prefix, str) else ''}{path}"
