"""The sections about the application as a whole: what OpenAPI shows, and the server's options.

In: plain data. Out: `App` and `Server`. Refuses keys that are not theirs; what `Server` takes beside
its own is uvicorn's to judge.
"""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal

from pydantic import ConfigDict, Field

from assembler.manifest.duration import Duration
from assembler.manifest.entry import Dependency
from assembler.manifest.section import ImportPath, Responses, Section, UrlPath

OTHER_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "openapi_url": "app: {openapi: {path: …}}",
        "docs_url": "app: {openapi: {docs: …}}",
        "redoc_url": "app: {openapi: {redoc: …}}",
        "openapi_tags": "app: {tags: …}",
        "license_info": "app: {license: …}",
        "openapi_prefix": "app: {root_path: …}",
        "on_startup": "startup: [{use: …}]",
        "on_shutdown": "shutdown: [{use: …}]",
        "on_event": "startup: [{use: …}]",
        "middleware": "middleware: [{use: …}]",
        "add_middleware": "middleware: [{use: …}]",
        "exception_handlers": "exception_handlers: [{catch: …, use: …}]",
        "add_exception_handler": "exception_handlers: [{catch: …, use: …}]",
        "routes": "routes: [{use: …}]",
        "include_router": "routes: [{use: …, prefix: …}]",
        "add_api_route": "routes: [{path: …, use: …}]",
        "mount": "routes: [{mount: …, use: …}]",
        "lifespan": "lifespan: […]",
    }
)
"""FastAPI's words for what the format has under another key, each as the format writes it."""


def other_word(name: str, *, in_app: bool) -> str | None:
    """Return the help for a key that is FastAPI's word, or a key of `app` outside of it."""
    written = OTHER_WORDS.get(name)
    if written is None:
        return f"write it as `app: {{{name}: …}}`" if name in App.model_fields else None
    if in_app and written.startswith("app: "):
        return f"write it as `{written[6:-1]}`"
    return f"write it as the section `{written}`" if in_app else f"write it as `{written}`"


class OpenAPI(Section):
    """Where the API describes itself; a path of null is off."""

    path: UrlPath | None = Field("/openapi.json", description="Path of the OpenAPI document.")
    docs: UrlPath | None = Field("/docs", description="Path of Swagger UI.")
    redoc: UrlPath | None = Field("/redoc", description="Path of ReDoc.")
    extend: bool = Field(
        True,
        description="Add to FastAPI's document what layers, handlers and dependencies say that they "
        "answer and ask for.",
    )


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


class Contact(Section):
    """Who to ask."""

    name: str | None = Field(None, description="Who they are.")
    url: str | None = Field(None, description="Where to find them.")
    email: str | None = Field(
        None,
        pattern=r"^[^@\s]+@[^@\s]+$",
        description="An e-mail address.",
        examples=["support@example.com"],
    )


class License(Section):
    """Under which terms the API is offered."""

    name: str = Field(description="Name of the licence.", examples=["MIT"])
    identifier: str | None = Field(None, description="Its SPDX expression.")
    url: str | None = Field(None, description="Where its text stands.")


class ApiServer(Section):
    """One address of the API."""

    url: str = Field(description="Its URL.", examples=["https://api.example.com"])
    description: str | None = Field(None, description="What it is for.")
    variables: dict[str, dict[str, Any]] | None = Field(None, description="Parts of the URL.")


class App(Section):
    """Facts about the application, as OpenAPI shows them, and options of FastAPI's constructor."""

    model_config = ConfigDict(extra="allow")  # what else FastAPI takes is its signature's to judge

    title: str = Field("FastAPI", description="The name of the API.", examples=["Shop API"])
    version: str = Field(
        "0.1.0", description="The version of the API, not of the format.", examples=["1.4.0"]
    )
    summary: str | None = Field(None, description="One line about the API.")
    description: str = Field("", description="About the API; Markdown.")
    terms_of_service: str | None = Field(None, description="URL of the terms.")
    contact: Contact | None = Field(
        None,
        description="Who to ask.",
        examples=[{"name": "Support", "email": "support@example.com"}],
    )
    license: License | None = Field(
        None,
        description="Name of the licence, and its `url` or `identifier`.",
        examples=[{"name": "MIT", "identifier": "MIT"}],
    )
    servers: list[ApiServer] | None = Field(
        None,
        description="Where the API is served: `url` and `description` of each.",
        examples=[[{"url": "https://api.example.com"}]],
    )
    root_path: UrlPath | Literal[""] = Field(
        "", description="The path that a proxy in front strips.", examples=["/api"]
    )
    openapi: OpenAPI = Field(OpenAPI(), description="Where the API describes itself.")
    tags: list[Tag] | None = Field([], description="Tags in the order of the documentation.")
    state: dict[str, Any] = Field(
        {},
        repr=False,
        description="What `app.state` has from the beginning; a resource as `${resources.id}`.",
        examples=[{"limiter": "${resources.limiter}"}],
    )
    dependencies: list[ImportPath | Dependency] = Field(
        [],
        description="Run by FastAPI before every route of the app: paths, or `{use, with}`.",
        examples=[["shop.auth.signed_in"]],
    )
    default_response_class: ImportPath | None = Field(
        None,
        description="The class of responses where a route names none.",
        examples=["fastapi.responses.ORJSONResponse"],
    )
    generate_unique_id_function: ImportPath | None = Field(
        None,
        description="A function that is called with each route and gives its operation ID.",
        examples=["shop.openapi.operation_id"],
    )
    responses: Responses | None = Field(
        None,
        description="Responses of every route in the OpenAPI document, by status; `model` is the path of a class.",
        examples=[{"401": {"description": "Nobody is signed in"}}],
    )
    callbacks: list[ImportPath] | None = Field(
        None,
        description="Routers, or lists of routes, that every operation shows as its callbacks.",
        examples=[["shop.callbacks.router"]],
    )
    webhooks: ImportPath | None = Field(
        None,
        description="A router whose routes the OpenAPI document shows as webhooks.",
        examples=["shop.webhooks.router"],
    )
    debug: bool = Field(
        False,
        description="Answer an unhandled exception with its traceback.",
        json_schema_extra={"looser": "true"},
    )
    redirect_slashes: bool = Field(
        True, description="Redirect a path to the one with, or without, a slash at its end."
    )
    separate_input_output_schemas: bool = Field(
        True, description="Show a model twice in the OpenAPI document where its forms differ."
    )
    swagger_ui_parameters: dict[str, Any] | None = Field(
        None,
        description="Options of Swagger UI.",
        examples=[{"persistAuthorization": True}],
    )
    swagger_ui_init_oauth: dict[str, Any] | None = Field(
        None,
        description="What Swagger UI starts OAuth2 with.",
        examples=[{"clientId": "shop-docs"}],
    )
    swagger_ui_oauth2_redirect_url: UrlPath | None = Field(
        None,
        description="Where OAuth2 leads back to Swagger UI; `/oauth2-redirect` below `docs` unless given, null is off.",
        examples=["/docs/oauth2-redirect"],
    )
    openapi_external_docs: dict[str, Any] | None = Field(
        None,
        description="Further reading about the API: `url`, and its `description`.",
        examples=[{"url": "https://docs.example.com"}],
    )
    include_in_schema: bool = Field(True, description="Show the routes in the OpenAPI document.")
    deprecated: bool | None = Field(
        None, description="Mark every route as deprecated in the OpenAPI document."
    )
    root_path_in_servers: bool = Field(
        True, description="Show `root_path` among the servers of the OpenAPI document."
    )
    raise_unhandled: bool = Field(
        True,
        description="Raise an exception that no handler was meant for to the server, once it has "
        "been answered, as Starlette does: servers close the connection, tracers and tests see it.",
    )


class Server(Section):
    """Options of `assembler serve`: uvicorn's own, and those of the stop under any server."""

    model_config = ConfigDict(extra="allow")

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=1024, description="Processes.")
    timeout_graceful_shutdown: int | None = Field(
        10,
        ge=0,
        description="Seconds that open requests have to end, after the drain; null waits for ever.",
    )
    max_header_bytes: int | None = Field(
        None,
        ge=1024,
        le=16 * 1024 * 1024,
        description="Bytes that a request line and its headers may have together; 431 beyond. `assembler serve` alone keeps it.",
        examples=[65536],
        json_schema_extra={"looser": "higher"},
    )
    drain: Duration | None = Field(
        None,
        description="How long to serve on after SIGTERM, while readiness says no.",
        examples=["5s"],
    )
    termination_grace: Duration = Field(
        timedelta(seconds=30),
        description="How long the platform waits after SIGTERM before it kills: drain, open requests, hooks and closes share it.",
    )
    reload_timeout: Duration = Field(
        timedelta(seconds=60),
        description="How long each new worker of a reload has until it serves, else all goes back.",
        examples=["2m"],
    )
    runtime_dir: str | None = Field(
        None,
        min_length=1,
        description="Folder of the socket over which `assembler reload` finds the server; without it XDG_RUNTIME_DIR.",
        examples=["/run/shop"],
    )
