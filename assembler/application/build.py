"""Plan → FastAPI application, sealed.

In: a `Plan`, and objects that stand for its resources. Out: a FastAPI application whose middleware
stack is built, so that a constructor that fails shows now, with the manifest's line. Refuses, as a
`ManifestError`, whatever a constructor, a factory or a `configure` function raises, and resources
that are not of the type that an option declares. Opens nothing: that is the lifespan's.
"""

import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Literal

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from assembler.application.app import AppBuilder, empty_application
from assembler.diagnostics.errors import UsageError, raise_faults
from assembler.diagnostics.exceptions import failure_of
from assembler.plan.component import Component
from assembler.plan.load import Plan
from assembler.runtime import log_queue
from assembler.runtime.asgi_lifespan import LifespanProtocol
from assembler.runtime.health_checks import checks
from assembler.runtime.hooks import EnteredLifespan, Opening, RouterLifespans
from assembler.runtime.injection import given
from assembler.runtime.instances import Objects
from assembler.runtime.lifespan import Lifespan
from assembler.runtime.lifespan_client import LifespanClient
from assembler.runtime.recorder import Group, Running
from assembler.runtime.registry import Registry
from assembler.runtime.report import Assembly, Phase, log
from assembler.runtime.task import call


def build(plan: Plan, resources: Mapping[str, Any] | None = None) -> FastAPI:
    """Build the application of `plan`.

    `resources` replace those of the plan by id; they stay the caller's, so the application neither
    opens nor closes them. Raises `ManifestError` (`build-failed`, `bad-value`)
    where something that the manifest names cannot be made, `UsageError` for an id that the
    manifest does not have.
    """
    given = dict(resources or {})
    unknown = sorted(given.keys() - {component.id for component in plan.resources})
    if unknown:
        raise UsageError(f"`{plan.name}` has no resource `{unknown[0]}` to replace")
    return _Builder(plan).build(given)


def build_for_jobs(plan: Plan, part: Literal["once", "worker"] = "once") -> Lifespan:
    """Build what the jobs of `plan` need and no more: its resources, and no clock.

    Nothing is served, and steps of the start and the end are left to those who do. Raises as
    `build` does.
    """
    return _Builder(plan).build_for_jobs(part)


class _Builder:
    """One build: the application as far as it has come."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.apps = {part.home: empty_application(part) for part in plan.parts}
        self.app = self.apps[plan.home]
        self.assembly = Assembly(plan.name, plan.hash)
        self.objects = Objects(plan, self.app, self.apps)
        self.outermost = AppBuilder(plan, self.objects, self.assembly, self.app)

    def build(self, given: dict[str, Any]) -> FastAPI:
        self.configure_logging()
        resources = self.objects.openings(given)
        self.outermost.fill()
        entered = self.lifespans()
        startup = self.startup()
        shutdown = [self.running(component, "shutdown") for component in self.plan.shutdown]
        jobs = [*self.job_openings(), *self.loop_openings()]
        self.assembly.registry = self.registry()
        if any(one.has_console for one in self.outermost.everyone):
            self.assembly.operations = self.operations()
        self.outermost.seal()
        raise_faults(self.objects.faults)
        router: Any = self.app.router
        router.middleware_stack = _PlainPaths(router.middleware_stack)
        self.outermost.index_routes()
        index = self.outermost.index
        self.assembly.dispatch = "indexed" if index.active else f"FastAPI's own: {index.reason}"
        shared = dict(self.objects.resources)
        routers = RouterLifespans(self.app)
        inner = [
            self.router_opening(self.outermost, routers),
            *self.mount_openings(self.outermost, shared),
            *self.inner_openings(entered, shared),
        ]
        lifespan = Lifespan(self.plan, self.assembly, resources, startup, inner, shutdown, jobs)
        lifespan.lifespans = [each.opening() for each in entered]
        self.assembly.resources = shared
        self.assembly.checks.update(checks(self.plan, self.objects.resources))
        self.objects.shared.append(shared)
        self.objects.kept = lambda id_: self.assembly.checks.update(
            checks(self.plan, {id_: self.objects.resources[id_]})
        )
        own = (each.state for each in entered if each.component.home == self.plan.home)
        states = (shared, *own, routers.state)
        protocol = LifespanProtocol(lifespan, states, self.objects.shared)
        self.app.router.lifespan = protocol  # type: ignore[method-assign]  # the protocol, whole
        return self.app

    def build_for_jobs(self, part: Literal["once", "worker"]) -> Lifespan:
        self.configure_logging()
        resources = self.objects.openings()
        for one in self.plan.parts:
            AppBuilder(one, self.objects, self.assembly, self.apps[one.home]).fill_state()
        jobs = self.job_openings(part)
        raise_faults(self.objects.faults)
        return Lifespan(self.plan, self.assembly, resources, [], [], [], jobs)

    def configure_logging(self) -> None:
        if self.plan.logging is None:
            return
        # Python's default would silence the loggers of the server and of every imported module.
        options = {"disable_existing_loggers": False, **self.plan.logging}
        try:
            log_queue.configure(options)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001  # handlers and filters are user code
            reason, what = error, "`logging` is refused"
            while reason.__cause__ is not None:  # `dictConfig` says what it could not do, and why
                what, reason = f"{what}: {reason}", reason.__cause__
            place = self.outermost.section("logging")
            self.objects.note(self.plan.secrets.scrub(what), reason, place)

    def lifespans(self) -> list[EnteredLifespan]:
        """Return the lifespans of the manifest; one that takes nothing by position gets no app."""
        found = []
        for component in self.plan.lifespan:
            lacks_place = component.target.signature.lacks_place
            application = () if lacks_place else (self.objects.app_of(component),)
            function = partial(component.target.value, *application)
            make = partial(_called, function, self.objects.options_of(component))
            found.append(EnteredLifespan(component, make))
        return found

    def startup(self) -> list[Running | Group]:
        """Return functions and SQL in the order of the manifest, then those of manifests inside."""
        functions = (self.running(component, "startup") for component in self.plan.startup)
        sql: Iterator[Group] = iter(())
        if self.plan.sql:
            from assembler.runtime.sql.steps import sql_groups  # noqa: PLC0415  # many rooms

            sql = iter(sql_groups(self.plan, self.objects))
        entries = (entry for part in self.plan.parts for entry in part.manifest.startup)
        return [next(functions) if entry.use else next(sql) for entry in entries if entry.enabled]

    def running(self, component: Component, phase: Phase) -> Running:
        entry = component.entry
        if component.needs or self.objects.is_late(component):
            run = partial(self.run_given, component, self.objects.options_of(component))
        else:
            arguments = self.objects.arguments(component) or {}
            run = partial(call, component.target.value, **arguments)
        on_error = getattr(entry, "on_error", "fail")
        return Running(component.id, phase, run, component.span, entry.timeout, on_error)

    async def run_given(self, component: Component, options: Callable[[], dict[str, Any]]) -> Any:
        """Run a function with what it asks for besides its options."""
        async with given(component.needs, self.objects.resources, options()) as everything:
            return await call(component.target.value, **everything)

    def router_opening(
        self, part: AppBuilder, routers: RouterLifespans, lifespans: Iterable[EnteredLifespan] = ()
    ) -> Opening:
        """Return how the lifespans of the routers of one application are entered.

        An application that is mounted finds on its state what they and its `lifespans` yield.
        """

        async def open_routers() -> None:
            if not part.index.active:
                log(logging.WARNING, f"routes are tried one by one: {part.index.reason}")
            await routers.open()
            if part.mount is not None:
                part.mount.state.clear()
                for state in (*(each.state for each in lifespans), routers.state):
                    part.mount.state.update(state)

        name = f"routers of {part.prefix or '/'}" if part.outer else "routers"
        return Opening(name, "router", open_routers, routers.aclose, part.section("routes"))

    def inner_openings(
        self, entered: list[EnteredLifespan], shared: dict[str, Any]
    ) -> Iterator[Opening]:
        """Yield the openings of the routers and mounts of manifests that are mounted."""
        _, *inside = self.outermost.everyone
        for part in inside:
            own = [each for each in entered if each.component.home == part.plan.home]
            yield self.router_opening(part, RouterLifespans(part.app), own)
            yield from self.mount_openings(part, shared)

    def mount_openings(self, part: AppBuilder, shared: dict[str, Any]) -> list[Opening]:
        openings = []
        # What warms up in the background begins when all else is open.
        for component, mount in sorted(part.mounts, key=lambda pair: pair[0].entry.lazy):
            if not component.entry.owned:
                continue
            app: Any = mount.app
            is_lazy = component.entry.lazy
            inner = app if is_lazy else LifespanClient(app, shared, own=mount.state)
            name = f"{part.prefix}{component.id}"
            opening = Opening(name, "mount", inner.open, inner.aclose, component.span)
            openings.append(opening)
        return openings

    def job_openings(self, part: Literal["clock", "once", "worker"] = "clock") -> list[Opening]:
        if not self.plan.jobs:
            return []
        from assembler.runtime.scheduler.build import Scheduled  # noqa: PLC0415  # many rooms

        return [Scheduled(self.plan, self.objects, self.assembly, part).opening()]

    def registry(self) -> Registry:
        """Return the place of the process among those of its service."""
        return Registry(self.plan, self.store(), os.environ, self.plan.secrets.scrub)

    def store(self) -> Any:
        """Return the store that processes of the service share, if they do."""
        name = self.plan.manifest.scheduler.store_id
        value = None if name is None else self.objects.resources.get(name)
        if value is not None:
            from assembler.runtime.scheduler.stores import store_of  # noqa: PLC0415  # as above

            with suppress(ValueError):  # told where the jobs are made
                return store_of(value)
        return None

    def operations(self) -> Any:
        """Return what pages for operators ask."""
        from assembler.application.operations import operations_of  # noqa: PLC0415  # only with such pages

        registry = self.assembly.registry
        _, *inside = self.outermost.everyone
        scopes = [scope for one in self.outermost.everyone for scope in one.scopes]
        mounted = [(one.plan, one.app) for one in inside]
        return operations_of(self.plan, self.app, registry, self.store(), scopes, mounted)

    def loop_openings(self) -> list[Opening]:
        if not self.plan.background:
            return []
        from assembler.runtime.background import Loop  # noqa: PLC0415  # few manifests have one
        from assembler.runtime.scheduler.build import Scheduled  # noqa: PLC0415  # many rooms

        scheduled = None
        if any(component.entry.once for component in self.plan.background):
            scheduled = Scheduled(self.plan, self.objects, self.assembly, "once")
        openings = []
        for component in self.plan.background:
            run = partial(self.run_given, component, self.objects.options_of(component))
            setting = scheduled.setting if scheduled and component.entry.once else None
            loop = Loop(component, run, self.assembly, self.reason, setting)
            openings.append(loop.opening())
        return openings

    def reason(self, error: Exception) -> str:
        """Say in one line what went wrong, without secrets."""
        return self.plan.secrets.scrub(failure_of(error))


def _called(function: Callable[..., Any], options: Callable[[], dict[str, Any]]) -> Any:
    return function(**options())


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class _PlainPaths:
    """Before the router: a path with control characters is no path, and gets 400.

    The `$` of a router's patterns also matches before a last newline, so that `/login%0A` would be
    served past every guard and limit on `/login`. No layer is spared by it, so it is logged and counted.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path: str = scope.get("path", "")
        # The first is a tenth as long, and true of nearly all paths.
        if path.isprintable() or not _CONTROL.search(path):
            return self.app(scope, receive, send)
        return self._refuse(scope, send)

    async def _refuse(self, scope: Scope, send: Send) -> None:
        if scope["type"] == "websocket" and "websocket.http.response" not in (
            scope.get("extensions") or {}
        ):
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        raise HTTPException(400, "the path has a control character")
