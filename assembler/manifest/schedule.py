"""A crontab line or an interval, and a zone → the instants at which a job fires.

In: the text of `cron` or the duration of `every`. Out: a `Schedule`. Its fires are in UTC, so that
they compare and subtract right while a zone's clock changes; `astimezone(schedule.zone)` shows the
zone's. Refuses, as a `ValueError`, a line that is no crontab, one that never fires, an interval
under a second and an unknown zone.

When a zone's clock is set back, a job at fixed hours runs once, at the first of the two times; one
whose minute or hour starts with `*` runs at each. When it is set forward, a job at a time which is
left out runs at the end of the gap, and one with `*` does not. That is what cron does (Vixie's, and
`cronsim` for lines of five fields); a field for seconds changes nothing of it.

What `cronsim` lacks stands here: its `explain()` says "and" where day of the month and weekday mean
OR, and "at minute 0 past every second hour" for every 2 hours, so the words are ours whole; its
reverse search walks a wall clock, while `latest` asks for instants, of which a change of the clock
makes two from one time, or one from many.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from assembler.manifest.crontab import Crontab, Field, Term, read_crontab

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHORTEST = timedelta(seconds=1)
_LONGEST = timedelta(days=366 * 50)  # nothing fires more seldom: 29 February on a set weekday
_MINUTE = timedelta(minutes=1)
_CHANGE = timedelta(hours=3)  # no zone sets its clock by more, twice within that time
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


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a job fires. Made by `parse` or `every`; equal text and zone are equal schedules."""

    text: str
    zone: ZoneInfo
    crontab: Crontab | None = None
    interval: timedelta | None = None

    def after(self, moment: datetime) -> datetime | None:
        """Return the first fire strictly later than `moment`, in UTC; None where none comes."""
        moment = _instant(moment)
        try:
            if self.interval is not None:
                return _EPOCH + ((moment - _EPOCH) // self.interval + 1) * self.interval
            return self._cron_after(moment)
        except OverflowError:  # the calendar ends
            return None

    def latest(self, moment: datetime) -> datetime | None:
        """Return the last fire at or before `moment`, in UTC; None where none came in 50 years."""
        moment = _instant(moment)
        back = _MINUTE
        while not self._fires_within(moment - back, moment):
            back *= 2
            if back > 2 * _LONGEST:
                return None
        low, high = moment - back, moment
        while True:  # the fire after `low` is in reach: halve the rest until it is the last one
            fire = self.after(low)
            assert fire is not None  # noqa: S101  # it was seen
            following = self.after(fire)
            if following is None or following > moment:
                return fire
            middle = fire + (high - fire) / 2
            if self._fires_within(middle, moment):
                low = middle
            else:
                low, high = fire - timedelta.resolution, middle

    def fires(self, moment: datetime, count: int) -> list[datetime]:
        """Return the next `count` fires after `moment`; fewer where no more come."""
        return list(islice(self._from(moment), count))

    def describe(self) -> str:
        """Say in plain words when it fires, without the zone: `at 09:00 on Sunday`."""
        if self.interval is not None:
            return _interval_in_words(self.interval)
        assert self.crontab is not None  # noqa: S101  # one of the two is there
        return _line_in_words(self.crontab)

    def _from(self, moment: datetime) -> Iterator[datetime]:
        fire = self.after(moment)
        while fire is not None:
            yield fire
            fire = self.after(fire)

    def _fires_within(self, low: datetime, high: datetime) -> bool:
        fire = self.after(low)
        return fire is not None and fire <= high

    def _cron_after(self, moment: datetime) -> datetime | None:
        assert self.crontab is not None  # noqa: S101  # `after` has seen to it
        if self.crontab.has_fixed_hours:
            return self._fixed_after(moment)
        return self._running_after(moment)

    def _fixed_after(self, moment: datetime) -> datetime | None:
        """Each time of the wall clock once: the first of two, and the end of a gap."""
        for wall in self._walls(moment.astimezone(self.zone).replace(tzinfo=None)):
            shown = wall
            while _is_left_out(shown, self.zone):
                shown = shown.replace(second=0) + _MINUTE
            fire = shown.replace(tzinfo=self.zone).astimezone(UTC)
            if fire > moment:
                return fire
        return None

    def _running_after(self, moment: datetime) -> datetime | None:
        """Each instant whose wall clock fits: both of two, none of a gap."""
        local = moment.astimezone(self.zone)
        wall = local.replace(tzinfo=None)
        first = next(self._instants(wall, moment), None)
        later = moment + _CHANGE
        if first is not None and first < later and _offset(first, self.zone) == local.utcoffset():
            return first
        set_back = (local.utcoffset() or timedelta()) - _offset(later, self.zone)
        if set_back > timedelta():  # the wall times just before may come again
            again = self._instants(wall - set_back, moment)
            return next(again, first)
        return first

    def _instants(self, wall: datetime, moment: datetime) -> Iterator[datetime]:
        """Yield instants after `moment` whose wall clock fits and stands after `wall`."""
        for fitting in self._walls(wall):
            if not _is_left_out(fitting, self.zone):
                pair = (fitting.replace(tzinfo=self.zone, fold=fold) for fold in (0, 1))
                yield from (instant for one in pair if (instant := one.astimezone(UTC)) > moment)

    def _walls(self, wall: datetime) -> Iterator[datetime]:
        """Yield the times of a wall clock without changes that fit, after `wall`."""
        from cronsim import CronSim  # noqa: PLC0415  # only a manifest with `cron` needs it

        assert self.crontab is not None  # noqa: S101  # `after` has seen to it
        return CronSim(self.crontab.text, wall)


def parse(text: str, zone: str = "UTC") -> Schedule:
    """Read a crontab line of five or six fields, or `@daily` and the like; raises ValueError."""
    crontab = read_crontab(text)
    schedule = Schedule(crontab.text, read_zone(zone), crontab)
    if not _ever_fires(crontab):
        raise ValueError(f"`{' '.join(text.split())}` never fires: its day is in no month")
    return schedule


def every(interval: timedelta, zone: str = "UTC") -> Schedule:
    """Fire at the multiples of `interval` since the epoch: in every process at the same instants.

    Raises ValueError for an interval below a second, and for an unknown zone.
    """
    if interval < _SHORTEST:
        raise ValueError("must be at least `1s`")
    return Schedule(_interval_in_words(interval), read_zone(zone), interval=interval)


def read_zone(name: str) -> ZoneInfo:
    """Return the zone of that name; raises `ValueError`."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError(f"`{name}` is no time zone: write one such as `Europe/Paris`") from None


def _instant(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a moment needs a zone")
    return moment.astimezone(UTC)


def _ever_fires(crontab: Crontab) -> bool:
    from cronsim import CronSim, CronSimError  # noqa: PLC0415  # only `cron` needs it

    try:
        return next(CronSim(crontab.text, datetime(2000, 1, 1)), None) is not None  # noqa: DTZ001  # a wall clock's
    except CronSimError:  # the fields are right, so it has seen a day that no month has
        return False


def _is_left_out(wall: datetime, zone: ZoneInfo) -> bool:
    """Tell whether the zone's clock skips this time."""
    shown = wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone)
    return shown.replace(tzinfo=None, fold=0) != wall


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _interval_in_words(interval: timedelta) -> str:
    """Write an interval in the largest unit that takes it whole."""
    milliseconds = interval // timedelta(milliseconds=1)
    unit, size = next((unit, size) for unit, size in _UNITS.items() if milliseconds % size == 0)
    return _each(milliseconds // size, unit)


def _line_in_words(line: Crontab) -> str:
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
