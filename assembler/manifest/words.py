"""A schedule → plain English.

In: the fields of a crontab line, or an interval. Out: `every 5 minutes`, `at 09:00 on Sunday`, `at
00:00 on day 13 of the month or on Friday`. The clock has 24 hours. Refuses nothing.
"""

from collections.abc import Callable, Iterable
from datetime import timedelta

from assembler.manifest.crontab import Crontab, Field, Term

_UNITS = {"hour": 3_600_000, "minute": 60_000, "second": 1000, "millisecond": 1}  # in milliseconds
_MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}
_RANKS = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", -1: "last"}
_MOST_TIMES = 6  # times of a day that are written out


def interval_in_words(interval: timedelta) -> str:
    """Write an interval in the largest unit that takes it whole."""
    milliseconds = interval // timedelta(milliseconds=1)
    unit, size = next((unit, size) for unit, size in _UNITS.items() if milliseconds % size == 0)
    return _each(milliseconds // size, unit)


def line_in_words(line: Crontab) -> str:
    """Say when a line fires: the time of the day, then the days, then the months."""
    times, are_set = _times(line)
    days = _days(line)
    months = "" if line.month.is_every else f"in {_listed(line.month, _month)}"
    if are_set and not days:
        days = "every day"
    return " ".join(part for part in (times, days, months) if part)


def _times(line: Crontab) -> tuple[str, bool]:
    """Say the time, and whether it is one of a few set ones."""
    second, minute, hour = line.second, line.minute, line.hour
    count = len(second.numbers) * len(minute.numbers) * len(hour.numbers)
    if count <= _MOST_TIMES:
        clock = (
            _clock(h, m, s) for h in hour.numbers for m in minute.numbers for s in second.numbers
        )
        return f"at {_joined(clock)}", True
    if second.numbers == (0,):
        return _minutes(minute, hour), False
    if minute.is_every:
        pace = _paced(second, "minute")
        return (pace if hour.is_every else f"{pace}, {_within(hour)}"), False
    pace = _paced(second, "minute").removesuffix(" of every minute")
    step = _pace(minute)
    which = f"every {_ordinal(step)} minute" if step else _counted(minute, "minute")
    within = "of every hour" if hour.is_every else _within(hour)
    return f"{pace}, in {which} {within}", False


def _minutes(minute: Field, hour: Field) -> str:
    if hour.is_every:
        return _paced(minute, "hour")
    pace = _pace(hour)
    if pace and minute.numbers == (0,):
        return _each(pace, "hour")
    if pace and len(minute.numbers) == 1:
        return f"{_each(pace, 'hour')} at minute {minute.numbers[0]}"
    return f"{_paced(minute, 'hour')}, {_within(hour)}"


def _paced(field: Field, whole: str) -> str:
    """Say how a field of seconds or minutes divides the `whole` that it is a part of."""
    name = field.kind.name
    pace = _pace(field)
    if pace:
        return _each(pace, name)
    if field.numbers == (0,):
        return f"every {whole}"
    return f"at {_counted(field, name)} of every {whole}"


def _pace(field: Field) -> int:
    """Return the step of a field that starts at its first number and divides the whole, or 0."""
    first, last = field.kind.low, field.kind.high
    if len(field.terms) != 1 or field.terms[0].low != first or field.terms[0].high != last:
        return 0
    step = field.terms[0].step
    return step if (last + 1) % step == 0 and step <= last else 0


def _within(hour: Field) -> str:
    spans = ((term.low, term.high) if term.step == 1 else None for term in hour.terms)
    found = [span for span in spans if span]
    if len(found) == len(hour.terms):
        return _joined(f"from {low:02}:00 to {high:02}:59" for low, high in found)
    pace = _pace(hour)
    if pace:
        return f"in every {_ordinal(pace)} hour from 00:00"
    return f"in the hours {_joined(map(str, hour.numbers))}"


def _days(line: Crontab) -> str:
    day, weekday = line.day, line.weekday
    if day.is_every or weekday.is_every:
        # Beside a field that is `*` the other decides; one that is full and not starred is OR.
        if line.joins_days == "or" or (day.is_every and weekday.is_every):
            return ""
        return _weekdays(weekday) if day.is_every else _dates(day)
    if line.joins_days == "or":
        return f"{_dates(day)} or {_weekdays(weekday)}"
    return f"{_dates(day)} if that is {_weekdays(weekday).removeprefix('on ')}"


def _dates(day: Field) -> str:
    if not day.is_plain:
        return f"on {_joined(_date(term) for term in day.terms)} of the month"
    term = day.terms[0]
    if len(day.terms) == 1 and term.step > 1 and (term.low, term.high) == (1, 31):
        return f"on every {_ordinal(term.step)} day of the month from the 1st"
    return f"on {_counted(day, 'day')} of the month"


def _date(term: Term) -> str:
    if term.is_last_workday:
        return "the last Monday to Friday day"
    if term.rank:
        return "the last day"
    return f"day{'' if term.low == term.high else 's'} {_span(term, str)}"


def _weekdays(weekday: Field) -> str:
    if weekday.is_plain:
        return f"on {_listed(weekday, _weekday)}"
    return f"on {_joined(_weekday_of_month(term) for term in weekday.terms)}"


def _weekday_of_month(term: Term) -> str:
    if term.rank:
        return f"the {_RANKS[term.rank]} {_weekday(term.low)} of the month"
    return _span(term, _weekday)


def _listed(field: Field, shown: Callable[[int], str]) -> str:
    """Name the numbers of a plain field, ranges as such."""
    if any(term.step > 1 for term in field.terms):
        return _joined(map(shown, field.numbers))
    return _joined(_span(term, shown) for term in field.terms)


def _counted(field: Field, noun: str) -> str:
    is_one = len(field.numbers) == 1
    return f"{noun}{'' if is_one else 's'} {_listed(field, str)}"


def _span(term: Term, shown: Callable[[int], str]) -> str:
    if term.low == term.high:
        return shown(term.low)
    joint = " and " if term.high == term.low + 1 else " to "
    return f"{shown(term.low)}{joint}{shown(term.high)}"


def _joined(parts: Iterable[str]) -> str:
    *head, last = dict.fromkeys(parts)
    return f"{', '.join(head)} and {last}" if head else last


def _each(count: int, unit: str) -> str:
    return f"every {unit}" if count == 1 else f"every {count} {unit}s"


def _clock(hour: int, minute: int, second: int) -> str:
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")


def _ordinal(number: int) -> str:
    teens = number % 100 in {11, 12, 13}
    return f"{number}{'th' if teens else _ENDINGS.get(number % 10, 'th')}"


def _month(number: int) -> str:
    return _MONTHS[number - 1]


def _weekday(number: int) -> str:
    return _DAYS[number]
