"""A crontab line → its fields, each with its terms.

In: five fields, six with one for seconds in front, or a word such as `@daily`. Out: a `Crontab`,
whose Sunday is 0, and 7 at the end of a range. Refuses, as a `ValueError` in the words of the
format, a wrong number of fields and whatever a field cannot hold, and names the field.
"""

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_TERM = re.compile(r"(?P<low>[^-/#]+)(-(?P<high>[^-/#]+))?(/(?P<step>[^-/#]+))?\Z")
_NUMBER = re.compile(r"[0-9]{1,4}\Z")
_NTH = re.compile(r"(?P<day>[^#]+)#(?P<nth>[1-5])\Z")
_LONGEST = 1000  # characters; a list of every minute has 169


class Kind(NamedTuple):
    """What a field counts, and its bounds; `names` stand for the numbers from `low` on."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def bounds(self) -> str:
        """What the field takes, for messages."""
        words = f", or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"{self.low} to {self.high}{words}"


KINDS = (
    Kind("second", 0, 59),
    Kind("minute", 0, 59),
    Kind("hour", 0, 23),
    Kind("day of the month", 1, 31),
    Kind("month", 1, 12, _MONTHS),
    Kind("weekday", 0, 7, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Term:
    """One part of a list: the numbers from `low` to `high` in steps, or a day told by its rank.

    `rank` is 1 to 5 for the nth such weekday of a month, -1 for the last (of a weekday or of the
    days of a month), and `is_last_workday` means the last Monday to Friday of a month.
    """

    low: int
    high: int
    step: int = 1
    rank: int = 0
    is_last_workday: bool = False

    @property
    def values(self) -> range:
        """The numbers, where the term is no rank."""
        return range(self.low, self.high + 1, self.step)


@dataclass(frozen=True, slots=True)
class Field:
    """One field: what it counts, its text in one spelling, its terms."""

    kind: Kind
    text: str
    terms: tuple[Term, ...]

    @property
    def is_starred(self) -> bool:
        """Tell whether cron takes the field for a wildcard: its text starts with `*`."""
        return self.text.startswith("*")

    @property
    def is_every(self) -> bool:
        """Tell whether the field leaves nothing out."""
        last = self.kind.high - (self.kind.name == "weekday")
        return self.is_plain and set(self.numbers) == set(range(self.kind.low, last + 1))

    @property
    def is_plain(self) -> bool:
        """Tell whether the field is made of numbers alone."""
        return not any(term.rank or term.is_last_workday for term in self.terms)

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers of a plain field in order; Sunday is 0."""
        found = {value for term in self.terms for value in term.values}
        return tuple(sorted({value % 7 for value in found} if self.kind.names == _DAYS else found))


@dataclass(frozen=True, slots=True)
class Crontab:
    """The six fields of a line."""

    second: Field
    minute: Field
    hour: Field
    day: Field
    month: Field
    weekday: Field
    has_seconds: bool

    @property
    def text(self) -> str:
        """The line in one spelling: capital names, no range that ends with SUN."""
        return " ".join(field.text for field in self.fields[not self.has_seconds :])

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields, the one of the seconds first."""
        return (self.second, self.minute, self.hour, self.day, self.month, self.weekday)

    @property
    def has_fixed_hours(self) -> bool:
        """Tell whether cron takes the job for one at set hours: neither minute nor hour is `*…`."""
        return not (self.minute.is_starred or self.hour.is_starred)

    @property
    def joins_days(self) -> Literal["and", "or"]:
        """How day of the month and weekday go together where both are given."""
        return "and" if self.day.is_starred or self.weekday.is_starred else "or"


def read_crontab(text: str) -> Crontab:
    """Read a crontab line; raises `ValueError`."""
    if len(text) > _LONGEST or not text.isascii():
        raise ValueError(f"takes a crontab line of at most {_LONGEST} ASCII characters")
    words = _macro(text.strip()).split()
    if len(words) not in {5, 6}:
        raise ValueError(
            f"takes five crontab fields, or six with seconds in front, not {len(words)}"
        )
    has_seconds = len(words) == 6
    words = words if has_seconds else ["0", *words]
    fields = [_field(kind, word) for kind, word in zip(KINDS, words, strict=True)]
    second, minute, hour, day, month, weekday = fields
    return Crontab(second, minute, hour, day, month, weekday, has_seconds)


def _macro(text: str) -> str:
    if not text.startswith("@"):
        return text
    if text.lower() == "@reboot":
        raise ValueError("`@reboot` is no time: name the function under `startup`")
    if text.lower() not in MACROS:
        known = ", ".join(f"`{name}`" for name in MACROS)
        raise ValueError(f"takes a crontab line, or one of {known}")
    return MACROS[text.lower()]


def _field(kind: Kind, text: str) -> Field:
    if "?" in text:
        raise ValueError(f"`?` is not crontab: write `*` for the {kind.name}")
    parts = text.split(",")
    terms = tuple(_term(kind, part) for part in parts)
    spelled = text.upper()
    if kind.names == _DAYS:
        spelled = ",".join(map(_respelled, spelled.split(",")))
    return Field(kind, spelled, terms)


def _term(kind: Kind, written: str) -> Term:
    text = written.upper()
    ranked = _ranked(kind, text)
    if ranked is not None:
        return ranked
    match = _TERM.match(text)
    if match is None:
        raise ValueError(f"the {kind.name} `{written}` is no crontab: takes {kind.bounds}")
    step = _step(kind, written, match["step"])
    if match["low"] == "*" and match["high"] is None:
        return Term(kind.low, kind.high, step)
    low = _number(kind, match["low"], written)
    if match["high"] is None:
        return Term(low, kind.high if match["step"] else low, step)
    high = _number(kind, match["high"], written)
    if match["high"] == "SUN" and low:
        high = 7
    if high < low:
        raise ValueError(f"the {kind.name} range `{written}` runs backwards")
    return Term(low, high, step)


def _ranked(kind: Kind, text: str) -> Term | None:
    """Read what tells a day by its rank in the month: `L`, `LW`, `5L`, `MON#1`."""
    if kind.name == "day of the month" and text in {"L", "LW"}:
        is_workday = text == "LW"
        return Term(0, 0, rank=0 if is_workday else -1, is_last_workday=is_workday)
    if kind.names != _DAYS:
        return None
    if re.fullmatch("[0-7]L", text):
        return Term(int(text[0]) % 7, int(text[0]) % 7, rank=-1)
    match = _NTH.match(text)
    if match is None:
        return None
    day = _number(kind, match["day"], text) % 7
    return Term(day, day, rank=int(match["nth"]))


def _step(kind: Kind, text: str, step: str | None) -> int:
    if step is None:
        return 1
    if not _NUMBER.match(step) or int(step) == 0:
        raise ValueError(f"the step of the {kind.name} `{text}` is no number of 1 or more")
    return int(step)


def _number(kind: Kind, text: str, written: str) -> int:
    if text in kind.names:
        return kind.names.index(text) + kind.low
    if not _NUMBER.match(text) or not kind.low <= int(text) <= kind.high:
        raise ValueError(f"the {kind.name} `{written}` is outside {kind.bounds}")
    return int(text)


def _respelled(part: str) -> str:
    """Write the Sunday at the end of a range as 7: `FRI-SUN` is no range from 5 to 0."""
    return re.sub(r"\A(?!SUN|0)(\w+)-SUN\b", r"\1-7", part)
