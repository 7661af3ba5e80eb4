"""A request for authorization -> a question to a person -> a code for the client.

In: RFC 6749's request with PKCE (RFC 7636), and the form of the consent page. Out: that page; then a
redirect with a code or an error, with `state` as it came and `iss` (RFC 9207). Refused on a page, since
nobody may be sent to a URI that is not the client's: unknown clients and redirect URIs. Refused with a
redirect: all else. A form counts only from the browser that was asked, and from this origin.
"""

import re
import secrets
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from components.mcp.dev_issuer.clients import Client
from components.mcp.dev_issuer.consent_page import consent_page, fault_page
from components.mcp.dev_issuer.messages import (
    OAuthError,
    Parameters,
    form_parameters,
    query_parameters,
)
from components.mcp.dev_issuer.redirect_uri import is_loopback
from components.mcp.dev_issuer.state import (
    AUTHORIZE,
    CODE_SECONDS,
    CONSENT_SECONDS,
    Asked,
    Code,
    Consent,
    Issuer,
    sha256,
)

_COOKIE = "dev_issuer_browser"
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


async def authorize(issuer: Issuer, request: Request) -> Response:
    """Ask a person."""
    try:
        _check_host(issuer, request)
        issuer.spend_request()
        query = query_parameters(request)
        client = await issuer.client(query.needed("client_id"))
        redirect_uri = _redirect_uri(client, query)
    except OAuthError as error:
        # a page is no challenge: what is 401 for a program is 400 here
        status = error.status if error.status in {421, 429} else 400
        return fault_page(f"The application's request was refused: {error.description}.", status)
    try:
        asked = _asked(issuer, client, redirect_uri, query)
    except OAuthError as error:
        said = {"error": error.code, "error_description": error.description}
        return _redirect(issuer, redirect_uri, _state(query), said, 302)
    ticket = secrets.token_urlsafe(32)
    browser = request.cookies.get(_COOKIE, "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}", browser):
        browser = secrets.token_urlsafe(32)
    issuer.consents.put(sha256(ticket), Consent(asked, sha256(browser)))
    page = consent_page(issuer, asked, ticket, _hinted(issuer, query))
    page.set_cookie(
        _COOKIE,
        browser,
        max_age=CONSENT_SECONDS,
        path=AUTHORIZE,
        httponly=True,
        samesite="lax",
        secure=issuer.url.startswith("https:"),
    )
    return page


async def consent(issuer: Issuer, request: Request) -> Response:
    """Take the person's answer."""
    try:
        _check_host(issuer, request)
        issuer.spend_request()
        form = await form_parameters(request)
        form.check_single()
        ticket, decision = sha256(form.needed("ticket")), form.needed("decision")
        found = issuer.consents.get(ticket)
        if found is None:
            return fault_page("This question was answered before, or it is too old.")
        browser = sha256(request.cookies.get(_COOKIE, ""))
        if not _is_same_origin(issuer, request) or browser != found.browser_sha256:
            return fault_page("The answer does not come from the page that asked.", 403)
        user = issuer.users.get(form.one("user") or "")
        if decision not in {"approve", "deny"} or (decision == "approve" and user is None):
            return fault_page("The answer names no user, or is none.")
    except OAuthError as error:
        return fault_page(f"The answer was refused: {error.description}.", error.status)
    except ClientDisconnect:
        return Response(status_code=400)  # nobody reads it
    issuer.consents.pop(ticket)
    asked = found.asked
    if decision == "deny" or user is None:
        said = {"error": "access_denied", "error_description": "the user said no"}
    else:
        code = secrets.token_urlsafe(32)
        issuer.codes.put(sha256(code), Code(asked, user, issuer.clock() + CODE_SECONDS))
        said = {"code": code}
    return _redirect(issuer, asked.redirect_uri, asked.state, said, 303)


def _check_host(issuer: Issuer, request: Request) -> None:
    """Refuse a name that someone else made lead to this machine, to read the page (DNS rebinding)."""
    own = urlsplit(issuer.url)
    if is_loopback(own.hostname or "") and request.headers.get("host", "").lower() != own.netloc:
        raise OAuthError("invalid_request", f"this issuer is at {issuer.url}", 421)


def _redirect_uri(client: Client, query: Parameters) -> str:
    given = query.one("redirect_uri")
    if given is None and len(client.redirect_uris) == 1:
        return client.redirect_uris[0]
    if given is None or not client.redirects_to(given):
        raise OAuthError("invalid_request", "`redirect_uri` is not one that the client registered")
    return given


def _asked(issuer: Issuer, client: Client, redirect_uri: str, query: Parameters) -> Asked:
    query.check_single()
    if query.needed("response_type") != "code":
        raise OAuthError("unsupported_response_type", "only `code` is given here")
    if query.one("response_mode") not in {None, "query"}:
        raise OAuthError("invalid_request", "only the response mode `query` is known here")
    challenge = query.needed("code_challenge")
    # without a method it would be `plain` (RFC 7636, 4.3)
    if query.one("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
        raise OAuthError("invalid_request", "PKCE is needed, with the method S256")
    return Asked(
        client=client,
        redirect_uri=redirect_uri,
        state=query.one("state"),
        challenge=challenge,
        scopes=issuer.granted_scopes(query.one("scope"), issuer.scopes),
        resources=issuer.checked_resources(query.resources),
    )


def _state(query: Parameters) -> str | None:
    try:
        return query.one("state")
    except OAuthError:
        return None


def _hinted(issuer: Issuer, query: Parameters) -> str | None:
    hint = query.one("login_hint")
    return next((user.id for user in issuer.users.values() if hint in {user.id, user.email}), None)


def _is_same_origin(issuer: Issuer, request: Request) -> bool:
    """Whether a browser says that the form is ours; programs that are none say nothing."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    return request.headers.get("origin", issuer.url) == issuer.url and site == "same-origin"


def _redirect(
    issuer: Issuer, uri: str, state: str | None, said: Mapping[str, str], status: int
) -> Response:
    values = {**said, "iss": issuer.url} | ({} if state is None else {"state": state})
    joint = "&" if "?" in uri else "?"
    # not quoted again, as `RedirectResponse` would: the URI is the client's, byte for byte
    headers = {
        "location": uri + joint + urlencode(values),
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
    }
    return Response(status_code=status, headers=headers)
