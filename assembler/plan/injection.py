"""A function → what its parameters are given: resources by id, and what dependencies return.

In: a function, and where it runs. Out: a `Need` for each parameter that `Annotated[…]` or a default
marks: one with a `resource_id` is given that resource, a `Depends` of FastAPI what its function
returns, whose parameters are given in the same way. Outside of routes, refuses what only a request
can give. Reads signatures, calls nothing.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, get_args, get_origin

from assembler.plan.signature import Target, class_of, hints_of

_MARK = "resource_id"
_INNER = "inner"  # what a mark that was read from source has of a dependency's parameters
_ASKED = "asked_resources"
_MOST_FUNCTIONS = 50  # of a factory, that are read
_OF_A_REQUEST = ("HTTPConnection", "Response", "BackgroundTasks", "SecurityScopes")
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class ResourceNeed:
    """A parameter that is given the resource `id`; `declared` is its class, where it says one."""

    id: str
    declared: type | None


@dataclass(frozen=True, slots=True)
class CallNeed:
    """A parameter that is given what `function` returns, called once for all that share it."""

    function: Any
    is_shared: bool
    needs: "Mapping[str, Need]" = field(default_factory=dict)


Need = ResourceNeed | CallNeed


def needs_of(target: Target) -> tuple[dict[str, Need], list[str]]:
    """Return what the parameters of a function that runs without a request are given.

    The second are the reasons why that cannot be.
    """
    reader = _DependencyReader()
    return reader.marked(target), reader.reasons


def resources_of(needs: Iterable[Need]) -> Iterator[ResourceNeed]:
    """Yield the resources that are needed, those of dependencies too."""
    for need in needs:
        if isinstance(need, ResourceNeed):
            yield need
        else:
            yield from resources_of(need.needs.values())


def resources_of_routes(router: Any) -> Iterator[tuple[str, ResourceNeed]]:
    """Yield what the routes of a router need, each with the name of its endpoint.

    What FastAPI has read tells which routes need any, so that the others cost nothing.
    """
    waiting = [router]
    while waiting:
        for route in getattr(waiting.pop(), "routes", ()):
            inner = getattr(route, "original_router", None)
            if inner is not None:
                waiting.append(inner)
            dependant = getattr(route, "dependant", None)
            if dependant is not None and _names_any(dependant):
                for need in resources_of_endpoint(route.endpoint):
                    yield getattr(route.endpoint, "__name__", "endpoint"), need


def resources_of_application(value: Any) -> Iterator[tuple[str, ResourceNeed]]:
    """Yield what an application says that it asks for: names of tools, and resources by id."""
    for name, id_, declared in getattr(value, _ASKED, ()):
        yield name, ResourceNeed(id_, class_of(declared))


def resources_of_factory(function: Any) -> Iterator[tuple[str, ResourceNeed]]:
    """Yield what the functions ask for that a factory defines or hands over, such as tools.

    Its source is read, and that of the functions of its package that it calls; nothing is called.
    """
    package = str(getattr(function, "__module__", "")).partition(".")[0]
    waiting: list[Any] = [function]
    seen: set[Any] = set()
    while waiting and len(seen) < _MOST_FUNCTIONS:
        factory = waiting.pop()
        if factory in seen:
            continue
        seen.add(factory)
        known = getattr(factory, "__globals__", {})
        for node in _nodes_of(factory):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from ((node.name, need) for need in _asked_in_source(node, known))
            elif isinstance(node, ast.Call):
                called = _named(node.func, known)
                if inspect.isfunction(called) and called.__module__.partition(".")[0] == package:
                    waiting.append(called)
                given = [_named(argument, known) for argument in node.args]
                for each in filter(inspect.isfunction, given):
                    yield from ((each.__name__, need) for need in resources_of_endpoint(each))


def _nodes_of(function: Any) -> Iterator[ast.AST]:
    """Yield what stands in the body of a function, as far as its source can be read."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return
    for outer in tree.body:
        for statement in getattr(outer, "body", ()):
            yield from ast.walk(statement)


def _asked_in_source(
    node: ast.FunctionDef | ast.AsyncFunctionDef, known: Mapping[str, Any]
) -> Iterator[ResourceNeed]:
    """Yield the resources that the annotations of a nested function name."""
    reader = _DependencyReader(has_request=True)
    arguments = node.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if argument.annotation is None:
            continue
        hint = _named(argument.annotation, known)
        need = reader.need_of(hint if hint is not None else _annotated(argument.annotation, known))
        yield from resources_of([need] if need is not None else [])


def _annotated(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """Return `Annotated[kind, mark("id")]`, of names that are known and a text; else None."""
    match node:
        case ast.Subscript(slice=ast.Tuple(elts=[kind, *marks])) if (
            _named(node.value, known) is Annotated
        ):
            for mark in marks:
                match mark:
                    case ast.Call(args=[ast.Constant(value=str(id_))], keywords=[]):
                        made = _named(mark.func, known)
                        if isinstance(made, type) and hasattr(made, _MARK):
                            make: Callable[[str], Any] = made
                            return Annotated[_named(kind, known) or Any, make(id_)]
    return None


def _named(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """Return what a dotted name stands for in a module; None for all else."""
    match node:
        case ast.Name(id=name):
            return known.get(name)
        case ast.Attribute(value=inner, attr=name):
            owner = _named(inner, known)
            return inspect.getattr_static(owner, name, None) if owner is not None else None
    return None


def resources_of_source(target: Target) -> Iterator[ResourceNeed]:
    """Yield what a function of routes needs that is known by its source alone."""
    yield from resources_of(_DependencyReader(has_request=True).marked(target).values())


def resources_of_endpoint(function: Any) -> Iterator[ResourceNeed]:
    """Yield what a function of routes needs; a request gives it all else."""
    yield from resources_of(_DependencyReader(has_request=True).of(function).values())


def _names_any(dependant: Any) -> bool:
    return any(hasattr(item.call, _MARK) or _names_any(item) for item in dependant.dependencies)


class _DependencyReader:
    """Reads the parameters of one function, and of all that it depends on."""

    def __init__(self, *, has_request: bool = False) -> None:
        self.has_request = has_request
        self.reasons: list[str] = []
        self._path: list[Any] = []

    def marked(self, target: Target) -> dict[str, Need]:
        """Read the function itself: parameters without a mark are options."""
        if target.value is not None:
            return self.of(target.value, is_outer=True)
        found = {}
        for name, parameter in target.signature.parameters.items():
            need = self._need(parameter.annotation, None)
            if need is not None:
                found[name] = need
        return found

    def of(self, function: Any, *, is_outer: bool = False) -> dict[str, Need]:
        """Return the needs of a function by the names of its parameters."""
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            return {}
        if any(function is known for known in self._path):
            return {}
        self._path.append(function)
        hints = hints_of(function)
        found: dict[str, Need] = {}
        for name, parameter in parameters.items():
            need = self._need(hints.get(name, parameter.annotation), parameter.default)
            if need is not None:
                found[name] = need
            elif not (is_outer or self.has_request or parameter.kind in _VARIADIC):
                self._refuse(function, parameter, hints.get(name))
        self._path.pop()
        return found

    def need_of(self, annotation: Any) -> Need | None:
        """Return what a type with a mark asks for."""
        return self._need(annotation, None)

    def _need(self, annotation: Any, default: Any) -> Need | None:
        inner = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
        said = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
        for mark in (*reversed(said), default):
            name = getattr(mark, _MARK, None)
            if isinstance(name, str):
                return ResourceNeed(name, class_of(inner))
            known = getattr(mark, _INNER, None) if hasattr(mark, _MARK) else None
            if isinstance(known, Mapping):  # a dependency's source
                pairs = ((each, self._need(hint, None)) for each, hint in known.items())
                return CallNeed(None, False, {each: need for each, need in pairs if need})
            if _is_depends(mark):
                function = mark.dependency or inner
                return CallNeed(function, mark.use_cache, self.of(function))
        return None

    def _refuse(self, function: Any, parameter: inspect.Parameter, hint: Any) -> None:
        declared = class_of(hint)
        kinds = {base.__name__ for base in declared.__mro__} if declared is not None else set()
        is_given = parameter.default is not inspect.Parameter.empty
        is_field = any(base.__name__ == "FieldInfo" for base in type(parameter.default).__mro__)
        name = getattr(function, "__name__", type(function).__name__)
        if declared is not None and kinds & {*_OF_A_REQUEST}:
            self.reasons.append(f"`{name}` needs a `{declared.__name__}`, which only routes have")
        elif not is_given or is_field:
            self.reasons.append(f"`{name}` needs `{parameter.name}`, which only a request gives")


def _is_depends(mark: Any) -> bool:
    return any(
        base.__name__ == "Depends" and base.__module__ == "fastapi.params"
        for base in type(mark).__mro__
    )
