"""The format, as frozen models: every section and key, with its type, default and description.

In: plain data. Out: a `Manifest`. The JSON Schema for editors is made from these models, so their
descriptions are the documentation of the format. Refuses what the format does not know.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from assembler.manifest.app import App, Server
from assembler.manifest.entry import Configure, Finish, Handler, Middleware, Resource, Route
from assembler.manifest.review import Audit, Expectation
from assembler.manifest.section import ImportPath, Section
from assembler.manifest.step import Background, LifespanFunction, Scheduler, Shutdown, Startup


def _version(value: Any) -> Any:
    if value != 1 or type(value) is not int:  # to Python, `true` and `1.0` are 1 as well
        raise ValueError("must be 1")
    return value


class Manifest(Section):
    """One environment, completely: what is built, in what order, with which parameters."""

    manifest: Annotated[Literal[1], BeforeValidator(_version)] = Field(
        description="The version of the format."
    )
    app: App = Field(App(), description="Facts about the application, as OpenAPI shows them.")
    settings: ImportPath | None = Field(
        None,
        description="A settings class, an object of one, or a function that gives one, for `${settings.field}` and `${settings}`.",
        examples=["shop.settings.Settings", "shop.settings.get_settings"],
    )
    logging: dict[str, Any] | None = Field(
        None, repr=False, description="A mapping for logging.config.dictConfig, as it is."
    )
    resources: dict[str, Resource] = Field(
        {},
        description="Objects with a life: made and opened top to bottom, closed bottom to top, `${resources.id}` elsewhere.",
    )
    lifespan: list[LifespanFunction] = Field(
        [],
        description="Existing lifespans, as FastAPI takes one: entered with the app, in order, once the resources are open, and left in reverse before these close. What they yield joins the state of requests. A path alone is an entry, too.",
        examples=[["shop.main.lifespan"]],
    )
    middleware: list[Middleware] = Field(
        [], description="The stack, the outermost first: a request travels it as one reads it."
    )
    exception_handlers: list[Handler] = Field(
        [], description="What answers exceptions and statuses of errors."
    )
    configure: list[Configure] = Field(
        [],
        description="Functions that are called with the app, in order, before the routes: it has the layers and handlers of the manifest.",
    )
    routes: list[Route] = Field([], description="Routers and mounts, matched top to bottom.")
    finish: list[Finish] = Field(
        [],
        description="Functions that are called with the app, in order, after the routes and before its stack is built: it has all of the manifest.",
    )
    startup: list[Startup] = Field(
        [], description="Steps of the start, top to bottom, after the resources are open."
    )
    scheduler: Scheduler = Field(Scheduler(), description="What runs by the clock.")
    background: list[Background] = Field(
        [], description="Async functions that run by themselves from the start to the stop."
    )
    shutdown: list[Shutdown] = Field(
        [], description="Functions that run at the end, top to bottom, before resources close."
    )
    server: Server = Field(
        Server(),
        description="Options of `assembler serve`: uvicorn's own, and those of the stop under any server.",
    )
    audit: Audit = Field(Audit(), description="What the audit of this manifest does not report.")
    expect: list[Expectation] = Field(
        [], description="Requests and what they must give; `assembler test` makes them."
    )
