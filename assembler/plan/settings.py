"""What a manifest refers to → a `Resolver` that knows it.

In: a manifest and its tree, an environment. Out: the resolver, or the faults of the first stage that
found any: the syntax of references and the order of resources; then variables and settings, all that
are missing together, each missing and each refused field by itself. Calls nothing but the settings
class. What references hold is secret from here on, and what others' code says is told without the
values it was made from.
"""

import contextlib
import sys
from collections.abc import Collection, Iterator, Mapping
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.exceptions import failure_of, frame_of
from assembler.diagnostics.secrets import Secrets
from assembler.diagnostics.span import Span
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
from assembler.plan.allow_list import ImportFault, ImportList
from assembler.plan.importer import import_object
from assembler.plan.signature import Target, target_of

_DATA = (str, bytes, int, float, list, tuple, dict, set, frozenset, ModuleType, type(None))
UNKNOWN = object()
"""Settings that were refused where they are named."""

_SHORTEST = 4  # characters of a value that could be a secret; `1` or `no` would be everywhere


def read_references(
    manifest: Manifest,
    root: MappingNode,
    environment: Mapping[str, str] | None,
    imports: ImportList,
    secrets: Secrets,
    *,
    ids: Collection[str] = (),
    settings: Any = None,
) -> tuple[Resolver, list[Diagnostic]]:
    """Return what resolves the references; without an environment it knows no variable.

    `ids` are resources, and `settings` the settings, of the manifests around this one; `UNKNOWN`
    where these were refused.
    """
    found = mentions(root)
    faults = [*check_syntax(found), *check_resources(found, root.get("resources"), ids)]
    if faults or environment is None:
        return Resolver(None, None, secrets), faults
    faults = list(check_environment(found, environment))
    if manifest.settings is not None:
        node, _ = locate(root, ("settings",))
        settings, refused = _build_settings(manifest.settings, imports, node.span, environment)
    else:
        refused = []
    faults += refused or (() if settings is UNKNOWN else check_settings(found, settings))
    if faults or settings is UNKNOWN:
        return Resolver(None, None, secrets), faults
    resolver = Resolver(environment, settings, secrets)
    for mention in found:  # what they hold is secret before others' code could show it
        for reference, _ in mention.references("environment", "settings"):
            resolver.value(reference)
    secrets.add_credentials(environment)
    return resolver, []


def _build_settings(
    path: str, imports: ImportList, span: Span, environment: Mapping[str, str]
) -> tuple[Any, list[Diagnostic]]:
    """Import a settings object, or call a class or function for one; else None with every fault."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            found = import_object(path, imports)
            target = target_of(path, found)
            reason = _unfit(target)
            if reason is not None:
                return None, [Diagnostic("not-callable", f"`{path}` {reason}", span)]
            settings = found if target.form == "instance" else found()
            if settings is None:
                return None, [Diagnostic("bad-settings", f"`{path}` gives None", span)]
            return settings, []
    except ImportFault as fault:
        found = fault.at(span)
        is_theirs = fault.code == "import-failed"  # others are in words of our own
        return None, [found.scrubbed(_secrets(fault, environment).scrub) if is_theirs else found]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # a settings class may raise anything
        secrets = _secrets(error, environment)
        return None, [fault.scrubbed(secrets.scrub) for fault in _faults(error, span)]


def _unfit(target: Target) -> str | None:
    """Say why what is named is neither settings nor gives any."""
    if isinstance(target.value, _DATA):
        return f"is of type `{type(target.value).__name__}`, which holds no settings"
    return "is async, and nothing waits for it here" if target.is_async else None


def _faults(error: BaseException, span: Span) -> Iterator[Diagnostic]:
    if not isinstance(error, ValidationError):
        message = f"the settings could not be built: {failure_of(error)}"
        yield Diagnostic("bad-settings", message, span, trace=frame_of(error))
        return
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"]) or type(error).__name__
        if item["type"] == "missing":
            remedy = f"set the variable that `{name}` is read from"
            yield Diagnostic("missing-variable", f"setting `{name}` is not set", span, help=remedy)
        else:
            message = f"setting `{name}` is refused: {item['msg'].lower()}"
            yield Diagnostic("bad-settings", message, span)


def _secrets(error: BaseException, environment: Mapping[str, str]) -> Secrets:
    """Hide every variable's value, and each value that pydantic quotes (from a `.env` file)."""
    secrets = Secrets()
    for name, value in environment.items():
        if len(value) >= _SHORTEST:
            secrets.add(value, f"${{{name}}}")
            secrets.add(value.lower(), f"${{{name}}}")
    for item in error.errors() if isinstance(error, ValidationError) else ():
        value = item.get("input")
        if isinstance(value, str) and len(value) >= _SHORTEST:
            secrets.add(value, "…")
            secrets.add(value.lower(), "…")
    return secrets
