"""The tree of a module → every place that gives a name a value, which griffe alone does not keep.

In: the events of griffe's visit. Out: the `Binding`s of each module and class body, in order, with
what each depends on. Refuses nothing.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import griffe  # at run time only where a source is read: an app that starts must not pay for it


class Import(NamedTuple):
    """`import module`, or `from module import name`."""

    module: str
    name: str | None


class Binding(NamedTuple):
    """A value of a name: whether it is under TYPE_CHECKING, and under any condition or `try`."""

    value: Any  # griffe's object, or an `Import`
    guarded: bool
    conditional: bool


@dataclass(slots=True)
class Bindings:
    """The bindings of one module; `package` is what its relative imports start from."""

    package: list[str]
    wildcards: list[str] = field(default_factory=list)
    _of: dict[int, dict[str, list[Binding]]] = field(default_factory=dict)

    def of(self, owner: griffe.Object) -> dict[str, list[Binding]]:
        """Return those of a module or class body."""
        return self._of.get(id(owner), {})

    def note(self, owner: Any, name: str, value: Any, node: Any) -> None:
        """Add one."""
        binding = Binding(value, *_placed(node))
        self._of.setdefault(id(owner), {}).setdefault(name, []).append(binding)

    def note_import(self, owner: Any, alias: Any, node: Any) -> None:
        """Add what an import statement binds; griffe knows no package to start from."""
        if isinstance(node, ast.Import):
            self.note(owner, alias.name, Import(alias.target_path, None), node)
            return
        outer = self.package[: len(self.package) + 1 - node.level] if node.level else []
        module = ".".join([*outer, node.module] if node.module else outer)
        if not alias.wildcard:
            names = {name.asname or name.name: name.name for name in node.names}
            self.note(owner, alias.name, Import(module, names[alias.name]), node)
        elif not _placed(node)[0]:
            self.wildcards.append(module)


def recorder(bindings: Bindings) -> griffe.Extension:
    """Return what fills `bindings` during a visit: griffe itself keeps the last of each name."""
    import griffe  # noqa: PLC0415  # see the top

    class Recorder(griffe.Extension):
        def on_instance(self, *, node: Any, obj: Any, agent: Any, **kwargs: Any) -> None:
            if _is_bound(obj, node, agent.current):
                bindings.note(obj.parent, obj.name, obj, node)
            if isinstance(node, ast.AsyncFunctionDef) and _yields(node):
                obj.labels.add("generator")

        def on_attribute_node(self, *, node: Any, agent: Any, **kwargs: Any) -> None:
            # `X = other` under `except ImportError`: griffe passes over a second value of a name.
            if isinstance(node.parent, ast.If | ast.ExceptHandler) and node.value is not None:
                for target in getattr(node, "targets", ()):
                    if isinstance(target, ast.Name) and target.id in agent.current.members:
                        value = griffe.safe_get_expression(node.value, parent=agent.current)
                        again = griffe.Attribute(target.id, value=value, parent=agent.current)
                        bindings.note(agent.current, target.id, again, node)

        def on_alias_instance(self, *, node: Any, alias: Any, agent: Any, **kwargs: Any) -> None:
            bindings.note_import(agent.current, alias, node)

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


def _placed(node: Any) -> tuple[bool, bool]:
    """Tell what a statement depends on, as `Binding` has it."""
    guarded = conditional = False
    parent = getattr(node, "parent", None)
    while parent is not None and not isinstance(parent, ast.Module | ast.ClassDef):
        conditional = True
        if isinstance(parent, ast.If) and node in parent.body:
            guarded = guarded or ast.unparse(parent.test).endswith("TYPE_CHECKING")
        node, parent = parent, getattr(parent, "parent", None)
    return guarded, conditional


def _yields(function: ast.AsyncFunctionDef) -> bool:
    nodes: list[ast.AST] = list(function.body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Yield):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            nodes += ast.iter_child_nodes(node)
    return False
