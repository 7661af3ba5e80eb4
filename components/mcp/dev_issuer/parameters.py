"""A query or a form -> parameters, each of which stands once.

In: the query string, or a body of form fields. Out: the values by name; a parameter without a value
counts as absent (RFC 6749, 3.1). Refused: what is no form, is too large or is not UTF-8, and any
parameter that stands twice (RFC 6749, 3.2), but for `resource` (RFC 8707, 2).
"""

from collections.abc import Sequence
from urllib.parse import parse_qsl

from starlette.requests import Request

from components.mcp.dev_issuer.answers import OAuthError

_MOST_BYTES = 32 * 1024
_MOST_FIELDS = 50
_FORM = "application/x-www-form-urlencoded"


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
