"""Schemas of both sides → which values are no longer taken or given, and which are new.

In: pairs of schemas, each with whether clients send its values or read them, and where it is used. Out:
changes. What is sent may become wider and breaks callers where it becomes narrower; what is read may
become narrower and breaks readers where it becomes wider. A schema with a name is judged once for each
direction, however many use it; those that refer to themselves end there, and so does what is too large.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Any

from assembler.diagnostics.errors import UsageError
from assembler.document.nodes import NodePath
from assembler.review.diff.change import ABSENT
from assembler.review.finding import Grade
from assembler.review.openapi.changes import ANNOTATIONS, Changes, PartPair, canonical, same
from assembler.review.openapi.view import (
    BOUNDS,
    EXCLUSIVE,
    Bound,
    Limit,
    Placed,
    View,
    followed_plainly,
    has_reference,
    is_number,
    limit_of,
    view_of,
)

_MOST_PAIRS = 100_000
_MOST_WORDS = 5_000_000  # keywords that are put together for all of them
_SHOWN = 60  # characters of a value in a message
_USERS = 50  # that are looked for
_WORDS = ANNOTATIONS | {"deprecated", "default", "discriminator", "nullable"}


class Shift(Enum):
    """How the values changed that a schema takes."""

    narrower = "narrower"
    wider = "wider"
    other = "other"  # some went and some came
    unclear = "unclear"


_LIMITS = frozenset({bound.keyword for bound in BOUNDS} | set(EXCLUSIVE.values()))
_BEYOND = {"maximum": "below {}", "minimum": "above {}"}
_INSIDE = ("contains", "propertyNames", "then", "else", "unevaluatedItems", "unevaluatedProperties")
_JUDGED = frozenset(
    {"type", "nullable", "enum", "const", "format", "pattern", "multipleOf", "uniqueItems"}
    | {"properties", "required", "additionalProperties", "items", "anyOf", "oneOf", "allOf"}
    | {"default", "deprecated", "$defs", "definitions", "prefixItems", "patternProperties"}
    | _LIMITS
    | {*_INSIDE}
)
_WIDENED_FORMATS = frozenset({("int32", "int64"), ("float", "double")})


@dataclass(eq=False, slots=True)
class _SchemaPair:
    """Two schemas to compare; `label` says whose they are, `inner` the way from there."""

    pair: PartPair
    sends: bool
    label: str
    subject: str
    inner: str
    is_named: bool
    parents: list["_SchemaPair"] = field(default_factory=list)
    sites: dict[str, None] = field(default_factory=dict)

    def words(self, text: str, inner: str | None = None) -> str:
        """Return a sentence on the part at `inner`."""
        path = self.inner if inner is None else inner
        about = ", ".join(filter(None, [self.subject, f"`{path}`" if path else ""]))
        return f"{about} {text}" if about else text


class Schemas:
    """Compares pairs of schemas, those that they lead to included."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._known: dict[tuple[NodePath, NodePath, bool], _SchemaPair] = {}
        self._queue: deque[_SchemaPair] = deque()
        self._words = 0

    def add(self, pair: PartPair, *, sends: bool, where: str, subject: str) -> None:
        """Compare two schemas that `where` uses, of which one may not be there: it takes all."""
        self._enqueue(pair, sends, where, subject, "", site=f"{subject} of {where}")

    def run(self) -> None:
        """Compare all that were added; raises `UsageError` where there are too many."""
        while self._queue:
            self._judge(self._queue.popleft())

    def _enqueue(
        self,
        pair: PartPair,
        sends: bool,
        label: str,
        subject: str,
        inner: str,
        *,
        parent: _SchemaPair | None = None,
        site: str | None = None,
    ) -> None:
        pair = PartPair(
            True if pair.old is ABSENT else pair.old,
            True if pair.new is ABSENT else pair.new,
            pair.old_at,
            pair.new_at,
        )
        pair = self._plain(pair)
        named = self._named(pair)
        found = self._known.get((pair.old_at, pair.new_at, sends))
        if found is None:
            if named:
                label, subject, inner = f"`{named}` as {'sent' if sends else 'read'}", "", ""
            is_named = bool(named) or (parent is not None and parent.is_named)
            found = _SchemaPair(pair, sends, label, subject, inner, is_named)
            self._known[pair.old_at, pair.new_at, sends] = found
            self._queue.append(found)
            if len(self._known) > _MOST_PAIRS:
                raise UsageError(f"cannot compare more than {_MOST_PAIRS} pairs of schemas")
        if parent is not None:
            found.parents.append(parent)
        if site is not None:
            found.sites[site] = None

    def _plain(self, pair: PartPair) -> PartPair:
        """Follow references that have nothing but words beside them."""
        old, old_at = followed_plainly(self._changes.old.data, pair.old, pair.old_at)
        new, new_at = followed_plainly(self._changes.new.data, pair.new, pair.new_at)
        return PartPair(old, new, old_at, new_at)

    def _named(self, pair: PartPair) -> str:
        """Return the name of a schema that stands among the components of a side."""
        for at in (pair.new_at, pair.old_at):
            if len(at) == 3 and at[:2] == ("components", "schemas"):
                return str(at[2])
        return ""

    def _users(self, pair: _SchemaPair) -> Iterator[str]:
        """Yield where a schema is used, through others too."""
        seen, waiting, told = {pair}, deque([pair]), dict[str, None]()
        while waiting and len(told) < _USERS:
            one = waiting.popleft()
            told |= one.sites
            waiting += [each for each in one.parents if each not in seen]
            seen.update(one.parents)
        yield from told

    def _note(
        self, at: _SchemaPair, shift: Shift, rule: str, text: str, inside: PartPair, inner: str = ""
    ) -> None:
        self._tell(at, _grade(shift, sends=at.sends), rule, at.words(text, inner or None), inside)

    def _tell(self, at: _SchemaPair, grade: Grade, rule: str, text: str, inside: PartPair) -> None:
        users = (lambda: self._users(at)) if at.is_named else None
        self._changes.add(grade, rule, at.label, text, inside, users)

    def _judge(self, at: _SchemaPair) -> None:
        if not at.pair.differs and not has_reference(at.pair.old):
            return
        old = self._view(self._changes.old.data, at.pair.old, at.pair.old_at)
        new = self._view(self._changes.new.data, at.pair.new, at.pair.new_at)
        self._annotated(at, old, new)
        if _are_choices(old, new):
            before = _forms(old, at.pair.old, at.pair.old_at)
            self._forms(at, before, _forms(new, at.pair.new, at.pair.new_at))
            self._chosen(at, old, new)
            return
        if not self._types(at, old, new):
            return
        self._values(at, old, new)
        self._bounds(at, old, new)
        self._texts(at, old, new)
        self._properties(at, old, new)
        self._items(at, old, new)
        self._several(at, old, new)
        for key in dict.fromkeys((*old.words, *new.words)):
            if key not in _JUDGED and key not in ANNOTATIONS:
                self._unjudged(at, old, new, key)

    def _unjudged(self, at: _SchemaPair, old: View, new: View, key: str) -> None:
        inside = _pair(old, new, key, at)
        if inside.differs:
            self._note(at, Shift.unclear, "api-changed", f"has another `{key}`", inside)

    def _chosen(self, at: _SchemaPair, old: View, new: View) -> None:
        """Judge what stands beside a choice of forms, and whether just one may fit."""
        if _is_choice(old) and _is_choice(new):
            self._unjudged(at, old, new, "discriminator")
            if ("oneOf" in old.words) != ("oneOf" in new.words):
                key = "oneOf" if "oneOf" in new.words else "anyOf"
                shift = Shift.narrower if key == "oneOf" else Shift.wider
                inside = PartPair(old.words, new.words[key][0], at.pair.old_at, new.words[key][1])
                text = f"is {'exactly one' if key == 'oneOf' else 'any'} of its forms"
                self._note(at, shift, "api-variant", text, inside)

    def _view(self, data: Mapping[str, Any], schema: Any, at: NodePath) -> View:
        view = view_of(data, schema, at)
        self._words += len(view.words) + len(view.properties) + 1
        if self._words > _MOST_WORDS:
            raise UsageError("cannot compare schemas that are put together of so many parts")
        return view

    def _forms(self, at: _SchemaPair, old: list[Placed], new: list[Placed]) -> None:
        """Match the forms of both sides; what is left over went or came."""
        for signature in (_exact, _name, _kind):
            waiting: dict[str, deque[Placed]] = {}
            for form in new:
                name = signature(self._changes.new.data, form)
                waiting.setdefault(name, deque()).append(form)
            left = []
            for form in old:
                name = signature(self._changes.old.data, form)
                if name and waiting.get(name):
                    match = waiting[name].popleft()
                    inside = PartPair(form[0], match[0], form[1], match[1])
                    self._enqueue(inside, at.sends, at.label, at.subject, at.inner, parent=at)
                else:
                    left.append(form)
            old = left
            new = [form for forms in waiting.values() for form in forms]
        for form in old:
            inside = PartPair(form[0], ABSENT, form[1], at.pair.new_at)
            text = "is never null" if _is_null(form) else f"is no longer {_told_form(form)}"
            self._note(at, Shift.narrower, "api-variant", text, inside)
        for form in new:
            inside = PartPair(ABSENT, form[0], at.pair.old_at, form[1])
            text = "may be null" if _is_null(form) else f"may be {_told_form(form)}"
            self._note(at, Shift.wider, "api-variant", text, inside)

    def _types(self, at: _SchemaPair, old: View, new: View) -> bool:
        """Judge the types; tell whether a value may be right on both sides."""
        before, after = old.types, new.types
        if before == after:
            return True
        key = "type" if same(old.get("type"), new.get("type")) is False else "nullable"
        inside = _pair(old, new, key, at)
        if (
            before is not None
            and after is not None
            and before - after <= {"null"} >= after - before
        ):
            text = "may be null" if "null" in after else "is never null"
        else:
            text = f"is {_told_types(after)}, was {_told_types(before)}"
        self._note(at, _shift_of_sets(before, after), "api-type", text, inside)
        return before is None or after is None or bool(before & after)

    def _values(self, at: _SchemaPair, old: View, new: View) -> None:
        before, after = old.values, new.values
        inside = _pair(old, new, "enum" if "enum" in {*old.words, *new.words} else "const", at)
        if before is None or after is None:
            if before is not after:
                shift = Shift.narrower if before is None else Shift.wider
                named = after if before is None else None
                text = f"is one of {_listed(named.values())}" if named else "takes any value"
                self._note(at, shift, "api-enum", text, inside)
            return
        gone = [value for key, value in before.items() if key not in after]
        came = [value for key, value in after.items() if key not in before]
        if gone:
            self._note(at, Shift.narrower, "api-enum", f"is never {_listed(gone)}", inside)
        if came:
            self._note(at, Shift.wider, "api-enum", f"may be {_listed(came)}", inside)

    def _bounds(self, at: _SchemaPair, old: View, new: View) -> None:
        touched = old.words.keys() | new.words.keys()
        for bound in BOUNDS if touched & _LIMITS else ():
            before, after = limit_of(old, bound), limit_of(new, bound)
            if before == after:
                continue
            beyond = EXCLUSIVE.get(bound.keyword, bound.keyword)
            inside = _pair(old, new, bound.keyword, at)
            inside = inside if inside.differs else _pair(old, new, beyond, at)
            if before is None or after is None:
                shift = Shift.narrower if before is None else Shift.wider
            else:
                shift = Shift.narrower if after > before else Shift.wider
            text = f"{bound.verbs[0]} {_told_limit(bound, after)}" if after else "has no such limit"
            was = (
                f"{bound.verbs[1]} {_told_limit(bound, before)}" if before else "had no such limit"
            )
            self._note(at, shift, "api-limit", f"{text}, {was}", inside)

    def _texts(self, at: _SchemaPair, old: View, new: View) -> None:
        """Judge the pattern, the format, the step of a number, and whether items may be alike."""
        for key, rule in (("pattern", "api-limit"), ("format", "api-type")):
            inside = _pair(old, new, key, at)
            if inside.differs:
                shift = _shift_of_presence(inside)
                if shift is Shift.unclear and key == "format":
                    shift = _shift_of_format(inside)
                told, was = (
                    f"`{_cut(each)}`" if each is not ABSENT else "none"
                    for each in (inside.new, inside.old)
                )
                self._note(at, shift, rule, f"has the {key} {told}, was {was}", inside)
        inside = _pair(old, new, "multipleOf", at)
        if inside.differs:
            told, was = (
                _cut(each) if each is not ABSENT else "any number"
                for each in (inside.new, inside.old)
            )
            text = f"is a multiple of {told}, was of {was}"
            self._note(at, _shift_of_step(inside), "api-limit", text, inside)
        inside = _pair(old, new, "uniqueItems", at)
        if (inside.old is True) != (inside.new is True):
            shift = Shift.narrower if inside.new is True else Shift.wider
            text = "has no two items alike" if inside.new is True else "may have items alike"
            self._note(at, shift, "api-limit", text, inside)

    def _properties(self, at: _SchemaPair, old: View, new: View) -> None:
        for name in dict.fromkeys((*old.properties, *new.properties)):
            before, after = old.properties.get(name), new.properties.get(name)
            inner = f"{at.inner}.{name}" if at.inner else name
            if before is None and after is not None:
                self._came(at, old, new, name, inner)
            elif after is None and before is not None:
                self._went(at, old, new, name, inner)
            elif before is not None and after is not None:
                inside = PartPair(before[0], after[0], before[1], after[1])
                if (name in old.required) != (name in new.required):
                    self._needed(at, new, name, inner, inside)
                self._enqueue(inside, at.sends, at.label, at.subject, inner, parent=at)
        for name in dict.fromkeys((*old.required, *new.required)):
            is_told = name in old.properties or name in new.properties
            if not is_told and (name in old.required) != (name in new.required):
                inner = f"{at.inner}.{name}" if at.inner else name
                self._needed(at, new, name, inner, _pair(old, new, "required", at))
        self._open(at, old, new)

    def _needed(self, at: _SchemaPair, new: View, name: str, inner: str, inside: PartPair) -> None:
        is_needed = name in new.required
        text = (
            ("is needed now" if is_needed else "need not be sent")
            if at.sends
            else ("is always there" if is_needed else "may be missing")
        )
        shift = Shift.narrower if is_needed else Shift.wider
        if is_needed and at.sends and _flag(inside.new, "readOnly"):
            shift = Shift.wider  # clients do not send it
        self._note(at, shift, "api-property", text, inside, inner)

    def _came(self, at: _SchemaPair, old: View, new: View, name: str, inner: str) -> None:
        value, place = new.properties[name]
        inside = PartPair(ABSENT, value, at.pair.old_at, place)
        is_needed = name in new.required and not _flag(value, "readOnly")
        grade, text = Grade.compatible, "is new"
        if at.sends and is_needed:
            grade, text = Grade.breaks_callers, "is new and needed"
        elif not at.sends and old.get("additionalProperties") is False:
            grade, text = Grade.review, "is new, where nothing else was promised to be"
        self._tell(at, grade, "api-property", at.words(text, inner), inside)

    def _went(self, at: _SchemaPair, old: View, new: View, name: str, inner: str) -> None:
        value, place = old.properties[name]
        inside = PartPair(value, ABSENT, place, at.pair.new_at)
        grade, text = Grade.breaks_readers, "is gone"
        if at.sends:
            is_closed = new.get("additionalProperties") is False
            grade = Grade.breaks_callers if is_closed else Grade.review
            text = "is refused" if is_closed else "is no longer read"
        if _flag(value, "readOnly" if at.sends else "writeOnly"):
            grade, text = Grade.compatible, "is gone"  # it never was in there
        self._tell(at, grade, "api-property", at.words(text, inner), inside)

    def _open(self, at: _SchemaPair, old: View, new: View) -> None:
        inside = _pair(old, new, "additionalProperties", at)
        before, after = (
            True if each in (ABSENT, {}) else each for each in (inside.old, inside.new)
        )
        if before is False or after is False:
            if before is not after:
                shift = Shift.narrower if after is False else Shift.wider
                text = (
                    "takes no other properties" if after is False else "may have other properties"
                )
                self._note(at, shift, "api-property", text, inside)
        elif before is not True or after is not True:
            inner = f"{at.inner}.*" if at.inner else "*"
            pair = PartPair(before, after, inside.old_at, inside.new_at)
            self._enqueue(pair, at.sends, at.label, at.subject, inner, parent=at)

    def _items(self, at: _SchemaPair, old: View, new: View) -> None:
        inner = f"{at.inner}[]"
        if "items" in old.words or "items" in new.words:
            inside = _pair(old, new, "items", at)
            self._enqueue(inside, at.sends, at.label, at.subject, inner, parent=at)
        inside = _pair(old, new, "prefixItems", at)
        before, after = inside.old, inside.new
        if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
            for index in range(len(before)):
                inner = f"{at.inner}[{index}]"
                self._enqueue(inside.at(index), at.sends, at.label, at.subject, inner, parent=at)
        elif inside.differs:
            self._note(at, Shift.unclear, "api-changed", "has other first items", inside)

    def _several(self, at: _SchemaPair, old: View, new: View) -> None:
        """Judge what may stand beside other keywords: forms, and schemas of parts."""
        for key in ("anyOf", "oneOf"):
            inside = _pair(old, new, key, at)
            if isinstance(inside.old, list) and isinstance(inside.new, list):
                self._forms(
                    at,
                    [(form, (*inside.old_at, index)) for index, form in enumerate(inside.old)],
                    [(form, (*inside.new_at, index)) for index, form in enumerate(inside.new)],
                )
            elif inside.differs:
                text = f"has {'a' if inside.old is ABSENT else 'no' if inside.new is ABSENT else 'another'} choice of forms"
                self._note(at, _shift_of_presence(inside), "api-variant", text, inside)
        for key in _INSIDE:
            if key in old.words or key in new.words:
                inside = _pair(old, new, key, at)
                inner = f"{at.inner}<{key}>"
                self._enqueue(inside, at.sends, at.label, at.subject, inner, parent=at)
        inside = _pair(old, new, "patternProperties", at)
        if inside.old is not ABSENT or inside.new is not ABSENT:
            sides = (inside.old, inside.new)
            names = {name for side in sides if isinstance(side, dict) for name in side}
            if (
                not all(isinstance(side, dict) or side is ABSENT for side in sides)
                and inside.differs
            ):
                self._note(at, Shift.unclear, "api-changed", "has other patterns", inside)
            for name in sorted(names):
                inner = f"{at.inner}<{name}>"
                self._enqueue(inside.at(name), at.sends, at.label, at.subject, inner, parent=at)

    def _annotated(self, at: _SchemaPair, old: View, new: View) -> None:
        inside = _pair(old, new, "default", at)
        if inside.differs and at.sends:
            told, was = (
                f"`{_cut(each)}`" if each is not ABSENT else "nothing"
                for each in (inside.new, inside.old)
            )
            text = at.words(f"is {told} where it is left out, was {was}")
            self._tell(at, Grade.behaviour, "api-default", text, inside)
        inside = _pair(old, new, "deprecated", at)
        if (inside.old is True) != (inside.new is True):
            text = "is deprecated" if inside.new is True else "is no longer deprecated"
            self._tell(at, Grade.compatible, "api-deprecated", at.words(text), inside)


def _pair(old: View, new: View, key: str, at: _SchemaPair) -> PartPair:
    """Return a keyword on both sides; where a side has none, its place is that of the schema."""
    before = old.words.get(key, (ABSENT, (*at.pair.old_at, key)))
    after = new.words.get(key, (ABSENT, (*at.pair.new_at, key)))
    return PartPair(before[0], after[0], before[1], after[1])


def _grade(shift: Shift, *, sends: bool) -> Grade:
    if shift is Shift.unclear:
        return Grade.review
    is_breaking = shift is Shift.other or sends == (shift is Shift.narrower)
    if not is_breaking:
        return Grade.compatible
    return Grade.breaks_callers if sends else Grade.breaks_readers


def _shift_of_sets(old: frozenset[str] | None, new: frozenset[str] | None) -> Shift:
    if new is None or (old is not None and old < new):
        return Shift.wider
    return Shift.narrower if old is None or new < old else Shift.other


def _shift_of_presence(inside: PartPair) -> Shift:
    if inside.old is ABSENT:
        return Shift.narrower
    return Shift.wider if inside.new is ABSENT else Shift.unclear


def _shift_of_format(inside: PartPair) -> Shift:
    formats = (str(inside.old), str(inside.new))
    if formats in _WIDENED_FORMATS:
        return Shift.wider
    return Shift.narrower if formats[::-1] in _WIDENED_FORMATS else Shift.other


def _shift_of_step(inside: PartPair) -> Shift:
    if inside.old is ABSENT or inside.new is ABSENT:
        return _shift_of_presence(inside)
    if not (is_number(inside.old) and is_number(inside.new)) or 0 in (inside.old, inside.new):
        return Shift.unclear
    old, new = (Fraction(str(each)) for each in (inside.old, inside.new))
    if (new / old).denominator == 1:
        return Shift.narrower
    return Shift.wider if (old / new).denominator == 1 else Shift.other


def _flag(schema: Any, name: str) -> bool:
    return isinstance(schema, dict) and schema.get(name) is True


def _forms(view: View, schema: Any, at: NodePath) -> list[Placed]:
    """Return the forms of a schema; one of a single form, and perhaps null, is that."""
    for key in ("anyOf", "oneOf"):
        if key in view.words:
            value, place = view.words[key]
            forms = [(form, (*place, index)) for index, form in enumerate(value)]
            is_nullable = view.get("nullable") is True
            return [*forms, *([({"type": "null"}, (*at, "nullable"))] if is_nullable else [])]
    if isinstance(schema, dict):
        given = schema.get("type")
        others = [one for one in given if one != "null"] if isinstance(given, list) else given
        is_nullable = schema.get("nullable") is True
        if is_nullable or (others and others != given):
            plain = {key: value for key, value in schema.items() if key != "nullable"}
            if isinstance(others, list):
                plain["type"] = others[0] if len(others) == 1 else others
            return [(plain, at), ({"type": "null"}, (*at, "nullable" if is_nullable else "type"))]
    return [(schema, at)]


def _is_choice(view: View) -> bool:
    """Whether a schema is nothing but a choice of forms."""
    choices = {"anyOf", "oneOf"} & view.words.keys()
    return len(choices) == 1 and not view.properties and not view.words.keys() - choices - _WORDS


def _are_choices(old: View, new: View) -> bool:
    """Whether a choice of forms meets another one, or a schema without any."""
    plain = [not {"anyOf", "oneOf"} & side.words.keys() for side in (old, new)]
    choices = [_is_choice(side) for side in (old, new)]
    return any(choices) and all(map(max, plain, choices))


def _name(data: Mapping[str, Any], form: Placed) -> str:
    schema = form[0] if isinstance(form[0], dict) else {}
    return str(schema.get("$ref", "")).rpartition("/")[2] or str(schema.get("title", ""))


def _exact(data: Mapping[str, Any], form: Placed) -> str:
    schema = form[0]
    if isinstance(schema, dict):
        return canonical({key: value for key, value in schema.items() if key not in _WORDS})
    return canonical(schema)


def _kind(data: Mapping[str, Any], form: Placed) -> str:
    view = view_of(data, *form)
    return canonical(sorted(view.types or ()))


def _is_null(form: Placed) -> bool:
    return isinstance(form[0], dict) and form[0].get("type") == "null"


def _told_form(form: Placed) -> str:
    schema = form[0]
    if isinstance(schema, dict):
        reference, title = schema.get("$ref"), schema.get("title")
        if isinstance(reference, str):
            return f"`{_cut(reference.rpartition('/')[2])}`"
        if isinstance(title, str) and title:
            return f"`{_cut(title)}`"
        if "type" in schema:
            return f"`{_cut(schema['type'])}`"
    return f"`{_cut(schema)}`"


def _told_types(types: frozenset[str] | None) -> str:
    if types is None:
        return "of any type"
    names = sorted(types - {"integer"} if "number" in types else types)
    return " or ".join(f"`{_cut(name)}`" for name in names) or "of no type"


def _listed(values: Iterable[Any]) -> str:
    names = [f"`{_cut(value)}`" for value in values]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _told_limit(bound: Bound, limit: Limit) -> str:
    words = _BEYOND[bound.keyword] if limit.is_exclusive else bound.words
    return words.format(_cut(limit.value))


def _cut(value: Any) -> str:
    """Write a value in a message, short and without what would end its backticks."""
    text = value if isinstance(value, str) else canonical(value)
    text = re.sub(r"\s+", " ", text.replace("`", "'"))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
