"""A token request -> the client that sent it.

In: the form and the Authorization header. Out: the client's identifier, proven as far as the client can
prove it. Refused: two ways at once, another way than the registered one, a wrong secret (RFC 6749,
2.3 and 5.2).
"""

import base64
from urllib.parse import unquote_plus

from starlette.requests import Request

from components.mcp.dev_issuer.answers import OAuthError
from components.mcp.dev_issuer.client_document import is_document_url
from components.mcp.dev_issuer.clients import AuthMethod
from components.mcp.dev_issuer.parameters import Parameters
from components.mcp.dev_issuer.state import Issuer


def authenticated(issuer: Issuer, request: Request, form: Parameters) -> str:
    """The identifier of the client.

    Raises:
        OAuthError: `invalid_client` with 401, or `invalid_request`.
    """
    basic = _basic(request)
    secret = form.one("client_secret")
    method: AuthMethod = "none" if secret is None else "client_secret_post"
    if basic is None:
        client_id = form.needed("client_id")
    elif secret is not None or form.one("client_id") not in {None, basic[0]}:
        raise OAuthError("invalid_request", "the client authenticates in two ways")
    else:
        (client_id, secret), method = basic, "client_secret_basic"
    if is_document_url(client_id) and method == "none":
        # It has nothing to prove, and what it asks for was granted to this identifier or not.
        return client_id
    client = issuer.registered(client_id)
    if (
        client is None
        or client.auth_method != method
        or (secret is not None and not client.has_secret(secret))
    ):
        raise _unproven(basic is not None)
    return client_id


def _basic(request: Request) -> tuple[str, str] | None:
    """What stands in the Authorization header, if it is there."""
    fields = request.headers.getlist("authorization")
    if not fields:
        return None
    scheme, _, text = fields[0].partition(" ")
    try:
        name, colon, secret = base64.b64decode(text.strip(), validate=True).decode().partition(":")
    except ValueError:
        raise _unproven(basic=True) from None
    if len(fields) > 1 or scheme.lower() != "basic" or not colon:
        raise _unproven(basic=True)
    return unquote_plus(name), unquote_plus(secret)


def _unproven(basic: bool) -> OAuthError:
    headers = {"WWW-Authenticate": 'Basic realm="dev_issuer"'} if basic else {}
    return OAuthError("invalid_client", "no such client, or not in this way", 401, headers)
