"""Calls in source, and arguments of calls → what code or a manifest can write of them.

In: the arguments of a composing call as objects, or the place of the call in its source. Out: the
arguments by name; whether a manifest reads a written value back as the same object; the same call as a
line of Python, each object that it names as a `Token`; what an expression at the place makes, where all
that it is made of has a name. Nothing is evaluated but names, attributes, literals and operators.
"""

import ast
import enum
import functools
import inspect
import os
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from assembler.adopt.naming import ImportPaths, Value
from assembler.adopt.recording import UserPlace
from assembler.diagnostics.secrets import is_secret
from assembler.review.credentials import holds_secret, looks_secret

BREAK = "\x03"
"""Stands between the arguments of a call in code that is written, where a line may be broken."""

MARK = "\x00"
"""Stands before and after the path of an object in code that is written: `\x00app.main:x\x00`."""

_EVALUATED = (
    *(ast.Constant, ast.Name, ast.Attribute, ast.List, ast.Tuple, ast.Dict, ast.Set),
    *(ast.BinOp, ast.UnaryOp, ast.Subscript, ast.JoinedStr, ast.FormattedValue),
    *(ast.operator, ast.unaryop, ast.expr_context, ast.Slice),
)


class UnwrittenError(Exception):
    """A value that no line of code can write."""


@dataclass(frozen=True, slots=True)
class Made:
    """What an expression makes: the class or function that it calls, and the arguments."""

    target: Any
    kwargs: Mapping[str, Any]


def by_name(
    target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, leading: int = 0
) -> dict[str, Any] | None:
    """Return all arguments by name; None where some have none. `leading` come from elsewhere."""
    if not args:
        return dict(kwargs)
    try:
        parameters = list(inspect.signature(target).parameters.values())[leading:]
    except (TypeError, ValueError):
        return None
    names = [
        item.name for item in parameters if item.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    if len(args) > len(names):
        return None
    return dict(zip(names, args, strict=False)) | dict(kwargs)


def is_read_back(target: Any, name: str, value: Any, written: Value, *, leading: int) -> bool:
    """Tell whether an option of `target`, as it is written, is read as the value that it was."""
    from assembler.document.provenance import ResourceRef  # noqa: PLC0415  # a part of the reader
    from assembler.manifest.coerce import convert  # noqa: PLC0415  # as above
    from assembler.plan.signature import signature_of  # noqa: PLC0415  # as above

    if written["is"] in {"settings", "setting"}:
        return True
    objects: dict[str, Any] = {}
    data = _data(written, value, objects, ResourceRef)
    signature = signature_of(target, name, leading=leading)
    if name not in signature.parameters and not signature.open:
        return False
    try:
        adapter = signature.adapter({name})
        found, faults = convert(
            adapter,
            {name: data},
            stand=lambda reference: objects[reference.id],
            load=lambda path: objects.get(path, path),
        )
    except Exception:  # noqa: BLE001  # a foreign type's own check may raise anything
        return False
    return not faults and found is not None and _is_same(found[name], value)


def _data(written: Value, value: Any, objects: dict[str, Any], reference: Any) -> Any:
    if written["is"] == "literal":
        return written["value"]
    if written["is"] == "list":
        values = sorted(value) if isinstance(value, set | frozenset) else value
        pairs = zip(written["items"], values, strict=True)
        return [_data(each, item, objects, reference) for each, item in pairs]
    if written["is"] == "mapping":
        return {
            key: _data(each, value[key], objects, reference)
            for key, each in written["items"].items()
        }
    if written["is"] in {"path", "made"} and written["form"] == "object":
        name = f"o{len(objects)}"
        objects[name] = value
        return reference(name)
    if written["is"] in {"path", "made"}:
        path = written.get("path", "made.here")
        objects[path] = value
        return path
    return None


def _is_same(found: Any, value: Any) -> bool:
    if found is value:
        return True
    if isinstance(value, list | tuple):
        is_list = isinstance(found, list | tuple) and len(found) == len(value)
        return is_list and all(map(_is_same, found, value))
    if isinstance(value, dict):
        is_same = isinstance(found, dict) and found.keys() == value.keys()
        return is_same and all(_is_same(found[key], each) for key, each in value.items())
    if isinstance(value, set | frozenset):
        return isinstance(found, set | frozenset) and found == value
    if isinstance(value, enum.Enum) or isinstance(found, bool) is not isinstance(value, bool):
        return False
    return isinstance(value, str | int | float) and bool(found == value)


# --- code


Lift = Callable[[Any], str]
"""Gives the name of an object that has no path, or raises."""


def call_text(
    names: ImportPaths, method: str, given: Mapping[str, Any], lift: Lift | None = None
) -> str | None:
    """Write a call of a router's method, objects as marked paths; None where that cannot be."""
    positional = ("path", "endpoint", "route", "router")
    try:
        first = [_text(names, given[name], lift=lift) for name in positional if name in given]
        rest = [
            f"{name}={_text(names, value, name, lift)}"
            for name, value in given.items()
            if name not in positional and value is not None
        ]
    except UnwrittenError:
        return None
    return f"{method}({BREAK.join([*first, *rest])})"


def plain_text(names: ImportPaths, value: Any) -> str:
    """Write a status or a class in code; raises `UnwrittenError`."""
    return _text(names, value)


def _text(names: ImportPaths, value: Any, name: str = "", lift: Lift | None = None) -> str:
    if isinstance(value, enum.Enum):
        kind = names.path(type(value))
        if kind is None:
            raise UnwrittenError
        return f"{marked(kind)}.{value.name}"
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        return _string(value, name)
    if type(value) in {list, tuple, set, frozenset}:
        return _collection(names, value, name, lift)
    if type(value) is dict:
        items = (
            f"{_text(names, key)}: {_text(names, each, str(key), lift)}"
            for key, each in value.items()
        )
        return f"{{{', '.join(items)}}}"
    return _code_text(names, value, lift)


def _string(value: str, name: str) -> str:
    is_hidden = is_secret(name, "option") or looks_secret(value) or holds_secret(value)
    if is_hidden or is_of_this_machine(value):
        raise UnwrittenError
    return quoted(value)


def quoted(text: str) -> str:
    """Write a text as Python does, in double quotes where that needs no escape."""
    written = repr(text)
    return written if '"' in text or "\\" in written else f'"{text}"'


def is_of_this_machine(text: str) -> bool:
    """Tell whether a text is a path that leads into the folder of the project on this machine."""
    return text.startswith(os.getcwd() + os.sep) or text == os.getcwd()  # noqa: PTH109  # a string


def _collection(names: ImportPaths, value: Any, name: str, lift: Lift | None) -> str:
    items = [_text(names, each, name, lift) for each in value]
    if isinstance(value, list):
        return f"[{', '.join(items)}]"
    if isinstance(value, tuple):
        return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
    inside = f"{{{', '.join(sorted(items))}}}" if items else "set()"
    return f"frozenset({inside})" if isinstance(value, frozenset) else inside


def _code_text(names: ImportPaths, value: Any, lift: Lift | None) -> str:
    from fastapi import params  # noqa: PLC0415  # the process alone needs it

    if isinstance(value, params.Depends):
        return _dependency(names, value, lift)
    if get_origin(value) is not None or isinstance(value, types.UnionType):
        return _type_text(names, value)
    if inspect.isclass(value) and value.__module__ == "builtins":
        return value.__name__
    if value is Any:
        return marked("typing.Any")
    path = names.path(value)
    if path is None and lift is not None:
        return lift(value)
    if path is None or isinstance(value, functools.partial | PurePath):
        raise UnwrittenError
    return marked(path)


def _dependency(names: ImportPaths, value: Any, lift: Lift | None) -> str:
    kind = marked(f"fastapi.{type(value).__name__}")
    more = []
    if not value.use_cache:
        more.append("use_cache=False")
    if getattr(value, "scope", None) is not None:
        more.append(f"scope={quoted(value.scope)}")
    if getattr(value, "scopes", None):
        more.append(f"scopes=[{', '.join(map(quoted, value.scopes))}]")
    return f"{kind}({', '.join([_text(names, value.dependency, lift=lift), *more])})"


def _type_text(names: ImportPaths, value: Any) -> str:
    origin, arguments = get_origin(value), get_args(value)
    if origin in (Union, types.UnionType):
        return " | ".join("None" if a is type(None) else _text(names, a) for a in arguments)
    if origin is Literal:
        return f"{marked('typing.Literal')}[{', '.join(quoted(a) if isinstance(a, str) else repr(a) for a in arguments)}]"
    if origin is Annotated:
        raise UnwrittenError
    inside = ", ".join("..." if a is ... else _text(names, a) for a in arguments)
    return f"{_text(names, origin)}[{inside}]"


def marked(path: str) -> str:
    """Write the path of an object so that who writes the file can import it."""
    module, colon, name = path.partition(":")
    if not colon:
        module, _, name = path.rpartition(".")
    return f"{MARK}{module}:{name}{MARK}"


def without_defaults(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what says no more than FastAPI does by itself."""
    from fastapi import APIRouter  # noqa: PLC0415  # the process alone needs it
    from fastapi.datastructures import DefaultPlaceholder  # noqa: PLC0415  # as above

    parameters = inspect.signature(getattr(APIRouter, name)).parameters
    found = {}
    for key, value in given.items():
        default = parameters[key].default if key in parameters else None
        is_default = isinstance(value, DefaultPlaceholder) or value is default or value is None
        if not is_default and not (isinstance(value, str | bool | int) and value == default):
            found[key] = value
    return found


# --- source


def made_here(names: ImportPaths, place: UserPlace, keyword: str, position: int) -> Made | None:
    """Return what the call at a place is given as `keyword` or at `position`, where that is a call."""
    call = call_at(place)
    if call is None:
        return None
    node = next((each.value for each in call.keywords if each.arg == keyword), None)
    if node is None and position < len(call.args):
        node = call.args[position]
    if not isinstance(node, ast.Call):
        return None
    try:
        target = evaluated(node.func, place)
        args = tuple(evaluated(each, place) for each in node.args)
        kwargs = {each.arg: evaluated(each.value, place) for each in node.keywords if each.arg}
    except UnwrittenError:
        return None
    if names.path(target) is None or any(each.arg is None for each in node.keywords):
        return None
    given = by_name(target, args, kwargs)
    return None if given is None else Made(target, given)


def call_at(place: UserPlace) -> ast.Call | None:
    """Return the call that stands at a place, whose columns count bytes of UTF-8."""
    return None if place.span is None else _calls_in(place.path).get(place.span)


@functools.lru_cache(maxsize=256)
def _calls_in(path: str) -> dict[tuple[int, int | None, int, int | None], ast.Call]:
    tree = parsed(path)
    nodes = () if tree is None else ast.walk(tree)
    calls = (node for node in nodes if isinstance(node, ast.Call))
    return {(n.lineno, n.end_lineno, n.col_offset, n.end_col_offset): n for n in calls}


@functools.lru_cache(maxsize=256)
def parsed(path: str) -> ast.Module | None:
    """Return the tree of a source file, or None where it cannot be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # a path of a code object
            return ast.parse(file.read())
    except (OSError, ValueError, SyntaxError):
        return None


def evaluated(node: ast.expr, place: UserPlace) -> Any:
    """Return the value that an expression had at a place; raises `UnwrittenError`."""
    if not all(isinstance(each, _EVALUATED) for each in ast.walk(node)):
        raise UnwrittenError
    code = compile(ast.Expression(node), place.path, "eval")
    try:
        return eval(code, dict(place.globals), dict(place.locals))  # noqa: S307  # names and operators of the user's own line
    except Exception as error:
        raise UnwrittenError from error
