"""Jobs of other schedulers → jobs of a manifest that fire at the same instants.

In: the calls of `add_job` on an APScheduler; a function that `repeat_every` has wrapped. Out: items with
a crontab or an interval. A clock is judged by its next fires, never by its text: a line from
`from_crontab` counts weekdays otherwise than cron does, and a trigger without a zone keeps that of the
machine, not the scheduler's. Refuses a clock whose fires no line of a crontab gives.
"""

import inspect
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from assembler.adopt.expressions import by_name
from assembler.adopt.naming import ImportPaths, Value, is_said, literal, mapping
from assembler.adopt.recording import Call, Composition
from assembler.manifest.duration import duration_text
from assembler.manifest.schedule import every, parse, read_zone

_OF_ADD_JOB = frozenset(
    {
        *("func", "trigger", "args", "kwargs", "id", "name", "misfire_grace_time", "coalesce"),
        *("max_instances", "next_run_time", "jobstore", "executor", "replace_existing"),
    }
)
_COMPARED = 400  # fires of a clock that are compared
_BEGIN = datetime(
    2026, 1, 1, 0, 0, 30, tzinfo=UTC
)  # leap years, both changes of the clock lie after it
_ABOUT = timedelta(hours=3)
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FIELDS = ("minute", "hour", "day", "month", "day_of_week")


def jobs(recording: Composition, names: ImportPaths) -> list[dict[str, Any]]:
    """Return an item for each job that was given to a scheduler."""
    return [_job(call, names) for call in recording.calls if call.kind == "job"]


def _job(call: Call, names: ImportPaths) -> dict[str, Any]:
    given = call.arguments
    name = str(given.get("id") or getattr(given.get("func"), "__name__", "job"))
    item: dict[str, Any] = {
        "kind": "job",
        "place": call.place.text,
        "what": name,
        "section": "jobs",
        "entry": None,
        "bridge": None,
        "note": "",
        "bridged": True,
    }
    try:
        entry = _entry(call, names)
    except ValueError as error:
        item["note"] = f"it stays with its scheduler: {error}"
        return item
    return item | {
        "entry": {"id": literal(name), **entry},
        "bridged": False,
        "scheduler": names.path(call.owner),
    }


def _entry(call: Call, names: ImportPaths) -> dict[str, Value]:
    """Write a job; raises `ValueError` with the reason why it stays with its scheduler."""
    given = call.arguments
    function = given.get("func")
    code = names.code(function) if not isinstance(function, str) else _named(function)
    if code["is"] != "path":
        raise ValueError(f"it is {code['what']}")
    options = by_name(function, tuple(given.get("args") or ()), given.get("kwargs") or {})
    said = None if options is None else mapping({k: names.value(v) for k, v in options.items()})
    if said is None or not is_said(said):
        raise ValueError("its arguments have no names")
    if names.path(call.owner) is None:
        raise ValueError("it has no name")
    clock = clock_of(_trigger(call), read_again=_zone_name(call.owner.timezone))
    entry = {"use": code, **clock, **({"with": said} if said["items"] else {})}
    grace, most = given.get("misfire_grace_time"), given.get("max_instances")
    if isinstance(grace, int) and grace >= 1:
        entry["grace"] = literal(duration_text(timedelta(seconds=grace)))
    if isinstance(most, int) and most > 1:
        entry["overlap"] = literal("allow")
    return entry


def _named(text: str) -> Value:
    return {"is": "path", "path": text, "form": "function"}


def _trigger(call: Call) -> Any:
    """Return the trigger of a job as the scheduler has made it."""
    given = call.arguments
    trigger = given.get("trigger")
    if trigger is not None and not isinstance(trigger, str):
        return trigger
    rest = {key: value for key, value in given.items() if key not in _OF_ADD_JOB}
    return call.owner._create_trigger(trigger, rest)  # noqa: SLF001  # the one way that add_job takes


def clock_of(trigger: Any, *, read_again: str) -> dict[str, Value]:
    """Return the keys of a job that fires when a trigger does; raises `ValueError`.

    `read_again` is the zone of a trigger that tells none.
    """
    kind = type(trigger).__name__
    zone = _zone_name(getattr(trigger, "timezone", None)) or read_again
    if kind == "IntervalTrigger":
        if trigger.end_date is not None or trigger.jitter:
            raise ValueError("its interval ends or jitters")
        interval = trigger.interval
        every(interval, zone)
        return {"every": literal(duration_text(interval))}
    if kind != "CronTrigger":
        raise ValueError(f"a `{kind}` is no clock that comes again")
    if trigger.end_date is not None or trigger.start_date is not None or trigger.jitter:
        raise ValueError("its clock begins, ends or jitters")
    line = _line(trigger)
    fires = [fire.astimezone(UTC) for fire in islice(_fires(trigger), _COMPARED)]
    ours = parse(line, zone).fires(_BEGIN, len(fires))
    common = min(fires[-1], ours[-1]) if fires and ours else _BEGIN
    differing = {fire for fire in {*fires} ^ {*ours} if fire <= common}
    if not fires or not all(_is_at_a_change(fire, zone) for fire in differing):
        raise ValueError(f"no line of a crontab fires as `{trigger}` does")
    return {"cron": literal(line), "timezone": literal(zone)}


def _is_at_a_change(fire: datetime, zone: str) -> bool:
    """Tell whether the zone's clock is set forward or back about then: cron has rules for that."""
    local = read_zone(zone)
    before, after = (fire + sign * _ABOUT for sign in (-1, 1))
    return before.astimezone(local).utcoffset() != after.astimezone(local).utcoffset()


def _zone_name(zone: Any) -> str:
    name = str(getattr(zone, "key", None) or getattr(zone, "zone", None) or zone or "")
    try:
        return read_zone(name).key if name else ""
    except ValueError:
        return ""


def _line(trigger: Any) -> str:
    """Write a trigger's fields as a crontab, weekdays by name: its numbers begin on Monday."""
    fields = {field.name: str(field) for field in trigger.fields}
    if fields.get("year", "*") != "*" or fields.get("week", "*") != "*":
        raise ValueError("its clock has a year or a week")
    line = [_field(name, fields[name]) for name in _FIELDS]
    if any(" " in each for each in line):
        raise ValueError("its clock counts weekdays of a month")
    if line[2] != "*" and line[4] != "*":
        raise ValueError("it fires where both the day and the weekday fit, and cron where one does")
    second = fields.get("second", "0")
    return " ".join(line if second == "0" else [second, *line])


def _field(name: str, text: str) -> str:
    if name != "day_of_week":
        return text
    return ",".join(_weekday(part) for part in text.split(","))


def _weekday(part: str) -> str:
    body, slash, step = part.partition("/")
    low, dash, high = body.partition("-")
    names = [_WEEKDAYS[int(each)] if each.isdigit() else each for each in (low, high) if each]
    return f"{dash.join(names)}{slash}{step}"


def _fires(trigger: Any) -> Iterator[datetime]:
    last, now = None, _BEGIN
    while True:
        fire = trigger.get_next_fire_time(last, now)
        if fire is None:
            return
        yield fire
        last, now = fire, fire + timedelta(microseconds=1)


def repetition(handler: Any, names: ImportPaths) -> Mapping[str, Any] | None:
    """Return what becomes of a function that `repeat_every` has wrapped, or None for another one."""
    code = getattr(handler, "__code__", None)
    inner = getattr(handler, "__wrapped__", None)
    if code is None or inner is None or not code.co_qualname.startswith("repeat_every."):
        return None
    held = inspect.getclosurevars(handler).nonlocals
    seconds = held.get("seconds")
    path = names.path(handler)
    if path is None or not isinstance(seconds, int | float) or seconds < 1:
        return None
    if held.get("max_repetitions") is not None or held.get("on_complete") is not None:
        return None  # it ends, and a job does not: it stays as a step of the start
    module, _, name = path.rpartition(".")
    entry = {
        "id": literal(inner.__name__),
        "use": {"is": "path", "path": f"{module}:{name}.__wrapped__", "form": "function"},
        "every": literal(duration_text(timedelta(seconds=seconds))),
    }
    first = (
        "" if held.get("wait_first") else "; its first run comes with the clock, not at the start"
    )
    return {"section": "jobs", "entry": entry, "proposed": f"each {seconds:g} s{first}"}
