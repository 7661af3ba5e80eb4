"""What the objects of a cluster share: their names and labels, and what their containers are.

In: ids and titles, whatever characters they have; the files; the variables that the manifest refers
to. Out: names by RFC 1123; plain data for `spec.containers` and `spec.volumes`. Two texts give one
name only where they are equal: what loses a character on the way gets a few digits of its hash. A `$`
in a command is doubled, since Kubernetes puts variables where it finds `$(NAME)`. Pods meet the
profile `restricted` of the Pod Security Standards, and write nowhere but below `/tmp`.
"""

import hashlib
import math
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from assembler.describe.export.bundle import BundledFile
from assembler.document.interpolation_checks import mentions
from assembler.document.nodes import MappingNode

FOLDER = "/etc/assembler"
START = timedelta(minutes=1)  # for a pod to come up, before what it runs has its own bounds
_PROCESS_MEBIBYTES = 128
Spec = dict[str, Any]

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z")
LONGEST = 63
_HASHED = 6  # hexadecimal digits


@dataclass(frozen=True, slots=True)
class ClusterTarget:
    """What a cluster is to call the objects, and what it may spend on each pod."""

    name: str
    image: str
    secret: str
    namespace: str | None = None
    replicas: int = 1
    cpu: str = "100m"
    memory: str | None = None  # of a pod; else by the number of its processes


def label(text: str, longest: int = LONGEST) -> str:
    """Return the name for `text`."""
    if LABEL.match(text) and len(text) <= longest:
        return text
    digits = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_HASHED]
    kept = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[: longest - _HASHED - 1].strip("-")
    return f"{kept or 'x'}-{digits}"


def title_label(text: str, longest: int = LONGEST) -> str:
    """Return a readable name for one text that has no others beside it, or an empty one.

    It begins with a letter, as the name of a service has to.
    """
    kept = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if kept[:1].isdigit():
        kept = f"app-{kept}"
    return kept[:longest].strip("-")


def metadata(target: ClusterTarget, name: str, **more: Any) -> Spec:
    """Return the metadata of an object that is called `name`."""
    place = {"namespace": target.namespace} if target.namespace else {}
    return {"name": name, **place, "labels": labels(target), **more}


def labels(target: ClusterTarget) -> Spec:
    """Return the labels of every object."""
    return {"app.kubernetes.io/name": target.name, "app.kubernetes.io/managed-by": "assembler"}


def variables(root: MappingNode, secret: str, *, has_settings: bool) -> Spec:
    """Return where a container's variables come from: one secret has them all."""
    needed: dict[str, bool] = {}  # each variable, and whether it must be there
    for mention in mentions(root):
        for reference, _ in mention.references("environment"):
            needed[reference.name] = needed.get(reference.name, False) or reference.operator != "-"
    env = [_variable(name, secret, must) for name, must in needed.items() if name != "ASSEMBLY"]
    # A settings class reads variables that the manifest does not name.
    source = [{"secretRef": {"name": secret, "optional": True}}] if has_settings else []
    return {"env": env} | ({"envFrom": source} if source else {})


def container(
    target: ClusterTarget, name: str, given: Spec, manifest: str, *, processes: int = 1
) -> Spec:
    """Return one container that reads the manifest at `manifest`, a path below the folder."""
    # Four workers of the example service and their parent take 415 MB.
    memory = target.memory or f"{_PROCESS_MEBIBYTES * (processes + 1)}Mi"
    env = [{"name": "ASSEMBLY", "value": verbatim(f"{FOLDER}/{manifest}")}, *given["env"]]
    return {
        "name": name,
        "image": target.image,
        **given,
        "env": env,
        "resources": {
            "requests": {"cpu": target.cpu, "memory": memory},
            "limits": {"memory": memory},  # a limit on CPU would stall the event loop
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "manifest", "mountPath": FOLDER, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  # the pod's own
        ],
    }


def pod(containers: list[Spec], config: str, files: list[BundledFile], **more: Any) -> Spec:
    """Return the specification of a pod whose folder holds the files of the config map."""
    items = [{"key": file.key, "path": file.path} for file in files]
    return {
        **more,
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": containers,
        "volumes": [
            {"name": "manifest", "configMap": {"name": config, "items": items}},
            {"name": "tmp", "emptyDir": {}},
        ],
    }


def verbatim(text: str) -> str:
    """Return `text` as a command or variable has it where nothing is to be put into it."""
    return text.replace("$", "$$")


def seconds(duration: timedelta) -> int:
    """Return whole seconds, rounded up."""
    return math.ceil(duration.total_seconds())


def _variable(name: str, secret: str, must: bool) -> Spec:
    key = {"name": secret, "key": name} | ({} if must else {"optional": True})
    return {"name": name, "valueFrom": {"secretKeyRef": key}}
