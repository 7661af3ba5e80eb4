"""The entries that make the application: resources, layers, handlers, functions, routes.

In: plain data. Out: one model per entry; what stands under `with` is judged by what `use` names.
Refuses options of a router beside those of a mount.
"""

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, model_validator

from assembler.manifest.duration import Duration
from assembler.manifest.section import Catch, ImportPath, MountPath, OnError, Section, UrlPath


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
    timeout: Duration = Field(timedelta(seconds=30), description="Bounds the opening.")
    close_timeout: Duration = Field(timedelta(seconds=10), description="Bounds the closing.")

    @model_validator(mode="after")
    def _is_owned_or_left_alone(self) -> "Resource":
        for key in ("on_error", "timeout", "close_timeout"):
            if not self.owned and key in self.model_fields_set:
                raise ValueError(f"`{key}` has no effect: what is not owned is never opened")
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


class Route(Entry):
    """A router, or with `mount` an ASGI application under a path."""

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
    mount: MountPath | None = Field(
        None,
        description="Path under which `use` is an ASGI application of its own.",
        examples=["/mcp"],
    )
    lazy: bool = Field(
        False, description="Build the mounted application on its first request.", examples=[True]
    )
    warmup: bool = Field(
        False, description="Build a lazy mount in the background, after the start."
    )

    @model_validator(mode="after")
    def _is_router_or_mount(self) -> "Route":
        if self.mount is not None:
            for key in ("prefix", "tags", "dependencies"):
                if key in self.model_fields_set:
                    raise ValueError(
                        f"`{key}` is a router's; a mount takes `mount`, `use`, `with`, `lazy`, `warmup`"
                    )
        elif self.lazy or self.warmup:
            raise ValueError("`lazy` and `warmup` are a mount's: give it a `mount` path")
        if self.warmup and not self.lazy:
            raise ValueError("`warmup` needs `lazy: true`")
        return self
