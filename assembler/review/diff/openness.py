"""A value on both sides, one of them with references → which side is surely the looser one.

In: a pair of values, what is known of their option. Out: a `Verdict` where the manifest itself
tells: `*`, `true` or no bound at all is looser than whatever a variable may hold, and so is a
credential that is written down; the default of one variable is compared as a value. None where
nobody knows. Refuses nothing.
"""

from typing import Any

from assembler.document.interpolation import Reference, parse
from assembler.document.parser import plain_value
from assembler.review.diff.change import ABSENT, direction
from assembler.review.diff.pairing import Pair
from assembler.review.diff.scalars import Verdict, compare
from assembler.review.diff.secrecy import reference_text, shown
from assembler.review.finding import Grade


def compare_openness(pair: Pair) -> Verdict | None:
    """Judge a pair of which at least one value has a reference."""
    old, new = (_openness(pair, value) for value in pair.values)
    if old != new:
        grade = direction(new > old)
        if pair.is_secret or None in (_text(pair, value) for value in pair.values):
            verb = "stands" if grade is Grade.loosened else "no longer stands"
            return Verdict(grade, f"what may be a secret {verb} in the manifest")
        verb = "is" if grade is Grade.loosened else "was"
        return Verdict(grade, f"nothing {verb} looser, whatever a variable holds")
    names = [reference.name if reference else None for reference in map(_only, pair.values)]
    if pair.is_secret or names[0] is None or names[0] != names[1]:
        return None
    verdict = compare(pair.fact.looser, *map(_default, pair.values))
    return verdict and Verdict(verdict.grade, f"of the defaults, {verdict.reason}")


def _openness(pair: Pair, value: Any) -> int:
    """Return 2 for what surely is as loose as can be, 1 where a default is, else 0."""
    for level, said in ((2, value), (1, _default(value))):
        if said is ABSENT or reference_text(said):
            continue
        if _is_widest(pair.fact.looser, said) or (said and _text(pair, said) is None):
            return level
    return 0


def _is_widest(looser: str | None, value: Any) -> bool:
    if looser in {"true", "false"}:
        return value is (looser == "true")
    if looser == "longer" and "*" in (value if isinstance(value, list) else [value]):
        return True
    return value is None and looser == "higher"


def _text(pair: Pair, value: Any) -> str | None:
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
