"""Merged tree → `Manifest`.

In: the tree, and a resolver for its references. Out: the models of `manifest`, every entry with its
id. Refuses unknown and missing keys and values of the wrong type, all at once, each at its place.
Knows no user code.
"""

import json
import re
from collections.abc import Iterator
from datetime import date
from keyword import iskeyword
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.span import Span
from assembler.diagnostics.suggest import did_you_mean
from assembler.document.interpolation import Resolver
from assembler.document.nodes import MappingNode, Node, NodePath, ScalarNode, locate
from assembler.document.sections import ENTRY_LISTS, SCOPED, SECTIONS, entry_id
from assembler.manifest import Manifest
from assembler.manifest.app import other_word
from assembler.manifest.coerce import convert
from assembler.manifest.section import Section

_ADAPTER: TypeAdapter[Manifest] = TypeAdapter(Manifest)
_UNIONS = {Union, UnionType}


def read_manifest(
    root: MappingNode, resolver: Resolver
) -> tuple[Manifest | None, list[Diagnostic]]:
    """Return the manifest of a merged tree, or None with every fault of its shape.

    Where the resolver knows no environment, a value that only the environment tells is a sample of
    its type: good for judging the rest, and for nothing else.
    """
    value, faults = convert(_ADAPTER, _prepared(root, resolver), sample=_sample)
    found = [
        _diagnostic(root, fault.path, fault.kind, fault.reason, told)
        for told, fault in enumerate(faults)
    ]
    found += _resource_ids(root)
    return (None if found else value), found


def _prepared(root: MappingNode, resolver: Resolver) -> dict[str, Any]:
    """Return the data, every entry with its id, without the sections and `with` that are empty."""
    data: dict[str, Any] = resolver.outline(root)
    for name in SECTIONS & data.keys():
        if data[name] is None:
            del data[name]
    app = data.get("app")
    if isinstance(app, dict) and app.get("state", ()) is None:
        del app["state"]
    scheduler = data.get("scheduler")
    if isinstance(scheduler, dict) and scheduler.get("jobs", ()) is None:
        del scheduler["jobs"]
    for entry, called in _entries(root, data):
        if entry.get("with", ()) is None:
            del entry["with"]
        if called is not None:
            entry.setdefault("id", called)
    return data


def _entries(
    root: MappingNode, data: dict[str, Any]
) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Yield the data of each entry, with what it is called."""
    for path in ENTRY_LISTS:
        node, _ = locate(root, path)
        section: Any = data
        for key in path:
            section = section.get(key) if isinstance(section, dict) else None
        for index, entry in enumerate(section if isinstance(section, list) else ()):
            if isinstance(entry, dict):
                yield entry, entry_id(path, locate(node, (index,))[0])
    yield from _scoped(root, data)
    resources = data.get("resources")
    for name, entry in (resources if isinstance(resources, dict) else {}).items():
        if isinstance(entry, dict):
            yield entry, name


def _scoped(root: MappingNode, data: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Yield the entries that routes have of their own; a list without a value is an empty one."""
    routes = data.get("routes")
    for index, route in enumerate(routes if isinstance(routes, list) else ()):
        for key in SCOPED if isinstance(route, dict) else ():
            if route.get(key, ()) is None:
                del route[key]
            found = route.get(key)
            path: NodePath = ("routes", index, key)
            for at, entry in enumerate(found if isinstance(found, list) else ()):
                if isinstance(entry, dict):
                    yield entry, entry_id(path, locate(root, (*path, at))[0])


def _diagnostic(root: MappingNode, path: NodePath, kind: str, reason: str, told: int) -> Diagnostic:
    node, key = locate(root, path)
    if kind == "unknown":
        known = _keys_of(path)
        place = (
            node.members[reason].key
            if isinstance(node, MappingNode) and reason in node.members
            else node.span
        )
        where = f"`{path[-1]}`" if path and isinstance(path[-1], str) else _entry_of(path)
        return Diagnostic(
            "unknown-key",
            f"{where} has no key `{reason}`",
            place,
            "unknown key",
            help=did_you_mean(reason, known, told=told)
            or (None if path else other_word(reason, in_app=False)),
        )
    if kind == "missing":
        where = "the manifest" if not path else _entry_of(path)
        remedy = "add `manifest: 1`" if reason == "manifest" and not path else None
        place = key or _first_line(node)
        return Diagnostic("missing-key", f"{where} lacks the key `{reason}`", place, help=remedy)
    subject = f"`{path[-1]}`" if path and isinstance(path[-1], str) else _entry_of(path)
    message = f"{subject} {reason}" if reason.startswith(("must ", "takes ")) else reason
    place = _blamed(node, reason) if isinstance(node, MappingNode) else node.span
    remedy = quoting_help(node, reason) or _path_help(node, reason, path)
    return Diagnostic("bad-value", message, place, help=remedy)


def arms(kind: Any) -> Iterator[Any]:
    """Yield the types that a value may have, without what is said about them."""
    if get_origin(kind) is Annotated:
        yield from arms(get_args(kind)[0])
    elif get_origin(kind) in _UNIONS:
        for arm in get_args(kind):
            yield from arms(arm)
    else:
        yield kind


def quoting_help(node: Node, reason: str) -> str | None:
    """Return the remedy where a number stands for a string, or one string for a list."""
    if not isinstance(node, ScalarNode) or node.span.line != node.span.end_line:
        return None
    if reason.startswith("must be a list,") and isinstance(node.value, str):
        return f"write it as [{json.dumps(node.value, ensure_ascii=False)}]"
    is_text_wanted = reason.startswith("must be a string") and " or " not in reason
    if is_text_wanted and node.value is not None and not isinstance(node.value, str):
        span = node.span
        written = span.file.lines[span.line - 1][span.column - 1 : span.end_column - 1]
        return f'write it as "{written}"'
    return None


def _path_help(node: Node, reason: str, path: NodePath) -> str | None:
    """Return the remedy where a URL path begins or ends otherwise than one does."""
    if "must start with `/`" not in reason or not isinstance(node, ScalarNode):
        return None
    meant = str(node.value).strip("/")
    if meant:
        return f"write `/{meant}`"
    return "leave it out" if path[-1] in {"prefix", "root_path"} else None


def _blamed(node: MappingNode, reason: str) -> Span:
    """Return the place of the key that a reason about an entry is about, or its first line."""
    named = [name for name in re.findall(r"`(\w+)`", reason) if name in node.members]
    if named and reason.startswith("`"):
        return node.members[named[0]].key
    if "either" in reason and len(named) > 1:  # the later one, which an overlay may have brought
        return node.members[max(named, key=list(node.members).index)].key
    return _first_line(node)


def _first_line(node: Node) -> Span:
    span = node.span
    if span.end_line == span.line:
        return span
    return span._replace(end_line=span.line, end_column=len(span.file.lines[span.line - 1]) + 1)


def _entry_of(path: NodePath) -> str:
    names = [segment for segment in path if isinstance(segment, str)]
    return (
        f"an entry of `{names[-1]}`"
        if names and path and isinstance(path[-1], int)
        else (f"`{names[-1]}`" if names else "the manifest")
    )


def _keys_of(path: NodePath) -> list[str]:
    """List the keys that the format has at `path`."""
    models = [arm for arm in arms(_type_at(path)) if _is_model(arm)]
    return [key for model in models for key in _by_key(model)]


def _type_at(path: NodePath) -> Any:
    """Return the type of the format at `path`: `Any` where it leaves that open."""
    found: Any = Manifest
    for segment in path:
        found = next((inner for arm in arms(found) for inner in _inside(arm, segment)), Any)
    return found


def _inside(kind: Any, segment: str | int) -> Iterator[Any]:
    if _is_model(kind):
        if segment in _by_key(kind):
            yield _type_of(_by_key(kind)[str(segment)])
    elif get_origin(kind) in {list, dict}:
        yield get_args(kind)[-1]


def _sample(path: NodePath, value: Any) -> Any:
    """Return what the type at `path` takes, or `value` itself where nothing else would do."""
    return _sample_of(_type_at(path), value)


def _sample_of(kind: Any, value: Any) -> Any:
    """Return the first example that the type carries, or what its form says."""
    if date in arms(kind):
        return "2000-01-01"  # what ends on a day that nobody knows has ended
    for said in getattr(kind, "__metadata__", ()):
        schema = getattr(said, "json_schema", {})
        examples = getattr(said, "examples", None) or schema.get("examples", ())
        for example in examples:  # one that is a reference says that only a written one would do
            return value if "${" in str(example) else example
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {Annotated, *_UNIONS}:
        return _sample_of(arguments[0], value)
    if origin is Literal:
        return arguments[0]
    if _is_model(kind):
        fields = _by_key(kind).items()
        return {
            key: _sample_of(_type_of(field), value) for key, field in fields if field.is_required()
        }
    return {list: [], dict: {}, bool: False, int: 1}.get(origin or kind, value)


def _type_of(field: FieldInfo) -> Any:
    """Return the type of a field with all that is said about it."""
    return Annotated[(field.annotation, field, *field.metadata)]


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _by_key(model: type[Section]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _resource_ids(root: MappingNode) -> list[Diagnostic]:
    section = root.get("resources")
    if not isinstance(section, MappingNode):
        return []
    return [
        Diagnostic(
            "bad-value",
            f"resource id `{name}` is no Python identifier",
            member.key,
            help=_identifier_help(name),
        )
        for name, member in section.members.items()
        if not name.isidentifier() or iskeyword(name)
    ]


def _identifier_help(name: str) -> str | None:
    meant = re.sub(r"\W", "_", name)
    return f"write `{meant}`" if meant != name and meant.isidentifier() else None
