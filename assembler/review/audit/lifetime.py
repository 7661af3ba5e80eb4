"""Rules about the start and the end: what they tolerate, how long they take, what their SQL does.

In: a `Subject`. Out: sightings, of SQL at their place in the manifest or in the SQL file; what could
not be parsed is told by `check`.
"""

from collections.abc import Callable, Iterator

from assembler.plan.sections.shutdown_budget import check_termination
from assembler.plan.sql import rules as table
from assembler.review.audit.item import PROBE
from assembler.review.audit.rule import PROD, SERVED, AuditRule, Sighting
from assembler.review.audit.subject import Subject

_ENDLESS = {
    "redis": ("socket_timeout", "timeout"),
    "aioredis": ("socket_timeout", "timeout"),
    "asyncpg": ("command_timeout", "timeout"),
    "aiomysql": ("connect_timeout", "timeout"),
}


def _graceful(subject: Subject) -> Iterator[Sighting]:
    server = subject.server
    if server.value("timeout_graceful_shutdown", default=0) is None:
        span = server.place("timeout_graceful_shutdown")
        yield Sighting(span, "open requests may keep the process from ever ending")


def _drain(subject: Subject) -> Iterator[Sighting]:
    if not subject.server.has("drain"):
        message = "the process stops listening at once when it is told to end"
        yield Sighting(subject.server.span, message)


def _budget(subject: Subject) -> Iterator[Sighting]:
    everyone = [one.manifest for one in subject.everyone]
    if subject.manifest.server.timeout_graceful_shutdown is not None:
        for fault in check_termination(subject.manifest, subject.root, everyone):
            yield Sighting(fault.span or subject.top, fault.message)


def _tolerated(subject: Subject) -> Iterator[Sighting]:
    for item in subject.resources:
        mode = item.node.get("on_error")
        user = subject.user_of(item.id)
        if getattr(mode, "value", "") == "warn" and user is not None:
            message = f"{user.called} needs {item.called}, and a start goes on without it"
            yield Sighting(subject.place(*item.path, "on_error"), message)


def _migrations(subject: Subject) -> Iterator[Sighting]:
    for item, step in zip(subject.sections["startup"], subject.models("startup"), strict=True):
        if step.sql is not None and step.on_error == "warn":
            message = f"a start goes on where the SQL of {item.called} has failed"
            yield Sighting(subject.place(*item.path, "on_error"), message)


def _timeouts_off(subject: Subject) -> Iterator[Sighting]:
    for item in subject.items:
        for key in item.options.members:
            is_timeout = key == "timeout" or key.endswith("_timeout")
            if is_timeout and item.value(key, default=0) is None:
                yield Sighting(item.place(key), f"`{key}` of {item.called} is off")


def _clients(subject: Subject) -> Iterator[Sighting]:
    for item in subject.resources:
        keys = _ENDLESS.get(item.use.partition(".")[0].partition(":")[0], ())
        if keys and not any(item.has(key) for key in keys):
            yield Sighting(
                item.span, f"{item.called} waits for ever where it is not told otherwise"
            )


def _no_probe(subject: Subject) -> Iterator[Sighting]:
    routes = (item for one in subject.everyone for item in one.routes)
    texts = (f"{item.id} {item.use}" for item in routes)
    if subject.manifest.routes and not any(PROBE.search(text) for text in texts):
        yield Sighting(subject.place("routes"), "no route tells whether the service is ready")


_WHY = {
    table.AGAIN: "a statement whose text changes is applied again, to what the older text has made",
    table.DANGER: "the release that still runs uses the same tables meanwhile",
}


def _finder(rule: str) -> Callable[[Subject], Iterator[Sighting]]:
    def find(subject: Subject) -> Iterator[Sighting]:
        for finding in subject.sql_findings:
            if finding.rule == rule:
                told = finding.diagnostic
                yield Sighting(told.span or subject.top, told.message)

    return find


_OF_SQL = tuple(
    AuditRule(
        rule.id,
        rule.severity,
        _WHY[rule.code],
        rule.fix,
        _finder(rule.id),
        SERVED,
    )
    for rule in table.RULES
)
RULES = (
    *_OF_SQL,
    AuditRule(
        "no-graceful-timeout",
        "medium",
        "one open stream keeps uvicorn waiting, and the shutdown hooks never run",
        "give it seconds, or leave it out for 10",
        _graceful,
        PROD,
    ),
    AuditRule(
        "no-drain",
        "low",
        "a balancer sends requests for some seconds more, and those are refused",
        "add `drain: 5s` to `server`",
        _drain,
        PROD,
    ),
    AuditRule(
        "end-exceeds-budget",
        "medium",
        "the platform kills what takes longer than its grace, in the middle of a hook",
        "lower the times, or raise `termination_grace` of `server` to what the platform waits",
        _budget,
        PROD,
        of_process=True,
    ),
    AuditRule(
        "needed-resource-warns",
        "medium",
        "with `on_error: warn` readiness is 200 while every request that needs it fails",
        "write `on_error: degrade`, or leave it out",
        _tolerated,
        SERVED,
    ),
    AuditRule(
        "failed-sql-warns",
        "medium",
        "code that counts on the statement then runs against a database without it",
        "leave `on_error` out where the code needs what the statement makes",
        _migrations,
        SERVED,
    ),
    AuditRule(
        "timeout-off",
        "medium",
        "a peer that does not answer holds a request, and in the end all of them",
        "write how long to wait",
        _timeouts_off,
        SERVED,
    ),
    AuditRule(
        "client-without-timeout",
        "medium",
        "a peer that does not answer holds a request, and in the end all of them",
        "say how long it may wait for an answer",
        _clients,
        SERVED,
    ),
    AuditRule(
        "no-health-route",
        "low",
        "an orchestrator cannot tell a process that serves from one that does not",
        "add a router with the states live and ready",
        _no_probe,
        PROD,
        of_process=True,
    ),
)
