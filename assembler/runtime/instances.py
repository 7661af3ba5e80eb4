"""The components of a plan → the objects that they name.

In: the plan, the application, the objects of the resources as they come. Out: what each factory and
constructor returned, how resources are opened, the arguments of those that are called later.
What user code raises, and options that a resource does not fit, are noted with the manifest's line.
"""

from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.exceptions import failure_of, frame_of
from assembler.diagnostics.span import Span
from assembler.document.nodes import NodePath, locate
from assembler.manifest.pydantic_errors import Fault
from assembler.plan.component import TOLD, Component
from assembler.plan.load import Plan
from assembler.runtime.hooks import Awaited, Opening, resource_opening
from assembler.runtime.task import StepError, call

MISSING = object()
_CALLED_LATER = frozenset({"mount", "handler", "dependency"})


def needed_for(plan: Plan, names: Iterable[str]) -> set[str]:
    """Return the resources of `names`, and those that they are made from."""
    needed = set(names)
    for component in reversed(plan.resources):  # a resource names only those above it
        if component.id in needed:
            needed |= component.options.names
    return needed


class Objects:
    """Makes objects; `resources` are those that options may name, `faults` what went wrong."""

    def __init__(
        self, plan: Plan, app: FastAPI, apps: Mapping[NodePath, FastAPI] = MappingProxyType({})
    ) -> None:
        self.plan = plan
        self.app = app
        self.apps = apps  # of each manifest, by where it stands
        self.resources: dict[str, Any] = {}
        self.faults: list[Diagnostic] = []
        self.shared: list[dict[str, Any]] = []  # others that are to have what is made late
        self.kept: Callable[[str], None] = lambda id_: None  # called when one was made late

    def openings(
        self, given: Mapping[str, Any] = MappingProxyType({}), only: Container[str] | None = None
    ) -> list[Opening]:
        """Make the resources, all or `only` some; say how each that was not `given` is opened."""
        found = []
        for component in self.plan.resources:
            if component.id in given:
                self.resources[component.id] = given[component.id]
                continue
            if only is not None and component.id not in only:
                continue
            if component.is_awaited:
                told = self._listener(component)
                found.append(resource_opening(component, self._awaited(component), told=told))
                continue
            value = self.made(component)
            if value is not MISSING:
                self.resources[component.id] = value
                if not component.entry.owned:
                    continue
                try:
                    make = partial(self._again, component)
                    told = self._listener(component)
                    found.append(resource_opening(component, value, make, told))
                except Exception as error:  # noqa: BLE001  # an object may raise when it is asked
                    what = f"`{component.target.name}` cannot be opened"
                    self.note(what, error, component.span)
        return found

    def _awaited(self, component: Component) -> Awaited:
        async def make() -> Any:
            return await component.target.value(**self.late_arguments(component))

        return Awaited(make, partial(self._keep, component.id))

    def _keep(self, id_: str, value: Any) -> None:
        self.resources[id_] = value
        for shared in self.shared:
            shared[id_] = value
        self.kept(id_)

    def app_of(self, component: Component) -> FastAPI:
        """Return the application that the manifest of a component makes."""
        return self.apps.get(component.home, self.app)

    def is_late(self, component: Component) -> bool:
        """Tell whether the options name a resource that is made when it is opened."""
        awaited = {part.id for part in self.plan.resources if part.is_awaited}
        return bool(component.options.names & awaited)

    def options_of(self, component: Component) -> Callable[[], dict[str, Any]]:
        """Return what gives the options of each run: those made now, unless they must wait."""
        if self.is_late(component):
            return partial(self.late_arguments, component)
        arguments = self.arguments(component) or {}
        return lambda: arguments

    def late_arguments(self, component: Component) -> dict[str, Any]:
        """Put objects into the options at the time of a run; raises `StepError`."""
        missing = sorted(component.options.names - self.resources.keys())
        if missing:
            raise StepError(f"resource `{missing[0]}` is not there")
        arguments, faults = component.options.arguments(self.resources)
        for fault in faults:
            raise StepError(f"`{'.'.join(map(str, fault.path))}` {fault.reason}")
        if "app" in component.target.signature.parameters:
            arguments.setdefault("app", self.app_of(component))
        return arguments

    def made(self, component: Component) -> Any:
        """Return what the entry stands for: its target, or what that gives; else `MISSING`."""
        if not component.called:
            return component.target.value
        value = self.call(component, component.target.value, "could not be made")
        if component.role in _CALLED_LATER and value is not MISSING and not callable(value):
            kind = type(value).__name__
            message = f"`{component.target.path}` gives a {kind}, which cannot be called"
            self.faults.append(Diagnostic("not-callable", message, component.span))
            return MISSING
        return value

    def classes(self) -> dict[str, type | None]:
        """Return the classes of the resources by id."""
        later: dict[str, type | None] = {part.id: None for part in self.plan.resources}
        return later | {id_: type(value) for id_, value in self.resources.items()}

    def _listener(self, component: Component) -> Callable[[str | None], Awaitable[Any]] | None:
        """Return what is told the state of a resource, as far as it takes it."""
        listener = self.plan.listeners.get(component.id)
        if listener is None:
            return None

        async def tell(reason: str | None) -> None:
            app = self.app_of(component)
            said = dict(zip(TOLD, (app, component.id, reason), strict=True))
            taken = {k: v for k, v in said.items() if k in listener.target.signature.parameters}
            await call(listener.target.value, **taken)

        return tell

    def _again(self, component: Component) -> Any:
        return component.target.value(**(self.arguments(component) or {}))

    def call(self, component: Component, function: Callable[..., Any], failing: str) -> Any:
        """Call `function` with the options of `component`; `MISSING` where that failed."""
        arguments = self.arguments(component)
        if arguments is None:
            return MISSING
        try:
            return function(**arguments)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # user code may raise anything
            self.note(f"`{component.target.name}` {failing}", error, component.span)
            return MISSING

    def arguments(self, component: Component) -> dict[str, Any] | None:
        """Put objects into the options; None where one of them could not be made."""
        options = component.options
        if not options.names <= self.resources.keys():
            return None
        arguments, faults = options.arguments(self.resources)
        self.faults += self._misfits(component, faults)
        if faults:
            return None
        takes_app = component.role != "middleware" and component.called
        if takes_app and "app" in component.target.signature.parameters:
            arguments.setdefault("app", self.app_of(component))
        return arguments

    def note(self, what: str, error: BaseException, span: Span) -> None:
        """Remember that user code raised `error`."""
        scrub = self.plan.secrets.scrub
        trace = tuple(scrub(line) for line in frame_of(error))
        message = f"{what}: {scrub(failure_of(error))}"
        self.faults.append(Diagnostic("build-failed", message, span, trace=trace))

    def _misfits(self, component: Component, faults: list[Fault]) -> Iterator[Diagnostic]:
        for fault in faults:
            node, _ = locate(component.node, ("with", *fault.path))
            name = ".".join(str(part) for part in fault.path)
            message = f"`{name}` of `{component.target.name}` {fault.reason}"
            yield Diagnostic("bad-value", self.plan.secrets.scrub(message), node.span)
