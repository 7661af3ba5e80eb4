"""The items of two lists → which are the same, by what they say or by what they are called.

In: `Item`s, values with their nodes. Out: what one list lacks, the key that tells mappings apart.
Refuses nothing.
"""

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from assembler.document.nodes import Node

_NATURAL_KEYS = ("id", "match", "path", "name", "rule", "url", "label", "prefix")


class Item(NamedTuple):
    """A value as written, and its node; a default has none."""

    value: Any
    node: Node | None


def natural_key(before: Sequence[Item], after: Sequence[Item]) -> str | None:
    """Return the key by which mappings are told apart: all have it, and no two of a side alike."""
    if not all(isinstance(item.value, dict) for item in (*before, *after)):
        return None
    for name in _NATURAL_KEYS:
        sides = [[item.value.get(name) for item in side] for side in (before, after)]
        are_names = all(isinstance(value, str) for side in sides for value in side)
        if (before or after) and are_names and all(len(set(side)) == len(side) for side in sides):
            return name
    return None


def keyed(items: Sequence[Item], name: str) -> dict[str, Item]:
    """Return the items by what they are called."""
    return {item.value[name]: item for item in items}


def without(items: Sequence[Item], others: Sequence[Item]) -> list[Item]:
    """Return the items that the other list does not have, as often as it lacks them."""
    left = Counter(map(_text, others))
    missing = []
    for item in items:
        text = _text(item)
        if left[text]:
            left[text] -= 1
        else:
            missing.append(item)
    return missing


def _text(item: Item) -> str:
    return json.dumps(item.value, sort_keys=True)
