"""`$before` and `$after` → the order of a list of entries.

In: the entries of a merged list by id, and those of its last layer that say where they stand. Out:
the ids in order. Refuses places beside entries that are not there, beside itself, or in a circle.
"""

from collections.abc import Collection, Iterable
from typing import Literal, NamedTuple

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.span import Span
from assembler.diagnostics.suggest import did_you_mean
from assembler.document.nodes import MappingNode, ScalarNode

_Word = Literal["$before", "$after"]


class _Place(NamedTuple):
    anchor: str
    word: _Word
    span: Span


def is_placed(entry: MappingNode) -> bool:
    """Tell whether `entry` says where it stands."""
    return "$before" in entry.members or "$after" in entry.members


def placed(
    ids: Collection[str], moves: dict[str, MappingNode], faults: list[Diagnostic]
) -> list[str]:
    """Put each moved entry beside its anchor; several `$after` one anchor keep their order.

    An anchor that is moved itself is placed first, wherever the overlay names it.
    """
    places = {
        name: place for name, item in moves.items() if (place := _place(ids, name, item, faults))
    }
    order = [name for name in ids if name not in places]
    last: dict[str, str] = {}
    while places:
        ready = [name for name, place in places.items() if place.anchor not in places]
        for name in ready:
            anchor, word, _ = places.pop(name)
            beside = last.get(anchor, anchor) if word == "$after" else anchor
            order.insert(order.index(beside) + (word == "$after"), name)
            if word == "$after":
                last[anchor] = name
        if not ready:
            for name, place in places.items():
                message = f"the place of `{name}` depends on its own"
                faults.append(Diagnostic("unknown-id", message, place.span))
            break
    return order


def unknown_id(name: str, span: Span, known: Iterable[str], word: str) -> Diagnostic:
    """Say that the directive `word` names an entry that is not there."""
    names = [candidate for candidate in known if not candidate.startswith("#")]
    message = f"`{word}` names `{name}`, and there is none"
    return Diagnostic("unknown-id", message, span, help=did_you_mean(name, names))


def _place(
    ids: Collection[str], name: str, item: MappingNode, faults: list[Diagnostic]
) -> _Place | None:
    """Return what `item` is placed beside; a fault gives None."""
    word: _Word = "$before" if "$before" in item.members else "$after"
    node = item.members[word].value
    anchor = node.value if isinstance(node, ScalarNode) else None
    if "$before" in item.members and "$after" in item.members:
        both = "an entry takes `$before` or `$after`, not both"
        faults.append(Diagnostic("misplaced-directive", both, item.members["$after"].key))
    elif anchor is None or isinstance(anchor, bool):
        message = f"`{word}` takes the id of an entry"
        faults.append(Diagnostic("bad-value", message, node.span))
    elif str(anchor) == name:
        message = f"`{name}` cannot be placed beside itself"
        faults.append(Diagnostic("unknown-id", message, node.span))
    elif str(anchor) not in ids:
        others = [known for known in ids if known != name]
        faults.append(unknown_id(str(anchor), node.span, others, word))
    else:
        return _Place(str(anchor), word, node.span)
    return None
