"""Manifest → `Plan`: every callable resolved, every option converted, every place kept.

In: a path, values that override the manifest's, an environment. Out: a frozen `Plan`, or the
`ManifestError` of the first stage that found faults: text, shape, references, imports, options.
Each stage reports all of its faults at once. Calls nothing that the manifest names, except the
settings class. This is the one way to a plan for every command and for `assembler:app`.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from assembler import manifest as models
from assembler.diagnostics.errors import Diagnostic, arranged, raise_faults
from assembler.diagnostics.secrets import Secrets
from assembler.diagnostics.span import Note
from assembler.document.extends import DISK, Recording, Shelf, shown_name
from assembler.document.interpolation import STATE, Resolver
from assembler.document.merge import Document, load_document
from assembler.document.mounted import apart
from assembler.document.nodes import MappingNode, NodePath, walk
from assembler.document.override import override_document
from assembler.document.sections import INNER
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
    unfit,
)
from assembler.plan.deferred import LateTargets, with_late
from assembler.plan.injection import ResourceNeed, resources_of_factory
from assembler.plan.options import OptionsChecker
from assembler.plan.sections.app import AppOptions, check_app, code_options, unknown_app_keys
from assembler.plan.sections.logging import check_logging
from assembler.plan.sections.mounted import of_the_outermost, shared_ids
from assembler.plan.sections.routes import (
    Frontend,
    check_docs,
    check_frontends,
    check_left_behind,
    check_routes,
)
from assembler.plan.sections.scheduler import check_scheduler
from assembler.plan.sections.server import check_server, check_single_process, unknown_keys
from assembler.plan.sections.shutdown_budget import check_termination
from assembler.plan.settings import UNKNOWN, read_references
from assembler.plan.sql.statement import SqlStep, check_engines, read_sql
from assembler.plan.targets import ModuleTargets, Targets

_Part = TypeVar("_Part")
_SINGLE = "single_process"
_ROUTES: tuple[Role, ...] = ("router", "mount", "endpoint")
_PLACES = 9  # further places of one fault that are told


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a build needs, and nothing that has happened yet.

    Resources, steps, jobs, loops and functions of the end are those of all manifests that are mounted
    in one another: a process has them once. Layers, handlers and routes are those of this one.

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
    home: NodePath = ()  # where the manifest stands in the document of the outermost
    inner: "tuple[Plan, ...]" = ()  # of the manifests that are mounted, whose parts are above too

    @property
    def parts(self) -> "tuple[Plan, ...]":
        """This plan, and those of the manifests that are mounted in it, in order."""
        return (self, *(part for one in self.inner for part in one.parts))

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
    return document, shapes_of(document)[0][2]


def shapes_of(document: Document) -> list[tuple[NodePath, Document, models.Manifest]]:
    """Check shape and syntax of references of each manifest, the outermost first.

    The first of each is its path in the document, empty for the outermost.
    """
    planner = _Planner(document, None)
    planner.read_shapes()
    planner.read_references()
    return [(one.home, one.document, one.manifest) for one in planner.everyone]


def read_document(
    path: Path, override: Mapping[str, Any] | None = None, shelf: Shelf = DISK
) -> Document:
    """Read and merge the manifest at `path`, with `override` on top."""
    document = load_document(path, shelf)
    return override_document(document, override) if override else document


class _Planner:
    """The stages from shape to options over one manifest, and over those that are mounted in it.

    Without an environment it reads source. Each stage is done for all of them before the next.
    """

    def __init__(
        self,
        document: Document,
        environment: Mapping[str, str] | None,
        *,
        lazy: bool = False,
        shelf: Shelf = DISK,
        imports: ImportList | None = None,
        outer: "_Planner | None" = None,
        home: NodePath = (),
    ) -> None:
        self.document, found = apart(document)
        self.root = self.document.root
        self.whole = document
        self.environment = environment
        self.lazy = lazy
        self.outer = outer
        self.home = home
        self.secrets: Secrets = Secrets() if outer is None else outer.secrets
        self.shelf = shelf
        self.imports = read_import_list(document.path) if imports is None else imports
        self.inner = {
            index: _Planner(
                one,
                environment,
                lazy=lazy,
                shelf=shelf,
                imports=self.imports,
                outer=self,
                home=(*home, "routes", index, INNER),
            )
            for index, one in found
        }
        self.manifest: models.Manifest
        self.resolver = Resolver(None, None, self.secrets)
        self.resolved: list[ResolvedEntry] = []
        self.made: list[Component] = []
        self.sql: list[SqlStep] = []
        self.logging: dict[str, Any] | None = None

    @cached_property
    def everyone(self) -> "tuple[_Planner, ...]":
        """This one, and those that are mounted in it, in order."""
        return (self, *(each for one in self.inner.values() for each in one.everyone))

    @cached_property
    def outermost(self) -> "_Planner":
        return self if self.outer is None else self.outer.outermost

    @cached_property
    def targets(self) -> Targets:
        if self.outer is not None:
            return self.outer.targets
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
        self.read_shapes()
        self.read_references()
        if self.environment is not None:
            self.refuse(fault for one in self.everyone for fault in one.shape())
        self.refuse(
            [
                *told_once(fault for one in self.everyone for fault in one.entries()),
                *(fault for one in self.everyone for fault in one.texts()),
            ]
        )
        faults = [fault for one in self.everyone for fault in one.options()]
        self.refuse([*faults, *self.process()])
        return self.whole_plan(arranged(fault for fault in faults if fault.severity == "warning"))

    def read_shapes(self) -> None:
        """Read the models of all manifests; refuse what is wrong with their shape."""
        self.refuse(fault for one in self.everyone for fault in one.shape())
        self.refuse(shared_ids([(one.root, one.manifest) for one in self.everyone]))

    def read_references(self) -> None:
        """Find what resolves the references of all manifests; refuse what cannot be."""
        found = [fault for one in self.everyone for fault in one.references()]
        self.refuse(told_once(found, "missing-variable"))

    def shape(self) -> list[Diagnostic]:
        manifest, faults = read_manifest(self.root, self.resolver)
        if manifest is not None:
            self.manifest = manifest
        if self.outer is not None:
            faults += of_the_outermost(self.root)
        is_static = self.environment is None
        server = unknown_keys(self.root, is_static=is_static)
        return [*faults, *unknown_app_keys(self.root), *server]

    def references(self) -> list[Diagnostic]:
        above = self.outer
        settings = None if above is None else above.resolver.settings
        if above is not None and not above.has_values:
            settings = UNKNOWN
        self.resolver, faults = read_references(
            self.manifest,
            self.root,
            self.environment,
            self.imports,
            self.secrets,
            ids=() if above is None else above.resource_ids,
            settings=settings,
        )
        return faults

    @property
    def has_values(self) -> bool:
        """Tell whether the references were found right, as far as there is an environment."""
        return self.environment is None or self.resolver.environment is not None

    @cached_property
    def resource_ids(self) -> tuple[str, ...]:
        """The resources that this manifest may name, and those that are mounted in it."""
        above = () if self.outer is None else self.outer.resource_ids
        return (*above, *self.manifest.resources)

    def entries(self) -> list[Diagnostic]:
        """Find what the entries name."""
        faults: list[Diagnostic] = []
        self.resolved = []
        for role, path, entry in entries(self.manifest):
            targets = LateTargets(self.imports) if self.is_late(role, entry) else self.targets
            resolved, refused = resolve_entry(self.root, targets, role, path, entry)
            faults += refused
            if path[0] == "routes":
                scoped, refused = resolve_scope(self.root, self.targets, path, entry)
                resolved = replace(resolved, scoped=scoped)
                faults += refused
            self.resolved.append(resolved)
        return faults

    def texts(self) -> list[Diagnostic]:
        """Read the SQL and the configuration of logging; find entries that hide others."""
        faults = list(hidden(self.resolved))
        node = self.root.get("logging")
        if isinstance(node, MappingNode):
            self.logging = self.resolver.data(node, ("logging",))
            faults += check_logging(node, self.logging, self.targets)
        self.sql, refused = read_sql(
            self.manifest, self.document, self.resolver, self.shelf, above=self.above()
        )
        return [*faults, *refused]

    def above(self) -> list[tuple[MappingNode, Resolver]]:
        """Return the manifests around this one, the nearest first, each with its resolver."""
        outer = self.outer
        return [] if outer is None else [(outer.root, outer.resolver), *outer.above()]

    def is_late(self, role: Role, entry: Any) -> bool:
        """Tell whether an entry is imported and checked by its first request."""
        return self.lazy and role == "mount" and bool(entry.lazy)

    @cached_property
    def declared(self) -> dict[str, type | None]:
        """The classes of the resources that this manifest may name, as far as they are known."""
        above = {} if self.outer is None else self.outer.declared
        own = (item for item in self.resolved if item.role == "resource")
        return {**above, **{item.entry.id: declared_class(item) for item in own}}

    def options(self) -> list[Diagnostic]:
        """Check the options of all entries, and the sections of the application."""
        checker = OptionsChecker(self.declared, self.targets.target)
        faults: list[Diagnostic] = []
        self.made = []
        for item in self.resolved:
            component, found = item.checked(checker, self.resolver)
            faults += found
            component = component.of(self.home)
            if item.role in {"router", "endpoint"}:
                arguments, found = code_options(
                    item.entry.id, item.entry, item.node, item.path, self.resolver, self.targets
                )
                component = replace(component, arguments=arguments)
                faults += found
            if self.is_late(item.role, item.entry):
                component = with_late(
                    component, item, self.root, self.imports, self.declared, self.resolver
                )
            faults += self.asked_by_source(item)
            self.made.append(component)
        is_static = self.environment is None
        self.app_arguments, self.app_state, found = check_app(
            self.manifest, self.root, self.resolver, self.targets
        )
        faults += found
        self.frontends, found = check_frontends(self.manifest, self.document, is_static=is_static)
        jobs = check_scheduler(
            self.manifest,
            self.root,
            self.declared,
            self.resolver.data,
            is_static=is_static,
            process=self.outermost.manifest,
            has_inner_jobs=any(one.manifest.scheduler.jobs for one in self.everyone[1:]),
        )
        return [*faults, *found, *jobs, *check_engines(self.sql, self.declared)]

    def asked_by_source(self, item: ResolvedEntry) -> Iterator[Diagnostic]:
        """Find resources that routes and tools ask for, as far as source tells.

        A factory's is read where nothing is to be built of the plan: the build sees what it makes.
        """
        if item.called and not self.lazy and item.role in {"router", "mount"}:
            yield from unfit(resources_of_factory(item.target.value), self.declared, item.span)
        asked = getattr(self.targets, "asked_resources", None)
        if asked is not None and item.role == "router" and not item.called:
            needs = ((name, ResourceNeed(id_, None)) for name, id_ in asked(item.entry.use))
            yield from unfit(needs, self.declared, item.span)

    def process(self) -> list[Diagnostic]:
        """Check what all manifests have together: one server, and resources made in one order."""
        is_static = self.environment is None
        self.server, faults = check_server(
            self.manifest, self.root, self.resolver, self.targets, is_static=is_static
        )
        for one in self.everyone:
            faults += check_single_process(
                self.manifest, self.root, one.manifest, one.root, one.is_single
            )
        made = [part for one in self.everyone for part in one.made]
        scoped = (inner for part in made for inner in part.scoped)
        faults += made_too_late((*made, *scoped))
        return [*faults, *(late for one in self.everyone for late in one.sections_too_early(made))]

    def whole_plan(self, advice: Iterable[Diagnostic] = ()) -> Plan:
        """Join the parts, those of the manifests that are mounted after those of this one."""
        inner = {index: one.whole_plan() for index, one in self.inner.items()}
        self.made = [
            replace(one, inner=inner.get(int(item.path[1]))) if item.role == "mount" else one
            for item, one in zip(self.resolved, self.made, strict=True)
        ]
        own = Plan(
            name=shown_name(self.document.path),
            document=self.whole,
            manifest=self.manifest,
            secrets=self.secrets,
            settings=self.resolver.settings,
            app=AppOptions(self.app_arguments, self.app_state, self.of("dependency", at="app")),
            resources=self.of("resource"),
            lifespan=self.of("lifespan"),
            middleware=self.of("middleware"),
            handlers=self.of("handler"),
            configure=self.of("configure"),
            routes=self.of(*_ROUTES),
            frontends=self.frontends,
            finish=self.of("finish"),
            startup=self.of("startup"),
            jobs=self.of("job"),
            background=self.of("background"),
            job_context=next(iter(self.of("dependency", at="scheduler")), None),
            shutdown=self.of("shutdown"),
            listeners=self.listeners(),
            switched_off=self.switched_off(),
            sql=tuple(step for step in self.sql if _is_on(step)),
            logging=self.logging,
            server=self.outermost.server,
            warnings=tuple(self.warnings(advice)),
            is_static=self.environment is None,
            digest=self.imports.digest(self.document.path, getattr(self.shelf, "files", {})),
            home=self.home,
            inner=tuple(inner.values()),
        )
        return _with_inner(own) if inner else own

    def of(self, *roles: Role, at: str = "") -> tuple[Component, ...]:
        """Return what has one of these roles and is on, of the section `at` where that is given."""
        return tuple(
            one
            for item, one in zip(self.resolved, self.made, strict=True)
            if one.role in roles and at in ("", item.path[0]) and _is_on(one)
        )

    def listeners(self) -> dict[str, Component]:
        """Return who is told the state of a resource, by its id."""
        pairs = zip(self.resolved, self.made, strict=True)
        return {str(item.path[1]): one for item, one in pairs if item.is_listener}

    def switched_off(self) -> tuple[Component | SqlStep, ...]:
        """Return what `enabled` leaves out."""
        parts: list[Component | SqlStep] = [*self.made, *self.sql]
        return tuple(part for part in parts if not _is_on(part))

    def warnings(self, advice: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
        """Say what can be built and may not be meant; `advice` is what the options told.

        What the router of an application does not bring, functions may bring.
        """
        if self.environment is not None and self.outer is None:
            manifests = [one.manifest for one in self.everyone]
            yield from check_termination(self.manifest, self.root, manifests)
        yield from advice
        routes, layers = self.of(*_ROUTES), self.of("middleware")
        yield from check_routes(routes, self.frontends)
        yield from check_docs(layers, self.manifest.app, self.root)
        yield from self.docs_outside()
        if self.environment is not None and not self.of("configure", "finish"):
            state = self.app_state.data.keys()
            yield from check_left_behind(routes, layers, self.of("handler"), state)
        yield from self.unknown()

    def docs_outside(self) -> Iterator[Diagnostic]:
        """Warn of documentation pages that the layers of manifests around this one keep blank."""
        front, here = "", self
        while here.outer is not None:
            index = int(here.home[-2])
            front = f"{str(here.outer.manifest.routes[index].mount).rstrip('/')}{front}"
            here = here.outer
            layers = (part for part in here.made if part.role == "middleware")
            yield from check_docs(layers, self.manifest.app, self.root, front)

    def sections_too_early(self, made: list[Component]) -> Iterator[Diagnostic]:
        """Find what names a resource outside of `with` and needs it before it is opened."""
        awaited = {f"${{resources.{part.id}}}": part.id for part in made if part.is_awaited}
        for path, node in walk(self.root) if awaited else ():
            is_outside = path[:2] == STATE or path[-1:] in {("store",), ("database",)}
            value = getattr(node, "value", None)
            if is_outside and "with" not in path and value in awaited:
                yield too_late(awaited[value], node)

    def is_single(self, name: str) -> bool:
        """Tell whether the class of a resource says that each process has it for itself."""
        lineage = getattr(self.targets, "lineage", None)
        if lineage is None:
            return getattr(self.declared.get(name), _SINGLE, False) is True
        use = next(item.entry.use for item in self.resolved if item.entry.id == name)
        return lineage(use, _SINGLE)[1] is True

    def unknown(self) -> Iterator[Diagnostic]:
        """Say where the source alone did not tell."""
        reasons = getattr(self.targets, "unknown", {})
        for item in self.resolved:
            reason = reasons.get(item.target.path)
            if reason and item.has_options:
                message = f"`{item.target.path}`: {reason}"
                yield Diagnostic("static-unknown", message, item.span, severity="warning")

    def refuse(self, faults: Iterable[Diagnostic]) -> None:
        """End the stage where it found faults, with no secret in what others' code said."""
        raise_faults(fault.scrubbed(self.secrets.scrub) for fault in faults)


def _with_inner(own: Plan) -> Plan:
    """Give a plan what a process has once, of the plans that are mounted in it."""
    plans = (own, *own.inner)

    def every(parts: Callable[[Plan], Iterable[_Part]]) -> tuple[_Part, ...]:
        return tuple(part for plan in plans for part in parts(plan))

    return replace(
        own,
        resources=every(lambda plan: plan.resources),
        lifespan=every(lambda plan: plan.lifespan),
        startup=every(lambda plan: plan.startup),
        jobs=every(lambda plan: plan.jobs),
        background=every(lambda plan: plan.background),
        shutdown=every(lambda plan: plan.shutdown),
        listeners=dict(every(lambda plan: plan.listeners.items())),
        switched_off=every(lambda plan: plan.switched_off),
        sql=every(lambda plan: plan.sql),
        warnings=every(lambda plan: plan.warnings),
    )


def _is_on(part: Component | SqlStep) -> bool:
    # A miss of pydantic's own `getattr` costs microseconds, and most sections have no `enabled`.
    return getattr(part.entry, "__dict__", {}).get("enabled", True) is not False


def told_once(faults: Iterable[Diagnostic], *codes: str) -> Iterator[Diagnostic]:
    """Join what is told of several places in the same words, such as one module that fails.

    With `codes` only faults of these are joined.
    """
    alike: dict[tuple[object, ...], list[Diagnostic]] = {}
    for number, fault in enumerate(faults):
        key: tuple[object, ...] = (fault.code, fault.message, fault.trace, fault.help)
        if codes and fault.code not in codes:
            key = (number,)
        alike.setdefault(key, []).append(fault)
    for first, *others in alike.values():
        spans = {fault.span: None for fault in others if fault.span and fault.span != first.span}
        notes = [Note(span, "and here") for span in spans]
        more = len(notes) - _PLACES
        trace = (f"and at {more} more place{'s' if more > 1 else ''}",) if more > 0 else ()
        yield replace(first, notes=(*first.notes, *notes[:_PLACES]), trace=first.trace + trace)
