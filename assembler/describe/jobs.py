"""The jobs of a plan → when each fires next, and what its last run came to.

In: a `Plan`, a moment, the last runs as a store tells them. Out: plain data for programs, or text
for a terminal. A clock is shown as it holds, wherever it came from, since its words and fires tell it
anyway; characters that could deceive a terminal are made visible.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from assembler.diagnostics.span import printable
from assembler.manifest.duration import duration_text
from assembler.manifest.step import Job
from assembler.plan.component import Component
from assembler.plan.load import Plan
from assembler.plan.sections.scheduler import schedule_of

_FIRES = 5
Facts = dict[str, Any]


def timetable(plan: Plan, moment: datetime, runs: Mapping[str, Facts]) -> list[Facts]:
    """Return the facts of each job: its next fires after `moment`, and of `runs` its last one."""
    return [_job(job, plan, moment, runs.get(job.id)) for job in plan.jobs]


def as_json(plan: Plan, jobs: list[Facts], unknown: str | None) -> str:
    """Return the text for programs; `unknown` is why no last run is known, where it is so."""
    enabled = plan.manifest.scheduler.enabled
    told = {"format": 1, "enabled": enabled, "last_unknown": unknown, "jobs": jobs}
    return json.dumps(told, indent=2)


def as_text(plan: Plan, jobs: list[Facts], unknown: str | None) -> str:
    """Draw the jobs for a terminal; `unknown` as above."""
    off_jobs = [part.entry.id for part in plan.switched_off if isinstance(part.entry, Job)]
    if not jobs and not off_jobs:
        return "no jobs"
    lines = (line for job in jobs for line in ("", *_drawn(job, unknown)))
    off = [] if plan.manifest.scheduler.enabled else ["the scheduler is off: `enabled: false`", ""]
    if off_jobs:
        named = ", ".join(f"`{name}`" for name in off_jobs)
        off = [*off, f"switched off by `enabled`: {named}", *([""] if jobs else [])]
    drawn = [*off, *list(lines)[1:]]
    return "\n".join(printable(line).replace("\n", " ") for line in drawn)


def _job(job: Component, plan: Plan, moment: datetime, last: Facts | None) -> Facts:
    entry = job.entry
    schedule = schedule_of(entry, plan.manifest.scheduler.timezone)
    fires = schedule.fires(moment, _FIRES)
    return {
        "id": job.id,
        "use": job.target.path,
        "cron": entry.cron,
        "every": duration_text(entry.every) if entry.every is not None else None,
        "words": schedule.describe(),
        "timezone": schedule.zone.key,
        "next": [fire.astimezone(schedule.zone).isoformat() for fire in fires],
        "last": last,
    }


def _drawn(job: Facts, unknown: str | None) -> Iterator[str]:
    yield job["id"] if job["id"] == job["use"] else f"{job['id']}: {job['use']}"
    if job["every"]:
        yield f"  every {job['every']}"
    else:
        yield f"  cron  {job['cron']}  {job['words']}, {job['timezone']}"
    for index, fire in enumerate(job["next"]):
        yield f"  {'' if index else 'next':6}{fire}"
    yield f"  last  {_outcome(job['last'], unknown)}"


def _outcome(run: Facts | None, unknown: str | None) -> str:
    if run is None:
        return "none yet" if unknown is None else f"unknown: {unknown}"
    took = run.get("milliseconds")
    duration = "" if took is None else f", took {_took(took)}"
    error = f": {run['error']}" if run.get("error") else ""
    return f"{run['outcome']}, tick {run['tick']}{duration}{error}"


def _took(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.1f}s" if milliseconds >= 1000 else f"{milliseconds}ms"
