"""What both sides ask for of who calls → who is refused now, and who is let in that was not.

In: security requirements of documents and operations, and definitions of schemes. Out: changes. Of the
alternatives of a requirement one is enough, and all schemes of an alternative are needed with all their
scopes (OpenAPI 3.1, 4.8.30).
"""

from typing import Any

from assembler.review.diff.change import ABSENT
from assembler.review.finding import Grade
from assembler.review.openapi.changes import Changes, PartPair

_Alternative = frozenset[tuple[str, str]]  # a scheme, and one of its scopes or nothing
_URLS = ("authorizationUrl", "tokenUrl", "refreshUrl", "deviceAuthorizationUrl")


class Security:
    """Compares what is asked for."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._root = PartPair(changes.old.data, changes.new.data).at("security")
        self._asked: set[str] = set()  # names of schemes, on the old side

    def operation(self, pair: PartPair, where: str) -> None:
        """Compare what an operation asks for; one that does not say it asks for what all do."""
        own = pair.at("security")
        inside = PartPair(
            self._root.old if own.old is ABSENT else own.old,
            self._root.new if own.new is ABSENT else own.new,
            self._root.old_at if own.old is ABSENT else own.old_at,
            self._root.new_at if own.new is ABSENT else own.new_at,
        )
        old, new = self._changes.sequence(inside, where)
        before, after = _alternatives(old), _alternatives(new)
        self._asked |= {scheme for one in before for scheme, _ in one}
        if not inside.differs:
            return
        refused = [one for one in before if not any(other <= one for other in after)]
        admitted = [one for one in after if not any(other <= one for other in before)]
        told = f"asks for {_told(after)}, asked for {_told(before)}"
        if refused:
            self._changes.add(Grade.breaks_callers, "api-security", where, told, inside)
        elif admitted:
            self._changes.add(Grade.loosened, "api-security", where, told, inside)
        elif set(before) != set(after):
            self._changes.add(Grade.compatible, "api-security", where, told, inside)

    def schemes(self, pair: PartPair) -> None:
        """Compare the definitions of schemes, once all operations have been compared."""
        old, new = self._changes.mapping(pair, "security schemes")
        for name in dict.fromkeys((*old, *new)):
            inside = self._changes.followed(pair.at(name))
            where = f"security scheme `{name}`"
            if name not in new:
                grade = Grade.breaks_callers if name in self._asked else Grade.compatible
                self._changes.add(grade, "api-scheme", where, "is gone", inside)
            elif name not in old:
                self._changes.add(Grade.compatible, "api-scheme", where, "is new", inside)
            else:
                self._scheme(inside, where)

    def _scheme(self, pair: PartPair, where: str) -> None:
        old, _ = self._changes.mapping(pair, where)
        for key in ("type", "in", "name", "scheme"):
            inside = pair.at(key)
            is_name = key == "name" and old.get("in") == "header"
            if inside.differs and not (
                (key == "scheme" or is_name) and str(inside.old).lower() == str(inside.new).lower()
            ):
                text = f"its `{key}` is {_value(inside.new)}, was {_value(inside.old)}"
                self._changes.add(Grade.breaks_callers, "api-scheme", where, text, inside)
        flows = pair.at("flows")
        before, after = self._changes.mapping(flows, where)
        for name in dict.fromkeys((*before, *after)):
            inside = flows.at(name)
            if name not in after:
                text = f"the flow `{name}` is gone"
                self._changes.add(Grade.breaks_callers, "api-scheme", where, text, inside)
            elif name not in before:
                text = f"the flow `{name}` is new"
                self._changes.add(Grade.compatible, "api-scheme", where, text, inside)
            else:
                self._flow(inside, where, name)
        self._changes.rest(pair, where, {"type", "in", "name", "scheme", "flows"})

    def _flow(self, pair: PartPair, where: str, name: str) -> None:
        self._changes.mapping(pair, where)
        for key in _URLS:
            inside = pair.at(key)
            if inside.differs:
                text = f"the `{key}` of `{name}` is {_value(inside.new)}, was {_value(inside.old)}"
                self._changes.add(Grade.review, "api-scheme", where, text, inside)
        scopes = pair.at("scopes")
        old, new = self._changes.mapping(scopes, where)
        for scope in dict.fromkeys((*old, *new)):
            inside = scopes.at(scope)
            if scope not in new:
                text = f"the scope `{scope}` of `{name}` is gone"
                self._changes.add(Grade.breaks_callers, "api-scheme", where, text, inside)
            elif scope not in old:
                text = f"the scope `{scope}` of `{name}` is new"
                self._changes.add(Grade.compatible, "api-scheme", where, text, inside)
        self._changes.rest(pair, where, {*_URLS, "scopes"})


def _alternatives(given: list[Any]) -> list[_Alternative]:
    """Return what each alternative needs; an empty list needs nothing."""
    found = []
    for one in given:
        needs = set()
        for scheme, scopes in one.items() if isinstance(one, dict) else [(str(one), [])]:
            needs.add((str(scheme), ""))
            listed = scopes if isinstance(scopes, list) else [scopes]
            needs |= {(str(scheme), str(each)) for each in listed}
        found.append(frozenset(needs))
    return found or [frozenset()]


def _told(alternatives: list[_Alternative]) -> str:
    return " or ".join(_needed(one) for one in alternatives[:5])


def _needed(alternative: _Alternative) -> str:
    schemes = sorted({scheme for scheme, _ in alternative})
    parts = []
    for scheme in schemes:
        scopes = sorted(scope for name, scope in alternative if name == scheme and scope)
        parts.append(f"`{scheme}`" + (f" ({', '.join(scopes)})" if scopes else ""))
    return " with ".join(parts) or "nothing"


def _value(value: Any) -> str:
    return "not said" if value is ABSENT else f"`{str(value)[:100]}`"
