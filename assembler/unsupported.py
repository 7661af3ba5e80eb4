"""What the format has and this version does not run → warnings, and what keeps a start.

In: a manifest and its tree. Out: for each such entry or key a `not-supported` diagnostic, so that
`check` says it early. Refuses the start where an entry would be left undone: SQL;
what only adds to a running service is told and left.
"""

from collections.abc import Iterator

from assembler.errors import Diagnostic
from assembler.manifest import Manifest
from assembler.nodes import Mapping, NodePath, locate


def not_run(manifest: Manifest, root: Mapping) -> tuple[Diagnostic, ...]:
    """Return an error for each entry without which the service must not start."""
    return tuple(_told(root, path, what, "error") for path, what in _entries(manifest))


def not_acted_on(manifest: Manifest, root: Mapping) -> tuple[Diagnostic, ...]:
    """Return a warning for each of those, and for each key that has no effect yet."""
    keys: list[tuple[NodePath, str]] = []
    if manifest.audit.suppress:
        keys.append((("audit",), "`audit`"))
    if manifest.expect:
        keys.append((("expect",), "`expect`"))
    found = [*_entries(manifest), *keys]
    return tuple(_told(root, path, what, "warning") for path, what in found)


def _entries(manifest: Manifest) -> Iterator[tuple[NodePath, str]]:
    for number, step in enumerate(manifest.startup):
        if step.sql is not None:
            yield ("startup", number), "startup SQL"


def _told(root: Mapping, path: NodePath, what: str, severity: str) -> Diagnostic:
    node, key = locate(root, path)
    span = key or node.span
    if span.end_line != span.line:
        end = len(span.file.lines[span.line - 1]) + 1
        span = span._replace(end_line=span.line, end_column=end)
    message = f"this version does not run {what} yet"
    return Diagnostic(
        "not-supported", message, span, severity="error" if severity == "error" else "warning"
    )
