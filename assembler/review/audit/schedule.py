"""Rules about jobs and loops.

In: a `Subject`. Out: sightings. A scheduler that is off is not judged.
"""

from collections.abc import Iterator

from assembler.review.audit.item import Item
from assembler.review.audit.rule import SERVED, AuditRule, Sighting
from assembler.review.audit.subject import Subject


def _runs(subject: Subject) -> bool:
    return subject.section("scheduler").value("enabled", default=True) is not False


def _every_worker(subject: Subject) -> Iterator[Sighting]:
    scheduler = subject.section("scheduler")
    if _runs(subject) and subject.jobs and not scheduler.has("store") and subject.workers > 1:
        message = f"{subject.workers} workers without a store: each of them runs every job"
        yield Sighting(subject.place("scheduler", "jobs"), message)


def _every_replica(subject: Subject) -> Iterator[Sighting]:
    scheduler = subject.section("scheduler")
    if _runs(subject) and subject.jobs and not scheduler.has("store") and subject.workers == 1:
        yield Sighting(subject.place("scheduler", "jobs"), "jobs without a store")


def _endless(subject: Subject) -> Iterator[Sighting]:
    for item in subject.jobs if _runs(subject) else ():
        node = item.node.get("timeout")
        if node is None or getattr(node, "value", "") is None:
            yield Sighting(item.span, f"job {item.called} may take for ever")


def _crowded(subject: Subject) -> Iterator[Sighting]:
    for item, job in zip(subject.jobs, subject.models("scheduler.jobs"), strict=True):
        if _runs(subject) and job.overlap == "allow" and job.timeout is None:
            yield Sighting(
                subject.place(*item.path, "overlap"),
                f"runs of {item.called} may pile up without an end",
            )


def _loops(subject: Subject) -> Iterator[Item]:
    """Yield the loops that each process runs for itself."""
    pairs = zip(subject.sections["background"], subject.models("background"), strict=True)
    yield from (item for item, loop in pairs if not loop.once)


def _looping_workers(subject: Subject) -> Iterator[Sighting]:
    for item in _loops(subject) if subject.workers > 1 else ():
        message = f"{subject.workers} workers, and each of them runs the loop {item.called}"
        yield Sighting(item.span, message)


def _looping_replicas(subject: Subject) -> Iterator[Sighting]:
    for item in _loops(subject) if subject.workers == 1 else ():
        yield Sighting(item.span, f"each replica runs the loop {item.called}")


def _dropped_store(subject: Subject) -> Iterator[Sighting]:
    store = subject.manifest.scheduler.store_id
    for item in subject.resources if subject.jobs and _runs(subject) else ():
        mode = item.node.get("on_error")
        if item.id == store and getattr(mode, "value", "") == "warn":
            message = f"jobs keep their claims in {item.called}, and a start goes on without it"
            yield Sighting(subject.place(*item.path, "on_error"), message)


RULES = (
    AuditRule(
        "jobs-in-every-worker",
        "medium",  # `check` warns of it, and a second worker does not start
        "mails are sent and money is booked as many times as there are processes",
        "add `store: ${resources.…}`, an engine or a cache that all share",
        _every_worker,
    ),
    AuditRule(
        "jobs-without-store",
        "medium",
        "a second replica, or the old one during a rollout, runs each of them again",
        "add `store: ${resources.…}`, an engine or a cache that all share",
        _every_replica,
        SERVED,
    ),
    AuditRule(
        "job-without-timeout",
        "medium",
        "a run that hangs keeps every later one from starting",
        "add a `timeout`",
        _endless,
        SERVED,
    ),
    AuditRule(
        "jobs-pile-up",
        "medium",
        "`overlap: allow` without a `timeout` starts another run however many hang",
        "add a `timeout`, or leave out `overlap`",
        _crowded,
    ),
    AuditRule(
        "loop-in-every-worker",
        "medium",
        "what it reads from a queue or sends is read and sent by each of them, unless it is made for that",
        "write `once: true`, which needs a `store` in `scheduler`; where each process needs its own, say so in `audit`",
        _looping_workers,
    ),
    AuditRule(
        "loop-in-every-replica",
        "low",
        "a second replica, or the old one during a rollout, does the same work at the same time",
        "write `once: true`, which needs a `store` in `scheduler`; where each process needs its own, say so in `audit`",
        _looping_replicas,
        SERVED,
    ),
    AuditRule(
        "store-may-be-away",
        "medium",
        "no job runs while the store is away, and readiness says nothing of it",
        "write `on_error: fail` or `degrade`",
        _dropped_store,
        SERVED,
    ),
)
