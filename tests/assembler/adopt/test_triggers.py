"""Clocks of APScheduler become crontabs that fire at the same instants, or are told to stay."""

from typing import Any

import pytest
from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.combining import OrTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from assembler.adopt.triggers import clock_of

ZONE = "Europe/Berlin"


@pytest.mark.parametrize(
    ("trigger", "cron"),
    [
        # APScheduler counts days of the week from Monday, cron from Sunday.
        (CronTrigger.from_crontab("0 2 * * 1", timezone=ZONE), "0 2 * * tue"),
        (CronTrigger.from_crontab("0 2 * * 0-4", timezone=ZONE), "0 2 * * mon-fri"),
        (CronTrigger(day_of_week="mon,thu", hour=9, timezone=ZONE), "0 9 * * mon,thu"),
        (CronTrigger(hour=6, minute=30, timezone=ZONE), "30 6 * * *"),
        (CronTrigger(minute="*/15", timezone=ZONE), "*/15 * * * *"),
        (CronTrigger(second="*/20", timezone="UTC"), "*/20 * * * * *"),
        (CronTrigger(day="1,15", hour=4, timezone="UTC"), "0 4 1,15 * *"),
        (CronTrigger(month="1-6", day=1, timezone="UTC"), "0 0 1 1-6 *"),
    ],
)
def test_a_crontab_fires_at_the_same_instants(trigger: Any, cron: str) -> None:
    clock = clock_of(trigger, read_again="UTC")
    assert clock["cron"]["value"] == cron
    assert clock["timezone"]["value"] == str(trigger.timezone)


def test_an_interval_is_one() -> None:
    clock = clock_of(IntervalTrigger(minutes=5, timezone="UTC"), read_again="UTC")
    assert clock == {"every": {"is": "literal", "value": "5m"}}


@pytest.mark.parametrize(
    ("trigger", "reason"),
    [
        (DateTrigger("2030-01-01", timezone="UTC"), "a `DateTrigger` is no clock"),
        (CalendarIntervalTrigger(months=1, timezone="UTC"), "a `CalendarIntervalTrigger` is no"),
        (OrTrigger([CronTrigger(hour=1, timezone="UTC")]), "a `OrTrigger` is no clock"),
        (CronTrigger(hour=1, jitter=30, timezone="UTC"), "its clock begins, ends or jitters"),
        (CronTrigger(week=10, timezone="UTC"), "its clock has a year or a week"),
        (CronTrigger(day="1-7", day_of_week="mon", timezone="UTC"), "both the day and the weekday"),
        (CronTrigger(day="2nd fri", timezone="UTC"), "its clock counts weekdays of a month"),
        (IntervalTrigger(seconds=1, timezone="UTC", jitter=5), "its interval ends or jitters"),
    ],
)
def test_a_clock_that_no_line_gives_stays(trigger: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        clock_of(trigger, read_again="UTC")


def test_a_clock_may_differ_where_the_zone_sets_its_own() -> None:
    trigger = CronTrigger(hour=2, minute=30, timezone=ZONE)  # left out once a year, twice once
    assert clock_of(trigger, read_again="UTC")["cron"]["value"] == "30 2 * * *"
