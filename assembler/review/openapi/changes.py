"""What differs between two documents, while it is found: parts side by side, and a list of changes.

In: parts of both documents with their paths. Out: `Finding`s, what many operations share told once.
A part of a wrong type, or with a key that no rule knows, is to be reviewed where its sides differ:
nothing that differs is passed over.
"""

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from assembler.document.nodes import NodePath
from assembler.review.diff.change import ABSENT
from assembler.review.finding import Finding, Grade
from assembler.review.openapi.document import ApiDocument, pointer, resolved

ANNOTATIONS = frozenset(
    {"title", "description", "summary", "example", "examples", "externalDocs", "$comment", "tags"}
)
_APART = frozenset({"api-path", "api-operation"})  # each is told, however many there are
_NAMED = 8  # places of one change that are told
_HOPS = 100  # references that lead to one another
_T = TypeVar("_T", dict[str, Any], list[Any])


@dataclass(frozen=True, slots=True)
class PartPair:
    """One part on both sides, `ABSENT` where a side has none, with its paths."""

    old: Any
    new: Any
    old_at: NodePath = ()
    new_at: NodePath = ()

    def at(self, key: str | int, new_key: str | int | None = None) -> "PartPair":
        """Return what stands under a key, which may be another one on the new side."""
        other = key if new_key is None else new_key
        return PartPair(
            _inside(self.old, key),
            _inside(self.new, other),
            (*self.old_at, key),
            (*self.new_at, other),
        )

    @property
    def differs(self) -> bool:
        """Whether the sides are not the same, byte for byte of their values."""
        return not same(self.old, self.new)


def _inside(value: Any, key: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(key, ABSENT)
    if isinstance(value, list) and isinstance(key, int) and key < len(value):
        return value[key]
    return ABSENT


def same(old: Any, new: Any) -> bool:
    """Tell whether two values are the same; `1`, `1.0` and `true` are three."""
    if old is ABSENT or new is ABSENT:
        return old is new
    return old == new and canonical(old) == canonical(new)


def canonical(value: Any) -> str:
    """Write a value as one text, whatever the order of its keys."""
    return json.dumps(value, sort_keys=True)


@dataclass(slots=True)
class _ApiChange:
    """One change, and where it is: `users` are asked for when all has been compared."""

    grade: Grade
    rule: str
    text: str
    pair: PartPair
    wheres: dict[str, None] = field(default_factory=dict)
    users: Callable[[], Iterable[str]] | None = None


class Changes:
    """The changes of two documents as far as they are known."""

    def __init__(self, old: ApiDocument, new: ApiDocument) -> None:
        self.old = old
        self.new = new
        self._changes: dict[tuple[Any, ...], _ApiChange] = {}

    def add(
        self,
        grade: Grade,
        rule: str,
        where: str,
        text: str,
        pair: PartPair,
        users: Callable[[], Iterable[str]] | None = None,
    ) -> None:
        """Note a change; one of the same words at several operations is one.

        `users` gives the operations that share a part which has a name of its own.
        """
        key = (grade, rule, text, where if users or rule in _APART else None)
        change = self._changes.setdefault(key, _ApiChange(grade, rule, text, pair, {}, users))
        change.wheres[where] = None

    def mapping(self, pair: PartPair, where: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return both sides of what has to be a mapping, empty where it is none."""
        return self._typed(pair, where, dict)

    def sequence(self, pair: PartPair, where: str) -> tuple[list[Any], list[Any]]:
        """Return both sides of what has to be a list, empty where it is none."""
        return self._typed(pair, where, list)

    def _typed(self, pair: PartPair, where: str, kind: type[_T]) -> tuple[_T, _T]:
        sides = [each if isinstance(each, kind) else kind() for each in (pair.old, pair.new)]
        if pair.differs and any(
            each is not ABSENT and not isinstance(each, kind) for each in (pair.old, pair.new)
        ):
            self.unjudged(pair, where)
        return sides[0], sides[1]

    def rest(self, pair: PartPair, where: str, judged: Collection[str], prefix: str = "") -> None:
        """Have reviewed what differs under keys that are neither judged nor mere words."""
        old, new = self.mapping(pair, where)
        for key in dict.fromkeys((*old, *new)):
            if key in judged or key in ANNOTATIONS:
                continue
            inside = pair.at(key)
            if inside.differs:
                self.unjudged(inside, where, f"{prefix}`{key}`")

    def unjudged(self, pair: PartPair, where: str, what: str = "") -> None:
        """Note a difference that no rule knows."""
        name = what or f"`{pointer(pair.new_at if pair.old is ABSENT else pair.old_at)}`"
        verb = "is new" if pair.old is ABSENT else "is gone" if pair.new is ABSENT else "differs"
        self.add(Grade.review, "api-changed", where, f"{name} {verb}", pair)

    def followed(self, pair: PartPair) -> PartPair:
        """Follow references on both sides, where they stand in the place of a part."""
        old, old_at = _followed(self.old.data, pair.old, pair.old_at)
        new, new_at = _followed(self.new.data, pair.new, pair.new_at)
        return PartPair(old, new, old_at, new_at)

    def findings(self) -> tuple[Finding, ...]:
        """Return all changes, in the order in which they were found."""
        changes = list(self._changes.values())
        old = self.old.places({one.pair.old_at for one in changes if one.pair.old is not ABSENT})
        new = self.new.places({one.pair.new_at for one in changes if one.pair.new is not ABSENT})
        return tuple(
            Finding(
                self.new.name,
                one.grade,
                one.rule,
                _message(one),
                pointer(one.pair.old_at if one.pair.new is ABSENT else one.pair.new_at),
                "",
                old.get(one.pair.old_at) if one.pair.old is not ABSENT else None,
                new.get(one.pair.new_at) if one.pair.new is not ABSENT else None,
                _details(one),
            )
            for one in changes
        )


def _followed(data: dict[str, Any], value: Any, at: NodePath) -> tuple[Any, NodePath]:
    for _ in range(_HOPS):
        reference = value.get("$ref") if isinstance(value, dict) else None
        found = resolved(data, reference) if isinstance(reference, str) else None
        if found is None:
            break
        value, at = found
    return value, at


def _message(change: _ApiChange) -> str:
    first = next(iter(change.wheres))
    more = len(change.wheres) - 1
    return f"{first}{f' and {more} more' if more else ''}: {change.text}"


def _details(change: _ApiChange) -> tuple[str, ...]:
    lines = list(change.users()) if change.users else list(change.wheres)[1:]
    word = "used by" if change.users else "also"
    told = [f"{word} {line}" for line in lines[:_NAMED]]
    more = len(lines) - _NAMED
    return (*told, f"and {more} more") if more > 0 else tuple(told)
