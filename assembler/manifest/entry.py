"""The entries that make the application: resources, layers, handlers, functions, routes.

In: plain data. Out: one model per entry; what stands under `with` is judged by what `use` names.
Refuses keys of one kind of route beside those of another.
"""

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from assembler.manifest.duration import Duration
from assembler.manifest.section import (
    Catch,
    EndpointPath,
    ImportPath,
    Method,
    MountPath,
    OnError,
    Responses,
    Section,
    UrlPath,
)


class Entry(Section):
    """What every entry has: the code it names, its options, and its name."""

    id: str = Field(
        "",
        min_length=1,
        description="Names the entry for overlays, logs and reports; without it `use` does, for a handler its `catch`, for a mount its path, for a router `use` and prefix.",
        examples=["per-ip"],
    )
    use: ImportPath
    with_: dict[str, Any] = Field(
        {}, alias="with", repr=False, description="Keyword arguments of what `use` names."
    )


class Resource(Entry):
    """An object that is made when the app is built, opened at its start, closed at its end.

    Where `use` names an object itself, and there is no `with`, that one is the resource.
    """

    owned: bool = Field(
        True,
        description="Whether the application opens and closes it; `false` leaves that to its module.",
    )
    on_error: OnError = Field(
        "fail",
        description="What a failure to open does: `fail` ends the start, `degrade` serves while it is tried again and readiness says so, `warn` logs it and goes on.",
    )
    on_degraded: ImportPath | None = Field(
        None,
        description="A function that is told the state of a resource with `on_error: degrade` or `warn`, at the start and when it changes: `app`, `resource` (the id) and `reason` (why it is away, or None), as far as it takes them.",
        examples=["shop.state.set_cache_state"],
    )
    timeout: Duration = Field(timedelta(seconds=30), description="Bounds the opening.")
    close_timeout: Duration = Field(timedelta(seconds=10), description="Bounds the closing.")

    @model_validator(mode="after")
    def _is_owned_or_left_alone(self) -> "Resource":
        for key in ("on_error", "timeout", "close_timeout"):
            if not self.owned and key in self.model_fields_set:
                raise ValueError(f"`{key}` has no effect: what is not owned is never opened")
        if self.on_degraded is not None and self.on_error == "fail":
            raise ValueError("`on_degraded` needs `on_error: degrade` or `on_error: warn`")
        return self


class Middleware(Entry):
    """One layer of the stack; the first of the list is the outermost."""


class Handler(Entry):
    """Answers the exceptions of one class, or the errors of one status."""

    catch: Catch = Field(
        description="A status from 400 to 599, the path of an exception class, or the bare name of a built-in one.",
        examples=[401, "ValueError", "shop.errors.OutOfStock"],
    )


class Configure(Entry):
    """A function that is called with the app, in order, before the routes of the manifest."""


class Finish(Entry):
    """A function that is called with the app, in order, after the routes of the manifest."""


class Dependency(Section):
    """Run by FastAPI before each route of its entry."""

    use: ImportPath
    with_: dict[str, Any] = Field(
        {},
        alias="with",
        repr=False,
        description="Keyword arguments: `use` is called with them, and what it returns is the dependency.",
    )


_ROUTER = (
    *("use", "with", "prefix", "tags", "dependencies", "responses", "deprecated"),
    *("include_in_schema", "default_response_class"),
)
_SCOPE = ("host", "middleware", "exception_handlers")
KEYS_OF = {
    "mount": ("a mount", ("mount", "use", "with", "name", "lazy", "warmup", "owned", *_SCOPE)),
    "path": ("an endpoint", ("path", "methods", "name", *_ROUTER[:2], *_ROUTER[3:], *_SCOPE)),
    "manifest": ("a mounted manifest", ("mount", "manifest", "name", *_SCOPE)),
    "frontend": ("a frontend", ("frontend", "prefix")),
    "": ("a router", (*_ROUTER, *_SCOPE)),
}
"""What a route is by the key that says so, and the keys that it takes beside `id`."""
SWITCHES = {"lazy": False, "warmup": False, "owned": True}
"""Keys of a mount with a value that says nothing, and may stand at any route."""


class Route(Section):
    """A router, or with `mount` an ASGI application or a manifest under a path, with `path` one endpoint."""

    id: str = Field(
        "",
        min_length=1,
        description="Names the route for overlays, logs and reports; without it a mount's path does, an endpoint's methods and path, a router's `use` and prefix.",
        examples=["shop"],
    )
    use: ImportPath | None = Field(
        None,
        description="The router, the ASGI application of a mount, or the function of a `path`.",
    )
    with_: dict[str, Any] = Field(
        {}, alias="with", repr=False, description="Keyword arguments of what `use` names."
    )
    prefix: UrlPath | Literal[""] = Field(
        "", description="Path before each of the router's own.", examples=["/api/v1"]
    )
    tags: list[str] = Field(
        [], description="OpenAPI tags of each of the router's routes.", examples=[["listings"]]
    )
    dependencies: list[ImportPath | Dependency] = Field(
        [],
        description="Run by FastAPI before each of the router's routes: paths, or `{use, with}`.",
        examples=[["shop.auth.signed_in"]],
    )
    responses: Responses | None = Field(
        None,
        description="Responses of each route in the OpenAPI document, by status; `model` is the path of a class.",
        examples=[{"404": {"description": "There is no such listing"}}],
    )
    deprecated: bool | None = Field(
        None, description="Mark each route as deprecated in the OpenAPI document."
    )
    include_in_schema: bool = Field(True, description="Show the routes in the OpenAPI document.")
    default_response_class: ImportPath | None = Field(
        None,
        description="The class of responses where a route names none.",
        examples=["fastapi.responses.HTMLResponse"],
    )
    mount: MountPath | None = Field(
        None,
        description="Path under which `use` is an ASGI application of its own.",
        examples=["/mcp"],
    )
    manifest: str | None = Field(
        None,
        min_length=1,
        description="Another manifest, relative to this one, which makes the application of `mount`: it has layers, handlers, settings and routes of its own. What it opens and runs is opened and run with the rest; it may name the resources of this manifest.",
        examples=["api.yaml"],
    )
    name: str | None = Field(
        None,
        min_length=1,
        description="What `url_for` calls a mount or an endpoint.",
        examples=["static"],
    )
    lazy: bool = Field(
        False, description="Build the mounted application on its first request.", examples=[True]
    )
    warmup: bool = Field(
        False, description="Build a lazy mount in the background, after the start."
    )
    owned: bool = Field(
        True,
        description="Whether the lifespan of a mount is run here; `false` leaves that to who runs it already, such as a lifespan that enters it.",
    )
    path: EndpointPath | None = Field(
        None,
        description="Path of a single endpoint: `use` is the function that answers there.",
        examples=["/version"],
    )
    methods: list[Method] | None = Field(
        None,
        min_length=1,
        description="Methods of the endpoint, GET unless given; WEBSOCKET alone for a websocket.",
        examples=[["GET"]],
    )
    frontend: str | None = Field(
        None,
        min_length=1,
        description="A folder with an index, relative to this manifest, for what no route answers below `prefix`: the files of a single-page app.",
        examples=["web/dist"],
    )

    host: str | None = Field(
        None,
        min_length=1,
        description="A pattern of the Host header, without a port: for other hosts the route is not there.",
        examples=["api.example.com", "{tenant}.example.com"],
    )
    middleware: list[Middleware] = Field(
        [],
        description="Layers of this route alone, inside those of the application, the outermost first. A 404 or 405 below its path passes them too.",
    )
    exception_handlers: list[Handler] = Field(
        [],
        description="Handlers of this route alone; what they do not catch goes to those of the application.",
    )

    @model_validator(mode="after")
    def _has_keys_of_its_kind(self) -> "Route":
        kinds = ("manifest", "mount", "path", "frontend")
        given = [key for key in kinds if getattr(self, key) is not None]
        kind, allowed = KEYS_OF[given[0] if given else ""]
        for name in sorted(self.model_fields_set - {"id"}, key=list(Route.model_fields).index):
            key = "with" if name == "with_" else name
            says_nothing = key in SWITCHES and getattr(self, name) is SWITCHES[key]
            if key not in allowed and not says_nothing and getattr(self, name) is not None:
                takes = ", ".join(f"`{each}`" for each in allowed)
                raise ValueError(f"`{key}` is no key of {kind}, which takes {takes}")
        if self.manifest is not None and self.mount is None:
            raise ValueError("`manifest` needs `mount`, the path under which it answers")
        if self.use is None and given[:1] not in (["frontend"], ["manifest"]):
            raise ValueError("takes `use`, or `frontend`")
        if self.warmup and not self.lazy:
            raise ValueError("`warmup` needs `lazy: true`")
        if self.lazy and not self.owned:
            raise ValueError(
                "`owned: false` is for no lazy mount: nobody else could run its lifespan"
            )
        if len(self.methods or ()) > 1 and "WEBSOCKET" in (self.methods or ()):
            raise ValueError("`methods` has WEBSOCKET, which stands alone")
        return self
