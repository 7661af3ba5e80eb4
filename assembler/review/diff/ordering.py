"""The chains of middleware of both sides → what their order means.

In: the pairs of a matching, of which some moved. Out: a `Change` for each move, with a sentence
from one table of what must run outside what. Refuses nothing.
"""

from collections.abc import Iterator, Sequence

from assembler.document.nodes import ScalarNode
from assembler.review.diff.change import Change, change, direction
from assembler.review.diff.matching import Entry, Matching, Pair
from assembler.review.diff.orders import BY_ROLES, Order
from assembler.review.diff.roles import Role, role_of
from assembler.review.finding import Grade

_MOST = 200_000  # pairs of layers that are compared: more are nobody's stack


def compare_chains(matching: Matching) -> Iterator[tuple[Pair, Change]]:
    """Yield what each move of a layer means, with the pair that moved."""
    if len(matching.moved) * len(matching.pairs) > _MOST:
        first, message = matching.pairs[min(matching.moved)], "the order of many layers differs"
        yield first, change(Grade.review, "order", message, first[0].node, first[1].node)
        return
    for place in sorted(matching.moved):
        pair = matching.pairs[place]
        passed = dict(_passed(matching, place))
        meanings = {other: _meaning(pair, both) for other, both in passed.items()}
        for other, found in meanings.items():
            if found is not None and not (other in matching.moved and other < place):
                yield pair, found
        unknown = [layer for layer in (pair, *passed.values()) if role_of(layer[1].use) is None]
        if unknown or not any(meanings.values()):
            yield pair, _plain_move(matching.pairs, pair, unknown)


def breaks(chain: Sequence[Entry], layer: Entry) -> Iterator[str]:
    """Yield what is wrong with the place of one layer of a chain."""
    for other in chain:
        outer, inner = sorted((layer, other), key=lambda entry: entry.index)
        order = _order(inner, outer)
        if other is not layer and order is not None:
            yield order.broken


def _passed(matching: Matching, place: int) -> Iterator[tuple[int, Pair]]:
    """Yield the pairs that a moved one passed, each with its place."""
    before, after = matching.pairs[place]
    for other, (old, new) in enumerate(matching.pairs):
        if (old.index < before.index) != (new.index < after.index):
            yield other, (old, new)


def _meaning(pair: Pair, other: Pair) -> Change | None:
    """Return the sentence for two layers that changed places, where the table has one."""
    outer, inner = sorted((pair, other), key=lambda both: both[1].index)
    for first, second, is_broken in ((outer, inner, False), (inner, outer, True)):
        order = _order(first[1], second[1])
        if order is None:
            continue
        if _counts_users(outer[1], inner[1]):
            return _users(pair, is_inside=is_broken)
        is_security = order.security
        grade = direction(is_broken) if is_security else Grade.behaviour
        rule = "order"
        if is_security:
            rule = "order-weakens" if is_broken else "order-strengthens"
        sentence = order.broken if is_broken else order.mended
        return change(grade, rule, sentence, pair[0].node, pair[1].node)
    return None


def _users(pair: Pair, *, is_inside: bool) -> Change:
    knows = "now knows" if is_inside else "no longer knows"
    message = f"the rate limit of users {knows} who has signed in"
    return change(Grade.behaviour, "order", message, pair[0].node, pair[1].node)


def _order(outer: Entry, inner: Entry) -> Order | None:
    roles = role_of(outer.use), role_of(inner.use)
    return BY_ROLES.get((roles[0].id, roles[1].id)) if roles[0] and roles[1] else None


def _counts_users(*layers: Entry) -> bool:
    """Tell whether a limiter keys by user: then it belongs inside the authentication."""
    limiters = [layer for layer in layers if _is(role_of(layer.use), "limiter")]
    others = [layer for layer in layers if _is(role_of(layer.use), "auth")]
    if not limiters or not others or limiters[0].options is None:
        return False
    key = getattr(limiters[0].options, "get", lambda _: None)("key")
    return isinstance(key, ScalarNode) and key.value == "user"


def _is(role: Role | None, name: str) -> bool:
    return role is not None and role.id == name


def _plain_move(pairs: Sequence[Pair], pair: Pair, unknown: Sequence[Pair]) -> Change:
    layers = [new for _, new in pairs]
    at = layers.index(pair[1])
    where = [
        f"{word} `{layers[near].id}`"
        for word, near in (("inside", at - 1), ("outside", at + 1))
        if 0 <= near < len(layers)
    ]
    message = f"`{pair[1].id}` now runs {' and '.join(where)}"
    if not unknown:
        return change(Grade.behaviour, "order", message, pair[0].node, pair[1].node)
    names = ", ".join(f"`{new.id}`" for _, new in unknown[:3])
    message += f"; what that means depends on {names}, of which nothing is known here"
    return change(Grade.review, "order", message, pair[0].node, pair[1].node)
