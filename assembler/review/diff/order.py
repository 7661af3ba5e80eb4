"""The chains of middleware of both sides → what their order means.

In: the pairs of a matching, of which some moved; a chain, of whose layers one is new. Out: a `Change`
for each move, and what is wrong with a place, with a sentence from one table: which layer belongs
outside which, and what it means where it does not.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from assembler.document.nodes import ScalarNode
from assembler.review.diff.change import Change, change, direction
from assembler.review.diff.knowledge import Knowledge
from assembler.review.diff.matching import EntryNode, EntryPair, Matching
from assembler.review.finding import Grade
from assembler.review.roles import LayerRole


@dataclass(frozen=True, slots=True)
class LayerOrder:
    """`outer` belongs outside `inner`; `security` says whether more than behaviour hangs on it."""

    outer: str
    inner: str
    security: bool
    broken: str
    mended: str


_ANSWERS = ("limiter", "auth", "csrf", "signature", "allow-list", "host", "body-limit", "timeout")
_NAMES = {
    "limiter": "the rate limit",
    "auth": "the authentication",
    "csrf": "the CSRF check",
    "signature": "the signature check",
    "allow-list": "the address list",
    "host": "the host check",
    "body-limit": "the body limit",
    "timeout": "the time limit",
}

ORDERS: tuple[LayerOrder, ...] = (
    LayerOrder(
        *("proxy", "limiter", True),
        "the rate limit now runs before the proxy headers: all clients behind the proxy share one bucket",
        "the rate limit now runs after the proxy headers: each client has a bucket of its own",
    ),
    LayerOrder(
        *("proxy", "allow-list", True),
        "the address list now runs before the proxy headers: it judges the proxy, not the client",
        "the address list now runs after the proxy headers: it judges the client, not the proxy",
    ),
    LayerOrder(
        *("proxy", "https", False),
        "the redirect to HTTPS now runs before the proxy headers: it sees the scheme of the proxy",
        "the redirect to HTTPS now runs after the proxy headers: it sees the scheme of the client",
    ),
    LayerOrder(
        *("proxy", "logging", False),
        "the request log now runs before the proxy headers: its lines name the proxy",
        "the request log now runs after the proxy headers: its lines name the client",
    ),
    LayerOrder(
        *("limiter", "auth", True),
        "the rate limit now runs inside the authentication: failed sign-ins are not counted",
        "the rate limit now runs outside the authentication: failed sign-ins are counted",
    ),
    LayerOrder(
        *("limiter", "signature", True),
        "the rate limit now runs inside the signature check: forged requests are not counted",
        "the rate limit now runs outside the signature check: forged requests are counted",
    ),
    LayerOrder(
        *("body-limit", "signature", True),
        "the signature check now runs outside the body limit: it reads bodies of any length",
        "the signature check now runs inside the body limit: it reads bodies of bounded length",
    ),
    *(
        LayerOrder(
            *("slash", role, True),
            f"trailing slashes are now stripped inside {name}: its rules for a path miss `path/`",
            f"trailing slashes are now stripped outside {name}: its rules for a path hold for `path/`",
        )
        for role, name in (("limiter", "the rate limit"), ("auth", "the authentication"))
    ),
    *(
        LayerOrder(
            *("security-headers", role, True),
            f"the security headers are now set inside {_NAMES[role]}: its refusals lack them",
            f"the security headers are now set outside {_NAMES[role]}: its refusals have them",
        )
        for role in _ANSWERS
    ),
    LayerOrder(
        *("cors", "limiter", False),
        "CORS now runs inside the rate limit: browsers cannot read a 429, and preflights are counted",
        "CORS now runs outside the rate limit: browsers can read a 429, and preflights are not counted",
    ),
    *(
        LayerOrder(
            *("cors", role, False),
            f"CORS now runs inside {_NAMES[role]}: preflights may be refused, and browsers cannot read refusals",
            f"CORS now runs outside {_NAMES[role]}: preflights are answered first, and browsers can read refusals",
        )
        for role in _ANSWERS
        if role != "limiter"
    ),
    *(
        LayerOrder(
            *("logging", role, False),
            f"the request log now runs inside {_NAMES[role]}: its refusals are not logged",
            f"the request log now runs outside {_NAMES[role]}: its refusals are logged",
        )
        for role in _ANSWERS
    ),
    LayerOrder(
        *("request-id", "logging", False),
        "the request id is now set inside the request log: its lines may lack the id",
        "the request id is now set outside the request log: its lines have the id",
    ),
    *(
        LayerOrder(
            *("request-id", role, False),
            f"the request id is now set inside {_NAMES[role]}: its refusals lack the id",
            f"the request id is now set outside {_NAMES[role]}: its refusals have the id",
        )
        for role in _ANSWERS
    ),
    LayerOrder(
        *("etag", "compression", False),
        "the compression now runs outside the entity tags: one tag names several bodies",
        "the compression now runs inside the entity tags: each body has a tag of its own",
    ),
    *(
        LayerOrder(
            *("session", role, False),
            f"the session is now read inside {_NAMES[role]}, which finds none",
            f"the session is now read outside {_NAMES[role]}, which finds it",
        )
        for role in ("auth", "csrf")
    ),
)
BY_ROLES = {(order.outer, order.inner): order for order in ORDERS}


MOST_PAIRS = 200_000  # pairs of layers that are compared: more are nobody's stack


def compare_chains(matching: Matching, knowledge: Knowledge) -> Iterator[tuple[EntryPair, Change]]:
    """Yield what each move of a layer means, with the pair that moved."""
    if len(matching.moved) * len(matching.pairs) > MOST_PAIRS:
        first, message = matching.pairs[min(matching.moved)], "the order of many layers differs"
        yield first, change(Grade.review, "order", message, first[0].node, first[1].node)
        return
    for place in sorted(matching.moved):
        pair = matching.pairs[place]
        passed = dict(_passed(matching, place))
        meanings = {other: _meaning(pair, both, knowledge) for other, both in passed.items()}
        for other, found in meanings.items():
            if found is not None and not (other in matching.moved and other < place):
                yield pair, found
        unknown = [
            layer for layer in (pair, *passed.values()) if knowledge.role(layer[1].use) is None
        ]
        if unknown or not any(meanings.values()):
            yield pair, _plain_move(matching.pairs, pair, unknown)


class RolePlaces:
    """Where the layers of each role stand in a chain, looked up once for the whole of it."""

    def __init__(self, chain: Sequence[EntryNode], knowledge: Knowledge) -> None:
        self._places: dict[str, list[int]] = {}
        for layer in chain:
            role = knowledge.role(layer.use)
            if role is not None:
                self._places.setdefault(role.id, []).append(layer.index)

    def next_inside(self, index: int, *roles: str) -> str | None:
        """Return which of `roles` the first layer inside of a place has."""
        found = []
        for role in roles:
            places = self._places.get(role, [])
            at = bisect_right(places, index)
            found += [(places[at], role)] if at < len(places) else []
        return min(found)[1] if found else None

    def breaks(self, role: LayerRole, index: int) -> Iterator[str]:
        """Yield what is wrong with a layer of that role at that place of the chain."""
        for order in ORDERS:
            outside = self._places.get(order.inner, []) if order.outer == role.id else []
            inside = self._places.get(order.outer, []) if order.inner == role.id else []
            if (outside and outside[0] < index) or (inside and inside[-1] > index):
                yield order.broken


def _passed(matching: Matching, place: int) -> Iterator[tuple[int, EntryPair]]:
    """Yield the pairs that a moved one passed, each with its place."""
    before, after = matching.pairs[place]
    for other, (old, new) in enumerate(matching.pairs):
        if (old.index < before.index) != (new.index < after.index):
            yield other, (old, new)


def _meaning(pair: EntryPair, other: EntryPair, knowledge: Knowledge) -> Change | None:
    """Return the sentence for two layers that changed places, where the table has one."""
    outer, inner = sorted((pair, other), key=lambda both: both[1].index)
    for first, second, is_broken in ((outer, inner, False), (inner, outer, True)):
        order = _order(first[1], second[1], knowledge)
        if order is None:
            continue
        if _counts_users(outer[1], inner[1], knowledge=knowledge):
            return _users(pair, is_inside=is_broken)
        is_security = order.security
        grade = direction(is_broken) if is_security else Grade.behaviour
        rule = "order"
        if is_security:
            rule = "order-weakens" if is_broken else "order-strengthens"
        sentence = order.broken if is_broken else order.mended
        return change(grade, rule, sentence, pair[0].node, pair[1].node)
    return None


def _users(pair: EntryPair, *, is_inside: bool) -> Change:
    knows = "now knows" if is_inside else "no longer knows"
    message = f"the rate limit of users {knows} who has signed in"
    return change(Grade.behaviour, "order", message, pair[0].node, pair[1].node)


def _order(outer: EntryNode, inner: EntryNode, knowledge: Knowledge) -> LayerOrder | None:
    roles = knowledge.role(outer.use), knowledge.role(inner.use)
    return BY_ROLES.get((roles[0].id, roles[1].id)) if roles[0] and roles[1] else None


def _counts_users(*layers: EntryNode, knowledge: Knowledge) -> bool:
    """Tell whether a limiter keys by user: then it belongs inside the authentication."""
    limiters = [layer for layer in layers if _is(knowledge.role(layer.use), "limiter")]
    others = [layer for layer in layers if _is(knowledge.role(layer.use), "auth")]
    if not limiters or not others or limiters[0].options is None:
        return False
    key = getattr(limiters[0].options, "get", lambda _: None)("key")
    return isinstance(key, ScalarNode) and key.value == "user"


def _is(role: LayerRole | None, name: str) -> bool:
    return role is not None and role.id == name


def _plain_move(
    pairs: Sequence[EntryPair], pair: EntryPair, unknown: Sequence[EntryPair]
) -> Change:
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
