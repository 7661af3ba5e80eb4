"""A plan → all that is expected of its application: in the manifest, and beside it.

In: a plan. Out: each expectation with its node. Beside `prod.yaml` stands `prod.expect.yaml`, a
mapping with the one key `expect`; what it lists comes after what the manifest itself does. Refuses
what the reader of manifests does, in that file.
"""

from collections.abc import Mapping
from pathlib import Path

from assembler.diagnostics.errors import Diagnostic, UsageError, raise_faults
from assembler.document.extends import read_layer, shown_name
from assembler.document.interpolation import Resolver
from assembler.document.interpolation_checks import (
    check_environment,
    check_settings,
    check_syntax,
    mentions,
)
from assembler.document.nodes import MappingNode, Member, Node, ScalarNode, SequenceNode
from assembler.document.parser import read_file
from assembler.manifest.review import Expectation
from assembler.manifest.validate import read_manifest
from assembler.plan.load import Plan

Expected = tuple[Expectation, Node]


def expectations_of(plan: Plan, environment: Mapping[str, str]) -> list[Expected]:
    """Return what is expected, in order; raises `ManifestError` for a faulty file beside."""
    found = list(_paired(plan.manifest.expect, plan.document.root.get("expect")))
    path = plan.document.path
    beside = path.with_name(f"{path.stem}.expect{path.suffix}")
    return [*found, *_beside(beside, plan, environment)] if beside.exists() else found


def _beside(path: Path, plan: Plan, environment: Mapping[str, str]) -> list[Expected]:
    why = plan.document.project.refusal(path)
    if why is not None:
        raise UsageError(f"cannot read `{shown_name(path)}`: {why}")
    layer = read_layer(read_file(path, shown_name(path)))
    raise_faults(
        Diagnostic("unknown-key", f"a file of expectations has no key `{key}`", member.key)
        for key, member in layer.members.items()
        if key != "expect"
    )
    version = Member(layer.span, ScalarNode(1, layer.span))
    root = MappingNode({"manifest": version, **layer.members}, layer.span)
    named = mentions(root)
    raise_faults(check_syntax(named))
    missing = [*check_environment(named, environment), *check_settings(named, plan.settings)]
    raise_faults(missing)
    manifest, faults = read_manifest(root, Resolver(environment, plan.settings, plan.secrets))
    raise_faults(fault.scrubbed(plan.secrets.scrub) for fault in faults)
    return list(_paired(manifest.expect if manifest else [], root.get("expect")))


def _paired(expected: list[Expectation], node: Node | None) -> "zip[Expected]":
    return zip(expected, node.items if isinstance(node, SequenceNode) else (), strict=True)
