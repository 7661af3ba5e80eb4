"""Options -> the routes of a small authorization server, for development and tests.

In: where it stands, its users and scopes. Out: a router for the root of an application: OAuth 2.1 with
authorization codes and PKCE, client ID metadata documents, registration (RFC 7591), rotating refresh
tokens, revocation (RFC 7009), metadata (RFC 8414), and tokens in Supabase's shape. Refused: to be made
where others than this machine's user could log in, since no password is asked for.

All state is in the memory of one process. A `signing_key` that several share lets each verify the
others' tokens, and tokens outlive a restart; a login itself must stay with one process. The routes are
`/authorize`, `/token`, `/register`, `/revoke` and three under `/.well-known`: an application's own
routes of these names must stand elsewhere.
"""

import re
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Annotated

from fastapi import APIRouter
from pydantic import Field, SecretStr

from components.mcp.dev_issuer.answers import Answering, json_endpoint
from components.mcp.dev_issuer.authorize import authorize, consent
from components.mcp.dev_issuer.base_url import issuer_of
from components.mcp.dev_issuer.client_document import fetch_document
from components.mcp.dev_issuer.metadata import (
    AUTHORIZE,
    CONSENT,
    KEYS,
    METADATA,
    REGISTER,
    REVOKE,
    TOKEN,
    key_set,
    server_metadata,
)
from components.mcp.dev_issuer.registration import register
from components.mcp.dev_issuer.signing_key import SigningKey
from components.mcp.dev_issuer.state import Issuer
from components.mcp.dev_issuer.token import give_token, revoke
from components.mcp.dev_issuer.users import User

_SCOPE = re.compile(r"[!#-\[\]-~]+")
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
    access_token_lifetime: _Lifetime = timedelta(minutes=15),
    refresh_token_lifetime: _Lifetime = timedelta(days=7),
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
    clock: Callable[[], float] = time.time,
) -> APIRouter:
    """The routes, to be included without a prefix; `clock` gives seconds since 1970.

    Raises:
        ValueError: `base_url` is no origin, or not of this machine and nobody said that it may be; a
            user, scope or key is not what it should be.
    """
    for lifetime in (access_token_lifetime, refresh_token_lifetime):
        if lifetime < timedelta(seconds=1):
            raise ValueError("a token's lifetime must be at least a second")
    issuer = Issuer(
        url=issuer_of(base_url, anyone_may_log_in_as_anyone=anyone_may_log_in_as_anyone),
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
        return server_metadata(issuer)

    async def keys(_: object) -> dict[str, object]:
        return key_set(issuer)

    for path in METADATA:
        add(path, json_endpoint(metadata), "GET", name="authorization server metadata")
    add(KEYS, json_endpoint(keys), "GET", name="keys")
    add(AUTHORIZE, partial(authorize, issuer), "GET", name="authorize")
    add(CONSENT, partial(consent, issuer), "POST", name="consent")
    add(TOKEN, json_endpoint(partial(give_token, issuer)), "POST", name="token")
    add(REVOKE, json_endpoint(partial(revoke, issuer)), "POST", name="revoke")
    register_client = json_endpoint(partial(register, issuer), status=201)
    add(REGISTER, register_client, "POST", name="register")
    return router
