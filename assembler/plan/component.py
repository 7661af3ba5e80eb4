"""An entry of the manifest → a `Component`: what its `use` names, and its checked options.

In: the entry, its node, something that turns import paths into targets. Out: a `ResolvedEntry` at the
stage of imports, and of that, with its options checked, a `Component` which says how its target is to
be called. Refuses what cannot do its work in its place: a value that is no callable, an async
function where nobody waits, a factory whose declared type is not what is wanted. Calls nothing.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType, ModuleType
from typing import Any, Literal

from assembler import manifest as models
from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.span import Note, Span
from assembler.diagnostics.suggest import did_you_mean
from assembler.document.interpolation import Resolver
from assembler.document.nodes import MappingNode, Node, NodePath, locate, walk
from assembler.manifest.entry import Route
from assembler.manifest.sections import ENTRY_MODELS, Role, entries_of
from assembler.plan.allow_list import ImportFault
from assembler.plan.injection import (
    Need,
    ResourceNeed,
    needs_of,
    resources_of,
    resources_of_application,
    resources_of_endpoint,
    resources_of_routes,
    resources_of_source,
)
from assembler.plan.options import Options, OptionsChecker
from assembler.plan.signature import Target, class_of, job_parameters, may_be, signature_of
from assembler.plan.targets import Targets, caught

# The methods that open and close a resource without a pair of `__aenter__` or `__enter__`.
OPENERS = ("open", "connect", "start")
CLOSERS = ("aclose", "close", "dispose", "shutdown")
# What a function is told of the state of a resource, as far as it takes it.
TOLD = ("app", "resource", "reason")
_GIVEN = frozenset({"app"})
_INJECTED = frozenset({"startup", "job", "background", "shutdown"})
_LATE = _INJECTED | {"lifespan"}  # whose options are made for a run
DATA = (str, bytes, int, float, list, tuple, dict, set, frozenset, ModuleType)
"""What can be no resource: it is written where it is needed."""


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
    scoped: "tuple[Component, ...]" = ()  # the layers and handlers that a route has of its own
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)  # FastAPI's, of a route
    caught: Any = None  # an exception class or a status, of a handler
    home: NodePath = ()  # where its manifest stands in the document
    inner: Any = field(default=None, repr=False)  # the `Plan` of a manifest that is mounted
    needs: Mapping[str, Need] = field(default_factory=dict)  # parameters that are given each time
    # Of a lazy mount that is not imported yet: imports and checks it; raises `ManifestError`.
    late: "Callable[[], Component] | None" = field(default=None, repr=False)

    def of(self, home: NodePath) -> "Component":
        """Return the same component as one of the manifest that stands at `home`."""
        inner = (tuple(one.of(home) for one in each) for each in (self.dependencies, self.scoped))
        dependencies, scoped = inner
        return replace(self, home=home, dependencies=dependencies, scoped=scoped)

    @property
    def is_awaited(self) -> bool:
        """Tell whether it is a resource that an async function makes, each time it is opened."""
        return self.role == "resource" and self.called and self.target.is_async

    @property
    def id(self) -> str:
        """The entry's name; a dependency's is its path."""
        return getattr(self.entry, "id", "") or self.target.path


def entries(manifest: models.Manifest) -> Iterator[tuple[Role, NodePath, Any]]:
    """Yield every entry that names code, with its role and its path in the document."""
    for name, (_, role) in ENTRY_MODELS.items():
        for path, entry in entries_of(manifest, name):
            if entry.use is not None or getattr(entry, "manifest", None) is not None:
                yield (_kind(entry) if role == "router" else role), path, entry
    for index, item in enumerate(manifest.app.dependencies):
        yield "dependency", ("app", "dependencies", index), item
    if manifest.scheduler.context is not None:
        yield "dependency", ("scheduler", "context"), manifest.scheduler.context
    for name, resource in manifest.resources.items():
        if resource.on_degraded is not None:
            yield "listener", ("resources", name, "on_degraded"), resource.on_degraded


def _kind(entry: Route) -> Role:
    if entry.mount is not None:
        return "mount"
    return "router" if entry.path is None else "endpoint"


@dataclass(frozen=True, slots=True)
class Usage:
    """What becomes of the code that an entry of one role names.

    `leading` arguments are given by position. `is_called` tells, by what is named and by whether the
    entry has options, if it is called now or taken as it is; `gives` is what that call has to give.
    Without `is_called` it runs with the application, each time anew, and may be async.
    """

    leading: int = 0
    is_called: Callable[[Target, bool], bool] | None = None
    gives: Literal["anything", "an object", "a callable", "a router"] = "anything"


def _always(target: Target, has_options: bool) -> bool:
    return True


def _with_options(target: Target, has_options: bool) -> bool:
    return has_options


def _if_class(target: Target, has_options: bool) -> bool:
    return has_options or target.form == "class"


def _if_factory(target: Target, has_options: bool) -> bool:
    if target.form == "instance":
        return has_options and not _has_routes(target.value)
    return True


def _unless_object(target: Target, has_options: bool) -> bool:
    return has_options or target.form != "instance"


def _if_app_factory(target: Target, has_options: bool) -> bool:
    # A function that can be called without arguments is a factory; an ASGI app is not one.
    if target.form == "function" and not has_options:
        return not any(item.required for item in target.signature.parameters.values())
    return _if_factory(target, has_options)


USAGES: Mapping[Role, Usage] = MappingProxyType(
    {
        "resource": Usage(0, _unless_object, "an object"),
        "middleware": Usage(1, _always, "a callable"),
        "handler": Usage(0, _if_class, "a callable"),
        "configure": Usage(1, _always),
        "finish": Usage(1, _always),
        "router": Usage(0, _if_factory, "a router"),
        "mount": Usage(0, _if_app_factory, "a callable"),
        "endpoint": Usage(0, _with_options, "a callable"),
        "dependency": Usage(0, _with_options, "a callable"),
        "lifespan": Usage(1),
        "listener": Usage(),
        "startup": Usage(),
        "job": Usage(),
        "background": Usage(),
        "shutdown": Usage(),
    }
)


@dataclass(frozen=True, slots=True)
class ResolvedEntry:
    """An entry, and what its `use` names: all that the stage of options needs to know."""

    role: Role
    entry: Any
    path: NodePath
    node: Node
    span: Span  # of `use`
    target: Target
    has_options: bool
    called: bool  # with the options; else the target stands for itself
    caught: Any
    dependencies: "tuple[ResolvedEntry, ...]"
    scoped: "tuple[ResolvedEntry, ...]" = ()

    @property
    def is_listener(self) -> bool:
        """Tell whether it is told of the state of a resource."""
        return self.role == "listener"

    def _untold(self) -> Iterator[Diagnostic]:
        for name, parameter in self.target.signature.parameters.items():
            if parameter.required and name not in TOLD:
                known = ", ".join(f"`{each}`" for each in TOLD)
                message = f"`{self.target.name}` needs `{name}`, and is told {known}"
                yield Diagnostic("missing-option", message, self.span)

    def checked(
        self, checker: OptionsChecker, resolver: Resolver
    ) -> tuple[Component, list[Diagnostic]]:
        """Check the options, and those of the entry's dependencies."""
        node = self.node.get("with") if isinstance(self.node, MappingNode) else None
        data = resolver.data(node, (*self.path, "with")) if isinstance(node, MappingNode) else {}
        options = _NO_OPTIONS
        needs: Mapping[str, Need] = {}
        faults: list[Diagnostic] = list(self._asked(checker.types))
        if self.called:
            of_job = job_parameters(self.target.signature) if self.role == "job" else frozenset()
            given = frozenset(self.target.signature.parameters) if self.is_listener else _GIVEN
            given |= of_job
            needs, found = self._needs(checker.types)
            given |= needs.keys()
            options, refused = checker.check(self.target, node, data, self.span, given)
            faults += [*refused, *found]
            faults += [_supplied(name, node) for name in data if name in of_job]
            faults += self._untold() if self.is_listener else ()
        inner: list[list[Component]] = [[], []]
        for made, items in zip(inner, (self.dependencies, self.scoped), strict=True):
            for item in items:
                component, found = item.checked(checker, resolver)
                made.append(component)
                faults += found
        component = Component(
            role=self.role,
            entry=self.entry,
            target=self.target,
            options=options,
            called=self.called,
            span=self.span,
            node=self.node,
            dependencies=tuple(inner[0]),
            scoped=tuple(inner[1]),
            caught=self.caught,
            needs=needs,
        )
        return component, faults

    def _needs(
        self, types: Mapping[str, type | None]
    ) -> tuple[Mapping[str, Need], list[Diagnostic]]:
        """Return what is given to a function that runs without a request, and what cannot be."""
        if self.role not in _INJECTED:
            return {}, []
        needs, reasons = needs_of(self.target)
        remedy = "take what it needs as a `Resource`, or from `with`"
        faults = [
            Diagnostic("needs-a-request", reason, self.span, help=remedy) for reason in reasons
        ]
        asked = ((self.target.name, need) for need in resources_of(needs.values()))
        return needs, [*faults, *unfit(asked, types, self.span)]

    def _asked(self, types: Mapping[str, type | None]) -> Iterator[Diagnostic]:
        """Find resources that routes ask for and that are not there, or of another type."""
        if self.called:
            return
        if self.target.value is None:
            if self.role in {"endpoint", "dependency"}:
                needs = resources_of_source(self.target)
                yield from unfit(((self.target.name, need) for need in needs), types, self.span)
            return
        if self.role == "mount":
            yield from unfit(resources_of_application(self.target.value), types, self.span)
        elif self.role == "router":
            yield from unfit(resources_of_routes(self.target.value), types, self.span)
        elif self.role in {"endpoint", "dependency"}:
            needs = resources_of_endpoint(self.target.value)
            yield from unfit(((self.target.name, need) for need in needs), types, self.span)


def resolve_entry(
    root: MappingNode, targets: Targets, role: Role, path: NodePath, entry: Any
) -> tuple[ResolvedEntry, list[Diagnostic]]:
    """Find what an entry names; return it, and every reason why it cannot stand there."""
    node, _ = locate(root, path)
    if getattr(entry, "manifest", None) is not None:
        return _mounted_manifest(role, path, entry, node), []
    use = node.get("use") if isinstance(node, MappingNode) else node
    span = (use or node).span
    has_options = isinstance(node, MappingNode) and "with" in node.members
    usage = USAGES[role]
    target, is_called, faults = _NO_TARGET, True, []
    try:
        named = entry if isinstance(entry, str) else entry.use
        target = targets.target(named, leading=usage.leading)
        if role in _GIVEN_THE_APP:
            written = node.get("with") if isinstance(node, MappingNode) else None
            options = written.members if isinstance(written, MappingNode) else {}
            target = _with_place_for_app(targets, target, options)
    except ImportFault as fault:
        faults.append(fault.at(span))
    else:
        is_called = usage.is_called is None or usage.is_called(target, has_options)
        faults += _misuse(role, target, span, is_called=is_called, has_options=has_options)
    answered = None
    if role == "handler":
        answered, found = caught(targets, entry.catch, locate(node, ("catch",))[0].span)
        faults += found
    dependencies = []
    for index, item in enumerate(entry.dependencies if role in {"router", "endpoint"} else ()):
        place = (*path, "dependencies", index)
        dependency, found = resolve_entry(root, targets, "dependency", place, item)
        dependencies.append(dependency)
        faults += found
    resolved = ResolvedEntry(
        *(role, entry, path, node, span, target, has_options, is_called, answered),
        tuple(dependencies),
    )
    return resolved, faults


_GIVEN_THE_APP = frozenset({"configure", "finish", "lifespan"})


def _with_place_for_app(targets: Targets, target: Target, options: Mapping[str, Any]) -> Target:
    """Return what is called with the app, as it takes it.

    That is by position, unless a later one has to be given `app`, or the first is one of `options`.
    """
    whole = targets.target(target.path)
    named = whole.signature.parameters
    first = named.keys() - target.signature.parameters.keys()
    is_later = "app" in named.keys() - first and named["app"].required
    if is_later or first & options.keys():
        return replace(whole, signature=replace(whole.signature, lacks_place=True))
    return target


def _mounted_manifest(role: Role, path: NodePath, entry: Route, node: Node) -> ResolvedEntry:
    """Return a mount whose application is made by another manifest."""
    named = str(entry.manifest)
    target = Target(named, None, "instance", is_callable=True, is_async=False, signature=_NOTHING)
    place, _ = locate(node, ("manifest",))
    return ResolvedEntry(
        role,
        entry,
        path,
        node,
        place.span,
        target,
        has_options=False,
        called=False,
        caught=None,
        dependencies=(),
    )


def declared_class(item: ResolvedEntry) -> type | None:
    """Return the class of a resource's object as far as it is known before it is made."""
    target = item.target
    if not item.called:
        return None if target.value is None else type(target.value)
    inner = getattr(target.value, "__wrapped__", None)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        return None  # it is a context manager, whatever the function yields
    return class_of(target.signature.returns)


def made_too_late(parts: Iterable[Component]) -> Iterator[Diagnostic]:
    """Find references to resources that are made when they are opened, where the build needs them."""
    parts = tuple(parts)
    awaited = {part.id for part in parts if part.is_awaited}
    for part in parts if awaited else ():
        late = part.options.names & awaited
        is_built_later = part.role in _LATE or part.is_awaited or part.late is not None
        if late and not is_built_later:
            for id_ in sorted(late):
                yield too_late(id_, part.node)


def too_late(id_: str, node: Node) -> Diagnostic:
    """Say that what stands in `node` needs the resource before it is made."""
    text = f"${{resources.{id_}}}"
    nodes = (found for _, found in walk(node) if getattr(found, "value", None) == text)
    message = f"`{id_}` is made by an async function when it is opened, and this is built before"
    remedy = "make it in a plain function, or ask for it as a `Resource` where it is used"
    return Diagnostic("resource-order", message, next(nodes, node).span, help=remedy)


def unfit(
    asked: Iterable[tuple[str, ResourceNeed]], types: Mapping[str, type | None], span: Span
) -> Iterator[Diagnostic]:
    """Find needs of resources that nobody has, or of another type."""
    for name, need in dict.fromkeys(asked):
        if need.id not in types:
            message = f"`{name}` asks for the resource `{need.id}`, and there is none"
            yield Diagnostic("unknown-resource", message, span, help=did_you_mean(need.id, types))
            continue
        declared = types[need.id]
        if declared is None or need.declared is None or _is_a(declared, need.declared):
            continue
        wanted = need.declared.__name__
        message = f"`{name}` asks for a `{wanted}`, and the resource `{need.id}` is a `{declared.__name__}`"
        yield Diagnostic("bad-value", message, span)


def _is_a(declared: type, wanted: type) -> bool:
    if getattr(wanted, "_is_protocol", False):
        return True
    try:
        return issubclass(declared, wanted)
    except TypeError:
        return True


def resolve_scope(
    root: MappingNode, targets: Targets, path: NodePath, entry: Any
) -> tuple[tuple[ResolvedEntry, ...], list[Diagnostic]]:
    """Find what the layers and handlers name that a route has of its own."""
    found: list[ResolvedEntry] = []
    faults: list[Diagnostic] = []
    roles: dict[str, Role] = {"middleware": "middleware", "exception_handlers": "handler"}
    for key, role in roles.items():
        for index, item in enumerate(getattr(entry, key)):
            resolved, refused = resolve_entry(root, targets, role, (*path, key, index), item)
            found.append(resolved)
            faults += refused
    return tuple(found), [*faults, *hidden(found)]


def _misuse(
    role: Role, target: Target, span: Span, *, is_called: bool, has_options: bool
) -> Iterator[Diagnostic]:
    """Find why `target` cannot be used in its place: by its form, its arguments, what it gives."""
    if role == "resource" and not is_called:
        yield from _no_resource(target, span)
        return
    if role in {"router", "mount"} and not is_called:
        yield from _no_factory(role, target, span, has_options=has_options)
        return
    message, remedy = _uncallable(role, target, is_called=is_called), None
    if message is None and is_called:
        message, remedy = _undone(role, target)
    if message is not None:
        yield Diagnostic("not-callable", message, span, help=remedy)


def _uncallable(role: Role, target: Target, *, is_called: bool) -> str | None:
    if not target.is_callable:
        kind = type(target.value).__name__
        of_type = f" is of type `{kind}`, which" if target.value is not None else ""
        return f"`{target.path}`{of_type} cannot be called"
    if role == "handler" and not is_called and not _takes_two(target.value):
        return f"`{target.name}` cannot be called with a request and an exception"
    if role == "endpoint" and not is_called and _has_routes(target.value):
        kind = type(target.value).__name__
        return f"`{target.path}` is of type `{kind}`, not the function of an endpoint"
    if target.signature.lacks_place and role == "middleware":
        return f"`{target.name}` takes nothing by position, and is given the application so"
    return None


def _undone(role: Role, target: Target) -> tuple[str | None, str | None]:
    """Say why a call would not do its work or not give what is wanted, and the remedy."""
    if role == "lifespan":
        return _no_context(target)
    if role == "background" and target.value is not None and _is_plain(target):
        return f"`{target.name}` is not async, so that nothing could end it", None
    if target.is_async and USAGES[role].is_called is not None and role != "resource":
        return f"`{target.name}` is async, and nothing waits for it here", None
    if target.is_generator:
        remedy = "return an object, which its `__aenter__` and `__aexit__` open and close"
        message = f"`{target.name}` has a `yield`, so that a call of it runs nothing"
        return message, remedy if role == "resource" else None
    return _wrong_gift(role, target)


def _is_plain(target: Target) -> bool:
    return not (target.is_async or target.is_generator)


def _no_context(target: Target) -> tuple[str | None, str | None]:
    """Say why a call gives no async context manager, and the remedy."""
    remedy = "decorate it with `contextlib.asynccontextmanager`"
    if target.is_generator:
        return f"`{target.name}` has a `yield`, and is no async context manager", remedy
    if target.is_async:
        return f"`{target.name}` is async, and gives no async context manager", None
    inner = getattr(target.value, "__wrapped__", None)
    if inspect.isgeneratorfunction(inner):
        return f"`{target.name}` gives a context manager that is not async", None
    declared = class_of(target.signature.returns)
    if target.value is None or inner is not None or declared is None or _is_context(declared):
        return None, None
    return f"`{target.path}` gives a {declared.__name__}, which is no async context manager", None


def _is_context(declared: type) -> bool:
    return hasattr(declared, "__aenter__") and hasattr(declared, "__aexit__")


def _no_resource(target: Target, span: Span) -> Iterator[Diagnostic]:
    """Refuse plain data and modules: an object that is named is the resource as it is."""
    if target.value is None and target.is_callable:
        return  # its source does not tell what it is
    if target.value is None or isinstance(target.value, DATA):
        kind = type(target.value).__name__
        of_type = (
            f"is of type `{kind}`, which" if target.value is not None else "is plain data, and"
        )
        message = f"`{target.path}` {of_type} can be no resource"
        yield Diagnostic("not-callable", message, span)
    elif (message_ := _unopened(target, type(target.value))) is not None:
        yield Diagnostic("not-callable", message_, span)


def _no_factory(
    role: Role, target: Target, span: Span, *, has_options: bool
) -> Iterator[Diagnostic]:
    fits = target.is_callable if role == "mount" else _has_routes(target.value)
    if has_options:
        message = f"`{target.name}` is no factory, so it takes no `with`"
        way_out = "remove `with`, or name a factory"
        yield Diagnostic("not-callable", message, span, help=way_out)
    elif target.value is not None and not fits:
        what = "an ASGI application" if role == "mount" else "a router"
        message = f"`{target.path}` is of type `{type(target.value).__name__}`, not {what}"
        yield Diagnostic("not-callable", message, span)


def _wrong_gift(role: Role, target: Target) -> tuple[str | None, str | None]:
    """Judge by its declared type what a call gives: why it is not what is wanted, and a remedy."""
    declared = class_of(target.signature.returns)
    gives = USAGES[role].gives
    if declared is None or gives == "anything" or hasattr(target.value, "__wrapped__"):
        return None, None  # a decorator may give something else
    kind = declared.__name__
    if gives == "a router" and not may_be(declared, "fastapi", "APIRouter"):
        remedy = "an ASGI application is mounted: `{mount: /path, use: …}`"
        return f"`{target.path}` gives a {kind}, not a FastAPI router", remedy
    if gives == "a callable" and not _may_be_called(declared):
        return f"`{target.path}` gives a {kind}, which cannot be called", None
    if gives == "an object":
        return _unopened(target, declared), None
    return None, None


def _may_be_called(declared: type) -> bool:
    is_open = inspect.isabstract(declared) or getattr(declared, "_is_protocol", False)
    return is_open or any(
        not {"__call__", "__getattr__"}.isdisjoint(vars(each)) for each in declared.__mro__
    )


def _unopened(target: Target, declared: type) -> str | None:
    """Say why a resource could be neither opened nor closed, though it looks as if it could."""
    if declared is type(None):
        return f"`{target.path}` gives None, which can be no resource"
    for pair in (("__aenter__", "__aexit__"), ("__enter__", "__exit__")):
        has = [name for name in pair if hasattr(declared, name)]
        if len(has) == 1:
            (lacks,) = {*pair} - {*has}
            return (
                f"`{declared.__name__}` has `{has[0]}` and no `{lacks}`, so nothing would call it"
            )
        if has:
            return None
    for name in (*OPENERS, *CLOSERS):
        method = getattr(declared, name, None)
        is_used = inspect.iscoroutinefunction(method) or (name in CLOSERS and callable(method))
        needed = _needed(method) if is_used else None
        if needed:
            return f"`{name}` of `{declared.__name__}` needs `{needed}`, which nothing gives it"
        if is_used and name in CLOSERS:
            return None  # the first one is what closes
    return None


def _needed(method: Any) -> str | None:
    """Return the first argument without a default that a method takes."""
    try:
        parameters = list(inspect.signature(method).parameters.values())[1:]
    except (TypeError, ValueError):
        return None
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    required = (
        item.name
        for item in parameters
        if item.default is inspect.Parameter.empty and item.kind not in variadic
    )
    return next(required, None)


def hidden(parts: list[ResolvedEntry]) -> Iterator[Diagnostic]:
    """Find handlers of one exception and mounts of one path: one of them would never be called."""
    first: dict[Any, ResolvedEntry] = {}
    for part in parts:
        if part.role == "mount":
            key, message = (
                (part.entry.mount, part.entry.host),
                f"two mounts stand at `{part.entry.mount}`",
            )
        elif part.caught is not None:
            key, message = part.caught, f"two handlers catch `{part.entry.catch}`"
        else:
            continue
        if first.setdefault(key, part) is not part:
            note = Note(first[key].span, "the first")
            yield Diagnostic("duplicate-id", message, part.span, notes=(note,))


def _supplied(name: str, node: Node | None) -> Diagnostic:
    message = f"`{name}` is supplied by the scheduler, which knows the run"
    place = node.members[name].key if isinstance(node, MappingNode) else None
    return Diagnostic("unknown-option", message, place, help=f"remove `{name}`")


def _has_routes(value: Any) -> bool:
    try:
        return hasattr(value, "routes")
    except Exception:  # noqa: BLE001  # an object may raise when it is asked
        return False


def _takes_two(handler: Any) -> bool:
    try:
        inspect.signature(handler).bind(None, None)
    except TypeError:
        return handler is None  # known by its source only
    except ValueError:
        return True  # it does not tell
    return True


_NOTHING = signature_of(lambda: None, "nothing")
_NO_TARGET = Target("", None, "instance", is_callable=False, is_async=False, signature=_NOTHING)
_NO_OPTIONS = Options(None, {}, frozenset(), {})
