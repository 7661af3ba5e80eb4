"""Manifest → `Plan`: every callable resolved, every option converted, every place kept.

In: a path, values that override the manifest's, an environment. Out: a frozen `Plan`, or the
`ManifestError` of the first stage that found faults: text, shape, references, imports, options.
Each stage reports all of its faults at once. Calls nothing that the manifest names, except the
settings class. This is the one way to a plan for every command and for `assembler:app`.
"""

import contextlib
import hashlib
import inspect
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping as MappingType
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from assembler import manifest as models
from assembler.errors import Diagnostic, Span, raise_faults
from assembler.options import Options, OptionsChecker
from assembler.overlay import Document, load_document, shown_name
from assembler.override import override_document
from assembler.redaction import Secrets
from assembler.references import (
    Resolver,
    check_environment,
    check_resources,
    check_settings,
    check_syntax,
)
from assembler.resolve import (
    ImportFault,
    ImportList,
    failure_of,
    frame_of,
    import_object,
    read_import_list,
)
from assembler.signature import Target, class_of, signature_of, target_of
from assembler.static import SourceReader
from assembler.source import Mapping, Node, locate

Role = Literal[
    "resource", "middleware", "handler", "configure", "router", "mount", "dependency", "startup", "job", "shutdown"
]
_LEADING: dict[str, int] = {"middleware": 1, "configure": 1}
_APP = frozenset({"app"})
_JOB = frozenset({"app", "job"})


@dataclass(frozen=True, slots=True)
class Component:
    """One entry: what it says, what its `use` names, its options, and where `use` stands.

    `called` tells whether the assembler calls the target with the options, or takes it as it is.
    """

    role: Role
    entry: Any
    target: Target
    options: Options
    called: bool
    span: Span
    node: Node = field(repr=False)
    dependencies: "tuple[Component, ...]" = ()
    caught: Any = None  # an exception class or a status, of a handler

    @property
    def id(self) -> str:
        """The entry's name; a dependency's is its path."""
        return getattr(self.entry, "id", "") or self.target.path


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a build needs, and nothing that has happened yet."""

    name: str
    document: Document = field(repr=False)
    manifest: models.Manifest
    secrets: Secrets = field(repr=False)
    settings: Any = field(repr=False)
    resources: tuple[Component, ...]
    middleware: tuple[Component, ...]
    handlers: tuple[Component, ...]
    configure: tuple[Component, ...]
    routes: tuple[Component, ...]
    startup: tuple[Component, ...]
    jobs: tuple[Component, ...]
    shutdown: tuple[Component, ...]
    logging: dict[str, Any] | None = field(repr=False)
    server: dict[str, Any] = field(repr=False)
    warnings: tuple[Diagnostic, ...]

    @property
    def hash(self) -> str:
        """SHA-256 of the merged manifest, references unresolved, in hexadecimal."""
        return document_hash(self.document.root)


def load(
    path: str | Path,
    override: MappingType[str, Any] | None = None,
    *,
    environment: MappingType[str, str] | None = None,
) -> Plan:
    """Read, check and resolve the manifest at `path`.

    `override` maps paths such as `middleware.per-ip.with.limit` to the values that replace the
    manifest's; `environment` stands for `os.environ`. Raises `UsageError` where there is no such
    file, `ManifestError` with every fault of the first stage that found any.
    """
    document = read_document(Path(path), override)
    return _Planner(document, os.environ if environment is None else environment).plan()


def read_document(path: Path, override: MappingType[str, Any] | None = None) -> Document:
    """Read and merge the manifest at `path`, with `override` on top."""
    document = load_document(path)
    return override_document(document, override) if override else document


def document_hash(root: Mapping) -> str:
    """Hash what a merged document says, whatever its comments, quotes and order of keys."""
    text = json.dumps(_as_written(root), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _as_written(node: Node) -> Any:
    if isinstance(node, Mapping):
        return {key: _as_written(member.value) for key, member in node.members.items()}
    items = getattr(node, "items", None)
    return [_as_written(item) for item in items] if items is not None else node.value  # type: ignore[union-attr]  # a Scalar


class _Planner:
    """The stages from shape to options over one document."""

    def __init__(self, document: Document, environment: MappingType[str, str]) -> None:
        self.document = document
        self.root = document.root
        self.environment = environment
        self.secrets = Secrets()
        self.imports: ImportList = read_import_list(document.path)
        self.targets: dict[tuple[str, int], Target | ImportFault] = {}

    def plan(self) -> Plan:
        manifest, faults = models.read_manifest(self.root, Resolver(None, None, Secrets()))
        raise_faults(faults)
        manifest, settings = self.references(manifest)
        parts = self.components(manifest)
        faults = [fault for part in parts for fault in part.faults]
        raise_faults(faults)
        return self.options(manifest, settings, parts)

    def references(self, manifest: models.Manifest | None) -> tuple[models.Manifest, Any]:
        faults = [*check_syntax(self.root), *check_resources(self.root)]
        raise_faults(faults)
        faults = list(check_environment(self.root, self.environment))
        settings = None
        if manifest is not None and manifest.settings:
            settings, found = self.settings(manifest.settings)
            faults += found
        if not faults:
            faults += check_settings(self.root, settings)
        raise_faults(self.scrubbed(faults))
        self.resolver = Resolver(self.environment, settings, self.secrets)
        resolved, faults = models.read_manifest(self.root, self.resolver)
        raise_faults(self.scrubbed(faults))
        if resolved is None:
            raise AssertionError("a manifest without faults has a value")  # pragma: no cover
        return resolved, settings

    def settings(self, path: str) -> tuple[Any, list[Diagnostic]]:
        node, _ = locate(self.root, ("settings",))
        try:
            with contextlib.redirect_stdout(sys.stderr):
                return import_object(path, self.imports)(), []
        except ImportFault as fault:
            return None, [_import_diagnostic(fault, node.span)]
        except Exception as error:  # noqa: BLE001  # a settings class may raise anything
            return None, list(_settings_faults(error, node.span))

    def components(self, manifest: models.Manifest) -> "list[_Part]":
        return [
            _Part(self, role, entry, path)
            for role, path, entry in _entries(manifest)
        ]

    def target(self, path: str, leading: int) -> Target | ImportFault:
        key = (path, leading)
        if key not in self.targets:
            try:
                self.targets[key] = target_of(path, import_object(path, self.imports), leading=leading)
            except ImportFault as fault:
                self.targets[key] = fault
        return self.targets[key]

    def options(self, manifest: models.Manifest, settings: Any, parts: "list[_Part]") -> Plan:
        declared: dict[str, type | None] = {
            part.entry.id: _declared(part.target) for part in parts if part.role == "resource"
        }
        checker = OptionsChecker(declared.get)
        faults: list[Diagnostic] = []
        built: dict[str, list[Component]] = {}
        for part in parts:
            component, found = part.checked(checker)
            faults += found
            if part.role != "dependency":
                built.setdefault(part.path[0] if isinstance(part.path[0], str) else "", []).append(component)
        server, found = self.server(manifest)
        raise_faults(self.scrubbed([*faults, *found]))
        logging = manifest.logging and self.resolver.data(self.root.members["logging"].value, ("logging",))

        def section(name: str) -> tuple[Component, ...]:
            return tuple(built.get(name, ()))

        return Plan(
            name=shown_name(self.document.path),
            document=self.document,
            manifest=manifest,
            secrets=self.secrets,
            settings=settings,
            resources=section("resources"),
            middleware=section("middleware"),
            handlers=section("exception_handlers"),
            configure=section("configure"),
            routes=section("routes"),
            startup=section("startup"),
            jobs=section("scheduler"),
            shutdown=section("shutdown"),
            logging=logging,
            server=server,
            warnings=(),
        )

    def server(self, manifest: models.Manifest) -> tuple[dict[str, Any], list[Diagnostic]]:
        """Check the `server` section against uvicorn's own Config, and add the format's defaults."""
        import uvicorn  # noqa: PLC0415  # only a manifest with a server section needs it

        own = {"host": manifest.server.host, "port": manifest.server.port, "workers": manifest.server.workers}
        if "server" not in self.root.members:
            return own, []
        node = self.root.members["server"].value
        data = {key: value for key, value in (self.resolver.data(node, ("server",)) or {}).items() if key != "drain"}
        signature = signature_of(uvicorn.Config, "server", leading=1)
        target = Target("server", uvicorn.Config, "class", True, False, signature)
        options, faults = OptionsChecker({}.get).check(target, node, data, node.span, frozenset())
        arguments, _ = options.arguments({})
        return {**own, **arguments}, faults

    def scrubbed(self, faults: Iterable[Diagnostic]) -> list[Diagnostic]:
        return [scrubbed(fault, self.secrets) for fault in faults]


def scrubbed(fault: Diagnostic, secrets: Secrets) -> Diagnostic:
    """Return `fault` with no secret in the words that other people's code put into it."""
    from dataclasses import replace  # noqa: PLC0415

    return replace(
        fault,
        message=secrets.scrub(fault.message),
        trace=tuple(secrets.scrub(line) for line in fault.trace),
        help=fault.help and secrets.scrub(fault.help),
    )


class _Part:
    """One entry on its way to a `Component`."""

    def __init__(self, planner: _Planner, role: Role, entry: Any, path: tuple[str | int, ...]) -> None:
        self.planner = planner
        self.role: Role = role
        self.entry = entry
        self.path = path
        self.node, _ = locate(planner.root, path)
        use = self.node.get("use") if isinstance(self.node, Mapping) else self.node
        self.span = (use or self.node).span
        self.caught: Any = None
        self.faults: list[Diagnostic] = []
        path_of_use = entry if isinstance(entry, str) else entry.use
        found = planner.target(path_of_use, _LEADING.get(role, 0))
        if isinstance(found, ImportFault):
            self.faults.append(_import_diagnostic(found, self.span))
            self.target = _NO_TARGET
        else:
            self.target = found
            self.faults += self.misuse()
        if role == "handler":
            self.caught = self.exception()

    @property
    def has_options(self) -> bool:
        return isinstance(self.node, Mapping) and "with" in self.node.members

    @property
    def called(self) -> bool:
        """Say whether the target is called with the options, or stands for itself."""
        form = self.target.form
        if self.role in {"handler", "dependency"}:
            return self.has_options or (form == "class" and self.role == "handler")
        if self.role == "router":
            return form != "instance" or not hasattr(self.target.value, "routes")
        if self.role == "mount" and not self.has_options:
            # A function that can be called without arguments is a factory; an ASGI app is not one.
            needs = any(item.required for item in self.target.signature.parameters.values())
            return form == "class" or (form == "function" and not needs)
        if self.role == "mount":
            return form != "instance" or not hasattr(self.target.value, "routes")
        return True

    def misuse(self) -> Iterator[Diagnostic]:
        target = self.target
        if self.role in {"router", "mount"} and not self.called:
            if self.has_options:
                message = f"`{target.name}` is no factory, so it takes no `with`"
                yield Diagnostic("not-callable", message, self.span, help="remove `with`, or name a factory")
            return
        if not target.is_callable:
            kind = type(target.value).__name__
            yield Diagnostic("not-callable", f"`{target.path}` is a {kind} and cannot be called", self.span)
        elif target.is_async and self.role in {"resource", "middleware", "router", "configure"}:
            message = f"`{target.name}` is async, and a {self.role} is made without waiting"
            remedy = "make it in a plain function, and connect in its `__aenter__`" if self.role == "resource" else None
            yield Diagnostic("not-callable", message, self.span, help=remedy)
        elif target.is_async and self.called and self.role in {"handler", "mount"}:
            message = f"`{target.name}` is async, and a factory is called without waiting"
            yield Diagnostic("not-callable", message, self.span)

    def exception(self) -> Any:
        catch = self.entry.catch
        if isinstance(catch, int):
            return catch
        node, _ = locate(self.node, ("catch",))
        path = catch if "." in catch or ":" in catch else f"builtins:{catch}"
        try:
            # A bare name is a built-in exception, whatever the list of imports says.
            imports = ImportList(("builtins",), None) if path.startswith("builtins:") else self.planner.imports
            value = import_object(path, imports)
        except ImportFault as fault:
            message = ImportFault(fault.code, f"there is no built-in exception `{catch}`", help=fault.help)
            shown = message if path.startswith("builtins:") else fault
            self.faults.append(_import_diagnostic(shown, node.span))
            return None
        if not (inspect.isclass(value) and issubclass(value, Exception)):
            text = f"`{catch}` is no exception class"
            self.faults.append(Diagnostic("not-an-exception", text, node.span))
        return value

    def checked(self, checker: OptionsChecker) -> tuple[Component, list[Diagnostic]]:
        node = self.node.get("with") if isinstance(self.node, Mapping) else None
        data = {}
        if isinstance(node, Mapping):
            data = self.planner.resolver.data(node, (*self.path, "with"))
        if self.called:
            given = _JOB if self.role == "job" else _APP
            options, faults = checker.check(self.target, node, data, self.span, given)
        else:
            options, faults = Options(_NO_OPTIONS.adapter(), {}, frozenset(), {}), []
        parts = self.dependencies()
        dependencies = [part.checked(checker) for part in parts]
        return (
            Component(
                role=self.role,
                entry=self.entry,
                target=self.target,
                options=options,
                called=self.called,
                span=self.span,
                node=self.node,
                dependencies=tuple(component for component, _ in dependencies),
                caught=self.caught,
            ),
            [*faults, *(fault for _, found in dependencies for fault in found)],
        )

    def dependencies(self) -> "list[_Part]":
        items = getattr(self.entry, "dependencies", ()) if self.role == "router" else ()
        return [
            _Part(self.planner, "dependency", item, (*self.path, "dependencies", index))
            for index, item in enumerate(items)
        ]


_NO_OPTIONS = signature_of(lambda: None, "nothing")
_NO_TARGET = Target("", None, "instance", is_callable=False, is_async=False, signature=_NO_OPTIONS)


def _entries(manifest: models.Manifest) -> Iterator[tuple[Role, tuple[str | int, ...], Any]]:
    for name, resource in manifest.resources.items():
        yield "resource", ("resources", name), resource
    for index, entry in enumerate(manifest.middleware):
        yield "middleware", ("middleware", index), entry
    for index, handler in enumerate(manifest.exception_handlers):
        yield "handler", ("exception_handlers", index), handler
    for index, function in enumerate(manifest.configure):
        yield "configure", ("configure", index), function
    for index, route in enumerate(manifest.routes):
        yield ("mount" if route.mount is not None else "router"), ("routes", index), route
        for number, item in enumerate(route.dependencies):
            yield "dependency", ("routes", index, "dependencies", number), item
    for index, step in enumerate(manifest.startup):
        if step.use is not None:
            yield "startup", ("startup", index), step
    for index, job in enumerate(manifest.scheduler.jobs):
        yield "job", ("scheduler", "jobs", index), job
    for index, hook in enumerate(manifest.shutdown):
        yield "shutdown", ("shutdown", index), hook


def _declared(target: Target) -> type | None:
    return class_of(target.signature.returns)


def _import_diagnostic(fault: ImportFault, span: Span) -> Diagnostic:
    return Diagnostic(fault.code, fault.message, span, trace=fault.trace, help=fault.help)


def _settings_faults(error: Exception, span: Span) -> Iterator[Diagnostic]:
    """Tell each missing or wrong field of a settings class; values are never shown."""
    errors = getattr(error, "errors", None)
    name = type(error).__name__
    if not callable(errors):
        message = f"the settings could not be built: {failure_of(error)}"
        yield Diagnostic("bad-settings", message, span, trace=frame_of(error))
        return
    for item in errors():
        field_name = ".".join(str(part) for part in item["loc"]) or name
        if item["type"] == "missing":
            message = f"setting `{field_name}` is not set"
            yield Diagnostic("missing-variable", message, span, help=f"set the variable that `{field_name}` is read from")
        else:
            message = f"setting `{field_name}` is refused: {item['msg'].lower()}"
            yield Diagnostic("bad-settings", message, span)
