"""A tree as it is written → the same tree, its keys in the order of the format.

In: a `WrittenDocument`. Out: nothing; the entries of each mapping that the format knows change places.
What names an entry comes first, then what it uses, what it is given, and the rest as the format
lists it; unknown keys stay behind. Lists, resources, and all below `with` and `logging` keep their
order: there it has a meaning, or is the author's. So does a mapping where an anchor of one entry is
used in another: an alias may not come before its anchor.
"""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import chain
from typing import Any, get_args, get_origin

from assembler.document.sections import INNER
from assembler.manifest import Manifest
from assembler.manifest.entry import Route
from assembler.manifest.section import Section
from assembler.review.formatting.written import (
    WrittenCollection,
    WrittenDocument,
    WrittenEntry,
    WrittenScalar,
)

_NAMING = ("id", "$remove", "$replace", "$before", "$after", "catch", "mount")
_FIRST = ("manifest", "extends", *_NAMING, "use", "prefix", "cron", "every", "with")
_LAST = ("sql",)


def put_in_order(document: WrittenDocument) -> None:
    """Sort the keys of every mapping of the format."""
    anchors = Counter(_anchors(document.root))
    if not anchors or max(anchors.values()) == 1:  # an anchor set twice means what comes before
        _sort(document.root, Manifest, is_keyed=False)


def _sort(node: WrittenScalar | WrittenCollection, model: Any, *, is_keyed: bool) -> None:
    """Sort a mapping of `model`, or each in a list; `is_keyed` where ids stand between."""
    if not isinstance(node, WrittenCollection):
        return
    if not node.is_mapping or is_keyed:
        for entry in node.entries:
            _sort(entry.value, model, is_keyed=False)
        return
    order, inside = _facts(model)
    for entry in node.entries:
        if entry.key is not None and entry.key.value in inside:
            below, keyed = inside[entry.key.value]
            _sort(entry.value, below, is_keyed=keyed)
    if not _refers_across(node.entries):
        node.entries.sort(key=lambda entry: order.get(entry.key.value if entry.key else "", 10_000))


@cache
def _facts(model: type[Section]) -> tuple[dict[str, int], dict[str, tuple[Any, bool]]]:
    """Return the place of each key, and the models of those that hold mappings of the format."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    first = [name for name in _FIRST if model is not Route or name != INNER]
    middle = [name for name in fields if name not in first and name not in _LAST]
    order = {name: place for place, name in enumerate((*first, *middle, *_LAST))}
    found = {name: next(_models(field.annotation), None) for name, field in fields.items()}
    inside = {name: models for name, models in found.items() if models is not None}
    if model is Route:  # of a manifest that is written out under its mount
        inside[INNER] = (Manifest, False)
    return order, inside


def _models(annotation: Any, *, is_keyed: bool = False) -> Iterator[tuple[Any, bool]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation, is_keyed
        return
    is_keyed = is_keyed or get_origin(annotation) is dict
    for argument in get_args(annotation):
        yield from _models(argument, is_keyed=is_keyed)


def _refers_across(entries: list[WrittenEntry]) -> bool:
    """Tell whether an alias of one entry names an anchor of another."""
    owners = {anchor: index for index, entry in enumerate(entries) for anchor in _set_by(entry)}
    return any(
        owners.get(leaf.raw[1:], index) != index
        for index, entry in enumerate(entries)
        for leaf in _leaves(entry.value)
        if leaf.style == "*"
    )


def _set_by(entry: WrittenEntry) -> Iterator[str]:
    return chain([entry.key.anchor] if entry.key else [], _anchors(entry.value))


def _anchors(node: WrittenScalar | WrittenCollection) -> Iterator[str]:
    if isinstance(node, WrittenCollection):
        for entry in node.entries:
            yield from filter(None, _set_by(entry))
    if node.anchor and getattr(node, "style", "") != "*":
        yield node.anchor


def _leaves(node: WrittenScalar | WrittenCollection) -> Iterator[WrittenScalar]:
    if isinstance(node, WrittenScalar):
        yield node
        return
    for entry in node.entries:
        yield from _leaves(entry.value)
