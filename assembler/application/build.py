"""Plan → FastAPI application, sealed.

In: a `Plan`, and objects that stand for its resources. Out: a FastAPI application whose middleware
stack is built, so that a constructor that fails shows now, with the manifest's line. Refuses, as a
`ManifestError`, whatever a constructor, a factory or a `configure` function raises, and resources
that are not of the type that an option declares. Opens nothing: that is the lifespan's.
"""

import copy
import logging
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from importlib import metadata
from typing import Any, Literal

from fastapi import APIRouter, Depends, FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from assembler.application.middleware import Application, scoped_stack, seal
from assembler.application.mount import SlashMount
from assembler.application.route_index import IndexReport, index_routes
from assembler.application.route_scope import RouteScope, ScopeRemainder
from assembler.diagnostics.errors import Diagnostic, UsageError, raise_faults
from assembler.diagnostics.exceptions import failure_of
from assembler.diagnostics.span import Span
from assembler.manifest.section import Section
from assembler.plan.component import Component, unfit
from assembler.plan.injection import resources_of_routes
from assembler.plan.load import Plan
from assembler.runtime import log_queue
from assembler.runtime.asgi_lifespan import LifespanProtocol
from assembler.runtime.health_checks import checks
from assembler.runtime.hooks import EnteredLifespan, Opening, RouterLifespans
from assembler.runtime.injection import given
from assembler.runtime.instances import MISSING, Objects
from assembler.runtime.lifespan import Lifespan
from assembler.runtime.lifespan_client import LifespanClient
from assembler.runtime.recorder import Group, Running
from assembler.runtime.registry import Registry
from assembler.runtime.report import Assembly, LazyState, Phase, log
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
        self.app = _empty_application(plan)
        self.assembly = self.app.state.assembly = Assembly(plan.name, plan.hash)
        self.objects = Objects(plan, self.app)
        self.scopes: list[tuple[Component, RouteScope]] = []
        self.has_console = False

    def build(self, given: dict[str, Any]) -> FastAPI:
        self.configure_logging()
        resources = self.objects.openings(given)
        self.fill_state()
        self.add_dependencies()
        self.add_handlers()
        layers = self.add_middleware()
        raise_faults(self.objects.faults)
        self.hand_over(self.plan.configure)
        mounts = self.add_routes()
        self.add_frontends()
        self.hand_over(self.plan.finish)
        entered = self.lifespans()
        startup = self.startup()
        shutdown = [self.running(component, "shutdown") for component in self.plan.shutdown]
        jobs = [*self.job_openings(), *self.loop_openings()]
        self.assembly.registry = self.registry()
        if self.has_console:
            self.assembly.operations = self.operations()
        seal(
            self.app,
            lambda layer, error: self.note_layer(layer, error, layers),
            self.plan.secrets.scrub,
            raise_unhandled=self.plan.manifest.app.raise_unhandled,
        )
        self.close_scopes()
        raise_faults(self.objects.faults)
        router: Any = self.app.router
        router.middleware_stack = _PlainPaths(router.middleware_stack)
        index = index_routes(self.app)
        self.assembly.dispatch = "indexed" if index.active else f"FastAPI's own: {index.reason}"
        shared = dict(self.objects.resources)
        routers = RouterLifespans(self.app)
        inner = [self.router_opening(routers, index), *self.mount_openings(mounts, shared)]
        lifespan = Lifespan(self.plan, self.assembly, resources, startup, inner, shutdown, jobs)
        lifespan.lifespans = [each.opening() for each in entered]
        self.assembly.resources = shared
        self.assembly.checks.update(checks(self.plan, self.objects.resources))
        self.objects.shared.append(shared)
        self.objects.kept = lambda id_: self.assembly.checks.update(
            checks(self.plan, {id_: self.objects.resources[id_]})
        )
        states = (shared, *(each.state for each in entered), routers.state)
        protocol = LifespanProtocol(lifespan, states, self.objects.shared)
        self.app.router.lifespan = protocol  # type: ignore[method-assign]  # the protocol, whole
        return self.app

    def build_for_jobs(self, part: Literal["once", "worker"]) -> Lifespan:
        self.configure_logging()
        resources = self.objects.openings()
        self.fill_state()
        jobs = self.job_openings(part)
        raise_faults(self.objects.faults)
        return Lifespan(self.plan, self.assembly, resources, [], [], [], jobs)

    def hand_over(self, functions: Iterable[Component]) -> None:
        """Call functions with the app; one that takes nothing by position is called without."""
        for component in functions:
            function = component.target.value
            if not component.target.signature.lacks_place:
                function = partial(function, self.app)
            self.objects.call(component, function, "failed")

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
            self.objects.note("`logging` is refused", error, self.section("logging"))

    def fill_state(self) -> None:
        """Put what the manifest says on `app.state`; what a resource that failed gave is left out."""
        state = self.plan.app.state
        if state.names <= self.objects.resources.keys():
            for name, value in state.arguments(self.objects.resources)[0].items():
                setattr(self.app.state, name, value)

    def add_dependencies(self) -> None:
        """Have FastAPI run what stands before every route, those that code adds included."""
        for component in self.plan.app.dependencies:
            value = self.objects.made(component)
            if value is not MISSING:
                self.app.router.dependencies.append(Depends(value))

    def add_handlers(self) -> None:
        for component in self.plan.handlers:
            handler = self.objects.made(component)
            if handler is not MISSING:
                self.app.add_exception_handler(component.caught, handler)

    def add_middleware(self) -> dict[Middleware, Component]:
        """Put the layers on the app; return the component of each."""
        layers: dict[Middleware, Component] = {}
        for component in self.plan.middleware:
            layer = Middleware(component.target.value, **self.objects.arguments(component) or {})
            self.app.user_middleware.append(layer)
            layers[layer] = component
        return layers

    def note_layer(
        self, layer: Middleware, error: BaseException, layers: dict[Middleware, Component]
    ) -> None:
        component = layers.get(layer)
        span = component.span if component else self.section("configure")
        name = component.target.name if component else getattr(layer.cls, "__name__", "middleware")
        self.objects.note(f"`{name}` could not be made", error, span)

    def add_routes(self) -> list[tuple[Component, SlashMount]]:
        mounts = []
        for component in self.plan.routes:
            is_lazy = component.role == "mount" and component.entry.lazy
            value = self.lazy_mount(component) if is_lazy else self.objects.made(component)
            if value is MISSING:
                continue
            routes = self.app.router.routes
            begun = len(routes)
            if component.role == "mount":
                mount = SlashMount(component.entry.mount, value, name=component.entry.name)
                routes.append(mount)
                mounts.append((component, mount))
            elif component.role == "endpoint":
                self.add_endpoint(component, value)
            else:
                self.include(component, value)
            for route in routes[begun:]:
                self.assembly.owners.setdefault(id(route), component.id)
            if component.scoped or component.entry.host is not None:
                self.enclose(component, begun)
        return mounts

    def enclose(self, component: Component, begun: int) -> None:
        """Put the routes of an entry, which begin there, into a scope of their own."""
        routes = self.app.router.routes
        scope = RouteScope(
            routes[begun:],
            host=component.entry.host,
            redirect_slashes=self.app.router.redirect_slashes,
        )
        routes[begun:] = [scope]
        self.assembly.owners[id(scope)] = component.id
        if component.scoped:
            self.scopes.append((component, scope))

    def close_scopes(self) -> None:
        """Build the stacks of scopes, once that of the application is there."""
        for component, scope in self.scopes:
            layers: dict[Middleware, Component] = {}
            handlers: dict[Any, Any] = {}
            for item in component.scoped:
                if item.role == "handler":
                    handlers[item.caught] = self.objects.made(item)
                else:
                    arguments = self.objects.arguments(item) or {}
                    layers[Middleware(item.target.value, **arguments)] = item
            told = partial(self.note_layer, layers=layers)
            if MISSING not in handlers.values():
                scope.stack = scoped_stack(self.app, scope.router, list(layers), handlers, told)
            if component.role == "router" and component.entry.prefix:
                remainder = ScopeRemainder(scope, component.entry.prefix)
                self.app.router.routes.append(remainder)

    def lazy_mount(self, component: Component) -> ASGIApp:
        from assembler.runtime.lazy_mount import LazyMount, maker  # noqa: PLC0415  # few manifests have one

        report = LazyState(component.id, component.target.path)
        self.assembly.lazy[component.id] = report
        shared = dict(self.objects.resources)
        self.objects.shared.append(shared)
        mount = LazyMount(
            maker(component, self.plan, self.app, shared),
            shared,
            report,
            warmup=component.entry.warmup,
            scrub=self.plan.secrets.scrub,
            is_ready=lambda: self.assembly.state in {"started", "draining"},
        )
        self.assembly.lazy_mounts[component.id] = mount
        return mount

    def include(self, component: Component, router: Any) -> None:
        if not issubclass(type(router), APIRouter):  # an object may raise when asked for its class
            kind = type(router).__name__
            message = f"`{component.target.path}` gives a {kind}, not a FastAPI router"
            remedy = "an ASGI application is mounted: `{mount: /path, use: …}`"
            fault = Diagnostic("not-callable", message, component.span, help=remedy)
            self.objects.faults.append(fault)
            return
        if component.called:  # its routes are known only now
            asked = resources_of_routes(router)
            self.objects.faults += unfit(asked, self.objects.classes(), component.span)
        if getattr(router, "layer_role", None) == CONSOLE:
            self.has_console = True
            self.assembly.consoles.append(component.entry.prefix)
        try:
            prefix = component.entry.prefix
            said = self.said_of(component)
            self.app.include_router(_without_documents(router), prefix=prefix, **said)
        except Exception as error:  # noqa: BLE001  # FastAPI asserts on odd routers
            message = f"`{component.target.name}` cannot be included"
            self.objects.note(message, error, component.span)

    def add_endpoint(self, component: Component, function: Any) -> None:
        entry = component.entry
        said = self.said_of(component)
        try:
            if entry.methods == ["WEBSOCKET"]:
                dependencies = said["dependencies"]
                self.app.router.add_api_websocket_route(
                    entry.path, function, entry.name, dependencies=dependencies
                )
                return
            if "default_response_class" in said:
                said["response_class"] = said.pop("default_response_class")
            self.app.router.add_api_route(
                entry.path, function, methods=entry.methods or ["GET"], name=entry.name, **said
            )
        except Exception as error:  # noqa: BLE001  # FastAPI asserts on odd functions
            message = f"`{component.target.name}` cannot answer at `{entry.path}`"
            self.objects.note(message, error, component.span)

    def said_of(self, component: Component) -> dict[str, Any]:
        """Return what an entry says of its routes, as FastAPI takes it."""
        entry = component.entry
        made = [self.objects.made(item) for item in component.dependencies]
        return {
            "tags": list(entry.tags) or None,
            "dependencies": [Depends(item) for item in made if item is not MISSING],
            "deprecated": entry.deprecated,
            "include_in_schema": entry.include_in_schema,
            **component.arguments,
        }

    def add_frontends(self) -> None:
        """Have FastAPI serve files where no route answers."""
        for frontend in self.plan.frontends:
            serve = getattr(self.app, "frontend", None)
            if serve is None:
                version = metadata.version("fastapi")
                message = f"FastAPI {version} has no frontends"
                remedy = "mount `starlette.staticfiles.StaticFiles`, or take a newer FastAPI"
                fault = Diagnostic("build-failed", message, frontend.span, help=remedy)
                self.objects.faults.append(fault)
                continue
            try:
                serve(frontend.prefix, directory=frontend.folder)
            except Exception as error:  # noqa: BLE001  # a folder may be anything
                self.objects.note("the frontend cannot be served", error, frontend.span)

    def lifespans(self) -> list[EnteredLifespan]:
        """Return the lifespans of the manifest; one that takes nothing by position gets no app."""
        found = []
        for component in self.plan.lifespan:
            application = () if component.target.signature.lacks_place else (self.app,)
            function = partial(component.target.value, *application)
            make = partial(_called, function, self.objects.options_of(component))
            found.append(EnteredLifespan(component, make))
        return found

    def startup(self) -> list[Running | Group]:
        """Return functions and SQL in the order of the manifest."""
        functions = (self.running(component, "startup") for component in self.plan.startup)
        sql: Iterator[Group] = iter(())
        if self.plan.sql:
            from assembler.runtime.sql.steps import sql_groups  # noqa: PLC0415  # many rooms

            sql = iter(sql_groups(self.plan, self.objects))
        entries = self.plan.manifest.startup
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

    def router_opening(self, routers: RouterLifespans, index: IndexReport) -> Opening:
        async def open_routers() -> None:
            if not index.active:
                log(logging.WARNING, f"routes are tried one by one: {index.reason}")
            await routers.open()

        return Opening("routers", "router", open_routers, routers.aclose, self.section("routes"))

    def mount_openings(
        self, mounts: list[tuple[Component, SlashMount]], shared: dict[str, Any]
    ) -> list[Opening]:
        openings = []
        # What warms up in the background begins when all else is open.
        for component, mount in sorted(mounts, key=lambda pair: pair[0].entry.lazy):
            if not component.entry.owned:
                continue
            app: Any = mount.app
            is_lazy = component.entry.lazy
            inner = app if is_lazy else LifespanClient(app, shared, own=mount.state)
            opening = Opening(component.id, "mount", inner.open, inner.aclose, component.span)
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
        name = self.plan.manifest.scheduler.store
        value = None if name is None else self.objects.resources.get(name[12:-1])
        if value is not None:
            from assembler.runtime.scheduler.stores import store_of  # noqa: PLC0415  # as above

            with suppress(ValueError):  # told where the jobs are made
                return store_of(value)
        return None

    def operations(self) -> Any:
        """Return what pages for operators ask."""
        from assembler.application.operations import operations_of  # noqa: PLC0415  # only with such pages

        registry = self.assembly.registry
        return operations_of(self.plan, self.app, registry, self.store(), self.scopes)

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

    def section(self, name: str) -> Span:
        """Where a section is named, or the start of the document where there is none."""
        root = self.plan.document.root
        if name in root.members:
            return root.members[name].key
        return root.span._replace(end_line=root.span.line, end_column=root.span.column + 1)


def _called(function: Callable[..., Any], options: Callable[[], dict[str, Any]]) -> Any:
    return function(**options())


def _without_documents(router: APIRouter) -> APIRouter:
    """Return the router of an application without the pages on which that one describes itself.

    The manifest says where those of the whole are, or that they are off; others would still be served.
    """
    kept = [route for route in router.routes if not _is_document(route)]
    if len(kept) == len(router.routes):
        return router
    router = copy.copy(router)
    router.routes = kept
    return router


def _is_document(route: BaseRoute) -> bool:
    endpoint = getattr(route, "endpoint", None)
    name = f"{getattr(endpoint, '__module__', '')}.{getattr(endpoint, '__qualname__', '')}"
    return name.startswith(_SETUP)


_SETUP = f"{FastAPI.__module__}.{FastAPI.setup.__qualname__}."

CONSOLE = "console"
"""What a router of pages for operators says of itself, by its attribute `layer_role`."""

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


def _empty_application(plan: Plan) -> Application:
    """Return an application that says what the section says, with no layer or route in it."""
    facts = plan.manifest.app
    docs = facts.openapi.docs
    tags = [tag.model_dump(by_alias=True, exclude_none=True) for tag in facts.tags or ()]
    more = {"swagger_ui_oauth2_redirect_url": docs and f"{docs}/oauth2-redirect"}
    app = Application(
        title=facts.title,
        version=facts.version,
        summary=facts.summary,
        description=facts.description,
        terms_of_service=facts.terms_of_service,
        contact=_dumped(facts.contact),
        license_info=_dumped(facts.license),
        servers=[item.model_dump(exclude_none=True) for item in facts.servers or ()] or None,
        openapi_url=facts.openapi.path,
        docs_url=docs,
        redoc_url=facts.openapi.redoc,
        openapi_tags=tags or None,
        **(more | plan.app.arguments),
    )
    app.extends_openapi = facts.openapi.extend
    app.root_path = facts.root_path  # as a parameter it warns: it is meant to be the server's
    return app


def _dumped(section: Section | None) -> dict[str, Any] | None:
    return section.model_dump(exclude_none=True) if section is not None else None
