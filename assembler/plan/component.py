"""An entry of the manifest → a `Component`: what its `use` names, and its checked options.

In: the entry, its node, something that turns import paths into targets. Out: a `Component` that
says how its target is to be called. Refuses what cannot be called in its place: a value that is no
callable, an async function where nobody waits. Calls nothing.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from assembler import manifest as models
from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.span import Note, Span
from assembler.document.interpolation import Resolver
from assembler.document.nodes import MappingNode, Node, NodePath, locate
from assembler.manifest.sections import ENTRY_MODELS, Role, entries_of
from assembler.plan.allow_list import ImportFault
from assembler.plan.caught import caught
from assembler.plan.options import Options, OptionsChecker
from assembler.plan.signature import Target, job_parameters, signature_of
from assembler.plan.targets import Targets

_LEADING: dict[str, int] = {"middleware": 1, "configure": 1}
_GIVEN = frozenset({"app"})


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
    # Of a lazy mount that is not imported yet: imports and checks it; raises `ManifestError`.
    late: "Callable[[], Component] | None" = field(default=None, repr=False)

    @property
    def id(self) -> str:
        """The entry's name; a dependency's is its path."""
        return getattr(self.entry, "id", "") or self.target.path


def entries(manifest: models.Manifest) -> Iterator[tuple[Role, NodePath, Any]]:
    """Yield every entry that names code, with its role and its path in the document."""
    for name, (_, role) in ENTRY_MODELS.items():
        for path, entry in entries_of(manifest, name):
            if entry.use is not None:
                is_mount = role == "router" and entry.mount is not None
                yield ("mount" if is_mount else role), path, entry
    if manifest.scheduler.context is not None:
        yield "dependency", ("scheduler", "context"), manifest.scheduler.context


class Part:
    """One entry on its way to a `Component`; `faults` are those of the import stage."""

    def __init__(
        self, root: MappingNode, targets: Targets, role: Role, path: NodePath, entry: Any
    ) -> None:
        self.role: Role = role
        self.entry = entry
        self.path = path
        self.targets = targets
        self.node, _ = locate(root, path)
        use = self.node.get("use") if isinstance(self.node, MappingNode) else self.node
        self.span = (use or self.node).span
        self.faults: list[Diagnostic] = []
        self.caught: Any = None
        self.target = self._find(targets, entry if isinstance(entry, str) else entry.use)
        if role == "handler":
            self.caught, found = caught(targets, entry.catch, locate(self.node, ("catch",))[0].span)
            self.faults += found
        items = entry.dependencies if role == "router" else ()
        self.dependencies = [
            Part(root, targets, "dependency", (*path, "dependencies", index), item)
            for index, item in enumerate(items)
        ]
        self.faults += [fault for part in self.dependencies for fault in part.faults]

    def checked(
        self, checker: OptionsChecker, resolver: Resolver
    ) -> tuple[Component, list[Diagnostic]]:
        """Check the options, and those of the entry's dependencies."""
        node = self.node.get("with") if isinstance(self.node, MappingNode) else None
        data = resolver.data(node, (*self.path, "with")) if isinstance(node, MappingNode) else {}
        options = _NO_OPTIONS
        faults: list[Diagnostic] = []
        if self.called:
            of_job = job_parameters(self.target.signature) if self.role == "job" else frozenset()
            given = _GIVEN | of_job
            options, faults = checker.check(self.target, node, data, self.span, given)
            faults += [_supplied(name, node) for name in data if name in of_job]
        dependencies = []
        for part in self.dependencies:
            component, found = part.checked(checker, resolver)
            dependencies.append(component)
            faults += found
        component = Component(
            role=self.role,
            entry=self.entry,
            target=self.target,
            options=options,
            called=self.called,
            span=self.span,
            node=self.node,
            dependencies=tuple(dependencies),
            caught=self.caught,
        )
        return component, faults

    @property
    def has_options(self) -> bool:
        """Say whether the entry has a `with`."""
        return isinstance(self.node, MappingNode) and "with" in self.node.members

    @property
    def called(self) -> bool:
        """Say whether the target is called with the options, or stands for itself."""
        form = self.target.form
        if self.role == "dependency":
            return self.has_options
        if self.role == "handler":
            return self.has_options or form == "class"
        if self.role not in {"router", "mount"}:
            return True
        if form == "instance":
            return self.has_options and not _has_routes(self.target.value)
        if self.role == "router" or self.has_options or form == "class":
            return True
        # A function that can be called without arguments is a factory; an ASGI app is not one.
        return not any(item.required for item in self.target.signature.parameters.values())

    def _find(self, targets: Targets, path: str) -> Target:
        try:
            self.target = targets.target(path, leading=_LEADING.get(self.role, 0))
        except ImportFault as fault:
            self.faults.append(fault.at(self.span))
            return _NO_TARGET
        self.faults += self._misuse(self.target)
        return self.target

    def _misuse(self, target: Target) -> Iterator[Diagnostic]:
        kind = type(target.value).__name__
        if self.role in {"router", "mount"} and not self.called:
            fits = target.is_callable if self.role == "mount" else _has_routes(target.value)
            if self.has_options:
                message = f"`{target.name}` is no factory, so it takes no `with`"
                way_out = "remove `with`, or name a factory"
                yield Diagnostic("not-callable", message, self.span, help=way_out)
            elif target.value is not None and not fits:
                what = "an ASGI application" if self.role == "mount" else "a router"
                message = f"`{target.path}` is of type `{kind}`, not {what}"
                yield Diagnostic("not-callable", message, self.span)
            return
        if not target.is_callable:
            of_type = f" is of type `{kind}`, which" if target.value is not None else ""
            message = f"`{target.path}`{of_type} cannot be called"
            yield Diagnostic("not-callable", message, self.span)
        elif self.role == "handler" and not self.called and not _takes_two(target.value):
            message = f"`{target.name}` cannot be called with a request and an exception"
            yield Diagnostic("not-callable", message, self.span)
        elif target.is_async and self._is_made:
            message = f"`{target.name}` is async, and nothing waits for it here"
            remedy: str | None = None
            if self.role == "resource":
                remedy = "make it in a plain function, and connect in its `__aenter__`"
            yield Diagnostic("not-callable", message, self.span, help=remedy)

    @property
    def _is_made(self) -> bool:
        if self.role in {"handler", "mount", "dependency"}:
            return self.called
        return self.role in {"resource", "middleware", "router", "configure"}


def hidden(parts: list[Part]) -> Iterator[Diagnostic]:
    """Find handlers of one exception and mounts of one path: one of them would never be called."""
    first: dict[Any, Part] = {}
    for part in parts:
        if part.role == "mount":
            key, message = part.entry.mount, f"two mounts stand at `{part.entry.mount}`"
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
