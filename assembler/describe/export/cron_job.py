"""A job and its clock → the cron job that runs it.

In: the entry, what its clock is in Kubernetes, the files. Out: a `CronJob`, whose pod claims the
tick before it runs the job, so that a tick that the cluster starts twice runs once.
"""

from assembler.describe.export.bundle import BundledFile
from assembler.describe.export.job_clock import CronClock
from assembler.describe.export.pods import (
    FOLDER,
    START,
    ClusterTarget,
    Spec,
    container,
    label,
    labels,
    metadata,
    pod,
    seconds,
    verbatim,
)
from assembler.plan.component import Component

_LONGEST = 52  # of a cron job's name: the cluster adds a number to it
_SHORTEST_DEADLINE = 10  # seconds; the cluster looks every ten
_POLICIES = {"forbid": "Forbid", "allow": "Allow", "replace": "Replace"}
# The name of the job that a cron job makes ends with the minutes since the epoch of its tick: the
# annotation that tells the tick stands on that job only, not on its pod. One that a person started
# has another end.
_RUN_JOB = """\
minutes=${TICK_OF##*-}
case "$minutes" in
  "" | *[!0-9]*) exec assembler run-job "$1" "$2" ;;
esac
exec assembler run-job "$1" "$2" --at "$(date -u -d "@$((minutes * 60))" +%Y-%m-%dT%H:%M:%SZ)"
"""
_TICK_LABEL = "metadata.labels['batch.kubernetes.io/job-name']"


def cron_job(
    job: Component,
    clock: CronClock,
    target: ClusterTarget,
    given: Spec,
    config: str,
    files: list[BundledFile],
    manifest: str,
) -> Spec:
    """Return the object; `given` are the variables, `manifest` is the path of it in the folder."""
    entry = job.entry
    name = label(f"{target.name}-{job.id}", _LONGEST)
    running = container(target, "job", given, manifest)
    tick = {"name": "TICK_OF", "valueFrom": {"fieldRef": {"fieldPath": _TICK_LABEL}}}
    running["env"] = [*running["env"], tick]
    script = ["/bin/sh", "-c", verbatim(_RUN_JOB), "run-job"]
    running["command"] = [*script, verbatim(f"{FOLDER}/{manifest}"), verbatim(job.id)]
    retries = 1 if entry.on_crash == "rerun" else 0
    bound = {}
    if entry.timeout is not None:  # it counts over all pods of a tick
        bound["activeDeadlineSeconds"] = seconds((1 + retries) * (START + entry.timeout))
    spec = pod([running], config, files, restartPolicy="Never")
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata(target, name, annotations={"assembler/job": job.id}),
        "spec": {
            "schedule": clock.schedule,
            "timeZone": clock.zone,
            "concurrencyPolicy": _POLICIES[entry.overlap],
            "startingDeadlineSeconds": max(_SHORTEST_DEADLINE, seconds(entry.grace)),
            "jobTemplate": {
                "metadata": {"labels": labels(target)},
                "spec": {
                    "backoffLimit": retries,
                    **bound,
                    "template": {"metadata": {"labels": labels(target)}, "spec": spec},
                },
            },
        },
    }
