"""`${…}` in a document's values → marked data.

In: the merged tree, an environment, a settings object. Out: plain data in which every leaf that a
reference made carries its mark (see `values`), and the list of secrets it brought. References are
resolved in the tree, after parsing, so that no value can change the structure.

Refuses references that cannot be read, that stand where none is resolved, that name no resource
above, and variables and settings that are not there: all of them at once.
"""

import re
from collections.abc import Iterator
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from typing import Any, Literal

from assembler.errors import Diagnostic, Span, did_you_mean
from assembler.redaction import Secrets, url_secrets
from assembler.source import Mapping, Node, Scalar, Sequence, walk
from assembler.values import Held, ResourceRef, Text, Unknown

_BODY = re.compile(
    r"(?P<object>settings|resources)\.(?P<path>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)\Z"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<operator>[-?])(?P<argument>.*))?\Z",
    re.ASCII | re.DOTALL,
)
_TOKEN = re.compile(r"\$\$|\$\{(?P<body>[^}]*)\}|\$\{", re.DOTALL)
_PATHS_BY_NAME = {"use", "id", "catch", "mount", "extends"}
_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """One `${…}`: what it names, and the text it is written as."""

    kind: Literal["environment", "settings", "resource", "bad"]
    name: str
    text: str
    operator: str | None = None
    argument: str = ""


def parse(text: str) -> tuple[str | Reference, ...]:
    """Split `text` at its references; `$$` becomes `$`, a `$` before anything else stays.

    What starts with `${` and cannot be read is a `Reference` of kind `bad`, whose `argument` says
    why. Without any reference the result is one string, or none for an empty text.
    """
    parts: list[str | Reference] = []
    literal, at = "", 0
    for match in _TOKEN.finditer(text):
        literal += text[at : match.start()]
        at = match.end()
        if match[0] == "$$":
            literal += "$"
            continue
        if literal:
            parts.append(literal)
        literal = ""
        parts.append(_reference(match[0], match["body"]))
    literal += text[at:]
    return (*parts, literal) if literal else tuple(parts)


@dataclass(frozen=True, slots=True)
class Resolver:
    """Where references get their values: None for the environment leaves them `Unknown`."""

    environment: MappingType[str, str] | None
    settings: Any
    secrets: Secrets

    def data(self, node: Node, path: _Path = ()) -> Any:
        """Return the node's plain data, every reference resolved; faults were found before."""
        if isinstance(node, Mapping):
            return {
                key: self.data(member.value, (*path, key)) for key, member in node.members.items()
            }
        if isinstance(node, Sequence):
            return [self.data(item, (*path, index)) for index, item in enumerate(node.items)]
        value = node.value
        if not isinstance(value, str) or "$" not in value or _is_literal(path):
            return value
        return self.text(value)

    def text(self, value: str) -> Any:
        """Resolve the references of one string."""
        parts = parse(value)
        references = [part for part in parts if isinstance(part, Reference)]
        if not references:
            return "".join(part for part in parts if isinstance(part, str))
        if len(parts) == 1 and references[0].kind == "resource":
            return ResourceRef(references[0].name)
        if self.environment is None:
            return Unknown(value)
        if len(parts) == 1 and references[0].kind == "settings":
            return self.held(references[0])
        shown = value
        return Text(
            "".join(part if isinstance(part, str) else self.joined(part) for part in parts), shown
        )

    def held(self, reference: Reference) -> Any:
        """Return a settings field: text is marked, other plain data stays, objects are held."""
        value = field_of(self.settings, reference.name)
        self.remember(value, reference.text)
        if isinstance(value, str):
            return Text(value, reference.text)
        return value if _is_plain(value) else Held(value, reference.text)

    def joined(self, reference: Reference) -> str:
        """Return the text that one reference stands for inside a longer string."""
        if reference.kind == "settings":
            value = field_of(self.settings, reference.name)
            self.remember(value, reference.text)
            reveal = getattr(value, "get_secret_value", None)
            return str(reveal() if callable(reveal) else value)
        given = (self.environment or {}).get(reference.name)
        if reference.operator == "-" and not given:
            return reference.argument.replace("$$", "$")
        self.remember(given or "", reference.text)
        return given or ""

    def remember(self, value: Any, shown: str) -> None:
        """Keep what must not be shown: text, secrets, and passwords inside URLs."""
        reveal = getattr(value, "get_secret_value", None)
        text = str(reveal()) if callable(reveal) else value
        if isinstance(text, str):
            self.secrets.add(text, shown)
            for part in url_secrets(text):
                self.secrets.add(part, shown)


def check_syntax(root: Mapping) -> Iterator[Diagnostic]:
    """Find references that cannot be read, or that stand where none is resolved."""
    for path, node in walk(root):
        if _is_sql(path):
            continue
        if isinstance(node, Mapping):
            for key, member in node.members.items():
                if "${" in key:
                    yield Diagnostic(
                        "misplaced-reference",
                        "a key takes no reference",
                        member.key,
                        help="write the key out",
                    )
        elif isinstance(node, Scalar) and isinstance(node.value, str) and "${" in node.value:
            yield from _check_scalar(path, node)


def check_resources(root: Mapping) -> Iterator[Diagnostic]:
    """Find references to resources that do not exist, or that stand below the one that asks."""
    section = root.get("resources")
    ids = list(section.members) if isinstance(section, Mapping) else []
    for path, node in walk(root):
        for reference, span in _references(path, node):
            if reference.kind != "resource":
                continue
            owner = path[1] if path[:1] == ("resources",) and len(path) > 1 else None
            if reference.name not in ids:
                yield Diagnostic(
                    "unknown-resource",
                    f"no resource is called `{reference.name}`",
                    span,
                    help=did_you_mean(reference.name, ids) or _resource_help(ids),
                )
            elif owner is not None and ids.index(reference.name) >= ids.index(str(owner)):
                is_own = reference.name == owner
                what = "itself" if is_own else f"`{reference.name}`, which stands below it"
                message = f"resource `{owner}` names {what}"
                remedy = None if is_own else f"move `{reference.name}` above `{owner}`"
                yield Diagnostic("resource-order", message, span, help=remedy)


def check_environment(root: Mapping, environment: MappingType[str, str]) -> Iterator[Diagnostic]:
    """Find variables that are not set, or whose value is no text."""
    for path, node in walk(root):
        for reference, span in _references(path, node):
            if reference.kind != "environment" or reference.operator == "-":
                continue
            given = environment.get(reference.name)
            if given is None or (reference.operator == "?" and not given):
                what = "is not set" if given is None else "is empty"
                message = f"environment variable `{reference.name}` {what}"
                remedy: str | None = f"set it, or give a default: `${{{reference.name}:-value}}`"
                if reference.operator == "?":
                    remedy = None  # its author wants no default
                    why = reference.argument.replace("$$", "$")
                    message += f": {why}" if why else ""
                yield Diagnostic("missing-variable", message, span, help=remedy)
            elif not given.isascii() and any("\ud800" <= char <= "\udfff" for char in given):
                message = f"environment variable `{reference.name}` is not UTF-8"
                yield Diagnostic("bad-value", message, span)


def check_settings(root: Mapping, settings: Any) -> Iterator[Diagnostic]:
    """Find references to fields that the settings object does not have."""
    for path, node in walk(root):
        for reference, span in _references(path, node):
            if reference.kind != "settings":
                continue
            if settings is None:
                message = f"`{reference.text}` needs a `settings` class"
                yield Diagnostic(
                    "unknown-setting",
                    message,
                    span,
                    help="name one: `settings: myapp.settings.Settings`",
                )
                continue
            value = settings
            for name in reference.name.split("."):
                try:
                    value = getattr(value, name)
                except AttributeError:
                    fields = getattr(type(value), "model_fields", getattr(value, "__dict__", ()))
                    message = f"`{type(value).__name__}` has no field `{name}`"
                    remedy = did_you_mean(name, fields)
                    yield Diagnostic("unknown-setting", message, span, help=remedy)
                    break
                except Exception as error:  # noqa: BLE001  # a property may raise anything
                    message = f"`{name}` of the settings raised {type(error).__name__}"
                    yield Diagnostic("bad-settings", message, span)
                    break


def field_of(settings: Any, path: str) -> Any:
    """Return `settings.path.to.field`; raises `AttributeError` where a part is missing."""
    for name in path.split("."):
        settings = getattr(settings, name)
    return settings


def _reference(text: str, body: str | None) -> Reference:
    if body is None:
        return Reference("bad", "", text, argument="`${` is not closed")
    if "${" in body:
        return Reference("bad", "", text, argument="references do not nest")
    match = _BODY.match(body)
    if match is None:
        return Reference("bad", "", text, argument=f"`{text}` is no reference")
    if match["object"]:
        kind: Literal["settings", "resource"] = (
            "settings" if match["object"] == "settings" else "resource"
        )
        if kind == "resource" and "." in match["path"]:
            return Reference("bad", "", text, argument="a resource has no path: `${resources.id}`")
        return Reference(kind, match["path"], text)
    return Reference("environment", match["name"], text, match["operator"], match["argument"] or "")


def _references(path: _Path, node: Node) -> Iterator[tuple[Reference, Span]]:
    if (
        isinstance(node, Scalar)
        and isinstance(node.value, str)
        and "${" in node.value
        and not _is_literal(path)
    ):
        for part in parse(node.value):
            if isinstance(part, Reference):
                yield part, _place(node.span, part.text)


def _check_scalar(path: _Path, node: Scalar) -> Iterator[Diagnostic]:
    parts = parse(str(node.value))
    references = [part for part in parts if isinstance(part, Reference)]
    if references and _is_literal(path):
        message = (
            f"`{path[-1]}` takes no reference"
            if isinstance(path[-1], str)
            else f"an entry of `{path[-2]}` takes no reference"
        )
        yield Diagnostic("misplaced-reference", message, node.span, help="write the value out")
        return
    for reference in references:
        place = _place(node.span, reference.text)
        if reference.kind == "bad":
            known = "write `${NAME}`, `${NAME:-default}`, `${settings.field}` or `${resources.id}`; `$$` is a dollar sign"
            yield Diagnostic("bad-reference", reference.argument, place, help=known)
        elif reference.kind == "resource" and len(parts) > 1:
            message = f"`{reference.text}` is an object and cannot be part of a text"
            yield Diagnostic("bad-reference", message, place, help="let it be the whole value")
        elif reference.kind == "resource" and not _takes_objects(path):
            where = f"`{path[-1]}`" if isinstance(path[-1], str) else "a list outside `with`"
            message = f"{where} takes no resource"
            remedy = "a resource may stand under `with`, in `database` and in `store`"
            yield Diagnostic("misplaced-reference", message, place, help=remedy)


def _takes_objects(path: _Path) -> bool:
    return "with" in path[:-1] or path == ("scheduler", "store") or path[2:] == ("database",)


def _is_sql(path: _Path) -> bool:
    return path[:1] == ("startup",) and len(path) > 2 and path[2] == "sql"


def _is_literal(path: _Path) -> bool:
    """Tell whether the value at `path` is read as it stands: paths of code, ids, SQL."""
    if not path or "with" in path[:-1] or (path[0] == "logging" and len(path) > 1):
        return False
    if _is_sql(path) or _is_structure(path):
        return True
    return path[-1] in _PATHS_BY_NAME or (len(path) > 1 and path[-2] == "dependencies")


def _is_structure(path: _Path) -> bool:
    """Tell whether a section, an entry or a `with` stands there: no value may bring a structure."""
    if len(path) == 1 or path[-1] in {"with", "dependencies"}:
        return True
    if path[:2] == ("scheduler", "jobs"):
        return len(path) < 4
    return len(path) == 2 and (path[0] == "resources" or isinstance(path[1], int))


def _place(span: Span, text: str) -> Span:
    """Find a reference inside the scalar that holds it; quoted escapes fall back to the whole."""
    for line in range(span.line, span.end_line + 1):
        if line > len(span.file.lines):
            break
        start = span.column - 1 if line == span.line else 0
        column = span.file.lines[line - 1].find(text, start)
        if column >= 0 and (line < span.end_line or column < span.end_column):
            return Span(span.file, line, column + 1, line, column + 1 + len(text))
    return span


def _resource_help(ids: list[str]) -> str | None:
    names = ", ".join(f"`{name}`" for name in ids)
    return f"there {'are' if len(ids) > 1 else 'is'} {names}" if 0 < len(ids) <= 6 else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return value is None or type(value) in (str, int, float, bool)
