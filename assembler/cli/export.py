"""`export`: one manifest → what another system runs it by.

In: the path of a manifest, and what it does not say: names, sizes. Out: YAML on standard output,
what the system cannot do on standard error. Refuses what `check --static` refuses, names and sizes
that a cluster would refuse, and jobs that it could not run at their times. Reads no variables.
"""

import re
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli.output import INVALID, show, wants_color, warn
from assembler.diagnostics.errors import UsageError
from assembler.document.nodes import ScalarNode, locate
from assembler.review import report as reports

if TYPE_CHECKING:
    from assembler.plan.load import Plan

_PORT = 8000
_QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?\Z", re.ASCII)
_IMAGE = re.compile(r"[a-z0-9][\w.:/@-]*\Z", re.ASCII)


class System(StrEnum):
    """What `export` writes for."""

    kubernetes = "kubernetes"


def export(
    file: Annotated[Path, typer.Argument(help="A manifest.", show_default=False)],
    to: Annotated[System, typer.Option("--to", help="What to write it for.")],
    name: Annotated[
        str | None, typer.Option(help="What the objects are called; else by the app's title.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="The container image; else the name and the app's version.")
    ] = None,
    namespace: Annotated[str | None, typer.Option(help="The namespace of the objects.")] = None,
    secret: Annotated[
        str | None, typer.Option(help="The secret that holds the variables; else the name.")
    ] = None,
    replicas: Annotated[int, typer.Option(min=0, help="Pods of the service.")] = 1,
    cpu: Annotated[str, typer.Option(help="CPU that each pod asks for.")] = "100m",
    memory: Annotated[
        str | None, typer.Option(help="Memory of each pod; else by the number of its processes.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Where pods listen; else the manifest's.")
    ] = None,
) -> None:
    """Write the objects that run a manifest in Kubernetes: service, deployment, a cron job per job."""
    from assembler.describe.export.kubernetes import export as exported
    from assembler.describe.export.pods import ClusterTarget
    from assembler.plan.load import load

    plan = load(file, static=True)
    called = _label("name", name) if name else _own_name(plan, file)
    target = ClusterTarget(
        name=called,
        image=_matching("image", image, _IMAGE) if image else f"{called}:{_version(plan)}",
        secret=_label("secret", secret) if secret else called,
        namespace=_label("namespace", namespace) if namespace else None,
        replicas=replicas,
        cpu=_matching("cpu", cpu, _QUANTITY),
        memory=_matching("memory", memory, _QUANTITY) if memory else None,
    )
    result = exported(plan, target, port or _port(plan))
    if result.diagnostics:
        warn(reports.as_text(result.diagnostics, color=wants_color(sys.stderr)))
    if any(fault.severity == "error" for fault in result.diagnostics):
        raise typer.Exit(INVALID)
    show(result.text.rstrip("\n"))


def _own_name(plan: "Plan", file: Path) -> str:
    from assembler.describe.export.pods import title_label

    node, key = locate(plan.document.root, ("app", "title"))
    title = str(node.value) if key and isinstance(node, ScalarNode) else ""
    return _label(
        "name", title_label("" if "${" in title else title, 40) or title_label(file.stem, 40)
    )


def _version(plan: "Plan") -> str:
    version = plan.manifest.app.version
    return (
        re.sub(r"[^\w.-]", "-", version, flags=re.ASCII)[:64] if "${" not in version else "latest"
    )


def _port(plan: "Plan") -> int:
    """Return the port of the manifest; one that is free, or told by a variable, is no port to send to."""
    node, key = locate(plan.document.root, ("server", "port"))
    value = node.value if key and isinstance(node, ScalarNode) else _PORT
    return value if isinstance(value, int) and value else _PORT


def _label(option: str, text: str) -> str:
    from assembler.describe.export.pods import LABEL

    if not LABEL.match(text) or len(text) > 40 or text[0].isdigit():
        raise UsageError(
            f"`--{option}` takes up to 40 lower-case letters, digits and `-`, a letter first"
        )
    return text


def _matching(option: str, text: str, pattern: re.Pattern[str]) -> str:
    if not pattern.match(text):
        examples = {"image": "registry.example/shop:1.4.0", "cpu": "250m", "memory": "512Mi"}
        raise UsageError(f"`--{option}` takes text such as `{examples[option]}`")
    return text
