"""Two values of one option, and which way it loosens → a grade and the reason.

In: plain data. Rates are compared by their average, durations as times, lists as sets. Out: a
`Verdict`, or None where the values cannot be compared so.
"""

import json
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from assembler.manifest.duration import is_duration, parse_duration
from assembler.review.diff.change import ABSENT, direction
from assembler.review.finding import Grade

_RATE = re.compile(r"([1-9][0-9]{0,9}) ?/ ?(?:([1-9][0-9]{0,6}) ?)?(second|minute|hour|day)s?\Z")
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
_ORDER = "order:"  # `order:strict,lax,none` names the words of a choice, the tightest first
_INFINITE = Fraction(10**30)
RISING = frozenset({"higher", "longer"})
_REASONS = {
    "higher": ("a higher one is looser", "a lower one is tighter"),
    "lower": ("a lower one is looser", "a higher one is tighter"),
    "longer": ("a longer one is looser", "a shorter one is tighter"),
    "shorter": ("a shorter one is looser", "a longer one is tighter"),
    "true": ("`true` is looser", "`false` is tighter"),
    "false": ("`false` is looser", "`true` is tighter"),
}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `quota` in each `seconds`."""

    quota: int
    seconds: int

    @property
    def average(self) -> Fraction:
        """Units in a second."""
        return Fraction(self.quota, self.seconds)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A grade, and half a sentence that says why."""

    grade: Grade
    reason: str


def read_rate(value: Any) -> Rate | None:
    """Read `500/minute` or `1000/5 minutes`; None for anything else."""
    match = _RATE.match(value) if isinstance(value, str) else None
    if match is None:
        return None
    return Rate(int(match[1]), int(match[2] or 1) * _SECONDS[match[3]])


def compare(looser: str | None, old: Any, new: Any) -> Verdict | None:
    """Judge scalars, or rates in lists; `ABSENT` is a value that nobody knows."""
    rates = _rates(old), _rates(new)
    if rates[0] and rates[1]:
        return _compare_rates(rates[0], rates[1], looser)
    if looser in {"true", "false"}:
        return _compare_switches(looser, old, new)
    if looser is not None and looser.startswith(_ORDER):
        return _compare_words(looser.removeprefix(_ORDER).split(","), old, new)
    if looser not in _REASONS or ABSENT in (old, new):
        return None
    if (old is None) != (new is None) and _is_left_out(looser, old, new):
        reason = "`null` leaves it out" if new is None else "it is there now"
        return Verdict(direction((new is None) == (looser == "shorter")), reason)
    wild = [isinstance(side, list) and "*" in side for side in (old, new)]
    if looser == "longer" and None in (old, new) and any(wild):
        return Verdict(direction(wild[1]), "`*` is all there is")
    sizes = _size(looser, old), _size(looser, new)
    if sizes[0] is None or sizes[1] is None:
        return None
    if sizes[0] == sizes[1]:
        if is_time(old) and is_time(new):
            return Verdict(Grade.cosmetic, "the same time, written otherwise")
        return None
    return _directed(looser, is_looser=(sizes[1] > sizes[0]) == (looser in RISING))


def is_equal(old: Any, new: Any) -> bool:
    """Tell whether two values are written alike; to Python, `true` and `1` are equal as well."""
    return json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)


def same(old: Any, new: Any) -> bool:
    """Tell whether two values mean the same: durations and rates by what they say."""
    if is_equal(old, new):
        return True
    if is_time(old) and is_time(new):
        return bool(parse_duration(old) == parse_duration(new))
    return read_rate(old) is not None and read_rate(old) == read_rate(new)


def _directed(looser: str, *, is_looser: bool) -> Verdict:
    return Verdict(direction(is_looser), _REASONS[looser][0 if is_looser else 1])


def _compare_switches(looser: str, old: Any, new: Any) -> Verdict | None:
    loose = looser == "true"
    # Without a known default, what is not said is taken to be the tighter one.
    states = [not loose if item is ABSENT else item for item in (old, new)]
    if not all(isinstance(state, bool) for state in states) or states[0] == states[1]:
        return None
    return _directed(looser, is_looser=states[1] is loose)


def _is_left_out(looser: str, old: Any, new: Any) -> bool:
    """Tell whether null is less than a text, and not a bound, or a list, that is not there."""
    is_text = all(
        item is None or (isinstance(item, str) and not is_time(item)) for item in (old, new)
    )
    is_list = isinstance(old, list) or isinstance(new, list)
    return (looser == "shorter" and not is_list) or (looser == "longer" and is_text)


def _compare_words(words: list[str], old: Any, new: Any) -> Verdict | None:
    if old not in words or new not in words or old == new:
        return None
    is_looser = words.index(new) > words.index(old)
    reason = f"`{new}` is {'looser' if is_looser else 'tighter'} than `{old}`"
    return Verdict(direction(is_looser), reason)


def _size(looser: str, value: Any) -> Fraction | None:
    if value is None:  # no limit at all
        return _INFINITE if looser in RISING else None
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return Fraction(value)
    if is_time(value):
        return Fraction(parse_duration(value).total_seconds())
    return None


def is_time(value: Any) -> bool:
    if not isinstance(value, str) or not is_duration(value):
        return False
    try:
        parse_duration(value)
    except ValueError:
        return False
    return True


def _rates(value: Any) -> list[Rate]:
    """Return rates that hold together; nothing where one of them is none."""
    found = [read_rate(item) for item in (value if isinstance(value, list) else [value])]
    rates = [rate for rate in found if rate is not None]
    return sorted(rates, key=lambda rate: rate.seconds) if len(rates) == len(found) else []


def _compare_rates(old: list[Rate], new: list[Rate], looser: str | None) -> Verdict | None:
    if old == new:
        return Verdict(Grade.cosmetic, "the same rate, written otherwise")
    if looser not in {"higher", "lower"}:
        return None
    if len(old) == len(new) == 1:
        return _compare_averages(old[0], new[0], looser)
    before = {rate.seconds: rate.quota for rate in old}
    after = {rate.seconds: rate.quota for rate in new}
    shared = before.keys() & after.keys()
    higher = any(after[key] > before[key] for key in shared) or before.keys() - after.keys()
    lower = any(after[key] < before[key] for key in shared) or after.keys() - before.keys()
    if bool(higher) == bool(lower):
        return Verdict(Grade.review, "some bounds are higher and some lower")
    return _directed(looser, is_looser=bool(higher) == (looser == "higher"))


def _compare_averages(old: Rate, new: Rate, looser: str) -> Verdict:
    if old.average == new.average:
        size = "larger" if new.quota > old.quota else "smaller"
        burst = f"at once, {new.quota} may come instead of {old.quota}"
        return Verdict(Grade.behaviour, f"the same average with a {size} burst: {burst}")
    return _directed(looser, is_looser=(new.average > old.average) == (looser == "higher"))
