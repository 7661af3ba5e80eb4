"""One manifest of a plan → its FastAPI application: state, layers, handlers, routes.

In: the plan of one manifest, the objects of the process, the application in which it is mounted. Out:
an `AppBuilder` with the application as far as it has come; `seal` builds the stack, once all
functions of the manifests have seen it. What cannot be made is noted with the manifest's line.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from importlib import metadata
from typing import Any

from fastapi import APIRouter, Depends
from starlette.middleware import Middleware
from starlette.types import ASGIApp

from assembler.application.application_router import parts
from assembler.application.middleware import Application, Layers, scoped_stack, seal, seal_inside
from assembler.application.mount import SlashMount
from assembler.application.route_index import IndexReport, index_routes
from assembler.application.route_scope import RouteScope, ScopeRemainder
from assembler.diagnostics.errors import Diagnostic, raise_faults
from assembler.diagnostics.span import Span
from assembler.manifest.section import Section
from assembler.plan.component import Component, unfit
from assembler.plan.injection import resources_of_application, resources_of_routes
from assembler.plan.load import Plan
from assembler.runtime.instances import MISSING, Objects
from assembler.runtime.report import Assembly, LazyState


class AppBuilder:
    """The application of one manifest, and those of the manifests that are mounted in it.

    `prefix` is the path under which it answers, empty for the outermost.
    """

    def __init__(
        self,
        plan: Plan,
        objects: Objects,
        assembly: Assembly,
        app: Application,
        outer: "AppBuilder | None" = None,
    ) -> None:
        self.plan = plan
        self.app = app
        if outer is not None:
            app.dependency_overrides = outer.app.dependency_overrides  # tests reach all of them
            app.exception_handlers.clear()  # FastAPI's own, which the outer application has
        self.objects = objects
        self.assembly = app.state.assembly = assembly
        self.outer = outer
        self.prefix = ""
        self.mount: SlashMount | None = None  # under which the outer application has it
        self.inner: list[AppBuilder] = []
        self.mounts: list[tuple[Component, SlashMount]] = []
        self.scopes: list[tuple[Component, RouteScope]] = []
        self.index = IndexReport(active=False)
        self.has_console = False

    @property
    def everyone(self) -> "Iterator[AppBuilder]":
        """This application, then those inside it."""
        yield self
        for one in self.inner:
            yield from one.everyone

    def fill(self) -> None:
        """Put everything into the application that the manifest says, in its order."""
        self.fill_state()
        self.add_dependencies()
        self.add_handlers()
        self.layers = self.add_middleware()
        raise_faults(self.objects.faults)
        self.hand_over(self.plan.configure)
        self.add_routes()
        self.add_frontends()
        self.hand_over(self.plan.finish)

    def seal(self) -> None:
        """Build the stack, then those of scopes and of applications inside, and the index of routes."""
        if self.outer is None:
            seal(
                self.app,
                partial(self.note_layer, layers=self.layers),
                self.plan.secrets.scrub,
                raise_unhandled=self.plan.manifest.app.raise_unhandled,
            )
        else:
            names = {layer: component.id for layer, component in self.layers.items()}
            told = partial(self.note_layer, layers=self.layers)
            seal_inside(self.app, self.outer.app, told, names)
        self.close_scopes()
        for one in self.inner:
            one.seal()

    def index_routes(self) -> None:
        """Find routes by path, in the applications inside as well."""
        for one in self.everyone:
            one.index = index_routes(one.app)

    def hand_over(self, functions: Iterable[Component]) -> None:
        """Call functions with the app; one that takes nothing by position is called without."""
        for component in functions:
            function = component.target.value
            if not component.target.signature.lacks_place:
                function = partial(function, self.app)
            self.objects.call(component, function, "failed")

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

    def add_routes(self) -> None:
        for component in self.plan.routes:
            value = self.answering(component)
            if value is MISSING:
                continue
            routes = self.app.router.routes
            begun = len(routes)
            if component.role == "mount":
                mount = SlashMount(component.entry.mount, value, name=component.entry.name)
                routes.append(mount)
                self.keep_mount(component, mount)
            elif component.role == "endpoint":
                self.add_endpoint(component, value)
            else:
                self.include(component, value)
            for route in routes[begun:]:
                self.assembly.owners.setdefault(id(route), component.id)
            if component.scoped or component.entry.host is not None:
                self.enclose(component, begun)

    def answering(self, component: Component) -> Any:
        """Return what answers at an entry, or `MISSING`."""
        if component.inner is not None:
            return self.mounted(component).app
        if component.role == "mount" and component.entry.lazy:
            return self.lazy_mount(component)
        value = self.objects.made(component)
        if component.role == "mount" and component.called:  # what it asks for is known only now
            asked = resources_of_application(value)
            self.objects.faults += unfit(asked, self.objects.classes(), component.span)
        return value

    def mounted(self, component: Component) -> "AppBuilder":
        """Build the application of a manifest that is mounted."""
        app: Any = self.objects.apps[component.inner.home]
        inner = AppBuilder(component.inner, self.objects, self.assembly, app, self)
        inner.prefix = f"{self.prefix}{component.entry.mount.rstrip('/')}"
        self.inner.append(inner)
        inner.fill()
        return inner

    def keep_mount(self, component: Component, mount: SlashMount) -> None:
        if component.inner is not None:
            self.inner[-1].mount = mount
        else:
            self.mounts.append((component, mount))

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
            names = {layer: item.id for layer, item in layers.items()}
            if MISSING not in handlers.values():
                own = Layers(list(layers), names, told)
                scope.stack = scoped_stack(self.app, scope.router, own, handlers)
            if component.role == "router" and component.entry.prefix:
                remainder = ScopeRemainder(scope, component.entry.prefix)
                self.app.router.routes.append(remainder)

    def lazy_mount(self, component: Component) -> ASGIApp:
        from assembler.runtime.lazy_mount import LazyMount, maker  # noqa: PLC0415  # few manifests have one

        report = LazyState(f"{self.prefix}{component.id}", component.target.path)
        self.assembly.lazy[report.id] = report
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
        self.assembly.lazy_mounts[report.id] = mount
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
            self.assembly.consoles.append(f"{self.prefix}{component.entry.prefix}")
        try:
            prefix = component.entry.prefix
            said = self.said_of(component)
            for part in parts(router, prefix):
                if isinstance(part, APIRouter):
                    self.app.include_router(part, prefix=prefix, **said)
                else:
                    self.app.router.routes.append(part)
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

    def section(self, name: str) -> Span:
        """Where a section is named, or the start of the document where there is none."""
        root = self.plan.document.root
        if name in root.members:
            return root.members[name].key
        return root.span._replace(end_line=root.span.line, end_column=root.span.column + 1)


CONSOLE = "console"
"""What a router of pages for operators says of itself, by its attribute `layer_role`."""


def empty_application(plan: Plan) -> Application:
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
