"""Options -> the routes of a small authorization server, for development and tests.

In: where it stands, its users and scopes. Out: a router for the root of an application: OAuth 2.1 with
authorization codes and PKCE, client ID metadata documents, registration (RFC 7591), rotating refresh
tokens, revocation (RFC 7009), metadata (RFC 8414), and tokens in Supabase's shape. Refused: to be made
where others than this machine's user could log in, since no password is asked for.

All state is in the memory of one process. A `signing_key` that several share lets each verify the
others' tokens, and tokens outlive a restart; a login itself must stay with one process. The routes are
`/authorize`, `/token`, `/register`, `/revoke` and three under `/.well-known`: an application's own
routes of these names must stand elsewhere.

The MCP SDK has such routes too (`mcp.server.auth`, read and tried in 2.3). They are not used, as there a
wrong verifier does not spend a code; clients without a secret cannot revoke, those with `Basic` must
repeat their name in the form, and a page's preflight with `Authorization` is refused; redirect URIs are
not kept byte for byte, a native client's other port is no match, and `javascript:` may be registered; a
request without `code_challenge_method`, or with a parameter twice, passes; no redirect tells `iss`; one
resource is known, and no clock but the system's; the issuer gets a slash, and its metadata cannot say
`none`, `iss` or client documents. Importing them takes a second, which a lazy `/mcp` saves at the start.
"""

import json
import re
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from pydantic import Field, SecretStr
from starlette.requests import Request

from components.mcp.dev_issuer.authorize import authorize, consent
from components.mcp.dev_issuer.client_document import fetch_document
from components.mcp.dev_issuer.clients import AUTH_METHODS, GRANT_TYPES, registered_client
from components.mcp.dev_issuer.messages import Answering, OAuthError, bounded_body, json_endpoint
from components.mcp.dev_issuer.redirect_uri import is_loopback
from components.mcp.dev_issuer.signing_key import SigningKey
from components.mcp.dev_issuer.state import (
    AUTHORIZE,
    CONSENT,
    KEYS,
    METADATA,
    REGISTER,
    REVOKE,
    TOKEN,
    Issuer,
)
from components.mcp.dev_issuer.token import give_token, revoke
from components.mcp.dev_issuer.users import User

_SCOPE = re.compile(r"[!#-\[\]-~]+")
_ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(?::[1-9]\d{0,4})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_LARGEST_REGISTRATION = 16 * 1024  # bytes
_Lifetime = Annotated[
    timedelta, Field(ge=timedelta(seconds=1), json_schema_extra={"looser": "longer"})
]


def authorization_server(
    *,
    base_url: Annotated[
        str,
        Field(
            description="where browsers reach the application, such as `http://localhost:8000`; "
            "it is the issuer, byte for byte"
        ),
    ],
    users: Annotated[
        Sequence[User],
        Field(
            min_length=1,
            description="who can be logged in as",
            json_schema_extra={"looser": "longer"},
        ),
    ],
    scopes: Annotated[
        Sequence[str],
        Field(
            min_length=1,
            description="what can be asked for",
            json_schema_extra={"looser": "longer"},
        ),
    ] = ("mcp:read", "mcp:write"),
    resources: Annotated[
        Sequence[str],
        Field(
            description="URLs that tokens may be made for (RFC 8707); all under `base_url` if none",
            json_schema_extra={"looser": "longer"},
        ),
    ] = (),
    audience: Annotated[
        str, Field(min_length=1, description="what every token's `aud` has besides the resources")
    ] = "authenticated",
    signing_key: Annotated[
        SecretStr | None,
        Field(description="an EC P-256 private key in PEM that processes share; made anew if none"),
    ] = None,
    access_token_lifetime: Annotated[
        _Lifetime, Field(description="how long access tokens hold")
    ] = timedelta(minutes=15),
    refresh_token_lifetime: Annotated[
        _Lifetime, Field(description="how long refresh tokens hold")
    ] = timedelta(days=7),
    loopback_client_documents: Annotated[
        bool,
        Field(
            description="a client's metadata document may stand on this machine, at plain http",
            json_schema_extra={"looser": "true"},
        ),
    ] = False,
    anyone_may_log_in_as_anyone: Annotated[
        bool,
        Field(
            description="stand at a `base_url` that others can reach, though no password is asked for",
            json_schema_extra={"looser": "true"},
        ),
    ] = False,
    clock: Annotated[
        Callable[[], float], Field(description="gives seconds since 1970, for tests")
    ] = time.time,
) -> APIRouter:
    """An OAuth 2.1 issuer for a laptop: no password, users of the manifest, on this machine only.

    Include it without a prefix; `clock` gives seconds since 1970.

    Raises:
        ValueError: `base_url` is no origin, or not of this machine and nobody said that it may be; a
            user, scope or key is not what it should be.
    """
    for lifetime in (access_token_lifetime, refresh_token_lifetime):
        if lifetime < timedelta(seconds=1):
            raise ValueError("a token's lifetime must be at least a second")
    issuer = Issuer(
        url=_issuer_of(base_url, anyone_may_log_in_as_anyone=anyone_may_log_in_as_anyone),
        users=_checked_users(users),
        scopes=_checked_scopes(scopes),
        resources=_checked_resources(resources),
        audience=audience,
        key=SigningKey(None if signing_key is None else signing_key.get_secret_value()),
        access_token_lifetime=access_token_lifetime,
        refresh_token_lifetime=refresh_token_lifetime,
        fetch=partial(fetch_document, allow_loopback=loopback_client_documents),
        clock=clock,
    )
    return _router(issuer)


def _issuer_of(base_url: str, *, anyone_may_log_in_as_anyone: bool) -> str:
    """`base_url`, if an issuer without passwords may stand there.

    Raises:
        ValueError: it is no origin, or not of this machine and nobody said that it may be.
    """
    if not _ORIGIN.fullmatch(base_url) or base_url.endswith(
        _DEFAULT_PORTS[base_url.partition(":")[0]]
    ):
        raise ValueError(
            "`base_url` must be an origin in lower case such as `http://localhost:8000`, without a "
            f"default port, a path or a slash at its end, not {base_url!r}"
        )
    try:
        host = urlsplit(base_url).hostname or ""
        urlsplit(base_url).port  # noqa: B018  # it is the property that judges
    except ValueError as error:
        raise ValueError(f"`base_url` is no URL: {error}") from error
    if not anyone_may_log_in_as_anyone and not is_loopback(host):
        raise ValueError(
            "here anyone logs in as anyone, without a password, and "
            f"`{base_url}` is not this machine: use a real issuer, or say "
            "`anyone_may_log_in_as_anyone: true`"
        )
    return base_url


def _checked_users(users: Sequence[User]) -> tuple[User, ...]:
    ids = [user.id for user in users]
    if not ids or len(set(ids)) != len(ids):
        raise ValueError("`users` must have at least one, each with an id of its own")
    return tuple(users)


def _checked_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    if isinstance(scopes, str) or not scopes:
        raise ValueError("`scopes` must be a list of at least one")
    for scope in scopes:
        if not _SCOPE.fullmatch(scope):
            raise ValueError(f"`scopes` has what is no scope (RFC 6749, 3.3): {scope!r}")
    return tuple(dict.fromkeys(scopes))


def _checked_resources(resources: Sequence[str]) -> tuple[str, ...]:
    if isinstance(resources, str):
        raise ValueError("`resources` must be a list")  # noqa: TRY004  # as for `scopes`
    for resource in resources:
        if not re.fullmatch(r"https?://[^\s#]+", resource):
            raise ValueError(f"`resources` has what is no URL without a fragment: {resource!r}")
    return tuple(resources)


def _router(issuer: Issuer) -> APIRouter:
    router = APIRouter()

    def add(path: str, endpoint: Answering, method: str, *, name: str) -> None:
        methods = [method] if path in {AUTHORIZE, CONSENT} else [method, "OPTIONS"]
        router.add_route(path, endpoint, methods, name=name, include_in_schema=False)

    async def metadata(_: object) -> dict[str, object]:
        return _metadata(issuer)

    async def keys(_: object) -> dict[str, object]:
        return {"keys": [issuer.key.jwk]}

    for path in METADATA:
        add(path, json_endpoint(metadata), "GET", name="authorization server metadata")
    add(KEYS, json_endpoint(keys), "GET", name="keys")
    add(AUTHORIZE, partial(authorize, issuer), "GET", name="authorize")
    add(CONSENT, partial(consent, issuer), "POST", name="consent")
    add(TOKEN, json_endpoint(partial(give_token, issuer)), "POST", name="token")
    add(REVOKE, json_endpoint(partial(revoke, issuer)), "POST", name="revoke")
    register_client = json_endpoint(partial(_register, issuer), status=201)
    add(REGISTER, register_client, "POST", name="register")
    return router


def _metadata(issuer: Issuer) -> dict[str, Any]:
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


async def _register(issuer: Issuer, request: Request) -> dict[str, Any]:
    """Register a client (RFC 7591); what is registered may be less than what was asked for."""
    issuer.spend_registration()
    body = await bounded_body(request, _LARGEST_REGISTRATION)
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
