"""The sections about the application as a whole: what OpenAPI shows, and the server's options.

In: plain data. Out: `App` and `Server`. Refuses keys that are not theirs; what `Server` takes beside
its own is uvicorn's to judge.
"""

from datetime import timedelta
from typing import Any, Literal

from pydantic import ConfigDict, Field

from assembler.manifest.duration import Duration
from assembler.manifest.section import Section, UrlPath


class OpenAPI(Section):
    """Where the API describes itself; a path of null is off."""

    path: UrlPath | None = Field("/openapi.json", description="Path of the OpenAPI document.")
    docs: UrlPath | None = Field("/docs", description="Path of Swagger UI.")
    redoc: UrlPath | None = Field("/redoc", description="Path of ReDoc.")


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
    """Facts about the application, as OpenAPI shows them."""

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
    tags: list[Tag] = Field([], description="Tags in the order of the documentation.")
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
