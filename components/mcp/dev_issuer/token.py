"""A code or a refresh token -> an access token; a token -> nothing any more.

In: forms of RFC 6749 (4.1.3, 6) and RFC 7009. Out: a token of one hour or less, for the user, scopes and
resources that a person agreed to. Refused: codes a second time, which ends what the first use began;
codes without their PKCE verifier; refresh tokens that were replaced, which ends their family, since
either the client or a thief has them (RFC 9700, 4.14.2); clients that do not prove who they are in the
one way that they registered (RFC 6749, 2.3 and 5.2).
"""

import base64
import hashlib
import hmac
import re
import secrets
from typing import Any
from urllib.parse import unquote_plus

from starlette.requests import Request

from components.mcp.dev_issuer.client_document import is_document_url
from components.mcp.dev_issuer.clients import AuthMethod
from components.mcp.dev_issuer.messages import OAuthError, Parameters, form_parameters
from components.mcp.dev_issuer.state import Code, Issuer, Session, sha256

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


async def give_token(issuer: Issuer, request: Request) -> dict[str, Any]:
    """The token endpoint (RFC 6749, 3.2); raises `OAuthError`."""
    issuer.spend_request()
    form = await form_parameters(request)
    form.check_single()
    kind = form.needed("grant_type")
    if kind not in _GRANTS:
        raise OAuthError("unsupported_grant_type", "codes and refresh tokens are taken here")
    client_id = _authenticated(issuer, request, form)
    return _GRANTS[kind](issuer, client_id, form)


async def revoke(issuer: Issuer, request: Request) -> None:
    """The revocation endpoint (RFC 7009): a token that is unknown is revoked already.

    An access token ends its family; itself it holds until it expires, as nobody asks us about it.
    """
    issuer.spend_request()
    form = await form_parameters(request)
    form.check_single()
    client_id = _authenticated(issuer, request, form)
    token = form.needed("token")
    claims = issuer.key.claims_of(token) if token.count(".") == 2 else None
    key = _session_of(token)[0] if claims is None else str(claims.get("session_id"))
    session = issuer.sessions.get(key)
    if session is not None and session.client_id == client_id:
        issuer.sessions.pop(key)


def _authenticated(issuer: Issuer, request: Request, form: Parameters) -> str:
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


def _by_code(issuer: Issuer, client_id: str, form: Parameters) -> dict[str, Any]:
    code = issuer.codes.get(sha256(form.needed("code")))
    verifier = form.needed("code_verifier")
    if code is None or code.asked.client.id != client_id:
        raise OAuthError("invalid_grant", "no such code")
    if code.used:
        issuer.sessions.pop(code.session)
        raise OAuthError("invalid_grant", "the code was used before")
    if code.ends <= issuer.clock():
        raise OAuthError("invalid_grant", "the code is too old")
    code.used = True  # whatever follows: who has a code has one try
    if form.one("redirect_uri") not in {None, code.asked.redirect_uri}:
        raise OAuthError("invalid_grant", "`redirect_uri` is not that of the code")
    if not _proves(verifier, code.asked.challenge):
        raise OAuthError("invalid_grant", "`code_verifier` does not fit")
    resources = issuer.checked_resources(form.resources, code.asked.resources)
    return _begin(issuer, code, resources)


def _by_refresh_token(issuer: Issuer, client_id: str, form: Parameters) -> dict[str, Any]:
    key, secret = _session_of(form.needed("refresh_token"))
    session = issuer.sessions.get(key)
    if session is None or session.client_id != client_id:
        raise OAuthError("invalid_grant", "no such refresh token")
    if not hmac.compare_digest(sha256(secret), session.secret_sha256):
        issuer.sessions.pop(key)
        raise OAuthError("invalid_grant", "the refresh token was replaced before; log in again")
    scopes = issuer.granted_scopes(form.one("scope"), session.scopes)
    resources = issuer.checked_resources(form.resources, session.resources)
    handle = form.needed("refresh_token").partition(".")[0]
    fresh = secrets.token_urlsafe(32)
    session.secret_sha256 = sha256(fresh)
    answer = _answer(issuer, session, key, scopes, resources)
    return {**answer, "refresh_token": f"{handle}.{fresh}"}


_GRANTS = {"authorization_code": _by_code, "refresh_token": _by_refresh_token}


def _begin(issuer: Issuer, code: Code, resources: tuple[str, ...]) -> dict[str, Any]:
    """The first tokens; a refresh token is `handle.secret`, and the handle's hash the session's id."""
    handle, secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    asked, key = code.asked, sha256(handle)
    session = Session(
        client_id=asked.client.id,
        user=code.user,
        scopes=asked.scopes,
        resources=asked.resources,
        secret_sha256=sha256(secret),
    )
    answer = _answer(issuer, session, key, asked.scopes, resources)
    if "refresh_token" in asked.client.grant_types:
        code.session = key
        issuer.sessions.put(key, session)
        answer["refresh_token"] = f"{handle}.{secret}"
    return answer


def _answer(
    issuer: Issuer, session: Session, key: str, scopes: tuple[str, ...], resources: tuple[str, ...]
) -> dict[str, Any]:
    now = int(issuer.clock())
    scope = " ".join(scopes)
    claims = {
        "iss": issuer.url,
        # what Supabase says, and what the client named (RFC 8707)
        "aud": [issuer.audience, *resources] if resources else issuer.audience,
        "iat": now,
        "exp": now + issuer.access_token_seconds,
        "jti": secrets.token_urlsafe(16),
        "client_id": session.client_id,
        "session_id": key,
        "scope": scope,
        **session.user.claims(),
    }
    return {
        "access_token": issuer.key.sign(claims),
        "token_type": "Bearer",
        "expires_in": issuer.access_token_seconds,
        "scope": scope,
    }


def _session_of(refresh_token: str) -> tuple[str, str]:
    """The session that a refresh token names, and the secret that it has."""
    handle, _, secret = refresh_token.partition(".")
    return sha256(handle), secret


def _proves(verifier: str, challenge: str) -> bool:
    """Whether `challenge` was made from `verifier` (RFC 7636, 4.6)."""
    if not _VERIFIER.fullmatch(verifier):
        return False
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    return hmac.compare_digest(digest, challenge.encode())
