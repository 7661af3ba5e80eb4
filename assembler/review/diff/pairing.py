"""One value on both sides, with what is known of it → the words of a sentence about it.

In: two nodes and the facts of an option. Out: a `Pair`, what it goes from and to, whether it may be
shown, whether it names code. Refuses nothing.
"""

import re
from typing import Any, NamedTuple

from assembler.document.nodes import Node, SequenceNode, as_written
from assembler.plan.static.looseness import UNTOLD, OptionFacts
from assembler.review.diff.change import ABSENT
from assembler.review.diff.lists import Item
from assembler.review.diff.secrecy import is_harmless, is_secret_key, shown

NOTHING = OptionFacts()
_IMPORT_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+(?::[^\W\d]\w*(?:\.[^\W\d]\w*)*)?\Z")
_HOST = re.compile(r"(?:[\w-]+\.)+(?:com|org|net|io|dev|app|example|local|test|co|eu|uk|de|in)\Z")
# uvicorn takes addresses as one text
_ADDRESSES = re.compile(r"[*]\Z|[\w:.\-/]*[:.][\w:.\-/]*(?:\s*,\s*[\w:.\-/]+)*\Z")


class Pair(NamedTuple):
    """One value on both sides: what is written, or else the default, and the node if any."""

    key: str
    old: Item
    new: Item
    fact: OptionFacts

    @property
    def values(self) -> tuple[Any, Any]:
        return self.old.value, self.new.value

    @property
    def nodes(self) -> tuple[Node | None, Node | None]:
        return self.old.node, self.new.node

    @property
    def is_secret(self) -> bool:
        """Whether the type or the key says that it must not be shown."""
        if self.fact.is_secret:
            return True
        told = [item for item in self.values if item is not ABSENT]
        is_told = self.fact is not NOTHING
        is_plain = all(is_harmless(self.key, item, is_told=is_told) for item in told)
        return is_secret_key(self.key) and not (is_plain or self.fact.looser)


def item_of(node: Node | None, fact: OptionFacts) -> Item:
    value = ABSENT if fact.default is UNTOLD else fact.default
    value = value if node is None else as_written(node)
    if isinstance(value, str) and fact.looser == "longer" and _ADDRESSES.match(value):
        value = [part.strip() for part in value.split(",") if part.strip()]
    return Item(value, node)


def items_of(side: Item) -> list[Item]:
    if isinstance(side.node, SequenceNode):
        return [Item(as_written(node), node) for node in side.node.items]
    return [Item(value, None) for value in side.value] if isinstance(side.value, list) else []


def told_of(pair: Pair) -> str | None:
    """Return `x` goes from A to B, or None where one of the two may be a secret."""
    key = pair.key
    old, new = (
        "" if value is ABSENT else shown(value, is_secret=pair.is_secret) for value in pair.values
    )
    if old is None or new is None:
        return None
    if not old or not new:
        return f"`{key}` is {'now' if new else 'no longer'} {new or old}"
    if old != new:
        return f"`{key}` goes from {old} to {new}"
    return None if "***" in old else f"`{key}` differs beyond what is shown"


def is_code(value: Any) -> bool:
    if not isinstance(value, str) or _HOST.match(value):
        return False
    return _IMPORT_PATH.match(value) is not None
