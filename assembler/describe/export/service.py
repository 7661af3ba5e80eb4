"""A plan → the deployment that serves it, the service in front, and the release job before it.

In: the plan, the files, the overlay that it reads. Out: a `Deployment` with probes, at the routes
of the health router if the manifest has one, and with the time that a start and an end may take by
the manifest's own bounds; a `Service`; a `Job` that applies the startup SQL.
"""

import hashlib
import math
from collections.abc import Iterator
from datetime import timedelta

from assembler.describe.export.bundle import BundledFile
from assembler.describe.export.pods import (
    FOLDER,
    START,
    ClusterTarget,
    Spec,
    container,
    labels,
    metadata,
    pod,
    seconds,
    verbatim,
)
from assembler.document.nodes import MappingNode
from assembler.plan.component import Component
from assembler.plan.load import Plan

_PROBE = timedelta(seconds=5)  # between two tries
_IMPORTS = timedelta(seconds=30)  # for Python to load the application, before its steps count
_KEPT_SECONDS = 86_400  # of a job that has ended, for whoever looks for its log
_PART = {"app.kubernetes.io/component": "service"}


def deployment(
    plan: Plan,
    target: ClusterTarget,
    given: Spec,
    config: str,
    files: list[BundledFile],
    overlay: str,
    port: int,
) -> Spec:
    """Return the object; its pods read the manifest at `overlay`, and listen on `port`."""
    serving = {
        **container(target, "service", given, overlay, processes=_processes(plan)),
        "command": ["assembler", "serve", verbatim(f"{FOLDER}/{overlay}")],
        "ports": [{"name": "http", "containerPort": port}],
        **_probes(plan),
    }
    spec = pod(
        [serving],
        config,
        files,
        terminationGracePeriodSeconds=seconds(plan.manifest.server.termination_grace),
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(target, target.name),
        "spec": {
            "replicas": target.replicas,
            "selector": {"matchLabels": _selector(target)},
            "template": {"metadata": {"labels": labels(target) | _PART}, "spec": spec},
        },
    }


def service(target: ClusterTarget) -> Spec:
    """Return the object that sends requests to the pods."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(target, target.name),
        "spec": {
            "selector": _selector(target),
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def release_job(
    plan: Plan,
    target: ClusterTarget,
    given: Spec,
    config: str,
    files: list[BundledFile],
    manifest: str,
) -> Spec:
    """Return the object that applies the startup SQL once; a job of other content is another job."""
    running = {
        **container(target, "sql", given, manifest),
        "command": ["assembler", "sql", verbatim(f"{FOLDER}/{manifest}"), "--apply"],
    }
    bound = sum((step.entry.timeout for step in plan.sql), START)
    spec = {
        "backoffLimit": 2,
        "activeDeadlineSeconds": seconds(3 * bound),  # it counts over all tries
        "ttlSecondsAfterFinished": _KEPT_SECONDS,
        "template": {
            "metadata": {"labels": labels(target)},
            "spec": pod([running], config, files, restartPolicy="Never"),
        },
    }
    digest = hashlib.sha256(repr(spec).encode("utf-8", "replace")).hexdigest()[:10]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(target, f"{target.name}-sql-{digest}"),
        "spec": spec,
    }


def _processes(plan: Plan) -> int:
    workers = plan.manifest.server.workers
    return workers + 1 if workers > 1 else 1  # with their parent


def _selector(target: ClusterTarget) -> Spec:
    return {"app.kubernetes.io/name": target.name} | _PART


def _probes(plan: Plan) -> Spec:
    start = sum((each.entry.timeout for each in plan.resources), _IMPORTS)
    start += sum((step.entry.timeout for step in plan.startup), timedelta())
    start += sum((step.entry.timeout for step in plan.sql), timedelta())
    starting = {"periodSeconds": seconds(_PROBE), "failureThreshold": math.ceil(start / _PROBE)}
    prefix = next(_health_prefixes(plan), None)
    if prefix is None:
        asked = {"tcpSocket": {"port": "http"}}
        return {"startupProbe": asked | starting, "readinessProbe": asked}
    server = plan.document.root.get("server")
    has_tls = isinstance(server, MappingNode) and server.get("ssl_certfile") is not None
    scheme = {"scheme": "HTTPS"} if has_tls else {}
    paths = {"startupProbe": "startup", "livenessProbe": "live", "readinessProbe": "ready"}
    found: Spec = {
        probe: {"httpGet": {"path": f"{prefix}/{path}", "port": "http"} | scheme}
        for probe, path in paths.items()
    }
    found["startupProbe"] |= starting
    return found


def _health_prefixes(plan: Plan, front: str = "") -> Iterator[str]:
    """Yield where probes may ask, first of all in the outermost manifest."""
    yield from (f"{front}{route.entry.prefix}" for route in plan.routes if _is_health(route))
    for route in plan.routes:
        if route.inner is not None:
            yield from _health_prefixes(route.inner, f"{front}{route.entry.mount.rstrip('/')}")


def _is_health(route: Component) -> bool:
    return route.role == "router" and "health" in route.target.path.replace(":", ".").split(".")
