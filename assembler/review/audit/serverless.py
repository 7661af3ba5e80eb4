"""Rules about functions that a platform starts for a request and freezes after it.

In: a `Subject`. Out: sightings.
"""

from collections.abc import Iterator

from assembler.review.audit.item import MEMORY
from assembler.review.audit.processes import connections, engines, in_memory, is_sqlite
from assembler.review.audit.rule import SERVERLESS, AuditRule, Sighting
from assembler.review.audit.subject import Subject

_POOL = 5  # connections of one instance


def _jobs(subject: Subject) -> Iterator[Sighting]:
    if subject.jobs and subject.section("scheduler").value("enabled", default=True) is not False:
        yield Sighting(subject.place("scheduler"), "jobs wait for a clock inside the function")


def _memory(subject: Subject) -> Iterator[Sighting]:
    for item in subject.each_layer("limiter"):
        if in_memory(subject, item):
            yield Sighting(item.span, f"{item.called} counts in the memory of an instance")
    for item in subject.resources:
        if item.is_a(MEMORY):
            yield Sighting(item.span, f"{item.called} is kept in the memory of an instance")


def _workers(subject: Subject) -> Iterator[Sighting]:
    if subject.workers > 1:
        message = f"{subject.workers} workers in one instance"
        yield Sighting(subject.server.place("workers"), message)


def _pools(subject: Subject) -> Iterator[Sighting]:
    for item in engines(subject):
        if not is_sqlite(item) and connections(item) > _POOL:
            message = f"each instance may open {connections(item)} connections by {item.called}"
            yield Sighting(item.place("pool_size"), message)


def _disk(subject: Subject) -> Iterator[Sighting]:
    for item in engines(subject):
        if is_sqlite(item):
            yield Sighting(item.place("url"), f"{item.called} is a file of one instance")


def _sql(subject: Subject) -> Iterator[Sighting]:
    steps = zip(subject.sections["startup"], subject.models("startup"), strict=True)
    for item, step in steps:
        if step.sql is not None:
            yield Sighting(item.span, f"each cold start asks the database about {item.called}")


def _warmup(subject: Subject) -> Iterator[Sighting]:
    for item in subject.routes:
        node = item.node.get("warmup")
        if getattr(node, "value", False) is True:
            span = subject.place(*item.path, "warmup")
            yield Sighting(span, f"{item.called} is built in the background of a frozen function")


RULES = (
    AuditRule(
        "scheduler-in-serverless",
        "high",
        "an instance is frozen between requests, so its clock stands still and ticks are missed",
        "write `scheduler: {enabled: false}`, and let the platform's clock call the jobs",
        _jobs,
        SERVERLESS,
    ),
    AuditRule(
        "state-in-serverless",
        "high",
        "each instance has another memory, which ends with it; the platform starts any number",
        "keep it in a store that all instances share",
        _memory,
        SERVERLESS,
    ),
    AuditRule(
        "workers-in-serverless",
        "medium",
        "an instance serves one request at a time; more processes only make its start slower",
        "leave `workers` out",
        _workers,
        SERVERLESS,
    ),
    AuditRule(
        "pool-in-serverless",
        "medium",
        "the pools of all instances add up, and a database takes 100 connections by default",
        "write `pool_size: 1` and `max_overflow: 0`, or use a pooler",
        _pools,
        SERVERLESS,
    ),
    AuditRule(
        "disk-in-serverless",
        "high",
        "the disk of an instance is its own and ends with it",
        "use a database that all instances share",
        _disk,
        SERVERLESS,
    ),
    AuditRule(
        "sql-in-serverless",
        "low",
        "every cold start pays for a look at the ledger, and a hundred at once for its lock",
        "apply it once when the version is released: `assembler sql FILE --apply`",
        _sql,
        SERVERLESS,
    ),
    AuditRule(
        "warmup-in-serverless",
        "low",
        "nothing runs in the background of an instance that is frozen",
        "leave `warmup` out",
        _warmup,
        SERVERLESS,
    ),
)
