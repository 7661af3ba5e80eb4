"""The clocks of a job on both sides → how often it fires before and after, and the next five times.

In: `cron`, `every` and the zone of each side, and the moment from which fires are told. Out: a
`Change`, or None where the clocks are the same. A line that cannot be read is `check`'s to refuse.
"""

from datetime import datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

from assembler.document.nodes import Node
from assembler.manifest import schedule as cron
from assembler.manifest.duration import parse_duration
from assembler.manifest.schedule import Schedule
from assembler.review.diff.change import Change, change
from assembler.review.finding import Grade

_DAY = timedelta(days=1)
_YEAR_DAYS = 365
_TOLD = 5
_CLOCKS = 100  # of which fires are told: a rare one is searched for through years


class JobClock(NamedTuple):
    """What an entry says of its fires; `node` is where it says so."""

    cron: str | None
    every: str | None
    zone: str
    node: Node | None


class FireTeller:
    """Tells fires from one moment on, of so many clocks as somebody may read."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._left = _CLOCKS

    def take(self) -> bool:
        """Tell whether one more pair of clocks is told."""
        self._left -= 1
        return self._left >= 0


def compare_clocks(job: str, old: JobClock, new: JobClock, teller: FireTeller) -> Change | None:
    """Judge a change of the clock: other fires are another behaviour."""
    if old[:3] == new[:3]:
        return None
    nodes = old.node, new.node
    schedules = _read(old), _read(new)
    if None in schedules:
        message = f"`{job}` runs at other times, which cannot be told"
        return change(Grade.review, "schedule-changed", message, *nodes)
    before, after = (item for item in schedules if item is not None)
    if _is_same(before, after):
        message = f"`{job}` fires at the same times; its clock is written otherwise"
        return change(Grade.cosmetic, "schedule-changed", message, *nodes)
    if not teller.take():
        message = f"`{job}` fires {after.describe()} instead of {before.describe()}"
        return change(Grade.behaviour, "schedule-changed", message, *nodes)
    counts = f"fires per day: {_often(before)} before, {_often(after)} after"
    message = f"`{job}` fires {after.describe()} instead of {before.describe()}; {counts}"
    if before.describe() == after.describe():
        message = f"`{job}` fires {after.describe()} by the clock of another zone; {counts}"
    details = [
        f"{side}: {_fires(schedule, teller.now)}"
        for side, schedule in (("old", before), ("new", after))
    ]
    return change(Grade.behaviour, "schedule-changed", message, *nodes, details)


def _read(clock: JobClock) -> Schedule | None:
    try:
        if clock.every is not None:
            return cron.every(parse_duration(clock.every), clock.zone)
        return cron.parse(clock.cron or "", clock.zone)
    except ValueError:
        return None


def _is_same(old: Schedule, new: Schedule) -> bool:
    if old.interval is not None or new.interval is not None:
        return old.interval == new.interval  # the zone of an interval shows its fires alone
    if old.zone != new.zone or old.crontab is None or new.crontab is None:
        return False
    pairs = list(zip(old.crontab.fields, new.crontab.fields, strict=True))
    is_starred = all(one.is_starred == other.is_starred for one, other in pairs)
    return is_starred and all(
        one.text == other.text or (one.is_plain and other.is_plain and one.numbers == other.numbers)
        for one, other in pairs
    )


def _often(schedule: Schedule) -> str:
    """Say how often it fires on a day, over a year without a change of the clock."""
    if schedule.interval is not None:
        return _number(Fraction(_DAY / schedule.interval))
    crontab = schedule.crontab
    if crontab is None:
        return "an unknown number of"
    a_day = 1
    for field in (crontab.second, crontab.minute, crontab.hour):
        a_day *= len(field.numbers)
    days = cron.parse(f"0 0 {crontab.day.text} {crontab.month.text} {crontab.weekday.text}")
    start = datetime.fromisoformat("2001-01-01T00:00:00+00:00") - timedelta(seconds=1)
    end = start + _YEAR_DAYS * _DAY
    active, fire = 0, days.after(start)
    while fire is not None and fire <= end:
        active, fire = active + 1, days.after(fire)
    return _number(Fraction(a_day * active, _YEAR_DAYS))


def _number(value: Fraction) -> str:
    return f"{float(value):.2f}".rstrip("0").rstrip(".")


def _fires(schedule: Schedule, now: datetime) -> str:
    fires = schedule.fires(now, _TOLD)
    shown = "seconds" if any(fire.second for fire in fires) else "minutes"
    return ", ".join(fire.astimezone(schedule.zone).isoformat(timespec=shown) for fire in fires)
