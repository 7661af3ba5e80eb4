"""What a manifest refers to → a `Resolver` that knows it.

In: a manifest and its tree, an environment. Out: the resolver, or the faults of the first stage that
found any: the syntax of references and the order of resources; then variables and settings, all that
are missing together. Calls nothing but the settings class. What references hold is secret from here on.
"""

from collections.abc import Mapping
from typing import Any

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.secrets import Secrets
from assembler.document.interpolation import Resolver
from assembler.document.interpolation_checks import (
    check_environment,
    check_resources,
    check_settings,
    check_syntax,
    mentions,
)
from assembler.document.nodes import MappingNode, locate
from assembler.manifest import Manifest
from assembler.plan.allow_list import ImportList
from assembler.plan.settings import build_settings


def read_references(
    manifest: Manifest,
    root: MappingNode,
    environment: Mapping[str, str] | None,
    imports: ImportList,
    secrets: Secrets,
) -> tuple[Resolver, list[Diagnostic]]:
    """Return what resolves the references; without an environment it knows no variable."""
    found = mentions(root)
    faults = [*check_syntax(found), *check_resources(found, root.get("resources"))]
    if faults or environment is None:
        return Resolver(None, None, secrets), faults
    faults = list(check_environment(found, environment))
    settings, refused = _settings(manifest.settings, root, imports, environment)
    faults += refused or check_settings(found, settings)
    if faults:
        return Resolver(None, None, secrets), faults
    resolver = Resolver(environment, settings, secrets)
    for mention in found:  # what they hold is secret before others' code could show it
        for reference, _ in mention.references("environment", "settings"):
            resolver.value(reference)
    secrets.add_credentials(environment)
    return resolver, []


def _settings(
    path: str | None, root: MappingNode, imports: ImportList, environment: Mapping[str, str]
) -> tuple[Any, list[Diagnostic]]:
    if path is None:
        return None, []
    node, _ = locate(root, ("settings",))
    return build_settings(path, imports, node.span, environment)
