"""The jobs of a plan → when each fires next, and what its last run came to.

In: a `Plan`, a moment, the last runs as a store tells them. Out: plain data for programs, or text
for a terminal. Refuses nothing; what came from the environment stays the reference it is written
as, and characters that could deceive a terminal are made visible.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from assembler.diagnostics.span import printable
from assembler.document.nodes import MappingNode, Node, ScalarNode
from assembler.plan.component import Component
from assembler.plan.load import Plan
from assembler.plan.sections.scheduler import schedule_of

_FIRES = 5
Facts = dict[str, Any]


def timetable(plan: Plan, moment: datetime, runs: Mapping[str, Facts]) -> list[Facts]:
    """Return the facts of each job: its next fires after `moment`, and of `runs` its last one."""
    section = plan.document.root.get("scheduler")
    return [_job(job, plan, section, moment, runs.get(job.id)) for job in plan.jobs]


def as_json(plan: Plan, jobs: list[Facts]) -> str:
    """Return the text for programs."""
    enabled = plan.manifest.scheduler.enabled
    return json.dumps({"format": 1, "enabled": enabled, "jobs": jobs}, indent=2)


def as_text(plan: Plan, jobs: list[Facts]) -> str:
    """Draw the jobs for a terminal."""
    if not jobs:
        return "no jobs"
    lines = (line for job in jobs for line in ("", *_drawn(job)))
    off = [] if plan.manifest.scheduler.enabled else ["the scheduler is off: `enabled: false`", ""]
    drawn = [*off, *list(lines)[1:]]
    return "\n".join(printable(line).replace("\n", " ") for line in drawn)


def _job(
    job: Component, plan: Plan, section: Node | None, moment: datetime, last: Facts | None
) -> Facts:
    zone = plan.manifest.scheduler.timezone
    schedule = schedule_of(job.entry, zone)
    fires = schedule.fires(moment, _FIRES)
    shown_zone = _written(job.node, "timezone") or _written(section, "timezone") or zone
    return {
        "id": job.id,
        "use": job.target.path,
        "cron": _written(job.node, "cron"),
        "every": _written(job.node, "every"),
        "words": schedule.describe(),
        "timezone": shown_zone,
        "next": [fire.astimezone(schedule.zone).isoformat() for fire in fires],
        "last": last,
    }


def _written(node: Node | None, key: str) -> str | None:
    """Return the text of a value as the manifest has it: a reference stays one."""
    value = node.get(key) if isinstance(node, MappingNode) else None
    return value.value if isinstance(value, ScalarNode) and isinstance(value.value, str) else None


def _drawn(job: Facts) -> Iterator[str]:
    yield job["id"] if job["id"] == job["use"] else f"{job['id']}: {job['use']}"
    if job["every"]:
        yield f"  every {job['every']}"
    else:
        yield f"  cron  {job['cron']}  {job['words']}, {job['timezone']}"
    for index, fire in enumerate(job["next"]):
        yield f"  {'' if index else 'next':6}{fire}"
    yield f"  last  {_outcome(job['last'])}"


def _outcome(run: Facts | None) -> str:
    if run is None:
        return "unknown"
    took = run.get("milliseconds")
    duration = "" if took is None else f", took {_took(took)}"
    error = f": {run['error']}" if run.get("error") else ""
    return f"{run['outcome']}, tick {run['tick']}{duration}{error}"


def _took(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.1f}s" if milliseconds >= 1000 else f"{milliseconds}ms"
