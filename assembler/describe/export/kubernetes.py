"""A plan → the objects that run it in Kubernetes.

In: a `Plan` that was read by source alone, a `ClusterTarget`. Out: a config map with the files, a
release job for startup SQL, a deployment and a service, a cron job for each job, and diagnostics.
Whatever a cluster's clock cannot do stays with the scheduler of the service, with a warning; where
that scheduler is off, and where a variable tells what the cluster has to know, it is refused.

The service reads an overlay of the manifest, so that it listens where the cluster can reach it and
leaves the jobs to the cron jobs.
"""

import hashlib
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, count
from typing import Literal

from assembler.describe.export.bundle import BundledFile, bundle
from assembler.describe.export.cron_job import cron_job
from assembler.describe.export.job_clock import CronClock, differs, job_clock
from assembler.describe.export.pods import ClusterTarget, Spec, metadata, variables
from assembler.describe.export.service import deployment, release_job, service
from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.secrets import redact
from assembler.diagnostics.span import one_line
from assembler.document.dump import dump
from assembler.document.nodes import MappingNode, Node, ScalarNode, locate
from assembler.plan.component import Component
from assembler.plan.load import Plan

_LONGEST_CONFIG = 1_000_000  # bytes; a config map takes 1 MiB with all around it
_CLOCK_KEYS = ("cron", "every", "timezone", "timeout", "grace", "overlap", "on_crash")

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Export:
    """The objects in the order in which they are applied, and what there is to say of them."""

    objects: tuple[Spec, ...]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def text(self) -> str:
        """The objects as YAML."""
        return dump(self.objects, is_marked=True)


def export(plan: Plan, target: ClusterTarget, port: int, since: datetime | None = None) -> Export:
    """Return the objects; nothing of them is right where a diagnostic is an error.

    `since` is from when on a change of clocks counts; else from now.
    """
    return _Exporter(plan, target, port, since or datetime.now(UTC)).export()


class _Exporter:
    def __init__(self, plan: Plan, target: ClusterTarget, port: int, since: datetime) -> None:
        self.plan = plan
        self.since = since
        self.root = plan.document.root
        self.target = target
        self.port = port
        self.faults: list[Diagnostic] = []
        self.given = variables(
            self.root, target.secret, has_settings=plan.manifest.settings is not None
        )
        self.files, self.manifest = bundle(plan.document)

    def export(self) -> Export:
        clocks = {job.id: clock for job in self.plan.jobs if (clock := self.clock(job))}
        overlay = self.overlay(list(clocks))
        files = [*self.files, overlay]
        config = self.config(files)
        name = config["metadata"]["name"]
        self.warn_without_store(clocks)
        self.warn_of_passwords()
        self.warn_of_memory()
        objects = [config]
        if any(step.dialect != "sqlite" for step in self.plan.sql):  # a file would be the job's own
            objects.append(
                release_job(self.plan, self.target, self.given, name, self.files, self.manifest)
            )
        objects += [
            deployment(self.plan, self.target, self.given, name, files, overlay.path, self.port),
            service(self.target),
        ]
        for job in self.plan.jobs:
            if job.id in clocks:
                clock = clocks[job.id]
                made = cron_job(
                    job, clock, self.target, self.given, name, self.files, self.manifest
                )
                objects.append(made)
        return Export(tuple(objects), tuple(self.faults))

    def clock(self, job: Component) -> CronClock | None:
        """Return the clock of a job that the cluster can run, and say why where it cannot."""
        unread = next(_told_by_variables(job, self.root), None)
        place, _ = locate(job.node, ("every" if job.entry.every else "cron",))
        if unread is not None:
            key, place = unread
            reason = f"its `{key}` comes from a variable, which the cluster's clock does not read"
        else:
            clock = job_clock(job.entry, self.plan.manifest.scheduler.timezone)
            if isinstance(clock, CronClock):
                self.warn_of_changes(job, place)
                return clock
            reason = clock
        is_on = self.plan.manifest.scheduler.enabled
        rest = "the service's scheduler keeps it" if is_on else "and the scheduler is off"
        message = f"`{one_line(job.id)}` can be no cron job: {reason}; {rest}"
        self.fault(message, place, severity="warning" if is_on else "error")
        return None

    def warn_of_changes(self, job: Component, place: Node) -> None:
        zone = self.plan.manifest.scheduler.timezone
        if differs(job.entry, zone, self.since) is None:
            return
        message = (
            f"`{one_line(job.id)}` runs once on the day when its zone's clock changes, and its "
            "cron job twice or not at all"
        )
        remedy = "set an hour at which no clock changes, or a `timezone` without changes"
        self.fault(message, place, remedy, severity="warning")

    def warn_of_memory(self) -> None:
        """Say where only a variable tells how many processes share the memory."""
        node, key = locate(self.root, ("server", "workers"))
        is_told = isinstance(node, ScalarNode) and "${" in str(node.value)
        if key is not None and is_told and self.target.memory is None:
            message = "`workers` comes from a variable, so the memory is that of one process"
            self.fault(message, node, "give `--memory`", severity="warning")

    def warn_without_store(self, clocks: dict[str, CronClock]) -> None:
        """A cluster makes about one job of a tick: only a store knows that it is the second."""
        if clocks and self.plan.manifest.scheduler.store is None:
            node, key = locate(self.root, ("scheduler", "jobs"))
            message = "no `store`: the cluster may start a tick twice, and then it runs twice"
            span = key or node.span
            fault = Diagnostic("scheduler-without-store", message, span, severity="warning")
            self.faults.append(fault)

    def warn_of_passwords(self) -> None:
        """Say where a config map, which many may read, would show a literal password."""
        for file in self.files:
            for line in file.text.splitlines():
                if redact(line) != line:
                    message = f"`{file.path}` holds a password, which the config map would show"
                    remedy = "let a variable bring it"
                    self.fault(message, self.root, remedy, severity="warning")
                    break

    def overlay(self, exported: list[str]) -> BundledFile:
        """Return the manifest of the service: where it listens, without the jobs of the cluster."""
        kept = len(self.plan.jobs) - len(exported)
        jobs = [{"id": name, "$remove": True} for name in exported]
        changes = {
            "manifest": 1,
            "extends": posixpath.basename(self.manifest),
            "server": {"host": "0.0.0.0", "port": self.port},  # noqa: S104  # a pod's own address
            "scheduler": {"jobs": jobs} if kept else {"enabled": False},
        }
        used = {posixpath.basename(file.path) for file in self.files}
        used |= {file.key for file in self.files}
        names = chain(["service.yaml"], (f"service-{number}.yaml" for number in count(2)))
        own = next(name for name in names if name not in used)
        path = posixpath.join(posixpath.dirname(self.manifest), own)
        return BundledFile(path, own, dump([changes], is_marked=True))

    def config(self, files: list[BundledFile]) -> Spec:
        """Return the config map; its name tells its content, so that a change rolls the pods."""
        data = {file.key: file.text for file in files}
        size = sum(len(text.encode()) for text in data.values())
        if size > _LONGEST_CONFIG:
            message = f"the manifest and its files have {size} bytes, more than a config map takes"
            self.fault(message, self.root)
        digest = hashlib.sha256(repr(sorted(data.items())).encode("utf-8", "replace")).hexdigest()
        name = f"{self.target.name}-{digest[:10]}"
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(self.target, name),
            "data": data,
        }

    def fault(
        self, message: str, node: Node, help: str | None = None, severity: Severity = "error"
    ) -> None:
        span = node.span
        if span.end_line != span.line:
            span = span._replace(end_line=span.line, end_column=span.column + 1)
        fault = Diagnostic("not-exported", message, span, help=help, severity=severity)
        self.faults.append(fault)


def _told_by_variables(job: Component, root: MappingNode) -> Iterator[tuple[str, Node]]:
    """Yield what the cluster has to know of a job, and only a variable tells."""
    section = root.get("scheduler")
    is_zoned = job.entry.cron is not None and job.entry.timezone is None
    places = [(job.node, key) for key in _CLOCK_KEYS]
    for node, key in [*places, *([(section, "timezone")] if is_zoned else [])]:
        value = node.get(key) if isinstance(node, MappingNode) else None
        if isinstance(value, ScalarNode) and "${" in str(value.value):
            yield key, value
