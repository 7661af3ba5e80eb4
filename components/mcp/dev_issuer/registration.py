"""A registration request -> a client (RFC 7591).

In: a JSON object of at most 16 KiB. Out: the client's identifier and what was registered, which may be
less than what was asked for. Refused: what is no metadata, and more than 60 registrations a minute.
"""

import json
from typing import Any

from starlette.requests import Request

from components.mcp.dev_issuer.answers import OAuthError
from components.mcp.dev_issuer.clients import registered_client
from components.mcp.dev_issuer.parameters import bounded_body
from components.mcp.dev_issuer.state import Issuer

_MOST_BYTES = 16 * 1024


async def register(issuer: Issuer, request: Request) -> dict[str, Any]:
    """Register a client."""
    issuer.spend_registration()
    body = await bounded_body(request, _MOST_BYTES)
    try:
        metadata = json.loads(body)
    except (ValueError, RecursionError):
        raise OAuthError("invalid_client_metadata", "the body is no JSON") from None
    client, secret = registered_client(metadata)
    issuer.clients.put(client.id, client)
    answer: dict[str, Any] = {
        "client_id": client.id,
        "client_id_issued_at": int(issuer.clock()),
        "redirect_uris": client.redirect_uris,
        "grant_types": client.grant_types,
        "response_types": ["code"],
        "token_endpoint_auth_method": client.auth_method,
        "scope": " ".join(issuer.scopes),
    }
    if client.name:
        answer["client_name"] = client.name
    if secret is not None:
        answer |= {"client_secret": secret, "client_secret_expires_at": 0}
    return answer
