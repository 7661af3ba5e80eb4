"""`${…}` in a document's values → marked data.

In: a tree, an environment, a settings object. Out: plain data in which every leaf that a reference
made carries its mark (see `provenance`), and the secrets it brought. References are resolved in the
tree, after parsing, so that no value can change the structure. `interpolation_checks` tells before
what is wrong with them.
"""

import re
from collections.abc import Iterator, Mapping, Sized
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from assembler.diagnostics.secrets import Secrets, url_secrets
from assembler.document.nodes import MappingNode, Node, NodePath, SequenceNode
from assembler.document.provenance import (
    Held,
    ResourceRef,
    Text,
    Unknown,
    is_secret,
    marked,
    plain_of,
    text_of,
)
from assembler.document.sections import ENTRY_PATHS, inside, list_at

_BODY = re.compile(
    r"(?P<object>settings|resources)\.(?P<path>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)"
    r"(?::(?P<fall>[-?])(?P<back>.*))?\Z"
    r"|(?P<whole>settings)(?::[-?].*)?\Z"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::(?P<operator>[-?])(?P<argument>.*))?\Z",
    re.ASCII | re.DOTALL,
)
_TOKEN = re.compile(r"\$\$|\$\{")
_BRACE = re.compile(r"[{}]")
_SHOWN = 60  # characters of what cannot be read that a message repeats
_PATHS_BY_NAME = {
    *("use", "id", "catch", "mount", "extends", "on_degraded"),
    *("default_response_class", "generate_unique_id_function", "webhooks"),
}
_OF_ROUTES = {"host", "path", "methods", "name", "frontend", "manifest"}
_PATHS_IN_LISTS = {"dependencies", "callbacks"}


STATE = ("app", "state")
"""Where a mapping stands that takes objects, as one under `with` does."""


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
    why; after one that is not closed the rest is literal. It ends at the brace that closes its own,
    so that a default may be JSON, or at the first one where the braces in it have no balance.
    Without any reference the result is one string, or none for an empty text.
    """
    parts: list[str | Reference] = []
    literal, at = "", 0
    ends = _closings(text) if "${" in text else {}
    for match in _TOKEN.finditer(text):
        start = match.start()
        if start < at:  # inside the last reference
            continue
        literal += text[at:start]
        at = match.end()
        if match[0] == "$$":
            literal += "$"
            continue
        if literal:
            parts.append(literal)
        literal = ""
        end = ends.get(start + 1, -1)
        if end < 0:
            end = text.find("}", at)
        if end < 0:  # nor is any after it
            parts.append(Reference("bad", "", "${", argument="`${` is not closed"))
            literal, at = text[at:].replace("$$", "$"), len(text)
            break
        parts.append(_reference(text[start : end + 1], text[at:end]))
        at = end + 1
    literal += text[at:]
    return (*parts, literal) if literal else tuple(parts)


def _closings(text: str) -> dict[int, int]:
    """Return where each brace that has one is closed."""
    ends: dict[int, int] = {}
    waiting: list[int] = []
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            waiting.append(match.start())
        elif waiting:
            ends[waiting.pop()] = match.start()
    return ends


@dataclass(frozen=True, slots=True)
class Resolver:
    """Where references get their values: None for the environment leaves them `Unknown`."""

    environment: Mapping[str, str] | None
    settings: Any
    secrets: Secrets

    def data(self, node: Node, path: NodePath = ()) -> Any:
        """Return the node's plain data, every reference resolved; faults were found before."""
        if isinstance(node, MappingNode):
            members = node.members.items()
            return {key: self.data(member.value, (*path, key)) for key, member in members}
        if isinstance(node, SequenceNode):
            return [self.data(item, (*path, index)) for index, item in enumerate(node.items)]
        value = node.value
        if not isinstance(value, str) or "$" not in value or is_literal(path):
            return value
        return self.text(value)

    def outline(self, node: Node, path: NodePath = ()) -> Any:
        """Return what tells the shape: every `with` is empty, and a resource is `Unknown`."""
        if isinstance(node, MappingNode):
            if path and (path[-1] == "with" or path == STATE):
                return {}
            members = node.members.items()
            return {key: self.outline(member.value, (*path, key)) for key, member in members}
        if isinstance(node, SequenceNode):
            return [self.outline(item, (*path, index)) for index, item in enumerate(node.items)]
        if not isinstance(node.value, str) or "$" not in node.value:
            return node.value
        value = self.data(node, path)
        if isinstance(value, Held):  # the format itself takes no objects
            return marked(plain_of(value.value), value.shown)
        return Unknown(value.shown) if isinstance(value, ResourceRef) else value

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
        texts = [part if isinstance(part, str) else text_of(self.value(part)) for part in parts]
        return Text("".join(texts), value)

    def held(self, reference: Reference) -> Any:
        """Return a settings field: plain data with its text marked, or an object that is held."""
        value = self.value(reference)
        if isinstance(value, Enum):
            with suppress(TypeError):
                value = plain_of(value)
        return marked(value, reference.text) if _is_plain(value) else Held(value, reference.text)

    def value(self, reference: Reference) -> Any:
        """Return what a variable or a setting holds, and keep it and its parts as secrets."""
        value: Any = ""
        if reference.kind == "settings":
            value = _field(self.settings, reference.name)
        elif self.environment is not None:
            value = self.environment.get(reference.name, "")
        if reference.operator == "-" and is_empty(value):
            return reference.argument.replace("$$", "$")
        for secret in _secrets_in(value):
            self.secrets.add(secret, reference.text)
        return value


def is_empty(value: Any) -> bool:
    """Tell whether a default stands for `value`: null, or a text, list or mapping without content."""
    return value is None or (isinstance(value, Sized) and len(value) == 0)


def is_literal(path: NodePath) -> bool:
    """Tell whether the value at `path` is read as it stands: paths of code, ids, SQL."""
    path = inside(path)
    if not path or "with" in path[:-1] or (path[0] == "logging" and len(path) > 1):
        return False
    if path[:2] == STATE:
        return len(path) == 2
    if is_sql(path) or _is_structure(path) or path == ("scheduler", "context"):
        return True
    if path[0] == "routes" and path[2:3] and path[2] in _OF_ROUTES:
        return True
    if path[-1] == "model" and path[-3:-2] == ("responses",):
        return True
    return path[-1] in _PATHS_BY_NAME or (len(path) > 1 and path[-2] in _PATHS_IN_LISTS)


def is_sql(path: NodePath) -> bool:
    """Tell whether `path` leads to or into SQL, which is taken as it stands."""
    path = inside(path)
    return path[:1] == ("startup",) and len(path) > 2 and path[2] == "sql"


def _field(settings: Any, path: str) -> Any:
    """Return `settings.path.to.field`, or all; raises `AttributeError` where a part is missing."""
    for name in filter(None, path.split(".")):
        settings = getattr(settings, name)
    return settings


def _reference(text: str, body: str) -> Reference:
    if "${" in body.replace("$$", ""):
        return Reference("bad", "", text, argument="references do not nest")
    match = _BODY.match(body)
    if match is None:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
        return Reference("bad", "", text, argument=f"`{shown}` is no reference")
    if match["whole"]:
        if body == "settings":
            return Reference("settings", "", text)
        return Reference(
            "bad", "", text, argument="the settings are an object, and take no default"
        )
    if match["object"]:
        kind: Literal["settings", "resource"] = (
            "settings" if match["object"] == "settings" else "resource"
        )
        if kind == "resource" and "." in match["path"]:
            return Reference("bad", "", text, argument="a resource has no path: `${resources.id}`")
        if match["fall"] == "?" or (match["fall"] and kind == "resource"):
            shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
            return Reference("bad", "", text, argument=f"`{shown}` is no reference")
        return Reference(kind, match["path"], text, match["fall"], match["back"] or "")
    return Reference("environment", match["name"], text, match["operator"], match["argument"] or "")


def _is_structure(path: NodePath) -> bool:
    """Tell whether a section, an entry or a `with` stands there: no value may bring a structure."""
    if len(path) == 1 or path[-1] in {"with", "dependencies", "callbacks"}:
        return True
    if list_at(path) or list_at(path[:-1]):
        return True
    if path in ENTRY_PATHS or path[:-1] in ENTRY_PATHS:
        return True
    return len(path) == 2 and isinstance(path[1], int)


def _secrets_in(value: Any, *, is_inside: bool = False) -> Iterator[str]:
    """Yield a text and the passwords in it; of what a list or mapping holds, secrets alone."""
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _secrets_in(item, is_inside=True)
        return
    if hasattr(type(value), "model_fields"):
        for item in vars(value).values():
            yield from _secrets_in(item, is_inside=True)
        return
    try:
        text = text_of(value)
    except TypeError:
        return
    if is_secret(value) or (isinstance(value, str) and not is_inside):
        yield text
    yield from url_secrets(text)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(_is_plain(item) for item in value)
    return value is None or type(value) in (str, int, float, bool)
