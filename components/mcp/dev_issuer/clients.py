"""What a client says of itself -> a client that may ask for tokens.

In: metadata, from a registration (RFC 7591) or from the document that the client's identifier names.
Out: a `Client`, remembered while there is room. Refused: metadata of other types, redirect URIs that
are none of a client's, and clients that do not use authorization codes.
"""

import hashlib
import hmac
import secrets
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, ValidationError

from components.mcp.dev_issuer.messages import OAuthError
from components.mcp.dev_issuer.redirect_uri import redirect_fault, same_redirect

GRANT_TYPES = ("authorization_code", "refresh_token")
AuthMethod = Literal["none", "client_secret_basic", "client_secret_post"]
AUTH_METHODS: tuple[AuthMethod, ...] = get_args(AuthMethod)
_LONGEST_NAME = 100


class _Metadata(BaseModel):
    """What counts here of RFC 7591, section 2; the rest is let be."""

    redirect_uris: Annotated[list[str], Field(min_length=1, max_length=20)]
    client_name: Annotated[str, Field(max_length=1000)] = ""
    grant_types: Annotated[list[str], Field(max_length=20)] = ["authorization_code"]
    response_types: Annotated[list[str], Field(max_length=20)] = ["code"]
    token_endpoint_auth_method: str | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody's application; `document` says that its identifier is the URL of its metadata."""

    id: str
    name: str
    redirect_uris: tuple[str, ...]
    grant_types: tuple[str, ...]
    auth_method: AuthMethod
    secret_sha256: bytes = b""
    document: bool = False

    def redirects_to(self, uri: str) -> bool:
        """Whether an answer may go to `uri`."""
        return any(same_redirect(registered, uri) for registered in self.redirect_uris)

    def has_secret(self, secret: str) -> bool:
        """Whether that is its secret."""
        return hmac.compare_digest(self.secret_sha256, _sha256(secret))


def registered_client(metadata: object) -> tuple[Client, str | None]:
    """A client with an identifier of ours, and its secret if it uses one.

    Raises:
        OAuthError: `invalid_client_metadata` or `invalid_redirect_uri` (RFC 7591, 3.2.2).
    """
    # what is not said is `client_secret_basic` (RFC 7591, 2); what we lack is replaced (3.2.1)
    known = _checked(metadata)
    asked = known.token_endpoint_auth_method or "client_secret_basic"
    method: AuthMethod = next((method for method in AUTH_METHODS if method == asked), "none")
    secret = None if method == "none" else secrets.token_urlsafe(32)
    digest = b"" if secret is None else _sha256(secret)
    return _client("c_" + secrets.token_urlsafe(16), known, method, digest), secret


def documented_client(url: str, metadata: object) -> Client:
    """The client whose metadata `url` names.

    Raises:
        OAuthError: the document is not one of `url`, or of a client with a secret, which nobody could
            have told it.
    """
    known = _checked(metadata)
    if not isinstance(metadata, dict) or metadata.get("client_id") != url:
        raise OAuthError("invalid_client_metadata", "`client_id` is not the URL of the document")
    if "client_secret" in metadata or known.token_endpoint_auth_method not in {None, "none"}:
        raise OAuthError("invalid_client_metadata", "the document must say the method `none`")
    return _client(url, known, "none", document=True)


def _checked(metadata: object) -> _Metadata:
    if not isinstance(metadata, dict):
        raise OAuthError("invalid_client_metadata", "the metadata must be a JSON object")
    # a placeholder says no more than an absent member
    said: dict[str, Any] = {
        name: value for name, value in metadata.items() if value not in (None, "")
    }
    try:
        known = _Metadata.model_validate(said, strict=True)
    except ValidationError as error:
        member = error.errors(include_url=False, include_input=False)[0]["loc"][0]
        code = "invalid_redirect_uri" if member == "redirect_uris" else "invalid_client_metadata"
        raise OAuthError(code, f"`{member}` is missing, too long or of a wrong type") from None
    for uri in known.redirect_uris:
        fault = redirect_fault(uri)
        if fault is not None:
            raise OAuthError("invalid_redirect_uri", fault)
    if "authorization_code" not in known.grant_types or "code" not in known.response_types:
        raise OAuthError("invalid_client_metadata", "only authorization codes are given here")
    return known


def _client(
    identifier: str,
    known: _Metadata,
    method: AuthMethod,
    secret_sha256: bytes = b"",
    *,
    document: bool = False,
) -> Client:
    return Client(
        id=identifier,
        name=_readable(known.client_name),
        redirect_uris=tuple(dict.fromkeys(known.redirect_uris)),
        grant_types=tuple(kind for kind in GRANT_TYPES if kind in known.grant_types),
        auth_method=method,
        secret_sha256=secret_sha256,
        document=document,
    )


def _readable(name: str) -> str:
    """The name without what could turn the text around it (controls, bidirectional overrides)."""
    kept = "".join(" " if c.isspace() else c for c in name if c.isspace() or _is_shown(c))
    text = " ".join(kept.split())
    return text if len(text) <= _LONGEST_NAME else text[: _LONGEST_NAME - 1] + "…"


def _is_shown(character: str) -> bool:
    return not unicodedata.category(character).startswith("C")


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
