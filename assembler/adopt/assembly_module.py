"""What a manifest cannot name → the text of a module that gives it a name.

In: lines of code with marked paths, and the bridges to the application as it was. Out: `assembly.py`,
beside the module that composed the application: routers whose routes say more than an entry can, and,
as `old`, the application itself, from which layers, handlers and routes without a name are taken.
"""

import keyword
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from assembler.adopt.expressions import BREAK, MARK

HEADER = (
    "Parts of `{root}` that a manifest cannot say. Written by `assembler adopt`; yours to edit."
)
TABLE = "LIFTED"
_MARKED = re.compile(f"{MARK}([^{MARK}]+){MARK}")
_WIDTH = 100


@dataclass(slots=True)
class AssemblyModule:
    """One module while it is written."""

    name: str  # as it is imported
    root: str  # the module that composed the application
    application: str | None  # the import path of the application, None where a factory makes it
    factory: str | None
    blocks: list[str] = field(default_factory=list)
    needs_old: bool = False
    origins: dict[str, str] = field(default_factory=dict)  # of lifted functions, by their new names
    required: dict[str, str] = field(default_factory=dict)  # `module:name` by the name in code
    _taken: set[str] = field(default_factory=lambda: {"old", "app"})

    def fresh(self, wanted: str) -> str:
        """Return a name that the module does not have yet, made of `wanted`."""
        base = re.sub(r"\W+", "_", wanted).strip("_").lower() or "part"
        if base[0].isdigit() or keyword.iskeyword(base):
            base = f"part_{base}"
        name, number = base, 1
        while name in self._taken:
            number += 1
            name = f"{base}_{number}"
        self._taken.add(name)
        return name

    def claim(self, name: str, imports: Mapping[str, str]) -> None:
        """Keep a name, and those of what its code imports, for code that has them in it."""
        self._taken |= {name, *imports}
        self.required |= imports

    def path(self, name: str) -> str:
        """Return the import path of what the module has by a name."""
        return f"{self.name}.{name}"

    def add(self, *lines: str, uses_old: bool = False) -> None:
        """Add a block of lines; `uses_old` where they name the application as it was."""
        self.blocks.append("\n".join(lines))
        self.needs_old = self.needs_old or uses_old

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing needs the module."""
        return not self.blocks

    def text(self) -> str:
        """Return the source of the module, in one form."""
        imports = {tuple_of(path): name for name, path in self.required.items()}
        body = [
            "\n".join(_broken(line) for line in self._named(block, imports).split("\n"))
            for block in self.blocks
        ]
        old: list[str] = []
        if self.needs_old and self.application is not None:
            module, name = split(self.application)
            imports[module, name] = "old"
        elif self.needs_old and self.factory is not None:
            path = self.factory
            old = [f"old = {self._alias(':'.join(split(path)), imports)}()"]
        head = f'"""{HEADER.format(root=self.root)}"""'
        own = self.root.partition(".")[0]
        groups = [
            "\n".join(
                _lines({key: alias for key, alias in imports.items() if _group(key, own) == group})
            )
            for group in range(3)
        ]
        table = [_table(self.origins)] if self.origins else []
        parts = [*filter(None, [head, *groups]), *old, *body, *table]
        return _joined(parts) + "\n"

    def _named(self, block: str, imports: dict[tuple[str, str], str]) -> str:
        return _MARKED.sub(lambda match: self._alias(match[1], imports), block)

    def _alias(self, place: str, imports: dict[tuple[str, str], str]) -> str:
        """Return by which name the module has an object, and note its import."""
        module, _, path = place.partition(":")
        first, dot, rest = path.partition(".")
        key = module, first
        if not module:
            key = "", path
        if key not in imports:
            used = {*imports.values(), *self._taken}
            alias = first if first not in used else f"{module.rpartition('.')[2]}_{first}"
            while alias in used:
                alias += "_"
            imports[key] = alias
        return f"{imports[key]}{dot}{rest}"


def _table(origins: Mapping[str, str]) -> str:
    rows = "".join(f'    "{name}": "{origin}",\n' for name, origin in origins.items())
    return f'{TABLE} = {{\n{rows}}}\n"""Where these functions stood; `assembler equal` compares them there."""'


def _group(key: tuple[str, str], own: str) -> int:
    """Return where an import stands: Python's own come first, those of the application last."""
    top = (key[0] or key[1]).partition(".")[0]
    return 2 if top == own else int(top not in sys.stdlib_module_names)


def _joined(parts: list[str]) -> str:
    """Put two blank lines around functions, and one between other parts."""
    text = parts[0]
    for before, after in pairwise(parts):
        is_apart = any(
            each.startswith(("def ", "async def ", "@", "class ")) for each in (before, after)
        )
        text += ("\n\n\n" if is_apart else "\n\n") + after
    return text


def _broken(line: str) -> str:
    """Break a line that is too long at the arguments of its call."""
    whole = line.replace(BREAK, ", ")
    if BREAK not in line or len(whole) <= _WIDTH:
        return whole
    head, _, rest = line.partition("(")
    inside = rest.removesuffix(")")
    indent = " " * (len(line) - len(line.lstrip()))
    arguments = "".join(f"{indent}    {each},\n" for each in inside.split(BREAK))
    return f"{head}(\n{arguments}{indent})"


def split(path: str) -> tuple[str, str]:
    """Return the module of an import path, and what it names there."""
    module, colon, name = path.partition(":")
    if colon:
        return module, name
    module, _, name = path.rpartition(".")
    return module, name


def tuple_of(path: str) -> tuple[str, str]:
    """Return the module and the name of `module:name`; a module itself has no module."""
    module, _, name = path.partition(":")
    if module or "." not in name:
        return module, name
    head, _, last = name.rpartition(".")
    return head, last


def _lines(imports: dict[tuple[str, str], str]) -> Iterable[str]:
    by_module: dict[str, list[str]] = {}
    for (module, name), alias in imports.items():
        if not module:
            yield f"import {name}" if name == alias else f"import {name} as {alias}"
            continue
        head, dot, rest = name.partition(".")
        said = head if head == alias else f"{head} as {alias}"
        by_module.setdefault(module, []).append(said if not dot else f"{head}{dot}{rest}")
    for module, names in sorted(by_module.items()):
        line = f"from {module} import {', '.join(sorted(names))}"
        if len(line) <= _WIDTH:
            yield line
            continue
        yield "\n".join([f"from {module} import (", *(f"    {n}," for n in sorted(names)), ")"])
