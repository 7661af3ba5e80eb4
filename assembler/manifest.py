"""The format, as frozen models: every section and key, with its type, default and description.

In: plain data. Out: a `Manifest`; what stands under `with` stays as data, for only the callable
that `use` names knows its types. The JSON Schema for editors is made from these models, so their
descriptions are the documentation of the format. Refuses what the format does not know.
"""

import re
from datetime import date, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from assembler.values import Duration

_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:[^\W\d]\w*(\.[^\W\d]\w*)*)?\Z")
_BUILT_IN = re.compile(r"[^\W\d]\w*\Z")
_RESOURCE = re.compile(r"\$\{resources\.\w+\}\Z")
_NO_DURATION_YET = timedelta(seconds=30)


def _resource(value: Any) -> Any:
    if isinstance(value, str) and not _RESOURCE.match(value):
        raise ValueError("must be a reference such as `${resources.db}`")
    return value


def _version(value: Any) -> Any:
    if value != 1 or type(value) is not int:  # to Python, `true` and `1.0` are 1 as well
        raise ValueError("must be 1")
    return value


def _import_path(value: Any) -> Any:
    if not isinstance(value, str) or "${" in value:  # the stage of references refuses these
        return value
    if not (_PATH.match(value) and ("." in value or ":" in value)):
        raise ValueError(
            f"`{value}` is no import path: write `package.module.Name` or `package.module:Name`"
        )
    return value


def _catch(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("takes an HTTP status or the path of an exception class")  # noqa: TRY004  # pydantic wants it
    if isinstance(value, int) and not 400 <= value <= 599:
        raise ValueError(f"{value} is no status of an error: use 400 to 599")
    if not isinstance(value, str) or "${" in value:
        return value
    if not (_PATH.match(value) or _BUILT_IN.match(value)):
        raise ValueError(f"`{value}` is neither an HTTP status nor the path of an exception class")
    return value


def _url_path(value: Any) -> Any:
    if isinstance(value, str) and (not value.startswith("/") or value.endswith("/")):
        raise ValueError(f"`{value}` must start with `/` and not end with it")
    return value


def _mount_path(value: Any) -> Any:
    return value if value == "/" else _url_path(value)


ImportPath = Annotated[
    str,
    BeforeValidator(_import_path),
    Field(
        description="A dotted import path: `package.module.Name` or `package.module:Name`.",
        json_schema_extra={"pattern": r"^[^\W\d]\w*([.:][^\W\d]\w*)+$"},
    ),
]
UrlPath = Annotated[
    str, BeforeValidator(_url_path), Field(json_schema_extra={"pattern": "^/.*[^/]$"})
]
MountPath = Annotated[
    str, BeforeValidator(_mount_path), Field(json_schema_extra={"pattern": "^/(.*[^/])?$"})
]
ResourceText = Annotated[
    str,
    BeforeValidator(_resource),
    Field(json_schema_extra={"pattern": r"^\$\{resources\.\w+\}$"}),
]
OnError = Literal["fail", "degrade", "warn"]


class Section(BaseModel):
    """Base of every part of the format: nothing unknown, nothing changed after it was read."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_by_name=True, validate_by_alias=True
    )


class OpenAPI(Section):
    """Where the API describes itself; a path of null is off."""

    path: str | None = Field("/openapi.json", description="Path of the OpenAPI document.")
    docs: str | None = Field("/docs", description="Path of Swagger UI.")
    redoc: str | None = Field("/redoc", description="Path of ReDoc.")


class Tag(Section):
    """One tag of the OpenAPI document."""

    name: str = Field(description="The tag, as routes name it.", examples=["listings"])
    description: str | None = Field(None, description="What its routes have in common; Markdown.")
    external_docs: dict[str, str] | None = Field(
        None,
        alias="externalDocs",
        description="Further reading: `url`, and its `description`.",
        examples=[{"url": "https://docs.example.com"}],
    )


class App(Section):
    """Facts about the application, as OpenAPI shows them."""

    title: str = Field("FastAPI", description="The name of the API.", examples=["Shop API"])
    version: str = Field(
        "0.1.0", description="The version of the API, not of the format.", examples=["1.4.0"]
    )
    summary: str | None = Field(None, description="One line about the API.")
    description: str = Field("", description="About the API; Markdown.")
    terms_of_service: str | None = Field(None, description="URL of the terms.")
    contact: dict[str, str] | None = Field(
        None,
        description="Who to ask: `name`, `url`, `email`.",
        examples=[{"name": "Support", "email": "support@example.com"}],
    )
    license: dict[str, str] | None = Field(
        None,
        description="`name` of the licence, and its `url` or `identifier`.",
        examples=[{"name": "MIT", "identifier": "MIT"}],
    )
    servers: list[dict[str, Any]] | None = Field(
        None,
        description="Where the API is served: `url` and `description` of each.",
        examples=[[{"url": "https://api.example.com"}]],
    )
    root_path: str = Field(
        "", description="The path that a proxy in front strips.", examples=["/api"]
    )
    openapi: OpenAPI = Field(OpenAPI(), description="Where the API describes itself.")
    tags: list[Tag] = Field([], description="Tags in the order of the documentation.")


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
    """An object that is made when the app is built, opened at its start, closed at its end."""

    on_error: OnError = Field(
        "fail",
        description="What a failure to open does: `fail` ends the start, `degrade` serves while it is tried again and readiness says so, `warn` logs it and goes on.",
    )
    timeout: Duration = Field(_NO_DURATION_YET, description="Bounds the opening.")
    close_timeout: Duration = Field(timedelta(seconds=10), description="Bounds the closing.")


class Middleware(Entry):
    """One layer of the stack; the first of the list is the outermost."""


class Handler(Entry):
    """Answers the exceptions of one class, or the errors of one status."""

    catch: Annotated[int | str, BeforeValidator(_catch)] = Field(
        description="A status from 400 to 599, the path of an exception class, or the bare name of a built-in one.",
        examples=[401, "ValueError", "shop.errors.OutOfStock"],
    )


class Configure(Entry):
    """A function that is called with the app, in order, before it is sealed."""


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
    lazy: bool = Field(False, description="Build the mounted application on its first request.")
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


class Statement(Section):
    """One SQL statement, as text or as a file relative to the manifest that says it."""

    label: str = Field(
        description="Names the statement in logs and reports.",
        examples=["listing_kind + floor_plan"],
    )
    run: str | None = Field(
        None,
        description="The statement itself; no references are resolved in it.",
        examples=["CREATE INDEX CONCURRENTLY IF NOT EXISTS listing_price ON listing (price)"],
    )
    file: str | None = Field(
        None,
        description="A file with the statement, relative to this manifest.",
        examples=["sql/listing_price.sql"],
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> "Statement":
        if (self.run is None) == (self.file is None):
            raise ValueError("takes either `run` or `file`")
        return self


class Startup(Section):
    """One step of the start, after the resources are open: a function, or SQL."""

    id: str = Field(
        "",
        min_length=1,
        description="Names the step for overlays, logs and reports; without it `use` does.",
        examples=["seed"],
    )
    use: ImportPath | None = Field(None, description="The function that is the step.")
    with_: dict[str, Any] = Field(
        {}, alias="with", repr=False, description="Keyword arguments of what `use` names."
    )
    on_error: OnError = Field(
        "fail",
        description="What a failure does: `fail` ends the start, `degrade` serves and readiness says so, `warn` logs it and goes on.",
    )
    timeout: Duration = Field(_NO_DURATION_YET, description="Bounds the step.")
    sql: list[Statement] | None = Field(
        None,
        description="Statements in order, each its own transaction, applied once over all replicas.",
    )
    database: ResourceText | None = Field(
        None, description="The engine that runs `sql`.", examples=["${resources.db}"]
    )
    dialect: str | None = Field(
        None, description="Run only on this dialect of SQL.", examples=["postgresql"]
    )
    lock_timeout: Duration = Field(
        timedelta(seconds=1), description="Longest wait of a statement for a lock."
    )
    statement_timeout: Duration = Field(
        timedelta(seconds=30), description="Longest run of a statement."
    )
    always: bool = Field(False, description="Run at every start, not once.")

    @model_validator(mode="after")
    def _is_function_or_sql(self) -> "Startup":
        if (self.use is None) == (self.sql is None):
            raise ValueError("a step takes either `use` or `sql`")
        only_sql = {"database", "dialect", "lock_timeout", "statement_timeout", "always"}
        if self.sql is None and (extra := sorted(only_sql & self.model_fields_set)):
            raise ValueError(f"`{extra[0]}` is for a step with `sql`")
        if self.sql is not None and self.database is None:
            raise ValueError(
                "a step with `sql` takes `database`, a reference such as `${resources.db}`"
            )
        if self.sql is not None and "with_" in self.model_fields_set:
            raise ValueError("`with` is for a step with `use`")
        return self


class Job(Entry):
    """A function that runs by the clock."""

    cron: str | None = Field(
        None,
        description="A crontab line, a field for seconds in front if need be; Sunday is 0 and 7, names work.",
        examples=["*/5 * * * *", "0 9 * * MON-FRI"],
    )
    every: Duration | None = Field(
        None,
        description="An interval, anchored to the epoch, in place of `cron`.",
        examples=["30s"],
    )
    timezone: str | None = Field(
        None,
        description="Where the clock of `cron` stands; without it the scheduler's.",
        examples=["Asia/Kolkata"],
    )
    timeout: Duration | None = Field(
        None, description="Ends a run that takes longer.", examples=["2m"]
    )
    grace: Duration = Field(timedelta(seconds=60), description="How late a tick may still run.")
    jitter: Duration | None = Field(
        None, description="Delays each run by a random time up to this.", examples=["10s"]
    )
    overlap: Literal["forbid", "allow", "replace"] = Field(
        "forbid",
        description="What a tick does while the last run goes on: `forbid` skips it, `allow` runs beside it, `replace` ends the last run.",
    )
    on_crash: Literal["skip", "rerun"] = Field(
        "skip",
        description="What becomes of a run whose process died: `skip` leaves it, `rerun` runs it again.",
    )

    @model_validator(mode="after")
    def _has_one_clock(self) -> "Job":
        if (self.cron is None) == (self.every is None):
            raise ValueError("a job takes either `cron` or `every`")
        return self


class Scheduler(Section):
    """The jobs, and where their claims are kept."""

    enabled: bool = Field(True, description="Whether this process runs jobs.")
    timezone: str = Field(
        "UTC", description="Where the clock of `cron` stands.", examples=["Asia/Kolkata"]
    )
    store: ResourceText | None = Field(
        None,
        description="Where claims are kept, so that a tick runs once over all processes: an engine or cache.",
        examples=["${resources.db}"],
    )
    jobs: list[Job] = Field([], description="What runs by the clock.")


class Shutdown(Entry):
    """A function that runs at the end, before the resources are closed."""

    timeout: Duration = Field(
        timedelta(seconds=10), description="Bounds the function; the others run whatever it does."
    )


class Server(Section):
    """Options of `assembler serve`: uvicorn's own, and `drain`."""

    model_config = ConfigDict(extra="allow")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=1024, description="Processes.")
    timeout_graceful_shutdown: int | None = Field(
        None, ge=0, description="Seconds that open requests have to end.", examples=[10]
    )
    drain: Duration | None = Field(
        None,
        description="How long to serve on after SIGTERM, while readiness says no.",
        examples=["5s"],
    )


class Suppression(Section):
    """Silences one rule of `audit`."""

    rule: str = Field(description="The rule, as `audit` names it.")
    reason: str = Field(min_length=1, description="Why it does not hold here.")
    until: date = Field(description="The last day of it.", examples=["2027-01-31"])


class Audit(Section):
    """What the audit of this manifest does not report."""

    suppress: list[Suppression] = Field([], description="Rules that are silent for a while.")


class Expectation(Section):
    """What a request to the assembled app must give."""

    request: Annotated[
        str,
        Field(
            pattern=r"^[A-Z]+ /\S*$", description="Method and path.", examples=["GET /health/live"]
        ),
    ]
    headers: dict[str, str] = Field({}, description="Headers of the request.")
    status: int | None = Field(
        None, ge=100, le=599, description="Status of the answer.", examples=[200]
    )
    response_headers: dict[str, str] = Field({}, description="Headers that the answer has.")
    route: str | None = Field(None, description="Id of the entry that answers.")
    passes: list[str] | None = Field(
        None, description="Ids of the middleware that the request passes."
    )


class Manifest(Section):
    """One environment, completely: what is built, in what order, with which parameters."""

    manifest: Annotated[Literal[1], BeforeValidator(_version)] = Field(
        description="The version of the format."
    )
    app: App = Field(App(), description="Facts about the application, as OpenAPI shows them.")
    settings: ImportPath | None = Field(
        None,
        description="A settings class, for `${settings.field}`.",
        examples=["shop.settings.Settings"],
    )
    logging: dict[str, Any] | None = Field(
        None, repr=False, description="A mapping for logging.config.dictConfig, as it is."
    )
    resources: dict[str, Resource] = Field(
        {},
        description="Objects with a life: made and opened top to bottom, closed bottom to top, `${resources.id}` elsewhere.",
    )
    middleware: list[Middleware] = Field(
        [], description="The stack, the outermost first: a request travels it as one reads it."
    )
    exception_handlers: list[Handler] = Field(
        [], description="What answers exceptions and statuses of errors."
    )
    configure: list[Configure] = Field(
        [], description="Functions that are called with the app, in order, before it is sealed."
    )
    routes: list[Route] = Field([], description="Routers and mounts, matched top to bottom.")
    startup: list[Startup] = Field(
        [], description="Steps of the start, top to bottom, after the resources are open."
    )
    scheduler: Scheduler = Field(Scheduler(), description="What runs by the clock.")
    shutdown: list[Shutdown] = Field(
        [], description="Functions that run at the end, top to bottom, before resources close."
    )
    server: Server = Field(
        Server(), description="Options of `assembler serve`: uvicorn's own, and `drain`."
    )
    audit: Audit = Field(Audit(), description="What the audit of this manifest does not report.")
    expect: list[Expectation] = Field(
        [], description="Requests and what they must give; `assembler test` makes them."
    )
