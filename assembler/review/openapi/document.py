"""The text of an OpenAPI document, JSON or YAML → its data, and where each part of it stands.

In: a path, or bytes and a name, whose ending says which of the two it is. Out: an `ApiDocument`.
Nothing is fetched and nothing is built: a reference that leads to another file stays what it is.
Refuses, as `ManifestError`, text over 16 MiB, over 500 000 values or 100 levels, what is neither
JSON nor YAML 1.2, keys that stand twice, and what is no document of OpenAPI 3.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import unquote

from assembler.diagnostics.errors import Diagnostic, raise_faults
from assembler.diagnostics.span import File, Span
from assembler.document.nodes import MappingNode, Node, NodePath, as_written, locate
from assembler.document.parser import MAX_DEPTH, Bounds, decoded, read, read_bytes
from assembler.review.finding import Place

BOUNDS = Bounds(mebibytes=16, nodes=500_000, text_keys=True)
_VERSION = re.compile(r"3\.\d+(\.\d+)?(-.+)?")
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
_TOKEN = re.compile(r'[\s,:]*(?:([{\[])|([}\]])|("(?:[^"\\]|\\.)*")|([^\s,:{}\[\]"]+))')


class ApiDocument:
    """What a document says: `name` is what findings call it, `data` its values as plain data."""

    def __init__(self, file: File, data: dict[str, Any], root: Node | None) -> None:
        self.name = file.name
        self.data = data
        self._file = file
        self._root = root

    def places(self, wanted: Collection[NodePath]) -> dict[NodePath, Place]:
        """Return where the keys or items at the given paths stand."""
        if self._root is not None:
            found = ((path, locate(self._root, path)) for path in wanted)
            return {path: Place.of(key or node.span) for path, (node, key) in found}
        lines = _Lines(self._file)
        paths = {path[:end] for path in wanted for end in range(len(path) + 1)}
        told = {
            path: Place.of(lines.span(start, end))
            for path, start, end in _parts(self._file.text)
            if path in paths
        }
        told[()] = Place.of(lines.span(0, 1))
        return {path: next(told[up] for up in _upwards(path) if up in told) for path in wanted}


def read_document(path: Path, name: str | None = None) -> ApiDocument:
    """Read a document; raises `UsageError` where no file is, `ManifestError` where it is none."""
    name = path.as_posix() if name is None else name
    return document_of(read_bytes(path, name, BOUNDS), name)


def document_of(raw: bytes, name: str) -> ApiDocument:
    """Return the document that the bytes are; raises `ManifestError` as `read_document`."""
    file = decoded(raw, name, BOUNDS)
    is_yaml = name.lower().endswith((".yaml", ".yml"))
    is_json = name.lower().endswith(".json") or (file.text.lstrip()[:1] == "{" and not is_yaml)
    root = None if is_json else read(file, BOUNDS)
    data = _from_json(file) if root is None else as_written(root)
    version = data.get("openapi") if isinstance(data, dict) else None
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        key = root.members.get("openapi") if isinstance(root, MappingNode) else None
        span = key.value.span if key else Span(file, 1, 1, 1, 2)
        _refuse("bad-value", "is no document of OpenAPI 3: `openapi` does not say so", span)
    return ApiDocument(file, data, root)


def _from_json(file: File) -> Any:
    """Parse JSON (RFC 8259), with its bounds and without keys that stand twice."""
    top = Span(file, 1, 1, 1, 2)
    try:
        data = json.loads(
            file.text, object_pairs_hook=_distinct, parse_constant=_no_number, parse_float=_number
        )
    except json.JSONDecodeError as error:
        span = _Lines(file).span(error.pos, error.pos + 1)
        _refuse("json-syntax", error.msg[:1].lower() + error.msg[1:], span)
    except RecursionError:
        _refuse("too-deep", f"nesting over {MAX_DEPTH} levels", top)
    except _TwiceError as error:
        seen: set[NodePath] = set()
        for path, start, end in _parts(file.text):
            if path in seen and path[-1:] == (error.key,):
                _refuse(
                    "duplicate-key", f"duplicate key `{error.key}`", _Lines(file).span(start, end)
                )
            seen.add(path)
        _refuse("duplicate-key", f"duplicate key `{error.key}`", top)
    except ValueError:  # `NaN`, or a number of thousands of digits
        _refuse("number-out-of-range", "a number that JSON has not, or that is too large", top)
    _measure(data, top)
    return data


class _TwiceError(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        raise _TwiceError(next(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]  # `add` gives None
    return made


def _no_number(text: str) -> NoReturn:
    raise ValueError(text)


def _number(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(text)
    return value


def _measure(data: Any, top: Span) -> None:
    """Refuse too many values, or values too deep, as the parser of YAML does while it reads."""
    level, depth, count = [data], 0, 1
    while level:
        inside: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inside += value.values()
            elif isinstance(value, list):
                inside += value
        level, depth, count = inside, depth + 1, count + len(inside)
        if depth > MAX_DEPTH:
            _refuse("too-deep", f"nesting over {MAX_DEPTH} levels", top)
        if count > BOUNDS.nodes:
            _refuse("too-many-nodes", f"more than {BOUNDS.nodes} values", top)


def _refuse(code: str, message: str, span: Span) -> NoReturn:
    raise_faults([Diagnostic(code, message, span)])
    raise AssertionError  # pragma: no cover


class _Lines:
    """The lines of a text, found once."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._starts = [0, *(found.end() for found in re.finditer(r"\r\n|\r|\n", file.text))]

    def span(self, start: int, end: int) -> Span:
        (line, column), (end_line, end_column) = self._at(start), self._at(end)
        return Span(self._file, line, column, end_line, end_column)

    def _at(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


def _upwards(path: NodePath) -> Iterator[NodePath]:
    """Yield a path and what it lies in: of what a side does not have, the nearest is told."""
    yield from (path[:end] for end in range(len(path), -1, -1))


def _parts(text: str) -> Iterator[tuple[NodePath, int, int]]:
    """Yield the path of each key and item of JSON that parses, with where it begins and ends."""
    path: list[str | int] = []
    is_object: list[bool] = []
    is_key = False  # whether the next string is one
    for found in _TOKEN.finditer(text):
        opens, closes, string, _ = found.groups()
        start, end = found.end() - len(found[0].lstrip(" \t\r\n,:")), found.end()
        if closes:
            is_object.pop()
            path.pop()
            is_key = bool(is_object) and is_object[-1]
            continue
        if is_object and is_object[-1] and is_key and string:
            path[-1] = json.loads(string) if "\\" in string else string[1:-1]
            is_key = False
            yield tuple(path), start, end
            continue
        if is_object and not is_object[-1]:
            path[-1] = int(path[-1]) + 1
            yield tuple(path), start, end
        if opens:
            is_object.append(opens == "{")
            path.append("" if opens == "{" else -1)
            is_key = opens == "{"
        else:
            is_key = bool(is_object) and is_object[-1]


def pointer(path: NodePath) -> str:
    """Write a path as a JSON pointer in a fragment (RFC 6901)."""
    steps = (str(step).replace("~", "~0").replace("/", "~1") for step in path)
    return "#/" + "/".join(steps) if path else "#"


def resolved(data: Mapping[str, Any], reference: str) -> tuple[Any, NodePath] | None:
    """Follow a reference inside of a document; None where it leads elsewhere or nowhere."""
    if not reference.startswith("#/") and reference != "#":
        return None
    text = unquote(reference) if "%" in reference else reference
    value: Any = data
    path: list[str | int] = []
    for word in text.split("/")[1:]:
        step = word.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping) and step in value:
            value = value[step]
            path.append(step)
        elif isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
            value = value[int(step)]
            path.append(int(step))
        else:
            return None
    return value, tuple(path)
