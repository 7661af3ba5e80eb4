"""The name of a module → its `Source`: where it lies, its text, its tree and its bindings.

Imports nothing, no parent either. Refuses, as `resolve` does, a text that is not Python.
"""

from __future__ import annotations

import ast
import functools
import sys
import warnings
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING

from assembler.resolve import failed
from assembler.static.bindings import Binding, Bindings, recorder

if TYPE_CHECKING:
    import griffe


class Source:
    """A module as it lies on disk; its text is parsed when it is first looked into."""

    def __init__(self, name: str, spec: ModuleSpec) -> None:
        folders = spec.submodule_search_locations
        self.name = name
        self.file = spec.origin if spec.has_location else None
        self.folders = None if folders is None else list(folders)
        self._bindings = Bindings(name.split(".") if folders is not None else name.split(".")[:-1])
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
            raise failed(self.name, error.__cause__ or error) from error

    @functools.cached_property
    def tree(self) -> griffe.Module | None:
        """The module as griffe sees it; raises `ImportFault` where it is not Python."""
        import griffe  # noqa: PLC0415  # an app that starts must not pay for it

        if self.code is None:
            return None
        extensions = griffe.Extensions(recorder(self._bindings))
        file = Path(self.file or self.name)
        try:
            with warnings.catch_warnings(action="ignore"):
                return griffe.visit(self.name, file, self.code, extensions=extensions)
        except (SyntaxError, ValueError) as error:
            raise failed(self.name, error) from error

    @functools.cached_property
    def assigned(self) -> frozenset[str]:
        """Every name that the text assigns anywhere, also by loops, unpacking and in functions."""
        with warnings.catch_warnings(action="ignore"):
            nodes = ast.walk(ast.parse(self.code or ""))
        names = (node for node in nodes if isinstance(node, ast.Name))
        return frozenset(node.id for node in names if isinstance(node.ctx, ast.Store))

    @property
    def wildcards(self) -> list[str]:
        """The modules of each `from … import *`."""
        return self._bindings.wildcards if self.tree is not None else []

    def bound(self, owner: griffe.Object | None) -> dict[str, list[Binding]]:
        """Return the bindings of the module or of a class body in it."""
        return self._bindings.of(owner) if owner is not None else {}


def find(name: str, folders: list[str] | None) -> Source | None:
    """Find a module in the folders of its parent, or on the path."""
    # The last segment alone: by its whole name, a namespace package inside another one would look
    # for its parent in `sys.modules`, where it is not.
    spec = PathFinder.find_spec(name.rpartition(".")[2], folders)
    for finder in sys.meta_path:  # builtin modules and editable installs
        if spec is None and finder is not PathFinder and hasattr(finder, "find_spec"):
            spec = finder.find_spec(name, folders, None)
    return Source(name, spec) if spec is not None else None
