"""A login without a browser: what a host and the person before it do with the issuer of `dev_issuer`.

In: an HTTP client whose base URL is the issuer. Out: the parameters of each redirect, and tokens. It
reads the consent page as a browser would, and follows nothing that it did not ask for.
"""

import base64
import hashlib
import html
import re
import secrets
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2

CALLBACK = "http://127.0.0.1:9/callback"


def pkce() -> tuple[str, str]:
    """A verifier and its challenge."""
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    return verifier, base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def register(client: httpx2.Client, **metadata: Any) -> dict[str, Any]:
    """A client's registration, as it was answered."""
    said = {
        "client_name": "Test host",
        "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
        **metadata,
    }
    answer = client.post("/register", json=said)
    assert answer.status_code == 201, answer.text
    known: dict[str, Any] = answer.json()
    return known


def ticket_of(page: str) -> str:
    """What the form of a consent page carries."""
    found = re.search(r'name="ticket" value="([^"]+)"', page)
    assert found is not None, page
    return html.unescape(found[1])


def redirected(answer: httpx2.Response) -> dict[str, str]:
    """The parameters with which a browser is sent back to the client."""
    assert answer.status_code in {302, 303}, answer.text
    pairs = parse_qsl(urlsplit(answer.headers["location"]).query, strict_parsing=True)
    values = dict(pairs)
    assert len(values) == len(pairs)
    return values


def agree(
    client: httpx2.Client, url: str, params: dict[str, str] | None = None, *, user: str
) -> dict[str, str]:
    """Open an authorization URL, choose `user`, approve; what the client is then told."""
    page = client.get(url, params=params, follow_redirects=False)
    assert page.status_code == 200, page.text
    form = {"ticket": ticket_of(page.text), "user": user, "decision": "approve"}
    answer = client.post(
        "/authorize/consent", data=form, headers={"Origin": origin(page)}, follow_redirects=False
    )
    return redirected(answer)


def origin(page: httpx2.Response) -> str:
    """What a browser says where the form of a page came from."""
    return f"{page.url.scheme}://{page.url.netloc.decode()}"


def request_of(client_id: str, challenge: str, **more: str) -> dict[str, str]:
    """The parameters of an authorization request."""
    return {
        "client_id": client_id,
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "state": "a state & more",
    } | more


def log_in(client: httpx2.Client, *, user: str, **more: str) -> dict[str, Any]:
    """Register, ask, agree, and take the tokens; the answer has the `client_id` too.

    `more` goes into the authorization request, such as `scope` or `resource`.
    """
    client_id = register(client)["client_id"]
    verifier, challenge = pkce()
    told = agree(client, "/authorize", request_of(client_id, challenge, **more), user=user)
    form = {
        "grant_type": "authorization_code",
        "client_id": client_id,
        "code": told["code"],
        "redirect_uri": CALLBACK,
        "code_verifier": verifier,
    }
    answer = client.post("/token", data=form)
    assert answer.status_code == 200, answer.text
    return {**answer.json(), "client_id": client_id}
