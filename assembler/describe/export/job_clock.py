"""The clock of a job → `schedule` and `timeZone` of a CronJob, or why there are none.

In: a job's entry and the scheduler's zone. Out: a line of five fields that Kubernetes' parser
(robfig/cron, v3) reads as the same fires, but for a job at fixed hours on the day of a change of the
zone's clock: there the cluster runs it twice, or not at all, and `differs` tells when. Refuses, with
a reason, seconds, days told by their rank in the month, days joined by AND other than by a plain `*`,
and intervals that no line gives.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from assembler.manifest.crontab import Crontab, Field
from assembler.manifest.schedule import parse
from assembler.manifest.step import Job

_MINUTE, _HOUR, _DAY, _WEEK = (
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
    timedelta(days=7),
)


class CronClock(NamedTuple):
    """What a CronJob says of time."""

    schedule: str
    zone: str


def differs(job: Job, zone: str, since: datetime) -> datetime | None:
    """Return the next change of the clock at which the cluster's fires are others, within two years."""
    if job.cron is None:
        return None
    schedule = parse(job.cron, job.timezone or zone)
    if schedule.crontab is None or not schedule.crontab.has_fixed_hours:
        return None
    walls = parse(job.cron)  # a clock that never changes
    for change, before, after in _changes(schedule.zone, since):
        # The times of the wall clock that are left out, or come twice.
        low, high = sorted(change.astimezone(UTC) + offset for offset in (before, after))
        fire = walls.after(low - timedelta.resolution)
        if fire is not None and fire < high:
            return change.astimezone(schedule.zone)
    return None


def _changes(zone: ZoneInfo, since: datetime) -> Iterator[tuple[datetime, timedelta, timedelta]]:
    """Yield each change of a clock within two years, with its offsets before and after."""

    def offset(at: datetime) -> timedelta:
        return at.astimezone(zone).utcoffset() or timedelta()

    for day in range(2 * 366):
        low, high = since + day * _DAY, since + (day + 1) * _DAY
        before, after = offset(low), offset(high)
        if before == after:
            continue
        while high - low > timedelta(seconds=1):
            middle = low + (high - low) / 2
            low, high = (middle, high) if offset(middle) == before else (low, middle)
        yield high.replace(microsecond=0), before, after


def job_clock(job: Job, zone: str) -> CronClock | str:
    """Return the clock, or the reason why Kubernetes has none like it."""
    if job.every is not None:
        line = _interval(job.every)
        return CronClock(line, "Etc/UTC") if line else "no crontab line is this interval"
    assert job.cron is not None  # noqa: S101  # a job has one of the two
    schedule = parse(job.cron, job.timezone or zone)
    assert schedule.crontab is not None  # noqa: S101  # it was parsed from one
    reason = _reason(schedule.crontab)
    return reason or CronClock(_line(schedule.crontab), schedule.zone.key)


def _interval(every: timedelta) -> str | None:
    """Return the line that fires at the multiples of `every` since the epoch, in UTC."""
    if every == _WEEK:
        return "0 0 * * 4"  # the epoch was a Thursday
    for unit, whole, line in (
        (_MINUTE, _HOUR, "{} * * * *"),
        (_HOUR, _DAY, "0 {} * * *"),
        (_DAY, _DAY, "0 0 * * *"),
    ):
        if every % unit == timedelta() and whole % every == timedelta() and every <= whole:
            count = every // unit
            if every < whole or unit == whole:
                return line.format("*" if count == 1 else f"*/{count}")
    return None


def _reason(line: Crontab) -> str | None:
    if line.second.numbers != (0,):
        return "Kubernetes has no seconds"
    if not (line.day.is_plain and line.weekday.is_plain):
        return "Kubernetes has no `L`, `LW` and `#`"
    starred = [field for field in (line.day, line.weekday) if field.is_starred]
    if starred and not any(field.is_every for field in starred):
        return "Kubernetes takes `*/n` beside a weekday or day of the month for OR"
    return None


def _line(line: Crontab) -> str:
    """Write five fields; those that the two parsers could read differently as numbers."""
    return " ".join(map(_field, line.fields[1:]))


def _field(field: Field) -> str:
    if field.is_starred and field.is_every:
        return "*"
    has_star = "*" in field.text.removeprefix("*")
    is_weekday_7 = field.kind.name == "weekday" and "7" in field.text
    if has_star or is_weekday_7 or (field.is_starred and "," in field.text):
        return ",".join(map(str, field.numbers))
    return field.text
