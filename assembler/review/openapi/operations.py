"""Operations of both sides → what those who call them, and those who read their answers, are to expect.

In: pairs of path items, each with who sends its requests: clients, or, of webhooks and callbacks, the
application itself. Out: changes, and pairs of schemas to compare. Source: OpenAPI 3.1, 4.8.9 to 4.8.24.
"""

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from assembler.review.diff.change import ABSENT
from assembler.review.finding import Grade
from assembler.review.openapi.changes import Changes, PartPair
from assembler.review.openapi.schemas import Schemas
from assembler.review.openapi.security import Security

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
_TEMPLATE = re.compile(r"\{[^}]*\}")
_IGNORED = frozenset({"accept", "content-type", "authorization"})  # headers that are no parameters
_STYLES = {"query": "form", "cookie": "form", "path": "simple", "header": "simple"}


class OperationChanges:
    """Compares path items, and what they have in them."""

    def __init__(self, changes: Changes, schemas: Schemas, security: Security) -> None:
        self._changes = changes
        self._schemas = schemas
        self._security = security

    def paths(self, pair: PartPair, *, kind: str = "", sends: bool = True) -> None:
        """Compare mappings of paths, or of names where `kind` says what they are names of.

        Paths that differ in the names of their parameters alone are the same path.
        """
        old, new = self._changes.mapping(pair, kind or "paths")
        by_shape = {_TEMPLATE.sub("{}", name): name for name in new} if not kind else {}
        matched = {
            name: name if name in new else by_shape.get(_TEMPLATE.sub("{}", name)) for name in old
        }
        taken = set()
        for name, other in matched.items():
            where = f"{kind} `{name}`" if kind else f"`{name}`"
            if name.startswith("x-"):
                continue
            if other is None or other in taken or (other != name and other in old):
                self._gone(pair.at(name), where, kind, sends=sends)
                continue
            taken.add(other)
            if other != name:
                inside = pair.at(name, other)
                text = f"its parameters are named as in `{other}`"
                self._changes.add(Grade.compatible, "api-path", where, text, inside)
            self.item(pair.at(name, other), f"{kind} `{name}`" if kind else other, sends=sends)
        for name in new:
            if name not in taken and not name.startswith("x-"):
                where = f"{kind} `{name}`" if kind else f"`{name}`"
                text = f"is new: {_methods(self._changes.followed(pair.at(name)).new)}"
                self._changes.add(Grade.compatible, "api-path", where, text, pair.at(name))
        self._changes.rest(
            pair, "paths", {name for name in (*old, *new) if not name.startswith("x-")}
        )

    def _gone(self, pair: PartPair, where: str, kind: str, *, sends: bool) -> None:
        text = f"is gone: {_methods(self._changes.followed(pair).old)}"
        grade = Grade.breaks_callers if sends else Grade.breaks_readers
        self._changes.add(grade, "api-path", where, text, pair)

    def item(self, pair: PartPair, name: str, *, sends: bool) -> None:
        """Compare two path items."""
        pair = self._changes.followed(pair)
        old, new = self._changes.mapping(pair, f"`{name}`")
        for method in METHODS:
            inside = pair.at(method)
            where = (
                f"`{method.upper()} {name}`"
                if name.startswith("/")
                else f"{method.upper()} of {name}"
            )
            if method in old and method not in new:
                grade = Grade.breaks_callers if sends else Grade.breaks_readers
                self._changes.add(grade, "api-operation", where, "is gone", inside)
            elif method in new and method not in old:
                self._changes.add(Grade.compatible, "api-operation", where, "is new", inside)
            elif method in old:
                self._operation(inside, pair, where, sends=sends)
        self._changes.rest(pair, f"`{name}`", {*METHODS, "parameters"})

    def _operation(self, pair: PartPair, item: PartPair, where: str, *, sends: bool) -> None:
        self._changes.mapping(pair, where)
        self._parameters(pair, item, where, sends=sends)
        self._body(pair.at("requestBody"), where, sends=sends)
        self._responses(pair.at("responses"), where, reads=sends)
        self._security.operation(pair, where)
        identity = pair.at("operationId")
        if identity.differs:
            text = "generated clients name it otherwise"
            self._changes.add(Grade.review, "api-operation-id", where, text, identity)
        _deprecation(self._changes, pair, where, "")
        self._callbacks(pair.at("callbacks"), where, sends=sends)
        judged = {"parameters", "requestBody", "responses", "security", "operationId", "deprecated"}
        self._changes.rest(pair, where, {*judged, "callbacks"})

    def _callbacks(self, pair: PartPair, where: str, *, sends: bool) -> None:
        old, new = self._changes.mapping(pair, where)
        for name in dict.fromkeys((*old, *new)):
            inside = self._changes.followed(pair.at(name))
            self.paths(inside, kind=f"callback `{name}` of {where}, at", sends=not sends)

    def _parameters(self, pair: PartPair, item: PartPair, where: str, *, sends: bool) -> None:
        old = self._listed(pair, item, where, is_new=False)
        new = self._listed(pair, item, where, is_new=True)
        paths = [[key for key in side if key[0] == "path"] for side in (old, new)]
        renamed = (
            dict(zip(paths[0], paths[1], strict=False)) if len(paths[0]) == len(paths[1]) else {}
        )
        taken = set()
        for key, (value, at) in old.items():
            other = key if key in new else renamed.get(key)
            label = f"{key[0]} parameter `{value.get('name')}`"
            if other is None or (other != key and other in old):
                inside = PartPair(value, ABSENT, at, item.new_at)
                text = f"{label} is no longer read"
                grade = Grade.review if key[0] != "path" else Grade.breaks_callers
                self._changes.add(grade, "api-parameter", where, text, inside)
                continue
            taken.add(other)
            found, found_at = new[other]
            if other != key:
                text = f"{label} is named `{found.get('name')}`"
                inside = PartPair(value, found, at, found_at)
                self._changes.add(Grade.compatible, "api-parameter", where, text, inside)
            self._parameter(PartPair(value, found, at, found_at), where, label, sends=sends)
        for key, (value, at) in new.items():
            if key not in taken:
                is_needed = value.get("required") is True
                grade = Grade.compatible if not is_needed else _breaks(sends=sends)
                text = f"{key[0]} parameter `{value.get('name')}` is new{' and needed' if is_needed else ''}"
                inside = PartPair(ABSENT, value, item.old_at, at)
                self._changes.add(grade, "api-parameter", where, text, inside)

    def _listed(
        self, pair: PartPair, item: PartPair, where: str, *, is_new: bool
    ) -> dict[tuple[str, str], tuple[dict[str, Any], Any]]:
        """Return the parameters of one side: an operation's go before those of its path."""
        found: dict[tuple[str, str], tuple[dict[str, Any], Any]] = {}
        for owner in (item, pair):
            both = owner.at("parameters")
            listed = self._changes.sequence(both, where)[is_new]
            for index in range(len(listed)):
                part = self._changes.followed(both.at(index))
                value, at = (part.new, part.new_at) if is_new else (part.old, part.old_at)
                if not isinstance(value, dict):
                    if both.at(index).differs:
                        self._changes.unjudged(both.at(index), where)
                    continue
                place, name = str(value.get("in")), str(value.get("name"))
                if place == "header" and name.lower() in _IGNORED:
                    continue
                found[place, name.lower() if place == "header" else name] = (value, at)
        return found

    def _parameter(self, pair: PartPair, where: str, label: str, *, sends: bool) -> None:
        _needs(self._changes, pair, where, label, sends=sends)
        _deprecation(self._changes, pair, where, f"{label} ")
        for key in ("style", "explode", "allowReserved"):
            old, new = (_style(each, key) for each in (pair.old, pair.new))
            if old != new:
                text = f"{label} is written with `{key}` {new}, was {old}"
                self._changes.add(_breaks(sends=sends), "api-parameter", where, text, pair.at(key))
        self._value(pair, where, label, sends=sends)
        judged = {"name", "in", "required", "deprecated", "style", "explode", "allowReserved"}
        self._changes.rest(pair, where, {*judged, "schema", "content"}, f"{label}, ")

    def _value(self, pair: PartPair, where: str, label: str, *, sends: bool) -> None:
        """Compare what a parameter or header holds: a schema, or text of a media type."""
        if "schema" in pair.old or "schema" in pair.new:
            self._schemas.add(pair.at("schema"), sends=sends, where=where, subject=label)
        if "content" in pair.old or "content" in pair.new:
            self._content(pair.at("content"), where, label, sends=sends)

    def _body(self, pair: PartPair, where: str, *, sends: bool) -> None:
        pair = self._changes.followed(pair)
        old, new = self._changes.mapping(pair, where)
        if pair.old is ABSENT and pair.new is ABSENT:
            return
        if pair.old is ABSENT:
            is_needed = new.get("required") is True
            grade = _breaks(sends=sends) if is_needed else Grade.compatible
            text = f"a body is {'needed now' if is_needed else 'taken now'}"
            self._changes.add(grade, "api-body", where, text, pair)
            return
        if pair.new is ABSENT:
            self._changes.add(Grade.review, "api-body", where, "the body is no longer read", pair)
            return
        if not pair.differs and not isinstance(pair.old, dict):
            return
        pair = PartPair(old, new, pair.old_at, pair.new_at)
        _needs(self._changes, pair, where, "the body", sends=sends, rule="api-body")
        self._content(pair.at("content"), where, "body", sends=sends)
        self._changes.rest(pair, where, {"required", "content"}, "the body's ")

    def _content(self, pair: PartPair, where: str, label: str, *, sends: bool) -> None:
        """Compare the forms of a body; a range of the new side covers what it means."""
        old, new = self._changes.mapping(pair, where)
        names = {name.lower(): name for name in new}
        used = set()
        for name in old:
            other = names.get(name.lower()) or next(
                (one for one in new if fnmatchcase(name.lower(), one.lower())), None
            )
            if other is None:
                grade = _breaks(sends=sends)
                text = f"{label} is no longer {'taken' if sends else 'given'} as `{name}`"
                self._changes.add(grade, "api-media-type", where, text, pair.at(name))
                continue
            used.add(other)
            inside = pair.at(name, other)
            self._changes.mapping(inside, where)
            if other.lower() != name.lower():
                grade = Grade.compatible if sends else Grade.breaks_readers
                text = f"{label} is {'taken' if sends else 'given'} as `{other}`, was as `{name}`"
                self._changes.add(grade, "api-media-type", where, text, inside)
            subject = label if len(old) == len(new) == 1 else f"{label} as `{name}`"
            self._schemas.add(inside.at("schema"), sends=sends, where=where, subject=subject)
            self._changes.rest(inside, where, {"schema"}, f"{subject}, ")
        for name in new:
            if name not in used:
                text = f"{label} is {'taken' if sends else 'given'} as `{name}`, too"
                self._changes.add(Grade.compatible, "api-media-type", where, text, pair.at(name))

    def _responses(self, pair: PartPair, where: str, *, reads: bool) -> None:
        old, new = self._changes.mapping(pair, where)
        old = {name: value for name, value in old.items() if not name.startswith("x-")}
        new = {name: value for name, value in new.items() if not name.startswith("x-")}
        used = set()
        for status in old:
            other = _covering(status, new)
            if other is None:
                grade = Grade.breaks_readers if reads else Grade.breaks_callers
                if status[:1] not in {"1", "2", "3", "d"}:
                    grade = Grade.review  # something else is answered in its place
                text = f"{_status(status)} is no longer answered"
                self._changes.add(grade, "api-status", where, text, pair.at(status))
                continue
            used.add(other)
            inside = self._changes.followed(pair.at(status, other))
            if other != status:
                text = f"{_status(status)} is answered as {_status(other)}"
                self._changes.add(Grade.review, "api-status", where, text, pair.at(status, other))
            self._response(inside, where, _status(status), reads=reads)
        for status in new:
            if status not in used:
                known = _covering(status, old)
                if known is not None:  # it has been answered, and is told apart now
                    text = f"{_status(status)} is told apart from {_status(known)}"
                    at = pair.at(known, status)
                    self._changes.add(Grade.compatible, "api-status", where, text, at)
                    inside = self._changes.followed(pair.at(known, status))
                    self._response(inside, where, _status(status), reads=reads)
                    continue
                grade = Grade.review if status[:1] in {"2", "3"} else Grade.compatible
                text = f"{_status(status)} is answered, too"
                self._changes.add(grade, "api-status", where, text, pair.at(status))
        self._changes.rest(pair, where, {*old, *new})

    def _response(self, pair: PartPair, where: str, label: str, *, reads: bool) -> None:
        old, new = self._changes.mapping(pair, where)
        pair = PartPair(old, new, pair.old_at, pair.new_at)
        self._headers(pair.at("headers"), where, label, reads=reads)
        before, after = (bool(each.get("content")) for each in (old, new))
        if before and not after:
            grade = Grade.breaks_readers if reads else Grade.breaks_callers
            text = f"{label} has no body any more"
            self._changes.add(grade, "api-body", where, text, pair.at("content"))
        elif after and not before:
            text = f"{label} has a body"
            self._changes.add(Grade.compatible, "api-body", where, text, pair.at("content"))
        else:
            self._content(pair.at("content"), where, label, sends=not reads)
        self._changes.rest(pair, where, {"headers", "content"}, f"{label}, ")

    def _headers(self, pair: PartPair, where: str, label: str, *, reads: bool) -> None:
        old, new = self._changes.mapping(pair, where)
        names = {name.lower(): name for name in new}
        for name in old:
            other = names.pop(name.lower(), None)
            subject = f"{label}, header `{name}`"
            inside = self._changes.followed(pair.at(name, other or name))
            if other is None:
                is_promised = isinstance(inside.old, dict) and inside.old.get("required") is True
                grade = Grade.breaks_readers if is_promised else Grade.review
                self._changes.add(grade, "api-header", where, f"{subject} is gone", inside)
                continue
            before, after = self._changes.mapping(inside, where)
            part = PartPair(before, after, inside.old_at, inside.new_at)
            _needs(self._changes, part, where, subject, sends=not reads, rule="api-header")
            _deprecation(self._changes, part, where, f"{subject} ")
            self._value(part, where, subject, sends=not reads)
            judged = {"required", "deprecated", "schema", "content"}
            self._changes.rest(part, where, judged, f"{subject}, ")
        for name in names.values():
            text = f"{label}, header `{name}` is new"
            self._changes.add(Grade.compatible, "api-header", where, text, pair.at(name))


def _needs(
    changes: Changes,
    pair: PartPair,
    where: str,
    label: str,
    *,
    sends: bool,
    rule: str = "api-parameter",
) -> None:
    """Judge whether something has to be there."""
    old, new = (each.get("required") is True for each in (pair.old, pair.new))
    if old == new:
        return
    grade = _breaks(sends=sends) if new == sends else Grade.compatible
    text = (
        ("is needed now" if new else "need not be sent")
        if sends
        else ("is always there" if new else "may be missing")
    )
    changes.add(grade, rule, where, f"{label} {text}", pair.at("required"))


def _deprecation(changes: Changes, pair: PartPair, where: str, label: str) -> None:
    old, new = (
        isinstance(each, dict) and each.get("deprecated") is True for each in (pair.old, pair.new)
    )
    if old != new:
        text = f"{label}is {'' if new else 'no longer '}deprecated"
        changes.add(Grade.compatible, "api-deprecated", where, text, pair.at("deprecated"))


def _breaks(*, sends: bool) -> Grade:
    return Grade.breaks_callers if sends else Grade.breaks_readers


def _style(parameter: Mapping[str, Any], key: str) -> str:
    """Return how a parameter is written, its default where it does not say."""
    style = parameter.get("style", _STYLES.get(str(parameter.get("in")), "form"))
    defaults = {"style": style, "explode": style in ("form", "cookie"), "allowReserved": False}
    value = parameter.get(key, defaults[key])
    return f"`{str(value).lower() if isinstance(value, bool) else str(value)[:60]}`"


def _covering(status: str, answers: Mapping[str, Any]) -> str | None:
    """Return the answer that a status has: its own, that of its class, or the one of all others."""
    classes = (status, f"{status[:1]}XX", f"{status[:1]}xx", "default")
    return next((each for each in classes if each in answers), None)


def _status(status: str) -> str:
    return "any other status" if status == "default" else status[:60]


def _methods(item: Any) -> str:
    return ", ".join(_of(item)) or "nothing"


def _of(item: Any) -> Iterator[str]:
    yield from (method.upper() for method in METHODS if isinstance(item, dict) and method in item)
