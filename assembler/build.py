"""Plan → FastAPI application, sealed.

In: a `Plan`, and objects that stand for its resources. Out: a FastAPI application whose middleware
stack is built, so that a constructor that fails shows now, with the manifest's line. Refuses, as a
`ManifestError`, whatever a constructor, a factory or a `configure` function raises, and resources
that are not of the type that an option declares. Opens nothing: that is the lifespan's.
"""

import logging.config
from collections.abc import Callable, Mapping
from typing import Any, cast

from fastapi import APIRouter, Depends, FastAPI
from starlette.middleware import Middleware

from assembler.component import Component
from assembler.dispatch import index_routes
from assembler.errors import Diagnostic, ManifestError, UsageError, raise_faults
from assembler.guard import Guard
from assembler.lifespan import (
    Lifespan,
    LifespanProtocol,
    MountedLifespan,
    Opening,
    Running,
    resource_opening,
)
from assembler.mount import SlashMount
from assembler.plan import Plan
from assembler.report import Assembly
from assembler.resolve import failure_of, frame_of
from assembler.source import locate
from assembler.task import call

_MISSING = object()


def build(plan: Plan, resources: Mapping[str, Any] | None = None) -> FastAPI:
    """Build the application of `plan`.

    `resources` replace those of the plan by id; they stay the caller's, so the application neither
    opens nor closes them. Raises `ManifestError` (`build-failed`, `bad-value`, `not-supported`)
    where something that the manifest names cannot be made, `UsageError` for an id that the
    manifest does not have.
    """
    return _Builder(plan, dict(resources or {})).app


class _Builder:
    def __init__(self, plan: Plan, given: dict[str, Any]) -> None:
        self.plan = plan
        self.faults: list[Diagnostic] = []
        self.objects: dict[str, Any] = {}
        self.refuse_unsupported()
        self.configure_logging()
        self.app = self.application()
        self.assembly = Assembly(plan.name, plan.hash)
        self.app.state.assembly = self.assembly
        self.resources = self.make_resources(given)
        self.add_handlers()
        middleware = [self.layer(component) for component in plan.middleware]
        raise_faults(self.faults)
        self.app.user_middleware[:] = middleware
        for component in plan.configure:
            self.configure(component)
        self.mounts = self.add_routes()
        raise_faults(self.faults)
        self.seal()
        self.assembly.dispatch = self.index()
        self.app.router.lifespan = self.lifespan()  # type: ignore[method-assign]  # the protocol, whole

    def refuse_unsupported(self) -> None:
        manifest = self.plan.manifest
        root = self.plan.document.root
        for index, step in enumerate(manifest.startup):
            if step.sql is not None:
                self.unsupported(("startup", index), "startup SQL")
        if manifest.scheduler.enabled:
            for index in range(len(manifest.scheduler.jobs)):
                self.unsupported(("scheduler", "jobs", index), "scheduler jobs")
        for index, route in enumerate(manifest.routes):
            if route.lazy:
                self.unsupported(("routes", index), "lazy mounts")
        raise_faults(self.faults)
        del root

    def unsupported(self, path: tuple[str | int, ...], what: str) -> None:
        node, _ = locate(self.plan.document.root, path)
        span = node.span
        span = span._replace(end_line=span.line, end_column=len(span.file.lines[span.line - 1]) + 1)
        self.faults.append(Diagnostic("not-supported", f"this version cannot run {what} yet", span))

    def configure_logging(self) -> None:
        if self.plan.logging is None:
            return
        try:
            logging.config.dictConfig(self.plan.logging)
        except Exception as error:
            key = self.plan.document.root.members["logging"].key
            raise ManifestError((self.failed("`logging` is refused", error, key),)) from None

    def application(self) -> FastAPI:
        facts = self.plan.manifest.app
        docs = facts.openapi.docs
        return FastAPI(
            title=facts.title,
            version=facts.version,
            summary=facts.summary,
            description=facts.description,
            terms_of_service=facts.terms_of_service,
            contact=facts.contact,
            license_info=facts.license,
            servers=facts.servers,
            root_path=facts.root_path,
            openapi_url=facts.openapi.path,
            docs_url=facts.openapi.docs,
            swagger_ui_oauth2_redirect_url=docs and f"{docs}/oauth2-redirect",
            redoc_url=facts.openapi.redoc,
            openapi_tags=[tag.model_dump(by_alias=True, exclude_none=True) for tag in facts.tags]
            or None,
        )

    def make_resources(self, given: dict[str, Any]) -> list[Opening]:
        known = {component.id for component in self.plan.resources}
        unknown = sorted(set(given) - known)
        if unknown:
            raise UsageError(f"`{self.plan.name}` has no resource `{unknown[0]}` to replace")
        openings = []
        for component in self.plan.resources:
            if component.id in given:
                self.objects[component.id] = given[component.id]
                continue
            value = self.make(component)
            if value is not _MISSING:
                self.objects[component.id] = value
                openings.append(resource_opening(component, value))
        return openings

    def add_handlers(self) -> None:
        for component in self.plan.handlers:
            handler = self.made(component)
            if handler is not _MISSING:
                self.app.add_exception_handler(component.caught, handler)

    def layer(self, component: Component) -> Middleware:
        arguments = self.arguments(component)
        return _Layer(self, component, arguments or {})

    def configure(self, component: Component) -> None:
        arguments = self.arguments(component)
        if arguments is None:
            return
        try:
            component.target.value(self.app, **arguments)
        except Exception as error:  # noqa: BLE001  # user code may raise anything
            self.faults.append(
                self.failed(f"`{component.target.name}` failed", error, component.span)
            )

    def add_routes(self) -> list[tuple[Component, SlashMount]]:
        mounts = []
        for component in self.plan.routes:
            value = self.made(component)
            if value is _MISSING:
                continue
            if component.role == "mount":
                mount = SlashMount(component.entry.mount, value)
                self.app.router.routes.append(mount)
                mounts.append((component, mount))
            else:
                self.include(component, value)
            owned = self.app.router.routes[-1]
            self.assembly.owners.setdefault(id(owned), component.id)
        return mounts

    def include(self, component: Component, router: Any) -> None:
        if not isinstance(router, APIRouter):
            message = (
                f"`{component.target.path}` gives a {type(router).__name__}, not a FastAPI router"
            )
            remedy = "an ASGI application is mounted: `{mount: /path, use: …}`"
            self.faults.append(Diagnostic("not-callable", message, component.span, help=remedy))
            return
        dependencies = [Depends(self.made(item)) for item in component.dependencies]
        try:
            self.app.include_router(
                router,
                prefix=component.entry.prefix,
                tags=list(component.entry.tags) or None,
                dependencies=dependencies or None,
            )
        except Exception as error:  # noqa: BLE001  # FastAPI asserts on odd routers
            message = f"`{component.target.name}` cannot be included"
            self.faults.append(self.failed(message, error, component.span))

    def seal(self) -> None:
        """Build the stack now, with a guard inside each layer and one outside all of them."""
        app = self.app
        handlers: dict[Any, Callable[..., Any]] = dict(app.exception_handlers)
        layers = list(app.user_middleware)
        stack = [Middleware(cast("Any", Guard), handlers=handlers, watches=True)]
        for position, layer in enumerate(layers, start=1):
            watches = position == len(layers)
            stack += [layer, Middleware(cast("Any", Guard), handlers=handlers, watches=watches)]
        app.user_middleware[:] = stack
        try:
            app.middleware_stack = app.build_middleware_stack()
        except ManifestError:
            raise
        except Exception as error:
            span = self.plan.document.root.span
            span = span._replace(end_line=span.line, end_column=span.column + 1)
            raise ManifestError(
                (self.failed("the middleware stack cannot be built", error, span),)
            ) from None
        finally:
            app.user_middleware[:] = layers

    def index(self) -> str:
        report = index_routes(self.app)
        return "indexed" if report.active else f"FastAPI's own: {report.reason}"

    def lifespan(self) -> LifespanProtocol:
        state = dict(self.objects)
        inner = self.inner_lifespans(state)
        lifespan = Lifespan(
            plan=self.plan,
            assembly=self.assembly,
            resources=self.resources,
            startup=[self.running(item) for item in self.plan.startup],
            inner=[opening for opening, _ in inner],
            shutdown=[self.running(item) for item in self.plan.shutdown],
        )
        router_state = inner[0][1] if inner and inner[0][0].phase == "router" else dict
        return LifespanProtocol(lifespan, state, router_state)

    def inner_lifespans(
        self, state: dict[str, Any]
    ) -> list[tuple[Opening, Callable[[], dict[str, Any]]]]:
        """The lifespans of included routers, which FastAPI has merged to one, and of the mounts."""
        routers = _RouterLifespans(self.app)
        root = self.plan.document.root
        place = root.members["routes"].key if "routes" in root.members else root.span
        openings: list[tuple[Opening, Callable[[], dict[str, Any]]]] = [
            (
                Opening("routers", "router", routers.open, routers.aclose, place),
                lambda: routers.state,
            )
        ]
        for component, mount in self.mounts:
            mounted = MountedLifespan(mount.app, state)

            async def enter(mount: SlashMount = mount, mounted: MountedLifespan = mounted) -> None:
                await mounted.open()
                mount.state = mounted.state

            opening = Opening(component.id, "mount", enter, mounted.aclose, component.span)
            openings.append((opening, dict))
        return openings

    def running(self, component: Component) -> Running:
        arguments = self.arguments(component) or {}
        entry = component.entry

        async def run() -> None:
            await call(component.target.value, **arguments)

        phase = "startup" if component.role == "startup" else "shutdown"
        on_error = getattr(entry, "on_error", "fail")
        return Running(component.id, phase, run, component.span, entry.timeout, on_error)  # type: ignore[arg-type]  # one of two words

    def made(self, component: Component) -> Any:
        return self.make(component) if component.called else component.target.value

    def make(self, component: Component) -> Any:
        """Call what the entry names; a failure is noted with the entry's line."""
        arguments = self.arguments(component)
        if arguments is None:
            return _MISSING
        try:
            return component.target.value(**arguments)
        except Exception as error:  # noqa: BLE001  # user code may raise anything
            message = f"`{component.target.name}` could not be made"
            self.faults.append(self.failed(message, error, component.span))
            return _MISSING

    def arguments(self, component: Component) -> dict[str, Any] | None:
        """Put objects into the options; None where one of them could not be made."""
        options = component.options
        if not options.names <= self.objects.keys():
            return None
        arguments, faults = options.arguments(self.objects)
        if faults:
            node, _ = locate(component.node, ("with", *faults[0].path))
            name = ".".join(str(part) for part in faults[0].path)
            message = f"`{name}` of `{component.target.name}` {faults[0].reason}"
            self.faults.append(Diagnostic("bad-value", self.plan.secrets.scrub(message), node.span))
            return None
        takes_app = (
            "app" in component.target.signature.parameters and component.role != "middleware"
        )
        if takes_app and component.called and "app" not in arguments:
            arguments["app"] = self.app
        return arguments

    def failed(self, what: str, error: BaseException, span: Any) -> Diagnostic:
        scrub = self.plan.secrets.scrub
        trace = tuple(scrub(line) for line in frame_of(error))
        return Diagnostic("build-failed", f"{what}: {scrub(failure_of(error))}", span, trace=trace)


class _Layer(Middleware):
    """A `Middleware` that tells the manifest's line when its constructor raises."""

    def __init__(self, builder: _Builder, component: Component, arguments: dict[str, Any]) -> None:
        super().__init__(component.target.value, **arguments)
        self._builder = builder
        self._component = component

    def __iter__(self) -> Any:
        return iter((self._make, self.args, self.kwargs))

    def _make(self, app: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return self.cls(app, *args, **kwargs)
        except Exception as error:
            message = f"`{self._component.target.name}` could not be made"
            fault = self._builder.failed(message, error, self._component.span)
            raise ManifestError((fault,)) from None


class _RouterLifespans:
    """The lifespan context that FastAPI merged from all included routers."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.state: dict[str, Any] = {}

    async def open(self) -> None:
        """Enter it; what it yields goes onto the state."""
        self._context = self.app.router.lifespan_context(self.app)
        self.state = dict(await self._context.__aenter__() or {})

    async def aclose(self) -> None:
        """Leave it, in the task that entered."""
        await self._context.__aexit__(None, None, None)
