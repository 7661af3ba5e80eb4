"""Two values under `with` or in a section → what differs, in which direction.

In: the nodes of both sides, and what the source says of the option. Out: `Change`s, with a sentence
each. A value that may be a secret is never shown. A reference stands for a value that nobody knows
here; which side is surely the looser one is told all the same where the manifest tells it: `*`, `true`
or no bound at all is looser than whatever a variable may hold, and so is a credential that is written
down. Items of lists are the same one by what they say, or by what they are called.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from assembler.diagnostics.secrets import Column, is_secret
from assembler.document.interpolation import Reference, parse
from assembler.document.nodes import MappingNode, Node, SequenceNode, as_written
from assembler.document.parser import plain_value
from assembler.plan.static.looseness import UNTOLD, OptionFacts
from assembler.review.credentials import (
    column_below,
    is_harmless,
    reference_text,
    sets_cookie,
    shown,
)
from assembler.review.diff.change import ABSENT, Change, change, direction, under
from assembler.review.diff.knowledge import CallableFacts
from assembler.review.diff.scalars import Verdict, compare, is_equal, same
from assembler.review.finding import Grade

NEITHER = "neither"  # as a direction: the option makes nothing looser or tighter
_NATURAL_KEYS = ("id", "match", "path", "name", "rule", "url", "label", "prefix")


class WrittenValue(NamedTuple):
    """A value as written, and its node; a default has none."""

    value: Any
    node: Node | None


def natural_key(before: Sequence[WrittenValue], after: Sequence[WrittenValue]) -> str | None:
    """Return the key by which mappings are told apart: all have it, and no two of a side alike."""
    if not all(isinstance(item.value, dict) for item in (*before, *after)):
        return None
    for name in _NATURAL_KEYS:
        sides = [[item.value.get(name) for item in side] for side in (before, after)]
        are_names = all(isinstance(value, str) for side in sides for value in side)
        if (before or after) and are_names and all(len(set(side)) == len(side) for side in sides):
            return name
    return None


def keyed(items: Sequence[WrittenValue], name: str) -> dict[str, WrittenValue]:
    """Return the items by what they are called."""
    return {item.value[name]: item for item in items}


def without(items: Sequence[WrittenValue], others: Sequence[WrittenValue]) -> list[WrittenValue]:
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


def _text(item: WrittenValue) -> str:
    return json.dumps(item.value, sort_keys=True)


NOTHING = OptionFacts()
_IMPORT_PATH = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+(?::[^\W\d]\w*(?:\.[^\W\d]\w*)*)?\Z")
_HOST = re.compile(r"(?:[\w-]+\.)+(?:com|org|net|io|dev|app|example|local|test|co|eu|uk|de|in)\Z")
# uvicorn takes addresses as one text
_ADDRESSES = re.compile(r"[*]\Z|[\w:.\-/]*[:.][\w:.\-/]*(?:\s*,\s*[\w:.\-/]+)*\Z")


class ValuePair(NamedTuple):
    """One value on both sides: what is written, or else the default, and the node if any."""

    key: str
    old: WrittenValue
    new: WrittenValue
    fact: OptionFacts
    column: Column = "option"

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
        if any(sets_cookie(self.key, item) for item in told):
            return True
        is_plain = all(map(is_harmless, told)) or self.fact.looser
        return is_secret(self.key, self.column) and not is_plain


def item_of(node: Node | None, fact: OptionFacts) -> WrittenValue:
    value = ABSENT if fact.default is UNTOLD else fact.default
    value = value if node is None else as_written(node)
    if isinstance(value, str) and fact.looser == "longer" and _ADDRESSES.match(value):
        value = [part.strip() for part in value.split(",") if part.strip()]
    return WrittenValue(value, node)


def items_of(side: WrittenValue) -> list[WrittenValue]:
    if isinstance(side.node, SequenceNode):
        return [WrittenValue(as_written(node), node) for node in side.node.items]
    return (
        [WrittenValue(value, None) for value in side.value] if isinstance(side.value, list) else []
    )


def told_of(pair: ValuePair) -> str | None:
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


def compare_openness(pair: ValuePair) -> Verdict | None:
    """Judge a pair of which at least one value has a reference."""
    old, new = (_openness(pair, value) for value in pair.values)
    if old != new:
        grade = direction(new > old)
        if pair.is_secret or None in (_shown_text(pair, value) for value in pair.values):
            verb = "stands" if grade is Grade.loosened else "no longer stands"
            return Verdict(grade, f"what may be a secret {verb} in the manifest")
        verb = "is" if grade is Grade.loosened else "was"
        return Verdict(grade, f"nothing {verb} looser, whatever a variable holds")
    names = [reference.name if reference else None for reference in map(_only, pair.values)]
    if pair.is_secret or names[0] is None or names[0] != names[1]:
        return None
    verdict = compare(pair.fact.looser, *map(_default, pair.values))
    return verdict and Verdict(verdict.grade, f"of the defaults, {verdict.reason}")


def _openness(pair: ValuePair, value: Any) -> int:
    """Return 2 for what surely is as loose as can be, 1 where a default is, else 0."""
    for level, said in ((2, value), (1, _default(value))):
        if said is ABSENT or reference_text(said):
            continue
        if _is_widest(pair.fact.looser, said) or (said and _shown_text(pair, said) is None):
            return level
    return 0


def _is_widest(looser: str | None, value: Any) -> bool:
    if looser in {"true", "false"}:
        return value is (looser == "true")
    if looser == "longer" and "*" in (value if isinstance(value, list) else [value]):
        return True
    return value is None and looser == "higher"


def _shown_text(pair: ValuePair, value: Any) -> str | None:
    """Return what may be shown, a text of any kind for what is no text."""
    return shown(value, is_secret=pair.is_secret) if isinstance(value, str) else ""


def _default(value: Any) -> Any:
    reference = _only(value)
    if reference is None or reference.operator != "-":
        return ABSENT
    try:
        return plain_value(reference.argument)
    except OverflowError:
        return reference.argument


def _only(value: Any) -> Reference | None:
    """Return the reference that is the whole value."""
    parts = parse(value) if isinstance(value, str) else ()
    return parts[0] if len(parts) == 1 and isinstance(parts[0], Reference) else None


_HIDDEN = "a value that is not shown"
_BY_LENGTH = frozenset({"longer", "shorter"})
_RULES = {Grade.loosened: "option-loosened", Grade.tightened: "option-tightened"}


def compare_options(
    old: Node | None, new: Node | None, judges: Sequence[CallableFacts]
) -> Iterator[Change]:
    """Compare two `with` mappings by what is known of the callable; the worst judgement holds.

    `judges` is empty where the callable was not found.
    """
    before, after = _members(old), _members(new)
    for key in {**before, **after}:
        facts = [judge.of(key) for judge in judges] or [None]
        nodes = before.get(key), after.get(key)
        told = [list(_Judge(Grade.review).value(key, *nodes, fact or NOTHING)) for fact in facts]
        yield from max(told, key=lambda changes: max((one.grade for one in changes), default=-1))


def compare_value(
    key: str, old: Node | None, new: Node | None, fact: OptionFacts = NOTHING
) -> Iterator[Change]:
    """Compare two values of a section whose meaning is known."""
    yield from _Judge(Grade.behaviour).value(key, old, new, fact)


class _Judge:
    """Compares values; `untold` is the grade where nobody has said which way they loosen."""

    def __init__(self, untold: Grade) -> None:
        self._untold = untold

    def _otherwise(self, pair: ValuePair) -> Grade:
        return Grade.behaviour if pair.fact.looser == NEITHER else self._untold

    def value(
        self,
        key: str,
        old: Node | None,
        new: Node | None,
        fact: OptionFacts,
        column: Column = "option",
    ) -> Iterator[Change]:
        """Compare what stands under `key`, and place what differs below it."""
        pair = ValuePair(key, item_of(old, fact), item_of(new, fact), fact, column)
        yield from under(self._compared(pair), key)

    def _compared(self, pair: ValuePair) -> Iterator[Change]:
        old, new = pair.nodes
        sides = [node for node in (old, new) if node is not None]
        is_told = len(sides) == 2 or (sides and pair.fact.fields)
        if is_told and all(isinstance(node, MappingNode) for node in sides):
            yield from self._mappings(pair)
            return
        if ABSENT not in pair.values and same(*pair.values):
            if len(sides) == 1:
                verb = "says" if old is None else "no longer says"
                message = f"`{pair.key}` {verb} what its default is"
                yield change(Grade.cosmetic, "option-changed", message, old, new)
            elif not is_equal(*pair.values):
                message = f"`{pair.key}` says the same in other words"
                yield change(Grade.cosmetic, "option-changed", message, old, new)
            return
        yield from self._differing(pair)

    def _mappings(self, pair: ValuePair) -> Iterator[Change]:
        before, after = map(_members, pair.nodes)
        fact = pair.fact
        passed = OptionFacts(
            looser=NEITHER if fact.looser == NEITHER else None,
            is_secret=fact.is_secret or is_secret(pair.key, pair.column),
        )
        column = column_below(pair.key)
        for key in {**before, **after}:
            below = fact.of(key) or passed
            if fact.looser in _BY_LENGTH and (key in before) != (key in after):
                nodes = before.get(key), after.get(key)
                yield from under([self._gained(pair, key, *nodes)], key)
                continue
            yield from self.value(key, before.get(key), after.get(key), below, column)

    def _differing(self, pair: ValuePair) -> Iterator[Change]:
        if any(map(reference_text, pair.values)):
            yield from self._reference(pair)
            return
        are_lists = all(isinstance(item, list) or item is ABSENT for item in pair.values)
        if are_lists and compare(pair.fact.looser, *pair.values) is None:
            yield from self._lists(pair)
        else:
            yield self._scalar(pair)

    def _reference(self, pair: ValuePair) -> Iterator[Change]:
        texts = [reference_text(value) for value in pair.values]
        told = [
            text or shown(value, is_secret=pair.is_secret) or _HIDDEN
            for text, value in zip(texts, pair.values, strict=True)
            if value is not ABSENT and value is not None
        ]
        if texts[0] == texts[1]:
            message = f"`{pair.key}` differs around {told[0]}"
        elif len(told) == 2:
            verb = "comes from" if texts[1] else "is"
            message = f"`{pair.key}` {verb} {told[1]} instead of {told[0]}"
        else:
            message = f"`{pair.key}` is {'now' if texts[1] else 'no longer'} {told[0]}"
        verdict = compare_openness(pair)
        if verdict is not None:
            is_hidden = pair.is_secret or _HIDDEN in told
            rule = "secret-changed" if is_hidden else _RULES.get(verdict.grade, "reference-changed")
            yield change(verdict.grade, rule, f"{message}: {verdict.reason}", *pair.nodes)
            if not is_hidden or verdict.grade is Grade.loosened:
                return  # where a credential went, what came for it is to be reviewed still
        are_resources = all(text and "${resources." in text for text in texts)
        grade = Grade.behaviour if are_resources else Grade.review
        yield change(grade, "reference-changed", message, *pair.nodes)

    def _scalar(self, pair: ValuePair) -> Change:
        told = told_of(pair)
        if told is None:
            return change(Grade.review, "secret-changed", f"`{pair.key}` changed", *pair.nodes)
        verdict = compare(pair.fact.looser, *pair.values)
        if verdict is not None:
            rule = _RULES.get(verdict.grade, "option-changed")
            return change(verdict.grade, rule, f"{told}: {verdict.reason}", *pair.nodes)
        grade, why = self._otherwise(pair), ""
        if not pair.fact.is_plain and any(map(is_code, pair.values)):
            grade, why = Grade.review, ": it names code"
        elif pair.fact is NOTHING and grade is Grade.review:
            why = ", and what it does is not known here"
        elif grade is Grade.review or pair.fact.looser not in (None, NEITHER):
            grade, why = Grade.review, ", and which of the two is looser is not known here"
        return change(grade, "option-changed", told + why, *pair.nodes)

    def _lists(self, pair: ValuePair) -> Iterator[Change]:
        before, after = items_of(pair.old), items_of(pair.new)
        name = natural_key(before, after)
        if name is not None:
            yield from self._entries(pair, keyed(before, name), keyed(after, name))
            return
        gone, more = without(before, after), without(after, before)
        looser = pair.fact.looser if pair.fact.looser in _BY_LENGTH else None
        if not gone and not more:
            is_set = looser is not None or pair.fact.is_unordered
            message = f"`{pair.key}` has the same values in another order"
            grade = Grade.cosmetic if is_set else self._otherwise(pair)
            yield change(grade, "option-reordered", message, *pair.nodes)
            return
        wild = ["*" in [item.value for item in side] for side in (before, after)]
        for items, is_more in ((more, True), (gone, False)):
            # Beside `*`, the others of a list say nothing.
            if looser and wild[0] != wild[1] and wild[1] is not is_more:
                continue
            for item in items:
                yield self._item(pair, item, is_more=is_more, is_wild=all(wild))

    def _item(self, pair: ValuePair, item: WrittenValue, *, is_more: bool, is_wild: bool) -> Change:
        text = shown(item.value, is_secret=pair.is_secret)
        verb = "gains" if is_more else "loses"
        message = f"`{pair.key}` {verb} {text or _HIDDEN}"
        sides: tuple[Node | None, Node | None] = (
            (None, item.node or pair.new.node) if is_more else (item.node or pair.old.node, None)
        )
        sides = sides if any(sides) else pair.nodes  # a default came or went with what was written
        if reference_text(item.value):
            return change(Grade.review, "reference-changed", message, *sides)
        if pair.fact.looser in _BY_LENGTH and not is_wild:
            grade = direction(is_more == (pair.fact.looser == "longer"))
            length = "longer list" if is_more else "shorter list"
            word = "looser" if grade is Grade.loosened else "tighter"
            return change(grade, _RULES[grade], f"{message}: a {length} is {word}", *sides)
        if text is None or (is_code(item.value) and not pair.fact.is_plain):
            return change(Grade.review, "option-changed", message, *sides)
        return change(self._otherwise(pair), "option-changed", message, *sides)

    def _entries(
        self, pair: ValuePair, before: dict[str, WrittenValue], after: dict[str, WrittenValue]
    ) -> Iterator[Change]:
        """Compare lists of mappings that one of their keys tells apart."""
        below = pair.fact if pair.fact.fields else OptionFacts(is_secret=pair.is_secret)
        for name in {**before, **after}:
            old, new = before.get(name), after.get(name)
            if old is not None and new is not None:
                inner = ValuePair(name, old, new, below)
                yield from under(self._compared(inner), shown_name(name))
            else:
                yield self._gained(pair, name, old and old.node, new and new.node)
        if [name for name in before if name in after] != [name for name in after if name in before]:
            message = f"`{pair.key}` has entries in another order"
            yield change(self._otherwise(pair), "option-reordered", message, *pair.nodes)

    def _gained(self, pair: ValuePair, name: str, old: Node | None, new: Node | None) -> Change:
        """Tell of an entry that only one side has."""
        grade, rule, why = self._otherwise(pair), "option-changed", ""
        if pair.fact.looser in _BY_LENGTH:
            grade = direction((old is None) == (pair.fact.looser == "longer"))
            rule = _RULES[grade]
            amount = "more" if old is None else "fewer"
            word = "looser" if grade is Grade.loosened else "tighter"
            why = f": {amount} of them are {word}"
        verb = "gains" if old is None else "loses"
        return change(
            grade, rule, f"`{pair.key}` {verb} {shown(name) or 'an entry'}{why}", old, new
        )


def shown_name(name: str) -> str:
    """Return the name of an item as an address has it."""
    text = shown(name)
    return text.strip("`") if text else "…"


def _members(node: Node | None) -> dict[str, Node]:
    members = node.members if isinstance(node, MappingNode) else {}
    return {key: member.value for key, member in members.items()}
