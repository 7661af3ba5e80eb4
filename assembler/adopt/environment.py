"""Variables and settings → other values of the same form, and which of them a value came from.

In: what one run has read, with its values. Out: an environment for another run in which all that may
change has changed: a URL stays a URL, a port a port; what is a switch is turned in a run of its own. Of
two runs' values, the reference that gives both: `${settings.title}`, `${PORT:-8000}`, a text with one
inside. A value that both runs have is a literal, unless it is a secret's.
"""

import ast
import enum
import functools
import inspect
import json
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit, urlunsplit
from zoneinfo import available_timezones

from assembler.adopt import expressions
from assembler.adopt.comparisons import Comparisons
from assembler.adopt.naming import ImportPaths, is_own
from assembler.adopt.recording import Composition
from assembler.diagnostics.secrets import is_secret

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_NUMBER = re.compile(r"(-?\d+)(.*)\Z", re.DOTALL)
_LEAST = 3  # characters of a value that is looked for inside a text
_UNTOUCHED = re.compile(
    r"(?:PATH|HOME|USER|SHELL|PWD|OLDPWD|LANG|TERM|TZ|TMPDIR|LC_.*|PYTHON.*|LD_.*|VIRTUAL_ENV|XDG_.*|SSL_.*)\Z"
)
_OF_FILES = re.compile(
    r"(?:dir|directory|folder|path|file|root|static|templates?)s?\Z", re.IGNORECASE
)
_PLAIN = (str, int, float, bool, type(None))
_DEEPEST = 6


# --- inside the process: what the settings are


def read_settings(
    recording: Composition, names: ImportPaths, comparisons: Comparisons
) -> dict[str, Any] | None:
    """Return the settings object that the application was made with, with its values by path.

    Of several, the first that a manifest can name; `names` knows it from then on. What the others read
    stands under `others`: a manifest has their variables.
    """
    found: dict[str, Any] | None = None
    others: list[dict[str, Any]] = []
    for value, place in recording.settings:
        if not is_own(sys.modules.get(type(value).__module__)):
            continue  # a library's own
        use = _path_of_settings(value, names) if found is None else None
        if use is None:
            if names.settings is None or type(value) is not type(names.settings):
                others += _fields(value, comparisons)
            continue
        names.settings = value
        names.of_settings = {id(each): (path, each) for path, each in _objects(value)}
        found = {
            "use": use,
            "place": place.text,
            "values": dict(_values(value)),
            "variables": dict(_variables(type(value), comparisons)),
        }
    return None if found is None else {**found, "others": others}


def _fields(value: Any, comparisons: Comparisons) -> Iterator[dict[str, Any]]:
    """Yield the variables of a settings object, each with its value now."""
    variables = dict(_variables(type(value), comparisons))
    for path, said in _values(value):
        if path in variables:
            yield {**variables[path], "value": _as_text(said["value"]), "secret": said["secret"]}


def _path_of_settings(value: Any, names: ImportPaths) -> str | None:
    return names.path(value) or _getter_of(value, names) or names.path(type(value))


def _getter_of(value: Any, names: ImportPaths) -> str | None:
    """Return the cached function that gives this object."""
    for _, module in sorted(sys.modules.items()):
        if not is_own(module):
            continue
        for each in list(vars(module).values()):
            if isinstance(each, functools._lru_cache_wrapper) and _gives(each, value):  # noqa: SLF001  # it has no other name
                return names.path(each)
    return None


def _gives(function: Any, value: Any) -> bool:
    if function.cache_info().currsize != 1:
        return False
    parameters = inspect.signature(function).parameters.values()
    if any(item.default is inspect.Parameter.empty for item in parameters):
        return False
    try:
        return function() is value
    except Exception:  # noqa: BLE001  # it is the user's
        return False


def _values(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Any]]]:
    from pydantic import BaseModel  # noqa: PLC0415  # the process alone needs it

    for name in type(value).model_fields:
        found, where = getattr(value, name), f"{path}{name}"
        if isinstance(found, BaseModel) and depth < _DEEPEST:
            yield from _values(found, f"{where}.", depth + 1)
            continue
        plain, is_hidden = _plain(found)
        if plain is not None or found is None:
            hidden = is_hidden or is_secret(name, "variable")
            yield where, {"value": plain, "secret": hidden}
    for name in _computed(type(value)):
        try:
            plain, is_hidden = _plain(getattr(value, name))
        except Exception:  # noqa: BLE001, S112  # it is the user's, and may want what is not there
            continue
        if plain is not None:
            hidden = is_hidden or is_secret(name, "variable")
            yield f"{path}{name}", {"value": plain, "secret": hidden}


def _computed(kind: type) -> Iterator[str]:
    """Yield the names of the properties that a settings class of the user's own has."""
    for each in kind.__mro__:
        if not is_own(sys.modules.get(each.__module__)):
            continue
        for name, value in vars(each).items():
            inner = getattr(value, "wrapped", value)  # of pydantic's `computed_field`
            is_property = isinstance(inner, property | functools.cached_property)
            if is_property and not name.startswith("_"):
                yield name


def _objects(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Yield what settings hold that is no plain value, such as a `SecretStr`."""
    from pydantic import BaseModel  # noqa: PLC0415  # the process alone needs it

    for name in type(value).model_fields:
        found = getattr(value, name)
        if type(found) not in (*_PLAIN, list, tuple, dict) and not isinstance(found, enum.Enum):
            yield f"{path}{name}", found
        if isinstance(found, BaseModel) and depth < _DEEPEST:
            yield from _objects(found, f"{path}{name}.", depth + 1)


def _plain(value: Any) -> tuple[Any, bool]:
    """Return a value as JSON has it, and whether its type calls it a secret."""
    from pydantic import SecretBytes, SecretStr  # noqa: PLC0415  # the process alone needs it

    if isinstance(value, SecretStr):
        return value.get_secret_value(), True
    if isinstance(value, SecretBytes):
        return value.get_secret_value().decode("utf-8", "replace"), True
    if isinstance(value, enum.Enum):
        value = value.value
    if type(value) in _PLAIN:
        return value, False
    if type(value) in {list, tuple}:
        items = [_plain(item)[0] for item in value]
        return (None if None in items else items), False
    if type(value).__module__.startswith("pydantic"):
        return str(value), False
    return None, False


def _variables(kind: Any, comparisons: Comparisons) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the variable of each field of a settings class, and what may stand there."""
    from pydantic import BaseModel  # noqa: PLC0415  # the process alone needs it

    prefix = str(kind.model_config.get("env_prefix") or "")
    delimiter = kind.model_config.get("env_nested_delimiter")
    for name, info in kind.model_fields.items():
        alias = info.validation_alias or info.alias
        variable = (alias if isinstance(alias, str) else f"{prefix}{name}").upper()
        inner = info.annotation
        if delimiter and inspect.isclass(inner) and issubclass(inner, BaseModel):
            for field, each in inner.model_fields.items():
                choices = _choices(each.annotation)
                nested = f"{variable}{delimiter}{field}".upper()
                compared = comparisons.of_setting(field)
                said = {"variable": nested, "choices": choices, "compared": compared}
                yield f"{name}.{field}", said
            continue
        compared = comparisons.of_setting(name)
        yield name, {"variable": variable, "choices": _choices(inner), "compared": compared}


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(each) for each in get_args(annotation)]
    if inspect.isclass(annotation) and issubclass(annotation, enum.Enum):
        return [str(each.value) for each in annotation]
    return []


# --- another environment of the same form


@dataclass(frozen=True, slots=True)
class Variation:
    """Variables that get another value together, and why: all at once, or one switch."""

    values: Mapping[str, str]
    switch: str = ""


def variations(taken: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[Variation]:
    """Yield one variation of all that may change, then one for each switch."""
    varied: dict[str, str] = {}
    switches: dict[str, str] = {}
    for name, current, choices in _read(taken, environment):
        if _UNTOUCHED.match(name):
            continue
        if choices:
            others = sorted(
                (each for each in choices if each != current), key=lambda each: "prod" not in each
            )
            if others:
                switches[name] = others[0]  # what most differs from a machine of a developer
        elif current is not None:
            other = varied_text(current, name)
            if other is not None:
                varied[name] = other
    yield Variation(varied)
    for name, other in switches.items():
        yield Variation({name: other}, name)


def untried(taken: Mapping[str, Any], environment: Mapping[str, str]) -> Iterator[str]:
    """Yield what variables of more than two values are told of: which were tried."""
    turned_to = {each.switch: each.values for each in variations(taken, environment)}
    for name, current, choices in _read(taken, environment):
        others = [each for each in choices if each != current]
        tried = turned_to.get(name, {}).get(name)
        if tried is not None and len(others) > 1:
            rest = ", ".join(f"`{each}`" for each in others if each != tried)
            yield f"`{name}` was turned to `{tried}`; not tried: {rest}"


def unvaried(taken: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """Return the variables that were read and get no other value, as none is sure to be as good."""
    return [
        name
        for name, current, choices in _read(taken, environment)
        if not _UNTOUCHED.match(name)
        and not choices
        and (current is None or varied_text(current, name) is None)
    ]


def _read(
    taken: Mapping[str, Any], environment: Mapping[str, str]
) -> Iterator[tuple[str, str | None, list[str]]]:
    """Yield each variable that was read, with the text of its value now and its choices.

    A switch has two: it is one by its words, and `0` and `1` are, but where settings say a number.
    """
    settings = taken["settings"] or {"values": {}, "variables": {}}
    of_settings = set()
    lowered = {name.lower(): name for name in environment}
    for path, said in settings["variables"].items():
        name = lowered.get(said["variable"].lower(), said["variable"])
        of_settings.add(name)
        value = settings["values"].get(path, {}).get("value")
        given = environment.get(name)
        text = given if given is not None else _as_text(value)
        both = [] if type(value) is int else _both(text)
        yield name, text, said["choices"] or both or said.get("compared", [])
    for other in settings.get("others", ()):
        name = lowered.get(other["variable"].lower(), other["variable"])
        of_settings.add(name)
        text = environment.get(name, other["value"])
        yield name, text, other["choices"] or _both(text) or other.get("compared", [])
    for name, place in taken["environment"].items():
        if name not in of_settings:
            text = environment.get(name, default_at(name, place))
            yield name, text, _both(text) or taken.get("compared", {}).get(name, [])


def _both(text: str | None) -> list[str]:
    """Return both values of a switch; nothing where a text is none."""
    is_switch = text is not None and text.lower() in (*_TRUE, *_FALSE)
    return [text, turned(text)] if text is not None and is_switch else []


def default_at(name: str, place: str) -> str | None:
    """Return the default that a line of source gives for a variable, where it is a literal."""
    file, _, line = place.rpartition(":")
    tree = expressions.parsed(file) if line.isdigit() else None
    for node in ast.walk(tree) if tree is not None else ():
        value = _default_in(node, name)
        if value is None or int(line) not in _lines(node):
            continue
        try:
            return _as_text(ast.literal_eval(value))
        except (ValueError, TypeError):
            return None
    return None


def _default_in(node: ast.AST, name: str) -> ast.expr | None:
    """Return what a call for a variable gives as its default, or what `or` has behind that call."""
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        asks = _asks(node.values[0], name) and _default_in(node.values[0], name) is None
        return node.values[-1] if asks else None
    if not isinstance(node, ast.Call) or not _asks(node, name):
        return None
    found = [each.value for each in node.keywords if each.arg == "default"]
    return found[0] if found else node.args[1] if len(node.args) > 1 else None


def _lines(node: Any) -> range:
    return range(node.lineno, node.end_lineno + 1)


def _asks(node: ast.AST, name: str) -> bool:
    first = node.args[0] if isinstance(node, ast.Call) and node.args else None
    return isinstance(first, ast.Constant) and first.value == name


def _as_text(value: Any) -> str | None:
    """Write a value as a variable has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    return json.dumps(value) if isinstance(value, list) else None


def turned(text: str) -> str:
    """Turn a switch, in the words that it is written in."""
    for words, others in ((_TRUE, _FALSE), (_FALSE, _TRUE)):
        if text.lower() in words:
            other = others[words.index(text.lower())]
            return other.capitalize() if text[:1].isupper() else other
    return text


def varied_text(text: str, name: str = "") -> str | None:
    """Return another text of the same form, or None where none is sure to be as good."""
    if not text or ((_OF_FILES.search(name) or "/" in text) and Path(text).exists()):
        return None
    if text.startswith("[") or ("," in text and "://" not in text.partition(",")[0][:4]):
        return _varied_list(text, name)
    if "://" in text:
        return _varied_url(text)
    if text in available_timezones():
        return "Europe/Paris" if text != "Europe/Paris" else "Europe/Rome"
    if text.upper() in logging.getLevelNamesMapping():
        other = "WARNING" if text.upper() != "WARNING" else "INFO"
        return other.lower() if text.islower() else other
    number = _NUMBER.match(text)
    if number:
        value = int(number[1]) + 1
        is_port = not number[2] and value > 65535
        return f"{1024 if is_port else value}{number[2]}"
    if text == "*":  # of origins or hosts; others are told as not varied, where it is refused
        return "https://b.example" if "ORIGIN" in name.upper() else "b.example"
    if re.search(r"[*@\s]", text) and "@" not in text:
        return None if "*" in text else f"{text} b"
    return f"b{text}" if "@" in text else f"{text}b"


def _varied_list(text: str, name: str) -> str | None:
    if text.startswith("["):
        try:
            items = json.loads(text)
        except ValueError:
            return None
        if items == []:
            return json.dumps([varied_text("*", name)])
        if not all(isinstance(item, str) for item in items):
            return None
        return json.dumps([varied_text(item) or item for item in items])
    return ",".join(varied_text(part) or part for part in text.split(","))


def _varied_url(text: str) -> str:
    parts = urlsplit(text)
    if not parts.hostname:
        return f"{text}b" if parts.path.strip("/") else f"{text.rstrip('/')}///b"[: len(text) + 4]
    head, at, host = parts.netloc.rpartition("@")
    name, colon, port = host.partition(":")
    is_near = name in {"localhost", "127.0.0.1"}
    if is_near and port.isdigit():
        host = f"{name}:{int(port) + 1 if int(port) < 65535 else 1024}"
    elif is_near:
        host = f"{name}:{8081}"
    else:
        host = f"b-{name}{colon}{port}"
    return urlunsplit(parts._replace(netloc=f"{head}{at}{host}"))


# --- which reference gives two values


@dataclass(frozen=True, slots=True)
class ValueSource:
    """What a value may have come from: its reference, and its value in each of two runs."""

    reference: str
    first: Any
    second: Any
    is_hidden: bool = False
    is_variable: bool = False


def sources(
    first: Mapping[str, Any],
    second: Mapping[str, Any] | None,
    environments: tuple[Mapping[str, str], Mapping[str, str]],
) -> list[ValueSource]:
    """Return what the values of two runs may have come from, settings before variables."""
    found = []
    settings = (first["settings"] or {}).get("values", {})
    others = ((second or {}).get("settings") or {}).get("values", settings)
    for path, said in settings.items():
        other = others.get(path, said)["value"]
        reference = f"settings.{path}"
        found.append(ValueSource(reference, said["value"], other, said["secret"]))
    found += _other_sources(first, second)
    for name, place in first["environment"].items():
        default = default_at(name, place)
        values = [each.get(name) for each in environments]
        reference = name if default is None else f"{name}:-{default}"
        pair = [default if value is None else value for value in values]
        hidden = is_secret(name, "variable")
        if hidden:
            reference = name
        found.append(ValueSource(reference, pair[0], pair[1], hidden, is_variable=True))
    return [each for each in found if each.first is not None]


def _other_sources(
    first: Mapping[str, Any], second: Mapping[str, Any] | None
) -> Iterator[ValueSource]:
    """Yield what settings read that a manifest does not name: by their variables."""
    mine = (first["settings"] or {}).get("others", ())
    theirs = ((second or {}).get("settings") or {}).get("others", ())
    values = {each["variable"]: each["value"] for each in theirs}
    for each in mine:
        name, value = each["variable"], each["value"]
        if value is not None:
            reference = name if each["secret"] else f"{name}:-{value}"
            other = values.get(name, value)
            yield ValueSource(reference, value, other, each["secret"], is_variable=True)


def reference_for(
    first: Any,
    second: Any,
    known: list[ValueSource],
    others: Iterable[tuple[Any, list[ValueSource]]] = (),
) -> str | None:
    """Return the text of a manifest that gives both values, or None where nothing known does.

    `others` are the values of further runs, each with what is known of it: what gives those too comes
    before what does not.
    """
    found = [
        source.reference
        for source in known
        if (source.first != source.second or source.is_hidden)
        and _gives_both(source, first, second)
    ]
    for value, sources_there in others if len(found) > 1 else ():
        given = {each.reference for each in sources_there if _gives_both(each, first, value)}
        found = [each for each in found if each in given] or found
    if found:
        return f"${{{found[0]}}}"
    if isinstance(first, str) and isinstance(second, str):
        return _with_references(first, second, known)
    return None


def _gives_both(source: ValueSource, first: Any, second: Any) -> bool:
    if not source.is_variable:
        is_same = source.first == first and source.second == second
        return is_same and type(source.first) is type(first)
    return _reads(source.first, first) and _reads(source.second, second)


def _reads(text: Any, value: Any) -> bool:
    """Tell whether a variable's text is read as a value, where the parameter wants that type."""
    if not isinstance(text, str):
        return False
    if isinstance(value, bool):
        return text.lower() == str(value).lower()
    if isinstance(value, list):
        listed = [part.strip() for part in text.split(",") if part.strip()]
        return bool(value) and (listed == value or text == json.dumps(value))
    return isinstance(value, str | int | float) and text == str(value)


def _with_references(first: str, second: str, known: list[ValueSource]) -> str | None:
    """Put references into a text, as long as it takes for both runs to say the same."""
    texts = [first, second]
    longest = sorted(known, key=lambda each: -len(str(each.first)))
    for source in longest:
        ours, theirs = str(source.first), str(source.second)
        if len(ours) < _LEAST or (ours == theirs and not source.is_hidden):
            continue
        if ours in texts[0] and theirs in texts[1]:
            mark = f"\x01{source.reference}\x02"
            replaced = [texts[0].replace(ours, mark), texts[1].replace(theirs, mark)]
            if replaced[0].count(mark) == replaced[1].count(mark):
                texts = replaced
    if texts[0] != texts[1] or "\x01" not in texts[0]:
        return None
    return texts[0].replace("${", "$${").replace("\x01", "${").replace("\x02", "}")
