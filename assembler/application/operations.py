"""A built application → what its operators may know of what it is made of.

In: a plan, its application, the scopes of its routes. Out: the `Operations` of this process. What
is told stands as it is written, with the file and line that it is from; a reference is never
resolved.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from fastapi import FastAPI

from assembler.diagnostics.span import one_line, printable
from assembler.document.address import address_of
from assembler.document.merge import Document
from assembler.document.nodes import as_written, is_leaf, walk
from assembler.plan.component import Component
from assembler.plan.fingerprint import without_credentials
from assembler.plan.load import Plan
from assembler.runtime.operations.facade import Operations, Sources
from assembler.runtime.operations.figures import Stack
from assembler.runtime.registry import Registry

_LONGEST = 300  # characters of a value


def operations_of(
    plan: Plan,
    app: FastAPI,
    registry: Registry,
    store: Any,
    scopes: Sequence[tuple[Component, Any]],
    mounted: Sequence[tuple[Plan, FastAPI]] = (),
) -> Operations:
    """Return what operators ask; `store` is the scheduler's, or None.

    `mounted` are the plans of manifests that are mounted, each with its application.
    """

    def explain() -> dict[str, Any]:
        from assembler.describe.explain import explanation  # noqa: PLC0415  # when somebody looks

        return explanation(plan, app)

    def timetable(now: datetime) -> list[dict[str, Any]]:
        from assembler.describe import jobs  # noqa: PLC0415  # as above

        return jobs.timetable(plan, now, {})

    def stacks() -> list[Stack]:
        inner = [
            (scope.stack, [item for item in part.scoped if item.role == "middleware"])
            for part, scope in scopes
        ]
        apps = [(one.middleware_stack, part.middleware) for part, one in mounted]
        return [(app.middleware_stack, plan.middleware), *apps, *inner]

    sources = Sources(explain, lambda: list(options_of(plan.document)), timetable, stacks)
    return Operations(plan, app.state.assembly, registry, store, sources)


def options_of(document: Document) -> Iterator[dict[str, Any]]:
    """Yield each value of a document: its path, what is written, and where."""
    for path, leaf in walk(document.root):
        if path and is_leaf(leaf):
            names = [part for part in path if isinstance(part, str)]
            plain = without_credentials(as_written(leaf), names[-1] if names else "")
            value = json.dumps(plain, ensure_ascii=False)
            cut = value if len(value) <= _LONGEST else value[:_LONGEST] + "…"
            yield {
                "section": str(path[0]),
                "path": printable(address_of(document.root, path)),
                "value": printable(cut),
                "file": one_line(leaf.span.file.name),
                "line": leaf.span.line,
            }
