"""What the format has and this version has no use for → warnings.

In: a manifest and its tree. Out: for each such key a `not-supported` diagnostic, so that `check`
says it early. Refuses nothing: what only adds to a running service is told and left.
"""

from collections.abc import Iterator

from assembler.errors import Diagnostic
from assembler.manifest import Manifest
from assembler.nodes import Mapping, locate


def not_acted_on(manifest: Manifest, root: Mapping) -> Iterator[Diagnostic]:
    """Yield a warning for each key that has no effect yet."""
    given = {"audit": manifest.audit.suppress}
    for name, value in given.items():
        if value:
            node, key = locate(root, (name,))
            message = f"this version does not run `{name}` yet"
            yield Diagnostic("not-supported", message, key or node.span, severity="warning")
