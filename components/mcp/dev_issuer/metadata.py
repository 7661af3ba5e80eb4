"""An issuer -> what it says of itself, for clients and for those that verify its tokens.

In: the issuer. Out: its metadata (RFC 8414) and its keys (RFC 7517). Refuses nothing.
"""

from typing import Any

from components.mcp.dev_issuer.clients import AUTH_METHODS, GRANT_TYPES
from components.mcp.dev_issuer.state import Issuer

# The paths that clients fall back to (MCP 2025-03-26): the official SDK refreshes at `/token` when it
# was started anew and has not read any metadata yet.
AUTHORIZE = "/authorize"
CONSENT = "/authorize/consent"
TOKEN = "/token"  # noqa: S105  # a path
REGISTER = "/register"
REVOKE = "/revoke"
KEYS = "/.well-known/jwks.json"
METADATA = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")


def server_metadata(issuer: Issuer) -> dict[str, Any]:
    """The document of RFC 8414, section 2."""
    return {
        "issuer": issuer.url,
        "authorization_endpoint": issuer.url + AUTHORIZE,
        "token_endpoint": issuer.url + TOKEN,
        "registration_endpoint": issuer.url + REGISTER,
        "revocation_endpoint": issuer.url + REVOKE,
        "jwks_uri": issuer.url + KEYS,
        "scopes_supported": list(issuer.scopes),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": list(GRANT_TYPES),
        "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": True,
    }


def key_set(issuer: Issuer) -> dict[str, Any]:
    """The public keys."""
    return {"keys": [issuer.key.jwk]}
