"""Source of the user's modules → the texts that each variable is compared with.

In: the modules that are loaded. Out: for a setting or a variable of the environment the texts that code
asks for, `if settings.environment == "production"` and the like: a composition looks another way under
each, which no other value of the same form would show. Only what stands there as a literal is found.
"""

import ast
import sys
from collections.abc import Iterable, Iterator

from assembler.adopt import expressions
from assembler.adopt.naming import is_own

_CLEANING = frozenset({"lower", "upper", "casefold", "strip", "capitalize", "title"})


class Comparisons:
    """What the modules of the user's own compare names with."""

    def __init__(self) -> None:
        self._texts: dict[str, dict[str, None]] = {}
        self._names: dict[str, set[str]] = {}  # of what a variable was assigned to
        for _, module in sorted(sys.modules.items()):
            tree = expressions.parsed(str(module.__file__)) if is_own(module) else None
            for node in ast.walk(tree) if tree is not None else ():
                self._note(node)

    def of_setting(self, path: str) -> list[str]:
        """Return the texts that a field of the settings is compared with."""
        return list(self._texts.get(path.rpartition(".")[2], ()))

    def of_variable(self, name: str) -> list[str]:
        """Return the texts that a variable is compared with, or what it was assigned to."""
        known = [name, *sorted(self._names.get(name, ()))]
        return list(dict.fromkeys(text for each in known for text in self._texts.get(each, ())))

    def _note(self, node: ast.AST) -> None:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for text in _literals(ast.walk(node.value)):
                self._names.setdefault(text, set()).update(filter(None, map(_name, targets)))
        for subject, texts in _compared(node):
            name = _name(subject)
            if name:
                self._texts.setdefault(name, {}).update(dict.fromkeys(texts))


def _compared(node: ast.AST) -> Iterator[tuple[ast.expr, list[str]]]:
    """Yield each expression that a node compares, with the texts on the other side."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        for side in sides:
            texts = [text for each in sides if each is not side for text in _texts_in(each)]
            yield side, texts
    elif isinstance(node, ast.Match):
        patterns = [each.value for case in node.cases for each in _values(case.pattern)]
        yield node.subject, list(_literals(patterns))
    elif (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "startswith"
    ):
        yield node.func.value, list(_literals(node.args))


def _values(pattern: ast.pattern) -> Iterator[ast.MatchValue]:
    return (each for each in ast.walk(pattern) if isinstance(each, ast.MatchValue))


def _texts_in(node: ast.expr) -> Iterator[str]:
    """Yield the texts that an expression is: one, or those of a collection."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return _literals(node.elts)
    return _literals([node])


def _literals(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for each in nodes:
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and each.value:
            yield each.value


def _name(node: ast.AST) -> str:
    """Return the last name of an expression, or the variable that it asks the environment for."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr not in _CLEANING:
            break
        node = node.func.value
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Subscript):
        return next(_literals([node.slice]), "")
    if isinstance(node, ast.Call):
        return next(_literals(node.args[:1]), "")
    return ""
