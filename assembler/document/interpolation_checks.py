"""The `${…}` of a document → what is wrong with them.

In: the merged tree, an environment, a settings object. Out: the texts that hold a reference, found
in one scan, and their faults. Refuses references that cannot be read, that stand where none is
resolved, that name no resource above, and variables and settings that are not there: all of them
at once.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.span import Note, Span
from assembler.diagnostics.suggest import did_you_mean
from assembler.document.interpolation import (
    STATE,
    Reference,
    is_empty,
    is_literal,
    is_sql,
    parse,
)
from assembler.document.nodes import MappingNode, Node, NodePath, ScalarNode, walk
from assembler.document.provenance import plain_of, text_of
from assembler.document.sections import inside

_FORMS = (
    "write `${NAME}`, `${NAME:-default}`, `${settings.field}` or `${resources.id}`; "
    "`$$` is a dollar sign"
)


_MOST_NAMED = 6
_PLACES = 9  # further places of one fault that are told


class Mention(NamedTuple):
    """A text with `${` in it, where it stands, and its parts; a key has no parts."""

    path: NodePath
    span: Span
    parts: tuple[str | Reference, ...]

    def references(self, *kinds: str) -> Iterator[tuple[Reference, Span]]:
        """Yield the references of these kinds that are resolved here, each with its place."""
        if is_literal(self.path):
            return
        for part, place in self.placed():
            if part.kind in kinds:
                yield part, place

    def placed(self) -> Iterator[tuple[Reference, Span]]:
        """Yield every reference with the place where its text first stands."""
        finder = _Finder(self.span)
        for part in self.parts:
            if isinstance(part, Reference):
                yield part, finder.place(part.text)


def mentions(root: MappingNode) -> list[Mention]:
    """Find every text with `${` in it outside SQL, in the order of the document."""
    found = []
    for path, node in walk(root):
        if isinstance(node, ScalarNode):
            if isinstance(node.value, str) and "${" in node.value and not is_sql(path):
                found.append(Mention(path, node.span, parse(node.value)))
        elif isinstance(node, MappingNode) and not is_sql(path):
            keys = [key for key in node.members if "${" in key]
            found += [Mention((*path, key), node.members[key].key, ()) for key in keys]
    return found


def check_syntax(found: Iterable[Mention]) -> Iterator[Diagnostic]:
    """Find references that cannot be read, or that stand where none is resolved."""
    for mention in found:
        path, span, parts = mention
        if not parts:
            message, remedy = "a key takes no reference", "write the key out"
            yield Diagnostic("misplaced-reference", message, span, help=remedy)
        elif is_literal(path) and any(isinstance(part, Reference) for part in parts):
            is_key = isinstance(path[-1], str)
            what = f"`{path[-1]}`" if is_key else f"an entry of `{path[-2]}`"
            message, remedy = f"{what} takes no reference", "write the value out"
            yield Diagnostic("misplaced-reference", message, span, help=remedy)
        else:
            for part, place in mention.placed():
                yield from _check_part(path, part, place, len(parts) == 1)


def check_resources(
    found: Iterable[Mention], section: Node | None, above: Collection[str] = ()
) -> Iterator[Diagnostic]:
    """Find references to what `section`, the resources, lacks or has below the one that asks.

    Those of `above` are there as well, before all of the section.
    """
    members = section.members if isinstance(section, MappingNode) else {}
    ranks = {name: rank for rank, name in enumerate([*above, *members])}
    told = 0
    for mention in found:
        path = mention.path
        owner = str(path[1]) if path[0] == "resources" and len(path) > 1 else None
        for reference, span in mention.references("resource"):
            name = reference.name
            if name not in ranks:
                message = f"no resource is called `{name}`"
                remedy = did_you_mean(name, ranks, told=told) or _resource_help(ranks)
                told += 1
                yield Diagnostic("unknown-resource", message, span, help=remedy)
            elif owner is not None and ranks[name] >= ranks[owner]:
                is_own = name == owner
                what = "itself" if is_own else f"`{name}`, which stands below it"
                message = f"resource `{owner}` names {what}"
                remedy = None if is_own else f"move `{name}` above `{owner}`"
                yield Diagnostic("resource-order", message, span, help=remedy)


def check_environment(
    found: Iterable[Mention], environment: Mapping[str, str]
) -> Iterator[Diagnostic]:
    """Find variables that are not set, or whose value is no text; each once, with all its places."""
    told: dict[str, list[tuple[Reference, Span]]] = {}
    for mention in found:
        for reference, span in mention.references("environment"):
            given = environment.get(reference.name)
            is_lacking = given is None or (reference.operator == "?" and not given)
            if reference.operator != "-" and (is_lacking or not _is_utf8(given)):
                told.setdefault(reference.name, []).append((reference, span))
    for name, places in told.items():
        yield _lacking(name, environment.get(name), places)


def _is_utf8(text: str | None) -> bool:
    return not text or text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)


def _lacking(name: str, given: str | None, places: list[tuple[Reference, Span]]) -> Diagnostic:
    first, *others = dict.fromkeys(span for _, span in places)
    notes = tuple(Note(span, "and here") for span in others[:_PLACES])
    more = len(others) - _PLACES
    trace = (f"and at {more} more places",) if more > 0 else ()
    if given:
        message = f"environment variable `{name}` is not UTF-8"
        return Diagnostic("bad-value", message, first, notes=notes, trace=trace)
    message = f"environment variable `{name}` {'is not set' if given is None else 'is empty'}"
    remedy: str | None = f"set it, or give a default: `${{{name}:-value}}`"
    for reference, _ in places:
        if reference.operator == "?":
            remedy = None  # its author wants no default
            why = reference.argument.replace("$$", "$")
            if why:
                message += f": {why}"
                break
    return Diagnostic("missing-variable", message, first, notes=notes, trace=trace, help=remedy)


def check_settings(found: Iterable[Mention], settings: Any) -> Iterator[Diagnostic]:
    """Find references to fields that the settings object does not have."""
    for mention in found:
        takes = "text"
        if len(mention.parts) == 1:
            takes = "objects" if _takes_objects(mention.path) else "data"
        for reference, span in mention.references("settings"):
            if settings is not None:
                yield from _check_field(settings, reference, span, takes)
                continue
            message = f"`{reference.text}` needs a `settings` class"
            remedy = "name one: `settings: myapp.settings.Settings`"
            yield Diagnostic("unknown-setting", message, span, help=remedy)


def _check_part(
    path: NodePath, part: Reference, place: Span, is_whole: bool
) -> Iterator[Diagnostic]:
    if part.kind == "bad":
        yield Diagnostic("bad-reference", part.argument, place, help=_FORMS)
    elif part.kind == "resource" and not is_whole:
        message = f"`{part.text}` is an object and cannot be part of a text"
        yield Diagnostic("bad-reference", message, place, help="let it be the whole value")
    elif part.kind == "resource" and not _takes_objects(path):
        where = f"`{path[-1]}`" if isinstance(path[-1], str) else "a list outside `with`"
        message = f"{where} takes no resource"
        remedy = "a resource may stand under `with`, in `database`, in `store` and in `app.state`"
        yield Diagnostic("misplaced-reference", message, place, help=remedy)


def _check_field(
    settings: Any, reference: Reference, span: Span, takes: str
) -> Iterator[Diagnostic]:
    """Find a field that is not there, or whose value cannot stand where the reference does."""
    value = settings
    for name in filter(None, reference.name.split(".")):
        try:
            value = getattr(value, name)
        except AttributeError:
            fields = getattr(type(value), "model_fields", getattr(value, "__dict__", ()))
            message = f"`{type(value).__name__}` has no field `{name}`"
            remedy = did_you_mean(name, fields)
            yield Diagnostic("unknown-setting", message, span, help=remedy)
            return
        except Exception as error:  # noqa: BLE001  # a property may raise anything
            message = f"`{name}` of the settings raised {type(error).__name__}"
            yield Diagnostic("bad-settings", message, span)
            return
    if reference.operator == "-" and is_empty(value):
        return
    try:
        if takes != "objects":
            text_of(value) if takes == "text" else plain_of(value)
    except TypeError as error:
        is_model = hasattr(type(value), "model_fields")
        remedy = f"name one of its fields: `${{{_named(reference)}.field}}`" if is_model else None
        yield Diagnostic("bad-value", f"`{reference.text}` {error}", span, help=remedy)


def _named(reference: Reference) -> str:
    return f"settings.{reference.name}" if reference.name else "settings"


def _takes_objects(path: NodePath) -> bool:
    path = inside(path)
    is_of_state = path[:2] == STATE and len(path) > 2
    return (
        is_of_state
        or "with" in path[:-1]
        or path == ("scheduler", "store")
        or path[2:] == ("database",)
    )


class _Finder:
    """Finds texts inside one scalar, in their order: each line is searched once.

    From the first that is not found (it has quoted escapes) the place is the whole scalar.
    """

    def __init__(self, span: Span) -> None:
        self.span = span
        self.line, self.start = span.line, span.column - 1
        self.places: dict[str, Span] = {}

    def place(self, text: str) -> Span:
        if text not in self.places:
            self.places[text] = self._next(text)
        return self.places[text]

    def _next(self, text: str) -> Span:
        span = self.span
        lines = span.file.lines
        while self.line <= min(span.end_line, len(lines)):
            end = span.end_column - 1 if self.line == span.end_line else len(lines[self.line - 1])
            column = lines[self.line - 1].find(text, self.start, end)
            if column >= 0:
                self.start = column + len(text)
                return Span(span.file, self.line, column + 1, self.line, self.start + 1)
            self.line, self.start = self.line + 1, 0
        return span


def _resource_help(ids: Collection[str]) -> str | None:
    if not 0 < len(ids) <= _MOST_NAMED:
        return None
    names = ", ".join(f"`{name}`" for name in ids)
    return f"there {'are' if len(ids) > 1 else 'is'} {names}"
