"""A crontab line or an interval, and a zone → the instants at which a job fires.

In: the text of `cron` or the duration of `every`. Out: a `Schedule`. Its fires are in UTC, so that
they compare and subtract right while a zone's clock changes; `astimezone(schedule.zone)` shows the
zone's. Refuses, as a `ValueError`, a line that is no crontab, one that never fires, an interval
under a second and an unknown zone.

When a zone's clock is set back, a job at fixed hours runs once, at the first of the two times; one
whose minute or hour starts with `*` runs at each. When it is set forward, a job at a time which is
left out runs at the end of the gap, and one with `*` does not. That is what cron does (Vixie's, and
`cronsim` for lines of five fields); a field for seconds changes nothing of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from assembler.manifest.crontab import Crontab, read_crontab
from assembler.manifest.words import interval_in_words, line_in_words

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHORTEST = timedelta(seconds=1)
_LONGEST = timedelta(days=366 * 50)  # nothing fires more seldom: 29 February on a set weekday
_MINUTE = timedelta(minutes=1)
_CHANGE = timedelta(hours=3)  # no zone sets its clock by more, twice within that time


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
            return interval_in_words(self.interval)
        assert self.crontab is not None  # noqa: S101  # one of the two is there
        return line_in_words(self.crontab)

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
    """Read a crontab line of five or six fields, or `@daily` and the like."""
    crontab = read_crontab(text)
    schedule = Schedule(crontab.text, read_zone(zone), crontab)
    if not _ever_fires(crontab):
        raise ValueError(f"`{' '.join(text.split())}` never fires: its day is in no month")
    return schedule


def every(interval: timedelta, zone: str = "UTC") -> Schedule:
    """Fire at the multiples of `interval` since the epoch: in every process at the same instants."""
    if interval < _SHORTEST:
        raise ValueError("must be at least `1s`")
    return Schedule(interval_in_words(interval), read_zone(zone), interval=interval)


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
