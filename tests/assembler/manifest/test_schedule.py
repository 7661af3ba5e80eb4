"""Schedules: when a crontab line or an interval fires, and how that reads."""

import random
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given
from hypothesis import strategies as st

from assembler.manifest.schedule import Schedule, every, parse

NEW_YORK, KOLKATA, LORD_HOWE = "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"
RANDOM = random.Random(20261101)
# Of 2026. New York: forward by an hour at 2:00 on 8 March, back at 2:00 on 1 November. Lord Howe:
# back by half an hour at 2:00 on 5 April, forward at 2:00 on 4 October. Kolkata has no changes.
CHANGES = {
    "UTC": ["2026-03-08T05:00", "2026-12-31T22:00"],
    NEW_YORK: ["2026-03-08T05:00", "2026-11-01T03:00", "2026-07-01T00:00"],
    KOLKATA: ["2026-03-28T18:00", "2026-10-24T18:00"],
    "Europe/Paris": ["2026-03-28T22:00", "2026-10-24T22:00"],
}


def field(low: int, high: int, stars: float) -> str:
    kind = RANDOM.random()
    if kind < stars:
        return "*"
    if kind < stars + 0.1:
        return f"*/{RANDOM.randint(1, high)}"
    return ",".join(term(low, high) for _ in range(RANDOM.randint(1, 3)))


def term(low: int, high: int) -> str:
    first = RANDOM.randint(low, high)
    if RANDOM.random() < 0.6:
        return str(first)
    step = f"/{RANDOM.randint(1, 9)}" if RANDOM.random() < 0.3 else ""
    return f"{first}-{RANDOM.randint(first, high)}{step}"


def line() -> str:
    fields = ((0, 59, 0.2), (0, 23, 0.4), (1, 31, 0.6), (1, 12, 0.7), (0, 7, 0.6))
    return " ".join(field(*one) for one in fields)


def test_a_thousand_random_lines_fire_when_cronsim_says() -> None:
    compared = 0
    while compared < 1000:
        zone = RANDOM.choice(list(CHANGES))
        start = datetime.fromisoformat(RANDOM.choice(CHANGES[zone])).replace(tzinfo=UTC)
        text = line()
        try:
            theirs = CronSim(text, start.astimezone(ZoneInfo(zone)))
            expected = [next(theirs).astimezone(UTC) for _ in range(12)]
        except (CronSimError, StopIteration):
            with pytest.raises(ValueError):
                parse(text, zone)
            continue
        assert parse(text, zone).fires(start, 12) == expected, (text, zone, start)
        compared += 1


@pytest.mark.parametrize(
    ("zone", "text", "after", "expected"),
    [
        # Set forward in New York: 1:59 EST is followed by 3:00 EDT.
        (NEW_YORK, "30 2 * * *", "2026-03-07T12:00-05:00", ["08T03:00-04:00", "09T02:30-04:00"]),
        (NEW_YORK, "0 3 * * *", "2026-03-07T12:00-05:00", ["08T03:00-04:00", "09T03:00-04:00"]),
        (NEW_YORK, "30 * * * *", "2026-03-08T00:30-05:00", ["08T01:30-05:00", "08T03:30-04:00"]),
        (NEW_YORK, "0,30 2 * * *", "2026-03-08T00:00-05:00", ["08T03:00-04:00", "09T02:00-04:00"]),
        (
            NEW_YORK,
            "15 30 2 * * *",
            "2026-03-08T00:00-05:00",
            ["08T03:00-04:00", "09T02:30:15-04:00"],
        ),
        # Set back in New York: 1:59 EDT is followed by 1:00 EST.
        (NEW_YORK, "30 1 * * *", "2026-11-01T00:00-04:00", ["01T01:30-04:00", "02T01:30-05:00"]),
        (NEW_YORK, "30 1 * * *", "2026-11-01T01:10-05:00", ["02T01:30-05:00"]),
        (NEW_YORK, "0 30 1 * * *", "2026-11-01T00:00-04:00", ["01T01:30-04:00", "02T01:30-05:00"]),
        (
            NEW_YORK,
            "30 * * * *",
            "2026-11-01T00:00-04:00",
            ["01T00:30-04:00", "01T01:30-04:00", "01T01:30-05:00", "01T02:30-05:00"],
        ),
        (
            NEW_YORK,
            "*/30 1 * * *",
            "2026-11-01T00:00-04:00",
            [
                "01T01:00-04:00",
                "01T01:30-04:00",
                "01T01:00-05:00",
                "01T01:30-05:00",
                "02T01:00-05:00",
            ],
        ),
        # Kolkata, which is half an hour off, and never changes.
        (KOLKATA, "30 1 * * *", "2026-03-28T00:00+05:30", ["28T01:30+05:30", "29T01:30+05:30"]),
        (KOLKATA, "0 * * * *", "2026-10-25T01:00+05:30", ["25T02:00+05:30", "25T03:00+05:30"]),
        # Set back in Lord Howe: 1:59 +11:00 is followed by 1:30 +10:30.
        (LORD_HOWE, "45 1 * * *", "2026-04-05T00:00+11:00", ["05T01:45+11:00", "06T01:45+10:30"]),
        (LORD_HOWE, "15 1 * * *", "2026-04-05T00:00+11:00", ["05T01:15+11:00", "06T01:15+10:30"]),
        (
            LORD_HOWE,
            "45 * * * *",
            "2026-04-05T00:50+11:00",
            ["05T01:45+11:00", "05T01:45+10:30", "05T02:45+10:30"],
        ),
        (LORD_HOWE, "15 * * * *", "2026-04-05T00:50+11:00", ["05T01:15+11:00", "05T02:15+10:30"]),
        (LORD_HOWE, "*/10 2 * * *", "2026-04-05T00:00+11:00", ["05T02:00+10:30", "05T02:10+10:30"]),
        # Set forward in Lord Howe: 1:59 +10:30 is followed by 2:30 +11:00.
        (LORD_HOWE, "15 2 * * *", "2026-10-04T00:00+10:30", ["04T02:30+11:00", "05T02:15+11:00"]),
        (LORD_HOWE, "45 2 * * *", "2026-10-04T00:00+10:30", ["04T02:45+11:00", "05T02:45+11:00"]),
        (LORD_HOWE, "15 * * * *", "2026-10-04T01:15+10:30", ["04T03:15+11:00", "04T04:15+11:00"]),
        (LORD_HOWE, "45 * * * *", "2026-10-04T01:00+10:30", ["04T01:45+10:30", "04T02:45+11:00"]),
    ],
)
def test_a_change_of_the_clock_is_met_as_cron_meets_it(
    zone: str, text: str, after: str, expected: list[str]
) -> None:
    schedule = parse(text, zone)
    fires = schedule.fires(datetime.fromisoformat(after), len(expected))
    told = [f"{after[:8]}{one}" for one in expected]
    assert fires == [datetime.fromisoformat(one) for one in told]
    assert [fire.astimezone(schedule.zone).utcoffset() for fire in fires] == [
        datetime.fromisoformat(one).utcoffset() for one in told
    ]


def fits(schedule: Schedule, moment: datetime) -> bool:
    assert schedule.crontab is not None
    wall, crontab = moment.astimezone(schedule.zone), schedule.crontab
    return wall.minute in crontab.minute.numbers and wall.hour in crontab.hour.numbers


@pytest.mark.parametrize("zone", [LORD_HOWE, NEW_YORK, "Africa/Casablanca", "America/St_Johns"])
@pytest.mark.parametrize(
    "day", ["2026-02-14", "2026-03-08", "2026-04-04", "2026-10-03", "2026-11-01"]
)
def test_a_line_with_a_star_fires_at_each_minute_whose_wall_clock_fits(zone: str, day: str) -> None:
    start = datetime.fromisoformat(f"{day}T00:00+00:00")
    minutes = [start + timedelta(minutes=number) for number in range(1, 24 * 60)]
    for text in ("* 1-2 * * *", "45 * * * *", "*/7 2 * * *", "0-20 */2 * * *"):
        schedule = parse(text, zone)
        expected = [moment for moment in minutes if fits(schedule, moment)]
        assert schedule.fires(start, len(expected)) == expected
        for moment in minutes[200::173]:
            before = [fire for fire in expected if fire <= moment]
            assert not before or schedule.latest(moment) == before[-1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("*/25 * * * *", "at minutes 0, 25 and 50 of every hour"),
        ("0 * * * *", "every hour"),
        ("@hourly", "every hour"),
        ("5 * * * *", "at minute 5 of every hour"),
        ("0-10 * * * *", "at minutes 0 to 10 of every hour"),
        ("0 9 * * 0", "at 09:00 on Sunday"),
        ("0 9 * * 7", "at 09:00 on Sunday"),
        ("0 9 * * sun", "at 09:00 on Sunday"),
        ("0 9 * * FRI-SUN", "at 09:00 on Friday to Sunday"),
        ("0 9 * * 1-7", "at 09:00 every day"),
        ("0 9,17 * * 1-5", "at 09:00 and 17:00 on Monday to Friday"),
        ("*/5 9-17 * * MON-FRI", "every 5 minutes, from 09:00 to 17:59 on Monday to Friday"),
        ("0 */2 * * *", "every 2 hours"),
        ("15 */2 * * *", "every 2 hours at minute 15"),
        ("*/10 */2 * * *", "every 10 minutes, in every 2nd hour from 00:00"),
        ("*/20 1,4-9/3 * * *", "every 20 minutes, in the hours 1, 4 and 7"),
        ("0 0 13 * 5", "at 00:00 on day 13 of the month or on Friday"),
        ("0 0 */2 * 1", "at 00:00 on every 2nd day of the month from the 1st if that is Monday"),
        ("0 0 1,15 * *", "at 00:00 on days 1 and 15 of the month"),
        ("0 0 1-31 * MON", "at 00:00 every day"),
        ("0 0 L * *", "at 00:00 on the last day of the month"),
        (
            "0 0 1-3,LW * *",
            "at 00:00 on days 1 to 3 and the last Monday to Friday day of the month",
        ),
        ("0 0 * * 5L", "at 00:00 on the last Friday of the month"),
        ("0 0 * * MON#1,3", "at 00:00 on the first Monday of the month and Wednesday"),
        ("@yearly", "at 00:00 on day 1 of the month in January"),
        ("0 0 * 1-3,6 *", "at 00:00 every day in January to March and June"),
        ("* * * * * *", "every second"),
        ("*/10 * * * * *", "every 10 seconds"),
        ("30 0 9 * * *", "at 09:00:30 every day"),
        ("30 * 9 * * *", "at second 30 of every minute, from 09:00 to 09:59"),
        ("15 */5 * * * *", "at second 15, in every 5th minute of every hour"),
        (
            "*/20 5 9-10 * * *",
            "at 09:05, 09:05:20, 09:05:40, 10:05, 10:05:20 and 10:05:40 every day",
        ),
    ],
)
def test_a_line_is_told_in_plain_words(text: str, words: str) -> None:
    assert parse(text).describe() == words


@pytest.mark.parametrize("text", ["0 9 * * 0", "0 9 * * 7", "0 9 * * SUN", "0 9 * * 0,7"])
def test_sunday_is_0_and_7(text: str) -> None:
    fires = parse(text).fires(datetime(2026, 1, 1, tzinfo=UTC), 5)
    assert {fire.isoweekday() for fire in fires} == {7}


def test_day_of_the_month_and_weekday_together_mean_or() -> None:
    fires = parse("0 0 13 * FRI").fires(datetime(2026, 1, 1, tzinfo=UTC), 4)
    assert [fire.day for fire in fires] == [2, 9, 13, 16]


@pytest.mark.parametrize(
    ("interval", "words"),
    [("1000", "every second"), ("90000", "every 90 seconds"), ("1500", "every 1500 milliseconds")],
)
def test_an_interval_is_told_in_plain_words(interval: str, words: str) -> None:
    assert every(timedelta(milliseconds=int(interval))).describe() == words


def test_an_interval_is_anchored_to_the_epoch_whenever_a_process_starts() -> None:
    schedule = every(timedelta(seconds=7))
    start = datetime(2026, 11, 1, 5, 59, 58, 123456, tzinfo=UTC)
    first = schedule.after(start)
    assert first is not None
    assert first.timestamp() % 7 == 0
    assert {schedule.after(start + timedelta(milliseconds=step)) for step in range(900)} == {first}
    assert schedule.after(first) == first + timedelta(seconds=7)
    assert schedule.latest(first) == first
    assert schedule.latest(first - timedelta.resolution) == first - timedelta(seconds=7)


@given(
    seconds=st.integers(0, 15 * 365 * 86_400),
    text=st.sampled_from(["*/5 * * * *", "30 1 * * *", "0 9 * * 0", "0 0 29 2 *", "*/7 * * * * *"]),
    zone=st.sampled_from([NEW_YORK, LORD_HOWE, KOLKATA]),
)
def test_fires_go_forward_and_the_latest_is_the_one_before_the_next(
    seconds: int, text: str, zone: str
) -> None:
    moment = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    schedule = parse(text, zone)
    fires = [moment, *schedule.fires(moment, 3)]
    assert all(later > fire for fire, later in pairwise(fires))
    latest = schedule.latest(moment)
    assert latest is not None
    assert latest <= moment
    assert schedule.after(latest) == fires[1]


@given(st.text(alphabet="0123456789*/-,#LWSUNMON @?\n\té", max_size=30))
def test_any_text_is_a_schedule_or_a_value_error(text: str) -> None:
    try:
        schedule = parse(text)
    except ValueError:
        return
    assert schedule.describe()
    assert schedule.after(datetime(2026, 1, 1, tzinfo=UTC)) is not None


def test_a_moment_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="a moment needs a zone"):
        parse("@daily").after(datetime(2026, 1, 1))  # noqa: DTZ001  # that is what is refused


def test_the_end_of_the_calendar_is_no_fire() -> None:
    assert every(timedelta(seconds=1)).after(datetime.max.replace(tzinfo=UTC)) is None
    assert parse("@yearly").after(datetime(9999, 6, 1, tzinfo=UTC)) is None


def test_a_manifest_without_jobs_imports_no_cronsim() -> None:
    code = "import sys, assembler.manifest.schedule, assembler.plan.load; sys.exit('cronsim' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
