"""A `ResourceServer` -> the routes at the root by which clients find out where to log in.

In: what protects the mounts. Out: a router with the metadata of each mount at the URL that has its
path inserted, and of the whole at the root (RFC 9728, 3.1). Every origin may read them, as
inspectors in browsers do; they hold no secret. What an authorization server says of itself
(RFC 8414) is that server's to serve: where it is not this application, this application has none.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from components.mcp.protected import WELL_KNOWN, document
from components.mcp.resource_server import ResourceServer

_READABLE = {"Access-Control-Allow-Origin": "*"}
_PREFLIGHT = {
    **_READABLE,
    "Access-Control-Allow-Methods": "GET, OPTIONS",
    "Access-Control-Allow-Headers": "*, Authorization",  # `*` does not mean that one
    "Access-Control-Max-Age": "86400",
}
_FRESH = {**_READABLE, "Cache-Control": "public, max-age=300"}


def router(
    *, resource_server: Annotated[ResourceServer, Field(description="what judges tokens")]
) -> APIRouter:
    """The documents that lead a client to a login; include them without a prefix."""
    made = APIRouter(include_in_schema=False)
    mounts = resource_server.mounts
    scopes = {scope for mount in mounts for scope in mount.metadata.get("scopes_supported", ())}
    documents: dict[str, Mapping[str, Any]] = {
        WELL_KNOWN: document(resource_server.base_url, resource_server.issuer, sorted(scopes)),
        **{mount.metadata_path: mount.metadata for mount in mounts},
    }
    for path, content in documents.items():
        made.add_route(path, _endpoint(content), methods=["GET", "HEAD", "OPTIONS"])
    return made


def _endpoint(content: Mapping[str, Any]) -> Any:
    async def read(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=_PREFLIGHT)
        return JSONResponse(content, headers=_FRESH)

    return read
