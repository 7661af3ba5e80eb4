"""Results and refusals -> JSON that any page may read and nobody stores.

In: an endpoint that gives a mapping, or raises `OAuthError`. Out: the route's endpoint: its answer,
the error in the shape of RFC 6749, 5.2, or the answer to a preflight. Refuses nothing itself.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

# Pages of any origin are clients here: the inspector runs in a browser. No cookie counts on these.
_READABLE = {"access-control-allow-origin": "*"}
_PREFLIGHT = {
    "access-control-allow-methods": "GET, POST",
    "access-control-allow-headers": "Authorization, Content-Type, MCP-Protocol-Version",
    "access-control-max-age": "600",
}
_UNSTORED = {"cache-control": "no-store", "pragma": "no-cache"}


class OAuthError(Exception):
    """A refusal: a code of the RFCs, words for who writes the client, a status.

    The words are ours alone: `error_description` may hold printable ASCII without quotes only.
    """

    def __init__(
        self,
        code: str,
        description: str,
        status: int = 400,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, description)
        self.code = code
        self.description = description
        self.status = status
        self.headers = dict(headers or {})


Endpoint = Callable[[Request], Awaitable[Mapping[str, Any] | None]]
Answering = Callable[[Request], Awaitable[Response]]


def json_endpoint(endpoint: Endpoint, *, status: int = 200) -> Answering:
    """The endpoint of a route that takes OPTIONS too; None is an answer without a body."""

    async def answer(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={**_READABLE, **_PREFLIGHT})
        try:
            content = await endpoint(request)
        except OAuthError as error:
            body = {"error": error.code, "error_description": error.description}
            headers = {**_READABLE, **_UNSTORED, **error.headers}
            return JSONResponse(body, error.status, headers)
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        if content is None:
            return Response(status_code=status, headers={**_READABLE, **_UNSTORED})
        return JSONResponse(content, status, {**_READABLE, **_UNSTORED})

    return answer
