"""What clients send and are answered: parameters, each of which stands once, and JSON.

In: the query string, or a body of form fields; an endpoint that gives a mapping, or raises
`OAuthError`. Out: the values by name, of which one without a value counts as absent (RFC 6749, 3.1);
the route's endpoint, whose answer any page may read and nobody stores: JSON, the error in the shape of
RFC 6749, 5.2, or the answer to a preflight. Refused: what is no form, is too large or is not UTF-8,
and any parameter that stands twice (RFC 6749, 3.2), but for `resource` (RFC 8707, 2).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

_MOST_BYTES = 32 * 1024
_MOST_FIELDS = 50
_FORM = "application/x-www-form-urlencoded"
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


class Parameters:
    """The values of a request; `one` gives that of a name."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in fields:
            if value:
                self._values.setdefault(name, []).append(value)

    def one(self, name: str) -> str | None:
        """The value, or None.

        Raises:
            OAuthError: there are several.
        """
        values = self._values.get(name, [])
        if len(values) > 1:
            raise OAuthError("invalid_request", "a parameter stands twice")
        return values[0] if values else None

    def needed(self, name: str) -> str:
        """The value.

        Raises:
            OAuthError: there is none, or several.
        """
        value = self.one(name)
        if value is None:
            raise OAuthError("invalid_request", f"`{name}` is missing")
        return value

    @property
    def resources(self) -> list[str]:
        """The values of `resource`, each once."""
        return list(dict.fromkeys(self._values.get("resource", [])))

    def check_single(self) -> None:
        """Raise OAuthError where any parameter but `resource` stands twice."""
        for name in self._values.keys() - {"resource"}:
            self.one(name)


def query_parameters(request: Request) -> Parameters:
    """Those of the URL."""
    return _parsed(request.scope["query_string"])


async def form_parameters(request: Request) -> Parameters:
    """Those of the body; none may stand in the URL, which logs keep.

    Raises:
        OAuthError: there is no form, or no acceptable one.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise OAuthError("invalid_request", f"the body must be {_FORM}")
    if request.scope["query_string"]:
        raise OAuthError("invalid_request", "parameters belong into the body, not into the URL")
    return _parsed(await bounded_body(request, _MOST_BYTES))


async def bounded_body(request: Request, most_bytes: int) -> bytes:
    """The body.

    Raises:
        OAuthError: it is over `most_bytes`.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most_bytes:
            raise OAuthError("invalid_request", "the body is too large", 413)
    return bytes(body)


def _parsed(text: bytes) -> Parameters:
    if len(text) > _MOST_BYTES:
        raise OAuthError("invalid_request", "the parameters are too long")
    try:
        fields = parse_qsl(
            text.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise OAuthError("invalid_request", "the parameters cannot be read") from None
    return Parameters(fields)
