"""What a manifest says of its MCP servers' protection -> who may use which, and what clients are told.

In: the public URL, the issuer of tokens, the mounts with their scopes and roles. Out: a resource,
the `ResourceServer` (an OAuth 2.1 word for who takes tokens), from which the gate takes its
judgement and the well-known routes their documents, so that both always say the same.

Refuses, when it is made, URLs and scopes that cannot stand in a header, a secret that is too short
or is a public key, and two ways to verify at once. Makes no connection before the first token.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, SecretStr

from components.http.error_response import Fault
from components.http.openapi import Offer, refusals, secured, together
from components.http.paths import disk_form, reach, readings
from components.mcp.keys import KeySet
from components.mcp.principal import Principal
from components.mcp.protected import Mount, Protected, checked_scopes, checked_url, protected
from components.mcp.tokens import TokenVerifier

_SCOPES = ("mcp:read", "mcp:write")
_SHORTEST_SECRET_BYTES = 32  # RFC 7518, 3.2
_Scopes = Sequence[str]


class ResourceServer:
    """Judges tokens for the mounts of one application.

    A token must be for one of `audience`, for the URL of the mount (RFC 8707) or for `base_url`.
    Without a `secret` its key is looked up in the set at `jwks_url`.

    Raises:
        ValueError: an option is not what it should be.
        ModuleNotFoundError: PyJWT is not installed.
    """

    def __init__(
        self,
        *,
        base_url: Annotated[
            str, Field(description="the public URL of this application, such as https://a.example")
        ],
        issuer: Annotated[str, Field(description="who issues tokens, exactly as their `iss` says")],
        mounts: Annotated[
            Mapping[str, Mount],
            Field(
                min_length=1,
                description="protected mounts by their path: `name`, `roles`, and `public_methods` that need "
                "no token and no rights, while endpoints still know who asks when one comes",
                json_schema_extra={"looser": "shorter"},
            ),
        ],
        jwks_url: Annotated[
            str | None,
            Field(description="the issuer's keys; else `/.well-known/jwks.json` of the issuer"),
        ] = None,
        authorization_url: Annotated[
            str | None,
            Field(
                description="where the issuer asks users, told to clients by the OpenAPI document"
            ),
        ] = None,
        token_url: Annotated[
            str | None,
            Field(description="where the issuer gives tokens, told with `authorization_url`"),
        ] = None,
        secret: Annotated[
            SecretStr | None,
            Field(description="32 bytes or more; when given, tokens are HS256 by it and no other"),
        ] = None,
        audience: Annotated[
            Sequence[str],
            Field(
                description="whom else a token may be for", json_schema_extra={"looser": "longer"}
            ),
        ] = ("authenticated",),
        leeway: Annotated[
            timedelta,
            Field(
                ge=timedelta(0),
                le=timedelta(minutes=5),
                description="how far clocks may differ",
                json_schema_extra={"looser": "longer"},
            ),
        ] = timedelta(seconds=10),
        scopes_advertised: Annotated[
            _Scopes, Field(description="what the metadata says that clients may ask for")
        ] = _SCOPES,
        scopes_challenged: Annotated[
            _Scopes, Field(description="what a challenge says that clients should ask for")
        ] = _SCOPES,
        scopes_enforced: Annotated[
            _Scopes,
            Field(
                description="without all of these a request is refused",
                json_schema_extra={"looser": "shorter"},
            ),
        ] = _SCOPES,
        scopes_implied: Annotated[
            _Scopes,
            Field(
                description="what every valid token has besides its own, for issuers without scopes",
                json_schema_extra={"looser": "longer"},
            ),
        ] = (),
        role_claim: Annotated[
            str,
            Field(
                pattern=r"^\w+(\.\w+)*$",
                description="where the user's role stands in a token; one that users cannot edit",
            ),
        ] = "app_metadata.role",
        keys_ttl: Annotated[
            timedelta, Field(ge=timedelta(seconds=1), description="how long keys are fresh")
        ] = timedelta(minutes=10),
        keys_refresh_interval: Annotated[
            timedelta,
            Field(ge=timedelta(seconds=1), description="the least time between two fetches"),
        ] = timedelta(seconds=10),
        keys_timeout: Annotated[
            timedelta, Field(ge=timedelta(milliseconds=1), description="bounds a fetch")
        ] = timedelta(seconds=5),
    ) -> None:
        if importlib.util.find_spec("jwt") is None:
            raise ModuleNotFoundError("tokens need PyJWT: install fastapi-assembler[gate]")
        if not mounts:
            raise ValueError("`mounts` is empty: there is nothing to protect")
        self.base_url = checked_url("base_url", base_url).rstrip("/")
        self.issuer = issuer
        checked_url("issuer", issuer)
        scopes = {
            "advertised": checked_scopes("scopes_advertised", scopes_advertised),
            "challenged": checked_scopes("scopes_challenged", scopes_challenged),
            "enforced": checked_scopes("scopes_enforced", scopes_enforced),
        }
        self._scheme = _security_scheme(
            authorization_url, token_url, (*scopes["advertised"], *scopes["enforced"])
        )
        self._implied = checked_scopes("scopes_implied", scopes_implied)
        self.mounts = tuple(
            protected(self.base_url, issuer, path, mount, scopes)
            # The longest first: a mount inside a mount has its own rules.
            for path, mount in sorted(mounts.items(), reverse=True)
        )
        self._audiences = {
            mount.path: {*_texts("audience", audience), *_urls(self.base_url), *_urls(mount.url)}
            for mount in self.mounts
        }
        self._role_claim = role_claim.split(".")
        keys_url = jwks_url or f"{issuer}/.well-known/jwks.json"
        keys = KeySet(
            checked_url("jwks_url", keys_url),
            ttl=keys_ttl,
            refresh_interval=keys_refresh_interval,
            deadline=keys_timeout,
        )
        given = _checked_secret(secret, jwks_url)
        self._asks_for_keys = given is None
        self._tokens = TokenVerifier(issuer, secret=given, keys=keys, leeway=leeway)

    def mounts_of(self, path: str) -> tuple[Protected, ...]:
        """The mounts that may answer at `path`, by its readings: the one of the path as it stands first.

        `/mcp` is that path and all beneath it, not `/mcpx`.
        """
        found = readings(path)
        # What has too many readings may be any mount's.
        named = map(self._mount_of, found) if found else self.mounts
        return tuple({mount.path: mount for mount in named if mount is not None}.values())

    def _mount_of(self, path: str) -> Protected | None:
        path = disk_form(path) + "/"
        for mount in self.mounts:
            if path.startswith(disk_form(mount.path) + "/"):
                return mount
        return None

    def openapi_operation(self, method: str, path: str) -> Offer | None:
        """What a gate asks for and answers on the route at `path`; nothing outside the mounts."""
        met: list[Protected] = []
        is_guarded = "none"
        for mount in self.mounts:  # the longest first: it has its own rules
            is_guarded = reach("mounts", [f"{mount.path}/*"], method, path)
            met += [mount] if is_guarded != "none" else []
            if is_guarded == "all":
                break
        if not met:
            return None
        guarding = [mount for mount in met if method not in mount.public_methods]
        faults = [_TWO_TOKENS, _NO_TOKEN if guarding else _BAD_TOKEN]
        if any(mount.enforced or mount.asks_for_role for mount in guarding):
            faults.append(_TOO_FEW_RIGHTS)
        if self._asks_for_keys:
            faults.append(_KEYS_AWAY)
        name, scheme = self._scheme
        scopes = dict.fromkeys(scope for mount in guarding or met for scope in mount.enforced)
        is_needed = is_guarded == "all" and guarding == met
        return together(
            refusals(None, *faults),
            secured(name, scheme, is_needed=is_needed, scopes=scopes if name == "oauth2" else ()),
        )

    async def principal(self, mount: Protected, token: str) -> Principal:
        """Whom `token` speaks for; raises `InvalidToken` or `KeysUnavailable`.

        What they may do is not judged here: `mount.lacking` tells.
        """
        claims = await self._tokens.claims(token, self._audiences[mount.path])
        role: Any = claims
        for name in self._role_claim:
            role = role.get(name) if isinstance(role, dict) else None
        client = claims.get("client_id", claims.get("azp"))
        return Principal(
            id=claims["sub"],
            issuer=self.issuer,
            scopes=frozenset({*_scopes_of(claims), *self._implied}),
            role=role if isinstance(role, str) else None,
            client_id=client if isinstance(client, str) else None,
            claims=claims,
        )

    async def aclose(self) -> None:
        """End what runs in the background."""
        await self._tokens.aclose()


_CHALLENGE = {"WWW-Authenticate": "Bearer"}
_TWO_TOKENS = Fault(400, "", "more than one token came", headers=_CHALLENGE)
_NO_TOKEN = Fault(401, "", "a bearer token is needed, and a valid one", headers=_CHALLENGE)
_BAD_TOKEN = Fault(401, "", "the bearer token that came is not valid", headers=_CHALLENGE)
_TOO_FEW_RIGHTS = Fault(403, "", "the token lacks a scope, or its user a role", headers=_CHALLENGE)
_KEYS_AWAY = Fault(503, "", "tokens cannot be verified at the moment", headers={"Retry-After": "1"})


def _security_scheme(
    authorization_url: str | None, token_url: str | None, scopes: Sequence[str]
) -> tuple[str, dict[str, Any]]:
    """The name of the scheme in the OpenAPI document, and the scheme: OAuth2 where clients can log in."""
    if authorization_url is None or token_url is None:
        if authorization_url != token_url:
            raise ValueError("`authorization_url` and `token_url` belong together")
        return "bearer", {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    flow = {
        "authorizationUrl": checked_url("authorization_url", authorization_url),
        "tokenUrl": checked_url("token_url", token_url),
        "scopes": dict.fromkeys(scopes, ""),
    }
    return "oauth2", {"type": "oauth2", "flows": {"authorizationCode": flow}}


def _checked_secret(secret: SecretStr | None, jwks_url: str | None) -> str | None:
    """The secret, or None where it is empty, as a variable that is not set leaves it."""
    text = secret.get_secret_value() if secret is not None else ""
    if not text:
        return None
    if jwks_url is not None:
        raise ValueError("`secret` and `jwks_url` exclude each other: tokens are verified one way")
    if len(text.encode()) < _SHORTEST_SECRET_BYTES:
        raise ValueError(f"`secret` must be of {_SHORTEST_SECRET_BYTES} bytes or more")
    if "-----BEGIN" in text or text.startswith(("ssh-", "ecdsa-")):
        raise ValueError("`secret` is a key of a pair: give `jwks_url` instead")
    return text


def _texts(option: str, values: Sequence[str]) -> Sequence[str]:
    if isinstance(values, str) or not all(values):
        raise ValueError(f"`{option}` must be a list of texts that are not empty")
    return values


def _urls(url: str) -> tuple[str, str]:
    """A URL without and with the final slash: clients that parse one may add it."""
    return url, url + "/"


def _scopes_of(claims: Mapping[str, Any]) -> list[str]:
    """The scopes of a token: `scope` is a text (RFC 9068), `scp` is what others call it."""
    found: list[str] = []
    for name in ("scope", "scp"):
        value = claims.get(name)
        values = value.split(" ") if isinstance(value, str) else value
        if isinstance(values, list):
            found += [text for text in values if isinstance(text, str) and text]
    return found
