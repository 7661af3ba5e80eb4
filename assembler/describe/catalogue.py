"""Packages → what of them may stand in a manifest, with all that a user asks about it.

In: a reader of sources, the packages that a manifest may import, and the manifests that there are.
Out: one `CatalogueItem` for each class or function: its summary, options, the extra that it needs, where it is
used. Nothing is imported: the signature, its annotations and the docstring say everything, and they
are what `schema` and `check` read, too.
"""

import ast
import datetime as dt
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from math import prod
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from assembler.document.nodes import MappingNode, as_written, locate
from assembler.manifest import Manifest
from assembler.manifest.duration import duration_text
from assembler.manifest.sections import ENTRY_MODELS, entries_of
from assembler.plan.allow_list import ImportFault
from assembler.plan.extras import extra_of
from assembler.plan.signature import Parameter
from assembler.plan.static import SourceReader
from assembler.plan.static.documentation import Page
from assembler.plan.static.hints import Limits
from assembler.plan.static.looseness import UNTOLD, OptionFacts

_GIVEN = {"middleware": {"app"}, "configure": {"app"}, "scheduler.jobs": {"job"}}
_WORDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_LIKE = 0.8  # how like a word must be to one of the query that stands nowhere


@dataclass(frozen=True, slots=True)
class Use:
    """Where a manifest names something: `place` is `file:line`, `given` the options as written."""

    place: str
    section: str
    id: str
    given: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Option:
    """One option, as its annotation and its `Field` say it; `default` is text, None where none shows."""

    name: str
    type: str
    required: bool
    default: str | None
    range: str
    description: str
    looser: str | None
    fields: "tuple[Option, ...]" = ()
    objects: tuple[str, ...] = ()  # the classes of the objects that it takes, as `module:line Name`

    def as_dict(self) -> dict[str, Any]:
        """Return what programs read."""
        return {
            "name": self.name,
            "type": self.type,
            "required": self.required,
            "default": self.default,
            "range": self.range or None,
            "description": self.description or None,
            "looser": self.looser,
            "fields": [each.as_dict() for each in self.fields],
        }


@dataclass(frozen=True, slots=True)
class CatalogueItem:
    """One class or function that a manifest may name in `sections`."""

    path: str
    sections: tuple[str, ...]
    doc: str
    place: str
    role: str | None
    options: tuple[Option, ...]
    extra: str | None
    about: str  # what its module says
    uses: tuple[Use, ...] = ()
    gives: tuple[str, ...] = ()  # the places of the class that it is or returns, and of its bases
    is_router: bool = False
    is_endpoint: bool = False  # an async function, which in `routes` answers itself

    @property
    def summary(self) -> str:
        """The first sentence of the docstring, or of the module's."""
        first = (self.doc or self.about).partition("\n\n")[0]
        return " ".join(first.split()).rstrip(".")

    @property
    def required(self) -> tuple[str, ...]:
        """The options that must be given."""
        return tuple(option.name for option in self.options if option.required)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the docstring names after `Metrics:`."""
        said = re.search(r"^\s*Metrics:((?:.+\n?)+)", self.doc, re.MULTILINE)
        return tuple(re.findall(r"`(\w+)`", said[1])) if said else ()

    def as_dict(self) -> dict[str, Any]:
        """Return what programs read."""
        return {
            "path": self.path,
            "sections": list(self.sections),
            "summary": self.summary,
            "description": self.doc,
            "defined": self.place,
            "role": self.role,
            "extra": self.extra,
            "options": [option.as_dict() for option in self.options],
            "metrics": list(self.metrics),
            "used": [{"at": use.place, "section": use.section, "id": use.id} for use in self.uses],
        }


def uses_of(document: Any, manifest: Manifest) -> Iterator[tuple[str, Use]]:
    """Yield what the entries of a manifest name, and where."""
    for section in ENTRY_MODELS:
        for path, entry in entries_of(manifest, section):
            if entry.use is None:
                continue
            node, _ = locate(document.root, path)
            use = node.get("use") if isinstance(node, MappingNode) else node
            span = (use or node).span
            place = f"{span.file.name}:{span.line}"
            options = node.get("with") if isinstance(node, MappingNode) else None
            given = as_written(options) if isinstance(options, MappingNode) else {}
            yield entry.use.replace(":", "."), Use(place, section, str(entry.id or path[-1]), given)


def catalogue(
    reader: SourceReader, packages: Iterable[str], uses: Mapping[str, Sequence[Use]]
) -> list[CatalogueItem]:
    """Return what may stand in a manifest, section by section, by name.

    `uses` is what manifests name, by path: that is listed, whatever its form.
    """
    found: dict[str, CatalogueItem] = {}
    for package in packages:
        here = {
            path: _item(reader, path, page, uses.get(path, ()))
            for path, page in reader.pages(package).items()
        }
        describes = any(option.description for item in here.values() for option in item.options)
        found |= {
            path: item
            for path, item in here.items()
            if path in uses or _is_offered(item, describes=describes)
        }
    for path in uses.keys() - found.keys():
        if any(path.startswith(f"{package}.") for package in packages):
            try:
                found[path] = item_of(reader, path, uses)
            except ImportFault:  # `check` tells that
                continue
    made = {item.gives[0] for item in found.values() if item.gives and item.place != item.gives[0]}
    order = {name: at for at, name in enumerate(ENTRY_MODELS)}
    shown = (item for item in found.values() if item.path in uses or item.place not in made)
    return sorted(shown, key=lambda item: (order[item.sections[0]], item.path))


def item_of(reader: SourceReader, path: str, uses: Mapping[str, Sequence[Use]]) -> CatalogueItem:
    """Describe what `path` names; raises `ImportFault` where there is no such thing."""
    return _item(reader, path, reader.page(path), uses.get(path.replace(":", "."), ()))


def _item(reader: SourceReader, path: str, page: Page, uses: Sequence[Use]) -> CatalogueItem:
    named = (use.section for use in uses)
    sections = tuple(dict.fromkeys([*named, *page["sections"]]))
    leading = 1 if {"middleware", "configure"} & set(sections) else 0
    given = set().union(*(_GIVEN.get(name, set()) for name in sections))
    target = reader.target(path, leading=leading)
    try:
        facts = reader.options(path)[1] or {}
    except RecursionError:
        facts = {}
    parameters = list(target.signature.parameters.values())
    if sections[:1] == ("exception_handlers",) and target.form == "function":
        parameters = parameters[2:]  # a request and an exception
    options = tuple(
        _option(item, facts.get(item.name, OptionFacts()))
        for item in parameters
        if item.name not in given
    )
    return CatalogueItem(
        path=path,
        sections=sections,
        doc=page["doc"],
        place=f"{page['module']}:{page['line']}" if page["line"] else str(page["module"]),
        role=page["role"],
        options=options,
        extra=extra_of(page["imports"]),
        about=page["module_doc"],
        uses=tuple(uses),
        gives=tuple(page["gives"]),
        is_router=page["is_router"],
        is_endpoint=target.form == "function" and target.is_async,
    )


_BY_FORM = {"resources", "routes", "startup"}  # where many a class would fit that is for code alone


def _is_offered(item: CatalogueItem, *, describes: bool) -> bool:
    """Tell whether something is meant for manifests.

    A manifest must be able to say what is required. Of a package that describes its options, what has
    the form of a resource, of an application or of a step is meant where its options are described.
    """
    required = [option for option in item.options if option.required]
    if describes and item.sections[0] in _BY_FORM and not item.is_router:
        return any(option.description for option in item.options) and all(
            option.description for option in required
        )
    return all(
        option.description or not (option.objects or option.type == "anything")
        for option in required
    )


def _option(item: Parameter, facts: OptionFacts) -> Option:
    hint, limits = item.annotation, []
    while get_origin(hint) is Annotated:
        hint, *more = get_args(hint)
        limits += [each.given for each in more if isinstance(each, Limits)]
    nested = facts.fields["*"].fields if facts.fields.keys() == {"*"} else facts.fields
    return Option(
        name=item.name,
        type="a secret" if facts.is_secret else _type(item.annotation, facts),
        required=item.required,
        default=None if item.required else _default(facts),
        range=", ".join(text for each in limits for text in _ranges(each)),
        description=facts.description or "",
        looser=facts.looser,
        fields=tuple(
            _option(Parameter(name, inner.hint, inner.is_needed), inner)
            for name, inner in nested.items()
            if name != "*"
        ),
        objects=facts.objects,
    )


def _type(hint: Any, facts: OptionFacts) -> str:
    """Say what an option takes, also where that is an object, or a mapping of known keys."""
    words = words_of(hint)
    named = dict.fromkeys(f"`{each.partition(' ')[2]}`" for each in facts.objects)
    if named:
        return words.replace("anything", f"an object of {' or '.join(named)}")
    is_nested = any(name != "*" for name in (facts.fields.get("*") or facts).fields)
    words = words.replace("of anything", "of mappings") if is_nested else words
    return "a mapping" if is_nested and words == "anything" else words


def _default(facts: OptionFacts) -> str | None:
    if facts.default is not UNTOLD:
        return _written(facts.default)
    length = re.fullmatch(r"(?:\w+\.)*timedelta\((?:(\w+)=)?([\d.]+)\)", facts.written or "")
    if length:
        return _written(dt.timedelta(**{length[1] or "days": float(length[2])}))
    if re.fullmatch(r"[\d_]+( \* [\d_]+)+", facts.written or ""):  # `64 * 1024 * 1024`
        return str(prod(int(each) for each in str(facts.written).split(" * ")))
    try:
        return _written(ast.literal_eval(facts.written or ""))
    except (ValueError, SyntaxError, TypeError):
        return facts.written


def _written(value: Any) -> str:
    if isinstance(value, dt.timedelta):
        return duration_text(value) if value else "0s"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return (
        str(value)
        if not isinstance(value, str) or re.fullmatch(r"[\w./*:-]+", value)
        else f'"{value}"'
    )


def _ranges(limits: Mapping[str, Any]) -> Iterator[str]:
    for name, words in _WORDS.items():
        if name in limits:
            yield f"{words} {_written(limits[name])}"
    least, most = limits.get("min_length"), limits.get("max_length")
    if least is not None or most is not None:
        yield (
            f"length {'' if least is None else least} to {'' if most is None else most}".replace(
                "  ", " "
            )
            .replace("length to", "length up to")
            .removesuffix(" to ")
        )
    if "multiple_of" in limits:
        yield f"a multiple of {_written(limits['multiple_of'])}"
    if "pattern" in limits:
        yield f"matches `{limits['pattern']}`"


_NAMED: dict[Any, str] = {
    Any: "anything", None: "null", NoneType: "null", ...: "…", str: "text", int: "an integer",
    float: "a number", bool: "true or false", dt.timedelta: "a duration", list: "a list",
    dict: "a mapping", tuple: "a list", set: "a list", frozenset: "a list", bytes: "bytes",
}  # fmt: skip


def words_of(hint: Any) -> str:
    """Say in words what an option of a type takes."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return words_of(arguments[0])
    if origin is Literal:
        return " | ".join(f"`{_written(each)}`" for each in arguments)
    if origin in (Union, UnionType):
        arms = dict.fromkeys(words_of(arm) for arm in arguments)
        return " or ".join(arms)
    try:
        if hint in _NAMED:
            return _NAMED[hint]
    except TypeError:  # unhashable metadata inside
        pass
    kind = origin if isinstance(origin, type) else hint
    name = getattr(kind, "__name__", "")
    inner = [words_of(each) for each in arguments if each is not ...]
    if name in {"Mapping", "MutableMapping", "dict"}:
        return f"a mapping of {inner[-1]}" if inner else "a mapping"
    if name in {"Sequence", "Collection", "Iterable", "Set", "list", "tuple", "set", "frozenset"}:
        return f"a list of {' and '.join(dict.fromkeys(inner))}" if inner else "a list"
    return {
        "Callable": "the import path of a function", "SecretStr": "a secret", "Path": "a path",
        "PathLike": "a path", "Decimal": "a number", "Pattern": "a regular expression",
        "UUID": "a UUID", "datetime": "a time", "date": "a date", "time": "a time of the day",
        "type": "the import path of a class",
    }.get(name, "an object")  # fmt: skip


def matching(items: Iterable[CatalogueItem], query: str) -> list[CatalogueItem]:
    """Return the items that each word of `query` fits, the best first: names before what is said."""
    words = re.findall(r"\w+", query.lower())
    scored = [
        (sum(scores), item) for item in items if all(scores := [_score(item, w) for w in words])
    ]
    return [item for _, item in sorted(scored, key=lambda pair: (-pair[0], pair[1].path))]


def _score(item: CatalogueItem, word: str) -> float:
    texts = (
        (8, item.path.rpartition(".")[2]),
        (6, item.path),
        (5, item.role or ""),
        (4, item.summary),
        (3, " ".join(_all_names(item.options))),
        (2, " ".join(option.description for option in item.options)),
        (1, f"{item.doc} {item.about}"),
    )
    for score, text in texts:
        if word in text.lower():
            return float(score)
    for score, text in texts[:5]:
        whole = re.findall(r"[a-z0-9]+", text.lower().replace("_", ""))
        parts = re.findall(r"[a-z0-9]+", _split(text).lower())
        if any(_is_like(word, each) for each in (*whole, *parts)):
            return score / 2
    return 0.0


def _is_like(word: str, other: str) -> bool:
    return len(word) > 3 and SequenceMatcher(None, word, other).ratio() >= _LIKE


def _split(text: str) -> str:
    """Split `RateLimit` into its words."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", text)


def _all_names(options: Iterable[Option]) -> Iterator[str]:
    for option in options:
        yield option.name
        yield from _all_names(option.fields)
