"""A golden case: files, then `----`, then the text that loading the first of them gives.

    manifest: 1                  the first file is `manifest.yaml`, unless a heading names it
    === shop/routes.py           each heading starts a further file
    === bytes.yaml escaped       `\\xNN`, `\\r` and `\\n` stand for bytes; the lines are joined
    === env                      NAME=value lines: the whole environment
    === override                 `path: JSON` lines, as `load(override=…)` takes them
    === path                     folders of the case that are on `sys.path` too
    === show                     what a success shows: `document`, `origins` or `options`
    ----
    error[…]: …

A case whose text has the word `canary` says that the word must not be in what is shown.
"""

import codecs
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from assembler.diagnostics.errors import ManifestError, UsageError
from assembler.diagnostics.render import render
from assembler.document.nodes import MappingNode, ScalarNode, as_written, walk
from assembler.plan.component import Component
from assembler.plan.load import Plan, load
from tests.assembler.project import project

SEPARATOR = "----\n"
_OWN = {"env", "override", "path", "show"}


@dataclass(slots=True)
class Case:
    """The parts of one `.case` file."""

    given: str
    expected: str
    files: dict[str, bytes] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.lines.get("env", []))

    @property
    def override(self) -> dict[str, Any]:
        pairs = (line.split(": ", 1) for line in self.lines.get("override", []))
        return {path: json.loads(value) for path, value in pairs}


def read_case(text: str) -> Case:
    """Split the text of a `.case` file."""
    given, _, expected = text.partition(SEPARATOR)
    case = Case(given, expected)
    bodies: dict[str, list[str]] = {}
    body = bodies.setdefault("manifest.yaml", []) if not given.startswith("===") else []
    for line in given.splitlines(keepends=True):
        if line.startswith("=== "):
            body = bodies.setdefault(line[4:].strip(), [])
        else:
            body.append(line)
    for heading, found in bodies.items():
        name, _, is_escaped = heading.partition(" ")
        if name in _OWN:
            case.lines[name] = [line.rstrip("\n") for line in found if line.strip()]
        elif is_escaped:
            plain = "".join(found).replace("\n", "").encode()
            case.files[name] = codecs.escape_decode(plain)[0]
        else:
            case.files[name] = "".join(found).encode()
    return case


def outcome(case: Case, folder: Path) -> str:
    """Load the case in `folder`, which is empty, and return what a person would see."""
    for name, content in case.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    more = [str(folder / name) for name in case.lines.get("path", [])]
    with (
        project(folder, {}),
        mock.patch.dict(os.environ, case.environment, clear=True),
        mock.patch.object(sys, "path", [sys.path[0], *more, *sys.path[1:]]),
    ):
        try:
            plan = load(next(iter(case.files)), case.override or None, lazy=False)
        except ManifestError as error:
            blocks = [render(fault) for fault in error.diagnostics]
            count = f"{len(blocks)} error{'s' * (len(blocks) > 1)}\n"
            return "\n\n".join([*blocks, count])
        except UsageError as error:
            return f"usage: {error}\n"
        shown = "".join(case.lines.get("show", ["ok"]))
        return "".join(f"{line}\n" for line in _SHOWN[shown](plan))


def _document(plan: Plan) -> Iterator[str]:
    yield json.dumps(as_written(plan.document.root), indent=1, ensure_ascii=False)


def _origins(plan: Plan) -> Iterator[str]:
    for path, node in walk(plan.document.root):
        if isinstance(node, ScalarNode) or not getattr(
            node, "members", getattr(node, "items", None)
        ):
            value = "{}" if isinstance(node, MappingNode) else repr(getattr(node, "value", []))
            yield f"{'.'.join(map(str, path))} = {value} from {node.span.place}"


def _options(plan: Plan) -> Iterator[str]:
    sections = (
        plan.resources,
        plan.middleware,
        plan.handlers,
        plan.configure,
        plan.routes,
        plan.lifespan,
        plan.startup,
        plan.jobs,
        plan.background,
        plan.shutdown,
    )
    apps = (
        (part.middleware, part.handlers, part.configure, part.routes) for part in plan.parts[1:]
    )
    inner = (section for app in apps for section in app)
    for component in (one for section in (*sections, *inner) for one in section):
        yield f"{component.role} {component.id}: {_arguments(component)}"
    if "server" in plan.document.root.members:
        yield f"server: {plan.server!r}"


def _arguments(component: Component) -> str:
    if not component.called:
        return "as it is"
    if component.options.names:
        return f"with {', '.join(sorted(component.options.names))}"
    arguments, _ = component.options.arguments({})
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items()) or "no arguments"


def _ok(plan: Plan) -> Iterator[str]:
    yield "ok"
    yield from map(render, plan.warnings)


_SHOWN = {"ok": _ok, "document": _document, "origins": _origins, "options": _options}
