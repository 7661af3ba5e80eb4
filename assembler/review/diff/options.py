"""Two values under `with` or in a section → what differs, in which direction.

In: the nodes of both sides, and what the source says of the option. Out: `Change`s. A value that
may be a secret is never shown; a reference stands for a value that nobody knows here. Refuses
nothing.
"""

from collections.abc import Iterator

from assembler.document.nodes import MappingNode, Node
from assembler.plan.static.looseness import OptionFacts
from assembler.review.diff.change import ABSENT, Change, change, direction, under
from assembler.review.diff.knowledge import Facts
from assembler.review.diff.lists import Item, keyed, natural_key, without
from assembler.review.diff.openness import compare_openness
from assembler.review.diff.pairing import NOTHING, Pair, is_code, item_of, items_of, told_of
from assembler.review.diff.scalars import compare, is_equal, same
from assembler.review.diff.secrecy import is_secret_key, reference_text, shown
from assembler.review.finding import Grade

_HIDDEN = "a value that is not shown"
_BY_LENGTH = frozenset({"longer", "shorter"})
_RULES = {Grade.loosened: "option-loosened", Grade.tightened: "option-tightened"}


def compare_options(old: Node | None, new: Node | None, facts: Facts | None) -> Iterator[Change]:
    """Compare two `with` mappings; `facts` is None where the callable was not found."""
    before, after = _members(old), _members(new)
    for key in {**before, **after}:
        fact = facts.of(key) if facts else None
        judge = _Judge(Grade.review if fact is None else Grade.behaviour)
        yield from judge.value(key, before.get(key), after.get(key), fact or NOTHING)


def compare_value(
    key: str, old: Node | None, new: Node | None, fact: OptionFacts = NOTHING
) -> Iterator[Change]:
    """Compare two values of a section whose meaning is known."""
    yield from _Judge(Grade.behaviour).value(key, old, new, fact)


class _Judge:
    """Compares values; `otherwise` is the grade where no direction is known."""

    def __init__(self, otherwise: Grade) -> None:
        self._otherwise = otherwise

    def value(
        self, key: str, old: Node | None, new: Node | None, fact: OptionFacts
    ) -> Iterator[Change]:
        """Compare what stands under `key`, and place what differs below it."""
        pair = Pair(key, item_of(old, fact), item_of(new, fact), fact)
        yield from under(self._compared(pair), key)

    def _compared(self, pair: Pair) -> Iterator[Change]:
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

    def _mappings(self, pair: Pair) -> Iterator[Change]:
        before, after = map(_members, pair.nodes)
        fact = pair.fact
        passed = OptionFacts(is_secret=fact.is_secret or is_secret_key(pair.key))
        for key in {**before, **after}:
            below = fact.of(key) or passed
            if fact.looser in _BY_LENGTH and (key in before) != (key in after):
                nodes = before.get(key), after.get(key)
                yield from under([self._gained(pair, key, *nodes)], key)
                continue
            yield from self.value(key, before.get(key), after.get(key), below)

    def _differing(self, pair: Pair) -> Iterator[Change]:
        if any(map(reference_text, pair.values)):
            yield from self._reference(pair)
            return
        are_lists = all(isinstance(item, list) or item is ABSENT for item in pair.values)
        if are_lists and compare(pair.fact.looser, *pair.values) is None:
            yield from self._lists(pair)
        else:
            yield self._scalar(pair)

    def _reference(self, pair: Pair) -> Iterator[Change]:
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

    def _scalar(self, pair: Pair) -> Change:
        told = told_of(pair)
        if told is None:
            return change(Grade.review, "secret-changed", f"`{pair.key}` changed", *pair.nodes)
        verdict = compare(pair.fact.looser, *pair.values)
        if verdict is not None:
            rule = _RULES.get(verdict.grade, "option-changed")
            return change(verdict.grade, rule, f"{told}: {verdict.reason}", *pair.nodes)
        grade, why = self._otherwise, ""
        if pair.fact.looser:
            grade, why = Grade.review, ", and which of the two is looser is not known here"
        elif not pair.fact.is_plain and any(map(is_code, pair.values)):
            grade, why = Grade.review, ": it names code"
        elif grade is Grade.review:
            why = ", and what it does is not known here"
        return change(grade, "option-changed", told + why, *pair.nodes)

    def _lists(self, pair: Pair) -> Iterator[Change]:
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
            grade = Grade.cosmetic if is_set else self._otherwise
            yield change(grade, "option-reordered", message, *pair.nodes)
            return
        wild = ["*" in [item.value for item in side] for side in (before, after)]
        for items, is_more in ((more, True), (gone, False)):
            # Beside `*`, the others of a list say nothing.
            if looser and wild[0] != wild[1] and wild[1] is not is_more:
                continue
            for item in items:
                yield self._item(pair, item, is_more=is_more, is_wild=all(wild))

    def _item(self, pair: Pair, item: Item, *, is_more: bool, is_wild: bool) -> Change:
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
        return change(self._otherwise, "option-changed", message, *sides)

    def _entries(
        self, pair: Pair, before: dict[str, Item], after: dict[str, Item]
    ) -> Iterator[Change]:
        """Compare lists of mappings that one of their keys tells apart."""
        below = pair.fact if pair.fact.fields else OptionFacts(is_secret=pair.is_secret)
        for name in {**before, **after}:
            old, new = before.get(name), after.get(name)
            if old is not None and new is not None:
                inner = Pair(name, old, new, below)
                yield from under(self._compared(inner), shown_name(name))
            else:
                yield self._gained(pair, name, old and old.node, new and new.node)
        if [name for name in before if name in after] != [name for name in after if name in before]:
            message = f"`{pair.key}` has entries in another order"
            yield change(self._otherwise, "option-reordered", message, *pair.nodes)

    def _gained(self, pair: Pair, name: str, old: Node | None, new: Node | None) -> Change:
        """Tell of an entry that only one side has."""
        grade, rule, why = self._otherwise, "option-changed", ""
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
