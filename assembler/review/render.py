"""A merged document → the whole manifest of one environment, as text.

In: a `Document`. Out: YAML or JSON, the same bytes for the same manifest; references stay as they
are written, so no secret can appear; passwords inside literal URLs are covered. `origins` tells of
each value which file and line it came from. Needs no environment and no code.
"""

import json
from collections.abc import Iterator
from typing import Any

from assembler.diagnostics.secrets import redact
from assembler.diagnostics.span import printable
from assembler.document.address import address_of
from assembler.document.dump import dump
from assembler.document.merge import Document
from assembler.document.nodes import NodePath, as_written, is_leaf, locate, walk
from assembler.manifest import Manifest


def as_yaml(document: Document) -> str:
    """Write the document as YAML that this format reads back as the same values."""
    return dump([_in_order(document)])


def as_json(document: Document) -> str:
    """Write the document as JSON."""
    return json.dumps(_in_order(document), indent=2)


def origins(document: Document, path: NodePath) -> Iterator[str]:
    """Yield `address = value` with `file:line:column` for each value at and below `path`."""
    node, _ = locate(document.root, path)
    for below, leaf in sorted(walk(node), key=lambda found: _rank((*path, *found[0]))):
        if is_leaf(leaf):
            value = json.dumps(_shown(as_written(leaf)), ensure_ascii=False)
            address = address_of(document.root, (*path, *below))
            yield f"{printable(address)} = {printable(value)}  # {leaf.span.place}"


def _rank(path: NodePath) -> int:
    """Place a value by its section; sorting keeps the author's order inside of it."""
    sections = list(Manifest.model_fields)
    return sections.index(str(path[0])) if path else -1


def _in_order(document: Document) -> dict[str, Any]:
    """Return the sections in the format's order, their insides in the author's."""
    data = _shown(as_written(document.root))
    return {name: data[name] for name in Manifest.model_fields if name in data}


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shown(item) for item in value]
    return value
