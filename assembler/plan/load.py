"""Manifest → `Plan`: every callable resolved, every option converted, every place kept.

In: a path, values that override the manifest's, an environment. Out: a frozen `Plan`, or the
`ManifestError` of the first stage that found faults: text, shape, references, imports, options.
Each stage reports all of its faults at once. Calls nothing that the manifest names, except the
settings class. This is the one way to a plan for every command and for `assembler:app`.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from assembler import manifest as models
from assembler.diagnostics.errors import Diagnostic, arranged, raise_faults
from assembler.diagnostics.secrets import Secrets
from assembler.diagnostics.span import Note
from assembler.document.extends import DISK, Recording, Shelf, shown_name
from assembler.document.interpolation import STATE, Resolver
from assembler.document.merge import Document, load_document
from assembler.document.nodes import MappingNode, walk
from assembler.document.override import override_document
from assembler.manifest.sections import Role
from assembler.manifest.validate import read_manifest
from assembler.plan.allow_list import ImportList, read_import_list
from assembler.plan.component import (
    Component,
    ResolvedEntry,
    declared_class,
    entries,
    hidden,
    made_too_late,
    resolve_entry,
    resolve_scope,
    too_late,
)
from assembler.plan.deferred import LateTargets, with_late
from assembler.plan.options import OptionsChecker
from assembler.plan.sections.app import AppOptions, check_app, code_options, unknown_app_keys
from assembler.plan.sections.logging import check_logging
from assembler.plan.sections.routes import Frontend, check_docs, check_frontends, check_routes
from assembler.plan.sections.scheduler import check_scheduler
from assembler.plan.sections.server import check_server, check_single_process, unknown_keys
from assembler.plan.sections.shutdown_budget import check_termination
from assembler.plan.settings import read_references
from assembler.plan.sql.statement import SqlStep, check_engines, read_sql
from assembler.plan.targets import ModuleTargets, Targets

_SINGLE = "single_process"
_PLACES = 9  # further places of one fault that are told


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
    app: AppOptions = field(repr=False)
    resources: tuple[Component, ...]
    lifespan: tuple[Component, ...]
    middleware: tuple[Component, ...]
    handlers: tuple[Component, ...]
    configure: tuple[Component, ...]
    routes: tuple[Component, ...]
    frontends: tuple[Frontend, ...]
    finish: tuple[Component, ...]
    startup: tuple[Component, ...]
    jobs: tuple[Component, ...]
    background: tuple[Component, ...]
    job_context: Component | None  # what is called with the ID of each run
    shutdown: tuple[Component, ...]
    listeners: Mapping[str, Component]  # by the id of the resource whose state they are told
    switched_off: tuple[Component | SqlStep, ...]  # by `enabled`: in no other list
    sql: tuple[SqlStep, ...]  # startup entries with SQL; `startup` has those with `use`
    logging: dict[str, Any] | None = field(repr=False)
    server: dict[str, Any] = field(repr=False)
    warnings: tuple[Diagnostic, ...]
    is_static: bool
    digest: str  # SHA-256 of the texts that it was made of

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
    shelf: Shelf = DISK,
    imports: ImportList | None = None,
) -> Plan:
    """Read, check and resolve the manifest at `path`.

    `override` maps paths such as `middleware.per-ip.with.limit` to the values that replace the
    manifest's; `environment` stands for `os.environ`. With `static` nothing is imported and no
    variable is read: the source of what the manifest names is read instead. What a lazy mount
    names is left to its first request; without `lazy` it is imported and checked as all else is.
    Files are read from `shelf`, and the import list is `imports`, where they are not the disk's.

    Raises `UsageError` where there is no such file, `ManifestError` with every fault of the first
    stage that found any.
    """
    if shelf is DISK:
        shelf = Recording()
    document = read_document(Path(path), override, shelf)
    if static:
        return _Planner(document, None, shelf=shelf).plan()
    values = os.environ if environment is None else environment
    return _Planner(document, values, lazy=lazy, shelf=shelf, imports=imports).plan()


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
        self,
        document: Document,
        environment: Mapping[str, str] | None,
        *,
        lazy: bool = False,
        shelf: Shelf = DISK,
        imports: ImportList | None = None,
    ) -> None:
        self.document = document
        self.root = document.root
        self.environment = environment
        self.lazy = lazy
        self.secrets = Secrets()
        self.shelf = shelf
        self.imports = read_import_list(document.path) if imports is None else imports

    @cached_property
    def targets(self) -> Targets:
        if self.environment is None:
            from assembler.plan.static import SourceReader  # noqa: PLC0415  # a start reads no source

            return SourceReader(self.imports)
        return ModuleTargets(self.imports)

    def plan(self) -> Plan:
        """Go through the stages.

        The shape is judged twice where there is an environment: at first with samples for what only
        that tells, so that faults of the text are told before any variable is missed; then with the
        values themselves.
        """
        manifest = self.shape(Resolver(None, None, self.secrets))
        resolver = self.references(manifest)
        if self.environment is not None:
            manifest = self.shape(resolver)
        resolved, faults = self.entries(manifest)
        logging, found = self.logging(resolver)
        sql, refused = read_sql(manifest, self.document, resolver, self.shelf)
        self.refuse([*told_once(faults), *hidden(resolved), *found, *refused])
        return self.options(manifest, resolver, resolved, logging, sql)

    def entries(self, manifest: models.Manifest) -> tuple[list[ResolvedEntry], list[Diagnostic]]:
        found: list[ResolvedEntry] = []
        faults: list[Diagnostic] = []
        for role, path, entry in entries(manifest):
            is_late = self.is_late(role, entry)
            targets = LateTargets(self.imports) if is_late else self.targets
            resolved, refused = resolve_entry(self.root, targets, role, path, entry)
            faults += refused
            if path[0] == "routes":
                scoped, refused = resolve_scope(self.root, self.targets, path, entry)
                resolved = replace(resolved, scoped=scoped)
                faults += refused
            found.append(resolved)
        return found, faults

    def is_late(self, role: Role, entry: Any) -> bool:
        """Tell whether an entry is imported and checked by its first request."""
        return self.lazy and role == "mount" and bool(entry.lazy)

    def shape(self, resolver: Resolver) -> models.Manifest:
        manifest, faults = read_manifest(self.root, resolver)
        self.refuse(
            [
                *faults,
                *unknown_app_keys(self.root),
                *unknown_keys(self.root, is_static=self.environment is None),
            ]
        )
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
        resolved: list[ResolvedEntry],
        logging: dict[str, Any] | None,
        sql: list[SqlStep],
    ) -> Plan:
        declared = {
            item.entry.id: declared_class(item) for item in resolved if item.role == "resource"
        }
        checker = OptionsChecker(declared, self.targets.target)
        faults: list[Diagnostic] = []
        made: list[Component] = []
        for item in resolved:
            component, found = item.checked(checker, resolver)
            faults += found
            if item.role in {"router", "endpoint"}:
                arguments, found = code_options(
                    item.entry.id, item.entry, item.node, item.path, resolver, self.targets
                )
                component = replace(component, arguments=arguments)
                faults += found
            if self.is_late(item.role, item.entry):
                component = with_late(component, item, self.root, self.imports, declared, resolver)
            made.append(component)

        pairs = tuple(zip(resolved, made, strict=True))

        def of(*roles: Role, at: str = "") -> tuple[Component, ...]:
            return tuple(
                one
                for item, one in pairs
                if one.role in roles and at in ("", item.path[0]) and _is_on(one)
            )

        arguments, state, found = check_app(manifest, self.root, resolver, self.targets)
        faults += found
        is_static = self.environment is None
        frontends, found = check_frontends(manifest, self.document, is_static=is_static)
        faults += found
        server, found = check_server(
            manifest, self.root, resolver, self.targets, is_static=is_static
        )
        jobs = tuple(
            check_scheduler(manifest, self.root, declared, resolver.data, is_static=is_static)
        )
        alone = check_single_process(
            manifest, self.root, lambda name: self.is_single(resolved, declared, name)
        )
        scoped = (inner for part in made for inner in part.scoped)
        late = (*made_too_late((*made, *scoped)), *self.sections_too_early(made))
        self.refuse([*faults, *found, *jobs, *alone, *late, *check_engines(sql, declared)])
        advice = arranged(fault for fault in faults if fault.severity == "warning")
        paths = (
            *check_routes(of("router", "mount", "endpoint"), frontends),
            *check_docs(of("middleware"), manifest.app, self.root),
        )
        return Plan(
            name=shown_name(self.document.path),
            document=self.document,
            manifest=manifest,
            secrets=self.secrets,
            settings=resolver.settings,
            app=AppOptions(arguments, state, of("dependency", at="app")),
            resources=of("resource"),
            lifespan=of("lifespan"),
            middleware=of("middleware"),
            handlers=of("handler"),
            configure=of("configure"),
            routes=of("router", "mount", "endpoint"),
            frontends=frontends,
            finish=of("finish"),
            startup=of("startup"),
            jobs=of("job"),
            background=of("background"),
            job_context=next(iter(of("dependency", at="scheduler")), None),
            shutdown=of("shutdown"),
            listeners={str(item.path[1]): one for item, one in pairs if item.is_listener},
            switched_off=(
                *(component for component in made if not _is_on(component)),
                *(step for step in sql if not _is_on(step)),
            ),
            sql=tuple(step for step in sql if _is_on(step)),
            logging=logging,
            server=server,
            warnings=(*self.warnings(manifest), *advice, *jobs, *paths, *self.unknown(resolved)),
            is_static=is_static,
            digest=self.imports.digest(self.document.path, getattr(self.shelf, "files", {})),
        )

    def sections_too_early(self, made: list[Component]) -> Iterator[Diagnostic]:
        """Find what names a resource outside of `with` and needs it before it is opened."""
        awaited = {f"${{resources.{part.id}}}": part.id for part in made if part.is_awaited}
        for path, node in walk(self.root) if awaited else ():
            is_outside = path[:2] == STATE or path[-1:] in {("store",), ("database",)}
            value = getattr(node, "value", None)
            if is_outside and "with" not in path and value in awaited:
                yield too_late(awaited[value], node)

    def is_single(
        self, resolved: list[ResolvedEntry], declared: Mapping[str, type | None], name: str
    ) -> bool:
        """Tell whether the class of a resource says that each process has it for itself."""
        lineage = getattr(self.targets, "lineage", None)
        if lineage is None:
            return getattr(declared.get(name), _SINGLE, False) is True
        use = next(item.entry.use for item in resolved if item.entry.id == name)
        return lineage(use, _SINGLE)[1] is True

    def warnings(self, manifest: models.Manifest) -> Iterator[Diagnostic]:
        """Say what takes too long."""
        if self.environment is not None:
            yield from check_termination(manifest, self.root)

    def unknown(self, resolved: list[ResolvedEntry]) -> Iterator[Diagnostic]:
        """Say where the source alone did not tell."""
        reasons = getattr(self.targets, "unknown", {})
        for item in resolved:
            reason = reasons.get(item.target.path)
            if reason and item.has_options:
                message = f"`{item.target.path}`: {reason}"
                yield Diagnostic("static-unknown", message, item.span, severity="warning")

    def refuse(self, faults: Iterable[Diagnostic]) -> None:
        """End the stage where it found faults, with no secret in what others' code said."""
        raise_faults(fault.scrubbed(self.secrets.scrub) for fault in faults)


def _is_on(part: Component | SqlStep) -> bool:
    # A miss of pydantic's own `getattr` costs microseconds, and most sections have no `enabled`.
    return getattr(part.entry, "__dict__", {}).get("enabled", True) is not False


def told_once(faults: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    """Join what is told of several places in the same words, such as one module that fails."""
    alike: dict[tuple[object, ...], list[Diagnostic]] = {}
    for fault in faults:
        key = (fault.code, fault.message, fault.trace, fault.help)
        alike.setdefault(key, []).append(fault)
    for first, *others in alike.values():
        spans = {fault.span: None for fault in others if fault.span and fault.span != first.span}
        notes = [Note(span, "and here") for span in spans]
        more = len(notes) - _PLACES
        trace = (f"and at {more} more place{'s' if more > 1 else ''}",) if more > 0 else ()
        yield replace(first, notes=(*first.notes, *notes[:_PLACES]), trace=first.trace + trace)
