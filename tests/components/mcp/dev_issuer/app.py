"""The issuer and a resource that wants its tokens, for a server in a process of its own.

`ISSUER_URL` is where it stands. The resource at `/mcp` says who came, and challenges who has no token.
"""

import os

import jwt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from components.mcp.dev_issuer.server import authorization_server
from components.mcp.dev_issuer.users import User

URL = os.environ.get("ISSUER_URL", "http://localhost:8000")
METADATA = "/.well-known/oauth-protected-resource/mcp"

issuer = authorization_server(
    base_url=URL,
    users=[
        User(id="u-ada", email="ada@example.com", name="Ada Agarwal", role="admin"),
        User(id="u-bob", email="bob@example.com", name="Bob Bhatt"),
    ],
)
(_keys,) = [route for route in issuer.routes if getattr(route, "name", "") == "keys"]


async def resource_metadata(request: Request) -> Response:
    return JSONResponse({"resource": f"{URL}/mcp", "authorization_servers": [URL]})


async def resource(request: Request) -> Response:
    """Who came, by a token that the published keys verify."""
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    known = jwt.PyJWKSet.from_json((await _keys.endpoint(request)).body)  # type: ignore[attr-defined]  # a Route
    try:
        if kind != "Bearer":
            raise jwt.InvalidTokenError(kind)
        key = known[jwt.get_unverified_header(token)["kid"]]
        said = jwt.decode(token, key, ["ES256"], audience=f"{URL}/mcp", issuer=URL)
    except (jwt.PyJWTError, KeyError):
        challenge = f'Bearer resource_metadata="{URL}{METADATA}", scope="mcp:read mcp:write"'
        return JSONResponse({}, 401, {"WWW-Authenticate": challenge})
    return JSONResponse({"email": said["email"], "scope": said["scope"], "aud": said["aud"]})


app = Starlette(
    routes=[Route(METADATA, resource_metadata), Route("/mcp", resource), *issuer.routes],
)
