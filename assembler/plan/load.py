"""Manifest → `Plan`: every callable resolved, every option converted, every place kept.

In: a path, values that override the manifest's, an environment. Out: a frozen `Plan`, or the
`ManifestError` of the first stage that found faults: text, shape, references, imports, options.
Each stage reports all of its faults at once. Calls nothing that the manifest names, except the
settings class. This is the one way to a plan for every command and for `assembler:app`.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from assembler import manifest as models
from assembler.diagnostics.errors import Diagnostic, arranged, raise_faults
from assembler.diagnostics.secrets import Secrets
from assembler.document.extends import DISK, Shelf, shown_name
from assembler.document.interpolation import Resolver
from assembler.document.merge import Document, load_document
from assembler.document.nodes import MappingNode, NodePath
from assembler.document.override import override_document
from assembler.manifest.sections import Role
from assembler.manifest.validate import read_manifest
from assembler.plan.allow_list import read_import_list
from assembler.plan.component import Component, Part, entries, hidden
from assembler.plan.deferred import LateTargets, with_late
from assembler.plan.options import OptionsChecker
from assembler.plan.sections.logging import check_logging
from assembler.plan.sections.scheduler import check_scheduler
from assembler.plan.sections.server import check_server
from assembler.plan.sections.shutdown_budget import check_termination
from assembler.plan.settings import read_references
from assembler.plan.signature import class_of
from assembler.plan.sql.statement import SqlStep, check_engines, read_sql
from assembler.plan.targets import ModuleTargets, Targets


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a build needs, and nothing that has happened yet.

    A plan that was read by source alone (`is_static`) tells what the manifest says, and cannot be
    built; `warnings` hold what the source did not tell.
    """

    name: str
    document: Document = field(repr=False)
    manifest: models.Manifest = field(repr=False)  # the environment's values stand in it
    secrets: Secrets = field(repr=False)
    settings: Any = field(repr=False)
    resources: tuple[Component, ...]
    middleware: tuple[Component, ...]
    handlers: tuple[Component, ...]
    configure: tuple[Component, ...]
    routes: tuple[Component, ...]
    startup: tuple[Component, ...]
    jobs: tuple[Component, ...]
    job_context: Component | None  # what is called with the ID of each run
    shutdown: tuple[Component, ...]
    sql: tuple[SqlStep, ...]  # startup entries with SQL; `startup` has those with `use`
    logging: dict[str, Any] | None = field(repr=False)
    server: dict[str, Any] = field(repr=False)
    warnings: tuple[Diagnostic, ...]
    is_static: bool

    @property
    def hash(self) -> str:
        """SHA-256 of the merged manifest, references unresolved, in hexadecimal."""
        return self.document.hash


def load(
    path: str | Path,
    override: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    static: bool = False,
    lazy: bool = True,
) -> Plan:
    """Read, check and resolve the manifest at `path`.

    `override` maps paths such as `middleware.per-ip.with.limit` to the values that replace the
    manifest's; `environment` stands for `os.environ`. With `static` nothing is imported and no
    variable is read: the source of what the manifest names is read instead. What a lazy mount
    names is left to its first request; without `lazy` it is imported and checked as all else is.

    Raises `UsageError` where there is no such file, `ManifestError` with every fault of the first
    stage that found any.
    """
    document = read_document(Path(path), override)
    if static:
        return _Planner(document, None).plan()
    values = os.environ if environment is None else environment
    return _Planner(document, values, lazy=lazy).plan()


def load_shape(
    path: str | Path, override: Mapping[str, Any] | None = None, *, shelf: Shelf = DISK
) -> tuple[Document, models.Manifest]:
    """Read and check text, shape and the syntax of references: no variables, no code."""
    document = read_document(Path(path), override, shelf)
    planner = _Planner(document, None)
    manifest = planner.shape(Resolver(None, None, planner.secrets))
    planner.references(manifest)
    return document, manifest


def read_document(
    path: Path, override: Mapping[str, Any] | None = None, shelf: Shelf = DISK
) -> Document:
    """Read and merge the manifest at `path`, with `override` on top."""
    document = load_document(path, shelf)
    return override_document(document, override) if override else document


class _Planner:
    """The stages from shape to options over one document; without an environment, by source."""

    def __init__(
        self, document: Document, environment: Mapping[str, str] | None, *, lazy: bool = False
    ) -> None:
        self.document = document
        self.root = document.root
        self.environment = environment
        self.lazy = lazy
        self.secrets = Secrets()
        self.imports = read_import_list(document.path)

    @cached_property
    def targets(self) -> Targets:
        if self.environment is None:
            from assembler.plan.static import SourceReader  # noqa: PLC0415  # a start reads no source

            return SourceReader(self.imports)
        return ModuleTargets(self.imports)

    def plan(self) -> Plan:
        manifest = self.shape(Resolver(None, None, self.secrets))
        resolver = self.references(manifest)
        if self.environment is not None:
            manifest = self.shape(resolver)
        parts = [self.part(*entry) for entry in entries(manifest)]
        faults = [fault for part in parts for fault in part.faults]
        logging, found = self.logging(resolver)
        sql, refused = read_sql(manifest, self.document, resolver)
        self.refuse([*faults, *hidden(parts), *found, *refused])
        return self.options(manifest, resolver, parts, logging, sql)

    def part(self, role: Role, path: NodePath, entry: Any) -> Part:
        is_late = self.lazy and role == "mount" and entry.lazy
        targets = LateTargets(self.imports) if is_late else self.targets
        return Part(self.root, targets, role, path, entry)

    def shape(self, resolver: Resolver) -> models.Manifest:
        manifest, faults = read_manifest(self.root, resolver)
        self.refuse(faults)
        assert manifest is not None  # noqa: S101  # without faults there is one
        return manifest

    def references(self, manifest: models.Manifest) -> Resolver:
        resolver, faults = read_references(
            manifest, self.root, self.environment, self.imports, self.secrets
        )
        self.refuse(faults)
        return resolver

    def logging(self, resolver: Resolver) -> tuple[dict[str, Any] | None, list[Diagnostic]]:
        node = self.root.get("logging")
        if not isinstance(node, MappingNode):
            return None, []
        data = resolver.data(node, ("logging",))
        return data, list(check_logging(node, data, self.targets))

    def options(
        self,
        manifest: models.Manifest,
        resolver: Resolver,
        parts: list[Part],
        logging: dict[str, Any] | None,
        sql: list[SqlStep],
    ) -> Plan:
        declared = {part.entry.id: _declared(part) for part in parts if part.role == "resource"}
        checker = OptionsChecker(declared, self.targets.target)
        faults: list[Diagnostic] = []
        sections: dict[str | int, list[Component]] = {}
        for part in parts:
            component, found = part.checked(checker, resolver)
            faults += found
            if isinstance(part.targets, LateTargets):
                component = with_late(component, part, self.root, self.imports, declared, resolver)
            key = part.role if part.path[0] == "scheduler" else part.path[0]
            sections.setdefault(key, []).append(component)
        server, found = check_server(manifest, self.root, resolver, self.targets)
        is_static = self.environment is None
        jobs = tuple(
            check_scheduler(manifest, self.root, declared, resolver.data, is_static=is_static)
        )
        self.refuse([*faults, *found, *jobs, *check_engines(sql, declared)])
        advice = arranged(fault for fault in faults if fault.severity == "warning")
        return Plan(
            name=shown_name(self.document.path),
            document=self.document,
            manifest=manifest,
            secrets=self.secrets,
            settings=resolver.settings,
            resources=tuple(sections.get("resources", ())),
            middleware=tuple(sections.get("middleware", ())),
            handlers=tuple(sections.get("exception_handlers", ())),
            configure=tuple(sections.get("configure", ())),
            routes=tuple(sections.get("routes", ())),
            startup=tuple(sections.get("startup", ())),
            jobs=tuple(sections.get("job", ())),
            job_context=next(iter(sections.get("dependency", ())), None),
            shutdown=tuple(sections.get("shutdown", ())),
            sql=tuple(sql),
            logging=logging,
            server=server,
            warnings=(*self.warnings(manifest), *advice, *jobs, *self.unknown(parts)),
            is_static=is_static,
        )

    def warnings(self, manifest: models.Manifest) -> Iterator[Diagnostic]:
        """Say what takes too long."""
        if self.environment is not None:
            yield from check_termination(manifest, self.root)

    def unknown(self, parts: list[Part]) -> Iterator[Diagnostic]:
        """Say where the source alone did not tell."""
        reasons = getattr(self.targets, "unknown", {})
        for part in parts:
            reason = reasons.get(part.target.path)
            if reason and part.has_options:
                message = f"`{part.target.path}`: {reason}"
                yield Diagnostic("static-unknown", message, part.span, severity="warning")

    def refuse(self, faults: Iterable[Diagnostic]) -> None:
        """End the stage where it found faults, with no secret in what others' code said."""
        raise_faults(fault.scrubbed(self.secrets.scrub) for fault in faults)


def _declared(part: Part) -> type | None:
    return class_of(part.target.signature.returns)
